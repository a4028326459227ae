//! The journal as a reader of the file sees it, without upkeep in between.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};

/// A connection that only reads.
pub struct Journal {
    connection: Connection,
    /// A copy that was made of it, to be removed with it.
    _copy: Option<tempfile::TempDir>,
}

impl Journal {
    /// Opens the journal of a state directory beside the daemon.
    pub fn open(state: &Path) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(state.join("upkeep.db"), flags).expect("the journal opens");
        connection.busy_timeout(std::time::Duration::from_secs(10)).expect("SQLite waits");
        Self { connection, _copy: None }
    }

    /// Opens a copy, as it is on the disk at this moment, so that nothing of a crash is repaired in the original.
    pub fn copy(state: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["upkeep.db", "upkeep.db-wal"] {
            if state.join(name).exists() {
                std::fs::copy(state.join(name), folder.path().join(name)).expect("the journal can be copied");
            }
        }
        let connection = Connection::open(folder.path().join("upkeep.db")).expect("the copy opens");
        Self { connection, _copy: Some(folder) }
    }

    /// The rows of a query as objects.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<Map<String, Value>> {
        let mut statement = self.connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let rows = statement.query_map([], |row| {
            let cell = |(at, name): (usize, &String)| Ok((name.clone(), value(row.get_ref(at)?)));
            names.iter().enumerate().map(cell).collect()
        });
        rows.and_then(Iterator::collect).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first column of the rows of a query.
    #[track_caller]
    pub fn column(&self, sql: &str) -> Vec<Value> {
        let mut statement = self.connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = statement.query_map([], |row| Ok(value(row.get_ref(0)?)));
        rows.and_then(Iterator::collect).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The number that a query gives.
    #[track_caller]
    pub fn number(&self, sql: &str) -> i64 {
        let column = self.column(sql);
        column.first().and_then(Value::as_i64).unwrap_or_else(|| panic!("{sql} gives no number: {column:?}"))
    }
}

fn value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into(),
    }
}
