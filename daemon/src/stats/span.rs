//! Which days or hours are asked for; pure.
//!
//! A day is a local day of the task's zone and counts whole, also as the last one. A time is a moment, which the span begins
//! with or ends before; then rows are hours, since a day is not known in parts.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use upkeep_rollup::{Calendar, Day, Hour, UnknownZone};

use super::{Level, Question};

/// A question without a meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Neither a day nor a time.
    #[error(
        "`{key}`: `{text}` is neither a day nor a time; write `2026-11-23`, `2026-11-23T14:00` or `2026-11-23T14:00+08:00`"
    )]
    Unknown {
        /// `from` or `to`.
        key: &'static str,
        /// What was written.
        text: String,
    },
    /// The local clock never shows that time.
    #[error("`{key}`: the clocks of {zone} never show `{text}`, they are set forward there; write another hour")]
    Skipped {
        /// `from` or `to`.
        key: &'static str,
        /// What was written.
        text: String,
        /// The zone.
        zone: &'static str,
    },
    /// It ends before it begins.
    #[error(
        "`from` is after `to`: nothing lies from {from} to {to}; for a single day give it twice, such as `2026-11-23` and `2026-11-23`"
    )]
    Backwards {
        /// The beginning.
        from: String,
        /// The end.
        to: String,
    },
    /// More than an answer should hold.
    #[error(
        "{rows} rows by {by} are more than {MOST_ROWS}, which is the most; ask for a shorter span, or for longer rows"
    )]
    TooMany {
        /// How many it would be.
        rows: i64,
        /// What rows are of.
        by: &'static str,
    },
    /// Days are whole.
    #[error("a time was given, but a row is a {by}; write days, or ask by hour")]
    PartOfADay {
        /// What rows are of.
        by: &'static str,
    },
    /// Rankings are of days.
    #[error("rankings are kept of days; write days instead of times, such as `2026-11-23`")]
    RankingOfHours,
}

/// Rows of an answer: four years of hours. A single line with a wrong date must not make millions of empty ones.
const MOST_ROWS: i64 = 40_000;

/// A beginning or an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Day(NaiveDate),
    /// Unix seconds.
    Time(i64),
}

/// A span of days, perhaps less than whole ones.
#[derive(Debug, Clone)]
pub struct Span {
    /// What a row is of.
    pub by: Level,
    from: Bound,
    to: Bound,
    zone: Tz,
    today: NaiveDate,
}

