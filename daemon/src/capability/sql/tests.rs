use std::time::Duration;

use super::abi::{HostConnection as _, HostRows as _, Value};
use super::*;
use crate::abi::types::Error;
use crate::config::grant::Grants;
use crate::config::limits::Limits;
use crate::config::size::Size;

fn again<T: 'static>(handle: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(handle.rep())
}

mod servers;

/// A database with three rows that may be read as `shop`, written as `books`; and a private one.
async fn place(limits: Limits) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database
        .execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, image BLOB);
             INSERT INTO item VALUES (1, 'tea', 2.5, x'00ff'), (2, NULL, 3, NULL), (3, CAST(x'ff' AS TEXT), 4, x'')",
        )
        .unwrap();
    let mut grants = Grants::default();
    let grant =
        |access: &[SqlAccess]| SqlGrant { sqlite: Some(path.clone()), access: access.to_vec(), ..SqlGrant::default() };
    grants.sql.insert("shop".into(), grant(&[SqlAccess::Read]));
    grants.sql.insert("books".into(), grant(&[SqlAccess::Read, SqlAccess::Write]));
    grants.sql.insert("private".into(), SqlGrant { access: vec![SqlAccess::Read], ..SqlGrant::default() });
    let host = Host::of(folder.path(), grants, limits).await;
    (folder, host)
}

async fn all(
    host: &mut Host,
    connection: &Resource<Connection>,
    statement: &str,
) -> Result<Vec<Vec<Value>>, HostError> {
    let rows = host.query(again(connection), statement.into(), vec![]).await?;
    let mut found = Vec::new();
    loop {
        let batch = host.next(again(&rows), 2).await?;
        if batch.is_empty() {
            abi::HostRows::drop(host, rows).await?;
            return Ok(found);
        }
        found.extend(batch);
    }
}

