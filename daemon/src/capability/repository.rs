//! Backup repositories in restic's format. The engine is [`crate::repository`]; here stand the grant, the events and the
//! names. The key stays in the host, and so does the path of every folder.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::abi::repository as abi;
use crate::capability::{Host, HostError, blocking, files};
use crate::config::grant::{FilesAccess, RepositoryAccess, RepositoryGrant};
use crate::event::Event;
use crate::priority::Priority;
use crate::repository::copy::CopySummary;
use crate::repository::source::FolderSource;
use crate::repository::{Label, Repository, RepositoryError, Source, Summary, Tell, Watch};
use crate::root::exclude::Exclude;
use crate::storage::throttle;

mod check;
mod removal;

/// A granted repository.
pub struct Repo {
    name: Arc<str>,
    access: Vec<RepositoryAccess>,
    /// Tags of the snapshots that may be removed.
    forget: Vec<String>,
    url: String,
    repository: Repository,
}

fn no_thread(error: std::io::Error) -> HostError {
    HostError::unavailable(format!("no thread can be started: {error}"))
}

/// The tag by which the snapshots of a task are found again.
pub fn task_tag(task: &str) -> String {
    format!("upkeep:{task}")
}

impl From<RepositoryError> for HostError {
    fn from(error: RepositoryError) -> Self {
        let message = error.to_string();
        match error {
            RepositoryError::Missing(_) | RepositoryError::Snapshot { .. } => Self::not_found(message),
            RepositoryError::Removal(_) => Self::conflict(message),
            RepositoryError::Address { .. } | RepositoryError::Occupied { .. } | RepositoryError::Restore(_) => {
                Self::invalid(message)
            }
            // The operator can put these right while the daemon runs, so a later attempt may go well.
            RepositoryError::Secret { .. }
            | RepositoryError::Password(_)
            | RepositoryError::Source(_)
            | RepositoryError::Locked { .. }
            | RepositoryError::ReadOnly { .. }
            | RepositoryError::Cancelled
            | RepositoryError::Ended
            | RepositoryError::Damaged { .. }
            | RepositoryError::Failed { .. } => Self::unavailable(message),
        }
    }
}

impl From<Summary> for abi::Summary {
    fn from(summary: Summary) -> Self {
        Self {
            snapshot: summary.snapshot,
            parent: summary.parent,
            files: summary.files,
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unmodified: summary.files_unmodified,
            files_removed: summary.files_removed,
            bytes_read: summary.bytes_read,
            content: abi::Content {
                sampled: summary.content.sampled,
                opaque: summary.content.opaque,
                entropy: summary.content.entropy(),
            },
            bytes: summary.bytes,
            bytes_added: summary.bytes_added,
            duration_ms: summary.duration_ms,
            opening_ms: summary.opening_ms,
            reading_ms: summary.reading_ms,
            problems: summary.problems,
        }
    }
}

impl From<CopySummary> for abi::CopySummary {
    fn from(summary: CopySummary) -> Self {
        let CopySummary { copied, present, bytes_added, duration_ms } = summary;
        Self { copied, present, bytes_added, duration_ms }
    }
}

impl Host {
    /// The repository of a handle, if it is granted with this right.
    pub(crate) fn repository_for(
        &self,
        handle: &Resource<Repo>,
        access: RepositoryAccess,
    ) -> Result<Repository, HostError> {
        let repo = self.table.get(handle)?;
        if repo.access.contains(&access) {
            return Ok(repo.repository.clone());
        }
        let (name, right) = (&repo.name, right(access));
        self.deny(format!(
            "{right} in the repository `{name}` (`grant.repository.{name}.access` does not hold \"{right}\")"
        ))
    }

    /// What the task file says of the repository `name`.
    fn grant_of(&self, name: &str) -> Result<RepositoryGrant, HostError> {
        match self.run.grants.repository.get(name) {
            Some(grant) => Ok(grant.clone()),
            None => self.deny(format!("the repository `{name}` (the task file has no `grant.repository.{name}`)")),
        }
    }

    /// Saves a source, telling the progress of this step.
    pub(crate) async fn archive(
        &mut self,
        repository: Repository,
        source: impl Source,
        tags: Vec<String>,
    ) -> Result<Summary, HostError> {
        let label = Label {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            tags: [task_tag(&self.run.task)].into_iter().chain(tags).collect(),
            time: crate::clock::now(),
        };
        let tell = self.teller();
        let priority = Priority::of(&self.run.limits);
        let archived = blocking(move || priority.run(|| repository.backup(&source, label, tell))).await?;
        Ok(archived.map_err(no_thread)??)
    }

    /// For reading a source: whether the run goes on, and how fast it may.
    pub(crate) fn watch(&self) -> Arc<Watch> {
        let rate = self.run.limits.read.map(|rate| throttle::shared(&self.run.task, "read", rate));
        Watch::paced(self.run.cancel.clone(), rate)
    }

