//! When tasks should have succeeded: a task that fails tells so, one that never comes is only missed by who waits for it.
//!
//! After a success, the next one is due with the next slot, and may take as long as the task's timeout and its retries do. What was due
//! while the daemon was not there counts from its return, so that a machine that was off is not full of alerts before anything could be
//! caught up. Pure: times are arguments.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::load::Task;
use crate::config::task::Retry;
use crate::schedule::{Decision, Seed};

/// For starting late, and for a clock that is not exact.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// Slots that are looked through for one that runs.
const MOST_SLOTS: usize = 100_000;

/// A task that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// From then on it is overdue.
    pub at: Timestamp,
    /// When it was due.
    pub slot: Timestamp,
    /// How long it may take.
    pub allowed: Duration,
    /// When the last run ended that succeeded.
    pub last: Option<Timestamp>,
}

impl Watched {
    /// When a task is overdue that succeeded last at `last`, and that somebody could start since `since`. None when nobody waits
    /// for it: it is not enabled, or only events start it and no time is given.
    pub fn new(task: &Task, seed: Seed, last: Option<Timestamp>, since: Timestamp) -> Option<Self> {
        if !task.enabled || task.alerts.off.is_some() {
            return None;
        }
        let takes = takes(task.timeout, &task.retry);
        let from = last.unwrap_or(since);
        if let Some(overdue) = task.alerts.overdue {
            let at = later(from, overdue).max(later(since, takes.min(overdue)));
            return Some(Self { at, slot: from, allowed: overdue, last });
        }
        let runs = |slot: &crate::schedule::Slot| slot.decision == Decision::Run;
        let slot = task.schedule.slots(seed, from).take(MOST_SLOTS).find(runs)?.due;
        Some(Self { at: later(slot.max(since), takes), slot, allowed: takes, last })
    }
}

/// How long a run may take with all its attempts.
fn takes(timeout: Duration, retry: &Retry) -> Duration {
    let pauses = (0..retry.attempts).map(|attempt| {
        let doubled = retry.backoff.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
        doubled.min(retry.max_backoff)
    });
    let runs = timeout.saturating_mul(retry.attempts.saturating_add(1));
    pauses.fold(runs.saturating_add(GRACE), Duration::saturating_add)
}

fn later(at: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
}

/// The tasks that are waited for.
#[derive(Debug, Default)]
pub struct Overdue {
    tasks: HashMap<Arc<str>, Watched>,
    order: BTreeSet<(Timestamp, Arc<str>)>,
}

impl Overdue {
    /// Waits for a task, or no longer.
    pub fn set(&mut self, task: &Arc<str>, watched: Option<Watched>) {
        if let Some(before) = self.tasks.remove(task) {
            self.order.remove(&(before.at, Arc::clone(task)));
        }
        if let Some(watched) = watched {
            self.order.insert((watched.at, Arc::clone(task)));
            self.tasks.insert(Arc::clone(task), watched);
        }
    }

    /// Waits for nobody.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// When the first task is overdue.
    pub fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Tasks that are overdue by now; they are waited for no longer.
    pub fn pop(&mut self, now: Timestamp) -> Vec<(Arc<str>, Watched)> {
        let mut late = Vec::new();
        while self.order.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, task)) = self.order.pop_first() else { break };
            late.extend(self.tasks.remove(&task).map(|watched| (task, watched)));
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_may_take_all_its_attempts() {
        let minute = Duration::from_secs(60);
        let retry = |attempts| Retry { attempts, backoff: minute, max_backoff: 3 * minute };
        assert_eq!(takes(60 * minute, &retry(0)), 65 * minute);
        assert_eq!(takes(10 * minute, &retry(3)), (4 * 10 + 1 + 2 + 3 + 5) * minute);
        assert_eq!(takes(Duration::MAX, &retry(100)), Duration::MAX);
    }

    #[test]
    fn the_first_is_told_first_and_once() {
        let mut overdue = Overdue::default();
        let watched = |at| Watched { at: Timestamp(at), slot: Timestamp(0), allowed: Duration::ZERO, last: None };
        let [a, b]: [Arc<str>; 2] = ["a".into(), "b".into()];
        overdue.set(&a, Some(watched(5)));
        overdue.set(&b, Some(watched(3)));
        overdue.set(&a, Some(watched(9)));
        assert_eq!(overdue.next(), Some(Timestamp(3)));
        assert_eq!(overdue.pop(Timestamp(8)), [(Arc::clone(&b), watched(3))]);
        assert_eq!((overdue.pop(Timestamp(8)).len(), overdue.next()), (0, Some(Timestamp(9))));
        overdue.set(&a, None);
        assert_eq!(overdue.next(), None);
    }
}
