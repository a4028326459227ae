//! Dates in names of files: `report-2026-11-23.xlsx`, `access.log-20261123`, `dump_2026-11-23T02-00.sql.gz`.
//!
//! A name is written by the clock of the server, so a date is one of the task's time zone. Where a name leaves open which
//! moment it means, the latest counts: what is dated goes too late rather than too early. Seconds since 1970 are no
//! date: numbers of users, orders and telephones look the same.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use upkeep_plugin::{Error, Result};

/// The clock that names are written by.
#[derive(Debug)]
pub(crate) struct Calendar(TimeZone);

/// What was found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    date: Date,
    /// None: the whole day is meant.
    time: Option<Time>,
    is_utc: bool,
    /// Where the text goes on.
    end: usize,
}

impl Calendar {
    /// Of the time zone with this IANA name.
    pub(crate) fn new(zone: &str) -> Result<Self> {
        let zone = TimeZone::get(zone);
        zone.map(Self).map_err(|error| Error::config(format!("the time zone of the task is not known: {error}")))
    }

    /// The latest date in a text, as nanoseconds since 1970. A day without a time lasts until its end.
    pub(crate) fn latest(&self, text: &str) -> Option<i64> {
        let mut latest = None;
        let mut at = 0;
        while let Some(found) = next(text.as_bytes(), at) {
            at = found.end;
            latest = latest.max(self.moment(&found));
        }
        latest
    }

    fn moment(&self, found: &Found) -> Option<i64> {
        let at = match found.time {
            Some(time) => DateTime::from_parts(found.date, time),
            None => found.date.tomorrow().ok()?.to_datetime(Time::midnight()),
        };
        let zone = if found.is_utc { &TimeZone::UTC } else { &self.0 };
        // An hour that the clock shows twice is the second, one that it leaves out comes after.
        let moment = zone.to_ambiguous_timestamp(at).later().ok()?;
        i64::try_from(moment.as_nanosecond()).ok()
    }
}

/// Where a date that begins at `at` ends.
pub(crate) fn end_of_date(text: &[u8], at: usize) -> Option<usize> {
    read(text, at).map(|it| it.end)
}

/// The first date from `at` on.
fn next(text: &[u8], mut at: usize) -> Option<Found> {
    while at < text.len() {
        let digits = run(text, at);
        if digits == 0 {
            at += 1;
        } else if let Some(found) = read(text, at) {
            return Some(found);
        } else {
            at += digits;
        }
    }
    None
}

/// The date that begins at `at`: no digit may stand right before or behind it.
fn read(text: &[u8], at: usize) -> Option<Found> {
    if at > 0 && text[at - 1].is_ascii_digit() {
        return None;
    }
    match run(text, at) {
        4 => separated(text, at),
        8 => with_time(text, day(text, at, 0)?, at + 8),
        length @ (10 | 12 | 14 | 17) => {
            let time = clock(text, at + 8, length.min(14) - 8, 0)?;
            Some(Found { date: day(text, at, 0)?, time: Some(time), is_utc: false, end: at + length })
        }
        _ => None,
    }
}

/// `2026-11-23`, with one separator in both places.
fn separated(text: &[u8], at: usize) -> Option<Found> {
    let separator = *text.get(at + 4)?;
    let is_right = b"-_./".contains(&separator)
        && run(text, at + 5) == 2
        && text.get(at + 7) == Some(&separator)
        && run(text, at + 8) == 2;
    if is_right { with_time(text, day(text, at, 1)?, at + 10) } else { None }
}

/// The time behind a date that ends at `end`, where there is one: `T02-00`, `_02:00:30`, `-0200`.
fn with_time(text: &[u8], date: Date, end: usize) -> Option<Found> {
    let whole_day = Found { date, time: None, is_utc: false, end };
    let Some(separator) = text.get(end).filter(|it| b"Tt_- .".contains(it)) else { return Some(whole_day) };
    let start = end + 1;
    let (length, gap) = match run(text, start) {
        4 => (4, 0),
        6 => (6, 0),
        2 => {
            let part = |at| text.get(at).is_some_and(|it: &u8| b"-_:.".contains(it)) && run(text, at + 1) == 2;
            match (part(start + 2), part(start + 5)) {
                (true, true) => (6, 1),
                (true, false) => (4, 1),
                (false, _) if separator.eq_ignore_ascii_case(&b'T') => (2, 0),
                (false, _) => return Some(whole_day),
            }
        }
        _ => return Some(whole_day),
    };
    let Some(time) = clock(text, start, length, gap) else { return Some(whole_day) };
    let end = start + length + gap * (length / 2 - 1);
    let is_utc = text.get(end) == Some(&b'Z') && !text.get(end + 1).is_some_and(u8::is_ascii_alphanumeric);
    Some(Found { date, time: Some(time), is_utc, end: end + usize::from(is_utc) })
}

