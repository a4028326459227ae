//! Which moments a rule names in a time zone, before jitter and window: the walk over spans of constant offset.
//!
//! Inside a span a local time is one moment, and nothing is special. What a clock change does is decided at the seam:
//!
//! * **Gap** (the clock goes forward): the local times that are left out are gathered into at most one slot at the first
//!   moment after the gap, [`Cause::Gap`]; when the rule names that moment anyway, the two are one slot.
//! * **Overlap** (the clock goes back): the local times come once at the end of a span and again at the start of the next.
//!
//! All moments are seconds since the epoch.

use super::calendar::{Calendar, naive};
use super::slot::{Cause, Gap, GapRuling};
use super::zone::{Span, Zone};
use crate::config::schedule::DstGap;

/// What names the moments of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// Local times.
    Calendar(std::sync::Arc<Calendar>),
    /// Every so many seconds of the epoch. Knows no local time, so no clock change touches it.
    Every(i64),
}

/// A moment that a rule names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nominal {
    pub(super) at: i64,
    pub(super) local: i64,
    pub(super) cause: Cause,
}

impl Rule {
    /// The first moment after `after`.
    pub(super) fn next(&self, zone: &Zone, dst_gap: DstGap, after: i64) -> Option<Nominal> {
        let mut from = after.checked_add(1)?;
        let calendar = match self {
            Self::Every(seconds) => {
                let at = from.checked_add(seconds - 1)?.div_euclid(*seconds).checked_mul(*seconds)?;
                return Some(Nominal { at, local: zone.local(at), cause: Cause::OnTime });
            }
            Self::Calendar(calendar) => calendar,
        };
        let mut span = zone.span(from);
        loop {
            if from == span.start
                && let Some(nominal) = calendar.after_gap(span, dst_gap)
            {
                return Some(nominal);
            }
            if let Some(local) = calendar.next(from + span.offset - 1)
                && local - span.offset < span.end
            {
                let every_hour = calendar.names_every_hour();
                let cause = match (span.is_first(local), span.is_second(local)) {
                    (_, true) => Cause::Overlap { second: true, every_hour },
                    (true, false) => Cause::Overlap { second: false, every_hour },
                    (false, false) => Cause::OnTime,
                };
                return Some(Nominal { at: local - span.offset, local, cause });
            }
            span = zone.next(span)?;
            from = span.start;
        }
    }

    /// How many moments it names in `from <= at < to`, all of them in one span. The moment after a gap counts only if the
    /// rule names it.
    pub(super) fn count(&self, span: &Span, from: i64, to: i64) -> u64 {
        match self {
            Self::Calendar(calendar) => calendar.count(from + span.offset, to + span.offset),
            Self::Every(seconds) if from < to => {
                let until = |at: i64| (at - 1).div_euclid(*seconds);
                until(to).abs_diff(until(from))
            }
            Self::Every(_) => 0,
        }
    }

    /// The slot at the start of a span, if there is one because of a gap before it.
    pub(super) fn after_gap(&self, span: &Span, dst_gap: DstGap) -> Option<Nominal> {
        match self {
            Self::Calendar(calendar) => calendar.after_gap(span, dst_gap),
            Self::Every(_) => None,
        }
    }

    /// Whether the second of two equal local times counts as much as the first.
    pub(super) fn counts_both(&self) -> bool {
        match self {
            Self::Calendar(calendar) => calendar.names_every_hour(),
            Self::Every(_) => true,
        }
    }
}

impl Calendar {
    fn after_gap(&self, span: &Span, dst_gap: DstGap) -> Option<Nominal> {
        if span.offset <= span.before {
            return None;
        }
        let (from, to) = (span.start + span.before, span.start + span.offset);
        let first = self.next(from - 1).filter(|first| *first < to)?;
        let count = self.count(from, to);
        // The last: the least local time up to which all are counted.
        let (mut low, mut high) = (first - 1, to - 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.count(from, middle + 1) == count { high = middle } else { low = middle }
        }
        let whole_hours = (span.offset - span.before) % 3600 == 0;
        let ruling = match dst_gap {
            _ if self.names_every_hour() && whole_hours => GapRuling::NothingLost,
            DstGap::Skip => GapRuling::Skip,
            DstGap::RunAfter => GapRuling::RunAfter,
        };
        let gap = Box::new(Gap { count, first: naive(first), last: naive(high), ruling });
        Some(if self.contains(to) {
            Nominal { at: span.start, local: to, cause: Cause::OnTimeAfterGap(gap) }
        } else {
            Nominal { at: span.start, local: first, cause: Cause::Gap(gap) }
        })
    }
}
