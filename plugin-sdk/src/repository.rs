//! Backup repositories in restic's format, by the name that the task file gives them. Their key stays with the host.
//!
//! ```no_run
//! use upkeep_plugin::repository::{BackupOptions, Repository};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! let repository = Repository::open("main")?;
//! let options = BackupOptions { exclude: vec!["cache/".into()], ..BackupOptions::default() };
//! let saved = repository.backup("uploads", &options)?;
//! upkeep_plugin::info!(snapshot = saved.snapshot, bytes = saved.bytes_added, "saved {} files", saved.files);
//! # Ok(())
//! # }
//! ```

pub use crate::bindings::upkeep::plugin::repository::{
    BackupOptions, CheckOptions, CheckReport, Damage, Harm, Part, Snapshot, Summary,
};
use crate::host::{HostResult, repository as host};

/// A repository that the task file names.
#[derive(Debug)]
pub struct Repository(pub(crate) host::Repo);

impl Repository {
    /// Opens the repository, or makes it when there is none and the task may append.
    ///
    /// # Errors
    /// [`HostError::Denied`](crate::HostError::Denied) when the task file does not grant it,
    /// [`HostError::Unavailable`](crate::HostError::Unavailable) when it cannot be reached.
    pub fn open(name: &str) -> HostResult<Self> {
        host::Repo::open(name).map(Self)
    }

    /// Saves the granted root of the name `root`. Right: append.
    ///
    /// # Errors
    /// As for [`Repository::open`]. What could not be read is no error: see [`Summary::problems`].
    pub fn backup(&self, root: &str, options: &BackupOptions) -> HostResult<Summary> {
        self.0.backup(root, options)
    }

    /// All snapshots, oldest first. Right: list.
    ///
    /// # Errors
    /// As for [`Repository::open`].
    pub fn snapshots(&self) -> HostResult<Vec<Snapshot>> {
        self.0.snapshots()
    }

    /// How the packs spread over the first bytes of their names; parts without packs are left out. Right: check.
    ///
    /// # Errors
    /// As for [`Repository::open`].
    pub fn parts(&self) -> HostResult<Vec<Part>> {
        self.0.parts()
    }

    /// Looks at the whole structure, and reads in full the packs whose names begin with one of the bytes `read`. Damage
    /// is no error: see [`CheckReport::damages`]. Right: check.
    ///
    /// # Errors
    /// As for [`Repository::open`].
    pub fn check(&self, read: &[u8]) -> HostResult<CheckReport> {
        self.0.check(&CheckOptions { read: read.to_vec() })
    }
}

impl Default for BackupOptions {
    /// Everything, across filesystems, without tags.
    fn default() -> Self {
        Self { exclude: Vec::new(), max_size: None, one_filesystem: false, tags: Vec::new() }
    }
}
