//! Databases: dumped by their own programs, loaded into scratch servers, restored into live ones.
//!
//! - [`dump`] asks a server what it has and gives a [`Dump`]: a file for each database and one for the accounts, each the
//!   output of a program ([`Part::open`]) that is read while it is made. Nothing of a dump's size is written to disk.
//! - [`Scratch`] is a server of its own in a folder, reached by a socket only. Dumps are loaded into it and questions
//!   asked; it goes with all it holds when it is dropped.
//! - [`restore_steps`] gives the commands that load a dump into a live server, to print and to run.
//!
//! The kinds of server stand in a file each and differ in what they run; [`process`] runs it and [`tools`] finds it.
//! Everything in here waits: call it on a thread made for waiting.

use std::collections::VecDeque;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;

use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::config::dump::DumpGrant;
use crate::config::secret::SecretError;
use crate::database::process::{Running, Tool};
use crate::database::tools::MissingTool;

pub use crate::database::restore::{RestoreCommand, RestoreStep, quoted};
pub use crate::database::scratch::{ForeignKeys, Loaded, Rows, Scratch, ScratchOptions};

mod mariadb;
pub mod names;
mod postgresql;
mod process;
pub mod redis;
mod restore;
mod scratch;
pub mod sqlite;
pub mod tools;

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they are names")]
pub enum Engine {
    Sqlite,
    Postgresql,
    Mariadb,
    Redis,
}

impl Engine {
    /// The kind that a task file names.
    pub fn of(grant: &DumpGrant) -> Self {
        match grant {
            DumpGrant::Sqlite(_) => Self::Sqlite,
            DumpGrant::Postgresql(_) => Self::Postgresql,
            DumpGrant::Mariadb(_) => Self::Mariadb,
            DumpGrant::Redis(_) => Self::Redis,
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql => "PostgreSQL",
            Self::Mariadb => "MariaDB",
            Self::Redis => "Redis",
        })
    }
}

/// Why a database does not do what was asked. The text names the place and the remedy, and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// A program is not there.
    #[error("{missing}; {}", missing.remedy())]
    Tool {
        /// Which, and where it comes from.
        missing: MissingTool,
    },
    /// The password cannot be had.
    #[error("the password of the database {name}: {source}")]
    Secret {
        /// Name of the grant.
        name: String,
        /// Why.
        source: SecretError,
    },
    /// A program could not be started.
    #[error("{} cannot be started: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program did not succeed.
    #[error("{program} {outcome}{}{said}", if said.is_empty() { "" } else { ": " })]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        outcome: String,
        /// What it said.
        said: String,
    },
    /// What was named is not there.
    #[error("{0}")]
    Missing(String),
    /// What was asked for does not go together.
    #[error("{0}")]
    Invalid(String),
    /// A file of SQLite cannot be copied.
    #[error("the database {} cannot be copied: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// Another program keeps it.
    #[error("{0}")]
    Locked(String),
    /// It is damaged.
    #[error("the database {} is damaged: {found}; nothing was saved, the last good snapshot is still there", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// A folder or file of ours fails.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The dump that was to be loaded cannot be read.
    #[error("the dump cannot be read: {source}")]
    Content {
        /// Why.
        source: std::io::Error,
    },
    /// The run was ended.
    #[error("the run was ended")]
    Cancelled,
}

impl From<MissingTool> for DatabaseError {
    fn from(missing: MissingTool) -> Self {
        Self::Tool { missing }
    }
}

/// What a dump of a server will be made of.
#[derive(Debug)]
pub struct Dump {
    /// The kind of server.
    pub engine: Engine,
    /// The folder that the snapshot names: `/upkeep-dump/NAME`.
    pub folder: PathBuf,
    /// Its files.
    pub parts: Vec<Part>,
    /// Databases that hold no tables, and so nothing.
    pub empty: Vec<String>,
}

/// The folder by which a snapshot names the dump of a server.
pub fn folder(name: &str) -> PathBuf {
    Path::new("/upkeep-dump").join(names::file(name, ""))
}

/// One file of a dump.
#[derive(Debug)]
pub struct Part {
    /// Its name in the folder.
    pub file: String,
    /// The database in it; none for accounts and for servers that have one dump for all.
    pub database: Option<String>,
    tool: Tool,
    end: End,
}

/// How a complete file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The program's exit status says it.
    Status,
    /// With this text, and a newline.
    Text(&'static [u8]),
    /// As Redis ends its files: 0xff and a checksum of 8 bytes. What redis-cli writes behind that when the server did not
    /// know the length beforehand, a mark of 40 bytes, is not part of the file.
    Rdb,
}

/// The mark behind a stream of Redis, in bytes.
const MARK: usize = 40;

impl Part {
    /// Starts the program that makes the file.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn open(self, cancel: &CancellationToken) -> Result<DumpReader, DatabaseError> {
        let mut running = self.tool.start(cancel)?;
        let output = running.output.take().map(|output| BufReader::with_capacity(CHUNK, output));
        Ok(DumpReader {
            running,
            output,
            cancel: cancel.clone(),
            end: self.end,
            held: VecDeque::new(),
            tail: Vec::new(),
            failure: None,
        })
    }
}

