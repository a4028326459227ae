//! MariaDB and MySQL. What a statement may reach is what the account may.
//!
//! Values come in the form of prepared statements: <https://mariadb.com/docs/server/reference/clientserver-protocol>.

use sqlx::{Arguments, AssertSqlSafe, Column, Executor, Row, SqlSafeStr, Statement, Type, TypeInfo, ValueRef, raw_sql};
use sqlx_mysql::{
    MySql, MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlPoolOptions, MySqlRow,
    MySqlSslMode,
};
use tokio_util::sync::CancellationToken;

use super::{CONNECTING, Engine, LONGEST, MOST_AT_ONCE, Meaning, Pool, Refusal, Value, account, reach, refusal};
use crate::config::secret::SecretError;
use crate::config::sql::SqlServer;
use crate::database::tools::MARIADB;

/// How a server is reached. Times that have a zone are given in UTC.
pub(crate) fn options(server: &SqlServer) -> Result<MySqlConnectOptions, SecretError> {
    let secret = server.password.as_ref().map(crate::config::secret::Secret::read).transpose()?;
    let mut options = MySqlConnectOptions::new().database(&server.database).username(&account(server));
    options = match &server.host {
        Some(host) => options.host(host).port(server.port.unwrap_or(3306)).ssl_mode(MySqlSslMode::Preferred),
        None => {
            options.socket(server.socket.as_deref().unwrap_or(MARIADB.socket.as_ref())).ssl_mode(MySqlSslMode::Disabled)
        }
    };
    if let Some(secret) = &secret {
        options = options.password(secret.reveal());
    }
    Ok(options)
}

/// Where the server is looked for.
pub(super) fn place(options: &MySqlConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// Opens a database.
pub(crate) async fn open(options: MySqlConnectOptions) -> Result<Pool, Refusal> {
    let pool = MySqlPoolOptions::new().max_connections(MOST_AT_ONCE).acquire_timeout(CONNECTING).after_connect(
        |connection, _| {
            Box::pin(async move {
                // MySQL has another name for it, for reading only; without a limit it goes as well.
                let limit = format!("SET SESSION max_statement_time = {LONGEST}");
                if connection.execute(raw_sql(AssertSqlSafe(limit))).await.is_err() {
                    let limit = format!("SET SESSION max_execution_time = {}", LONGEST * 1_000);
                    drop(connection.execute(raw_sql(AssertSqlSafe(limit))).await);
                }
                Ok(())
            })
        },
    );
    let options = sqlx::ConnectOptions::disable_statement_logging(options);
    drop(reach::<MySql>(&options, &place(&options)).await?);
    Ok(Pool::Mariadb(pool.connect_lazy_with(options)))
}

impl Engine for MySql {
    const WRITE: &'static str = "START TRANSACTION";
    /// What changes tables would end the transaction first, so those that follow only read as well.
    const READ: Option<&'static str> = Some("SET SESSION TRANSACTION READ ONLY; START TRANSACTION READ ONLY");
    const ALONE: bool = false;

    fn value(row: &MySqlRow, index: usize) -> Result<Value, Refusal> {
        let raw = row.try_get_raw(index).map_err(refusal::<MySql>)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let kind = raw.type_info();
        // Text that is compared by its bytes has the name of bytes.
        let is_text = <String as Type<MySql>>::compatible(&kind);
        read(row, index, if is_text { "TEXT" } else { kind.name() }).map_err(refusal::<MySql>)
    }

    fn arguments(values: Vec<Value>) -> Result<MySqlArguments, sqlx::Error> {
        let mut arguments = MySqlArguments::default();
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
        connection: &mut MySqlConnection,
        statement: &str,
        values: &[Value],
    ) -> Result<Vec<String>, Refusal> {
        let statement = AssertSqlSafe(statement.to_owned()).into_sql_str();
        let prepared = connection.prepare(statement).await.map_err(refusal::<MySql>)?;
        let given = values.len();
        if let Some(sqlx::Either::Right(wanted)) = prepared.parameters()
            && wanted != given
        {
            return Err(Refusal::Parameters { wanted, given });
        }
        Ok(prepared.columns().iter().map(|column| column.name().to_owned()).collect())
    }

    /// <https://mariadb.com/docs/server/reference/error-codes/mariadb-error-code-reference>
    fn meaning(error: &dyn sqlx::error::DatabaseError) -> Meaning {
        match error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number) {
            1792 => Meaning::ReadOnly,
            1048 | 1062 | 1169 | 1216 | 1217 | 1451 | 1452 | 1557 | 1586 | 3819 | 4025 => Meaning::Conflict,
            // The statement, names in it, values that do not fit.
            1050 | 1051 | 1052 | 1054 | 1060 | 1061 | 1064 | 1091 | 1136 | 1146 | 1149 | 1210 | 1264 | 1265 | 1292
            | 1295 | 1305 | 1364 | 1366 | 1406 | 1525 => Meaning::Invalid,
            _ => Meaning::Unavailable,
        }
    }

    async fn arm(_: &mut MySqlConnection, _: &CancellationToken) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn settle(_: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
        Ok(false)
    }
}

