//! What a run tells while it lasts. The reporter, the API and the progress bars only read events; nothing waits for
//! them, and a reader that is too slow misses some and is told how many.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::outcome::Outcome;
use crate::record::{LogRecord, Phase, RunId};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The run is in another phase.
    Phase {
        /// The run.
        run: RunId,
        /// Its task.
        task: String,
        /// The phase.
        phase: Phase,
    },
    /// The plan is made.
    Planned {
        /// The run.
        run: RunId,
        /// Number of steps.
        steps: u32,
        /// Sum of their weights.
        weight: u64,
    },
    /// A step started.
    StepStarted {
        /// The run.
        run: RunId,
        /// The step.
        ordinal: u32,
        /// One line for people.
        title: String,
        /// Its weight: what it adds to the run's when it is over.
        weight: u64,
    },
    /// A step said how far it is.
    Progress {
        /// The run.
        run: RunId,
        /// The step.
        ordinal: u32,
        /// So much is done.
        done: u64,
        /// Of so much, when it is known.
        total: Option<u64>,
        /// What is counted: `bytes`, `files`.
        unit: String,
    },
    /// A step is over.
    StepEnded {
        /// The run.
        run: RunId,
        /// The step.
        ordinal: u32,
        /// Its weight.
        weight: u64,
        /// How it failed.
        error: Option<Outcome>,
    },
    /// A record of the log.
    Log {
        /// The record.
        record: LogRecord,
    },
    /// The run is over.
    Ended {
        /// The run.
        run: RunId,
        /// Its task.
        task: String,
        /// How.
        outcome: Outcome,
    },
}

impl Event {
    /// The run that it is about.
    pub fn run(&self) -> &RunId {
        match self {
            Self::Phase { run, .. }
            | Self::Planned { run, .. }
            | Self::StepStarted { run, .. }
            | Self::Progress { run, .. }
            | Self::StepEnded { run, .. }
            | Self::Ended { run, .. } => run,
            Self::Log { record } => &record.run,
        }
    }
}

/// Where events are sent to, and listened to.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(4096).0)
    }
}

impl Events {
    /// Tells whoever listens.
    pub fn send(&self, event: Event) {
        // An error only says that nobody listens.
        let _ = self.0.send(event);
    }

    /// Tells of a log record; costs nothing when nobody listens.
    pub fn log(&self, record: &LogRecord) {
        if self.0.receiver_count() > 0 {
            self.send(Event::Log { record: record.clone() });
        }
    }

    /// Whether anybody listens.
    pub fn heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
