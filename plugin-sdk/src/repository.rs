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
    Amount, BackupOptions, CheckOptions, CheckReport, Content, CopySummary, Damage, Harm, Hold, Part, PruneOptions,
    PruneSummary, Snapshot, SnapshotSummary, Summary,
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

    /// Opens a repository for copies out of `original`, or makes it so that both cut files in the same way. Right: append.
    ///
    /// # Errors
    /// As for [`Repository::open`].
    pub fn open_copy(name: &str, original: &Self) -> HostResult<Self> {
        host::Repo::open_copy(name, &original.0).map(Self)
    }

    /// Copies snapshots of this task to `target`, as far as it does not have them. Right: append in both.
    ///
    /// # Errors
    /// As for [`Repository::open`]; [`HostError::NotFound`](crate::HostError::NotFound) for what is no snapshot of this task.
    pub fn copy(&self, target: &Self, snapshots: &[String]) -> HostResult<CopySummary> {
        self.0.copy(&target.0, snapshots)
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

    /// Removes snapshots by their identifiers, all or none of them; their data stays until it is pruned. Right: prune.
    ///
    /// # Errors
    /// [`HostError::Denied`](crate::HostError::Denied) where the grant's `forget` does not name a tag of one of them,
    /// [`HostError::Conflict`](crate::HostError::Conflict) while there is a hold on the repository,
    /// [`HostError::NotFound`](crate::HostError::NotFound) when one is not there.
    pub fn forget(&self, ids: &[String]) -> HostResult<()> {
        self.0.forget(ids)
    }

    /// Removes data that no snapshot needs. Right: prune.
    ///
    /// # Errors
    /// [`HostError::Conflict`](crate::HostError::Conflict) while there is a hold on the repository.
    pub fn prune(&self, options: &PruneOptions) -> HostResult<PruneSummary> {
        self.0.prune(*options)
    }

    /// Holds all that this task has in the repository, until the operator says `upkeep backup release TASK`: nothing in
    /// it is forgotten or pruned. True when it was not held; else the first reason stays. Right: append.
    ///
    /// # Errors
    /// As for [`Repository::open`].
    pub fn hold(&self, reason: &str) -> HostResult<bool> {
        self.0.hold(reason)
    }

    /// The holds: of all tasks with the right list or prune, else those of this task.
    ///
    /// # Errors
    /// As for [`Repository::open`].
    pub fn holds(&self) -> HostResult<Vec<Hold>> {
        self.0.holds()
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
