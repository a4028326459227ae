//! SQLite: the online backup API copies the database page by page into a scratch folder while others write. The copy is
//! checked before it is used, and removed again whatever happens.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tokio_util::sync::CancellationToken;

use crate::database::scratch::{ForeignKeys, Loaded, Rows, ScratchOptions, Server};
use crate::database::{DatabaseError, names};

/// Pages that are copied while the database is locked against writers: some milliseconds.
const PAGES: i32 = 512;

/// Time that writers get between two such pieces.
const PAUSE: Duration = Duration::from_millis(5);

/// When writers have made the copy begin anew for so long, it is done in one piece: they wait once, instead of us for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long another program may keep the database locked before we give up.
const BUSY: Duration = Duration::from_secs(60);

fn missing(database: &Path) -> DatabaseError {
    DatabaseError::Missing(format!("the database {} does not exist", database.display()))
}

fn locked(database: &Path) -> DatabaseError {
    let seconds = BUSY.as_secs();
    DatabaseError::Locked(format!("the database {} was locked by another program for {seconds} s", database.display()))
}

/// A file that goes when it is no longer needed, with the files that SQLite puts beside it.
#[derive(Debug)]
pub struct Copy(PathBuf);

impl Copy {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

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

/// Copies the database as it is at one moment into the folder `scratch`, and checks the copy.
///
/// # Errors
///
/// When it is missing, damaged, or locked for too long.
pub fn copy(database: &Path, scratch: &Path, cancel: &CancellationToken) -> Result<Copy, DatabaseError> {
    let failed = |source| DatabaseError::Sqlite { path: database.to_owned(), source };
    if !database.exists() {
        return Err(missing(database));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(database, flags).map_err(failed)?;
    std::fs::create_dir_all(scratch).map_err(|source| DatabaseError::Disk { path: scratch.to_owned(), source })?;
    let file = tempfile::Builder::new().prefix("dump-").suffix(".sqlite").tempfile_in(scratch);
    let file = file.map_err(|source| DatabaseError::Disk { path: scratch.to_owned(), source })?;
    let path = file.into_temp_path().keep();
    let copy = Copy(path.map_err(|error| DatabaseError::Disk { path: scratch.to_owned(), source: error.error })?);
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
) -> Result<(), DatabaseError> {
    let failed = |source| DatabaseError::Sqlite { path: database.to_owned(), source };
    let backup = Backup::new(from, to).map_err(failed)?;
    let started = Instant::now();
    let mut waiting: Option<Instant> = None;
    loop {
        if cancel.is_cancelled() {
            return Err(DatabaseError::Cancelled);
        }
        let pages = if started.elapsed() < PATIENCE { PAGES } else { -1 };
        match backup.step(pages).map_err(failed)? {
            StepResult::Done => return Ok(()),
            StepResult::More => waiting = None,
            _ if waiting.get_or_insert_with(Instant::now).elapsed() > BUSY => {
                return Err(locked(database));
            }
            _ => {}
        }
        std::thread::sleep(PAUSE);
    }
}

fn check(copy: &Connection, database: &Path) -> Result<(), DatabaseError> {
    let damaged = |found: String| DatabaseError::Damaged { path: database.to_owned(), found };
    let found: Result<String, _> = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(damaged(found)),
        Err(error) => Err(damaged(error.to_string())),
    }
}

/// Whether the database holds no tables.
///
/// # Errors
///
/// When it cannot be read.
pub fn is_empty(copy: &Copy) -> Result<bool, DatabaseError> {
    let count = Connection::open_with_flags(copy.path(), OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|database| {
        let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        database.query_row(tables, [], |row| row.get::<_, i64>(0))
    });
    count.map(|count| count == 0).map_err(|source| DatabaseError::Sqlite { path: copy.path().to_owned(), source })
}

/// SQLite's scratch server: files in a folder.
#[derive(Debug)]
pub(super) struct Files {
    folder: tempfile::TempDir,
    names: Vec<String>,
    cancel: CancellationToken,
}

impl Files {
    pub(super) fn new(options: &ScratchOptions) -> Result<Self, DatabaseError> {
        let folder = tempfile::Builder::new().prefix("upkeep-").tempdir_in(&options.parent);
        let folder = folder.map_err(|source| DatabaseError::Disk { path: options.parent.clone(), source })?;
        Ok(Self { folder, names: Vec::new(), cancel: options.cancel.clone() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(names::file(name, ""))
    }

    fn open(&self, name: &str) -> Result<Connection, DatabaseError> {
        if !self.names.iter().any(|known| known == name) {
            return Err(DatabaseError::Missing(format!("the database `{name}` was not loaded")));
        }
        let path = self.path(name);
        let cancel = self.cancel.clone();
        let opened = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|opened| {
            opened.progress_handler(STEPS, Some(move || cancel.is_cancelled()))?;
            opened.authorizer(Some(|it: AuthContext<'_>| authorize(&it.action)))?;
            Ok(opened)
        });
        opened.map_err(|source| DatabaseError::Sqlite { path, source })
    }
}

/// Steps of SQLite's machine between two looks at whether the run goes on.
const STEPS: i32 = 4_096;

/// Bytes of an answer, and rows that it gives at most.
const LARGEST_ANSWER: usize = 64 << 20;
const MOST_ROWS: usize = 10_000;

/// Pragmas that only tell something.
const PRAGMAS: [&str; 9] = [
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "user_version",
];

/// Keeps a question within its database: another file of this machine is none of its business.
fn authorize(action: &AuthAction<'_>) -> Authorization {
    let is_allowed = match action {
        AuthAction::Attach { .. } => false,
        AuthAction::Pragma { pragma_name, .. } => PRAGMAS.contains(&pragma_name.to_ascii_lowercase().as_str()),
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        _ => true,
    };
    if is_allowed { Authorization::Allow } else { Authorization::Deny }
}

impl Server for Files {
    fn load(&mut self, file: &str, content: &mut dyn Read) -> Result<Loaded, DatabaseError> {
        let path = self.path(file);
        let failed = |source| DatabaseError::Disk { path: path.clone(), source };
        let mut copy = File::create(&path).map_err(failed)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            if self.cancel.is_cancelled() {
                return Err(DatabaseError::Cancelled);
            }
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => copy.write_all(&buffer[..count]).map_err(failed)?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(DatabaseError::Content { source }),
            }
        }
        self.names.push(file.to_owned());
        check(&self.open(file)?, Path::new(file))?;
        Ok(Loaded { database: Some(file.to_owned()), remarks: Vec::new() })
    }

    fn databases(&self) -> Result<Vec<String>, DatabaseError> {
        Ok(self.names.clone())
    }

    fn query(&self, database: &str, statement: &str) -> Result<Rows, DatabaseError> {
        let failed = |error: rusqlite::Error| DatabaseError::Invalid(format!("`{database}`: {error}"));
        let connection = self.open(database)?;
        let mut statement = connection.prepare(statement).map_err(failed)?;
        let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = Rows { rows: Vec::new(), columns };
        let mut bytes = 0;
        let mut found = statement.query([]).map_err(failed)?;
        while let Some(row) = found.next().map_err(failed)? {
            if rows.rows.len() == MOST_ROWS {
                break;
            }
            let value = |index| row.get_ref(index).map(text);
            let values: Vec<Option<String>> =
                (0..rows.columns.len()).map(value).collect::<Result<_, _>>().map_err(failed)?;
            bytes += values.iter().flatten().map(String::len).sum::<usize>();
            if bytes > LARGEST_ANSWER {
                return Err(DatabaseError::Invalid(format!("`{database}`: the answer is too large; ask for less")));
            }
            rows.rows.push(values);
        }
        Ok(rows)
    }

    fn foreign_keys(&self, database: &str) -> Result<ForeignKeys, DatabaseError> {
        let count = "SELECT count(*) FROM (SELECT DISTINCT m.name, k.id FROM sqlite_schema AS m,
                     pragma_foreign_key_list(m.name) AS k WHERE m.type = 'table')";
        let checked = self.query(database, count)?.rows;
        let checked = checked.first().and_then(|row| row.first()?.as_ref()?.parse().ok()).unwrap_or(0);
        let found =
            self.query(database, "SELECT \"table\", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2")?;
        let word = |row: &[Option<String>], index: usize| row.get(index).cloned().flatten().unwrap_or_default();
        let sentence = |row: &Vec<Option<String>>| {
            format!(
                "{} rows of `{}` refer to rows of `{}` that are not there",
                word(row, 2),
                word(row, 0),
                word(row, 1)
            )
        };
        let broken = found.rows.iter().map(sentence).collect();
        Ok(ForeignKeys { checked, broken, how: "SQLite's foreign_key_check went through all tables" })
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A value as SQLite's shell shows it; bytes as X'…'.
fn text(value: ValueRef<'_>) -> Option<String> {
    Some(match value {
        ValueRef::Null => return None,
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("X'{digits}'")
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

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
            let (done, written) = (AtomicBool::new(false), AtomicU32::new(0));
            let longest = std::thread::scope(|scope| {
                let (done, written) = (&done, &written);
                let writes = scope.spawn(move || {
                    let mut longest = Duration::ZERO;
                    while !done.load(Ordering::Relaxed) {
                        let begin = Instant::now();
                        let number = 10_000 + written.load(Ordering::Relaxed);
                        // At each moment outside of a transaction, a and b are the same everywhere.
                        writer
                            .execute_batch(&format!(
                                "BEGIN; UPDATE pair SET a = {number} WHERE rowid % 97 = 1;
                                 UPDATE pair SET b = {number} WHERE rowid % 97 = 1; COMMIT"
                            ))
                            .unwrap();
                        longest = longest.max(begin.elapsed());
                        written.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(30));
                    }
                    longest
                });
                let begin = Instant::now();
                let mut copies = 0;
                // A disk that others keep busy lets the writer through seldom.
                while copies < 3 || written.load(Ordering::Relaxed) < 2 && begin.elapsed() < Duration::from_secs(60) {
                    copies += 1;
                    let copy = copy(&path, &scratch, &CancellationToken::new()).unwrap();
                    let copied = Connection::open(&copy.0).unwrap();
                    let torn: i64 =
                        copied.query_row("SELECT count(*) FROM pair WHERE a <> b", [], |row| row.get(0)).unwrap();
                    assert_eq!(torn, 0, "{mode}");
                }
                done.store(true, Ordering::Relaxed);
                writes.join().unwrap()
            });
            assert!(written.into_inner() > 1, "{mode}: the writer was blocked all the time");
            assert!(longest < Duration::from_secs(8), "{mode}: the writer waited {longest:?}");
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
        let damaged = copy(&path, &folder.path().join("scratch"), &CancellationToken::new()).unwrap_err();
        assert!(matches!(damaged, DatabaseError::Damaged { .. }), "{damaged}");
        assert_eq!(std::fs::read_dir(folder.path().join("scratch")).unwrap().count(), 0);
        std::fs::write(&path, "no database at all, but long enough to have a header to look at, which is wrong")
            .unwrap();
        assert!(copy(&path, folder.path(), &CancellationToken::new()).is_err());
        let missing = copy(&folder.path().join("none"), folder.path(), &CancellationToken::new()).unwrap_err();
        assert!(matches!(missing, DatabaseError::Missing(_)));
    }

    #[test]
    fn an_ended_run_ends_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        drop(make(&path, "WAL"));
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert!(matches!(copy(&path, folder.path(), &cancel), Err(DatabaseError::Cancelled)));
    }
}