impl Span {
    /// The span that a question is of. `now` is what the clocks of the zone show.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn new(question: &Question, zone: Tz, now: NaiveDateTime) -> Result<Self, SpanError> {
        let bound = |key, text: &Option<String>| text.as_deref().map(|it| parse(key, it, zone)).transpose();
        let (from, to) = (bound("from", &question.from)?, bound("to", &question.to)?);
        let is_timed = |it: &Option<Bound>| matches!(it, Some(Bound::Time(_)));
        let in_parts = is_timed(&from) || is_timed(&to);
        let by = question.by.unwrap_or(if in_parts { Level::Hour } else { Level::Day });
        if in_parts && by != Level::Hour {
            return Err(SpanError::PartOfADay { by: by.name() });
        }
        if in_parts && question.top.is_some() {
            return Err(SpanError::RankingOfHours);
        }
        let to = to.unwrap_or(Bound::Day(now.date()));
        let this = Self { by, from: from.unwrap_or(Bound::Day(NaiveDate::MIN)), to, zone, today: now.date() };
        let this = Self { from: from.unwrap_or_else(|| Bound::Day(usual(by, this.last_day()))), ..this };
        if this.is_backwards() {
            return Err(SpanError::Backwards { from: this.first(), to: this.last() });
        }
        let (first, last) = this.days();
        let rows = (i64::from(last.0) - i64::from(first.0) + 1) * if by == Level::Hour { 24 } else { 1 };
        if rows > MOST_ROWS {
            return Err(SpanError::TooMany { rows, by: by.name() });
        }
        Ok(this)
    }

    /// The beginning, as it is written.
    pub fn first(&self) -> String {
        self.shown(self.from)
    }

    /// The end, as it is written.
    pub fn last(&self) -> String {
        self.shown(self.to)
    }

    /// Whether all days are whole.
    pub(super) fn is_of_days(&self) -> bool {
        matches!((self.from, self.to), (Bound::Day(_), Bound::Day(_)))
    }

    /// The first and the last day that it touches.
    pub(super) fn days(&self) -> (Day, Day) {
        let first = match self.from {
            Bound::Day(date) => date,
            Bound::Time(at) => self.local(at).date_naive(),
        };
        (day(first), day(self.last_day()))
    }

    /// The day on which it is asked for.
    pub(super) fn today(&self) -> Day {
        day(self.today)
    }

    /// Whether an hour belongs to it.
    pub(super) fn has(&self, hour: Hour) -> bool {
        let begins = match self.from {
            Bound::Day(date) => hour.day >= day(date),
            Bound::Time(at) => hour.end > at,
        };
        let ends = match self.to {
            Bound::Day(date) => hour.day <= day(date),
            Bound::Time(at) => hour.start < at,
        };
        begins && ends
    }

    /// Moments between which all its hours begin, with more than a day to spare on both sides.
    pub(super) fn moments(&self) -> (i64, i64) {
        let (first, last) = self.days();
        ((i64::from(first.0) - 2) * 86_400, (i64::from(last.0) + 3) * 86_400)
    }

    /// The hours and days of its zone.
    pub(super) fn calendar(&self) -> Result<Calendar, UnknownZone> {
        Calendar::new(self.zone.name())
    }

    fn last_day(&self) -> NaiveDate {
        match self.to {
            Bound::Day(date) => date,
            // The moment itself is not in it.
            Bound::Time(at) => self.local(at.saturating_sub(1)).date_naive(),
        }
    }

    fn is_backwards(&self) -> bool {
        match (self.from, self.to) {
            (Bound::Time(from), Bound::Time(to)) => from >= to,
            _ => {
                let (first, last) = self.days();
                first > last
            }
        }
    }

    fn local(&self, at: i64) -> DateTime<Tz> {
        DateTime::from_timestamp(at, 0).unwrap_or_default().with_timezone(&self.zone)
    }

    fn shown(&self, bound: Bound) -> String {
        match bound {
            Bound::Day(date) => date.to_string(),
            Bound::Time(at) => self.local(at).format("%Y-%m-%d %H:%M%:z").to_string(),
        }
    }
}

/// Where a span begins that ends on a day and of which nothing else is said.
fn usual(by: Level, last: NaiveDate) -> NaiveDate {
    let before = |days| last.checked_sub_days(Days::new(days)).unwrap_or(last);
    match by {
        Level::Hour => before(1),
        Level::Day => before(13),
        Level::Week => before(11 * 7 + u64::from(last.weekday().num_days_from_monday())),
        Level::Month => last.with_day(1).and_then(|it| it.checked_sub_months(Months::new(11))).unwrap_or(last),
    }
}

fn day(date: NaiveDate) -> Day {
    Day(date.signed_duration_since(NaiveDate::default()).num_days() as i32)
}

