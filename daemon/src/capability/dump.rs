//! Consistent dumps of databases, straight into a repository.
//!
//! SQLite: the online backup API copies the database page by page into the run's scratch folder while others write. The
//! copy is checked, saved in the database's name, and removed again whatever happens.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use tokio_util::sync::CancellationToken;
use wasmtime::component::Resource;

use crate::abi::dump as abi;
use crate::abi::repository::Summary;
use crate::capability::repository::Repo;
use crate::capability::{Host, HostError, blocking};
use crate::config::grant::RepositoryAccess;
use crate::repository::Watch;
use crate::repository::source::FileSource;

/// Pages that are copied while the database is locked against writers: some milliseconds.
const PAGES: i32 = 512;

/// Time that writers get between two such pieces.
const PAUSE: Duration = Duration::from_millis(5);

/// When writers have made the copy begin anew for so long, it is done in one piece: they wait once, instead of us for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long another program may keep the database locked before we give up.
const BUSY: Duration = Duration::from_secs(60);

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
enum DumpError {
    #[error("the database {} does not exist", .0.display())]
    Missing(PathBuf),
    #[error("the database {} cannot be copied: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("the database {} was locked by another program for {} s", .0.display(), BUSY.as_secs())]
    Locked(PathBuf),
    #[error("the database {} is damaged: {found}; nothing was saved, the last good snapshot is still there", path.display())]
    Damaged { path: PathBuf, found: String },
    #[error("{} cannot be written: {source}", path.display())]
    Scratch { path: PathBuf, source: std::io::Error },
    #[error("the run was ended")]
    Cancelled,
}

/// A file that goes when it is no longer needed, with the files that SQLite puts beside it.
#[derive(Debug)]
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(suffix);
            // Mostly there is none.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Copies the database as it is at one moment.
