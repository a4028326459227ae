//! From threads that wait to storage that is asynchronous, and a second try for what may pass.
//!
//! The repository's work is done on threads of rustic_core that know no runtime, and by commands without one. So the
//! connections live in a small runtime of their own, made when the first remote repository is reached.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::storage::{Fault, StorageError};

/// Pauses between the attempts; after the last one the failure stands.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// How long anything may take that moves no data.
const PATIENCE: Duration = Duration::from_secs(60);
/// The slowest line that is waited for, in bytes per second.
const SLOWEST: u64 = 16 * 1024;

fn runtime() -> Result<&'static Runtime, StorageError> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread().worker_threads(2).thread_name("upkeep-storage").enable_all().build();
    let made = made.map_err(|error| StorageError::new(Fault::Other, format!("no thread can be started: {error}")))?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// Waits for a future on a thread that is made for waiting, inside a runtime or not.
pub(super) fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T, StorageError> {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        let _ = tell.send(future.await);
    });
    told.recv().map_err(|_| StorageError::new(Fault::Other, "the connection broke off; this is a defect of upkeep"))
}

/// Does it, and does it again after a pause while the reason of its failure may pass. `bytes` are moved at `rate` at the
/// most, where one is set.
pub(super) fn persist<T: Send + 'static, F>(
    what: &str,
    bytes: u64,
    rate: Option<u64>,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StorageError>
where
    F: Future<Output = Result<T, StorageError>> + Send + 'static,
{
    // Others may take their share of a limited rate meanwhile.
    let slowest = rate.map_or(SLOWEST, |rate| (rate / 16).clamp(1, SLOWEST));
    let patience = PATIENCE + Duration::from_secs(bytes / slowest);
    let mut pauses = PAUSES.into_iter();
    loop {
        let bounded = tokio_timeout(patience, attempt());
        let error = match wait(bounded)? {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        match pauses.next() {
            Some(pause) if error.fault == Fault::Passing => {
                tracing::warn!(what, reason = %error, "trying again in {} ms", pause.as_millis());
                std::thread::sleep(pause);
            }
            _ => return Err(error),
        }
    }
}

async fn tokio_timeout<T>(
    patience: Duration,
    attempt: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    tokio::time::timeout(patience, attempt).await.unwrap_or_else(|_| {
        Err(StorageError::new(Fault::Passing, format!("there was no answer for {} seconds", patience.as_secs())))
    })
}
