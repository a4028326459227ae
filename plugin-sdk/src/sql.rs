//! SQL databases that the task file names, and the task's own, which is called `private`.
//!
//! ```no_run
//! use upkeep_plugin::sql::{Connection, parameters};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! let database = Connection::open("private")?;
//! database.execute("CREATE TABLE IF NOT EXISTS seen (path TEXT PRIMARY KEY, size INTEGER) STRICT", [])?;
//! database.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", parameters!["a.txt", 5])?;
//! for row in database.query("SELECT path, size FROM seen WHERE size > ?", parameters![3])? {
//!     let row = row?;
//!     let (path, size) = (row.get::<String>("path")?, row.get::<Option<i64>>("size")?);
//!     upkeep_plugin::info!("{path}: {size:?}");
//! }
//! # Ok(())
//! # }
//! ```

use std::rc::Rc;

pub use crate::bindings::upkeep::plugin::sql::{Dialect, Value};
use crate::host::{HostError, HostResult, sql as host};
pub use crate::parameters;

/// Rows asked for at once.
const ROW_BATCH: u32 = 1000;

/// The values for the placeholders of a statement, in order: an array of [`Value`] from anything that is `Into<Value>`.
#[macro_export]
macro_rules! parameters {
    ($($value:expr),* $(,)?) => { [$($crate::sql::Value::from($value)),*] };
}

/// A connection to a database.
#[derive(Debug)]
pub struct Connection(host::Connection);

impl Connection {
    /// Opens the database of this name.
    ///
    /// # Errors
    /// [`HostError::Denied`] when the task file does not grant it.
    pub fn open(name: &str) -> HostResult<Self> {
        host::Connection::open(name).map(Self)
    }

    /// What kind of database it is, and so what statements have to be written for.
    pub fn dialect(&self) -> Dialect {
        self.0.dialect()
    }

    /// Runs a statement that gives rows. `?` in the text (`$1`, `$2` in PostgreSQL) takes the parameters in order. Times and
    /// numbers with decimals come as text from a server, see the host API.
    ///
    /// # Errors
    /// [`HostError::Invalid`] when the database does not take the statement.
    pub fn query(&self, statement: &str, parameters: impl AsRef<[Value]>) -> HostResult<Rows> {
        let rows = self.0.query(statement, parameters.as_ref())?;
        let columns = rows.columns().into();
        Ok(Rows { rows, columns, batch: Vec::new().into_iter(), ended: false })
    }

    /// Runs a statement and gives the number of rows it changed. Right: write.
    ///
    /// # Errors
    /// [`HostError::Invalid`] when the database does not take the statement, [`HostError::Denied`] without the right.
    pub fn execute(&self, statement: &str, parameters: impl AsRef<[Value]>) -> HostResult<u64> {
        self.0.execute(statement, parameters.as_ref())
    }

    /// Runs all statements in one transaction, all or none (in MariaDB, statements that change tables end it); gives the number of rows that each changed. Right: write.
    ///
    /// # Errors
    /// As for [`Connection::execute`].
    pub fn batch(&self, statements: &[(String, Vec<Value>)]) -> HostResult<Vec<u64>> {
        self.0.batch(statements)
    }
}

/// The rows of a query. Fetched from the host in batches.
#[derive(Debug)]
pub struct Rows {
    rows: host::Rows,
    columns: Rc<[String]>,
    batch: std::vec::IntoIter<Vec<Value>>,
    ended: bool,
}

impl Rows {
    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

impl Iterator for Rows {
    type Item = HostResult<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.len() == 0 && !self.ended {
            match self.rows.next(ROW_BATCH) {
                Ok(batch) => {
                    self.ended = batch.is_empty();
                    self.batch = batch.into_iter();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        self.batch.next().map(|values| Ok(Row { columns: Rc::clone(&self.columns), values }))
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    columns: Rc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// The value of the column of this name. `Option<T>` for a column that may be NULL.
    ///
    /// # Errors
    /// [`HostError::Invalid`] when there is no such column, or its value is no `T`.
    pub fn get<T: FromValue>(&self, column: &str) -> HostResult<T> {
        let index = self.columns.iter().position(|name| name == column);
        let Some(value) = index.and_then(|index| self.values.get(index)) else {
            let message = format!("there is no column `{column}`; the query gives {}", self.columns.join(", "));
            return Err(HostError::Invalid(message));
        };
        T::from_value(value).ok_or_else(|| {
            let wanted = std::any::type_name::<T>();
            HostError::Invalid(format!("the column `{column}` holds {}, not {wanted}", kind(value)))
        })
    }

    /// The values in the order of the columns.
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Integer(_) => "an integer",
        Value::Real(_) => "a real number",
        Value::Text(_) => "text",
        Value::Blob(_) => "a blob",
    }
}

/// What a column can be read as.
pub trait FromValue: Sized {
    /// `None` when the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if matches!(value, Value::Null) { Some(None) } else { T::from_value(value).map(Some) }
    }
}

macro_rules! kinds {
    ($($kind:ident($type:ty),)*) => {
        $(
            impl FromValue for $type {
                fn from_value(value: &Value) -> Option<Self> {
                    if let Value::$kind(it) = value { Some(it.clone()) } else { None }
                }
            }

            impl From<$type> for Value {
                fn from(it: $type) -> Self {
                    Self::$kind(it)
                }
            }
        )*
    };
}

kinds! { Integer(i64), Real(f64), Text(String), Blob(Vec<u8>), }

impl From<i32> for Value {
    fn from(it: i32) -> Self {
        Self::Integer(it.into())
    }
}

impl From<u32> for Value {
    fn from(it: u32) -> Self {
        Self::Integer(it.into())
    }
}

impl From<bool> for Value {
    fn from(it: bool) -> Self {
        Self::Integer(it.into())
    }
}

impl From<&str> for Value {
    fn from(it: &str) -> Self {
        Self::Text(it.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(it: &[u8]) -> Self {
        Self::Blob(it.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(it: Option<T>) -> Self {
        it.map_or(Self::Null, Into::into)
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Integer(it) = value { Some(*it != 0) } else { None }
    }
}