    pub(crate) fn teller(&self) -> Tell {
        let (run, step) = (Arc::clone(&self.run), self.call.step());
        Arc::new(move |done, total| {
            if let Some(ordinal) = step
                && run.events.heard()
            {
                run.events.send(Event::Progress {
                    run: run.id.clone(),
                    ordinal,
                    done,
                    total,
                    unit: "bytes".to_owned(),
                });
            }
        })
    }
}

fn right(access: RepositoryAccess) -> &'static str {
    match access {
        RepositoryAccess::Append => "append",
        RepositoryAccess::List => "list",
        RepositoryAccess::Prune => "prune",
        RepositoryAccess::Check => "check",
        RepositoryAccess::Restore => "restore",
    }
}

impl abi::Host for Host {}

impl abi::HostRepo for Host {
    async fn open(&mut self, name: String) -> Result<Resource<Repo>, HostError> {
        let grant = self.grant_of(&name)?;
        let (access, forget, url) = (grant.access.clone(), grant.forget.clone(), grant.url.clone());
        let may_make = access.contains(&RepositoryAccess::Append);
        let open = move || if may_make { Repository::open_or_make(&grant) } else { Repository::open(&grant) };
        let repository = blocking(open).await??;
        self.push(Repo { name: name.into(), access, forget, url, repository })
    }

    async fn open_copy(&mut self, name: String, original: Resource<Repo>) -> Result<Resource<Repo>, HostError> {
        let original = self.repository_for(&original, RepositoryAccess::Append)?;
        let grant = self.grant_of(&name)?;
        let (access, forget, url) = (grant.access.clone(), grant.forget.clone(), grant.url.clone());
        if !access.contains(&RepositoryAccess::Append) {
            return self.deny(format!(
                "append in the repository `{name}` (`grant.repository.{name}.access` does not hold \"append\")"
            ));
        }
        let repository = blocking(move || original.open_or_make_alike(&grant)).await??;
        self.push(Repo { name: name.into(), access, forget, url, repository })
    }

    async fn copy(
        &mut self,
        handle: Resource<Repo>,
        target: Resource<Repo>,
        snapshots: Vec<String>,
    ) -> Result<abi::CopySummary, HostError> {
        let from = self.repository_for(&handle, RepositoryAccess::Append)?;
        let to = self.repository_for(&target, RepositoryAccess::Append)?;
        // Who may append to both must not carry what another task saved to where others may read it.
        let own = task_tag(&self.run.task);
        let (cancel, tell) = (self.run.cancel.clone(), self.teller());
        let may = move |tags: &[String]| tags.contains(&own);
        let priority = Priority::of(&self.run.limits);
        let copied = blocking(move || priority.run(|| from.copy_to(&to, &snapshots, may, &cancel, tell))).await?;
        Ok(copied.map_err(no_thread)??.into())
    }

    async fn backup(
        &mut self,
        handle: Resource<Repo>,
        root: String,
        options: abi::BackupOptions,
    ) -> Result<abi::Summary, HostError> {
        let repository = self.repository_for(&handle, RepositoryAccess::Append)?;
        let (access, folder) = files::open(self, &root).await?;
        if !access.contains(&FilesAccess::Read) {
            return self
                .deny(format!("read in the folder `{root}` (`grant.files.{root}.access` does not hold \"read\")"));
        }
        let exclude = Exclude::new(&options.exclude).map_err(HostError::invalid)?;
        let watch = self.watch();
        let source = FolderSource::new(folder, exclude, options.max_size, options.one_filesystem, watch);
        Ok(self.archive(repository, source, options.tags).await?.into())
    }

    async fn snapshots(&mut self, handle: Resource<Repo>) -> Result<Vec<abi::Snapshot>, HostError> {
        let repository = self.repository_for(&handle, RepositoryAccess::List)?;
        let snapshots = blocking(move || repository.snapshots()).await??;
        Ok(snapshots.into_iter().map(abi::Snapshot::from).collect())
    }

    async fn forget(&mut self, handle: Resource<Repo>, ids: Vec<String>) -> Result<(), HostError> {
        self.remove_snapshots(&handle, ids).await
    }

    async fn prune(
        &mut self,
        handle: Resource<Repo>,
        options: abi::PruneOptions,
    ) -> Result<abi::PruneSummary, HostError> {
        self.remove_data(&handle, options).await
    }

    async fn hold(&mut self, handle: Resource<Repo>, reason: String) -> Result<bool, HostError> {
        self.place_hold(&handle, reason).await
    }

    async fn holds(&mut self, handle: Resource<Repo>) -> Result<Vec<abi::Hold>, HostError> {
        self.list_holds(&handle).await
    }

    async fn parts(&mut self, handle: Resource<Repo>) -> Result<Vec<abi::Part>, HostError> {
        self.list_parts(&handle).await
    }

    async fn check(
        &mut self,
        handle: Resource<Repo>,
        options: abi::CheckOptions,
    ) -> Result<abi::CheckReport, HostError> {
        self.look_for_damage(&handle, options).await
    }

    async fn drop(&mut self, handle: Resource<Repo>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
