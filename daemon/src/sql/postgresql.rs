//! PostgreSQL. What a statement may reach is what the account may.
//!
//! Values come in the binary form that <https://www.postgresql.org/docs/current/protocol-overview.html> leaves to each type;
//! times and numbers of any length are made text here, other types have to be cast in the statement.

use std::fmt::Write;

use chrono::{DateTime, Days, NaiveDate, TimeDelta};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::{Arguments, AssertSqlSafe, Column, Encode, Executor, Row, SqlSafeStr, Statement, Type, TypeInfo, ValueRef};
use sqlx_postgres::types::Oid;
use sqlx_postgres::{
    PgArgumentBuffer, PgArguments, PgConnectOptions, PgConnection, PgPoolOptions, PgRow, PgSslMode, PgTypeInfo,
    PgTypeKind, Postgres,
};
use tokio_util::sync::CancellationToken;

use super::{CONNECTING, Engine, LONGEST, MOST_AT_ONCE, Meaning, Pool, Refusal, Value, account, reach, refusal};
use crate::config::secret::SecretError;
use crate::config::sql::SqlServer;
use crate::database::tools::POSTGRESQL;

/// How a server is reached.
pub(crate) fn options(server: &SqlServer) -> Result<PgConnectOptions, SecretError> {
    let secret = server.password.as_ref().map(crate::config::secret::Secret::read).transpose()?;
    let mut options = PgConnectOptions::new_without_pgpass()
        .database(&server.database)
        .username(&account(server))
        .application_name("upkeep")
        .ssl_mode(PgSslMode::Prefer)
        .port(server.port.unwrap_or(5432));
    options = match &server.host {
        Some(host) => options.host(host),
        None => options.socket(server.socket.as_deref().unwrap_or(POSTGRESQL.socket.as_ref())),
    };
    if let Some(secret) = &secret {
        options = options.password(secret.reveal());
    }
    Ok(options)
}

/// Where the server is looked for.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let port = options.get_port();
    match options.get_socket() {
        Some(folder) => format!("{}/.s.PGSQL.{port}", folder.display()),
        None => format!("{}:{port}", options.get_host()),
    }
}

/// Opens a database.
pub(crate) async fn open(options: PgConnectOptions) -> Result<Pool, Refusal> {
    // Types of parameters differ from call to call, so nothing that was prepared with others may be used again. A statement whose
    // connection is gone is ended.
    let options = options.statement_cache_capacity(0).options([
        ("statement_timeout", format!("{LONGEST}s").as_str()),
        ("client_connection_check_interval", "2s"),
        ("idle_in_transaction_session_timeout", "120s"),
    ]);
    let options = sqlx::ConnectOptions::disable_statement_logging(options);
    drop(reach::<Postgres>(&options, &place(&options)).await?);
    let pool = PgPoolOptions::new().max_connections(MOST_AT_ONCE).acquire_timeout(CONNECTING);
    Ok(Pool::Postgresql(pool.connect_lazy_with(options)))
}

/// NULL, of the type that the statement wants there.
struct Null;

impl Type<Postgres> for Null {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Null {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

fn type_of(value: &Value) -> PgTypeInfo {
    match value {
        Value::Null => <Null as Type<Postgres>>::type_info(),
        Value::Integer(_) => <i64 as Type<Postgres>>::type_info(),
        Value::Real(_) => <f64 as Type<Postgres>>::type_info(),
        Value::Text(_) => <String as Type<Postgres>>::type_info(),
        Value::Blob(_) => <Vec<u8> as Type<Postgres>>::type_info(),
    }
}

impl Engine for Postgres {
    const WRITE: &'static str = "BEGIN";
    const READ: Option<&'static str> = Some("BEGIN READ ONLY");
    const ALONE: bool = false;