fn parse(key: &'static str, text: &str, zone: Tz) -> Result<Bound, SpanError> {
    let unknown = || SpanError::Unknown { key, text: text.to_owned() };
    let is_of_our_time = |date: NaiveDate| (1970..=9998).contains(&date.year());
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return is_of_our_time(date).then_some(Bound::Day(date)).ok_or_else(unknown);
    }
    // Both `T` and a space, as RFC 3339 has it; seconds may be left out.
    let text = text.replacen(' ', "T", 1);
    for form in ["%Y-%m-%dT%H:%M:%S%:z", "%Y-%m-%dT%H:%M%:z", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ"] {
        let at = match form.strip_suffix('Z') {
            Some(_) => NaiveDateTime::parse_from_str(&text, form).map(|it| it.and_utc().fixed_offset()),
            None => DateTime::parse_from_str(&text, form),
        };
        if let Ok(at) = at.map(|it| it.with_timezone(&zone)) {
            return is_of_our_time(at.date_naive()).then_some(Bound::Time(at.timestamp())).ok_or_else(unknown);
        }
    }
    for form in ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"] {
        if let Ok(local) = NaiveDateTime::parse_from_str(&text, form) {
            let skipped = || SpanError::Skipped { key, text: text.clone(), zone: zone.name() };
            let at = zone.from_local_datetime(&local).earliest().ok_or_else(skipped)?;
            return is_of_our_time(local.date()).then_some(Bound::Time(at.timestamp())).ok_or_else(unknown);
        }
    }
    Err(unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> NaiveDateTime {
        NaiveDate::from_ymd_opt(2026, 11, 25).unwrap().and_hms_opt(10, 0, 0).unwrap()
    }

    fn span(from: &str, to: &str, by: Option<Level>) -> Result<Span, SpanError> {
        let text = |it: &str| (!it.is_empty()).then(|| it.to_owned());
        Span::new(&Question { from: text(from), to: text(to), by, ..Question::default() }, Tz::Europe__Berlin, now())
    }

    fn shown(from: &str, to: &str, by: Option<Level>) -> String {
        match span(from, to, by) {
            Ok(span) => format!("{} {} by {}", span.first(), span.last(), span.by.name()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_not_said_is_the_last_days() {
        assert_eq!(shown("", "", None), "2026-11-12 2026-11-25 by day");
        assert_eq!(shown("", "", Some(Level::Hour)), "2026-11-24 2026-11-25 by hour");
        assert_eq!(shown("", "", Some(Level::Week)), "2026-09-07 2026-11-25 by week");
        assert_eq!(shown("", "", Some(Level::Month)), "2025-12-01 2026-11-25 by month");
        assert_eq!(shown("", "2026-10-14", None), "2026-10-01 2026-10-14 by day");
        assert_eq!(shown("2026-10-01", "", None), "2026-10-01 2026-11-25 by day");
    }

    #[test]
    fn times_are_of_the_zone_or_say_theirs() {
        let hours = "2026-10-25 00:00+02:00 2026-10-25 03:00+01:00 by hour";
        for (from, to) in [
            ("2026-10-25T00:00", "2026-10-25T03:00"),
            ("2026-10-24T22:00Z", "2026-10-25T02:00:00Z"),
            ("2026-10-25 00:00+02:00", "2026-10-25T10:00+08:00"),
        ] {
            assert_eq!(shown(from, to, None), hours, "{from}");
        }
        // The earlier one of two.
        assert_eq!(shown("2026-10-25T02:30", "2026-10-25", None), "2026-10-25 02:30+02:00 2026-10-25 by hour");
    }

    #[test]
    fn a_day_has_as_many_hours_as_it_has() {
        for (date, hours) in [("2026-10-25", 25), ("2026-03-29", 23), ("2026-11-25", 24)] {
            let span = span(date, date, Some(Level::Hour)).unwrap();
            let mut calendar = span.calendar().unwrap();
            let (mut at, end) = span.moments();
            let mut count = 0;
            while at < end {
                let hour = calendar.hour(at).unwrap();
                count += usize::from(span.has(hour));
                at = hour.end;
            }
            assert_eq!(count, hours, "{date}");
        }
    }

    #[test]
    fn what_has_no_meaning_says_what_would_have() {
        let told = [
            shown("yesterday", "", None),
            shown("2026-02-30", "", None),
            shown("2026-03-29T02:30", "", None),
            shown("2026-11-25", "2026-11-24", None),
            shown("2026-11-25T10:00", "2026-11-25T10:00", None),
            shown("2027-01-01", "", None),
            shown("2026-11-25T10:00", "", Some(Level::Week)),
            shown("0001-01-01", "", None),
            shown("1970-01-01", "", Some(Level::Hour)),
            shown("1970-01-01", "9998-12-31", None),
        ];
        insta::assert_snapshot!(told.join("\n"));
        let question = Question {
            from: Some("2026-11-25T10:00".into()),
            top: Some(super::super::Top::Pages),
            ..Question::default()
        };
        assert_eq!(Span::new(&question, Tz::UTC, now()).unwrap_err(), SpanError::RankingOfHours);
    }
}
