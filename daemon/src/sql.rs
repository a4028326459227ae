//! SQL databases as the task file names them, of SQLite, PostgreSQL and MariaDB: one way to open them, to ask and to write.
//!
//! - [`Pool`] is a database with some connections. What is asked goes to the kind of database by [`Engine`], which says how
//!   values are given and read, and what errors mean.
//! - [`Statement`] is SQL with its values. Placeholders are those of the database: `?`, in PostgreSQL `$1`.
//! - A transaction is one call ([`Pool::batch`]). On a server each call is a transaction of its own, and one that may only read
//!   where the task may not write; in SQLite the connection itself is so.

use std::time::Duration;

use futures_util::StreamExt;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Database, Executor, IntoArguments, SqlitePool, raw_sql};
use sqlx_mysql::MySqlPool;
use sqlx_postgres::PgPool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use crate::abi::sql::Value;
use crate::config::sql::SqlServer;

mod guard;
pub(crate) mod mariadb;
pub(crate) mod postgresql;
pub(crate) mod snapshot;
pub(crate) mod sqlite;

/// Statements of one database that may be under way at the same time.
pub(crate) const MOST_AT_ONCE: u32 = 4;

/// How long a statement waits for one of them to end.
const OPEN_TOO_LONG: Duration = Duration::from_secs(5);

/// How long it waits for what others write: steps of a task share its database, and a disk may be slow.
const BUSY: Duration = Duration::from_secs(60);

/// How long a server may take to answer a connection.
const CONNECTING: Duration = Duration::from_secs(30);

/// How long a statement of a server may take at all, in seconds: one whose run is over may go on there.
const LONGEST: u32 = 3_600;

/// Rows that wait for whoever reads them.
const WAITING_ROWS: usize = 8;

/// SQL with its values.
pub(crate) type Statement = (String, Vec<Value>);

/// The account of a server: the one that is named, or that of this process.
fn account(server: &SqlServer) -> String {
    let own = || nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten().map(|user| user.name);
    server.user.clone().or_else(own).unwrap_or_else(|| "root".to_owned())
}

/// What an error is about, whichever database it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It would write where only reading is allowed.
    ReadOnly,
    /// It would leave the database.
    Outside,
    /// A value is longer than is allowed.
    TooLong,
    /// A key, a foreign key, a check, or a value that may not be NULL.
    Conflict,
    /// It was ended.
    Interrupted,
    /// The statement, or a value of it, has a mistake.
    Invalid,
    /// Everything else: it may go another time.
    Unavailable,
}

/// Why a statement is not done; shown without the name of the database.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It takes another number of values.
    Parameters {
        wanted: usize,
        given: usize,
    },
    /// It began a transaction and did not end it.
    OpenTransaction,
    /// All connections are at work.
    AllOpen,
    /// A column of this name has a type that has no [`Value`].
    Type {
        column: String,
        kind: String,
    },
    Failed {
        meaning: Meaning,
        message: String,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parameters { wanted, given } => {
                write!(f, "the statement takes {wanted} parameters, {given} are given")
            }
            Self::OpenTransaction => f.write_str(
                "the statement left a transaction open, which was rolled back; a transaction is one call of `batch`",
            ),
            Self::AllOpen => {
                write!(f, "{MOST_AT_ONCE} queries are open already; read them to the end or drop them")
            }
            Self::Type { column, kind } => {
                write!(f, "the column `{column}` is of the type {kind}, which is not given to plugins; cast it to text")
            }
            Self::Failed { message, .. } => f.write_str(message),
        }
    }
}

/// A kind of database.
pub(crate) trait Engine: Database<Arguments: IntoArguments<Self>> {
    /// Begins a transaction that writes.
    const WRITE: &'static str;

    /// Begins one that only reads; none where the connection cannot do anything else.
    const READ: Option<&'static str>;

    /// Whether a statement that writes has to be alone: some cannot be in a transaction.
    const ALONE: bool;

    /// The value of a column.
    fn value(row: &Self::Row, index: usize) -> Result<Value, Refusal>;

    /// The values of a statement, as it takes them.
    fn arguments(values: Vec<Value>) -> Result<Self::Arguments, sqlx::Error>;

    /// Prepares a statement, so that its mistakes are told before it runs; gives the names of its columns.
    fn prepare(
        connection: &mut Self::Connection,
        statement: &str,
        values: &[Value],
    ) -> impl Future<Output = Result<Vec<String>, Refusal>> + Send;

    /// What the database says.
    fn meaning(error: &dyn sqlx::error::DatabaseError) -> Meaning;

