//! Backup repositories in restic's format. The engine is [`crate::repository`]; here stand the grant, the events and the
//! names. The key stays in the host, and so does the path of every folder.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::abi::repository as abi;
use crate::capability::{Host, HostError, blocking, files};
use crate::config::grant::{FilesAccess, RepositoryAccess};
use crate::event::Event;
use crate::repository::source::FolderSource;
use crate::repository::{Label, Repository, RepositoryError, Source, Summary, Tell, Watch};
use crate::root::exclude::Exclude;

mod check;

/// A granted repository.
pub struct Repo {
    name: Arc<str>,
    access: Vec<RepositoryAccess>,
    repository: Repository,
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
            RepositoryError::Address { .. } | RepositoryError::Occupied { .. } | RepositoryError::Restore(_) => {
                Self::invalid(message)
            }
            // The operator can put these right while the daemon runs, so a later attempt may go well.
            RepositoryError::Secret { .. }
            | RepositoryError::Password(_)
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
            files: summary.files,
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            bytes: summary.bytes,
            bytes_added: summary.bytes_added,
            duration_ms: summary.duration_ms,
            problems: summary.problems,
        }
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
        Ok(blocking(move || repository.backup(&source, label, tell)).await??)
    }

    pub(crate) fn teller(&self) -> Tell {
        let (run, step) = (Arc::clone(&self.run), self.step);
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
        RepositoryAccess::Check => "check",
        RepositoryAccess::Restore => "restore",
    }
}

impl abi::Host for Host {}

impl abi::HostRepo for Host {
    async fn open(&mut self, name: String) -> Result<Resource<Repo>, HostError> {
        let Some(grant) = self.run.grants.repository.get(&name).cloned() else {
            return self.deny(format!("the repository `{name}` (the task file has no `grant.repository.{name}`)"));
        };
        let access = grant.access.clone();
        let may_make = access.contains(&RepositoryAccess::Append);
        let open = move || if may_make { Repository::open_or_make(&grant) } else { Repository::open(&grant) };
        let repository = blocking(open).await??;
        self.push(Repo { name: name.into(), access, repository })
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
        let watch = Watch::new(self.run.cancel.clone());
        let source = FolderSource::new(folder, exclude, options.max_size, options.one_filesystem, watch);
        Ok(self.archive(repository, source, options.tags).await?.into())
    }

    async fn snapshots(&mut self, handle: Resource<Repo>) -> Result<Vec<abi::Snapshot>, HostError> {
        let repository = self.repository_for(&handle, RepositoryAccess::List)?;
        let snapshots = blocking(move || repository.snapshots()).await??;
        Ok(snapshots
            .into_iter()
            .map(|snapshot| abi::Snapshot {
                id: snapshot.id,
                time: snapshot.time.0,
                host: snapshot.host,
                paths: snapshot.paths,
                tags: snapshot.tags,
            })
            .collect())
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
