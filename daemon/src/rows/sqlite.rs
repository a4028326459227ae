//! SQLite: one writer at a time, who may wait for us as long as a transaction of ours lasts.
//!
//! Rows to go are looked for outside of transactions. After each one the write-ahead log is copied back by us (never with
//! a lock that a writer waits for), so that it stays small and no writer has to do it. Foreign keys are enforced, whatever
//! the default is.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params_from_iter};
use tokio_util::sync::CancellationToken;

use crate::rows::condition::{Cutoff, Dialect, Kind, hex, quoted};
use crate::rows::json::Object;
use crate::rows::{
    Chunk, Clock, Count, Effects, Key, KeyPart, RowsError, SavedRow, Selection, Table, Value, Way, missing,
};

mod catalogue;
mod maintain;

pub(super) use maintain::maintain;

/// Rows that are looked at in one statement: a few milliseconds.
const SCAN: u64 = 10_000;
/// Pages that one transaction should leave in the write-ahead log at most, and the length of the log at which we copy it back.
/// Together they stay below the 1,000 at which whoever writes next would have to do that, and wait for the disk. More often would
/// not do either: the first transaction after it waits for the disk too.
const CHUNK_PAGES: i64 = 300;
const LOG_PAGES: i64 = 500;
/// The write-ahead log that is too long, in bytes.
const LONGEST_LOG: i64 = 256 << 20;

thread_local! {
    /// Pages in the write-ahead log after the last transaction of this thread.
    static LOG: Cell<i64> = const { Cell::new(0) };
}

/// A table.
pub(super) struct Sqlite {
    database: Connection,
    path: PathBuf,
    /// The names, quoted.
    table: String,
    key: Vec<String>,
    column: String,
    /// The names of all columns, as they are.
    columns: Vec<String>,
    condition: String,
    /// The same in a form that no index serves: along the keys, one on the time would be read from its beginning each time.
    filter: String,
    has_time_index: bool,
    is_wal: bool,
    page_size: i64,
    /// The last key that there was in the beginning.
    end: Option<Vec<Sql>>,
    /// Removed until here.
    removed_to: Option<Vec<Sql>>,
    /// Read until here.
    read_to: Option<Vec<Sql>>,
    /// Rows of a transaction that leave as many pages as they should.
    most: u64,
    /// Pages in the write-ahead log.
    log: i64,
}

fn connect(path: &Path) -> Result<Connection, RowsError> {
    let failed = |error| failure(path, &error);
    if !path.exists() {
        return Err(RowsError::Missing(format!("the database {} does not exist", path.display())));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags).map_err(failed)?;
    // SQLite's own handler soon sleeps 100 ms at a time, and between two writers that never wait we would starve.
    database
        .busy_handler(Some(|tries| {
            std::thread::sleep(Duration::from_millis(2));
            tries < 5_000
        }))
        .map_err(failed)?;
    database.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    // In this mode a transaction of ours that is lost by a power cut is only to be done again.
    if is_wal(&database).map_err(failed)? {
        database.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        // Instead of SQLite's own, which copies the log back.
        database.wal_hook(Some(|_, pages| {
            LOG.set(pages.into());
            Ok(())
        }));
    }
    Ok(database)
}

fn is_wal(database: &Connection) -> rusqlite::Result<bool> {
    database.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)).map(|mode| mode == "wal")
}

