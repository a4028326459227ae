//! SQL databases that the task file names, and one that belongs to the task alone.
//!
//! Each call takes a connection of its own from a small pool, so that rows which are being read do not stand in the way of
//! the next statement; a transaction is therefore one call, `batch`. Rows are streamed: the host holds a few, whatever
//! the query gives. What a statement may reach is limited by SQLite itself ([`guard`]).

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow};
use sqlx::{
    Arguments, AssertSqlSafe, Column, Connection as _, Either, Executor, Row, SqlSafeStr, Sqlite, SqliteConnection,
    SqlitePool,
};
use sqlx::{Statement, TypeInfo, ValueRef};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use wasmtime::component::Resource;

use crate::abi::sql as abi;
use crate::capability::{Host, HostError, blocking};
use crate::config::sql::SqlAccess;

mod guard;

/// The name of the task's own database.
const PRIVATE: &str = "private";

/// Bytes of a page of a task's own database, when it is made: plugins keep large values, which take a call of the system for
/// each page.
const PRIVATE_PAGE: u32 = 16 << 10;

/// Statements of one connection that may be under way at the same time.
const MOST_AT_ONCE: u32 = 4;

/// How long a statement waits for one of them to end.
const OPEN_TOO_LONG: Duration = Duration::from_secs(5);

/// How long it waits for what others write: steps of a task share its database, and a disk may be slow.
const BUSY: Duration = Duration::from_secs(60);

/// Rows that wait for the guest.
const WAITING_ROWS: usize = 8;

/// A granted database.
pub struct Connection {
    name: Arc<str>,
    may_write: bool,
    pool: SqlitePool,
}

/// Rows of a query.
pub struct Rows {
    name: Arc<str>,
    columns: Vec<String>,
    rows: mpsc::Receiver<Result<Vec<abi::Value>, sqlx::Error>>,
    /// A row that did not fit into the last call.
    carried: Option<Vec<abi::Value>>,
    /// Rows that the query may still give.
    left: u64,
    /// Ends the query when the guest drops the rows.
    _stop: DropGuard,
}

fn value(row: &SqliteRow, index: usize) -> Result<abi::Value, sqlx::Error> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(abi::Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    Ok(match kind.as_str() {
        "INTEGER" => abi::Value::Integer(row.try_get_unchecked(index)?),
        "REAL" => abi::Value::Real(row.try_get_unchecked(index)?),
        // SQLite lets text hold any bytes.
        "TEXT" => match row.try_get_unchecked(index) {
            Ok(text) => abi::Value::Text(text),
            Err(_) => abi::Value::Blob(row.try_get_unchecked(index)?),
        },
        _ => abi::Value::Blob(row.try_get_unchecked(index)?),
    })
}

fn values(row: &SqliteRow) -> Result<Vec<abi::Value>, sqlx::Error> {
    (0..row.len()).map(|index| value(row, index)).collect()
}

fn size(row: &[abi::Value]) -> usize {
    row.iter()
        .map(|value| match value {
            abi::Value::Text(text) => 16 + text.len(),
            abi::Value::Blob(blob) => 16 + blob.len(),
            _ => 16,
        })
        .sum()
}

fn arguments(parameters: Vec<abi::Value>) -> Result<SqliteArguments, HostError> {
    let mut arguments = SqliteArguments::default();
    for parameter in parameters {
        match parameter {
            abi::Value::Null => arguments.add(None::<i64>),
            abi::Value::Integer(number) => arguments.add(number),
            abi::Value::Real(number) => arguments.add(number),
            abi::Value::Text(text) => arguments.add(text),
            abi::Value::Blob(bytes) => arguments.add(bytes),
        }
        .map_err(|error| HostError::invalid(error.to_string()))?;
    }
    Ok(arguments)
}

