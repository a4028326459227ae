//! A database of a server as it was at one moment, to be read by the host itself.

use sqlx::{AssertSqlSafe, ConnectOptions, Executor, IntoArguments, raw_sql};
use sqlx_mysql::{MySql, MySqlConnection};
use sqlx_postgres::{PgConnection, Postgres};

use super::{Engine, Meaning, Refusal, Value, mariadb, postgresql, reach, refusal, values};
use crate::config::sql::SqlServer;

/// A connection in a transaction that reads.
#[derive(Debug)]
pub(crate) enum Snapshot {
    Postgresql(PgConnection),
    Mariadb(MySqlConnection),
}

/// Which server, of which kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    Postgresql(SqlServer),
    Mariadb(SqlServer),
}

impl Snapshot {
    /// Connects, and stays at this moment.
    pub(crate) async fn open(server: &Server) -> Result<Self, Refusal> {
        let secret = |error: crate::config::secret::SecretError| Refusal::Failed {
            meaning: Meaning::Unavailable,
            message: format!("its password: {error}"),
        };
        Ok(match server {
            Server::Postgresql(server) => {
                let options = postgresql::options(server).map_err(secret)?.statement_cache_capacity(0);
                let place = postgresql::place(&options);
                let mut connection = reach::<Postgres>(&options.disable_statement_logging(), &place).await?;
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                connection.execute(raw_sql(begin)).await.map_err(refusal::<Postgres>)?;
                Self::Postgresql(connection)
            }
            Server::Mariadb(server) => {
                let options = mariadb::options(server).map_err(secret)?;
                let place = mariadb::place(&options);
                let mut connection = reach::<MySql>(&options.disable_statement_logging(), &place).await?;
                let begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
                connection.execute(raw_sql(begin)).await.map_err(refusal::<MySql>)?;
                Self::Mariadb(connection)
            }
        })
    }

    /// The rows of a statement, all at once.
    pub(crate) async fn all(&mut self, statement: String, given: Vec<Value>) -> Result<Vec<Vec<Value>>, Refusal> {
        match self {
            Self::Postgresql(connection) => all::<Postgres>(connection, statement, given).await,
            Self::Mariadb(connection) => all::<MySql>(connection, statement, given).await,
        }
    }
}

async fn all<E: Engine>(
    connection: &mut E::Connection,
    statement: String,
    given: Vec<Value>,
) -> Result<Vec<Vec<Value>>, Refusal>
where
    for<'c> &'c mut E::Connection: Executor<'c, Database = E>,
    E::Arguments: IntoArguments<E>,
{
    let arguments = E::arguments(given).map_err(refusal::<E>)?;
    let rows = sqlx::query_with(AssertSqlSafe(statement), arguments).fetch_all(connection).await;
    rows.map_err(refusal::<E>)?.iter().map(|row| values::<E>(row)).collect()
}
