//! Snapshots in a second repository: what is not there yet is read from the first one, and written encrypted with the key
//! of the second. The identifiers differ; a copy keeps that of its original, by which it is found again.
//!
//! A repository that is made for copies cuts files as the first one does. Otherwise a backup that is made into it
//! directly would share nothing with the copies.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustic_core::Id;
use rustic_core::repofile::{ConfigFile, SnapshotFile};
use tokio_util::sync::CancellationToken;

use crate::config::grant::RepositoryGrant;
use crate::repository::gate::Gate;
use crate::repository::lock::LockKind;
use crate::repository::progress::Bars;
use crate::repository::{PATIENCE, Repository, RepositoryError, Tell, Watch, open};

/// What a failure of the second repository is told to have happened in.
const COPYING: &str = "snapshots were copied to it";

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySummary {
    /// Snapshots that were copied.
    pub copied: u64,
    /// Snapshots that were there already.
    pub present: u64,
    /// Bytes that the second repository grew by.
    pub bytes_added: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// By what copies and their original are known as the same.
fn origin(snapshot: &SnapshotFile) -> (Id, Id) {
    (*snapshot.original.unwrap_or(snapshot.id), *snapshot.tree)
}

impl Repository {
    /// Opens a repository for copies out of this one, or makes it, with the parameters by which this one cuts files.
    ///
    /// # Errors
    ///
    /// As [`Repository::open_or_make`].
    pub fn open_or_make_alike(&self, grant: &RepositoryGrant) -> Result<Self, RepositoryError> {
        let session = self.session(Arc::clone(&self.backend), Bars::silent())?;
        let ours = session.config();
        let polynomial = ours.poly().map_err(self.failed("its config was read"))?;
        let mut config = ConfigFile::new(2, Id::random().into(), polynomial);
        config.chunker = ours.chunker;
        config.chunk_size = ours.chunk_size;
        config.chunk_min_size = ours.chunk_min_size;
        config.chunk_max_size = ours.chunk_max_size;
        Self::open_or_make_with(grant, Some(config))
    }

    /// Copies the snapshots of these identifiers into `target`, as far as it does not have them. `may` says of the tags of
    /// each whether it may be copied. `tell` hears of bytes done and bytes in all.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Snapshot`] when there is none of such a name or it may not be copied; otherwise when one of the
    /// repositories fails or the run was ended: then no snapshot of it is shown.
    pub fn copy_to(
        &self,
        target: &Self,
        snapshots: &[String],
        may: impl Fn(&[String]) -> bool,
        cancel: &CancellationToken,
        tell: Tell,
    ) -> Result<CopySummary, RepositoryError> {
        let started = Instant::now();
        let _read = self.lock_to_read(PATIENCE, cancel)?;
        let lock = target.lock(LockKind::Shared, PATIENCE, cancel)?;
        let watch = Watch::new(cancel.clone());
        let folder = open::folder(&target.url);
        let gate = Gate::new(Arc::clone(&target.backend), folder, Arc::clone(&watch), Some(lock.watch()));

        let from = self.session(Arc::clone(&self.backend), Bars::silent())?;
        let wanted = from.get_snapshots(snapshots).map_err(|error| RepositoryError::Snapshot {
            url: self.url.clone(),
            name: snapshots.join(", "),
            reason: super::message(&error),
        })?;
        for snapshot in &wanted {
            let tags: Vec<_> = snapshot.tags.iter().cloned().collect();
            if !may(&tags) {
                return Err(RepositoryError::Snapshot {
                    url: self.url.clone(),
                    name: snapshot.id.to_hex().as_str().to_owned(),
                    reason: "it is one of another task".to_owned(),
                });
            }
        }
        let to = target.session(Arc::new(gate), Bars::telling(tell))?;
        let there = to.get_all_snapshots().map_err(target.failed("its snapshots were listed"))?;
        let mut missing: Vec<SnapshotFile> = Vec::new();
        for mut snapshot in wanted.iter().cloned() {
            let known = |other: &SnapshotFile| origin(other) == origin(&snapshot);
            if !there.iter().any(known) && !missing.iter().any(known) {
                snapshot.original.get_or_insert(snapshot.id);
                missing.push(snapshot);
            }
        }
        let copied = missing.len() as u64;
        let present = wanted.len() as u64 - copied;
        let done = |bytes_added| CopySummary {
            copied,
            present,
            bytes_added,
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        if missing.is_empty() {
            return Ok(done(0));
        }
        let from = from.to_indexed().map_err(self.failed("its index was read"))?;
        let to = to.to_indexed_ids().map_err(target.failed("its index was read"))?;
        // As in a backup: rustic_core unwraps in its threads where a disk fails.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| from.copy(&to, missing.iter())));
        if cancel.is_cancelled() {
            return Err(RepositoryError::Cancelled);
        }
        let failed = |message| RepositoryError::Failed { url: target.url.clone(), action: COPYING, message };
        if let Some(failure) = watch.state().failure.take() {
            return Err(failed(failure));
        }
        result
            .map_err(|_| failed("the archiver broke; this is a defect of upkeep, please report it".to_owned()))?
            .map_err(|error| failed(format!("{} was read: {}", self.url, super::message(&error))))?;
        Ok(done(watch.written.load(Ordering::Relaxed)))
    }
}
