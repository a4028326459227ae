//! The database file: created private, opened with the settings that the durability promise needs, brought to the
//! format that this binary knows.

use std::fs::{self, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, SqliteConnection, SqlitePool};

use super::error::StoreError;

/// The newest format that this binary reads and writes: the number of the last migration.
pub const FORMAT: i64 = 9;

const FILE: &str = "upkeep.db";
const APPLICATION: i64 = 0x7570_6b70;
const READERS: u32 = 2;
/// Pages (4 KiB) in the write-ahead log before it is copied into the database: fewer pauses than SQLite's 1,000.
const CHECKPOINT_PAGES: &str = "4000";
/// Memory for pages, in KiB with a minus sign: a commit of 10,000 runs fits, so that it is written once.
const CACHE: &str = "-8192";
/// Rows that a reading connection prepares ahead: fewer changes between threads for long answers.
const ROW_BUFFER: usize = 1_000;
/// Prepared statements that the writer keeps: all kinds in all sizes.
const STATEMENTS: usize = 256;

/// The migrations, in order. They are listed by hand: sqlx's macro for it would compile SQLite once more, for the macro.
fn migrations() -> Migrator {
    let migration = |version, name: &'static str, text: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "journal", include_str!("../../migrations/0001_journal.sql")),
        migration(2, "holds", include_str!("../../migrations/0002_holds.sql")),
        migration(3, "egress", include_str!("../../migrations/0003_egress.sql")),
        migration(4, "findings", include_str!("../../migrations/0004_findings.sql")),
        migration(5, "outbox", include_str!("../../migrations/0005_outbox.sql")),
        migration(6, "alerts", include_str!("../../migrations/0006_alerts.sql")),
        migration(7, "consents", include_str!("../../migrations/0007_consents.sql")),
        migration(8, "resent", include_str!("../../migrations/0008_resent.sql")),
        migration(9, "passing", include_str!("../../migrations/0009_passing.sql")),
    ])
}

/// Where the journal of a state directory lies.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// The one connection that writes.
pub(super) async fn open(path: &Path) -> Result<SqliteConnection, StoreError> {
    make_private(path)?;
    let options = options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .statement_cache_capacity(STATEMENTS)
        .pragma("cache_size", CACHE)
        .pragma("temp_store", "memory")
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", "67108864");
    let sqlite = |error| StoreError::sqlite(path, error);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(sqlite)?;
    check(&mut connection, path).await?;
    migrations().run(&mut connection).await.map_err(|error| migration(path, error))?;
    Ok(connection)
}

/// Connections that only read. Nothing in the pool keeps time, so that an idle daemon sleeps.
pub(super) async fn open_readers(path: &Path) -> Result<SqlitePool, StoreError> {
    if let Err(error) = fs::metadata(path) {
        return Err(match error.kind() {
            ErrorKind::NotFound => StoreError::Missing { path: path.to_owned() },
            _ => StoreError::io("read", path, error),
        });
    }
    let sqlite = |error| StoreError::sqlite(path, error);
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS)
        .max_lifetime(None)
        .idle_timeout(None)
        .test_before_acquire(false)
        .connect_with(options(path).read_only(true).row_buffer_size(ROW_BUFFER))
        .await
        .map_err(sqlite)?;
    let mut connection = pool.acquire().await.map_err(sqlite)?;
    let found = check(&mut connection, path).await?;
    if found < FORMAT {
        return Err(StoreError::Older { path: path.to_owned(), found, known: FORMAT });
    }
    drop(connection);
    Ok(pool)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging()
}

/// Reads the format, and refuses a database that is newer or not upkeep's. An empty one has format 0.
async fn check(connection: &mut SqliteConnection, path: &Path) -> Result<i64, StoreError> {
    let sqlite = |error| StoreError::sqlite(path, error);
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(sqlite)?;
    let application: i64 =
        sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(sqlite)?;
    // A crash during the very first start can leave the table of migrations and nothing else.
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE tbl_name <> '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await
        .map_err(sqlite)?;
    if application != APPLICATION && (tables > 0 || found > 0 || application != 0) {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if found > FORMAT {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(found)
}

fn migration(path: &Path, error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::sqlite(path, error),
        MigrateError::VersionMissing(found) => StoreError::Newer { path: path.to_owned(), found, known: FORMAT },
        other => StoreError::sqlite(path, sqlx::Error::Migrate(Box::new(other))),
    }
}

/// SQLite gives its -wal and -shm files the mode of the database file.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("create", path, error);
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(())
}