    fn value(row: &PgRow, index: usize) -> Result<Value, Refusal> {
        let raw = row.try_get_raw(index).map_err(refusal::<Postgres>)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let kind = raw.type_info();
        let is_enum = matches!(kind.kind(), PgTypeKind::Enum(_));
        let name = if is_enum { "TEXT" } else { kind.name() };
        let bytes = raw.as_bytes().map_err(|error| refusal::<Postgres>(sqlx::Error::Decode(error)))?;
        read(name, bytes).ok_or_else(|| Refusal::Type {
            column: row.columns().get(index).map_or_else(String::new, |it| it.name().to_owned()),
            kind: kind.name().to_lowercase(),
        })
    }

    fn arguments(values: Vec<Value>) -> Result<PgArguments, sqlx::Error> {
        let mut arguments = PgArguments::default();
        for value in values {
            match value {
                Value::Null => arguments.add(Null),
                Value::Integer(number) => arguments.add(number),
                Value::Real(number) => arguments.add(number),
                Value::Text(text) => arguments.add(text),
                Value::Blob(bytes) => arguments.add(bytes),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }

    async fn prepare(connection: &mut PgConnection, statement: &str, values: &[Value]) -> Result<Vec<String>, Refusal> {
        let types: Vec<PgTypeInfo> = values.iter().map(type_of).collect();
        let statement = AssertSqlSafe(statement.to_owned()).into_sql_str();
        let prepared = connection.prepare_with(statement, &types).await.map_err(refusal::<Postgres>)?;
        Ok(prepared.columns().iter().map(|column| column.name().to_owned()).collect())
    }

    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    fn meaning(error: &dyn sqlx::error::DatabaseError) -> Meaning {
        let code = error.code().unwrap_or_default();
        match &*code {
            "25006" => Meaning::ReadOnly,
            // The account may not: somebody has to grant it first.
            "42501" => Meaning::Unavailable,
            "08P01" => Meaning::Invalid,
            code if code.starts_with("23") => Meaning::Conflict,
            code if ["22", "42", "0A", "25"].iter().any(|class| code.starts_with(class)) => Meaning::Invalid,
            _ => Meaning::Unavailable,
        }
    }

    async fn arm(_: &mut PgConnection, _: &CancellationToken) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn settle(_: &mut PgConnection) -> Result<bool, sqlx::Error> {
        Ok(false)
    }
}

/// A value of a type; none for a type that has no [`Value`].
fn read(kind: &str, bytes: &[u8]) -> Option<Value> {
    let text = |bytes: &[u8]| Some(Value::Text(String::from_utf8(bytes.to_vec()).ok()?));
    match kind {
        "BOOL" => Some(Value::Integer(i64::from(*bytes.first()? != 0))),
        "INT2" => Some(Value::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into())),
        "INT4" => Some(Value::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into())),
        "INT8" => Some(Value::Integer(i64::from_be_bytes(bytes.try_into().ok()?))),
        "OID" => Some(Value::Integer(u32::from_be_bytes(bytes.try_into().ok()?).into())),
        "FLOAT4" => Some(Value::Real(f32::from_be_bytes(bytes.try_into().ok()?).into())),
        "FLOAT8" => Some(Value::Real(f64::from_be_bytes(bytes.try_into().ok()?))),
        "BYTEA" => Some(Value::Blob(bytes.to_vec())),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" | "JSON" | "XML" | "CITEXT" | "\"CHAR\"" => text(bytes),
        // A number of the version stands before it.
        "JSONB" => text(bytes.get(1..)?),
        "UUID" => Some(Value::Text(uuid(bytes.try_into().ok()?))),
        "NUMERIC" => Some(Value::Text(numeric(bytes)?)),
        "DATE" => {
            let days = i32::from_be_bytes(bytes.try_into().ok()?);
            Some(Value::Text(match days {
                i32::MAX => "infinity".to_owned(),
                i32::MIN => "-infinity".to_owned(),
                days => match u64::try_from(days) {
                    Ok(after) => epoch()?.checked_add_days(Days::new(after))?,
                    Err(_) => epoch()?.checked_sub_days(Days::new(days.unsigned_abs().into()))?,
                }
                .to_string(),
            }))
        }
        "TIMESTAMP" | "TIMESTAMPTZ" => {
            let micros = i64::from_be_bytes(bytes.try_into().ok()?);
            let time = match micros {
                i64::MAX => return Some(Value::Text("infinity".to_owned())),
                i64::MIN => return Some(Value::Text("-infinity".to_owned())),
                micros => epoch()?.and_hms_opt(0, 0, 0)?.checked_add_signed(TimeDelta::microseconds(micros))?,
            };
            Some(Value::Text(match kind {
                "TIMESTAMP" => time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
                _ => DateTime::<chrono::Utc>::from_naive_utc_and_offset(time, chrono::Utc)
                    .format("%Y-%m-%dT%H:%M:%S%.6fZ")
                    .to_string(),
            }))
        }
        _ => None,
    }
}

/// What times count from.
fn epoch() -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(2000, 1, 1)
}

fn uuid(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let written = write!(text, "{byte:02x}");
        debug_assert!(written.is_ok(), "a String takes anything");
    }
    text
}

