//! `sql` of the test host: the task's own database, in memory.

use std::cell::RefCell;
use std::rc::Rc;

use rusqlite::types::ValueRef;

use super::with;
use crate::host::{HostError, HostResult};
use crate::sql::{Dialect, Value};

#[derive(Debug)]
pub(crate) struct Connection(Rc<rusqlite::Connection>);

#[derive(Debug)]
pub(crate) struct Rows {
    columns: Vec<String>,
    rows: RefCell<std::vec::IntoIter<Vec<Value>>>,
}

impl Connection {
    pub(crate) fn open(name: &str) -> HostResult<Self> {
        if name != "private" {
            let message = format!("the test host has the database `private` only, not `{name}`");
            return Err(HostError::Unavailable(message));
        }
        with(|world| {
            if world.private.is_none() {
                world.private = Some(Rc::new(rusqlite::Connection::open_in_memory().map_err(refused)?));
            }
            world.private.clone().map(Self).ok_or_else(|| HostError::Unavailable("no database".to_owned()))
        })
    }

    pub(crate) fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    /// All rows at once: a test has few.
    pub(crate) fn query(&self, statement: &str, parameters: &[Value]) -> HostResult<Rows> {
        let mut prepared = self.0.prepare(statement).map_err(refused)?;
        let columns: Vec<String> = prepared.column_names().into_iter().map(str::to_owned).collect();
        let rows = prepared.query_map(rusqlite::params_from_iter(parameters.iter().map(to_sqlite)), |row| {
            (0..columns.len()).map(|index| row.get_ref(index).map(from_sqlite)).collect()
        });
        let rows: Vec<Vec<Value>> = rows.and_then(Iterator::collect).map_err(refused)?;
        Ok(Rows { columns, rows: RefCell::new(rows.into_iter()) })
    }

    pub(crate) fn execute(&self, statement: &str, parameters: &[Value]) -> HostResult<u64> {
        let parameters = rusqlite::params_from_iter(parameters.iter().map(to_sqlite));
        self.0.execute(statement, parameters).map(|changed| changed as u64).map_err(refused)
    }

    pub(crate) fn batch(&self, statements: &[(String, Vec<Value>)]) -> HostResult<Vec<u64>> {
        self.execute("BEGIN IMMEDIATE", &[])?;
        let done: HostResult<Vec<u64>> =
            statements.iter().map(|(statement, parameters)| self.execute(statement, parameters)).collect();
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        self.execute(end, &[])?;
        done
    }
}

impl Rows {
    pub(crate) fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }

    pub(crate) fn next(&self, max: u32) -> HostResult<Vec<Vec<Value>>> {
        Ok(self.rows.borrow_mut().by_ref().take(max as usize).collect())
    }
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

fn from_sqlite(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Blob(text.to_vec()),
        },
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

fn refused(error: rusqlite::Error) -> HostError {
    let message = format!("`private`: {error}");
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => HostError::Conflict(message),
        _ => HostError::Invalid(message),
    }
}

#[cfg(test)]
mod tests {
    use crate::parameters;
    use crate::sql::{Connection, Value};
    use crate::test::Host;

    #[test]
    fn a_batch_is_done_as_a_whole_or_not_at_all() -> crate::Result<()> {
        let _host = Host::new();
        let database = Connection::open("private")?;
        database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB) STRICT", [])?;
        let insert = |a: i64| ("INSERT INTO t VALUES (?, ?)".to_owned(), vec![a.into(), Value::Blob(vec![7])]);
        assert_eq!(database.batch(&[insert(1), insert(2)])?, [1, 1]);
        let twice = database.batch(&[insert(3), insert(3)]);
        assert!(matches!(twice, Err(crate::HostError::Conflict(_))), "{twice:?}");
        // What was opened later is the same database.
        let rows = Connection::open("private")?.query("SELECT a, b FROM t WHERE a > ?", parameters![1])?;
        let rows = rows.collect::<crate::HostResult<Vec<_>>>()?;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].values(), [Value::Integer(2), Value::Blob(vec![7])]);
        Ok(())
    }
}
