//! SQLite. What a statement may reach is limited by SQLite itself ([`super::guard`]).

use std::path::Path;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow};
use sqlx::{
    Arguments, AssertSqlSafe, Column, Either, Executor, Row, SqlSafeStr, Sqlite, SqliteConnection, Statement, TypeInfo,
    ValueRef, raw_sql,
};
use tokio_util::sync::CancellationToken;

use super::{BUSY, Engine, MOST_AT_ONCE, Meaning, Pool, Refusal, Value, WAITING_ROWS, guard, refusal};
use crate::config::size::Size;

/// Bytes of a page of a task's own database, when it is made: plugins keep large values, which take a call of the system for
/// each page.
const PRIVATE_PAGE: u32 = 16 << 10;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    /// A task's own: it is made if it is not there.
    Private,
    Write,
    Read,
}

/// Opens a file. No value in it may be longer than `longest`.
pub(crate) async fn open(file: &Path, how: Open, longest: Size) -> Result<Pool, Refusal> {
    let options = SqliteConnectOptions::new().filename(file);
    let options = match how {
        Open::Private => options.create_if_missing(true).page_size(PRIVATE_PAGE).journal_mode(SqliteJournalMode::Wal),
        Open::Write => options,
        Open::Read => options.read_only(true).pragma("query_only", "ON"),
    };
    let pool = SqlitePoolOptions::new()
        .max_connections(MOST_AT_ONCE)
        .acquire_timeout(BUSY)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                guard::install(&mut connection.lock_handle().await?, longest);
                Ok(())
            })
        })
        .connect_with(options.row_buffer_size(WAITING_ROWS).busy_timeout(BUSY));
    pool.await.map(Pool::Sqlite).map_err(refusal::<Sqlite>)
}

impl Engine for Sqlite {
    /// Takes the lock now: two that read before they write would otherwise both fail.
    const WRITE: &'static str = "BEGIN IMMEDIATE";
    const READ: Option<&'static str> = None;
    const ALONE: bool = true;

    fn value(row: &SqliteRow, index: usize) -> Result<Value, Refusal> {
        let value = || {
            let raw = row.try_get_raw(index)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            let kind = raw.type_info().name().to_owned();
            Ok(match kind.as_str() {
                "INTEGER" => Value::Integer(row.try_get_unchecked(index)?),
                "REAL" => Value::Real(row.try_get_unchecked(index)?),
                // SQLite lets text hold any bytes.
                "TEXT" => match row.try_get_unchecked(index) {
                    Ok(text) => Value::Text(text),
                    Err(_) => Value::Blob(row.try_get_unchecked(index)?),
                },
                _ => Value::Blob(row.try_get_unchecked(index)?),
            })
        };
        value().map_err(refusal::<Sqlite>)
    }

    fn arguments(values: Vec<Value>) -> Result<SqliteArguments, sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        for value in values {
            match value {
                Value::Null => arguments.add(None::<i64>),
                Value::Integer(number) => arguments.add(number),
                Value::Real(number) => arguments.add(number),
                Value::Text(text) => arguments.add(text),
                Value::Blob(bytes) => arguments.add(bytes),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }

    async fn prepare(
        connection: &mut SqliteConnection,
        statement: &str,
        values: &[Value],
    ) -> Result<Vec<String>, Refusal> {
        let statement = AssertSqlSafe(statement.to_owned()).into_sql_str();
        let prepared = connection.prepare(statement).await.map_err(refusal::<Sqlite>)?;
        let given = values.len();
        if let Some(Either::Right(wanted)) = prepared.parameters()
            && wanted != given
        {
            return Err(Refusal::Parameters { wanted, given });
        }
        Ok(prepared.columns().iter().map(|column| column.name().to_owned()).collect())
    }

    /// The lower byte is the primary result code: <https://www.sqlite.org/rescode.html>.
    fn meaning(error: &dyn sqlx::error::DatabaseError) -> Meaning {
        let code = error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default() & 0xff;
        match code {
            guard::READ_ONLY => Meaning::ReadOnly,
            guard::NOT_AUTHORIZED => Meaning::Outside,
            guard::TOO_BIG => Meaning::TooLong,
            guard::CONSTRAINT => Meaning::Conflict,
            guard::INTERRUPTED => Meaning::Interrupted,
            guard::ERROR | guard::MISMATCH | guard::RANGE => Meaning::Invalid,
            _ => Meaning::Unavailable,
        }
    }

    async fn arm(connection: &mut SqliteConnection, stop: &CancellationToken) -> Result<(), sqlx::Error> {
        let stop = stop.clone();
        connection.lock_handle().await?.set_progress_handler(guard::STEPS, move || !stop.is_cancelled());
        Ok(())
    }

    async fn settle(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let is_open = guard::in_transaction(&mut connection.lock_handle().await?);
        if is_open {
            connection.execute(raw_sql("ROLLBACK")).await?;
        }
        Ok(is_open)
    }
}