fn read(row: &MySqlRow, index: usize, kind: &str) -> Result<Value, sqlx::Error> {
    let bytes = || row.try_get_unchecked::<Vec<u8>, _>(index);
    Ok(match kind {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            Value::Integer(row.try_get_unchecked(index)?)
        }
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED" | "BIGINT UNSIGNED"
        | "YEAR" => {
            let number: u64 = row.try_get_unchecked(index)?;
            i64::try_from(number).map_or_else(|_| Value::Text(number.to_string()), Value::Integer)
        }
        // The highest bits come first.
        "BIT" => Value::Integer(bytes()?.iter().fold(0, |number: i64, byte| number << 8 | i64::from(*byte))),
        "FLOAT" => Value::Real(row.try_get_unchecked::<f32, _>(index)?.into()),
        "DOUBLE" => Value::Real(row.try_get_unchecked(index)?),
        "TIMESTAMP" => Value::Text(time(&bytes()?).map_or_else(String::new, |(day, clock)| format!("{day}T{clock}Z"))),
        "DATETIME" => Value::Text(time(&bytes()?).map_or_else(String::new, |(day, clock)| format!("{day} {clock}"))),
        "DATE" => Value::Text(time(&bytes()?).map_or_else(String::new, |(day, _)| day)),
        "TIME" => Value::Text(row.try_get_unchecked::<sqlx_mysql::types::MySqlTime, _>(index)?.to_string()),
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" | "GEOMETRY" => Value::Blob(bytes()?),
        _ => match String::from_utf8(bytes()?) {
            Ok(text) => Value::Text(text),
            Err(error) => Value::Blob(error.into_bytes()),
        },
    })
}

/// A day and a time of the clock: how many bytes follow, the year, month and day, hour, minute and second, microseconds; what is
/// zero at the end is left out.
fn time(bytes: &[u8]) -> Option<(String, String)> {
    let rest = bytes.get(1..)?;
    let at = |place: usize| rest.get(place).copied().unwrap_or(0);
    let micros = u32::from_le_bytes([at(7), at(8), at(9), at(10)]);
    let year = u16::from_le_bytes([at(0), at(1)]);
    let clock = format!("{:02}:{:02}:{:02}.{micros:06}", at(4), at(5), at(6));
    Some((format!("{year:04}-{:02}-{:02}", at(2), at(3)), clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_text() {
        let whole = [11, 0xea, 7, 11, 30, 2, 49, 7, 0x40, 0xe2, 1, 0];
        let text = |day: &str, clock: &str| Some((day.to_owned(), clock.to_owned()));
        assert_eq!(time(&whole), text("2026-11-30", "02:49:07.123456"));
        assert_eq!(time(&[4, 0xea, 7, 1, 2]), text("2026-01-02", "00:00:00.000000"));
        assert_eq!(time(&[]), None);
    }
}