/// Prepares a statement, so that its mistakes are told before it runs; gives the names of its columns.
async fn prepare(connection: &mut SqliteConnection, statement: &str, given: usize) -> Result<Vec<String>, Refusal> {
    let prepared = connection.prepare(AssertSqlSafe(statement).into_sql_str()).await?;
    if let Some(Either::Right(wanted)) = prepared.parameters()
        && wanted != given
    {
        return Err(Refusal::Parameters { wanted, given });
    }
    Ok(prepared.columns().iter().map(|column| column.name().to_owned()).collect())
}

/// Where a task's own database is; its folder is made.
fn private_file(folder: Option<PathBuf>, task: &str) -> Result<PathBuf, String> {
    let folder = folder.ok_or("`private`: there is no state directory to keep it in")?;
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder) {
        Ok(()) => Ok(folder.join(format!("{task}.sqlite"))),
        Err(error) => Err(format!("`private`: {}: {error}", folder.display())),
    }
}

/// Why a statement is not done.
enum Refusal {
    Parameters { wanted: usize, given: usize },
    OpenTransaction,
    Sqlx(sqlx::Error),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
    }
}

impl Host {
    fn refuse_sql<T>(&mut self, name: &str, refusal: Refusal) -> Result<T, HostError> {
        let error = match refusal {
            Refusal::Parameters { wanted, given } => {
                return Err(HostError::invalid(format!("the statement takes {wanted} parameters, {given} are given")));
            }
            Refusal::OpenTransaction => {
                return Err(HostError::invalid(
                    "the statement left a transaction open, which was rolled back; a transaction is one call of `batch`",
                ));
            }
            Refusal::Sqlx(error) => error,
        };
        let sqlx::Error::Database(error) = error else {
            return Err(HostError::unavailable(match error {
                sqlx::Error::PoolTimedOut => {
                    format!("`{name}`: {MOST_AT_ONCE} queries are open already; read them to the end or drop them")
                }
                error => format!("`{name}`: {error}"),
            }));
        };
        let message = format!("`{name}`: {}", error.message());
        // The lower byte is the primary result code: https://www.sqlite.org/rescode.html
        let code = error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default() & 0xff;
        match code {
            guard::READ_ONLY => {
                self.deny(format!("write to the database `{name}` (`grant.sql.{name}.access` does not hold \"write\")"))
            }
            guard::NOT_AUTHORIZED => self.deny(format!(
                "a statement that reaches out of the database `{name}` or changes how it is opened; \
                 `grant.sql.{name}` grants only what is in it"
            )),
            guard::TOO_BIG => {
                let most = self.run.limits.call;
                self.exceed("call", format!("`{name}`: a value of more than {most} (limits.call)"))
            }
            guard::CONSTRAINT => Err(HostError::conflict(message)),
            guard::INTERRUPTED => Err(HostError::unavailable(format!("`{name}`: the run was ended"))),
            guard::ERROR | guard::MISMATCH | guard::RANGE => Err(HostError::invalid(message)),
            _ => Err(HostError::unavailable(message)),
        }
    }

    /// A connection of the handle for one statement, which `stop` ends.
    async fn connection(
        &mut self,
        handle: &Resource<Connection>,
        needs_write: bool,
        stop: &CancellationToken,
    ) -> Result<(Arc<str>, PoolConnection<Sqlite>), HostError> {
        let Connection { name, may_write, pool } = self.table.get(handle)?;
        let (name, may_write, pool) = (Arc::clone(name), *may_write, pool.clone());
        if needs_write && !may_write {
            return self
                .deny(format!("write to the database `{name}` (`grant.sql.{name}.access` does not hold \"write\")"));
        }
        let armed = async {
            let all_open = pool.size() >= MOST_AT_ONCE && pool.num_idle() == 0;
            let most = if all_open { OPEN_TOO_LONG } else { BUSY };
            let acquired = tokio::time::timeout(most, pool.acquire()).await;
            let mut connection = acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
            let stop = stop.clone();
            connection.lock_handle().await?.set_progress_handler(guard::STEPS, move || !stop.is_cancelled());
            Ok(connection)
        };
        match armed.await {
            Ok(connection) => Ok((name, connection)),
            Err(error) => self.refuse_sql(&name, Refusal::Sqlx(error)),
        }
    }
}

