//! The figures, and how far each file is counted: tables in the task's own database.
//!
//! What a step counted waits in `piece` until the run's end. There the pieces are merged into `section` and into the tables for
//! people, and the cursors go on, all in one transaction: however the run ends, a line is in the figures if and only if the
//! cursor is behind it.

use std::collections::{BTreeMap, BTreeSet};

use upkeep_plugin::sql::{Connection, Value};
use upkeep_plugin::{Error, HostResult, Result, parameters};
use upkeep_rollup::ledger::Ledger;
use upkeep_rollup::{Calendar, Damaged, Funnel, Key, PARTITIONS, Section};

use crate::config::FunnelOf;
use crate::cursor::{Cursor, Head, Seen, State};

mod forget;
mod rows;
mod sighted;
mod tables;

/// The tables, in the order in which they are made.
const SCHEMA: [&str; 11] = [
    "CREATE TABLE IF NOT EXISTS log_file (
        source TEXT NOT NULL, id TEXT NOT NULL, head_length INTEGER NOT NULL, head TEXT NOT NULL,
        counted INTEGER NOT NULL, path TEXT NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,
        size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, complete INTEGER NOT NULL, updated_ms INTEGER NOT NULL,
        PRIMARY KEY (source, id)) STRICT",
    "CREATE TABLE IF NOT EXISTS source (
        name TEXT PRIMARY KEY, newest INTEGER NOT NULL, lines INTEGER NOT NULL, late INTEGER NOT NULL,
        malformed INTEGER NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS malformed (
        source TEXT NOT NULL, path TEXT NOT NULL, reason TEXT NOT NULL, line TEXT NOT NULL, seen_ms INTEGER NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS visitor_key (
        source TEXT NOT NULL, period INTEGER NOT NULL, key BLOB NOT NULL, PRIMARY KEY (source, period)) STRICT",
    "CREATE TABLE IF NOT EXISTS piece (
        run TEXT NOT NULL, step TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (run, key, step)) STRICT",
    "CREATE TABLE IF NOT EXISTS section (
        source TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (source, key)) STRICT",
    tables::TRAFFIC,
    tables::RANKING,
    tables::EVENT,
    tables::FUNNEL,
    tables::RETENTION,
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

/// The task's own database.
#[derive(Debug)]
pub(crate) struct Store(Connection);

