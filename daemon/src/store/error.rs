//! Why the store did not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why something was not recorded or read. It can be cloned, since callers who share a commit share its failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the state directory.
    #[error(
        "the state directory {} is in use by {}; stop that one first, or give this one another `state_dir`",
        path.display(), holder(*pid)
    )]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// The other process, where it could be read.
        pid: Option<i32>,
    },
    /// The state directory is open to others and holds files that are not upkeep's.
    #[error(
        "the state directory {} holds other files and is open to other users; give `state_dir` a directory of its own, \
         or run `chmod 700 {}` if it is meant",
        path.display(), path.display()
    )]
    Exposed {
        /// The directory.
        path: PathBuf,
    },
    /// A newer upkeep wrote the journal.
    #[error(
        "the journal {} has format {found}, and this upkeep knows formats up to {known}; install the upkeep that wrote \
         it or a newer one",
        path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// What stands in it.
        found: i64,
        /// The newest that this binary knows.
        known: i64,
    },
    /// The journal has not been brought to the format that this binary reads.
    #[error("the journal {} has the older format {found}; start `upkeep daemon` once, which converts it to {known}", path.display())]
    Older {
        /// The database file.
        path: PathBuf,
        /// What stands in it.
        found: i64,
        /// What this binary reads.
        known: i64,
    },
    /// There is no journal yet.
    #[error("there is no journal {}; `upkeep daemon` creates it when it starts, check `state_dir`", path.display())]
    Missing {
        /// The database file.
        path: PathBuf,
    },
    /// The file is a database, but not upkeep's.
    #[error("{} is a database of another program; give `state_dir` a directory of its own", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "the journal {} is damaged ({message}); put back a copy of it, or move it away together with its -wal and -shm \
         files: upkeep then starts with an empty journal",
        path.display()
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        message: String,
    },
    /// No room is left. Nothing of the commit was recorded; it can be tried again once there is room.
    #[error("the disk that holds the journal {} is full; nothing was recorded, free some space", path.display())]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// The transition contradicts the journal: the caller has a defect, or acts on something that is over.
    #[error("cannot record {transition}: {reason}")]
    Refused {
        /// What was to be recorded.
        transition: String,
        /// What the journal says instead.
        reason: &'static str,
    },
    /// More than one run begins so.
    #[error("`{prefix}` fits {}; write more of the identifier", runs.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The first ten that it fits.
        runs: Vec<String>,
    },
    /// A row holds what this binary does not understand.
    #[error("the journal holds a row that makes no sense: {0}; was it edited by hand?")]
    Nonsense(String),
    /// The operating system refused.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system says.
        error: Arc<io::Error>,
    },
    /// SQLite refused.
    #[error("the journal {} cannot be used: {error}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        error: Arc<sqlx::Error>,
    },
    /// The store was closed: the daemon is stopping.
    #[error("the journal is closed, since upkeep is stopping")]
    Closed,
}

/// Why task state was not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StateError {
    /// The key has another version than expected.
    #[error("the key `{key}` has changed: it has version {found}")]
    Conflict {
        /// The key.
        key: String,
        /// Its version, 0 when it does not exist.
        found: u64,
    },
    /// The state would grow too large.
    #[error("the state would take {needed} bytes, and {limit} are allowed")]
    Limit {
        /// Keys and values together, in bytes.
        needed: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreError {
    pub(super) fn io(action: &'static str, path: &Path, error: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), error: Arc::new(error) }
    }

    /// Gives what SQLite says its name.
    pub(super) fn sqlite(path: &Path, error: sqlx::Error) -> Self {
        let path = path.to_owned();
        match result_code(&error) {
            Some(FULL) => Self::Full { path },
            Some(CORRUPT | NOT_A_DATABASE) => Self::Damaged { path, message: error.to_string() },
            _ => Self::Database { path, error: Arc::new(error) },
        }
    }

    /// Whether the error is one caller's, so that those who share the transaction need not fail with it.
    pub(super) fn concerns_one(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Database { error, .. } => matches!(result_code(error), Some(TOO_BIG | CONSTRAINT)),
            _ => false,
        }
    }
}

// <https://sqlite.org/rescode.html>
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const TOO_BIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const NOT_A_DATABASE: i32 = 26;

/// SQLite's primary result code.
fn result_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

fn holder(pid: Option<i32>) -> String {
    pid.map_or_else(|| "another upkeep".to_owned(), |pid| format!("the upkeep with process id {pid}"))
}
