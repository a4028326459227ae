//! The figures, and how far each file is counted: tables in the task's own database, or in one of a server.
//!
//! What a step counted waits in `piece` until the run's end. There the pieces are merged into `section` and into the tables for
//! people, and the cursors go on, all in one transaction: however the run ends, a line is in the figures if and only if the
//! cursor is behind it.

use std::collections::BTreeSet;

use upkeep_plugin::sql::{Connection, Rows, Value};
use upkeep_plugin::{Error, HostError, HostResult, Result, parameters};
use upkeep_rollup::Section;

use crate::config::Figures;
use crate::cursor::{Cursor, Head, Seen, State};
use crate::store::dialect::Sql;
use crate::store::merging::Merging;

pub(crate) mod dialect;
mod forget;
mod merging;
mod pieces;
mod rows;
mod sighted;
mod tables;

/// The tables, in the order in which they are made: when the last one is there, all are.
const SCHEMA: [&str; 12] = [
    "@log_file (
        source NAME NOT NULL, id NAME NOT NULL, head_length NUMBER NOT NULL, head NAME NOT NULL,
        counted NUMBER NOT NULL, path TEXT NOT NULL, device NUMBER NOT NULL, inode NUMBER NOT NULL,
        size NUMBER NOT NULL, modified_ns NUMBER NOT NULL, complete NUMBER NOT NULL, updated_ms NUMBER NOT NULL,
        seen_by NAME NOT NULL,
        PRIMARY KEY (source, id))",
    "@source (
        name NAME NOT NULL, newest NUMBER NOT NULL, \"lines\" NUMBER NOT NULL, late NUMBER NOT NULL,
        malformed NUMBER NOT NULL, PRIMARY KEY (name))",
    "@turn (source NAME NOT NULL, turn NUMBER NOT NULL, PRIMARY KEY (source, turn))",
    "@malformed (
        source NAME NOT NULL, path TEXT NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL, seen_ms NUMBER NOT NULL)",
    "@visitor_key (
        source NAME NOT NULL, period NUMBER NOT NULL, \"key\" BYTES NOT NULL, PRIMARY KEY (source, period))",
    "@piece (
        run NAME NOT NULL, step NAME NOT NULL, \"key\" NAME NOT NULL, value BYTES NOT NULL,
        PRIMARY KEY (run, \"key\", step))",
    tables::TRAFFIC,
    tables::RANKING,
    tables::EVENT,
    tables::FUNNEL,
    tables::RETENTION,
    "@section (source NAME NOT NULL, \"key\" NAME NOT NULL, value BYTES NOT NULL, PRIMARY KEY (source, \"key\"))",
];

/// The key of a piece that says that the step is whole.
const END: &str = "end";

/// The step whose pieces are what was merged; no source has an empty name, so it is none of a plan.
const MERGED: &str = "";

/// Bytes of a call: half of what the host takes if the operator says nothing else.
const CALL: usize = 8 << 20;

/// Rows that are written in one statement: each statement costs as much as some rows.
const ROWS: usize = 64;

/// Statements that are done together.
pub(crate) type Statements = Vec<(String, Vec<Value>)>;

/// Turns that are remembered of a source; a run that commits is never so many behind.
const TURNS: i64 = 1_000;

/// The database that the figures are in: the task's own, or one of a server.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    sql: Sql,
    /// Whether nobody else counts here.
    is_private: bool,
}

/// What is known of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The newest time that was counted, in Unix seconds; 0 before the first.
    pub(crate) newest: i64,
    pub(crate) lines: u64,
    /// How often something was committed.
    pub(crate) turn: i64,
}

/// The figures of a day, those that a report shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) start: String,
    pub(crate) requests: i64,
    pub(crate) pages: i64,
    pub(crate) visitors: i64,
    pub(crate) new: i64,
    pub(crate) sessions: i64,
    pub(crate) s4xx: i64,
    pub(crate) s5xx: i64,
    pub(crate) p95_us: Option<i64>,
}

impl Store {
    pub(crate) fn open(figures: &Figures) -> HostResult<Self> {
        let connection = Connection::open(&figures.database)?;
        let is_private = figures.is_private();
        let prefix = figures.prefix.clone().unwrap_or_else(|| (if is_private { "" } else { "upkeep_" }).to_owned());
        let sql = Sql { dialect: connection.dialect(), prefix };
        Ok(Self { connection, sql, is_private })
    }