fn bytes(database: &Connection) -> rusqlite::Result<u64> {
    let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    database.query_row(size, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

fn failure(path: &Path, error: &rusqlite::Error) -> RowsError {
    let place = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => RowsError::Busy(format!(
            "the database {place} is locked by another program, which has not let go for 10 seconds"
        )),
        Some(ErrorCode::ConstraintViolation) => RowsError::Refused(format!(
            "the database {place} does not let rows go: {error}; rows of another table refer to them, or a trigger keeps them. \
             Remove those others first, in a rule of their own before this one"
        )),
        Some(ErrorCode::OperationInterrupted) => RowsError::Ended,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => RowsError::Failed(format!(
            "the database {place} cannot be written: {error}; upkeep needs to write the file and its folder"
        )),
        Some(ErrorCode::DiskFull) => RowsError::Failed(format!("the database {place}: {error}; its disk is full")),
        _ => RowsError::Failed(format!("the database {place}: {error}")),
    }
}

impl Sqlite {
    pub(super) fn open(path: &Path, selection: &Selection, effects: &Effects<'_>) -> Result<Self, RowsError> {
        let database = connect(path)?;
        let found = catalogue::find(&database, path, selection, effects)?;
        let column = quoted(&selection.column);
        let kind = match selection.clock {
            Some(Clock::IsoText) => Kind::IsoText,
            Some(clock) => Kind::Number(clock),
            None => return Err(found.no_clock(&database, selection)),
        };
        let cutoff = Cutoff::new(selection.before, selection.timezone)?;
        let mut condition = cutoff.condition(Dialect::Sqlite, &column, kind);
        for (name, value) in &selection.equal {
            if !found.columns.contains(name) {
                let names = found.columns.iter().map(String::as_str);
                return Err(missing("column", name, &format!("the table `{}`", selection.table), names));
            }
            let name = quoted(name);
            condition.push_str(&match value {
                Value::Null => format!(" AND {name} IS NULL"),
                Value::Integer(number) => format!(" AND {name} = {number}"),
                Value::Real(number) if number.is_finite() => format!(" AND {name} = {number:?}"),
                Value::Real(_) => return Err(RowsError::Invalid(format!("{name}: a number that is none"))),
                Value::Text(text) => format!(" AND {name} = CAST(x'{}' AS TEXT)", hex(text.as_bytes())),
                Value::Blob(blob) => format!(" AND {name} = x'{}'", hex(blob)),
            });
        }
        let failed = |error| failure(path, &error);
        let is_wal = is_wal(&database).map_err(failed)?;
        let page_size = database.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(failed)?;
        let mut table = Self {
            path: path.to_owned(),
            table: quoted(&selection.table),
            key: found.key,
            column,
            columns: found.columns,
            filter: format!("CASE WHEN {condition} THEN 1 END"),
            condition,
            has_time_index: found.has_time_index,
            is_wal,
            page_size,
            end: None,
            removed_to: None,
            read_to: None,
            most: u64::MAX,
            log: 0,
            database,
        };
        table.end = table.last_key().map_err(failed)?;
        Ok(table)
    }

    fn last_key(&self) -> rusqlite::Result<Option<Vec<Sql>>> {
        let order: Vec<String> = self.key.iter().map(|part| format!("{part} DESC")).collect();
        let statement =
            format!("SELECT {} FROM {} ORDER BY {} LIMIT 1", self.key.join(", "), self.table, order.join(", "));
        self.key_of(&statement, &[])
    }

    /// The key that a statement gives, if it gives a row.
    fn key_of(&self, statement: &str, values: &[Sql]) -> rusqlite::Result<Option<Vec<Sql>>> {
        let mut statement = self.database.prepare(statement)?;
        let mut rows = statement.query(params_from_iter(values))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        (0..self.key.len()).map(|place| row.get(place)).collect::<rusqlite::Result<_>>().map(Some)
    }

    /// The condition for the keys behind `after` up to `upto`, and its values.
    fn range(&self, after: Option<&[Sql]>, upto: &[Sql]) -> (String, Vec<Sql>) {
        let marks = |from: usize| {
            let marks: Vec<String> = (0..self.key.len()).map(|place| format!("?{}", from + place)).collect();
            marks.join(", ")
        };
        let key = self.key.join(", ");
        let upper = format!("({key}) <= ({})", marks(1));
        match after {
            None => (upper, upto.to_vec()),
            Some(after) => {
                let lower = format!("({key}) > ({})", marks(1 + self.key.len()));
                (format!("{lower} AND {upper}"), upto.iter().chain(after).cloned().collect())
            }
        }
    }

    /// The key `count` rows behind `after`; the last one where there are fewer. Whether it is the last.
    fn ahead(&self, after: Option<&[Sql]>, count: u64) -> rusqlite::Result<Option<(Vec<Sql>, bool)>> {
        let Some(end) = &self.end else { return Ok(None) };
        let (range, mut values) = self.range(after, end);
        values.push(Sql::Integer(i64::try_from(count.saturating_sub(1)).unwrap_or(i64::MAX)));
        let (key, table) = (self.key.join(", "), &self.table);
        let place = values.len();
        let statement = format!("SELECT {key} FROM {table} WHERE {range} ORDER BY {key} LIMIT 1 OFFSET ?{place}");
        let ahead = self.key_of(&statement, &values)?;
        Ok(Some(ahead.map_or_else(|| (end.clone(), true), |key| (key, false))))
    }

    fn remove_along_keys(&mut self, most: u64) -> rusqlite::Result<Chunk> {
        let after = self.removed_to.clone();
        let Some((mut upto, mut is_last)) = self.ahead(after.as_deref(), most.max(SCAN))? else {
            return Ok(Chunk::NOTHING);
        };
        let (table, filter, key) = (&self.table, &self.filter, self.key.join(", "));
        let (range, mut values) = self.range(after.as_deref(), &upto);
        let place = values.len() + 1;
        let found: u64 = {
            let count =
                format!("SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {range} AND {filter} LIMIT ?{place})");
            values.push(Sql::Integer(i64::try_from(most).unwrap_or(i64::MAX)));
            let mut count = self.database.prepare(&count)?;
            count.query_row(params_from_iter(&values), |row| row.get::<_, i64>(0))?.unsigned_abs()
        };
        if found == most {
            // Only so far.
            let nth = format!(
                "SELECT {key} FROM {table} WHERE {range} AND {filter} ORDER BY {key} LIMIT 1 OFFSET ?{place} - 1"
            );
            if let Some(key) = self.key_of(&nth, &values)? {
                (upto, is_last) = (key, false);
            }
        }
        let mut chunk = Chunk { more: !is_last, ..Chunk::NOTHING };
        if found > 0 {
            let (range, values) = self.range(after.as_deref(), &upto);
            let statement = format!("DELETE FROM {table} WHERE {range} AND {filter}");
            let written = write(&mut self.database, |database| {
                Ok(database.prepare(&statement)?.execute(params_from_iter(&values))? as u64)
            })?;
            chunk = written.chunk(chunk.more);
        }
        self.removed_to = Some(upto);
        Ok(chunk)
    }

    fn remove_oldest(&mut self, most: u64) -> rusqlite::Result<Chunk> {
        let (table, condition, column, key) = (&self.table, &self.condition, &self.column, self.key.join(", "));
        let statement = format!(
            "DELETE FROM {table} WHERE ({key}) IN \
             (SELECT {key} FROM {table} WHERE {condition} ORDER BY {column} LIMIT ?1)"
        );
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let written = write(&mut self.database, |database| Ok(database.prepare(&statement)?.execute([limit])? as u64))?;
        Ok(written.chunk(written.removed == most))
    }

    /// Finds how many rows leave as many pages in the log as they should.
    fn learn(&mut self, rows: u64, chunk: &Chunk) {
        if !self.is_wal || chunk.removed == 0 {
            return;
        }
        let pages = LOG.get();
        // Shorter than before: it was begun anew.
        let own = if pages >= self.log { pages - self.log } else { pages };
        self.log = pages;
        if own > CHUNK_PAGES {
            let fewer = i128::from(rows) * i128::from(CHUNK_PAGES) / i128::from(own);
            self.most = u64::try_from(fewer).unwrap_or(1).max(50);
        } else if own < CHUNK_PAGES / 2 {
            self.most = self.most.saturating_mul(2);
        }
    }

    fn columns_and_key(&self) -> String {
        let columns = self.columns.iter().map(|column| quoted(column));
        self.key.iter().cloned().chain(columns).collect::<Vec<_>>().join(", ")
    }

    fn remove_if_as_saved(&mut self, saved: &[SavedRow], digest: &dyn Fn(&[u8]) -> u64) -> rusqlite::Result<Chunk> {
        let (Some((first, _)), Some((last, _))) = (saved.first(), saved.last()) else { return Ok(Chunk::NOTHING) };
        let (table, filter, key) = (&self.table, &self.filter, self.key.join(", "));
        let marks =
            |from: usize| (0..self.key.len()).map(|place| format!("?{}", from + place)).collect::<Vec<_>>().join(", ");
        let within = format!("({key}) >= ({}) AND ({key}) <= ({})", marks(1), marks(1 + self.key.len()));
        let values: Vec<Sql> = values_of(first).into_iter().chain(values_of(last)).collect();
        let select =
            format!("SELECT {} FROM {table} WHERE {within} AND {filter} ORDER BY {key}", self.columns_and_key());
        let all = format!("DELETE FROM {table} WHERE {within} AND {filter}");
        let one = format!("DELETE FROM {table} WHERE ({key}) = ({})", marks(1));
        let (key_parts, columns) = (self.key.len(), &self.columns);
        let wanted: HashMap<String, u64> = saved.iter().map(|(key, digest)| (name_of(key), *digest)).collect();
        let written = write(&mut self.database, |database| {
            let (mut there, mut object) = (0, Object::default());
            let mut unchanged = Vec::new();
            {
                let mut select = database.prepare(&select)?;
                let mut rows = select.query(params_from_iter(&values))?;
                while let Some(row) = rows.next()? {
                    there += 1;
                    let key = key_at(row, key_parts)?;
                    if wanted.get(&name_of(&key)) == Some(&digest(object_of(row, key_parts, columns, &mut object)?)) {
                        unchanged.push(key);
                    }
                }
            }
            if unchanged.len() == there {
                return Ok(database.prepare(&all)?.execute(params_from_iter(&values))? as u64);
            }
            let mut removed = 0;
            let mut one = database.prepare(&one)?;
            for key in unchanged {
                removed += one.execute(params_from_iter(values_of(&key)))? as u64;
            }
            Ok(removed)
        })?;
        Ok(written.chunk(true))
    }

    fn read_piece(&mut self, each: &mut dyn FnMut(Key, &[u8]) -> bool) -> rusqlite::Result<bool> {
        let Some((upto, is_last)) = self.ahead(self.read_to.as_deref(), SCAN)? else { return Ok(false) };
        let (range, values) = self.range(self.read_to.as_deref(), &upto);
        let (table, filter, key) = (&self.table, &self.filter, self.key.join(", "));
        let statement =
            format!("SELECT {} FROM {table} WHERE {range} AND {filter} ORDER BY {key}", self.columns_and_key());
        let mut statement = self.database.prepare(&statement)?;
        let mut rows = statement.query(params_from_iter(&values))?;
        let mut object = Object::default();
        while let Some(row) = rows.next()? {
            let key = key_at(row, self.key.len())?;
            let place = values_of(&key);
            if !each(key, object_of(row, self.key.len(), &self.columns, &mut object)?) {
                self.read_to = Some(place);
                return Ok(true);
            }
        }
        self.read_to = Some(upto);
        Ok(!is_last)
    }
}

impl Written {
    fn chunk(&self, more: bool) -> Chunk {
        Chunk { removed: self.removed, work: self.work, held: self.held, more }
    }
}

/// What a transaction came to.
struct Written {
    removed: u64,
    work: Duration,
    held: Duration,
}

/// Removes in a transaction.
fn write(
    database: &mut Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<u64>,
) -> rusqlite::Result<Written> {
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let began = Instant::now();
    let removed = work(&transaction)?;
    let work = began.elapsed();
    transaction.commit()?;
    Ok(Written { removed, work, held: began.elapsed() })
}

fn key_at(row: &rusqlite::Row<'_>, parts: usize) -> rusqlite::Result<Key> {
    let part = |place| {
        Ok(match row.get_ref(place)? {
            ValueRef::Null => KeyPart::Bytes(Vec::new()),
            ValueRef::Integer(number) => KeyPart::Integer(number),
            ValueRef::Real(number) => KeyPart::Real(number),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => KeyPart::Text(text.to_owned()),
                Err(_) => {
                    return Err(rusqlite::Error::InvalidColumnType(place, "key".into(), rusqlite::types::Type::Text));
                }
            },
            ValueRef::Blob(blob) => KeyPart::Bytes(blob.to_vec()),
        })
    };
    (0..parts).map(part).collect::<rusqlite::Result<_>>().map(Key)
}

