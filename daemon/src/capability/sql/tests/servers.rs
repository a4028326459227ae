//! Statements on real servers.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::super::abi::{Dialect, Value};
use super::*;
use crate::config::sql::{SqlGrant, SqlServer};
use crate::database::{DatabaseError, Engine, Scratch, ScratchOptions};

/// A server of its own. None where its programs are not installed, which CI must not miss.
fn server(engine: Engine) -> Option<Scratch> {
    let options = ScratchOptions { parent: "/var/tmp".into(), tools: None, cancel: CancellationToken::new() };
    match Scratch::start(engine, &options) {
        Ok(server) => Some(server),
        Err(error @ DatabaseError::Tool { .. }) => {
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A host that may read a database as `shop`, and write to it as `books`.
async fn host(grant: SqlGrant) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let mut grants = Grants::default();
    let with = |access: &[SqlAccess]| SqlGrant { access: access.to_vec(), ..grant.clone() };
    grants.sql.insert("shop".into(), with(&[SqlAccess::Read]));
    grants.sql.insert("books".into(), with(&[SqlAccess::Read, SqlAccess::Write]));
    let host = Host::of(folder.path(), grants, Limits::default()).await;
    (folder, host)
}

fn sql_server(database: &str, socket: &Path, user: &str) -> SqlServer {
    SqlServer {
        database: database.to_owned(),
        host: None,
        port: None,
        socket: Some(socket.to_owned()),
        user: Some(user.to_owned()),
        password: None,
    }
}

async fn started(engine: Engine) -> Option<(Scratch, SqlGrant)> {
    let server = tokio::task::spawn_blocking(move || server(engine)).await.unwrap()?;
    let grant = match engine {
        Engine::Postgresql => SqlGrant {
            postgresql: Some(sql_server("postgres", server.folder(), "upkeep_scratch")),
            ..SqlGrant::default()
        },
        _ => {
            let socket = server.folder().join("socket");
            let grant =
                |database| SqlGrant { mariadb: Some(sql_server(database, &socket, "root")), ..SqlGrant::default() };
            let (_folder, mut host) = host(grant("mysql")).await;
            write(&mut host, "CREATE DATABASE shop").await;
            grant("shop")
        }
    };
    Some((server, grant))
}

async fn write(host: &mut Host, statement: &str) {
    let books = host.open("books".into()).await.unwrap();
    host.execute(books, statement.into(), vec![]).await.unwrap();
}

fn batch(statements: &[(&str, &[Value])]) -> Vec<(String, Vec<Value>)> {
    statements.iter().map(|(statement, values)| ((*statement).to_owned(), values.to_vec())).collect()
}

async fn count(host: &mut Host, connection: &Resource<Connection>) -> i64 {
    match all(host, connection, "SELECT count(*) FROM item").await.unwrap()[0][0] {
        Value::Integer(count) => count,
        ref other => panic!("{other:?}"),
    }
}

fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// What is the same for both: all or none, rights, errors, queries that nobody reads to the end.
async fn is_as_granted(host: &mut Host, insert: &str, endless: &str) {
    let (shop, books) = (host.open("shop".into()).await.unwrap(), host.open("books".into()).await.unwrap());
    let row =
        |id: i64| [Value::Integer(id), Value::Text("tea \u{1f375}".into()), Value::Blob(vec![0, 255]), Value::Null];
    assert_eq!(host.batch(again(&books), batch(&[(insert, &row(1)), (insert, &row(2))])).await.unwrap(), [1, 1]);
    let conflict = host.batch(again(&books), batch(&[(insert, &row(3)), (insert, &row(2))])).await;
    assert!(matches!(conflict, Err(HostError::Guest(Error::Conflict(_)))), "{conflict:?}");
    assert_eq!(count(host, &shop).await, 2, "all or none");
    // NULL fits wherever it is allowed, whatever the type of the column.
    assert_eq!(
        host.execute(again(&books), insert.into(), vec![Value::Integer(3), Value::Null, Value::Null, Value::Null])
            .await
            .unwrap(),
        1
    );
    let denied = host.execute(again(&shop), "DELETE FROM item".into(), vec![]).await;
    host.expect_denied(denied, "grant.sql.shop.access");
    for statement in ["DELETE FROM item", "CREATE TABLE t (x int)", "UPDATE item SET name = NULL"] {
        let denied = all(host, &shop, statement).await;
        assert!(denied.is_err(), "{statement}");
        host.expect_denied(denied, "grant.sql.shop.access");
    }
    // What ends the transaction that only reads does not begin one that writes.
    for statement in ["COMMIT", "ROLLBACK", "BEGIN"] {
        let _ = all(host, &shop, statement).await;
        let denied = all(host, &shop, "DELETE FROM item").await;
        assert!(denied.is_err(), "after {statement}");
        host.expect_denied(denied, "grant.sql.shop.access");
    }
    // A transaction that is left open is none for the next call.
    host.execute(again(&books), "BEGIN".into(), vec![]).await.unwrap();
    assert_eq!(count(host, &books).await, 3);
    assert!(invalid(all(host, &shop, "SELEKT 1").await).contains("`shop`"));
    invalid(all(host, &shop, "SELECT nothing FROM item").await);
    for _ in 0..6 {
        let rows = host.query(again(&shop), endless.into(), vec![]).await.unwrap();
        assert_eq!(host.next(again(&rows), 1).await.unwrap().len(), 1);
        abi::HostRows::drop(host, rows).await.unwrap();
    }
    assert_eq!(count(host, &shop).await, 3);
    // The run's end ends what is under way.
    let cancel = host.run.cancel.clone();
    let begin = std::time::Instant::now();
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        cancel.cancel();
    });
    let ended = host.execute(again(&books), format!("INSERT INTO item (id) {endless}"), vec![]).await;
    assert!(matches!(ended, Err(HostError::Guest(Error::Unavailable(_)))), "{ended:?}");
    assert!(begin.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_reach_postgresql() {
    let Some((_server, grant)) = started(Engine::Postgresql).await else { return };
    let (_folder, mut host) = host(grant).await;
    write(&mut host, "CREATE TABLE item (id bigint PRIMARY KEY, name text, image bytea, price numeric(12, 2))").await;
    let shop = host.open("shop".into()).await.unwrap();
    assert_eq!(host.dialect(again(&shop)).await.unwrap(), Dialect::Postgresql);
    let row = all(
        &mut host,
        &shop,
        "SELECT true, 2::smallint, 3, 4::bigint, 1.5::real, 2.5::double precision, 'tea'::varchar(9), '\\x00ff'::bytea,
            12.340::numeric(12, 3), '{\"a\": 1}'::jsonb, '2026-11-30 10:49:07.5+08'::timestamptz, '2026-11-30 10:49'::timestamp,
            '2026-11-30'::date, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, NULL::int, -0.000001::numeric",
    )
    .await
    .unwrap();
    let row = &row[0];
    assert!(
        matches!(&row[..8], [Value::Integer(1), Value::Integer(2), Value::Integer(3), Value::Integer(4), Value::Real(1.5),
            Value::Real(2.5), Value::Text(tea), Value::Blob(bytes)] if tea == "tea" && bytes == &[0, 255]),
        "{row:?}"
    );
    let texts: Vec<&str> = row[8..14].iter().chain([&row[15]]).map(text).collect();
    assert_eq!(
        texts,
        [
            "12.340",
            "{\"a\": 1}",
            "2026-11-30T02:49:07.500000Z",
            "2026-11-30 10:49:00.000000",
            "2026-11-30",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "-0.000001"
        ]
    );
    assert!(matches!(row[14], Value::Null));
    let message = invalid(all(&mut host, &shop, "SELECT now() - now() AS past").await);
    assert!(message.contains("`past`") && message.contains("interval") && message.contains("cast"), "{message}");
    // The same statement with values of other types.
    for value in [Value::Text("1".into()), Value::Null] {
        let rows = host.query(again(&shop), "SELECT 1 WHERE $1::text IS NULL".into(), vec![value]).await.unwrap();
        host.next(again(&rows), 1).await.unwrap();
    }
    is_as_granted(
        &mut host,
        "INSERT INTO item (id, name, image, price) VALUES ($1, $2, $3, $4)",
        "SELECT generate_series(10, 1000000000)",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_reach_mariadb() {
    let Some((_server, grant)) = started(Engine::Mariadb).await else { return };
    let (_folder, mut host) = host(grant).await;
    let item = "CREATE TABLE item (id bigint PRIMARY KEY, name varchar(90) CHARACTER SET utf8mb4, image blob, price decimal(12, 2))";
    write(&mut host, item).await;
    let shop = host.open("shop".into()).await.unwrap();
    assert_eq!(host.dialect(again(&shop)).await.unwrap(), Dialect::Mariadb);
    let kind = "CREATE TABLE kind (a tinyint, b boolean, c int unsigned, d bigint unsigned, e float, f double, g varchar(9), h blob,
        i decimal(12, 3), j json, k timestamp NULL, l datetime(3), m date, n time, o enum('x', 'y'), p bit(9), q year)";
    write(&mut host, kind).await;
    let values =
        "INSERT INTO kind VALUES (-1, true, 4000000000, 18446744073709551615, 1.5, 2.5, 'tea', x'00ff', 12.34, '[1]',
        FROM_UNIXTIME(1780000000), '2026-11-30 10:49:07.125', '2026-11-30', '-30:00:01', 'y', b'100000001', 2026)";
    write(&mut host, values).await;
    let rows = all(&mut host, &shop, "SELECT * FROM kind").await.unwrap();
    let row = &rows[0];
    assert!(
        matches!(&row[..3], [Value::Integer(-1), Value::Integer(1), Value::Integer(4_000_000_000)])
            && matches!(&row[4..6], [Value::Real(1.5), Value::Real(2.5)])
            && matches!(&row[7], Value::Blob(bytes) if bytes == &[0, 255])
            && matches!(&row[15..], [Value::Integer(257), Value::Integer(2026)]),
        "{row:?}"
    );
    let texts: Vec<&str> = [3, 6, 8, 9, 10, 11, 12, 14].into_iter().map(|place: usize| text(&row[place])).collect();
    assert_eq!(
        texts,
        [
            "18446744073709551615",
            "tea",
            "12.340",
            "[1]",
            "2026-05-28T20:26:40.000000Z",
            "2026-11-30 10:49:07.125000",
            "2026-11-30",
            "y"
        ]
    );
    assert!(text(&row[13]).starts_with("-30:00:01"), "{row:?}");
    let message = invalid(host.query(again(&shop), "SELECT ?, ?".into(), vec![Value::Null]).await);
    assert!(message.contains("2 parameters"), "{message}");
    is_as_granted(
        &mut host,
        "INSERT INTO item (id, name, image, price) VALUES (?, ?, ?, ?)",
        "WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT i FROM n",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named() {
    let grant =
        SqlGrant { postgresql: Some(sql_server("app", Path::new("/nonexistent"), "nobody")), ..SqlGrant::default() };
    let (_folder, mut host) = host(grant).await;
    let begin = std::time::Instant::now();
    let message = match host.open("shop".into()).await {
        Err(HostError::Guest(Error::Unavailable(message))) => message,
        other => panic!("{other:?}"),
    };
    let place = "`grant.sql.shop`: the server cannot be reached: /nonexistent/.s.PGSQL.5432: No such file";
    assert!(message.starts_with(place), "{message}");
    assert!(begin.elapsed() < std::time::Duration::from_secs(10));
}
