//! The database of a task's figures, read beside the plugin that writes it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::runtime::Handle;
use upkeep_rollup::{Damaged, Day, Key, Section, UnknownZone};

use super::place::{At, Place};
use super::{Figures, Level, SpanFigures};
use crate::sql::snapshot::{Server, Snapshot};
use crate::sql::{Refusal, Value};

/// How long a lock is waited for: in WAL mode readers wait for nobody, but for the moment in which the file is made.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has to be there, by which figures are told from other tables.
const TABLES: [&str; 3] = ["section", "source", "traffic"];

/// The columns of a row of traffic that are figures.
const FIGURES: &str = "requests, pages, bytes, s1xx, s2xx, s3xx, s4xx, s5xx, visitors, new_visitors, returning_visitors, sessions, \
     bounces, session_seconds, session_pages, timed, time_us, p50_us, p90_us, p95_us, p99_us, max_us, bots, tools, late";

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Figured {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{place}: {why}")]
    Server { place: String, why: String },
    #[error("the tables are not those of the plugin: {0}")]
    Strange(String),
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
pub(super) struct Database {
    backend: Backend,
    prefix: String,
}

#[derive(Debug)]
enum Backend {
    File(Connection),
    Server { place: String, runtime: Handle, snapshot: Mutex<Snapshot>, is_mariadb: bool },
}

/// Values of a row, in the order of the columns of the statement.
struct Row(Vec<Value>);

impl Row {
    fn text(&self, column: usize) -> Result<String, Figured> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(text.clone()),
            other => Err(Figured::Strange(format!("{other:?} where text was wanted"))),
        }
    }

    fn number(&self, column: usize) -> Result<u64, Figured> {
        self.known(column)?.ok_or_else(|| Figured::Strange("NULL where a number was wanted".to_owned()))
    }

    /// A number, or NULL.
    fn known(&self, column: usize) -> Result<Option<u64>, Figured> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => Ok(Some(number.cast_unsigned())),
            Some(Value::Null) => Ok(None),
            other => Err(Figured::Strange(format!("{other:?} where a number was wanted"))),
        }
    }

    fn bytes(self, column: usize) -> Result<Vec<u8>, Figured> {
        match self.0.into_iter().nth(column) {
            Some(Value::Blob(bytes)) => Ok(bytes),
            _ => Err(Figured::Strange("a section that is not bytes".to_owned())),
        }
    }
}

impl Database {
    /// None if the plugin has not made any there.
    pub(super) fn open(place: &Place, state_dir: &Path, task: &str) -> Result<Option<Self>, Figured> {
        match (&place.at, place.file(state_dir, task)) {
            (At::Server(server), _) => Self::server(server, &place.prefix),
            (_, Some(file)) => Self::file(&file, &place.prefix),
            _ => Ok(None),
        }
    }

    /// A file of SQLite.
    pub(super) fn file(file: &Path, prefix: &str) -> Result<Option<Self>, Figured> {
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
        let this = Self { backend: Backend::File(connection), prefix: prefix.to_owned() };
        this.whole("SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN (?, ?, ?)")
    }

    fn server(server: &Server, prefix: &str) -> Result<Option<Self>, Figured> {
        let (kind, database, is_mariadb) = match server {
            Server::Postgresql(server) => ("PostgreSQL", &server.database, false),
            Server::Mariadb(server) => ("MariaDB", &server.database, true),
        };
        let place = format!("the {kind} database `{database}`");
        let runtime = Handle::current();
        let opened = runtime.block_on(Snapshot::open(server));
        let snapshot = opened.map_err(|why| Figured::Server { place: place.clone(), why: why.to_string() })?;
        let backend = Backend::Server { place, runtime, snapshot: Mutex::new(snapshot), is_mariadb };
        let this = Self { backend, prefix: prefix.to_owned() };
        this.whole(match is_mariadb {
            true => {
                "SELECT table_name FROM information_schema.tables
                 WHERE table_schema = DATABASE() AND table_name IN (?, ?, ?)"
            }
            false => {
                "SELECT table_name::text FROM information_schema.tables
                 WHERE table_schema = ANY (current_schemas(false)) AND table_name IN (?, ?, ?)"
            }
        })
    }