fn values_of(key: &Key) -> Vec<Sql> {
    let value = |part: &KeyPart| match part {
        KeyPart::Integer(number) => Sql::Integer(*number),
        KeyPart::Real(number) => Sql::Real(*number),
        KeyPart::Text(text) => Sql::Text(text.clone()),
        KeyPart::Bytes(bytes) => Sql::Blob(bytes.clone()),
    };
    key.0.iter().map(value).collect()
}

/// A key as a text that no other key has.
fn name_of(key: &Key) -> String {
    format!("{:?}", key.0)
}

fn object_of<'o>(
    row: &rusqlite::Row<'_>,
    skip: usize,
    columns: &[String],
    object: &'o mut Object,
) -> rusqlite::Result<&'o [u8]> {
    object.begin();
    for (place, name) in columns.iter().enumerate() {
        match row.get_ref(skip + place)? {
            ValueRef::Null => object.null(name),
            ValueRef::Integer(number) => object.integer(name, number),
            ValueRef::Real(number) => object.real(name, number),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => object.text(name, text),
                // SQLite lets text hold any bytes.
                Err(_) => object.bytes(name, text),
            },
            ValueRef::Blob(blob) => object.bytes(name, blob),
        }
    }
    Ok(object.end())
}

/// A value for people.
fn shown(value: &Sql) -> String {
    match value {
        Sql::Null => "NULL".to_owned(),
        Sql::Integer(number) => number.to_string(),
        Sql::Real(number) => number.to_string(),
        Sql::Text(text) => text.chars().take(40).collect(),
        Sql::Blob(blob) => format!("{} bytes", blob.len()),
    }
}

