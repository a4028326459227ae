//! The private database of a task, read beside the plugin that writes it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};
use upkeep_rollup::{Damaged, Day, Key, Section, UnknownZone};

use super::{Figures, Level, SpanFigures};

/// How long a lock is waited for: in WAL mode readers wait for nobody, but for the moment in which the file is made.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Figured {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("a section is damaged: {0}")]
    Damaged(#[from] Damaged),
    #[error(transparent)]
    Zone(#[from] UnknownZone),
}

/// What is known of a log.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) lines: u64,
    pub(super) late: u64,
    pub(super) malformed: u64,
}

/// A step of a funnel on a day.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) funnel: String,
    pub(super) day: String,
    pub(super) name: String,
    pub(super) users: u64,
}

/// A database with figures, at one moment.
#[derive(Debug)]
pub(super) struct Database(Connection);

impl Database {
    /// None if there is no such file, or if it is of something else.
    pub(super) fn open(file: &Path) -> Result<Option<Self>, Figured> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match Connection::open_with_flags(file, flags) {
            Ok(connection) => connection,
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) && !file.exists() => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        connection.busy_timeout(PATIENCE)?;
        // The tables are whatever the plugin made of them: they may not call what is not harmless. From the first row that is read
        // on, nothing changes.
        connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA query_only = ON; BEGIN")?;
        let tables =
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('traffic', 'section', 'source')";
        let tables: i64 = connection.query_row(tables, [], |row| row.get(0))?;
        Ok((tables == 3).then_some(Self(connection)))
    }

    /// The logs, by name.
    pub(super) fn sources(&self) -> Result<Vec<Source>, Figured> {
        let mut statement = self.0.prepare("SELECT name, lines, late, malformed FROM source ORDER BY name")?;
        let rows = statement.query_map([], |row| {
            let number = |column: usize| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(Source { name: row.get(0)?, lines: number(1)?, late: number(2)?, malformed: number(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A section.
    pub(super) fn section(&self, source: &str, key: Key) -> Result<Option<Section>, Figured> {
        let mut statement = self.0.prepare("SELECT value FROM section WHERE source = ? AND key = ?")?;
        let bytes = statement.query_row(params![source, key.to_string()], |row| row.get(0)).optional()?;
        Ok(bytes.map(|bytes| Section { key, bytes }))
    }

    /// The days or hours of which there are sections, between two numbers as they stand in their keys.
    pub(super) fn numbers(&self, source: &str, kind: &str, from: i64, to: i64) -> Result<Vec<i64>, Figured> {
        let mut statement = self.0.prepare(
            "SELECT CAST(substr(key, length(?2) + 2) AS INTEGER) AS number FROM section
             WHERE source = ?1 AND key >= ?2 || '/' AND key < ?2 || '0' AND number BETWEEN ?3 AND ?4 ORDER BY number",
        )?;
        let numbers = statement.query_map(params![source, kind, from, to], |row| row.get(0))?;
        Ok(numbers.collect::<Result<_, _>>()?)
    }

    /// Whether there are sections of a kind at all.
    pub(super) fn has(&self, source: &str, kind: &str) -> Result<bool, Figured> {
        let statement = "SELECT count(*) FROM section WHERE source = ? AND key LIKE ?";
        let count: i64 = self.0.query_row(statement, params![source, format!("{kind}/%")], |row| row.get(0))?;
        Ok(count > 0)
    }

    /// The steps of all funnels on the days of a span, by funnel, day and step.
    pub(super) fn steps(&self, source: &str, from: Day, to: Day) -> Result<Vec<Step>, Figured> {
        let mut statement = self.0.prepare(
            "SELECT funnel, day, name, users FROM funnel WHERE source = ? AND day BETWEEN ? AND ?
             ORDER BY funnel, day, step",
        )?;
        let rows = statement.query_map(params![source, from.to_string(), to.to_string()], |row| {
            let users = row.get::<_, i64>(3)?.cast_unsigned();
            Ok(Step { funnel: row.get(0)?, day: row.get(1)?, name: row.get(2)?, users })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The users whose first day is in a span, by this day, and how many of them were here so many days later as
    /// [`AFTER`](super::events::AFTER) says.
    pub(super) fn cohorts(&self, source: &str, from: Day, to: Day) -> Result<Vec<(String, u64, [u64; 5])>, Figured> {
        let mut statement = self.0.prepare(
            "SELECT day, users, after_1, after_3, after_7, after_14, after_30 FROM retention
             WHERE source = ? AND day BETWEEN ? AND ? ORDER BY day",
        )?;
        let rows = statement.query_map(params![source, from.to_string(), to.to_string()], |row| {
            let number = |column: usize| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok((row.get(0)?, number(1)?, [number(2)?, number(3)?, number(4)?, number(5)?, number(6)?]))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The first and the last row of a level.
    pub(super) fn ends(&self, source: &str, level: Level) -> Result<Option<(String, String)>, Figured> {
        let end = |order: &str| {
            let statement =
                format!("SELECT start FROM traffic WHERE source = ? AND level = ? ORDER BY unix {order} LIMIT 1");
            self.0.query_row(&statement, params![source, level.name()], |row| row.get::<_, String>(0)).optional()
        };
        Ok(end("ASC")?.zip(end("DESC")?))
    }

    /// The rows of weeks or months that begin between two days, by their first day.
    pub(super) fn rows(
        &self,
        source: &str,
        level: Level,
        from: i64,
        to: i64,
    ) -> Result<Vec<(i64, SpanFigures)>, Figured> {
        let mut statement = self
            .0
            .prepare("SELECT * FROM traffic WHERE source = ? AND level = ? AND unix BETWEEN ? AND ? ORDER BY unix")?;
        let rows = statement.query_map(params![source, level.name(), from * 86_400, to * 86_400], |row| {
            Ok((row.get::<_, i64>("unix")? / 86_400, SpanFigures { start: row.get("start")?, figures: figures(row)? }))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn figures(row: &Row<'_>) -> rusqlite::Result<Figures> {
    let number = |column: &str| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let known = |column: &str| row.get::<_, Option<i64>>(column).map(|it| it.map(i64::cast_unsigned));
    Ok(Figures {
        requests: number("requests")?,
        pages: number("pages")?,
        bytes: number("bytes")?,
        s1xx: number("s1xx")?,
        s2xx: number("s2xx")?,
        s3xx: number("s3xx")?,
        s4xx: number("s4xx")?,
        s5xx: number("s5xx")?,
        visitors: known("visitors")?,
        new_visitors: known("new_visitors")?,
        returning_visitors: known("returning_visitors")?,
        sessions: number("sessions")?,
        bounces: number("bounces")?,
        session_seconds: number("session_seconds")?,
        session_pages: number("session_pages")?,
        timed: number("timed")?,
        time_us: number("time_us")?,
        p50_us: known("p50_us")?,
        p90_us: known("p90_us")?,
        p95_us: known("p95_us")?,
        p99_us: known("p99_us")?,
        max_us: known("max_us")?,
        bots: number("bots")?,
        tools: number("tools")?,
        late: number("late")?,
    })
}
