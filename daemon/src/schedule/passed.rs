//! Slots that lie behind: what to run now, and what to record as missed.
//!
//! The slots between a task's cursor (up to where its slots are decided) and now are counted span by span and day by day,
//! never one by one, and the few whose moments matter are found by bisecting the count. So a year of downtime under
//! `* * * * * *` costs about as much as an hour of it.

use serde::Serialize;

use super::calendar::DAY;
use super::nominal::Rule;
use super::slot::{Decision, Slot};
use super::zone::Span;
use super::{Schedule, Seed};
use crate::clock::Timestamp;
use crate::config::schedule::{CatchUp, DstOverlap, Window};

/// A slot that is later than this, in milliseconds, is late: `catch_up` decides about it. A busy machine may take some
/// seconds to wake up for a slot, and must not lose it for that.
pub const GRACE: i64 = 60_000;

/// What became of the slots between a cursor and now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// Slots of the last minute, in order, each with its own decision: `Run` is a run with the trigger `schedule`.
    pub on_time: Vec<Slot>,
    /// Late slots that run now because of `catch_up`, oldest first.
    pub caught_up: Vec<Slot>,
    /// Late slots that would have run and do not.
    pub missed: Option<Stretch>,
    /// Late slots that a clock change removed.
    pub skipped: Option<Stretch>,
    /// Late slots outside of the window.
    pub suppressed: Option<Stretch>,
}

/// Slots of one kind that are recorded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// How many.
    pub count: u64,
    /// When the first was due.
    pub first: Timestamp,
    /// When the last was due.
    pub last: Timestamp,
}

impl std::fmt::Display for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |at: Timestamp| at.utc().format("%Y-%m-%dT%H:%M:%SZ");
        match self.count {
            1 => write!(f, "1 slot at {}", time(self.first)),
            count => write!(f, "{count} slots from {} to {}", time(self.first), time(self.last)),
        }
    }
}

/// How many slots of each kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    run: u64,
    skip: u64,
    suppress: u64,
}

impl Tally {
    fn of(self, decision: Decision) -> u64 {
        match decision {
            Decision::Run => self.run,
            Decision::Skip => self.skip,
            Decision::Suppress => self.suppress,
        }
    }

    fn add(&mut self, decision: Decision, count: u64) {
        *match decision {
            Decision::Run => &mut self.run,
            Decision::Skip => &mut self.skip,
            Decision::Suppress => &mut self.suppress,
        } += count;
    }
}

impl Schedule {
    /// What became of the slots after `cursor` and up to `now`.
    ///
    /// The policy `last` is met by an on-time slot that runs: it is the last, and the late ones are missed.
    pub fn passed(&self, seed: Seed, cursor: Timestamp, now: Timestamp) -> Passed {
        let late_until = Timestamp(now.0.saturating_sub(GRACE + 1)).max(cursor);
        let on_time: Vec<Slot> = self.slots(seed, late_until).take_while(|slot| slot.due <= now).collect();
        let (from, to) = (cursor.0.div_euclid(1000), late_until.0.div_euclid(1000));
        let late = self.tally(seed, from, to);
        if late == Tally::default() {
            return Passed { on_time, ..Passed::default() };
        }
        let runs_now = on_time.iter().any(|slot| slot.decision == Decision::Run);
        let wanted = match self.catch_up {
            CatchUp::None => 0,
            CatchUp::Last if runs_now => 0,
            CatchUp::Last => 1,
            CatchUp::All(most) => most.into(),
        };
        let caught_up = late.run.min(wanted);
        let missed = late.run - caught_up;
        let nth = |decision, n| self.nth(seed, decision, from, to, n);
        let stretch = |decision, count| {
            let at = |n| Timestamp(nth(decision, n) * 1000);
            (count > 0).then(|| Stretch { count, first: at(1), last: at(count) })
        };
        Passed {
            on_time,
            caught_up: (missed + 1..=late.run).filter_map(|n| self.next(seed, nth(Decision::Run, n) - 1)).collect(),
            missed: stretch(Decision::Run, missed),
            skipped: stretch(Decision::Skip, late.skip),
            suppressed: stretch(Decision::Suppress, late.suppress),
        }
    }

    /// When the n-th slot of a kind after `from` is due: the least moment up to which n are counted.
    fn nth(&self, seed: Seed, decision: Decision, from: i64, to: i64, n: u64) -> i64 {
        let (mut low, mut high, mut counted) = (from, to, 0);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let below = self.tally(seed, low, middle).of(decision);
            if counted + below >= n {
                high = middle;
            } else {
                counted += below;
                low = middle;
            }
        }
        high
    }

    /// How many slots of each kind are due in `from < due <= to`, in seconds.
    fn tally(&self, seed: Seed, from: i64, to: i64) -> Tally {
        let mut tally = Tally::default();
        let Some(rule) = &self.rule else { return tally };
        let delay = self.delay(seed);
        let (mut from, to) = (from + 1 - i64::from(delay), to + 1 - i64::from(delay));
        while from < to {
            let span = self.zone.span(from);
            if from == span.start
                && let Some(nominal) = rule.after_gap(span, self.dst_gap)
            {
                tally.add(self.decide(nominal, delay).decision, 1);
                from += 1;
            }
            // A piece: one offset for the nominal time, one for the start, and no seam of an overlap inside.
            let start_span = self.zone.span(from + i64::from(delay));
            let mut until = to.min(span.end).min(start_span.end.saturating_sub(delay.into()));
            let second = span.is_second(from + span.offset);
            if second {
                until = until.min(span.start + span.before - span.offset);
            }
            let total = rule.count(span, from, until);
            if second && !rule.counts_both() && self.dst_overlap == DstOverlap::Once {
                tally.skip += total;
            } else {
                let shift = i64::from(delay) + start_span.offset;
                let inside = self.window.map_or(total, |window| count_inside(rule, span, window, shift, from, until));
                tally.run += inside;
                tally.suppress += total - inside;
            }
            from = until.max(from);
        }
        tally
    }
}

/// How many moments of a piece `from <= at < to` start inside of a window; `shift` leads from the moment to the local start.
fn count_inside(rule: &Rule, span: &Span, window: Window, shift: i64, from: i64, to: i64) -> u64 {
    let (open, close) = (i64::from(window.from) * 60, i64::from(window.to) * 60);
    let length = (close - open).rem_euclid(DAY);
    let days = (from + shift).div_euclid(DAY) - 1..=(to + shift).div_euclid(DAY);
    days.map(|day| {
        let opens = day * DAY + open - shift;
        rule.count(span, opens.max(from), (opens + length).min(to))
    })
    .sum()
}
