//! Rows that have passed their time: counted, saved and removed while others write to the same table.
//!
//! A [`Selection`] names a table, the column that holds the time, and what is old. [`open`] looks the names up in the
//! database's own catalogue and gives a [`Table`]: nothing gets into a statement that was not found there, and values only
//! as digits ([`condition`]). The three kinds of database stand in a file each and know four things: counting, removing a few rows in one
//! transaction, reading rows to be saved, and removing exactly rows that were saved. [`purge`] has the rest, which is the
//! same for all: the size of the transactions, the pauses, the ceiling, and the order *save, then remove*.
//!
//! A table is walked along its keys, in pieces: the last of five million rows costs what the first did, with or without an
//! index on the time, no read stays open that would keep the database's log from being emptied, and no lock is held
//! while rows are looked for. Where few rows are to go and the column has an index, that is used instead.
//!
//! Everything in here waits: call it on a thread made for waiting, within a runtime.

use std::time::Duration;

use chrono_tz::Tz;
use tokio_util::sync::CancellationToken;

use crate::config::secret::SecretError;
use crate::config::sql::SqlGrant;

pub mod condition;
mod json;
mod mariadb;
mod postgresql;
pub mod purge;
pub(crate) mod save;
mod server;
mod sqlite;

/// Rows to go.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The table, as the task file names it.
    pub table: String,
    /// The column that holds the time.
    pub column: String,
    /// How it does; none: as its type says.
    pub clock: Option<Clock>,
    /// The zone of times that are stored without one.
    pub timezone: Tz,
    /// Rows go whose time is before this, milliseconds since the Unix epoch.
    pub before: i64,
    /// Only rows that have these values in these columns.
    pub equal: Vec<(String, Value)>,
}

/// How a column that has no type for it holds a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the host API")]
pub enum Clock {
    UnixSeconds,
    UnixMilliseconds,
    UnixMicroseconds,
    IsoText,
}

/// A value that a plugin compares with.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the host API")]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// How a table is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Along an index of the column, the oldest first.
    TimeIndex,
    /// Along the keys, from the first row to the last.
    WholeTable,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Rows to go.
    pub rows: u64,
    /// Whether they were counted, rather than estimated by the database.
    pub rows_counted: bool,
    /// Rows in the table.
    pub total: u64,
    /// Whether those were counted.
    pub total_counted: bool,
    /// The time of the oldest row to go, as the database writes it.
    pub oldest: Option<String>,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// The largest share of a table for which an index is the shorter way: one row in five.
const INDEX_SHARE: u64 = 5;

/// One transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Rows that it removed.
    pub(crate) removed: u64,
    /// How long the removing itself took.
    pub(crate) work: Duration,
    /// How long others may have waited for it: with the commit, which waits for the disk.
    pub(crate) held: Duration,
    /// Whether there may be more to remove.
    pub(crate) more: bool,
}

impl Chunk {
    /// There was nothing left.
    pub(crate) const NOTHING: Self = Self { removed: 0, work: Duration::ZERO, held: Duration::ZERO, more: false };
}

/// What a row is found again by: the values of its key, or its place.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Key(pub(crate) Vec<KeyPart>);

