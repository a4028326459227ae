//! What is forgotten, and when. The decision is pure: it takes `now`.
//!
//! A run goes when it ended longer ago than the retention keeps, unless it is among the newest of its task. With it go
//! its steps, log, report, findings, documents, requests and metrics. A slot goes when it was due longer ago. Task state and cursors stay.
//! Rows are removed in small commits, between which the others of the writer have their turn.

use std::time::Duration;

use super::rows::Statement;
use super::{Store, StoreError};
use crate::clock::Timestamp;
use crate::record::RunId;

/// Runs of one commit: each has rows in other tables.
const RUNS: usize = 100;
/// Rows of one commit.
const ROWS: u32 = 2_000;
/// Slots that are looked up at once.
const SLOTS: u32 = 20_000;

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
        let expired: Vec<RunId> = self.read().expired_runs(retention.sweep(now)).await?;
        let mut pruned = Pruned::default();
        for runs in expired.chunks(RUNS) {
            pruned.runs += self.remove_runs(runs).await?;
        }
        loop {
            let slots = self.read().expired_slots(retention.cutoff(now), SLOTS).await?;
            if slots.is_empty() {
                self.forget_lives(retention.cutoff(now)).await?;
                return Ok(pruned);
            }
            for slots in slots.chunks(ROWS as usize) {
                const DELETE: &str = "DELETE FROM slots WHERE (task, due) IN (VALUES {rows})";
                let slots = slots.iter().map(|(task, due)| [task.clone().into(), (*due).into()]);
                pruned.slots += self.remove(Statement::new(DELETE, slots)).await?;
            }
        }
    }

    /// Forgets findings that nobody has seen since then, and that have not changed either.
    async fn forget_lives(&self, cutoff: Timestamp) -> Result<(), StoreError> {
        const DELETE: &str = "\
            DELETE FROM lives WHERE EXISTS (SELECT 1 FROM (VALUES {rows}) v \
            WHERE lives.last_seen < v.column1 AND lives.changed < v.column1)";
        self.remove(Statement::new(DELETE, [[cutoff.into()]].into_iter())).await.map(drop)
    }

    /// Removes runs. What they may have thousands of goes first, in commits of its own.
    async fn remove_runs(&self, runs: &[RunId]) -> Result<u64, StoreError> {
        loop {
            const DELETE: &str = "DELETE FROM logs WHERE id IN (VALUES {rows})";
            let logs = self.read().log_numbers(runs, ROWS).await?;
            if logs.is_empty() {
                break;
            }
            self.remove(Statement::new(DELETE, logs.iter().map(|id| [(*id).into()]))).await?;
        }
        loop {
            const DELETE: &str = "DELETE FROM steps WHERE (run, ordinal) IN (VALUES {rows})";
            let steps = self.read().step_numbers(runs, ROWS).await?;
            if steps.is_empty() {
                break;
            }
            let steps = steps.into_iter().map(|(run, ordinal)| [run.into(), ordinal.into()]);
            self.remove(Statement::new(DELETE, steps)).await?;
        }
        const DELETE: &str = "DELETE FROM runs WHERE id IN (VALUES {rows}) AND phase = 'done'";
        self.remove(Statement::new(DELETE, runs.iter().map(|run| [run.to_string().into()]))).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Exactly those go that are over, old, and behind the newest of their task.
        #[test]
        fn newest_and_recent_runs_stay(
            ends in prop::collection::vec(prop::option::of(0i64..1_000), 0..40),
            keep in 0u64..1_200,
            keep_runs in 0u32..10,
        ) {
            let retention = Retention { keep: Duration::from_millis(keep), keep_runs };
            let mut sweep = retention.sweep(Timestamp(1_000));
            for task in ["a", "b"] {
                for (newer, ended) in (0u32..).zip(&ends) {
                    let old = ended.is_some_and(|ended| ended < 1_000 - i64::try_from(keep).unwrap());
                    prop_assert_eq!(sweep.goes(task, ended.map(Timestamp)), old && newer >= keep_runs);
                }
            }
        }
    }

    #[test]
    fn a_very_long_time_keeps_all() {
        let retention = Retention { keep: Duration::MAX, keep_runs: 0 };
        assert!(!retention.sweep(Timestamp(0)).goes("a", Some(Timestamp(i64::MIN + 1))));
    }
}
