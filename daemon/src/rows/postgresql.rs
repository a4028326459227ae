//! PostgreSQL, 14 and newer: a table is walked along its pages, which a statement can name as a range (`ctid`), so that it
//! needs neither a key nor an index.
//!
//! Rows that others hold are passed over (`SKIP LOCKED`) and stay for the next run. A row that is changed meanwhile moves to
//! another page and is met there or not at all. The pages that there are in the beginning are the bound. Rows of partitions are
//! removed from the partitions themselves.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, ConnectOptions, Error, Executor, Row, ValueRef, raw_sql};
use sqlx_postgres::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::config::sql::SqlServer;
use crate::rows::condition::{Cutoff, Dialect, hex, quoted};
use crate::rows::server::{COUNTING, LOCKED, LONGEST, Link, Meaning, explain, no_secret};
use crate::rows::{
    Chunk, Count, Effects, Key, KeyPart, Maintained, Maintenance, RowsError, SavedRow, Selection, Table, Value, Way,
    missing,
};
use crate::sql::postgresql;

mod catalogue;

/// The oldest version that reads a range of pages without the others.
const OLDEST: u32 = 140_000;
/// Pages that are read at once: 512 KiB, and what is kept beside them.
const PIECE: u64 = 64;
/// Pages of one transaction at most.
const MOST_PAGES: u64 = 16_384;
/// A table that is larger is not counted, but estimated.
const LARGE: u64 = 8 << 30;

/// A table on the disk: the table itself, or a partition of it.
#[derive(Debug)]
struct Leaf {
    /// Quoted, with its schema.
    name: String,
    pages: u64,
}

/// Where a walk is.
#[derive(Debug, Default)]
struct Place {
    leaf: usize,
    page: u64,
}

/// A table.
pub(super) struct Postgresql {
    link: Link<PgConnection>,
    /// As the task file names it.
    table: String,
    /// Quoted, with its schema.
    whole: String,
    leaves: Vec<Leaf>,
    column: String,
    /// The column's type, as SQL has it.
    kind: String,
    condition: String,
    has_time_index: bool,
    bytes: u64,
    removed: Place,
    /// Pages of the next transaction.
    span: u64,
    /// Along the index: the time of the last row that was removed.
    oldest: Option<String>,
    read: Place,
}

/// Values as text; the server writes them.
type Rows = Vec<Vec<Option<String>>>;

fn connect(name: &str, server: &SqlServer) -> Result<Link<PgConnection>, RowsError> {
    let options = postgresql::options(server).map_err(no_secret(name))?;
    Link::open("PostgreSQL", name, server, options.disable_statement_logging().connect())
}

fn meaning(error: &Error) -> Meaning {
    let Error::Database(error) = error else { return Meaning::Other };
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    match error.code().as_deref().unwrap_or_default() {
        "55P03" | "40P01" | "40001" => Meaning::Busy,
        "57014" => Meaning::Slow,
        "42501" => Meaning::Right,
        "P0001" => Meaning::Refused,
        code if code.starts_with("23") => Meaning::Refused,
        code if code.starts_with("22") || code == "42883" || code == "42804" => Meaning::Value,
        _ => Meaning::Other,
    }
}

fn rows(link: &mut Link<PgConnection>, statement: String) -> Result<Rows, Error> {
    let found = link.wait(|connection| async move { raw_sql(AssertSqlSafe(statement)).fetch_all(connection).await })?;
    let text = |row: &sqlx_postgres::PgRow, place| {
        let value = row.try_get_raw(place)?;
        match value.is_null() {
            true => Ok(None),
            false => value.as_str().map(|text| Some(text.to_owned())).map_err(Error::Decode),
        }
    };
    found.iter().map(|row| (0..row.len()).map(|place| text(row, place)).collect()).collect()
}

fn execute(link: &mut Link<PgConnection>, statement: String) -> Result<u64, Error> {
    let done = link.wait(|connection| async move { connection.execute(raw_sql(AssertSqlSafe(statement))).await })?;
    Ok(done.rows_affected())
}