/// A value of a key.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum KeyPart {
    Integer(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row that was saved: its key, and a digest of all that it held.
pub(crate) type SavedRow = (Key, u64);

/// A table that was found, with the statements for one selection. What is walked goes on where the last call ended.
pub(crate) trait Table: Send {
    /// Whether the column has an index.
    fn has_time_index(&self) -> bool;

    /// Counts.
    fn count(&mut self, cancel: &CancellationToken) -> Result<Count, RowsError>;

    /// Removes at most `most` rows in one transaction.
    fn remove(&mut self, way: Way, most: u64) -> Result<Chunk, RowsError>;

    /// Passes over the rows that `remove` met last, which somebody holds; the next one begins behind them. False where
    /// that cannot be.
    fn pass_over(&mut self) -> bool;

    /// Reads the next rows to go, each as one JSON object, in the order of their keys, until `each` has had enough. False
    /// at the end.
    fn read(&mut self, each: &mut dyn FnMut(Key, &[u8]) -> bool) -> Result<bool, RowsError>;

    /// Rows that `remove_saved` takes at most.
    fn largest_batch(&self) -> u64;

    /// Removes, in one transaction, those of these rows that are as they were saved; they stand in the order in which they
    /// were read. `digest` tells what a row held.
    fn remove_saved(&mut self, rows: &[SavedRow], digest: &dyn Fn(&[u8]) -> u64) -> Result<Chunk, RowsError>;

    /// Between two transactions: what keeps the database's own log small. Why it grows without bound, if it does.
    fn settle(&mut self) -> Result<Option<String>, RowsError> {
        Ok(None)
    }

    /// The way that costs least for so many rows.
    fn way(&self, count: &Count) -> Way {
        match self.has_time_index() && count.rows <= count.total / INDEX_SHARE {
            true => Way::TimeIndex,
            false => Way::WholeTable,
        }
    }
}

/// Opens the table that the selection names, in the database of the grant `name`. `granted` are the tables that rows may go
/// from; a table that rows would go from along with them has to be one of them, and with `alone` there must be none.
pub(crate) fn open(
    name: &str,
    grant: &SqlGrant,
    selection: &Selection,
    granted: &[String],
    alone: bool,
) -> Result<Box<dyn Table>, RowsError> {
    let effects = Effects { name, granted, alone };
    match grant {
        SqlGrant { sqlite: Some(path), .. } => Ok(Box::new(sqlite::Sqlite::open(path, selection, &effects)?)),
        SqlGrant { postgresql: Some(server), .. } => {
            Ok(Box::new(postgresql::Postgresql::open(name, server, selection, &effects)?))
        }
        SqlGrant { mariadb: Some(server), .. } => {
            Ok(Box::new(mariadb::Mariadb::open(name, server, selection, &effects)?))
        }
        _ => Err(RowsError::Invalid(format!("`grant.sql.{name}` names no database"))),
    }
}

/// What is done for a database, or a table of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the host API")]
pub enum Maintenance {
    Vacuum,
    Optimize,
}

/// How that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the host API")]
pub struct Maintained {
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// Looks after the database of the grant `name`, or after one table of it.
pub(crate) fn maintain(
    name: &str,
    grant: &SqlGrant,
    kind: Maintenance,
    table: Option<&str>,
    cancel: &CancellationToken,
) -> Result<Maintained, RowsError> {
    match grant {
        SqlGrant { sqlite: Some(path), .. } => sqlite::maintain(path, kind, table, cancel),
        SqlGrant { postgresql: Some(server), .. } => postgresql::maintain(name, server, kind, table, cancel),
        SqlGrant { mariadb: Some(server), .. } => mariadb::maintain(name, server, kind, table, cancel),
        _ => Err(RowsError::Invalid(format!("`grant.sql.{name}` names no database"))),
    }
}

/// What rows of other tables may suffer.
pub(crate) struct Effects<'a> {
    name: &'a str,
    granted: &'a [String],
    alone: bool,
}

impl Effects<'_> {
    /// Refuses what the grant does not cover: removing from `table` does `what` to rows of `other`.
    fn check(&self, table: &str, other: &str, what: &str) -> Result<(), RowsError> {
        let name = self.name;
        if self.alone {
            return Err(RowsError::Invalid(format!(
                "rows of `{other}` would go along with those of `{table}` ({what}), and would not be saved; remove from \
                 `{other}` in a rule of its own first, or do without saving"
            )));
        }
        if self.granted.iter().any(|granted| granted == other) {
            return Ok(());
        }
        Err(RowsError::Beyond(format!(
            "removing from `{table}` also changes `{other}` ({what}), which `grant.sql.{name}.removal.tables` does not name"
        )))
    }
}

/// Why rows are not counted or removed. The text names the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The password cannot be had.
    #[error("the password of the database {name}: {source}")]
    Secret {
        /// Name of the grant.
        name: String,
        /// Why.
        source: SecretError,
    },
    /// What was named is not there.
    #[error("{0}")]
    Missing(String),
    /// What was asked for does not go together.
    #[error("{0}")]
    Invalid(String),
    /// It would reach tables that are not granted.
    #[error("{0}")]
    Beyond(String),
    /// The database does not let these rows go.
    #[error("{0}")]
    Refused(String),
    /// Somebody else holds the rows or the table for now.
    #[error("{0}")]
    Busy(String),
    /// The database does not answer, or not as it should.
    #[error("{0}")]
    Failed(String),
    /// The run was ended.
    #[error("the run was ended")]
    Ended,
}

/// Says that there is no such table or column, and what comes near.
fn missing<'n>(what: &str, wrong: &str, place: &str, names: impl IntoIterator<Item = &'n str>) -> RowsError {
    let names: Vec<&str> = names.into_iter().collect();
    let hint = match crate::config::suggest::nearest(wrong, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "there is none at all".to_owned(),
        None => format!("there is {}", crate::config::suggest::list(names.into_iter().take(20))),
    };
    RowsError::Missing(format!("{place} has no {what} `{wrong}`; {hint}"))
}
