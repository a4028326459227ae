//! What is forgotten, and when. The decision is pure: it takes `now`.
//!
//! A run goes when it ended longer ago than the retention keeps, unless it is among the newest of its task. With it go
//! its steps, log, report, findings and metrics. A slot goes when it was due longer ago. Task state and cursors stay.
//! Rows are removed in small commits, between which the others of the writer have their turn.

use std::time::Duration;

use super::{Store, StoreError};
use crate::clock::Timestamp;
use crate::run::record::RunId;

/// Runs of one commit: with their steps and logs they may be many rows.
const RUNS: usize = 100;
/// Slots of one commit.
const SLOTS: u32 = 2_000;

/// How long the journal is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Runs and slots older than this go.
    pub keep: Duration,
    /// This many runs of each task stay, however old.
    pub keep_runs: u32,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs, each with all that belongs to it.
    pub runs: u64,
    /// Slots.
    pub slots: u64,
}

impl Retention {
    /// What ended or was due before this is old.
    pub fn cutoff(&self, now: Timestamp) -> Timestamp {
        let keep = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        Timestamp(now.0.saturating_sub(keep))
    }

    /// A look over all runs, task by task and newest first, that says of each whether it goes.
    pub fn sweep(&self, now: Timestamp) -> Sweep {
        Sweep { cutoff: self.cutoff(now), keep_runs: self.keep_runs, task: None, seen: 0 }
    }
}

/// Decides run by run; see [`Retention::sweep`].
#[derive(Debug)]
pub struct Sweep {
    cutoff: Timestamp,
    keep_runs: u32,
    task: Option<String>,
    seen: u32,
}

impl Sweep {
    /// Whether the next run of the look goes. A run that is not over (`ended` is none) stays, and counts.
    pub fn goes(&mut self, task: &str, ended: Option<Timestamp>) -> bool {
        if self.task.as_deref() != Some(task) {
            self.task = Some(task.to_owned());
            self.seen = 0;
        }
        self.seen = self.seen.saturating_add(1);
        self.seen > self.keep_runs && ended.is_some_and(|ended| ended < self.cutoff)
    }
}

impl Store {
    /// Forgets what the retention does not keep.
    pub async fn prune(&self, now: Timestamp, retention: &Retention) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let expired: Vec<RunId> = self.read().expired(retention.sweep(now)).await?;
        for runs in expired.chunks(RUNS) {
            pruned.runs += self.remove_runs(runs.to_vec()).await?;
        }
        loop {
            let slots = self.remove_slots(retention.cutoff(now), SLOTS).await?;
            pruned.slots += slots;
            if slots < u64::from(SLOTS) {
                return Ok(pruned);
            }
        }
    }
}
