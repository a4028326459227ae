//! What is removed from a repository, and what must stay: the right `prune`, the tags that the grant lets go, and holds.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::{Repo, abi};
use crate::capability::{Host, HostError, blocking};
use crate::clock::Timestamp;
use crate::config::grant::{RepositoryAccess, may_forget};
use crate::repository::Snapshot;
use crate::repository::prune::{Amount, Pruned, Pruning};
use crate::store::{Hold, StoreError};

/// Bytes that the reason of a hold may have.
const LONGEST_REASON: usize = 4 << 10;

impl Host {
    pub(super) async fn remove_snapshots(
        &mut self,
        handle: &Resource<Repo>,
        ids: Vec<String>,
    ) -> Result<(), HostError> {
        let repository = self.repository_for(handle, RepositoryAccess::Prune)?;
        self.refuse_while_held(handle, "no snapshot is forgotten").await?;
        let (repo, cancel) = (self.table.get(handle)?, self.run.cancel.clone());
        let (name, forget) = (Arc::clone(&repo.name), repo.forget.clone());
        // What the grant protects is denied, and nothing is removed; what is not there is an error of its own.
        let protected = Arc::new(std::sync::Mutex::new(None));
        let noted = Arc::clone(&protected);
        let removed = blocking(move || {
            let may = |snapshot: &Snapshot| {
                if may_forget(&forget, &snapshot.tags) {
                    return Ok(());
                }
                let told = format!("forget the snapshot {} (tags {:?}) in the repository `{name}` (`grant.repository.{name}.forget` is {forget:?})",
                    snapshot.id.get(..8).unwrap_or(&snapshot.id), snapshot.tags);
                *noted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(told.clone());
                Err(told)
            };
            repository.forget(&ids, may, &cancel)
        })
        .await?;
        let protected = protected.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        match protected {
            Some(what) => self.deny(what),
            None => Ok(removed?),
        }
    }

    pub(super) async fn remove_data(
        &mut self,
        handle: &Resource<Repo>,
        options: abi::PruneOptions,
    ) -> Result<abi::PruneSummary, HostError> {
        let repository = self.repository_for(handle, RepositoryAccess::Prune)?;
        let how = Pruning {
            max_unused: amount(options.max_unused)?,
            max_repack: amount(options.max_repack)?,
            grace_seconds: options.grace_seconds,
        };
        self.refuse_while_held(handle, "nothing is pruned").await?;
        let (tell, cancel) = (self.teller(), self.run.cancel.clone());
        Ok(blocking(move || repository.prune(&how, &cancel, tell)).await??.into())
    }

    pub(super) async fn place_hold(&mut self, handle: &Resource<Repo>, reason: String) -> Result<bool, HostError> {
        let repository = self.repository_for(handle, RepositoryAccess::Append)?;
        if reason.len() > LONGEST_REASON {
            return Err(HostError::invalid(format!("the reason of a hold has more than {LONGEST_REASON} bytes")));
        }
        let url = self.table.get(handle)?.url.clone();
        let hold = Hold {
            repository: blocking(move || repository.identity()).await??,
            task: self.run.task.to_string(),
            url,
            reason,
            since: crate::clock::now(),
        };
        Ok(self.run.store.hold(&hold).await?)
    }

    pub(super) async fn list_holds(&mut self, handle: &Resource<Repo>) -> Result<Vec<abi::Hold>, HostError> {
        let repo = self.table.get(handle)?;
        let sees_all = repo.access.iter().any(|it| matches!(it, RepositoryAccess::List | RepositoryAccess::Prune));
        let mut holds = self.holds_of(handle).await?;
        holds.retain(|hold| sees_all || *hold.task == *self.run.task);
        let told = |Hold { task, reason, since: Timestamp(since), .. }| abi::Hold { task, reason, since };
        Ok(holds.into_iter().map(told).collect())
    }

    async fn holds_of(&mut self, handle: &Resource<Repo>) -> Result<Vec<Hold>, HostError> {
        let repository = self.table.get(handle)?.repository.clone();
        let identity = blocking(move || repository.identity()).await??;
        Ok(self.run.store.read().holds(Some(&identity)).await?)
    }

    async fn refuse_while_held(&mut self, handle: &Resource<Repo>, what: &str) -> Result<(), HostError> {
        let Some(Hold { task, reason, since, url, .. }) = self.holds_of(handle).await?.into_iter().next() else {
            return Ok(());
        };
        Err(HostError::conflict(format!(
            "{what} in {url}: held since {since} because of the task `{task}` ({reason}); look with \
             `upkeep backup diff`, then `upkeep backup release {task}`"
        )))
    }
}

fn amount(amount: abi::Amount) -> Result<Amount, HostError> {
    match amount {
        abi::Amount::Bytes(bytes) => Ok(Amount::Bytes(bytes)),
        abi::Amount::Percent(percent) if percent < 100 => Ok(Amount::Percent(percent)),
        abi::Amount::Percent(percent) => Err(HostError::invalid(format!("{percent} % is not less than 100 %"))),
        abi::Amount::Unlimited => Ok(Amount::Unlimited),
    }
}

impl From<StoreError> for HostError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl From<Pruned> for abi::PruneSummary {
    fn from(pruned: Pruned) -> Self {
        Self {
            packs_marked: pruned.packs_marked,
            bytes_marked: pruned.bytes_marked,
            packs_removed: pruned.packs_removed,
            bytes_removed: pruned.bytes_removed,
            packs_repacked: pruned.packs_repacked,
            bytes_used: pruned.bytes_used,
            bytes_unused: pruned.bytes_unused,
            duration_ms: pruned.duration_ms,
        }
    }
}

impl From<Snapshot> for abi::Snapshot {
    fn from(snapshot: Snapshot) -> Self {
        let (files, bytes) = (snapshot.files, snapshot.bytes);
        let summary = snapshot.changes.map(|changes| abi::SnapshotSummary {
            files_new: changes.files_new,
            files_changed: changes.files_changed,
            files_unmodified: changes.files_unmodified,
            files: files.unwrap_or_default(),
            bytes: bytes.unwrap_or_default(),
            bytes_added: changes.bytes_added,
        });
        Self {
            id: snapshot.id,
            time: snapshot.time.0,
            utc_offset: snapshot.utc_offset,
            host: snapshot.host,
            paths: snapshot.paths,
            tags: snapshot.tags,
            summary,
        }
    }
}