fn copy_sqlite(database: &Path, scratch: &Path, cancel: &CancellationToken) -> Result<Copy, DumpError> {
    let failed = |source| DumpError::Sqlite { path: database.to_owned(), source };
    if !database.exists() {
        return Err(DumpError::Missing(database.to_owned()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(database, flags).map_err(failed)?;
    std::fs::create_dir_all(scratch).map_err(|source| DumpError::Scratch { path: scratch.to_owned(), source })?;
    let file = tempfile::Builder::new().prefix("dump-").suffix(".sqlite").tempfile_in(scratch);
    let file = file.map_err(|source| DumpError::Scratch { path: scratch.to_owned(), source })?;
    let path = file.into_temp_path().keep();
    let copy = Copy(path.map_err(|error| DumpError::Scratch { path: scratch.to_owned(), source: error.error })?);
    let mut to = Connection::open(&copy.0).map_err(failed)?;
    // Nobody needs the copy after a power loss.
    to.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
    step_through(&from, &mut to, database, cancel)?;
    check(&to, database)?;
    to.close().map_err(|(_, source)| failed(source))?;
    Ok(copy)
}

fn step_through(
    from: &Connection,
    to: &mut Connection,
    database: &Path,
    cancel: &CancellationToken,
) -> Result<(), DumpError> {
    let failed = |source| DumpError::Sqlite { path: database.to_owned(), source };
    let backup = Backup::new(from, to).map_err(failed)?;
    let started = Instant::now();
    let mut waiting: Option<Instant> = None;
    loop {
        if cancel.is_cancelled() {
            return Err(DumpError::Cancelled);
        }
        let pages = if started.elapsed() < PATIENCE { PAGES } else { -1 };
        match backup.step(pages).map_err(failed)? {
            StepResult::Done => return Ok(()),
            StepResult::More => waiting = None,
            _ if waiting.get_or_insert_with(Instant::now).elapsed() > BUSY => {
                return Err(DumpError::Locked(database.to_owned()));
            }
            _ => {}
        }
        std::thread::sleep(PAUSE);
    }
}

fn check(copy: &Connection, database: &Path) -> Result<(), DumpError> {
    let damaged = |found: String| DumpError::Damaged { path: database.to_owned(), found };
    let found: Result<String, _> = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(damaged(found)),
        Err(error) => Err(damaged(error.to_string())),
    }
}

impl From<DumpError> for HostError {
    fn from(error: DumpError) -> Self {
        let message = error.to_string();
        match error {
            DumpError::Missing(_) => Self::not_found(message),
            DumpError::Damaged { .. } => Self::invalid(message),
            _ => Self::unavailable(message),
        }
    }
}

impl abi::Host for Host {
    async fn to_repository(
        &mut self,
        name: String,
        repository: Resource<Repo>,
        tags: Vec<String>,
    ) -> Result<Summary, HostError> {
        let repository = self.repository_for(&repository, RepositoryAccess::Append)?;
        let Some(grant) = self.run.grants.dump.get(&name) else {
            return self.deny(format!("the database `{name}` (the task file has no `grant.dump.{name}`)"));
        };
        let (database, scratch) = (grant.sqlite.clone(), self.run.scratch.clone());
        let cancel = self.run.cancel.clone();
        let copied = blocking(move || {
            let copy = copy_sqlite(&database, &scratch, &cancel)?;
            // The name in the snapshot is the real one, as it is for folders.
            let database = std::fs::canonicalize(&database).unwrap_or(database);
            Ok::<_, DumpError>((copy, database))
        });
        let (copy, database) = copied.await??;
        let source = FileSource::new(copy.0.clone(), database, Watch::new(self.run.cancel.clone()));
        let summary = self.archive(repository, source, tags).await;
        // Not before the archiver has read it.
        drop(copy);
        Ok(summary?.into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn make(path: &Path, mode: &str) -> Connection {
        let database = Connection::open(path).unwrap();
        database.pragma_update(None, "journal_mode", mode).unwrap();
        database.execute_batch("CREATE TABLE pair (a INTEGER, b INTEGER, filler BLOB)").unwrap();
        for number in 0..3_000 {
            database.execute("INSERT INTO pair VALUES (?1, ?1, randomblob(900))", [number]).unwrap();
        }
        database
    }

    #[test]
    fn a_copy_is_of_one_moment_while_others_write() {
        for mode in ["WAL", "DELETE"] {
            let folder = tempfile::tempdir().unwrap();
            let (path, scratch) = (folder.path().join("app.db"), folder.path().join("scratch"));
            let writer = make(&path, mode);
            writer.busy_timeout(Duration::from_secs(10)).unwrap();
            let done = AtomicBool::new(false);
            let written = std::thread::scope(|scope| {
                let done = &done;
                let writes = scope.spawn(move || {
                    let mut longest = Duration::ZERO;
                    let mut number = 10_000;
                    while !done.load(Ordering::Relaxed) {
                        let begin = Instant::now();
                        // At each moment outside of a transaction, a and b are the same everywhere.
                        writer
                            .execute_batch(&format!(
                                "BEGIN; UPDATE pair SET a = {number} WHERE rowid % 97 = 1;
                                 UPDATE pair SET b = {number} WHERE rowid % 97 = 1; COMMIT"
                            ))
                            .unwrap();
                        longest = longest.max(begin.elapsed());
                        number += 1;
                        std::thread::sleep(Duration::from_millis(30));
                    }
                    (number, longest)
                });
                for _ in 0..3 {
                    let copy = copy_sqlite(&path, &scratch, &CancellationToken::new()).unwrap();
                    let copied = Connection::open(&copy.0).unwrap();
                    let torn: i64 =
                        copied.query_row("SELECT count(*) FROM pair WHERE a <> b", [], |row| row.get(0)).unwrap();
                    assert_eq!(torn, 0, "{mode}");
                }
                done.store(true, Ordering::Relaxed);
                writes.join().unwrap()
            });
            assert!(written.0 > 10_001, "{mode}: the writer was blocked all the time");
            assert!(written.1 < Duration::from_secs(8), "{mode}: the writer waited {:?}", written.1);
            assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "copies are removed");
        }
    }

    #[test]
    fn a_database_that_is_damaged_is_not_copied_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        drop(make(&path, "DELETE"));
        let mut bytes = std::fs::read(&path).unwrap();
        for page in 3..40 {
            bytes[page * 4096..page * 4096 + 64].fill(0xee);
        }
        std::fs::write(&path, &bytes).unwrap();
        let damaged = copy_sqlite(&path, &folder.path().join("scratch"), &CancellationToken::new()).unwrap_err();
        assert!(matches!(damaged, DumpError::Damaged { .. }), "{damaged}");
        assert_eq!(std::fs::read_dir(folder.path().join("scratch")).unwrap().count(), 0);
        std::fs::write(&path, "no database at all, but long enough to have a header to look at, which is wrong")
            .unwrap();
        assert!(copy_sqlite(&path, folder.path(), &CancellationToken::new()).is_err());
        let missing = copy_sqlite(&folder.path().join("none"), folder.path(), &CancellationToken::new()).unwrap_err();
        assert!(matches!(missing, DumpError::Missing(_)));
    }

    #[test]
    fn an_ended_run_ends_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        drop(make(&path, "WAL"));
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert!(matches!(copy_sqlite(&path, folder.path(), &cancel), Err(DumpError::Cancelled)));
    }
}
