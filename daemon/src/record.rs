//! What is known of a run: the rows of the store and the objects of the API.

use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::clock::Timestamp;
use crate::outcome::Outcome;

pub mod alert;
pub mod consent;
pub mod egress;
pub mod finding;
pub mod outbox;
pub mod token;

pub use finding::Finding;

/// Identifier of a run: a ULID, so that runs sort by the time they were queued.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RunId(pub Box<str>);

impl RunId {
    /// A new identifier for a run that is queued at `at`. Those of one millisecond sort as they were made: many slots may
    /// be due in the same moment.
    pub fn new(at: Timestamp) -> Self {
        static LAST: Mutex<Ulid> = Mutex::new(Ulid::nil());
        let at = u64::try_from(at.0).unwrap_or(0);
        let fresh = Ulid::from_datetime(std::time::UNIX_EPOCH + std::time::Duration::from_millis(at));
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        *last = following(*last, at, fresh.random());
        Self(last.to_string().into())
    }
}

/// The identifier for the millisecond `at` that comes after `last`, when that is of the same millisecond.
fn following(last: Ulid, at: u64, random: u128) -> Ulid {
    // The first leaves half of the numbers to those behind it, which go up by steps of up to 64 bits: after a few
    // characters two of them can still be told apart.
    let next = if last.timestamp_ms() == at { last.random() + 1 + (random >> 16) } else { random >> 1 };
    Ulid::from_parts(at, if next >> 80 == 0 { next } else { random >> 1 })
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a run was queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "trigger", rename_all = "kebab-case")]
pub enum Trigger {
    /// A slot of the schedule.
    Schedule,
    /// A slot that was missed and is caught up.
    CatchUp,
    /// The daemon started.
    Startup,
    /// Something changed at a watched path.
    Watch {
        /// The path.
        path: String,
    },
    /// Another task ended.
    After {
        /// Its run.
        run: RunId,
    },
    /// A message of the outbox can be delivered.
    Outbox,
    /// An earlier attempt failed.
    Retry {
        /// That attempt.
        run: RunId,
    },
    /// A person or a program asked for it.
    Manual {
        /// Who: `uid 0`.
        by: String,
    },
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It waits for its turn.
    Queued,
    /// The plugin makes the list of steps.
    Planning,
    /// Steps are executed.
    Executing,
    /// All steps are over, the plugin sums up.
    Finishing,
    /// It is over.
    Done,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Its identifier.
    pub id: RunId,
    /// Name of the task.
    pub task: String,
    /// Why it was queued.
    #[serde(flatten)]
    pub trigger: Trigger,
    /// The slot it is for.
    pub due: Timestamp,
    /// When it was queued.
    pub queued: Timestamp,
    /// When it got its permit.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Counts from 1.
    pub attempt: u32,
    /// Whether only the plan is made.
    pub dry_run: bool,
    /// Where it stands.
    pub phase: Phase,
    /// How it ended; present when the phase is `done`.
    pub outcome: Option<Outcome>,
    /// SHA-256 over plugin, config, grants and limits at its start, hexadecimal: a crashed run is resumed only by the same.
    pub fingerprint: Option<String>,
    /// How often it was resumed after a crash.
    pub resumed: u32,
}

impl Run {
    /// A run that has just been queued.
    pub fn queued(id: RunId, task: impl Into<String>, trigger: Trigger, due: Timestamp, queued: Timestamp) -> Self {
        Self {
            id,
            task: task.into(),
            trigger,
            due,
            queued,
            started: None,
            ended: None,
            attempt: 1,
            dry_run: false,
            phase: Phase::Queued,
            outcome: None,
            fingerprint: None,
            resumed: 0,
        }
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepPhase {
    /// It waits.
    Pending,
    /// It is executed.
    Running,
    /// It is over; it is never run again in this run.
    Done,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its place in the plan, from 0.
    pub ordinal: u32,
    /// The plugin's identifier, unique in the run.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Share of the run's work.
    pub weight: u64,
    /// JSON for `execute`.
    pub input: String,
    /// Where it stands.
    pub phase: StepPhase,
    /// When it was last started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// JSON that `execute` returned, when it went well.
    pub output: Option<String>,
    /// How it ended otherwise.
    pub error: Option<Outcome>,
}

/// A slot that did not become a run, or did: nothing vanishes silently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Slot {
    /// Name of the task.
    pub task: String,
    /// When it was due.
    pub due: Timestamp,
    /// What became of it.
    pub decision: SlotDecision,
    /// Why.
    pub reason: String,
    /// The run that it became.
    pub run: Option<RunId>,
}

/// What became of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SlotDecision {
    /// It became a run.
    Ran,
    /// A run of the task was not over, or the local time did not exist.
    Skipped,
    /// The daemon was down, suspended, or the clock jumped.
    Missed,
    /// It lay outside of the task's window.
    Suppressed,
}

/// Level of a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the field's")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// One record of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogRecord {
    /// The run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// The step that wrote it, by ordinal; none for plan, finish and the host.
    pub step: Option<u32>,
    /// Level.
    pub level: Level,
    /// Text.
    pub message: String,
    /// Keys and values.
    pub fields: Vec<(String, String)>,
}

/// What a plugin sums up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// One line.
    pub summary: String,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What was found by runs before, and is not there any more.
    #[serde(default)]
    pub fixed: Vec<Finding>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Markdown.
    pub text: String,
    /// How the keys of findings begin that the run did not look for: they are not fixed because they were not found.
    #[serde(skip)]
    pub unseen: Vec<String>,
    /// What programs take from the run; the journal keeps it apart.
    #[serde(skip)]
    pub documents: Vec<Document>,
}

/// A file that a run made for other programs, such as a list of components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// A file name, unique in the run.
    pub name: String,
    /// Its kind: `application/vnd.cyclonedx+json`.
    pub media_type: String,
    /// Text.
    pub content: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the field's")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// A table of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// Title.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// One list per row, one cell per column.
    pub rows: Vec<Vec<String>>,
}

/// One series of a run's metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// Name.
    pub name: String,
    /// Keys and values, sorted.
    pub labels: Vec<(String, String)>,
    /// The number.
    #[serde(flatten)]
    pub value: MetricValue,
}

/// The number of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "value", rename_all = "lowercase")]
pub enum MetricValue {
    /// A sum that only grows.
    Counter(f64),
    /// The last value.
    Gauge(f64),
    /// Count, sum, minimum and maximum of the observations.
    Histogram {
        /// Number of observations.
        count: u64,
        /// Their sum.
        sum: f64,
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_sort_as_they_were_made() {
        let mut last = Ulid::nil();
        let ids = (0..30_000).map(|number| {
            last = following(
                last,
                1_700_000_000_000 + number / 10_000,
                Ulid::from_datetime(std::time::UNIX_EPOCH).random(),
            );
            last
        });
        let ids: Vec<_> = ids.collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }
}
