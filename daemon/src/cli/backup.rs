//! `upkeep backup`: which snapshots there are, and what they hold given back. It works on the repositories themselves, so
//! it also works where the daemon does not.

mod list;
mod restore;

use std::io::Write;

use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::Screen;
use crate::config::grant::RepositoryGrant;
use crate::repository::{RepositoryError, Snapshot};

/// List the snapshots of the tasks' repositories, and restore from them
#[derive(Debug, Clone, clap::Args)]
pub struct BackupArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Verb {
    List(list::ListArgs),
    Restore(restore::RestoreArgs),
}

/// A repository that a task may use.
#[derive(Debug, Clone, Copy)]
pub struct TaskRepository<'a> {
    /// The task.
    pub task: &'a str,
    /// The name that the task file gives it.
    pub name: &'a str,
    /// Where it is, and its password.
    pub grant: &'a RepositoryGrant,
}

/// Does what was asked for, on the repositories of all tasks.
///
/// # Errors
///
/// [`Failure`] where the operator can do something about it.
pub fn backup(
    args: &BackupArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    match &args.verb {
        Verb::List(args) => list::list(args, repositories, screen, out),
        Verb::Restore(args) => restore::restore(args, repositories, screen, out),
    }
}

impl From<RepositoryError> for Failure {
    fn from(error: RepositoryError) -> Self {
        let exit = match error {
            RepositoryError::Missing(_) | RepositoryError::Snapshot { .. } => Exit::NotFound,
            RepositoryError::Address { .. }
            | RepositoryError::Secret { .. }
            | RepositoryError::Password(_)
            | RepositoryError::Occupied { .. } => Exit::Usage,
            RepositoryError::Restore(_) | RepositoryError::Source(_) | RepositoryError::Cancelled => Exit::Unsuccessful,
            RepositoryError::Failed { .. } => Exit::Internal,
        };
        Self::split(exit, error.to_string())
    }
}

/// The repositories of one task, or of all.
fn of_task<'a>(repositories: &[TaskRepository<'a>], task: Option<&str>) -> Result<Vec<TaskRepository<'a>>, Failure> {
    let found: Vec<_> =
        repositories.iter().copied().filter(|repository| task.is_none_or(|task| repository.task == task)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let help = "a task has one when its file holds `[grant.repository.NAME]`; `upkeep list` shows the tasks";
    Err(match task {
        Some(task) => Failure::new(Exit::NotFound, format!("there is no task `{task}` with a repository"), help),
        None => Failure::new(Exit::NotFound, "no task has a repository", help),
    })
}

/// The repository that is meant.
fn one_of<'a>(found: &[TaskRepository<'a>], name: Option<&str>) -> Result<&'a RepositoryGrant, Failure> {
    let named = |name: &str| found.iter().find(|repository| repository.name == name);
    let names = || found.iter().map(|repository| repository.name).collect::<Vec<_>>().join(", ");
    match (name, found) {
        (Some(name), _) => named(name).map(|repository| repository.grant).ok_or_else(|| {
            let help = format!("it has: {}", names());
            Failure::new(Exit::NotFound, format!("the task has no repository `{name}`"), help)
        }),
        (None, [only]) => Ok(only.grant),
        (None, _) => {
            let help = format!("name one with `--repository`: {}", names());
            Err(Failure::new(Exit::Usage, "the task has several repositories", help))
        }
    }
}

fn short(snapshot: &Snapshot) -> &str {
    snapshot.id.get(..8).unwrap_or(&snapshot.id)
}

#[cfg(test)]
mod tests;
