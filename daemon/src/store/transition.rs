//! The transitions of runs, as they are journaled: the seam at which another engine could take SQLite's place.

use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::run::record::{LogRecord, Metric, Report, Run, RunId, Slot, Step};

/// One change of the journal. A change is durable before anything acts on it.
#[derive(Debug, Clone)]
pub enum Transition {
    /// Runs were queued; all of them in one statement, so that 10,000 at once are quick.
    Queue(Vec<Run>),
    /// Slots were decided. The task's cursor moves to the latest of them.
    Decide(Vec<Slot>),
    /// The tasks' schedules were looked at up to `at`: slots before it are decided. Sets the cursor of tasks that have none
    /// or an earlier one.
    Observe {
        /// Names of the tasks.
        tasks: Vec<String>,
        /// Up to when.
        at: Timestamp,
    },
    /// A run got its permit and makes its plan.
    Start {
        /// The run.
        run: RunId,
        /// When.
        at: Timestamp,
        /// What a resumption has to match.
        fingerprint: String,
    },
    /// A run has its plan; the steps in it that are `Running` start with this same commit.
    Plan {
        /// The run.
        run: RunId,
        /// All steps.
        steps: Vec<Step>,
    },
    /// A step starts.
    StartStep {
        /// The run.
        run: RunId,
        /// The step.
        ordinal: u32,
        /// When.
        at: Timestamp,
    },
    /// A step is over: it is never run again. With `next`, that step starts with this same commit.
    FinishStep {
        /// The run.
        run: RunId,
        /// The step.
        ordinal: u32,
        /// When.
        at: Timestamp,
        /// JSON of the plugin, or how the step failed.
        result: Result<String, Outcome>,
        /// The step that starts now in its place.
        next: Option<u32>,
    },
    /// A crashed run goes on: steps that were running are pending again, `resumed` grows.
    Resume {
        /// The run.
        run: RunId,
        /// When.
        at: Timestamp,
    },
    /// A run is over.
    Finish {
        /// The run.
        run: RunId,
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
        /// What the plugin summed up, when it got that far.
        report: Option<Report>,
        /// Its metrics.
        metrics: Vec<Metric>,
    },
    /// Log records.
    Log(Vec<LogRecord>),
}
