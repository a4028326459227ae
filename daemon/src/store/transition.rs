//! The transitions of runs, as they are journaled: the seam at which another engine could take SQLite's place.

use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::record::finding::Life;
use crate::record::{LogRecord, Metric, Report, Run, RunId, Slot, Step};

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
    /// What is known of findings from now on; with the end of the run that found them.
    Lives(Vec<Life>),
    /// Log records.
    Log(Vec<LogRecord>),
}

/// Says what is recorded, to finish the sentence "cannot record ...".
impl std::fmt::Display for Transition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Queue(runs) => match runs.as_slice() {
                [run] => write!(f, "the queueing of run {} of {}", run.id, run.task),
                runs => write!(f, "the queueing of {} runs", runs.len()),
            },
            Self::Decide(slots) => write!(f, "the decision of {} slots", slots.len()),
            Self::Observe { tasks, at } => {
                write!(f, "that the schedules of {} tasks were looked at up to {at}", tasks.len())
            }
            Self::Start { run, .. } => write!(f, "the start of run {run}"),
            Self::Plan { run, steps } => write!(f, "the plan of run {run} with {} steps", steps.len()),
            Self::StartStep { run, ordinal, .. } => write!(f, "the start of step {ordinal} of run {run}"),
            Self::FinishStep { run, ordinal, next: None, .. } => write!(f, "the end of step {ordinal} of run {run}"),
            Self::FinishStep { run, ordinal, next: Some(next), .. } => {
                write!(f, "the end of step {ordinal} and the start of step {next} of run {run}")
            }
            Self::Resume { run, .. } => write!(f, "that run {run} goes on"),
            Self::Finish { run, outcome, .. } => write!(f, "the end of run {run} as {}", outcome.name()),
            Self::Lives(lives) => write!(f, "what is known of {} findings", lives.len()),
            Self::Log(records) => write!(f, "{} log records", records.len()),
        }
    }
}
