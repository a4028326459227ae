//! The figures, and how far each file is counted: tables in the task's own database, or in one of a server.
//!
//! What a step counted waits in `piece` until the run's end. There the pieces are merged into `section` and into the tables for
//! people, and the cursors go on, all in one transaction: however the run ends, a line is in the figures if and only if the
//! cursor is behind it.

use std::collections::{BTreeMap, BTreeSet};

use upkeep_plugin::sql::{Connection, Rows, Value};
use upkeep_plugin::{Error, HostError, HostResult, Result, parameters};
use upkeep_rollup::ledger::Ledger;
use upkeep_rollup::{Calendar, Damaged, Funnel, Key, PARTITIONS, Section};

use crate::config::{Figures, FunnelOf};
use crate::cursor::{Cursor, Head, Seen, State};
use crate::store::dialect::Sql;

pub(crate) mod dialect;
mod forget;
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
        self.put(run, step, sections.chain([(END.to_owned(), Vec::new())]))
    }

    /// Puts pieces in the place of those that a step had, in as many calls as their size takes.
    fn put(&self, run: &str, step: &str, pieces: impl Iterator<Item = (String, Vec<u8>)>) -> HostResult<()> {
        self.execute("DELETE FROM @piece WHERE run = ? AND step = ?", parameters![run, step])?;
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
            self.execute(&format!("INSERT INTO @piece (run, step, \"key\", value) VALUES {places}"), values)?;
        }
        Ok(())
    }

    /// Which of the steps of a run are kept, whole, and how many bytes of them.
    pub(crate) fn kept(&self, run: &str) -> HostResult<BTreeMap<String, u64>> {
        let statement = "SELECT step, sum(length(value)) AS size FROM @piece WHERE run = ? GROUP BY step
             HAVING sum(CASE WHEN \"key\" = ? THEN 1 ELSE 0 END) > 0";
        let rows = self.query(statement, parameters![run, END])?;
        rows.map(|row| {
            let row = row?;
            // A sum is a number of any length for some databases, and so text.
            let size = match row.get::<i64>("size") {
                Ok(size) => size,
                Err(_) => row.get::<String>("size")?.parse().unwrap_or(i64::MAX),
            };
            Ok((row.get("step")?, size.cast_unsigned()))
        })
        .collect()
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

    /// Begins to merge what some steps of a run counted of a source.
    pub(crate) fn merging<'a>(
        &'a self,
        source: &'a str,
        run: &'a str,
        steps: &'a [String],
        zone: &str,
        funnels: &[Funnel],
    ) -> Result<Merging<'a>> {
        let calendar = Calendar::new(zone).map_err(|error| Error::config(error.to_string()))?;
        let places = vec!["?"; steps.len()].join(", ");
        let statement =
            format!("SELECT \"key\", value FROM @piece WHERE run = ? AND \"key\" <> ? AND step IN ({places})");
        let values: Vec<Value> =
            [run, END].into_iter().chain(steps.iter().map(String::as_str)).map(Value::from).collect();
        let mut pieces: BTreeMap<Key, Vec<Vec<u8>>> = BTreeMap::new();
        for row in self.query(&statement, values)? {
            let row = row?;
            let key = row.get::<String>("key")?.parse().map_err(damaged)?;
            pieces.entry(key).or_default().push(row.get("value")?);
        }
        let mut merging = Merging {
            store: self,
            source,
            run,
            steps,
            calendar,
            pieces,
            stored: BTreeMap::new(),
            changed: BTreeMap::new(),
        };
        merging.fetch(funnels)?;
        Ok(merging)
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

/// What is stored of a source, and what is new: read while it is merged, and written at once at the end.
#[derive(Debug)]
pub(crate) struct Merging<'a> {
    store: &'a Store,
    source: &'a str,
    run: &'a str,
    steps: &'a [String],
    calendar: Calendar,
    /// What is new.
    pieces: BTreeMap<Key, Vec<Vec<u8>>>,
    /// What is stored of all that is going to be asked for; none for what is not there.
    stored: BTreeMap<Key, Option<Vec<u8>>>,
    /// What is to be stored; none for what is to be removed.
    changed: BTreeMap<Key, Option<Vec<u8>>>,
}

