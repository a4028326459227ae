//! Restoring on trial: a snapshot comes back into a scratch folder or a scratch server that the host makes, and goes when
//! it is dropped. A plugin puts narrow questions to it and never gets a file.
//!
//! ```no_run
//! use upkeep_plugin::{drill, repository::Repository};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! let repository = Repository::open("main")?;
//! let newest = repository.snapshots()?.pop().expect("there is one");
//! let restored = drill::Restored::restore(&repository, &newest.id, "/srv/app")?;
//! assert!(restored.count(&["*.jpg".into()])?.files > 100);
//! let database = drill::Database::load(&repository, &newest.id, "/srv/app/app.db")?;
//! assert_eq!(database.query("app.db", "SELECT count(*) FROM orders")?.rows.len(), 1);
//! # Ok(())
//! # }
//! ```

pub use crate::bindings::upkeep::plugin::drill::{Answer, Facts, ForeignKeys, LoadFacts, Tally};
use crate::host::{HostResult, drill as host};
use crate::repository::Repository;

/// A folder that was restored. It is removed when this is dropped.
#[derive(Debug)]
pub struct Restored(host::Restored);

impl Restored {
    /// Restores what the snapshot has at `path` (absolute), and compares it with the snapshot.
    ///
    /// # Errors
    /// [`HostError::Denied`](crate::HostError::Denied) without `[grant.drill]` or the right "restore";
    /// [`HostError::Limit`](crate::HostError::Limit) when it is larger than the grant allows or the disk has room for.
    pub fn restore(repository: &Repository, snapshot: &str, path: &str) -> HostResult<Self> {
        host::Restored::restore(&repository.0, snapshot, path).map(Self)
    }

    /// How the restore went.
    pub fn facts(&self) -> Facts {
        self.0.facts()
    }

    /// Files that one of the patterns matches, as in a .gitignore file; without patterns all.
    ///
    /// # Errors
    /// [`HostError::Invalid`](crate::HostError::Invalid) for a pattern that is none.
    pub fn count(&self, patterns: &[String]) -> HostResult<Tally> {
        self.0.count(patterns)
    }

    /// The SHA-256 of the content of a file by its absolute path, in hexadecimal digits.
    ///
    /// # Errors
    /// [`HostError::NotFound`](crate::HostError::NotFound) when there is no such file.
    pub fn checksum(&self, path: &str) -> HostResult<String> {
        self.0.checksum(path)
    }
}

/// A database that was loaded into a server of its own. It is stopped and removed when this is dropped.
#[derive(Debug)]
pub struct Database(host::Database);

impl Database {
    /// Loads what the snapshot has at `path`: an SQLite file, or the folder that a dump of a server is in.
    ///
    /// # Errors
    /// As for [`Restored::restore`]; [`HostError::Unavailable`](crate::HostError::Unavailable) when the server's programs
    /// are not installed, or it does not take the dump.
    pub fn load(repository: &Repository, snapshot: &str, path: &str) -> HostResult<Self> {
        host::Database::load(&repository.0, snapshot, path).map(Self)
    }

    /// How it came back.
    pub fn facts(&self) -> LoadFacts {
        self.0.facts()
    }

    /// Runs one statement that only reads, in the database `name`. At most 1,000 rows.
    ///
    /// # Errors
    /// What the server says against it.
    pub fn query(&self, name: &str, statement: &str) -> HostResult<Answer> {
        self.0.query(name, statement)
    }

    /// Looks whether every foreign key finds its row.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn foreign_keys(&self, name: &str) -> HostResult<ForeignKeys> {
        self.0.foreign_keys(name)
    }
}
