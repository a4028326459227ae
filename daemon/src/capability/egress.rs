//! The ledger of what leaves this server: each request and each mail is in it before it leaves, and how it ended is added
//! afterwards, also when nobody waits for that any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;
use ulid::Ulid;

use crate::capability::{Call, Run};
use crate::clock;
use crate::record::egress::{Egress, EgressResult};

/// The ends of a run's requests that are being written down.
#[derive(Debug, Default)]
pub struct Ledger(TaskTracker);

impl Ledger {
    /// Waits until the ledger knows how each request ended. Nobody makes one any more.
    pub async fn settle(&self) {
        self.0.close();
        self.0.wait().await;
    }

    /// Lets work go on whose requests belong to the run, though nobody there waits for it any more.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work);
    }
}

/// The line of one request.
pub(crate) struct Entry {
    run: Arc<Run>,
    began: Instant,
    pub(crate) row: Egress,
    /// Whether the ledger has it, and not yet its end.
    is_open: bool,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.is_open {
            // A plugin's own patience is known by nothing else than its end.
            let waited = self.began.elapsed();
            let parts = if waited < Duration::from_secs(1) { waited.as_millis() } else { waited.as_secs().into() };
            let unit = if waited < Duration::from_secs(1) { "ms" } else { "s" };
            let reason = format!("no answer within {parts}{unit}; the plugin did not wait any longer");
            self.end_now(EgressResult::Failed, Some(reason));
        }
    }
}

impl Entry {
    /// A line that is not written yet. There must be no secret in the address.
    pub(crate) fn new(run: Arc<Run>, call: Call, method: String, url: String) -> Self {
        let at = clock::now();
        let row = Egress {
            id: Ulid::from_datetime(std::time::UNIX_EPOCH + Duration::from_millis(at.0.try_into().unwrap_or(0)))
                .to_string(),
            run: run.id.clone(),
            task: run.task.to_string(),
            step: call.step(),
            at,
            method,
            url,
            address: None,
            result: EgressResult::Open,
            status: None,
            sent: 0,
            received: 0,
            took_ms: None,
            reason: None,
        };
        Self { run, began: Instant::now(), row, is_open: false }
    }

    /// Writes down that it is about to leave.
    ///
    /// # Errors
    /// Why it could not be written, in words: then it must not leave.
    pub(crate) async fn open(&mut self) -> Result<(), String> {
        self.is_open = true;
        let written = self.run.store.egress(&self.row).await;
        written.map_err(|error| format!("the ledger of requests cannot be written: {error}"))
    }

    /// It is not let out: the run remembers it, and so does the ledger.
    pub(crate) async fn deny(mut self, reason: String) {
        self.run.deny(&format!("{} {reason}", self.row.method));
        self.row.result = EgressResult::Denied;
        self.row.reason = Some(reason);
        self.row.took_ms = Some(0);
        let store = &self.run.store;
        let was_open = std::mem::take(&mut self.is_open);
        let written = if was_open { store.egress_ended(&self.row).await } else { store.egress(&self.row).await };
        if let Err(error) = written {
            tracing::warn!(%error, "the ledger of requests could not be written");
        }
    }

    /// What is to be said of it in the end, where its end has no reason of its own.
    pub(crate) fn note(&mut self, reason: String) {
        self.row.reason = Some(reason);
    }

    /// Writes down how it ended, without waiting.
    pub(crate) fn end(mut self, result: EgressResult, reason: Option<String>) {
        self.end_now(result, reason);
    }

    fn end_now(&mut self, result: EgressResult, reason: Option<String>) {
        self.is_open = false;
        self.row.result = result;
        self.row.reason = reason.or(self.row.reason.take());
        self.row.took_ms = Some(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let (store, row) = (self.run.store.clone(), self.row.clone());
        self.run.ledger.0.spawn(async move {
            if let Err(error) = store.egress_ended(&row).await {
                tracing::warn!(%error, "the ledger of requests could not be written");
            }
        });
    }
}
