//! The schedules of all tasks, in the order in which they are due.
//!
//! Each task stands in it with its next slot and its cursor. Whoever owns the timetable sleeps until [`Timetable::next_due`],
//! takes what is due by [`Timetable::pop_due`], and has nothing to do in between. A task that comes in with a cursor that lies
//! behind, after a restart, is due at once: its slots are caught up on the same path as after a suspend.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Passed, Schedule, Seed, Slot};
use crate::clock::Timestamp;

/// How far the clock may go back, in milliseconds, before the slots of that time are due a second time. Below it was put
/// right a little and nothing must repeat; above it was wrong, and waiting for the wrong time to come would stop the task
/// (cronie draws the line at three hours as well).
pub const REWIND: i64 = 3 * 60 * 60 * 1000;

/// The schedules of all tasks.
#[derive(Debug, Default)]
pub struct Timetable {
    entries: HashMap<Arc<str>, Entry>,
    /// Tasks that have a next slot, by its moment.
    queue: BTreeSet<(Timestamp, Arc<str>)>,
}

#[derive(Debug)]
struct Entry {
    schedule: Arc<Schedule>,
    seed: Seed,
    /// Up to where its slots are decided.
    cursor: Timestamp,
    next: Option<Slot>,
}

impl Timetable {
    /// Adds a task or replaces its schedule. Slots after `cursor` are decided from now on; one that lies further in the
    /// future than [`REWIND`] comes from a clock that was wrong, and `now` takes its place.
    pub fn insert(
        &mut self,
        task: impl Into<Arc<str>>,
        schedule: Arc<Schedule>,
        seed: Seed,
        cursor: Timestamp,
        now: Timestamp,
    ) {
        let task = task.into();
        self.remove(&task);
        let mut entry = Entry { schedule, seed, cursor: believable(cursor, now), next: None };
        entry.advance();
        if let Some(next) = &entry.next {
            self.queue.insert((next.due, Arc::clone(&task)));
        }
        self.entries.insert(task, entry);
    }

    /// Takes a task out. Whether it was there.
    pub fn remove(&mut self, task: &str) -> bool {
        let Some((task, entry)) = self.entries.remove_entry(task) else { return false };
        if let Some(next) = entry.next {
            self.queue.remove(&(next.due, task));
        }
        true
    }

    /// When the next slot is due, of whichever task.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// The next slot of a task.
    pub fn next_of(&self, task: &str) -> Option<&Slot> {
        self.entries.get(task)?.next.as_ref()
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tasks with slots up to `now`, each with what became of those. Their cursors move to `now`.
    pub fn pop_due(&mut self, now: Timestamp) -> Vec<(Arc<str>, Passed)> {
        let mut due = Vec::new();
        while let Some((at, _)) = self.queue.first()
            && *at <= now
            && let Some((_, task)) = self.queue.pop_first()
        {
            let Some(entry) = self.entries.get_mut(&task) else { continue };
            let passed = entry.pass(now);
            if let Some(next) = &entry.next {
                self.queue.insert((next.due, Arc::clone(&task)));
            }
            due.push((task, passed));
        }
        due
    }

    /// To be told when the wall clock was set: what was decided for a future that is not coming is taken back.
    pub fn clock_changed(&mut self, now: Timestamp) {
        for (task, entry) in &mut self.entries {
            let cursor = believable(entry.cursor, now);
            if cursor != entry.cursor {
                if let Some(next) = entry.next.take() {
                    self.queue.remove(&(next.due, Arc::clone(task)));
                }
                entry.cursor = cursor;
                entry.advance();
                if let Some(next) = &entry.next {
                    self.queue.insert((next.due, Arc::clone(task)));
                }
            }
        }
    }
}

impl Entry {
    fn advance(&mut self) {
        self.next = self.schedule.slots(self.seed, self.cursor).next();
    }

    /// Decides the slots up to `now`. The usual case, one slot that is on time, is not worth counting.
    fn pass(&mut self, now: Timestamp) -> Passed {
        let cursor = std::mem::replace(&mut self.cursor, now);
        let Some(slot) = self.next.take() else { return Passed::default() };
        let following = self.schedule.slots(self.seed, slot.due).next();
        if slot.due.0 + super::GRACE >= now.0 && following.as_ref().is_none_or(|following| following.due > now) {
            self.next = following;
            return Passed { on_time: vec![slot], ..Passed::default() };
        }
        self.advance();
        self.schedule.passed(self.seed, cursor, now)
    }
}

fn believable(cursor: Timestamp, now: Timestamp) -> Timestamp {
    if cursor.0.saturating_sub(now.0) > REWIND { now } else { cursor }
}