/// The first value of the first row.
fn first(rows: &Rows) -> Option<&str> {
    rows.first()?.first()?.as_deref()
}

fn number(rows: &Rows) -> u64 {
    first(rows).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Text as an expression, in which nothing can be mistaken for SQL.
fn literal(text: &str) -> String {
    format!("convert_from(decode('{}', 'hex'), 'UTF8')", hex(text.as_bytes()))
}

impl Postgresql {
    pub(super) fn open(
        name: &str,
        server: &SqlServer,
        selection: &Selection,
        effects: &Effects<'_>,
    ) -> Result<Self, RowsError> {
        let mut link = connect(name, server)?;
        let place = link.place.clone();
        let failed = |error: Error| explain(&place, &selection.table, meaning(&error), &error);
        // Rows that are lost to a power cut after they were removed are only to be removed again.
        let settings = format!(
            "SET lock_timeout = '{LOCKED}s'; SET statement_timeout = '{LONGEST}s'; SET synchronous_commit = off; \
             SET timezone = 'UTC'; SET datestyle = 'ISO'; SET idle_in_transaction_session_timeout = '60s'; SET jit = off"
        );
        execute(&mut link, settings).map_err(failed)?;
        let version = number(&rows(&mut link, "SHOW server_version_num".to_owned()).map_err(failed)?);
        if version < u64::from(OLDEST) {
            return Err(RowsError::Invalid(format!(
                "{place} is of PostgreSQL {}; rows are removed from 14 on, since older ones read the whole table each time",
                version / 10_000
            )));
        }
        let found = catalogue::find(&mut link, selection, effects).map_err(|trouble| match trouble {
            catalogue::Trouble::Rows(error) => error,
            catalogue::Trouble::Sqlx(error) => failed(error),
        })?;
        let cutoff = Cutoff::new(selection.before, selection.timezone)?;
        let column = quoted(&selection.column);
        let mut condition = cutoff.condition(Dialect::Postgresql, &column, found.time);
        for (name, value) in &selection.equal {
            let Some(kind) = found.columns.get(name) else {
                let names = found.columns.keys().map(String::as_str);
                return Err(missing("column", name, &format!("the table `{}`", selection.table), names));
            };
            let name = quoted(name);
            let text = match value {
                Value::Null => {
                    condition.push_str(&format!(" AND {name} IS NULL"));
                    continue;
                }
                Value::Integer(number) => number.to_string(),
                Value::Real(number) => number.to_string(),
                Value::Text(text) => text.clone(),
                Value::Blob(blob) => format!("\\x{}", hex(blob)),
            };
            condition.push_str(&format!(" AND {name} = CAST({} AS {kind})", literal(&text)));
        }
        let kind = found.columns.get(&selection.column).cloned().unwrap_or_default();
        Ok(Self {
            table: selection.table.clone(),
            whole: found.whole,
            leaves: found.leaves,
            column,
            kind,
            condition,
            has_time_index: found.has_time_index,
            bytes: found.bytes,
            removed: Place::default(),
            span: 4,
            oldest: None,
            read: Place::default(),
            link,
        })
    }

    fn failed(&self, error: &Error) -> RowsError {
        explain(&self.link.place, &self.table, meaning(error), error)
    }

    fn rows(&mut self, statement: String) -> Result<Rows, RowsError> {
        rows(&mut self.link, statement).map_err(|error| self.failed(&error))
    }

    fn execute(&mut self, statement: String) -> Result<u64, RowsError> {
        execute(&mut self.link, statement).map_err(|error| self.failed(&error))
    }

    /// The range of pages that comes next, and its partition; none at the end.
    fn next(&self, place: &Place, pages: u64) -> Option<(usize, u64, u64)> {
        let mut place = (place.leaf, place.page);
        loop {
            let leaf = self.leaves.get(place.0)?;
            if place.1 < leaf.pages {
                return Some((place.0, place.1, (place.1 + pages).min(leaf.pages)));
            }
            place = (place.0 + 1, 0);
        }
    }

    fn remove_along_pages(&mut self, most: u64) -> Result<Chunk, RowsError> {
        let Some((leaf, from, to)) = self.next(&self.removed, self.span) else {
            return Ok(Chunk::NOTHING);
        };
        let (table, condition) = (&self.leaves[leaf].name, &self.condition);
        let statement = format!(
            "DELETE FROM ONLY {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ONLY {table} \
             WHERE ctid >= '({from},0)'::tid AND ctid < '({to},0)'::tid AND {condition} \
             LIMIT {most} FOR UPDATE SKIP LOCKED))"
        );
        let began = Instant::now();
        let removed = self.execute(statement)?;
        let held = began.elapsed();
        if removed < most {
            self.removed = Place { leaf, page: to };
            // Few rows in them: more pages at once.
            if removed < most / 2 {
                self.span = (self.span * 2).min(MOST_PAGES);
            }
        } else {
            self.removed = Place { leaf, page: from };
            self.span = (self.span / 2).max(1);
        }
        Ok(Chunk { removed, work: held, held, more: true })
    }

    fn remove_oldest(&mut self, most: u64) -> Result<Chunk, RowsError> {
        let Some(leaf) = self.leaves.get(self.removed.leaf) else {
            return Ok(Chunk::NOTHING);
        };
        let (table, condition, column, kind) = (&leaf.name, &self.condition, &self.column, &self.kind);
        // What is gone stays in the index until it is vacuumed: it need not be passed by each time.
        let from = match &self.oldest {
            Some(oldest) => format!(" AND {column} >= CAST({} AS {kind})", literal(oldest)),
            None => String::new(),
        };
        let statement = format!(
            "WITH gone AS (DELETE FROM ONLY {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ONLY {table} \
             WHERE {condition}{from} ORDER BY {column} LIMIT {most} FOR UPDATE SKIP LOCKED)) RETURNING {column}) \
             SELECT count(*)::text, max({column})::text FROM gone"
        );
        let began = Instant::now();
        let done = self.rows(statement)?;
        let held = began.elapsed();
        let removed = number(&done);
        if removed < most {
            (self.removed.leaf, self.oldest) = (self.removed.leaf + 1, None);
        } else {
            self.oldest = done.into_iter().next().and_then(|row| row.into_iter().nth(1)?);
        }
        Ok(Chunk { removed, work: held, held, more: true })
    }

    /// What the planner expects.
    fn estimate(&mut self) -> Result<Count, RowsError> {
        let (whole, condition) = (&self.whole, &self.condition);
        let explained = self.rows(format!("EXPLAIN (FORMAT JSON) SELECT 1 FROM {whole} WHERE {condition}"))?;
        let plan: serde_json::Value =
            first(&explained).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let estimated = plan[0]["Plan"]["Plan Rows"].as_u64();
        let total = format!(
            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint::text FROM pg_class WHERE oid = ANY ({})",
            self.oids()
        );
        let total = number(&self.rows(total)?);
        let (rows, rows_counted, oldest) = match self.has_time_index {
            true => match self.count_by("count(*)::text, NULL, min({column})::text", true)? {
                Some(counted) => (counted.0, true, counted.2),
                None => (estimated.unwrap_or(total), false, None),
            },
            false => (estimated.unwrap_or(total), false, None),
        };
        Ok(Count { rows, rows_counted, total, total_counted: false, oldest, bytes: self.bytes })
    }

    fn oids(&self) -> String {
        let names: Vec<String> =
            self.leaves.iter().map(|leaf| format!("to_regclass({})::oid", literal(&leaf.name))).collect();
        format!("ARRAY[{}]", names.join(", "))
    }

    /// Counts, unless that takes too long.
    fn count_by(&mut self, what: &str, only_old: bool) -> Result<Option<(u64, u64, Option<String>)>, RowsError> {
        let (whole, condition) = (&self.whole, &self.condition);
        let what = what.replace("{column}", &self.column).replace("{condition}", condition);
        let clause = if only_old { format!(" WHERE {condition}") } else { String::new() };
        let statement = format!("SELECT {what} FROM {whole}{clause}");
        self.execute(format!("SET statement_timeout = '{COUNTING}s'"))?;
        let counted = rows(&mut self.link, statement);
        self.execute(format!("SET statement_timeout = '{LONGEST}s'"))?;
        match counted {
            Ok(counted) => {
                let value = |place: usize| counted.first().and_then(|row| row.get(place)?.clone());
                let number = |place| value(place).and_then(|text| text.parse().ok()).unwrap_or(0);
                Ok(Some((number(0), number(1), value(2))))
            }
            Err(error) if meaning(&error) == Meaning::Slow => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

/// The place of a row: partition, page, number.
fn key(leaf: usize, ctid: &str) -> Option<Key> {
    let (page, row) = ctid.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let parts = [i64::try_from(leaf).ok()?, page.parse().ok()?, row.parse().ok()?];
    Some(Key(parts.map(KeyPart::Integer).to_vec()))
}

fn ctid(key: &Key) -> Option<(usize, String)> {
    match key.0[..] {
        [KeyPart::Integer(leaf), KeyPart::Integer(page), KeyPart::Integer(row)] => {
            Some((usize::try_from(leaf).ok()?, format!("({page},{row})")))
        }
        _ => None,
    }
}

impl Table for Postgresql {
    fn has_time_index(&self) -> bool {
        self.has_time_index
    }

    fn count(&mut self, cancel: &CancellationToken) -> Result<Count, RowsError> {
        if cancel.is_cancelled() {
            return Err(RowsError::Ended);
        }
        let counted = match self.bytes > LARGE {
            true => None,
            false => self.count_by(
                "count(*) FILTER (WHERE {condition})::text, count(*)::text, \
                 (min({column}) FILTER (WHERE {condition}))::text",
                false,
            )?,
        };
        let Some((rows, total, oldest)) = counted else { return self.estimate() };
        Ok(Count { rows, rows_counted: true, total, total_counted: true, oldest, bytes: self.bytes })
    }

    fn remove(&mut self, way: Way, most: u64) -> Result<Chunk, RowsError> {
        match way {
            Way::WholeTable => self.remove_along_pages(most),
            Way::TimeIndex => self.remove_oldest(most),
        }
    }

    fn pass_over(&mut self) -> bool {
        // Rows are passed over by the statement; what is left is a lock on the table.
        false
    }

    fn read(&mut self, each: &mut dyn FnMut(Key, &[u8]) -> bool) -> Result<bool, RowsError> {
        let Some((leaf, from, to)) = self.next(&self.read, PIECE) else { return Ok(false) };
        let (table, condition) = (&self.leaves[leaf].name, &self.condition);
        let statement = format!(
            "SELECT t.ctid::text, row_to_json(t)::text FROM ONLY {table} AS t \
             WHERE t.ctid >= '({from},0)'::tid AND t.ctid < '({to},0)'::tid AND {condition} ORDER BY t.ctid"
        );
        for row in self.rows(statement)? {
            let [Some(place), Some(json)] = &row[..] else { continue };
            let key = key(leaf, place).ok_or_else(|| RowsError::Failed(format!("`{place}` is no place of a row")))?;
            // All of these pages are in memory: they are given on to the end.
            each(key, json.as_bytes());
        }
        self.read = Place { leaf, page: to };
        Ok(true)
    }

    fn largest_batch(&self) -> u64 {
        10_000
    }

    fn remove_saved(&mut self, saved: &[SavedRow], digest: &dyn Fn(&[u8]) -> u64) -> Result<Chunk, RowsError> {
        let mut by_leaf: HashMap<usize, HashMap<String, u64>> = HashMap::new();
        for (key, digest) in saved {
            if let Some((leaf, place)) = ctid(key) {
                by_leaf.entry(leaf).or_default().insert(place, *digest);
            }
        }
        let (mut removed, mut held) = (0, Duration::ZERO);
        for (leaf, wanted) in by_leaf {
            let Some(table) = self.leaves.get(leaf).map(|leaf| leaf.name.clone()) else { continue };
            let condition = self.condition.clone();
            let array = |places: &[&str]| {
                let places: Vec<String> = places.iter().map(|place| format!("\"{place}\"")).collect();
                format!("'{{{}}}'::tid[]", places.join(","))
            };
            let places: Vec<&str> = wanted.keys().map(String::as_str).collect();
            let began = Instant::now();
            self.execute("BEGIN".to_owned())?;
            let done = (|| {
                let there = self.rows(format!(
                    "SELECT t.ctid::text, row_to_json(t)::text FROM ONLY {table} AS t \
                     WHERE t.ctid = ANY ({}) AND {condition} FOR UPDATE SKIP LOCKED",
                    array(&places)
                ))?;
                let unchanged = there.iter().filter_map(|row| match &row[..] {
                    [Some(place), Some(json)] if wanted.get(place) == Some(&digest(json.as_bytes())) => {
                        Some(place.as_str())
                    }
                    _ => None,
                });
                let unchanged: Vec<&str> = unchanged.collect();
                match unchanged.is_empty() {
                    true => Ok(0),
                    false => self.execute(format!("DELETE FROM ONLY {table} WHERE ctid = ANY ({})", array(&unchanged))),
                }
            })();
            match done {
                Ok(count) => {
                    self.execute("COMMIT".to_owned())?;
                    removed += count;
                }
                Err(error) => {
                    self.execute("ROLLBACK".to_owned())?;
                    return Err(error);
                }
            }
            held = held.max(began.elapsed());
        }
        Ok(Chunk { removed, work: held, held, more: true })
    }
}

/// Looks after the database, or a table of it.
pub(super) fn maintain(
    name: &str,
    server: &SqlServer,
    kind: Maintenance,
    table: Option<&str>,
    cancel: &CancellationToken,
) -> Result<Maintained, RowsError> {
    let mut link = connect(name, server)?;
    let place = link.place.clone();
    let failed = |error: Error| explain(&place, table.unwrap_or("a table"), meaning(&error), &error);
    let target = match table {
        Some(table) => Some(catalogue::name(&mut link, table).map_err(|trouble| match trouble {
            catalogue::Trouble::Rows(error) => error,
            catalogue::Trouble::Sqlx(error) => failed(error),
        })?),
        None => None,
    };
    let size = match &target {
        Some(target) => format!("SELECT pg_total_relation_size(to_regclass({}))::text", literal(target)),
        None => "SELECT pg_database_size(current_database())::text".to_owned(),
    };
    let bytes_before = number(&rows(&mut link, size.clone()).map_err(failed)?);
    let what = match kind {
        Maintenance::Vacuum => "VACUUM (ANALYZE)",
        Maintenance::Optimize => "ANALYZE",
    };
    // It waits for nobody that keeps a lock, and lets others through who want one of the table.
    execute(&mut link, "SET lock_timeout = '10s'".to_owned()).map_err(failed)?;
    let statement = format!("{what} {}", target.unwrap_or_default());
    let stop = cancel.clone();
    let done = link.wait(|connection| async move {
        tokio::select! {
            done = connection.execute(raw_sql(AssertSqlSafe(statement))) => Some(done),
            () = stop.cancelled() => None,
        }
    });
    match done {
        Some(done) => done.map(drop).map_err(failed)?,
        None => return Err(RowsError::Ended),
    }
    Ok(Maintained { bytes_before, bytes_after: number(&rows(&mut link, size).map_err(failed)?) })
}