/// A number of any length: how many digits of base 10,000 there are, what the first one is worth, the sign, decimals that are
/// shown, and the digits.
fn numeric(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks_exact(2).map(|it| u16::from_be_bytes([it[0], it[1]]));
    let (count, weight, sign, decimals) = (words.next()?, words.next()?.cast_signed(), words.next()?, words.next()?);
    match sign {
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let digits: Vec<u16> = words.take(count.into()).collect();
    let digit = |place: i32| usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
    let mut text = if sign == 0x4000 { "-".to_owned() } else { String::new() };
    let whole: String = (0..=i32::from(weight)).map(|place| format!("{:04}", digit(place))).collect();
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if decimals > 0 {
        let groups = i32::from(decimals.div_ceil(4));
        let first = i32::from(weight) + 1;
        let fraction: String = (first..first + groups).map(|place| format!("{:04}", digit(place))).collect();
        text.push('.');
        text.push_str(fraction.get(..decimals.into())?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_are_text() {
        let number = |words: &[u16]| {
            let bytes: Vec<u8> = words.iter().flat_map(|it| it.to_be_bytes()).collect();
            numeric(&bytes)
        };
        assert_eq!(number(&[0, 0, 0, 0]).as_deref(), Some("0"));
        assert_eq!(number(&[2, 0, 0x4000, 2, 12, 3400]).as_deref(), Some("-12.34"));
        assert_eq!(number(&[1, 2, 0, 0, 7]).as_deref(), Some("700000000"));
        assert_eq!(number(&[1, u16::MAX, 0, 5, 50]).as_deref(), Some("0.00500"));
        assert_eq!(number(&[1, u16::MAX - 1, 0, 8, 50]).as_deref(), Some("0.00000050"));
        assert_eq!(number(&[0, 0, 0xc000, 0]).as_deref(), Some("NaN"));
        assert_eq!(number(&[1, 0]), None);
    }

    #[test]
    fn times_are_text() {
        let text = |kind, bytes: &[u8]| match read(kind, bytes) {
            Some(Value::Text(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text("DATE", &0_i32.to_be_bytes()), "2000-01-01");
        assert_eq!(text("DATE", &(-1_i32).to_be_bytes()), "1999-12-31");
        assert_eq!(text("TIMESTAMP", &1_500_000_i64.to_be_bytes()), "2000-01-01 00:00:01.500000");
        assert_eq!(text("TIMESTAMPTZ", &(-1_i64).to_be_bytes()), "1999-12-31T23:59:59.999999Z");
        assert_eq!(text("TIMESTAMPTZ", &i64::MAX.to_be_bytes()), "infinity");
        assert!(read("INTERVAL", &[0; 16]).is_none());
    }
}