    /// Makes a connection ready for one statement, which `stop` ends.
    fn arm(
        connection: &mut Self::Connection,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Rolls back what a statement left open; whether there was anything.
    fn settle(connection: &mut Self::Connection) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;
}

fn refusal<E: Engine>(error: sqlx::Error) -> Refusal {
    match error {
        sqlx::Error::Database(error) => {
            Refusal::Failed { meaning: E::meaning(&*error), message: error.message().to_owned() }
        }
        error => Refusal::Failed { meaning: Meaning::Unavailable, message: error.to_string() },
    }
}

fn ended() -> Refusal {
    Refusal::Failed { meaning: Meaning::Interrupted, message: "the run was ended".to_owned() }
}

/// A database, with some connections.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgresql(PgPool),
    Mariadb(MySqlPool),
}

/// The rows of a query, as they come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: mpsc::Receiver<Result<Vec<Value>, Refusal>>,
}

/// Does the same with the pool of whichever kind.
macro_rules! each {
    ($self:expr, $pool:ident => $work:expr) => {
        match $self {
            Pool::Sqlite($pool) => $work,
            Pool::Postgresql($pool) => $work,
            Pool::Mariadb($pool) => $work,
        }
    };
}

impl Pool {
    /// Runs a statement that gives rows. It ends with `stop`, or when the rows are dropped.
    pub(crate) async fn query(
        &self,
        (statement, values): Statement,
        may_write: bool,
        stop: CancellationToken,
    ) -> Result<Answer, Refusal> {
        each!(self, pool => query(pool, statement, values, may_write, stop).await)
    }

    /// Runs a statement, and gives the number of rows it changed.
    pub(crate) async fn execute(&self, statement: Statement, stop: &CancellationToken) -> Result<u64, Refusal> {
        each!(self, pool => execute(pool, statement, stop).await)
    }

    /// Runs all statements in one transaction, all or none; gives the number of rows that each changed.
    pub(crate) async fn batch(
        &self,
        statements: Vec<Statement>,
        stop: &CancellationToken,
    ) -> Result<Vec<u64>, Refusal> {
        each!(self, pool => batch(pool, statements, stop).await)
    }

    /// What the kind is called.
    pub(crate) fn dialect(&self) -> crate::abi::sql::Dialect {
        match self {
            Self::Sqlite(_) => crate::abi::sql::Dialect::Sqlite,
            Self::Postgresql(_) => crate::abi::sql::Dialect::Postgresql,
            Self::Mariadb(_) => crate::abi::sql::Dialect::Mariadb,
        }
    }
}

/// A connection for one statement, which `stop` ends.
async fn connection<E: Engine>(pool: &sqlx::Pool<E>, stop: &CancellationToken) -> Result<PoolConnection<E>, Refusal> {
    let all_open = pool.size() >= MOST_AT_ONCE && pool.num_idle() == 0;
    let most = if all_open { OPEN_TOO_LONG } else { BUSY };
    let armed = async {
        let acquired = tokio::time::timeout(most, pool.acquire()).await;
        let mut connection = acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        E::arm(&mut connection, stop).await?;
        Ok(connection)
    };
    match armed.await {
        Err(sqlx::Error::PoolTimedOut) if all_open => Err(Refusal::AllOpen),
        armed => armed.map_err(refusal::<E>),
    }
}

/// A first connection, which tells why there can be none: a pool would try again and again, and say nothing of it. `place` is where
/// the server is looked for.
async fn reach<E: Engine>(
    options: &<E::Connection as sqlx::Connection>::Options,
    place: &str,
) -> Result<E::Connection, Refusal> {
    let failed = |why: String| {
        let message = format!("the server cannot be reached: {why}");
        Refusal::Failed { meaning: Meaning::Unavailable, message }
    };
    match tokio::time::timeout(CONNECTING, sqlx::ConnectOptions::connect(options)).await {
        Ok(Ok(connection)) => Ok(connection),
        // What it says of the account or the database says enough.
        Ok(Err(sqlx::Error::Database(error))) => Err(failed(error.message().to_owned())),
        Ok(Err(sqlx::Error::Io(error))) => Err(failed(format!("{place}: {error}"))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("{place}: no answer for {} seconds", CONNECTING.as_secs()))),
    }
}

async fn query<E: Engine>(
    pool: &sqlx::Pool<E>,
    statement: String,
    values: Vec<Value>,
    may_write: bool,
    stop: CancellationToken,
) -> Result<Answer, Refusal>
where
    for<'c> &'c mut E::Connection: Executor<'c, Database = E>,
{
    let mut connection = connection(pool, &stop).await?;
    let columns = E::prepare(&mut connection, &statement, &values).await?;
    let arguments = E::arguments(values).map_err(refusal::<E>)?;
    let (sender, rows) = mpsc::channel(WAITING_ROWS);
    tokio::spawn(async move {
        let whole = {
            let sending = send::<E>(&mut connection, statement, arguments, may_write, &sender);
            tokio::select! {
                whole = sending => whole,
                // SQLite ends by itself, and its connection stays good.
                () = stop.cancelled(), if E::READ.is_some() => false,
            }
        };
        if !whole {
            // The rest of the rows would have to be read before anything else.
            drop(connection.detach());
        } else if let Err(error) = E::settle(&mut connection).await {
            tracing::debug!(%error, "a connection is given up");
        }
    });
    Ok(Answer { columns, rows })
}