impl Merging<'_> {
    /// The keys of what is new.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.pieces.keys().copied().collect()
    }

    /// Reads what is stored of what is new, and what is open, at once.
    fn fetch(&mut self, funnels: &[Funnel]) -> Result<()> {
        let visitors = |key: &Key| match *key {
            Key::Seen(period, partition) => Key::Visitors(period, partition),
            key => key,
        };
        let attempts = |funnel: &Funnel| {
            let id = funnel.id();
            (0..PARTITIONS).map(move |it| Key::Attempts(id, it))
        };
        // What may end though nothing is new of it.
        let open = (0..PARTITIONS).map(Key::Sessions).chain(funnels.iter().flat_map(attempts));
        let keys: BTreeSet<Key> = self.pieces.keys().map(visitors).chain(open).collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        for keys in keys.chunks(1_000) {
            let places = vec!["?"; keys.len()].join(", ");
            let statement = format!("SELECT \"key\", value FROM @section WHERE source = ? AND \"key\" IN ({places})");
            let names = keys.iter().map(Key::to_string);
            let values: Vec<Value> = [self.source.to_owned()].into_iter().chain(names).map(Value::from).collect();
            self.stored.extend(keys.iter().map(|key| (*key, None)));
            for row in self.store.query(&statement, values)? {
                let row = row?;
                let key = row.get::<String>("key")?.parse().map_err(damaged)?;
                self.stored.insert(key, Some(row.get("value")?));
            }
        }
        Ok(())
    }

    /// What is to be written, with the tables for people.
    pub(crate) fn finish(mut self, funnels: &[FunnelOf]) -> Result<Statements> {
        let keys: Vec<Key> = self.changed.keys().copied().collect();
        let are_many = rows::are_many(&keys);
        let mut statements = if are_many { Statements::new() } else { tables::of(&mut self, &keys, funnels)? };
        // More than fits into one call: it is put beside, and moved by the transaction.
        let mut new = Vec::new();
        for (key, value) in self.changed {
            match value {
                Some(value) => new.push((key.to_string(), value)),
                None => statements.push((
                    "DELETE FROM @section WHERE source = ? AND \"key\" = ?".to_owned(),
                    parameters![self.source, key.to_string()].to_vec(),
                )),
            }
        }
        self.store.put(self.run, MERGED, new.into_iter())?;
        let replacing = self.store.sql.replacing(&["source", "key"], &["value"]);
        statements.push((
            format!(
                "INSERT INTO @section (source, \"key\", value)
                 SELECT ?, \"key\", value FROM @piece WHERE run = ? AND step = ?{replacing}"
            ),
            parameters![self.source, self.run, MERGED].to_vec(),
        ));
        if are_many {
            statements.push(rows::later(self.source, self.run));
        }
        let steps: Vec<Value> =
            [self.run, MERGED].into_iter().chain(self.steps.iter().map(String::as_str)).map(Value::from).collect();
        let places = vec!["?"; self.steps.len()].join(", ");
        statements.push((format!("DELETE FROM @piece WHERE run = ? AND step IN (?, {places})"), steps));
        Ok(statements)
    }
}

impl Ledger for Merging<'_> {
    type Error = Failed;

    fn load(&mut self, key: Key) -> std::result::Result<Option<Vec<u8>>, Failed> {
        if let Some(changed) = self.changed.get(&key) {
            return Ok(changed.clone());
        }
        if let Some(stored) = self.stored.get_mut(&key) {
            // Asked for once; what is merged of it is in `changed`.
            return Ok(stored.take());
        }
        let values = parameters![self.source, key.to_string()];
        let statement = "SELECT value FROM @section WHERE source = ? AND \"key\" = ?";
        let mut rows = self.store.query(statement, values)?;
        Ok(rows.next().transpose()?.map(|row| row.get("value")).transpose()?)
    }

    fn save(&mut self, section: Section) -> std::result::Result<(), Failed> {
        self.changed.insert(section.key, Some(section.bytes));
        Ok(())
    }

    fn remove(&mut self, key: Key) -> std::result::Result<(), Failed> {
        self.changed.insert(key, None);
        Ok(())
    }

    fn pieces(&mut self, key: Key) -> std::result::Result<Vec<Vec<u8>>, Failed> {
        Ok(self.pieces.remove(&key).unwrap_or_default())
    }
}

/// Why nothing was merged.
#[derive(Debug)]
pub(crate) struct Failed(Error);

impl From<Damaged> for Failed {
    fn from(error: Damaged) -> Self {
        Self(damaged(error))
    }
}

impl From<HostError> for Failed {
    fn from(error: HostError) -> Self {
        Self(error.into())
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.0
    }
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::permanent(format!(
        "the task's database is damaged: {error}; restore it from a backup, or remove it to begin anew"
    ))
}
