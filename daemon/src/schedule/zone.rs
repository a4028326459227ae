//! A time zone as a list of spans in which its offset from UTC does not change.
//!
//! Within a span local time and UTC run side by side, so all that is special about clock changes happens between two
//! spans: a list makes that explicit, where a conversion function would hide it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::calendar::DAY;

/// Days that are searched for clock changes: from 1970 until 2101, after which chrono-tz knows none.
const DAYS: std::ops::Range<i64> = 0..47_847;

/// A time zone.
#[derive(Debug)]
pub(super) struct Zone {
    pub(super) tz: Tz,
    spans: Box<[Span]>,
}

/// A time in which the offset from UTC does not change. All in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// First moment, UTC.
    pub(super) start: i64,
    /// First moment of the next span, UTC.
    pub(super) end: i64,
    /// Local time minus UTC.
    pub(super) offset: i64,
    /// The offset of the span before. Less: the clock went forward at `start`. More: it went back.
    pub(super) before: i64,
    /// The offset of the span after.
    pub(super) after: i64,
}

impl Zone {
    /// The spans of a time zone. They are found once in a process, which takes about a millisecond.
    pub(super) fn of(tz: Tz) -> Arc<Self> {
        static ZONES: LazyLock<Mutex<HashMap<Tz, Arc<Zone>>>> = LazyLock::new(Mutex::default);
        let mut zones = ZONES.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(zones.entry(tz).or_insert_with(|| Arc::new(Self { tz, spans: spans(tz) })))
    }

    /// The span that holds a moment.
    pub(super) fn span(&self, at: i64) -> &Span {
        let after = self.spans.partition_point(|span| span.start <= at);
        &self.spans[after.saturating_sub(1)]
    }

    /// The span after one.
    pub(super) fn next(&self, span: &Span) -> Option<&Span> {
        (span.end != i64::MAX).then(|| self.span(span.end))
    }

    /// Local time of a moment.
    pub(super) fn local(&self, at: i64) -> i64 {
        at + self.span(at).offset
    }
}

impl Span {
    /// Whether a local time of this span was already seen in the span before.
    pub(super) fn is_second(&self, local: i64) -> bool {
        self.before > self.offset && local < self.start + self.before
    }

    /// Whether a local time of this span is seen again in the span after.
    pub(super) fn is_first(&self, local: i64) -> bool {
        self.after < self.offset && local >= self.end + self.after
    }
}

fn spans(tz: Tz) -> Box<[Span]> {
    let offset = |at: i64| -> i64 {
        let at = DateTime::from_timestamp(at, 0).unwrap_or_default().naive_utc();
        tz.offset_from_utc_datetime(&at).fix().local_minus_utc().into()
    };
    let mut changes = vec![(i64::MIN, offset(DAYS.start * DAY))];
    let mut current = changes[0].1;
    for day in DAYS {
        let (mut low, mut high) = (day * DAY, (day + 1) * DAY);
        let new = offset(high);
        if new == current {
            continue;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if offset(middle) == current { low = middle } else { high = middle }
        }
        changes.push((high, new));
        current = new;
    }
    let span = |index: usize| {
        let (start, offset) = changes[index];
        let (end, after) = changes.get(index + 1).copied().unwrap_or((i64::MAX, offset));
        let before = index.checked_sub(1).map_or(offset, |before| changes[before].1);
        Span { start, end, offset, before, after }
    };
    (0..changes.len()).map(span).collect()
}
