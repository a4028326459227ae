//! What is old, as a condition of SQL.
//!
//! Errors are on the side of the row: what is no time stays, and where it cannot be told whether a row is old enough, it
//! stays until it can. Numbers must be plausible for their unit, since a column of seconds that is taken for milliseconds would
//! make every row old. Values of a plugin get into a statement as hexadecimal digits, in which nothing can be
//! mistaken for SQL.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use crate::rows::{Clock, RowsError};

/// The moment before which a row is old, in the ways that columns write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cutoff {
    millis: i64,
    utc: NaiveDateTime,
    local: NaiveDateTime,
}

/// Where the columns of a table are compared, so that SQL of one kind is not taken for that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgresql,
    Mariadb,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number since 1970.
    Number(Clock),
    /// Text as ISO 8601 has it.
    IsoText,
    /// A day.
    Date,
    /// Day and time without a zone.
    Local,
    /// A moment.
    Instant,
}

/// The least number that is taken for a time: milliseconds before March 1973 are more likely seconds.
fn least(clock: Clock) -> i64 {
    match clock {
        Clock::UnixMilliseconds => 100_000_000_000,
        Clock::UnixMicroseconds => 100_000_000_000_000,
        Clock::UnixSeconds | Clock::IsoText => 1,
    }
}

impl Cutoff {
    /// The moment `millis` since the Unix epoch, with the zone of times that have none.
    pub(crate) fn new(millis: i64, zone: Tz) -> Result<Self, RowsError> {
        let utc = DateTime::from_timestamp_millis(millis).filter(|moment| (1971..10_000).contains(&moment.year()));
        let utc = utc.ok_or_else(|| {
            RowsError::Invalid(format!("{millis} milliseconds since 1970 is no time that rows could be older than"))
        })?;
        let local = utc.with_timezone(&zone).naive_local();
        // An hour that comes twice: what it says may be the later one.
        let local = match zone.from_local_datetime(&local) {
            chrono::LocalResult::Ambiguous(first, second) => local - (second.to_utc() - first.to_utc()),
            _ => local,
        };
        Ok(Self { millis, utc: utc.naive_utc(), local })
    }

    /// The condition that `column`, which is quoted, is older. An index on the column serves it, but for text.
    pub(crate) fn condition(&self, dialect: Dialect, column: &str, kind: Kind) -> String {
        let time = |moment: NaiveDateTime| moment.format("%Y-%m-%d %H:%M:%S").to_string();
        match (kind, dialect) {
            (Kind::Number(clock), _) => {
                let cutoff = match clock {
                    Clock::UnixMilliseconds => self.millis,
                    Clock::UnixMicroseconds => self.millis.saturating_mul(1_000),
                    Clock::UnixSeconds | Clock::IsoText => self.millis.div_euclid(1_000),
                };
                let condition = format!("{column} >= {} AND {column} < {cutoff}", least(clock));
                match dialect {
                    // Text would be compared as text, and a blob is larger than any number.
                    Dialect::Sqlite => format!("({condition} AND typeof({column}) IN ('integer', 'real'))"),
                    _ => format!("({condition})"),
                }
            }
            (Kind::IsoText, _) => self.iso_text(dialect, column),
            (Kind::Date, Dialect::Postgresql) => {
                format!("({column} > '-infinity'::date AND {column} < '{}'::date)", self.local.date())
            }
            (Kind::Date, _) => format!("({column} >= '0001-01-01' AND {column} < '{}')", self.local.date()),
            (Kind::Local, Dialect::Postgresql) => {
                format!("({column} > '-infinity'::timestamp AND {column} < '{}'::timestamp)", time(self.local))
            }
            (Kind::Local, _) => {
                format!("({column} >= '0001-01-01 00:00:00' AND {column} < '{}')", time(self.local))
            }
            (Kind::Instant, Dialect::Postgresql) => {
                format!("({column} > '-infinity'::timestamptz AND {column} < '{}+00'::timestamptz)", time(self.utc))
            }
            // The time zone of the session is UTC, and zero is no time.
            (Kind::Instant, _) => {
                format!("({column} >= '1970-01-01 00:00:01' AND {column} < '{}')", time(self.utc))
            }
        }
    }

    /// Text is in UTC (with a Z) or in the zone of the task: the earlier of the two counts for both. Text that names an offset
    /// west of Greenwich is later than it reads and stays; one to the east is earlier than it reads.
    fn iso_text(&self, dialect: Dialect, column: &str) -> String {
        let cutoff = self.utc.min(self.local);
        let (day, spaced) = (cutoff.format("%Y-%m-%d"), cutoff.format("%Y-%m-%d %H:%M:%S"));
        let joined = cutoff.format("%Y-%m-%dT%H:%M:%S");
        let (plain, is_date) = match dialect {
            Dialect::Sqlite => (
                column.to_owned(),
                format!(
                    "typeof({column}) = 'text' AND {column} GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' \
                     AND instr(substr({column}, 11), '-') = 0"
                ),
            ),
            Dialect::Postgresql => (
                format!("{column} COLLATE \"C\""),
                format!("{column} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}' AND strpos(substr({column}, 11), '-') = 0"),
            ),
            Dialect::Mariadb => (
                format!("CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin"),
                format!("{column} REGEXP '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}' AND INSTR(SUBSTR({column}, 11), '-') = 0"),
            ),
        };
        let separator = format!("substr({column}, 11, 1)");
        format!(
            "({plain} >= '0001' AND {plain} < '{joined}' AND ({plain} < '{day}' OR {separator} = 'T' \
             OR ({separator} = ' ' AND {plain} < '{spaced}')) AND {is_date})"
        )
    }
}