/// A file of a dump while it is made. The end of it is told only after the program has succeeded; anything else is an
/// error, also when it comes after the last byte.
#[derive(Debug)]
pub struct DumpReader {
    running: Running,
    output: Option<BufReader<ChildStdout>>,
    cancel: CancellationToken,
    end: End,
    /// What was read from the program and not given on yet.
    held: VecDeque<u8>,
    /// The last bytes that were given on.
    tail: Vec<u8>,
    failure: Option<DatabaseError>,
}

/// Bytes that [`DumpReader`] looks at in the end.
const TAIL: usize = 64;

/// Bytes that are read at once: as much as a pipe holds.
const CHUNK: usize = 64 * 1024;

impl DumpReader {
    /// Why reading failed.
    pub fn take_failure(&mut self) -> Option<DatabaseError> {
        self.failure.take()
    }

    /// Reads, and keeps the last bytes back as long as they may turn out to be a mark.
    fn read_before_mark(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let kept = if self.output.is_some() { MARK } else { 0 };
            let ready = self.held.len().saturating_sub(kept).min(buffer.len());
            if ready > 0 {
                for (place, byte) in buffer.iter_mut().zip(self.held.drain(..ready)) {
                    *place = byte;
                }
                return Ok(ready);
            }
            let Some(output) = &mut self.output else { return Ok(0) };
            let mut more = [0; 4_096];
            let count = output.read(&mut more)?;
            self.held.extend(&more[..count]);
            if count == 0 {
                self.output = None;
                // It says whether there is a mark only in its own words.
                self.running.wait_for(std::time::Duration::MAX);
                if self.running.said().contains("EOF marker") {
                    self.held.truncate(self.held.len().saturating_sub(MARK));
                }
            }
        }
    }

    fn finish(&mut self) -> std::io::Result<usize> {
        let ended = self.running.wait(&self.cancel).and_then(|()| self.check_end());
        match ended {
            Ok(()) => Ok(0),
            Err(error) => {
                let told = std::io::Error::other(error.to_string());
                self.failure.get_or_insert(error);
                Err(told)
            }
        }
    }
}

impl DumpReader {
    /// A program may say that all is well, and be wrong.
    fn check_end(&self) -> Result<(), DatabaseError> {
        let is_whole = match self.end {
            End::Status => true,
            End::Text(text) => self.tail.trim_ascii_end().ends_with(text),
            End::Rdb => self.tail.len() >= 9 && self.tail[self.tail.len() - 9] == 0xff,
        };
        if is_whole { Ok(()) } else { Err(self.running.failed("wrote a dump without its end")) }
    }
}

impl Read for DumpReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = match self.end {
            End::Rdb => self.read_before_mark(buffer)?,
            End::Status | End::Text(_) => match &mut self.output {
                Some(output) => output.read(buffer)?,
                None => 0,
            },
        };
        if count == 0 {
            self.output = None;
            return self.finish();
        }
        self.tail.extend_from_slice(&buffer[count.saturating_sub(TAIL)..count]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        Ok(count)
    }
}

impl Drop for DumpReader {
    fn drop(&mut self) {
        self.running.signal(Signal::KILL);
    }
}

/// Asks the server of the grant `name` what it has, and gives what a dump of it is made of.
///
/// # Errors
///
/// When a program is missing, the server does not answer, or a database that is named is not there. SQLite has no server:
/// see [`sqlite::copy`].
pub fn dump(name: &str, grant: &DumpGrant, cancel: &CancellationToken) -> Result<Dump, DatabaseError> {
    match grant {
        DumpGrant::Postgresql(server) => postgresql::dump(name, server, cancel),
        DumpGrant::Mariadb(server) => mariadb::dump(name, server, cancel),
        DumpGrant::Redis(redis) => redis::dump(name, redis, cancel),
        DumpGrant::Sqlite(_) => Err(DatabaseError::Invalid("SQLite has no server to dump".to_owned())),
    }
}

/// The databases that the live server of the grant `name` has now, but for those that belong to the server itself.
///
/// # Errors
///
/// As [`dump`].
pub fn databases(name: &str, grant: &DumpGrant, cancel: &CancellationToken) -> Result<Vec<String>, DatabaseError> {
    match grant {
        DumpGrant::Postgresql(server) => postgresql::databases(name, server, cancel),
        DumpGrant::Mariadb(server) => mariadb::databases(name, server, cancel),
        DumpGrant::Sqlite(_) | DumpGrant::Redis(_) => Ok(Vec::new()),
    }
}

/// What loads the files of a dump into the live server of the grant `name`: to be done in this order. Look first whether a
/// database is there ([`databases`]): with `replace` PostgreSQL's is dropped and made anew, without it the command refuses;
/// MariaDB's dumps replace tables of the same name either way.
///
/// # Errors
///
/// When a program is missing, or a file is not one of such a dump.
pub fn restore_steps(
    name: &str,
    grant: &DumpGrant,
    files: &[String],
    replace: bool,
) -> Result<Vec<RestoreStep>, DatabaseError> {
    match grant {
        DumpGrant::Postgresql(server) => postgresql::restore_steps(name, server, files, replace),
        DumpGrant::Mariadb(server) => mariadb::restore_steps(name, server, files),
        DumpGrant::Redis(_) => Ok(redis::restore_steps(files)),
        DumpGrant::Sqlite(path) => {
            let path = path.display();
            let step = format!(
                "stop the application, remove {path}-wal and {path}-shm, put the file to {path}, start it again"
            );
            Ok(vec![RestoreStep::Person(step)])
        }
    }
}