    /// Itself, if all tables are there, by a statement that looks for them.
    fn whole(self, statement: &str) -> Result<Option<Self>, Figured> {
        let names = TABLES.map(|it| Value::Text(format!("{}{it}", self.prefix)));
        let there = self.all(statement, &names)?;
        Ok((there.len() == TABLES.len()).then_some(self))
    }

    /// The rows of a statement, which has `@` before the names of tables, `?` for values, and quotes around names that some
    /// database keeps for itself.
    fn all(&self, statement: &str, values: &[Value]) -> Result<Vec<Row>, Figured> {
        let statement = statement.replace('@', &self.prefix);
        match &self.backend {
            Backend::File(connection) => {
                let mut prepared = connection.prepare(&statement)?;
                let columns = prepared.column_count();
                let rows = prepared.query_map(rusqlite::params_from_iter(values.iter().map(to_sqlite)), |row| {
                    (0..columns).map(|index| row.get_ref(index).map(of_sqlite)).collect::<Result<_, _>>().map(Row)
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            }
            Backend::Server { place, runtime, snapshot, is_mariadb } => {
                let statement = if *is_mariadb { statement.replace('"', "`") } else { numbered(&statement) };
                let mut snapshot = snapshot.lock().unwrap_or_else(PoisonError::into_inner);
                let rows = runtime.block_on(snapshot.all(statement, values.to_vec()));
                let failed = |why: Refusal| Figured::Server { place: place.clone(), why: why.to_string() };
                Ok(rows.map_err(failed)?.into_iter().map(Row).collect())
            }
        }
    }

    /// The logs, by name.
    pub(super) fn sources(&self) -> Result<Vec<Source>, Figured> {
        let rows = self.all("SELECT name, \"lines\", late, malformed FROM @source ORDER BY name", &[])?;
        let source = |row: Row| {
            Ok(Source { name: row.text(0)?, lines: row.number(1)?, late: row.number(2)?, malformed: row.number(3)? })
        };
        rows.into_iter().map(source).collect()
    }

    /// A section.
    pub(super) fn section(&self, source: &str, key: Key) -> Result<Option<Section>, Figured> {
        let statement = "SELECT value FROM @section WHERE source = ? AND \"key\" = ?";
        let row = self.all(statement, &[text(source), Value::Text(key.to_string())])?.into_iter().next();
        row.map(|row| Ok(Section { key, bytes: row.bytes(0)? })).transpose()
    }

    /// The days or hours of which there are sections, between two numbers as they stand in their keys.
    pub(super) fn numbers(&self, source: &str, kind: &str, from: i64, to: i64) -> Result<Vec<i64>, Figured> {
        let mut numbers = Vec::new();
        for key in self.keys(source, kind, "")? {
            let number = key.get(kind.len() + 1..).and_then(|it| it.parse::<i64>().ok());
            numbers.extend(number.filter(|it| (from..=to).contains(it)));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The keys of the sections of a kind.
    fn keys(&self, source: &str, kind: &str, rest: &str) -> Result<Vec<String>, Figured> {
        let statement = format!("SELECT \"key\" FROM @section WHERE source = ? AND \"key\" >= ? AND \"key\" < ?{rest}");
        // The character behind `/` is `0`.
        let values = [text(source), Value::Text(format!("{kind}/")), Value::Text(format!("{kind}0"))];
        self.all(&statement, &values)?.iter().map(|row| row.text(0)).collect()
    }

    /// Whether there are sections of a kind at all.
    pub(super) fn has(&self, source: &str, kind: &str) -> Result<bool, Figured> {
        Ok(!self.keys(source, kind, " LIMIT 1")?.is_empty())
    }

    /// The steps of all funnels on the days of a span, by funnel, day and step.
    pub(super) fn steps(&self, source: &str, from: Day, to: Day) -> Result<Vec<Step>, Figured> {
        let statement = "SELECT funnel, day, name, users FROM @funnel WHERE source = ? AND day BETWEEN ? AND ?
             ORDER BY funnel, day, step";
        let rows = self.all(statement, &[text(source), text(&from.to_string()), text(&to.to_string())])?;
        let step =
            |row: Row| Ok(Step { funnel: row.text(0)?, day: row.text(1)?, name: row.text(2)?, users: row.number(3)? });
        rows.into_iter().map(step).collect()
    }

    /// The users whose first day is in a span, by this day, and how many of them were here so many days later as
    /// [`AFTER`](super::events::AFTER) says.
    pub(super) fn cohorts(&self, source: &str, from: Day, to: Day) -> Result<Vec<(String, u64, [u64; 5])>, Figured> {
        let statement = "SELECT day, users, after_1, after_3, after_7, after_14, after_30 FROM @retention
             WHERE source = ? AND day BETWEEN ? AND ? ORDER BY day";
        let rows = self.all(statement, &[text(source), text(&from.to_string()), text(&to.to_string())])?;
        let cohort = |row: Row| {
            let after = [2, 3, 4, 5, 6].map(|column| row.number(column));
            let [one, three, seven, fourteen, thirty] = after;
            Ok((row.text(0)?, row.number(1)?, [one?, three?, seven?, fourteen?, thirty?]))
        };
        rows.into_iter().map(cohort).collect()
    }

    /// The first and the last row of a level.
    pub(super) fn ends(&self, source: &str, level: Level) -> Result<Option<(String, String)>, Figured> {
        let end = |order: &str| {
            let statement =
                format!("SELECT start FROM @traffic WHERE source = ? AND level = ? ORDER BY unix {order} LIMIT 1");
            let row = self.all(&statement, &[text(source), text(level.name())])?.into_iter().next();
            row.map(|row| row.text(0)).transpose()
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
        let statement = format!(
            "SELECT unix, start, {FIGURES} FROM @traffic WHERE source = ? AND level = ? AND unix BETWEEN ? AND ? ORDER BY unix"
        );
        let day = |number: i64| Value::Integer(number.saturating_mul(86_400));
        let rows = self.all(&statement, &[text(source), text(level.name()), day(from), day(to)])?;
        let figured = |row: Row| {
            let first = row.number(0)?.cast_signed() / 86_400;
            Ok((first, SpanFigures { start: row.text(1)?, figures: figures(&row, 2)? }))
        };
        rows.into_iter().map(figured).collect()
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A statement with `$1`, `$2` for its values.
fn numbered(statement: &str) -> String {
    let mut parts = statement.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    (1..).zip(parts).fold(first, |text, (number, part)| format!("{text}${number}{part}"))
}

fn to_sqlite(value: &Value) -> rusqlite::types::Value {
    match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Integer(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
        Value::Text(text) => text.clone().into(),
        Value::Blob(bytes) => bytes.clone().into(),
    }
}

fn of_sqlite(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

/// The figures of a row, which begin at a column, as [`FIGURES`] has them.
fn figures(row: &Row, first: usize) -> Result<Figures, Figured> {
    let number = |column: usize| row.number(first + column);
    let known = |column: usize| row.known(first + column);
    Ok(Figures {
        requests: number(0)?,
        pages: number(1)?,
        bytes: number(2)?,
        s1xx: number(3)?,
        s2xx: number(4)?,
        s3xx: number(5)?,
        s4xx: number(6)?,
        s5xx: number(7)?,
        visitors: known(8)?,
        new_visitors: known(9)?,
        returning_visitors: known(10)?,
        sessions: number(11)?,
        bounces: number(12)?,
        session_seconds: number(13)?,
        session_pages: number(14)?,
        timed: number(15)?,
        time_us: number(16)?,
        p50_us: known(17)?,
        p90_us: known(18)?,
        p95_us: known(19)?,
        p99_us: known(20)?,
        max_us: known(21)?,
        bots: number(22)?,
        tools: number(23)?,
        late: number(24)?,
    })
}