/// Bytes as the digits of a literal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name in double quotes, as the standard has it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cutoff(millis: i64, zone: Tz) -> Cutoff {
        Cutoff::new(millis, zone).unwrap()
    }

    /// 2026-01-31 12:00:00 UTC
    const NOON: i64 = 1_769_860_800_000;

    fn selected(zone: Tz, kind: Kind, before: i64, values: &[rusqlite::types::Value]) -> Vec<bool> {
        let database = rusqlite::Connection::open_in_memory().unwrap();
        let condition = cutoff(before, zone).condition(Dialect::Sqlite, "x", kind);
        let statement = format!("SELECT count(*) FROM (SELECT ?1 AS x) WHERE {condition}");
        values.iter().map(|value| database.query_row(&statement, [value], |row| row.get(0)).unwrap()).collect()
    }

    #[test]
    fn text_is_old_only_when_it_surely_is() {
        use chrono_tz::{America::New_York, Asia::Shanghai, UTC};
        for (zone, text, old) in [
            (UTC, "2026-01-31 11:59:59", true),
            (UTC, "2026-01-31 12:00:00", false),
            (UTC, "2026-01-31 12:00:01", false),
            (UTC, "2026-01-31T11:59:59Z", true),
            (UTC, "2026-01-31T12:00:00Z", false),
            (UTC, "2026-01-31T11:59:59.999999+00:00", true),
            (UTC, "2026-01-31T11:59:59+08:00", true),
            (UTC, "2026-01-30T23:59:59-08:00", false),
            (UTC, "2025-01-31T23:59:59-0800", false),
            // A day is over when the next one begins.
            (UTC, "2026-01-31", false),
            (UTC, "2026-01-30", true),
            (UTC, "0000-00-00", false),
            (UTC, "0000-00-00 00:00:00", false),
            (UTC, "", false),
            (UTC, "1", false),
            (UTC, "1699999999", false),
            (UTC, "never", false),
            (UTC, "-2026-01-01", false),
            // 20:00 in Shanghai.
            (Shanghai, "2026-01-31 11:59:59", true),
            (Shanghai, "2026-01-31 12:30:00", false),
            (Shanghai, "2026-01-31T11:59:59Z", true),
            (Shanghai, "2026-01-31T19:00:00Z", false),
            // 07:00 in New York.
            (New_York, "2026-01-31 06:59:59", true),
            (New_York, "2026-01-31 07:00:00", false),
        ] {
            assert_eq!(selected(zone, Kind::IsoText, NOON, &[text.to_owned().into()]), [old], "{zone} {text}");
        }
        // What is not text is no such time.
        assert_eq!(selected(UTC, Kind::IsoText, NOON, &[1.into(), rusqlite::types::Value::Null]), [false, false]);
    }

    #[test]
    fn numbers_have_to_be_plausible_for_their_unit() {
        let zone = chrono_tz::UTC;
        let seconds = NOON / 1_000;
        for (clock, number, old) in [
            (Clock::UnixSeconds, seconds - 1, true),
            (Clock::UnixSeconds, seconds, false),
            (Clock::UnixSeconds, 0, false),
            (Clock::UnixSeconds, -5, false),
            (Clock::UnixSeconds, NOON - 1, false),
            (Clock::UnixMilliseconds, NOON - 1, true),
            (Clock::UnixMilliseconds, NOON, false),
            // Seconds in a column that is said to hold milliseconds: everything would go.
            (Clock::UnixMilliseconds, seconds - 1, false),
            (Clock::UnixMicroseconds, NOON * 1_000 - 1, true),
            (Clock::UnixMicroseconds, NOON - 1, false),
            (Clock::UnixMicroseconds, seconds, false),
        ] {
            assert_eq!(selected(zone, Kind::Number(clock), NOON, &[number.into()]), [old], "{clock:?} {number}");
        }
        let text = (seconds - 1).to_string();
        let nothing: Vec<rusqlite::types::Value> = vec![text.clone().into(), text.into_bytes().into()];
        assert_eq!(selected(zone, Kind::Number(Clock::UnixSeconds), NOON, &nothing), [false, false]);
    }

    #[test]
    fn an_hour_that_comes_twice_counts_as_the_later() {
        use chrono_tz::Europe::Berlin;
        // 2025-10-26 00:30 UTC is the first 02:30 of that night, 01:30 UTC the second.
        for (millis, local) in [(1_761_438_600_000, "01:30:00"), (1_761_442_200_000, "01:30:00")] {
            let condition = cutoff(millis, Berlin).condition(Dialect::Mariadb, "x", Kind::Local);
            assert!(condition.contains(&format!("x < '2025-10-26 {local}'")), "{condition}");
        }
        for wrong in [0, -1, i64::MAX, i64::MIN, 300_000_000_000_000] {
            assert!(matches!(Cutoff::new(wrong, Berlin), Err(RowsError::Invalid(_))), "{wrong}");
        }
    }

    #[test]
    fn nothing_in_a_name_or_value_is_sql() {
        assert_eq!(quoted("x\"; DROP TABLE y; --"), "\"x\"\"; DROP TABLE y; --\"");
        assert_eq!(hex("';".as_bytes()), "273b");
    }
}
