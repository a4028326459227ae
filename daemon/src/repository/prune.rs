//! Removing: snapshots first, then the data that none of the others needs.
//!
//! A prune works in two phases, as rustic does it. Packs that nobody needs are marked in the index and stay; the prune after
//! the grace period removes them, or takes the mark back when a snapshot needs them after all. So a program that takes
//! no lock and was just saving something loses nothing. restic does not know the mark: it sees files that no index names,
//! which its check mentions and its own prune removes.
//!
//! The order makes every moment a good one to die: new packs, new index, then the old index goes, then old packs. The
//! [`Gate`] keeps that order on the disk too, and lets nothing go after a write that failed.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use rustic_core::repofile::SnapshotId;
use rustic_core::{Id, LimitOption, PruneOptions, jiff};
use tokio_util::sync::CancellationToken;

use crate::repository::gate::Gate;
use crate::repository::lock::{LockGuard, LockKind};
use crate::repository::progress::Bars;
use crate::repository::{PATIENCE, Repository, RepositoryError, Tell, Watch, open, snapshot};

/// A bound on an amount of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// Bytes.
    Bytes(u64),
    /// Of the repository's size, from 0 to 100.
    Percent(u32),
    /// None.
    Unlimited,
}

impl From<Amount> for LimitOption {
    fn from(amount: Amount) -> Self {
        match amount {
            // rustic_core's own type for sizes is not ours to name.
            Amount::Bytes(bytes) => Self::from_str(&format!("{bytes}B")).unwrap_or(Self::Unlimited),
            Amount::Percent(percent) => Self::Percentage(u64::from(percent)),
            Amount::Unlimited => Self::Unlimited,
        }
    }
}

/// How to prune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruning {
    /// Data that no snapshot needs and that may stay.
    pub max_unused: Amount,
    /// Data that may be written anew.
    pub max_repack: Amount,
    /// How long a marked pack stays, in seconds; 0 removes at once.
    pub grace_seconds: u64,
}

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Packs that were marked.
    pub packs_marked: u64,
    /// Their bytes.
    pub bytes_marked: u64,
    /// Packs that were removed.
    pub packs_removed: u64,
    /// Their bytes.
    pub bytes_removed: u64,
    /// Packs of which the needed part was written anew.
    pub packs_repacked: u64,
    /// Data that snapshots need.
    pub bytes_used: u64,
    /// Other data that stays, without what is marked.
    pub bytes_unused: u64,
    /// How long it took.
    pub duration_ms: u64,
}

impl Repository {
    /// What tells this repository from all others, whatever its address: the identifier in its config.
    ///
    /// # Errors
    ///
    /// When the repository cannot be read.
    pub fn identity(&self) -> Result<String, RepositoryError> {
        let repository = self.session(Arc::clone(&self.backend), Bars::silent())?;
        Ok(repository.config().id.to_hex().as_str().to_owned())
    }

    /// Removes snapshots: all of them or, when one is not there, is protected by rustic's mark or refused by `may` with a
    /// reason, none. Their data stays.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Removal`] names what must stay; otherwise when the repository cannot be written.
    pub fn forget(
        &self,
        ids: &[String],
        may: impl Fn(&crate::repository::Snapshot) -> Result<(), String>,
        cancel: &CancellationToken,
    ) -> Result<(), RepositoryError> {
        let lock = self.lock(LockKind::Exclusive, PATIENCE, cancel)?;
        let watch = Watch::new(cancel.clone());
        let gate = self.removing_gate(&watch, &lock);
        let repository = self.session(Arc::new(gate), Bars::silent())?;
        let there = self.list_snapshots(&repository)?;
        let now = jiff::Timestamp::from_millisecond(crate::clock::now().0).unwrap_or_default();
        let now = now.to_zoned(jiff::tz::TimeZone::UTC);
        let mut going = Vec::with_capacity(ids.len());
        for id in ids {
            let parsed = Id::from_str(id).map(SnapshotId::from).ok();
            let Some(found) = there.iter().find(|it| Some(it.id) == parsed) else {
                let reason = "it is not there".to_owned();
                return Err(RepositoryError::Snapshot { url: self.url.clone(), name: id.clone(), reason });
            };
            may(&snapshot(found)).map_err(RepositoryError::Removal)?;
            if found.must_keep(&now) {
                let id = &id[..8];
                let message = format!(
                    "the snapshot {id} stays, since it carries rustic's mark that it must not be deleted (`delete`); \
                     rustic takes that away with `--remove-delete`"
                );
                return Err(RepositoryError::Removal(message));
            }
            going.push(found.id);
        }
        let removed = repository.delete_snapshots(&going);
        self.ended(&watch, "snapshots were removed", removed)
    }