/// Sends the rows of a query. Whether the connection is good for another one.
async fn send<E: Engine>(
    connection: &mut E::Connection,
    statement: String,
    arguments: E::Arguments,
    may_write: bool,
    sender: &mpsc::Sender<Result<Vec<Value>, Refusal>>,
) -> bool
where
    for<'c> &'c mut E::Connection: Executor<'c, Database = E>,
{
    if let Some(read) = E::READ {
        let begun = connection.execute(raw_sql(if may_write { E::WRITE } else { read })).await;
        if let Err(error) = begun {
            let _ = sender.send(Err(refusal::<E>(error))).await;
            return false;
        }
    }
    let mut found = sqlx::query_with(AssertSqlSafe(statement), arguments).fetch(&mut *connection);
    let (mut is_whole, mut has_failed) = (true, false);
    while let Some(row) = found.next().await {
        let row = row.map_err(refusal::<E>).and_then(|row| values::<E>(&row));
        has_failed |= row.is_err();
        if sender.send(row).await.is_err() {
            is_whole = false;
        }
        if has_failed || !is_whole {
            break;
        }
    }
    drop(found);
    if E::READ.is_none() {
        return true;
    }
    if !is_whole {
        return false;
    }
    let end = if may_write && !has_failed { "COMMIT" } else { "ROLLBACK" };
    match connection.execute(raw_sql(end)).await {
        Ok(_) => true,
        Err(error) => {
            let _ = sender.send(Err(refusal::<E>(error))).await;
            false
        }
    }
}

fn values<E: Engine>(row: &E::Row) -> Result<Vec<Value>, Refusal> {
    (0..sqlx::Row::len(row)).map(|index| E::value(row, index)).collect()
}

async fn execute<E: Engine>(
    pool: &sqlx::Pool<E>,
    (statement, values): Statement,
    stop: &CancellationToken,
) -> Result<u64, Refusal>
where
    for<'c> &'c mut E::Connection: Executor<'c, Database = E>,
    E::QueryResult: Changed,
{
    if !E::ALONE {
        return batch(pool, vec![(statement, values)], stop).await.map(|changed| changed.first().copied().unwrap_or(0));
    }
    let mut connection = connection(pool, stop).await?;
    E::prepare(&mut connection, &statement, &values).await?;
    let arguments = E::arguments(values).map_err(refusal::<E>)?;
    let done = sqlx::query_with(AssertSqlSafe(statement), arguments).execute(&mut *connection).await;
    match E::settle(&mut connection).await.map_err(refusal::<E>)? {
        true => Err(Refusal::OpenTransaction),
        false => Ok(done.map_err(refusal::<E>)?.changed()),
    }
}

async fn batch<E: Engine>(
    pool: &sqlx::Pool<E>,
    statements: Vec<Statement>,
    stop: &CancellationToken,
) -> Result<Vec<u64>, Refusal>
where
    for<'c> &'c mut E::Connection: Executor<'c, Database = E>,
    E::QueryResult: Changed,
{
    let mut connection = connection(pool, stop).await?;
    let done = {
        let work = async {
            connection.execute(raw_sql(E::WRITE)).await.map_err(refusal::<E>)?;
            let mut changed = Vec::with_capacity(statements.len());
            for (statement, values) in statements {
                if E::ALONE {
                    E::prepare(&mut connection, &statement, &values).await?;
                }
                let arguments = E::arguments(values).map_err(refusal::<E>)?;
                let done = sqlx::query_with(AssertSqlSafe(statement), arguments).execute(&mut *connection).await;
                changed.push(done.map_err(refusal::<E>)?.changed());
            }
            connection.execute(raw_sql("COMMIT")).await.map_err(refusal::<E>)?;
            Ok(changed)
        };
        tokio::select! {
            done = work => done,
            () = stop.cancelled(), if !E::ALONE => Err(ended()),
        }
    };
    if done.is_err() {
        let is_ended = stop.is_cancelled() && !E::ALONE;
        if is_ended || connection.execute(raw_sql("ROLLBACK")).await.is_err() {
            drop(connection.detach());
        }
    }
    done
}

/// How many rows a statement changed.
pub(crate) trait Changed {
    fn changed(&self) -> u64;
}

impl Changed for sqlx::sqlite::SqliteQueryResult {
    fn changed(&self) -> u64 {
        self.rows_affected()
    }
}

impl Changed for sqlx_postgres::PgQueryResult {
    fn changed(&self) -> u64 {
        self.rows_affected()
    }
}

impl Changed for sqlx_mysql::MySqlQueryResult {
    fn changed(&self) -> u64 {
        self.rows_affected()
    }
}
