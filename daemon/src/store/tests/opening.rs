//! Who may open a journal, and which.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sqlx::{Connection, SqliteConnection};

use super::*;
use crate::store::{FORMAT, Reader, StateLock, path};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn private_dir() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    dir
}

#[tokio::test]
async fn nobody_else_can_read_it() {
    let parent = tempfile::tempdir().unwrap();
    let state_dir = parent.path().join("new/state");
    let store = Store::open_dir(&state_dir).await.unwrap();
    store.commit(vec![Transition::Queue(vec![queued(1, "a")])]).await.unwrap();
    assert_eq!(mode(&state_dir), 0o700);
    for name in ["upkeep.db", "upkeep.db-wal", "upkeep.db-shm", "upkeep.lock"] {
        assert_eq!(mode(&state_dir.join(name)), 0o600, "{name}");
    }
    store.close().await;
    // What was opened to others is closed again.
    fs::set_permissions(&state_dir, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(path(&state_dir), Permissions::from_mode(0o644)).unwrap();
    Store::open_dir(&state_dir).await.unwrap().close().await;
    assert_eq!((mode(&state_dir), mode(&path(&state_dir))), (0o700, 0o600));
}

#[tokio::test]
async fn a_directory_of_others_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let error = StateLock::acquire(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Exposed { .. }), "{error}");
    assert_eq!(mode(dir.path()), 0o755);
    assert!(error.to_string().contains(&format!("`chmod 700 {}`", dir.path().display())), "{error}");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    StateLock::acquire(dir.path()).unwrap();
}

#[tokio::test]
async fn one_at_a_time() {
    let fixture = Fixture::new().await;
    let error = Store::open_dir(fixture.dir.path()).await.unwrap_err().to_string();
    let holder = format!("is in use by the upkeep with process id {}; stop that one first", std::process::id());
    assert!(error.contains(&holder), "{error}");
    let reader = Reader::open(fixture.dir.path()).await.unwrap();
    let run = fixture.over(1, "a").await;
    assert_eq!(reader.run(&run).await.unwrap().unwrap().phase, Phase::Done, "reading needs no lock");
    fixture.reopen().await;
}

#[tokio::test]
async fn reading_without_a_daemon() {
    let fixture = Fixture::new().await;
    let run = fixture.over(1, "a").await;
    fixture.store.close().await;
    let reader = Reader::open(fixture.dir.path()).await.unwrap();
    assert_eq!(reader.run(&run).await.unwrap().unwrap().task, "a");
    let empty = tempfile::tempdir().unwrap();
    let error = Reader::open(empty.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert!(fs::read_dir(empty.path()).unwrap().next().is_none(), "reading creates nothing");
}

async fn edit(state_dir: &Path, sql: &'static str) {
    let mut connection =
        SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path(state_dir).display())).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn both_errors(state_dir: &Path) -> [StoreError; 2] {
    [Store::open_dir(state_dir).await.unwrap_err(), Reader::open(state_dir).await.unwrap_err()]
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let fixture = Fixture::new().await;
    fixture.store.close().await;
    edit(fixture.dir.path(), "PRAGMA user_version = 1000").await;
    for error in both_errors(fixture.dir.path()).await {
        assert!(matches!(error, StoreError::Newer { found: 1000, known: FORMAT, .. }), "{error}");
    }
}

#[tokio::test]
async fn an_older_format_is_converted_by_the_daemon_only() {
    let dir = private_dir();
    edit(dir.path(), "PRAGMA application_id = 0x75706b70").await;
    let error = Reader::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Older { found: 0, .. }), "{error}");
    Store::open_dir(dir.path()).await.unwrap().close().await;
    Reader::open(dir.path()).await.unwrap();
}

#[tokio::test]
async fn another_programs_database_is_refused() {
    let dir = private_dir();
    edit(dir.path(), "CREATE TABLE guests (name TEXT)").await;
    for error in both_errors(dir.path()).await {
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_named() {
    let fixture = Fixture::new().await;
    fixture.over(1, "a").await;
    fixture.store.close().await;
    let file = path(fixture.dir.path());
    assert!(!file.with_extension("db-wal").exists(), "after closing, the file is whole without its log");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100..].fill(0xa5);
    fs::write(&file, &bytes).unwrap();
    for error in both_errors(fixture.dir.path()).await {
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("upkeep then starts with an empty journal"), "{error}");
    }
    fs::write(&file, "This is a text, not a database; it is long enough to be read as one by mistake. ".repeat(9))
        .unwrap();
    for error in both_errors(fixture.dir.path()).await {
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_format_is_the_number_of_the_last_migration() {
    let fixture = Fixture::new().await;
    fixture.store.close().await;
    let mut connection =
        SqliteConnection::connect(&format!("sqlite://{}", path(fixture.dir.path()).display())).await.unwrap();
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.unwrap();
    let migration: i64 =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut connection).await.unwrap();
    assert_eq!((version, migration), (FORMAT, FORMAT));
}

#[tokio::test]
async fn a_row_that_was_edited_is_named() {
    let fixture = Fixture::new().await;
    let run = fixture.over(1, "a").await;
    fixture.store.sql("UPDATE runs SET phase = 'gone'").await.unwrap();
    let error = fixture.store.read().run(&run).await.unwrap_err().to_string();
    assert!(error.contains("`gone`"), "{error}");
}