    /// Removes data that no snapshot needs. `tell` hears of bytes that are written anew.
    ///
    /// # Errors
    ///
    /// When the repository cannot be written, when a snapshot needs data that is missing (then nothing was removed), or
    /// when the run was ended; what was not removed goes with the next prune.
    pub fn prune(&self, how: &Pruning, cancel: &CancellationToken, tell: Tell) -> Result<Pruned, RepositoryError> {
        let started = Instant::now();
        let lock = self.lock(LockKind::Exclusive, PATIENCE, cancel)?;
        let watch = Watch::new(cancel.clone());
        let gate = self.removing_gate(&watch, &lock);
        let repository = self.session(Arc::new(gate), Bars::telling(tell))?;
        let is_instant = how.grace_seconds == 0;
        let mut options = PruneOptions::default();
        options.max_unused = how.max_unused.into();
        options.max_repack = how.max_repack.into();
        options.instant_delete = is_instant;
        options.keep_delete =
            jiff::Span::new().seconds(i64::try_from(how.grace_seconds).unwrap_or(i64::MAX).min(MOST_GRACE));
        let plan = repository.prune_plan(&options).map_err(self.failed("what can be removed was looked for"))?;
        let (stats, sizes) = (&plan.stats, plan.stats.size_sum());
        let (new_packs, new_bytes) = (
            stats.packs.unused + stats.packs.repack + stats.packs_unref,
            sizes.remove + sizes.repack + stats.size_unref,
        );
        let (old_packs, old_bytes) = (stats.packs_to_delete.remove, stats.size_to_delete.remove);
        let marked_before = (stats.packs_to_delete.keep, stats.size_to_delete.keep);
        let mut pruned = Pruned {
            packs_repacked: stats.packs.repack,
            bytes_used: sizes.used,
            // rustic counts what is marked as unused too.
            bytes_unused: sizes.unused_after_prune().saturating_sub(old_bytes + marked_before.1),
            ..Pruned::default()
        };
        if is_instant {
            pruned.packs_removed = new_packs + old_packs + marked_before.0;
            pruned.bytes_removed = new_bytes + old_bytes + marked_before.1;
        } else {
            (pruned.packs_marked, pruned.bytes_marked) = (new_packs, new_bytes);
            (pruned.packs_removed, pruned.bytes_removed) = (old_packs, old_bytes);
        }
        let done = repository.prune(&options, plan);
        self.ended(&watch, "unneeded data was removed", done)?;
        pruned.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(pruned)
    }

    fn removing_gate(&self, watch: &Arc<Watch>, lock: &LockGuard) -> Gate {
        let (backend, folder) = (Arc::clone(&self.backend), open::folder(&self.url));
        Gate::new(backend, folder, Arc::clone(watch), Some(lock.watch())).removing()
    }

    /// What became of work that went through a gate.
    fn ended(
        &self,
        watch: &Watch,
        action: &'static str,
        done: rustic_core::RusticResult<()>,
    ) -> Result<(), RepositoryError> {
        if watch.cancel.is_cancelled() && done.is_err() {
            return Err(RepositoryError::Cancelled);
        }
        if let Some(message) = watch.state().failure.take() {
            return Err(RepositoryError::Failed { url: self.url.clone(), action, message });
        }
        done.map_err(self.failed(action))
    }
}

/// A hundred years, in seconds: more than a span can hold is no better.
const MOST_GRACE: i64 = 100 * 365 * 86_400;
