//! The daily digest: what happened since the last one, in one message.
//!
//! Flow: at the time of day that is configured the dispatcher asks [`gather`] for [`Facts`]; [`text`] makes Markdown of them, pure; and
//! the message, with what later digests compare with, goes into the journal in one transaction. What there is nothing to say
//! about has no line.

pub mod gather;
pub mod text;

use std::collections::BTreeMap;

use chrono::Days;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::quiet::moment;
use crate::clock::Timestamp;
use crate::config::alerts::TimeOfDay;
use crate::record::Severity;
use crate::record::alert::Alert;
use crate::stats::Figures;

/// What happened in a span of time, and how things are at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Name of the machine.
    pub host: String,
    /// The zone in which times are told.
    pub zone: Tz,
    /// When the span begins.
    pub from: Timestamp,
    /// When it ends: now.
    pub to: Timestamp,
    /// The tasks that ran, by name.
    pub tasks: Vec<TaskFacts>,
    /// Slots that were missed, by task.
    pub missed: Vec<(String, u64)>,
    /// Tasks that save something, look for damage, or restore on trial.
    pub backups: Vec<BackupFacts>,
    /// Disks, the fullest first.
    pub disks: Vec<DiskFacts>,
    /// What is known of findings.
    pub findings: FindingFacts,
    /// Traffic of logs.
    pub traffic: Vec<TrafficFacts>,
    /// Messages that were sent, that are dead or expired, and that wait.
    pub messages: MessageFacts,
    /// Alerts that are open, those first that matter most.
    pub alerts: Vec<Alert>,
    /// Why nothing can be recorded at this time.
    pub journal_error: Option<String>,
    /// What could not be found out, and why.
    pub unknown: Vec<String>,
}

/// How the runs of a task went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskFacts {
    /// Its name.
    pub task: String,
    /// How many ended how.
    pub outcomes: BTreeMap<String, u64>,
    /// How long those that succeeded took on average, in milliseconds.
    pub took_ms: Option<f64>,
    /// The same of the two weeks before.
    pub usual_ms: Option<f64>,
    /// Why it fails, if its last run did.
    pub failing: Option<String>,
}

/// A task that works with a backup repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFacts {
    /// Its name.
    pub task: String,
    /// When its last run ended that did what it is for.
    pub at: Timestamp,
    /// What came of it.
    pub done: BackupDone,
}

/// What a run did with a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupDone {
    /// No run has succeeded so far.
    Never,
    /// It saved so many files, and so many bytes were new.
    Saved {
        /// Files.
        files: u64,
        /// Bytes that the repository grew by.
        added: u64,
    },
    /// It looked for damage.
    Checked {
        /// How much was found.
        damages: u64,
    },
    /// It restored on trial.
    Drilled {
        /// Sources that did not come back as they should.
        failed: u64,
        /// How long the recovery took, in milliseconds.
        took_ms: u64,
    },
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// Where it is mounted.
    pub mount: String,
    /// All there is, in bytes.
    pub total: u64,
    /// What is left, in bytes.
    pub available: u64,
    /// What is in use, in bytes; with what is left it can be less than all there is, of which root has a part.
    pub used: u64,
    /// What it grew by in a day, in bytes, as earlier digests know.
    pub a_day: Option<i64>,
}

impl DiskFacts {
    /// How full it is, in hundredths, as `df` counts.
    pub fn percent(&self) -> u64 {
        let usable = u128::from(self.used) + u128::from(self.available);
        (u128::from(self.used) * 100).checked_div(usable).and_then(|it| u64::try_from(it).ok()).unwrap_or(0)
    }

    /// In how many days it is full, when it goes on like this.
    pub fn days_left(&self) -> Option<u64> {
        let a_day = u64::try_from(self.a_day?).ok().filter(|it| *it > 0)?;
        Some(self.available / a_day)
    }
}

/// What is known of findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingFacts {
    /// How many are open and not ignored, by severity.
    pub open: BTreeMap<Severity, u64>,
    /// Those that came or came back: severity, title and task, the worst first.
    pub new: Vec<(Severity, String, String)>,
    /// How many were fixed.
    pub fixed: u64,
}

/// Traffic of a log on a day.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficFacts {
    /// The log.
    pub source: String,
    /// The day.
    pub day: String,
    /// What happened.
    pub figures: Figures,
    /// What happened on the same weekday before.
    pub before: Option<Figures>,
}

/// Messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageFacts {
    /// That were sent.
    pub sent: u64,
    /// That no channel took.
    pub dead: u64,
    /// Whose time was over.
    pub expired: u64,
    /// That can be delivered and wait.
    pub waiting: u64,
}

/// What a digest leaves for later ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// How many bytes were used, by mount.
    #[serde(default)]
    pub used: BTreeMap<String, u64>,
}

/// When the next digest is due after one, or after a moment before which there was none.
pub fn next(at: TimeOfDay, zone: Tz, after: Timestamp) -> Option<Timestamp> {
    let day = after.utc().with_timezone(&zone).date_naive();
    (0..=2).find_map(|days| {
        let due = moment(zone, day.checked_add_days(Days::new(days))?, at.minute)?;
        (due > after).then_some(due)
    })
}

#[cfg(test)]
mod tests;