    /// Makes the tables that are not there yet.
    pub(crate) fn prepare(&self) -> HostResult<()> {
        // Steps that make them at the same time are in each other's way; then they are there.
        for _ in 0..3 {
            if !self.is_new()? {
                return Ok(());
            }
            let statements: Statements = SCHEMA.iter().map(|it| (self.sql.create(it), Vec::new())).collect();
            match self.connection.batch(&statements) {
                Err(HostError::Conflict(_)) => {}
                made => return made.map(drop),
            }
        }
        Ok(())
    }

    /// Whether nothing was ever counted.
    pub(crate) fn is_new(&self) -> HostResult<bool> {
        let (statement, values) = self.sql.is_there("section");
        let mut tables = self.connection.query(&statement, values)?;
        tables.next().transpose().map(|it| it.is_none())
    }

    /// The rows of a statement.
    fn query(&self, statement: &str, values: impl Into<Vec<Value>>) -> HostResult<Rows> {
        let values: Vec<Value> = values.into().into_iter().map(dialect::harmless).collect();
        self.connection.query(&self.sql.text(statement), values)
    }

    fn execute(&self, statement: &str, values: impl Into<Vec<Value>>) -> HostResult<u64> {
        let values: Vec<Value> = values.into().into_iter().map(dialect::harmless).collect();
        self.connection.execute(&self.sql.text(statement), values)
    }

    pub(crate) fn known(&self, source: &str) -> HostResult<Known> {
        let mut rows = self.query("SELECT newest, \"lines\" FROM @source WHERE name = ?", parameters![source])?;
        let Some(row) = rows.next().transpose()? else { return Ok(Known::default()) };
        let mut turns = self.query("SELECT max(turn) AS turn FROM @turn WHERE source = ?", parameters![source])?;
        let turn = turns.next().transpose()?.map(|row| row.get::<Option<i64>>("turn")).transpose()?.flatten();
        let lines = row.get::<i64>("lines")?.cast_unsigned();
        Ok(Known { newest: row.get("newest")?, lines, turn: turn.unwrap_or(0) })
    }

    /// The newest day of a source.
    pub(crate) fn last_day(&self, source: &str) -> HostResult<Option<Day>> {
        let statement = "SELECT * FROM @traffic WHERE source = ? AND level = 'day' ORDER BY unix DESC LIMIT 1";
        let row = self.query(statement, parameters![source])?.next().transpose()?;
        row.map(|row| {
            Ok(Day {
                start: row.get("start")?,
                requests: row.get("requests")?,
                pages: row.get("pages")?,
                visitors: row.get("visitors")?,
                new: row.get("new_visitors")?,
                sessions: row.get("sessions")?,
                s4xx: row.get("s4xx")?,
                s5xx: row.get("s5xx")?,
                p95_us: row.get("p95_us")?,
            })
        })
        .transpose()
    }

    pub(crate) fn cursors(&self, source: &str) -> HostResult<Vec<Cursor>> {
        let rows = self.query("SELECT * FROM @log_file WHERE source = ? ORDER BY id", parameters![source])?;
        rows.map(|row| {
            let row = row?;
            let number = |column: &str| row.get::<i64>(column).map(i64::cast_unsigned);
            Ok(Cursor {
                id: row.get("id")?,
                head: Head {
                    length: usize::try_from(number("head_length")?).unwrap_or(usize::MAX),
                    digest: row.get("head")?,
                },
                offset: number("counted")?,
                path: row.get("path")?,
                seen: Seen {
                    device: number("device")?,
                    inode: number("inode")?,
                    size: number("size")?,
                    modified_ns: row.get("modified_ns")?,
                },
                state: State::from(row.get::<i64>("complete")?),
                seen_ms: row.get("updated_ms")?,
                by: row.get("seen_by")?,
            })
        })
        .collect()
    }

    /// The key that visitors of a source are hashed with in a period.
    pub(crate) fn visitor_key(&self, source: &str, period: i32) -> Result<[u8; 16]> {
        let of = parameters![source, i64::from(period)];
        let known = || -> HostResult<Option<Vec<u8>>> {
            let statement = "SELECT \"key\" FROM @visitor_key WHERE source = ? AND period = ?";
            self.query(statement, of.clone())?.next().transpose()?.map(|row| row.get("key")).transpose()
        };
        let key = match known()? {
            Some(key) => key,
            None => {
                // Of several that make one at the same time, one is first.
                let values =
                    format!("INTO @visitor_key (source, period, \"key\") VALUES (?, ?, {})", self.sql.random());
                self.execute(&self.sql.insert_new(&values), of.clone())?;
                known()?.unwrap_or_default()
            }
        };
        key.try_into().map_err(|_| damaged("a key of visitors is not 16 bytes long"))
    }