/// Whether `one` is the earlier of two values of a time column.
fn is_earlier(one: &Sql, other: &Sql) -> bool {
    match (one, other) {
        (Sql::Integer(one), Sql::Integer(other)) => one < other,
        (Sql::Real(one), Sql::Real(other)) => one < other,
        (Sql::Text(one), Sql::Text(other)) => one < other,
        _ => false,
    }
}

impl Table for Sqlite {
    fn has_time_index(&self) -> bool {
        self.has_time_index
    }

    fn count(&mut self, cancel: &CancellationToken) -> Result<Count, RowsError> {
        let (mut rows, mut total, mut oldest) = (0, 0, None::<Sql>);
        let mut after: Option<Vec<Sql>> = None;
        let mut piece = |after: Option<&[Sql]>| -> rusqlite::Result<Option<(Vec<Sql>, bool)>> {
            // In pieces: a long read would keep writers out, or the log from being emptied.
            let Some((upto, is_last)) = self.ahead(after, 2 * SCAN)? else { return Ok(None) };
            let (range, values) = self.range(after, &upto);
            let (table, condition, column) = (&self.table, &self.condition, &self.column);
            let statement = format!(
                "SELECT count(*), coalesce(sum({condition}), 0), min(CASE WHEN {condition} THEN {column} END) \
                 FROM {table} WHERE {range}"
            );
            let mut statement = self.database.prepare(&statement)?;
            let (all, to_go, least) = statement.query_row(params_from_iter(&values), |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, Sql>(2)?))
            })?;
            total += all.unsigned_abs();
            rows += to_go.unsigned_abs();
            if least != Sql::Null && oldest.as_ref().is_none_or(|oldest| is_earlier(&least, oldest)) {
                oldest = Some(least);
            }
            Ok(Some((upto, is_last)))
        };
        loop {
            if cancel.is_cancelled() {
                return Err(RowsError::Ended);
            }
            match piece(after.as_deref()).map_err(|error| failure(&self.path, &error))? {
                Some((upto, false)) => after = Some(upto),
                _ => break,
            }
        }
        let bytes = bytes(&self.database).map_err(|error| failure(&self.path, &error))?;
        let oldest = oldest.as_ref().map(shown);
        Ok(Count { rows, rows_counted: true, total, total_counted: true, oldest, bytes })
    }

    fn remove(&mut self, way: Way, most: u64) -> Result<Chunk, RowsError> {
        let most = most.min(self.most).max(1);
        let removed = match way {
            Way::WholeTable => self.remove_along_keys(most),
            Way::TimeIndex => self.remove_oldest(most),
        };
        let chunk = removed.map_err(|error| failure(&self.path, &error))?;
        self.learn(most, &chunk);
        Ok(chunk)
    }

    fn pass_over(&mut self) -> bool {
        // There are no locks of single rows.
        false
    }

    fn read(&mut self, each: &mut dyn FnMut(Key, &[u8]) -> bool) -> Result<bool, RowsError> {
        self.read_piece(each).map_err(|error| failure(&self.path, &error))
    }

    fn largest_batch(&self) -> u64 {
        self.most
    }

    fn remove_saved(&mut self, rows: &[SavedRow], digest: &dyn Fn(&[u8]) -> u64) -> Result<Chunk, RowsError> {
        let done = self.remove_if_as_saved(rows, digest);
        let chunk = done.map_err(|error| failure(&self.path, &error))?;
        self.learn(rows.len() as u64, &chunk);
        Ok(chunk)
    }

    fn settle(&mut self) -> Result<Option<String>, RowsError> {
        if self.log < LOG_PAGES {
            return Ok(None);
        }
        let passive = "PRAGMA wal_checkpoint(PASSIVE)";
        let done = self.database.query_row(passive, [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
        let (pages, copied) = match done {
            Ok(done) => done,
            // Another one is at it.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => return Ok(None),
            Err(error) => return Err(failure(&self.path, &error)),
        };
        self.log = pages - copied;
        if copied < pages && pages * self.page_size > LONGEST_LOG {
            return Ok(Some(format!(
                "the write-ahead log {}-wal has grown to {} MiB, since another program has been reading from the database all \
                 the while; end that program's transaction, the next run goes on",
                self.path.display(),
                (pages * self.page_size) >> 20
            )));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