/// What is known of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The newest time that was counted, in Unix seconds; 0 before the first.
    pub(crate) newest: i64,
    pub(crate) lines: u64,
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
    pub(crate) fn open() -> HostResult<Self> {
        Connection::open("private").map(Self)
    }

    /// Makes the tables that are not there yet.
    pub(crate) fn prepare(&self) -> HostResult<()> {
        let statements: Statements = SCHEMA.iter().map(|it| ((*it).to_owned(), Vec::new())).collect();
        self.0.batch(&statements).map(drop)
    }

    /// Whether nothing was ever counted.
    pub(crate) fn is_new(&self) -> HostResult<bool> {
        let mut tables = self.0.query("SELECT 1 FROM sqlite_schema WHERE name = 'section'", [])?;
        tables.next().transpose().map(|it| it.is_none())
    }

    pub(crate) fn known(&self, source: &str) -> HostResult<Known> {
        let mut rows = self.0.query("SELECT newest, lines FROM source WHERE name = ?", parameters![source])?;
        match rows.next().transpose()? {
            None => Ok(Known::default()),
            Some(row) => Ok(Known { newest: row.get("newest")?, lines: row.get::<i64>("lines")?.cast_unsigned() }),
        }
    }

    /// The newest day of a source.
    pub(crate) fn last_day(&self, source: &str) -> HostResult<Option<Day>> {
        let statement = "SELECT * FROM traffic WHERE source = ? AND level = 'day' ORDER BY unix DESC LIMIT 1";
        let row = self.0.query(statement, parameters![source])?.next().transpose()?;
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
        let rows = self.0.query("SELECT * FROM log_file WHERE source = ? ORDER BY id", parameters![source])?;
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
            })
        })
        .collect()
    }

    /// The key that visitors of a source are hashed with in a period.
    pub(crate) fn visitor_key(&self, source: &str, period: i32) -> HostResult<[u8; 16]> {
        let of = parameters![source, i64::from(period)];
        self.0.execute("INSERT OR IGNORE INTO visitor_key VALUES (?, ?, randomblob(16))", &of)?;
        let mut rows = self.0.query("SELECT key FROM visitor_key WHERE source = ? AND period = ?", of)?;
        let key = rows.next().transpose()?.map(|row| row.get::<Vec<u8>>("key")).transpose()?.unwrap_or_default();
        Ok(key.try_into().unwrap_or_default())
    }

    /// Keeps what a step counted. Done again after a crash, it takes the place of what was kept before.
    pub(crate) fn keep(&self, run: &str, step: &str, sections: Vec<Section>) -> HostResult<()> {
        let sections = sections.into_iter().map(|it| (it.key.to_string(), it.bytes));
        self.put(run, step, sections.chain([(END.to_owned(), Vec::new())]))
    }

    /// Puts pieces in the place of those that a step had, in as many calls as their size takes.
    fn put(&self, run: &str, step: &str, pieces: impl Iterator<Item = (String, Vec<u8>)>) -> HostResult<()> {
        self.0.execute("DELETE FROM piece WHERE run = ? AND step = ?", parameters![run, step])?;
        let mut pieces = pieces.peekable();
        while pieces.peek().is_some() {
            let (mut values, mut bytes) = (parameters![run, step].to_vec(), 0);
            while values.len() < 2 * ROWS
                && let Some((key, value)) = pieces.next_if(|(_, value)| bytes == 0 || bytes + value.len() <= CALL)
            {
                bytes += value.len().max(1);
                values.extend([Value::from(key), Value::Blob(value)]);
            }
            let rows: Vec<String> =
                (3..values.len()).step_by(2).map(|at| format!("(?1, ?2, ?{at}, ?{})", at + 1)).collect();
            let insert = format!("INSERT INTO piece (run, step, key, value) VALUES {}", rows.join(", "));
            self.0.execute(&insert, values)?;
        }
        Ok(())
    }

    /// Which of the steps of a run are kept, whole, and how many bytes of them.
    pub(crate) fn kept(&self, run: &str) -> HostResult<BTreeMap<String, u64>> {
        let statement =
            "SELECT step, sum(length(value)) AS size FROM piece WHERE run = ? GROUP BY step HAVING max(key = ?)";
        let rows = self.0.query(statement, parameters![run, END])?;
        rows.map(|row| {
            let row = row?;
            Ok((row.get("step")?, row.get::<i64>("size")?.cast_unsigned()))
        })
        .collect()
    }

    /// Does all of it, or nothing.
    pub(crate) fn commit(&self, statements: &Statements) -> HostResult<()> {
        self.0.batch(statements).map(drop)
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
        let statement = format!("SELECT key, value FROM piece WHERE run = ? AND key <> ? AND step IN ({places})");
        let values: Vec<Value> =
            [run, END].into_iter().chain(steps.iter().map(String::as_str)).map(Value::from).collect();
        let mut pieces: BTreeMap<Key, Vec<Vec<u8>>> = BTreeMap::new();
        for row in self.0.query(&statement, values)? {
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

/// A cursor goes on from where it stood when the run was planned. When it does not stand there any more, another run has
/// counted meanwhile: then the statement fails, and with it all that is committed together.
pub(crate) fn advance(source: &str, cursor: &Cursor, expected: u64) -> (String, Vec<Value>) {
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
        cursor.seen_ms,
        expected.cast_signed(),
    ];
    let statement = "INSERT INTO log_file (source, id, head_length, head, counted, path, device, inode, size,
            modified_ns, complete, updated_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
        ON CONFLICT (source, id) DO UPDATE SET
            counted = CASE WHEN counted = ?13 THEN excluded.counted END,
            head_length = excluded.head_length, head = excluded.head, path = excluded.path, device = excluded.device,
            inode = excluded.inode, size = excluded.size, modified_ns = excluded.modified_ns,
            complete = excluded.complete, updated_ms = excluded.updated_ms";
    (statement.to_owned(), values.to_vec())
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
            let statement = format!("SELECT key, value FROM section WHERE source = ? AND key IN ({places})");
            let names = keys.iter().map(Key::to_string);
            let values: Vec<Value> = [self.source.to_owned()].into_iter().chain(names).map(Value::from).collect();
            self.stored.extend(keys.iter().map(|key| (*key, None)));
            for row in self.store.0.query(&statement, values)? {
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
                    "DELETE FROM section WHERE source = ? AND key = ?".to_owned(),
                    parameters![self.source, key.to_string()].to_vec(),
                )),
            }
        }
        self.store.put(self.run, MERGED, new.into_iter())?;
        statements.push((
            "INSERT OR REPLACE INTO section (source, key, value)
             SELECT ?, key, value FROM piece WHERE run = ? AND step = ?"
                .to_owned(),
            parameters![self.source, self.run, MERGED].to_vec(),
        ));
        if are_many {
            statements.push(rows::later(self.source, self.run));
        }
        let steps: Vec<Value> =
            [self.run, MERGED].into_iter().chain(self.steps.iter().map(String::as_str)).map(Value::from).collect();
        let places = vec!["?"; self.steps.len()].join(", ");
        statements.push((format!("DELETE FROM piece WHERE run = ? AND step IN (?, {places})"), steps));
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
        let mut rows = self.store.0.query("SELECT value FROM section WHERE source = ? AND key = ?", values)?;
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

impl From<upkeep_plugin::HostError> for Failed {
    fn from(error: upkeep_plugin::HostError) -> Self {
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