    /// Keeps what a step counted. Done again after a crash, it takes the place of what was kept before.
    pub(crate) fn keep(&self, run: &str, step: &str, sections: Vec<Section>) -> HostResult<()> {
        let sections = sections.into_iter().map(|it| (it.key.to_string(), it.bytes));
        self.clear(run, step)?;
        self.append(run, step, sections.chain([(END.to_owned(), Vec::new())]))
    }

    /// Removes the pieces of a step.
    fn clear(&self, run: &str, step: &str) -> HostResult<u64> {
        self.execute("DELETE FROM @piece WHERE run = ? AND step = ?", parameters![run, step])
    }

    /// Puts pieces to those that a step has, in the place of those with the same key, in as many calls as their size takes.
    fn append(&self, run: &str, step: &str, pieces: impl Iterator<Item = (String, Vec<u8>)>) -> HostResult<()> {
        let replacing = self.sql.replacing(&["run", "key", "step"], &["value"]);
        let mut pieces = pieces.peekable();
        while pieces.peek().is_some() {
            let (mut values, mut rows, mut bytes) = (Vec::new(), 0, 0);
            while rows < ROWS
                && let Some((key, value)) = pieces.next_if(|(_, value)| bytes == 0 || bytes + value.len() <= CALL)
            {
                bytes += value.len().max(1);
                values.extend([Value::from(run), Value::from(step), Value::from(key), Value::Blob(value)]);
                rows += 1;
            }
            let places = vec!["(?, ?, ?, ?)"; rows].join(", ");
            let insert = format!("INSERT INTO @piece (run, step, \"key\", value) VALUES {places}{replacing}");
            self.execute(&insert, values)?;
        }
        Ok(())
    }

    /// Which of the steps of a run are kept, whole.
    pub(crate) fn kept(&self, run: &str) -> HostResult<BTreeSet<String>> {
        let rows = self.query("SELECT step FROM @piece WHERE run = ? AND \"key\" = ?", parameters![run, END])?;
        rows.map(|row| row?.get("step")).collect()
    }

    /// Does all of it, or nothing.
    pub(crate) fn commit(&self, statements: Statements) -> HostResult<()> {
        let text = |(statement, values): (String, Vec<Value>)| {
            (self.sql.text(&statement), values.into_iter().map(dialect::harmless).collect())
        };
        let statements: Statements = statements.into_iter().map(text).collect();
        self.connection.batch(&statements).map(drop)
    }

    /// An INSERT, from INTO on, that does nothing where there is a row with the same key.
    pub(crate) fn insert_new(&self, rest: &str) -> String {
        self.sql.insert_new(rest)
    }

    /// How a row of a table takes the place of the one with its key.
    pub(crate) fn put_row(&self, table: &str, key: &[&str], columns: &[&str]) -> String {
        self.sql.put(table, key, columns)
    }
}

/// The next turn of a source. Who finds it taken has been overtaken by another run, and what is committed together with this
/// is not done.
pub(crate) fn take_turn(source: &str, known: Known) -> Statements {
    let turn = known.turn + 1;
    vec![
        ("INSERT INTO @turn (source, turn) VALUES (?, ?)".to_owned(), parameters![source, turn].to_vec()),
        ("DELETE FROM @turn WHERE source = ? AND turn <= ?".to_owned(), parameters![source, turn - TURNS].to_vec()),
    ]
}

/// Moves a cursor.
pub(crate) fn advance(store: &Store, source: &str, cursor: &Cursor) -> (String, Vec<Value>) {
    let values = parameters![
        source,
        cursor.id.as_str(),
        cursor.head.length as i64,
        cursor.head.digest.as_str(),
        cursor.offset.cast_signed(),
        cursor.path.as_str(),
        cursor.seen.device.cast_signed(),
        cursor.seen.inode.cast_signed(),
        cursor.seen.size.cast_signed(),
        cursor.seen.modified_ns,
        cursor.state as i64,
        cursor.by.as_str(),
        cursor.seen_ms,
    ];
    let columns = [
        "head_length",
        "head",
        "counted",
        "path",
        "device",
        "inode",
        "size",
        "modified_ns",
        "complete",
        "seen_by",
        "updated_ms",
    ];
    (store.put_row("log_file", &["source", "id"], &columns), values.to_vec())
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::permanent(format!(
        "the task's database is damaged: {error}; restore it from a backup, or remove it to begin anew"
    ))
}