/// Year, month and day with so many bytes between them.
fn day(text: &[u8], at: usize, gap: usize) -> Option<Date> {
    let year = number(text, at, 4).filter(|it| (1970..2200).contains(it))?;
    let (month, day) = (number(text, at + 4 + gap, 2)?, number(text, at + 6 + 2 * gap, 2)?);
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// Hours, minutes and seconds, as far as `length` digits go.
fn clock(text: &[u8], at: usize, length: usize, gap: usize) -> Option<Time> {
    let part = |which: usize| match which * 2 < length {
        true => i8::try_from(number(text, at + which * (2 + gap), 2)?).ok(),
        false => Some(0),
    };
    Time::new(part(0)?, part(1)?, part(2)?, 0).ok()
}

/// How many digits follow.
fn run(text: &[u8], at: usize) -> usize {
    text.get(at..).unwrap_or_default().iter().take_while(|it| it.is_ascii_digit()).count()
}

fn number(text: &[u8], at: usize, digits: usize) -> Option<i16> {
    let digits = text.get(at..at + digits)?;
    digits.iter().try_fold(0, |sum, it| it.is_ascii_digit().then(|| sum * 10 + i16::from(it - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(zone: &str, name: &str) -> Option<String> {
        let at = Calendar::new(zone).unwrap().latest(name)?;
        Some(jiff::Timestamp::from_nanosecond(at.into()).unwrap().to_string())
    }

    #[test]
    fn dates_are_found() {
        for (name, expected) in [
            ("report-2026-11-23.xlsx", "2026-11-24T00:00:00Z"),
            ("access.log-20261123", "2026-11-24T00:00:00Z"),
            ("access.log-20261123-1732320000.gz", "2026-11-24T00:00:00Z"),
            ("access.log-2026112302", "2026-11-23T02:00:00Z"),
            ("dump_2026_11_23.sql", "2026-11-24T00:00:00Z"),
            ("dump.2026.11.23.sql", "2026-11-24T00:00:00Z"),
            ("uploads/2026/11/23/a.png", "2026-11-24T00:00:00Z"),
            ("db-2026-11-23T02-00.sql.gz", "2026-11-23T02:00:00Z"),
            ("db-2026-11-23T02.sql.gz", "2026-11-23T02:00:00Z"),
            ("db-2026-11-23_02:00:30.sql", "2026-11-23T02:00:30Z"),
            ("db-20261123-0200.sql", "2026-11-23T02:00:00Z"),
            ("db-20261123T020030Z.sql", "2026-11-23T02:00:30Z"),
            ("202611230200.tgz", "2026-11-23T02:00:00Z"),
            ("20261123020030.tgz", "2026-11-23T02:00:30Z"),
            ("IMG20261123020030123.jpg", "2026-11-23T02:00:30Z"),
            // What follows is no time.
            ("app.2026-11-23.10.log", "2026-11-24T00:00:00Z"),
            ("20261123-2500.log", "2026-11-24T00:00:00Z"),
            // A span ends with its latest date.
            ("from-20260101-to-20260131.csv", "2026-02-01T00:00:00Z"),
            ("20260131-20260101.csv", "2026-02-01T00:00:00Z"),
            ("2024-02-29.csv", "2024-03-01T00:00:00Z"),
        ] {
            assert_eq!(found("UTC", name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn other_numbers_are_no_dates() {
        for name in [
            "",
            "a.txt",
            "2026-13-01.csv",
            "2026-02-30.csv",
            "2026-11_23.csv",
            "1790000000.png",
            "1790000000123.png",
            "13800138000.png",
            "120261123.png",
            "202611231.png",
            "20261123020030123456.jpg",
            "23-11-2026.csv",
            "2026-11.csv",
            "1969-12-31.csv",
            "2200-01-01.csv",
            "v1.2026.11",
            "2026",
        ] {
            assert_eq!(found("UTC", name), None, "{name}");
        }
    }

    #[test]
    fn the_clock_of_the_server_counts() {
        assert_eq!(found("Asia/Shanghai", "20261123").unwrap(), "2026-11-23T16:00:00Z");
        assert_eq!(found("Asia/Shanghai", "2026-11-23T02-00").unwrap(), "2026-11-22T18:00:00Z");
        assert_eq!(found("Asia/Shanghai", "20261123T020000Z").unwrap(), "2026-11-23T02:00:00Z");
        // Of the hour that comes twice the second; of the one that does not come, what it would have been.
        assert_eq!(found("Europe/Berlin", "2026-10-25T02-30").unwrap(), "2026-10-25T01:30:00Z");
        assert_eq!(found("Europe/Berlin", "2026-03-29T02-30").unwrap(), "2026-03-29T01:30:00Z");
        // The day on which clocks change has 23 hours.
        assert_eq!(found("Europe/Berlin", "2026-03-29").unwrap(), "2026-03-29T22:00:00Z");
        // In Samoa there was no 2011-12-30: the 29th ended where the 31st began.
        assert_eq!(found("Pacific/Apia", "2011-12-29").unwrap(), found("Pacific/Apia", "2011-12-30T00:00").unwrap());
        assert!(Calendar::new("Mars/Olympus").unwrap_err().to_string().contains("Mars/Olympus"));
    }
}
