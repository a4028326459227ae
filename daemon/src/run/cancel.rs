//! Ending a run before it is over, with the reason.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Why a run is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A person or the task's overlap policy: the run is `cancelled`.
    By(String),
    /// The daemon stops: the run stays in the journal and is resumed at the next start.
    Shutdown,
}

/// A cancellation that knows its reason; the first one counts.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    token: CancellationToken,
    reason: Arc<OnceLock<Reason>>,
}

impl Cancel {
    /// Ends the run.
    pub fn cancel(&self, reason: Reason) {
        // A second reason comes too late.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// The token that host calls look at.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Waits for the cancellation.
    pub async fn cancelled(&self) -> Reason {
        self.token.cancelled().await;
        self.reason.get().cloned().unwrap_or(Reason::Shutdown)
    }
}