/// Rolls back what a statement left open; whether there was anything.
async fn settle(connection: &mut PoolConnection<Sqlite>) -> Result<bool, sqlx::Error> {
    let is_open = guard::in_transaction(&mut connection.lock_handle().await?);
    if is_open {
        (&mut **connection).execute("ROLLBACK").await?;
    }
    Ok(is_open)
}

impl abi::Host for Host {}

impl abi::HostConnection for Host {
    async fn open(&mut self, name: String) -> Result<Resource<Connection>, HostError> {
        let Some(grant) = self.run.grants.sql.get(&name).cloned() else {
            return self.deny(format!("the database `{name}` (the task file has no `grant.sql.{name}`)"));
        };
        let is_private = name == PRIVATE;
        let may_write = is_private || grant.access.contains(&SqlAccess::Write);
        let options = if is_private {
            let (folder, task) = (self.run.private.clone(), Arc::clone(&self.run.task));
            let file = blocking(move || private_file(folder, &task)).await?.map_err(HostError::unavailable)?;
            let options = SqliteConnectOptions::new().filename(file).create_if_missing(true).page_size(PRIVATE_PAGE);
            options.journal_mode(SqliteJournalMode::Wal)
        } else {
            let Some(file) = grant.sqlite else {
                return Err(HostError::invalid(format!(
                    "`grant.sql.{name}` is not SQLite; statements of plugins reach only SQLite"
                )));
            };
            let looked_for = file.clone();
            if !blocking(move || looked_for.try_exists()).await?.is_ok_and(|found| found) {
                return Err(HostError::not_found(format!(
                    "`grant.sql.{name}.sqlite`: {} does not exist",
                    file.display()
                )));
            }
            SqliteConnectOptions::new().filename(file).read_only(!may_write)
        };
        let options = match may_write {
            true => options,
            false => options.pragma("query_only", "ON"),
        };
        let longest = self.run.limits.call;
        let pool = SqlitePoolOptions::new()
            .max_connections(MOST_AT_ONCE)
            .acquire_timeout(BUSY)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    guard::install(&mut connection.lock_handle().await?, longest);
                    Ok(())
                })
            })
            .connect_with(options.row_buffer_size(WAITING_ROWS).busy_timeout(BUSY))
            .await;
        match pool {
            Ok(pool) => self.push(Connection { name: name.into(), may_write, pool }),
            Err(error) => self.refuse_sql(&name, Refusal::Sqlx(error)),
        }
    }

    async fn query(
        &mut self,
        handle: Resource<Connection>,
        statement: String,
        parameters: Vec<abi::Value>,
    ) -> Result<Resource<Rows>, HostError> {
        let stop = self.run.cancel.child_token();
        let (name, mut connection) = self.connection(&handle, false, &stop).await?;
        let columns = match prepare(&mut connection, &statement, parameters.len()).await {
            Ok(columns) => columns,
            Err(refusal) => return self.refuse_sql(&name, refusal),
        };
        let arguments = arguments(parameters)?;
        let (sender, rows) = mpsc::channel(WAITING_ROWS);
        tokio::spawn(async move {
            let mut found = sqlx::query_with(AssertSqlSafe(statement), arguments).fetch(&mut *connection);
            while let Some(row) = found.next().await {
                let row = row.and_then(|row| values(&row));
                let is_last = row.is_err();
                if sender.send(row).await.is_err() || is_last {
                    break;
                }
            }
            drop(found);
            if let Err(error) = settle(&mut connection).await {
                tracing::debug!(%error, "a connection is given up");
            }
        });
        let left = self.run.limits.rows;
        self.push(Rows { name, columns, rows, carried: None, left, _stop: stop.drop_guard() })
    }

    async fn execute(
        &mut self,
        handle: Resource<Connection>,
        statement: String,
        parameters: Vec<abi::Value>,
    ) -> Result<u64, HostError> {
        let stop = self.run.cancel.child_token();
        let (name, mut connection) = self.connection(&handle, true, &stop).await?;
        let given = parameters.len();
        let arguments = arguments(parameters)?;
        let done = async {
            prepare(&mut connection, &statement, given).await?;
            let done = sqlx::query_with(AssertSqlSafe(statement), arguments).execute(&mut *connection).await;
            match settle(&mut connection).await? {
                true => Err(Refusal::OpenTransaction),
                false => Ok(done?.rows_affected()),
            }
        };
        match done.await {
            Ok(changed) => Ok(changed),
            Err(refusal) => self.refuse_sql(&name, refusal),
        }
    }

    async fn batch(
        &mut self,
        handle: Resource<Connection>,
        statements: Vec<(String, Vec<abi::Value>)>,
    ) -> Result<Vec<u64>, HostError> {
        let stop = self.run.cancel.child_token();
        let (name, mut connection) = self.connection(&handle, true, &stop).await?;
        let statements = statements
            .into_iter()
            .map(|(statement, parameters)| Ok((statement, parameters.len(), arguments(parameters)?)))
            .collect::<Result<Vec<_>, HostError>>()?;
        let done = async {
            // Takes the lock now: two batches that read before they write would otherwise both fail.
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let mut changed = Vec::with_capacity(statements.len());
            for (statement, given, arguments) in statements {
                prepare(&mut transaction, &statement, given).await?;
                let done = sqlx::query_with(AssertSqlSafe(statement), arguments).execute(&mut *transaction).await?;
                changed.push(done.rows_affected());
            }
            transaction.commit().await?;
            Ok(changed)
        };
        match done.await {
            Ok(changed) => Ok(changed),
            Err(refusal) => self.refuse_sql(&name, refusal),
        }
    }

    async fn drop(&mut self, handle: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl abi::HostRows for Host {
    async fn columns(&mut self, handle: Resource<Rows>) -> wasmtime::Result<Vec<String>> {
        Ok(self.table.get(&handle)?.columns.clone())
    }

    async fn next(&mut self, handle: Resource<Rows>, max: u32) -> Result<Vec<Vec<abi::Value>>, HostError> {
        if max == 0 {
            return Err(HostError::invalid("`next` of rows: `max` is at least 1"));
        }
        let (most, most_rows) = (self.run.limits.call, self.run.limits.rows);
        let rows = self.table.get_mut(&handle)?;
        let mut given = Vec::new();
        let mut bytes = 0;
        while given.len() < max as usize {
            let row = match rows.carried.take() {
                Some(row) => row,
                None => match rows.rows.recv().await {
                    None => break,
                    Some(Ok(row)) => row,
                    Some(Err(error)) => {
                        let name = Arc::clone(&rows.name);
                        return self.refuse_sql(&name, Refusal::Sqlx(error));
                    }
                },
            };
            let name = Arc::clone(&rows.name);
            if rows.left == 0 {
                return self.exceed("rows", format!("`{name}`: a query of more than {most_rows} rows (limits.rows)"));
            }
            let size = size(&row);
            if size > most.bytes() {
                return self.exceed("call", format!("`{name}`: a row of {size} bytes, {most} allowed (limits.call)"));
            }
            if bytes + size > most.bytes() {
                rows.carried = Some(row);
                break;
            }
            bytes += size;
            rows.left -= 1;
            given.push(row);
        }
        // An empty list would say that the query is complete.
        match given.is_empty() && self.run.cancel.is_cancelled() {
            true => Err(HostError::unavailable("the run was ended")),
            false => Ok(given),
        }
    }

    async fn drop(&mut self, handle: Resource<Rows>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