fn invalid<T>(result: Result<T, HostError>) -> String {
    match result {
        Err(HostError::Guest(Error::Invalid(message))) => message,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it went well"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_keep_their_types_and_come_in_batches() {
    let (_folder, mut host) = place(Limits::default()).await;
    let shop = host.open("shop".into()).await.unwrap();
    let found = all(&mut host, &shop, "SELECT * FROM item ORDER BY id").await.unwrap();
    assert!(matches!(&found[0][..], [Value::Integer(1), Value::Text(tea), Value::Real(2.5), Value::Blob(image)]
        if tea == "tea" && image == &[0, 255]));
    assert!(matches!(&found[1][..], [Value::Integer(2), Value::Null, Value::Real(3.0), Value::Null]));
    assert!(
        matches!(&found[2][..], [_, Value::Blob(bytes), _, Value::Blob(empty)] if bytes == &[255] && empty.is_empty())
    );
    let parameters = vec![Value::Integer(1), Value::Text("tea".into())];
    let rows = host.query(again(&shop), "SELECT id AS n FROM item WHERE id = ? AND name = ?".into(), parameters).await;
    let rows = rows.unwrap();
    assert_eq!(host.columns(again(&rows)).await.unwrap(), ["n"]);
    assert_eq!(host.next(again(&rows), 10).await.unwrap().len(), 1);
    let message = invalid(host.query(again(&shop), "SELECT ?, ?".into(), vec![Value::Null]).await);
    assert!(message.contains("2 parameters"), "{message}");
    invalid(host.query(again(&shop), "SELEKT 1".into(), vec![]).await);
    // More statements than connections, each read to its end before the next.
    for _ in 0..12 {
        assert_eq!(all(&mut host, &shop, "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3").await.unwrap().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_denied() {
    let (folder, mut host) = place(Limits::default()).await;
    let denied = host.open("other".into()).await;
    host.expect_denied(denied, "grant.sql.other");
    let shop = host.open("shop".into()).await.unwrap();
    let denied = host.execute(again(&shop), "DELETE FROM item".into(), vec![]).await;
    host.expect_denied(denied, "grant.sql.shop.access");
    let denied = host.batch(again(&shop), vec![("DELETE FROM item".into(), vec![])]).await;
    host.expect_denied(denied, "grant.sql.shop.access");
    for statement in ["DELETE FROM item RETURNING id", "CREATE TABLE t (x)"] {
        let denied = all(&mut host, &shop, statement).await;
        host.expect_denied(denied, "grant.sql.shop.access");
    }
    let books = host.open("books".into()).await.unwrap();
    let stolen = folder.path().join("stolen.db");
    for connection in [&shop, &books] {
        for statement in [
            format!("ATTACH '{}' AS other", stolen.display()),
            format!("VACUUM INTO '{}'", stolen.display()),
            "PRAGMA query_only = OFF".to_owned(),
            "PRAGMA journal_mode = DELETE".to_owned(),
            "PRAGMA temp_store_directory = '/etc'".to_owned(),
        ] {
            let denied = all(&mut host, connection, &statement).await;
            host.expect_denied(denied, "grant.sql.");
        }
    }
    assert!(!stolen.exists());
    let message = invalid(all(&mut host, &books, "SELECT load_extension('/tmp/evil.so')").await);
    assert!(message.contains("not authorized"), "{message}");
    assert_eq!(all(&mut host, &shop, "SELECT count(*) FROM item").await.unwrap().len(), 1);
    assert_eq!(all(&mut host, &shop, "PRAGMA table_info(item)").await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_all_or_none() {
    let (_folder, mut host) = place(Limits::default()).await;
    let books = host.open("books".into()).await.unwrap();
    let update = |id: i64| ("UPDATE item SET price = 9 WHERE id <= ?".to_owned(), vec![Value::Integer(id)]);
    assert_eq!(host.batch(again(&books), vec![update(2), update(1)]).await.unwrap(), [2, 1]);
    let insert = |id: i64| ("INSERT INTO item (id) VALUES (?)".to_owned(), vec![Value::Integer(id)]);
    let conflict = host.batch(again(&books), vec![insert(10), insert(1)]).await;
    assert!(matches!(conflict, Err(HostError::Guest(Error::Conflict(_)))));
    assert!(all(&mut host, &books, "SELECT 1 FROM item WHERE id = 10").await.unwrap().is_empty());
    let message = invalid(host.execute(again(&books), "BEGIN IMMEDIATE".into(), vec![]).await);
    assert!(message.contains("`batch`"), "{message}");
    assert!(all(&mut host, &books, "BEGIN").await.unwrap().is_empty());
    for _ in 0..8 {
        assert_eq!(host.execute(again(&books), "UPDATE item SET price = 1".into(), vec![]).await.unwrap(), 3);
    }
    host.execute(again(&books), "VACUUM".into(), vec![]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_database_is_of_the_task_alone() {
    let (folder, mut host) = place(Limits::default()).await;
    let private = host.open("private".into()).await.unwrap();
    host.execute(again(&private), "CREATE TABLE seen (x)".into(), vec![]).await.unwrap();
    let other = host.open("private".into()).await.unwrap();
    assert_eq!(host.execute(again(&other), "INSERT INTO seen VALUES (?)".into(), vec![Value::Null]).await.unwrap(), 1);
    assert!(folder.path().join("private/task.sqlite").exists());
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(folder.path().join("private")).unwrap());
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold() {
    let limits = Limits { rows: 5, call: Size(1_000), ..Limits::default() };
    let (_folder, mut host) = place(limits).await;
    let shop = host.open("shop".into()).await.unwrap();
    let series = |last| {
        format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n")
    };
    assert_eq!(all(&mut host, &shop, &series(5)).await.unwrap().len(), 5);
    let many = all(&mut host, &shop, &series(6)).await;
    assert!(matches!(many, Err(HostError::Guest(Error::Limit(message))) if message.contains("limits.rows")));
    let wide = all(&mut host, &shop, "SELECT zeroblob(600), zeroblob(600)").await;
    assert!(matches!(wide, Err(HostError::Guest(Error::Limit(message))) if message.contains("limits.call")));
    let huge = all(&mut host, &shop, "SELECT zeroblob(1000000000)").await;
    assert!(matches!(huge, Err(HostError::Guest(Error::Limit(message))) if message.contains("limits.call")));
    let rows = host.query(again(&shop), "SELECT zeroblob(600) UNION ALL SELECT zeroblob(600)".into(), vec![]).await;
    let rows = rows.unwrap();
    assert_eq!(host.next(again(&rows), 10).await.unwrap().len(), 1, "as many as one call may hold");
    assert_eq!(host.next(again(&rows), 10).await.unwrap().len(), 1);
    assert!(host.next(again(&rows), 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_statement_ends_with_the_run() {
    let (_folder, mut host) = place(Limits::default()).await;
    let books = host.open("books".into()).await.unwrap();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    // Dropped rows end their statement: otherwise four of these would occupy all connections.
    for _ in 0..6 {
        let rows = host.query(again(&books), endless.into(), vec![]).await.unwrap();
        abi::HostRows::drop(&mut host, rows).await.unwrap();
    }
    let cancel = host.run.cancel.clone();
    let begin = std::time::Instant::now();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
    });
    let ended = host.execute(again(&books), format!("CREATE TABLE t AS {endless}"), vec![]).await;
    assert!(matches!(ended, Err(HostError::Guest(Error::Unavailable(_)))), "{ended:?}");
    assert!(begin.elapsed() < Duration::from_secs(3));
}
