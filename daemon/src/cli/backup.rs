//! `upkeep backup`: which snapshots there are, and what they hold given back. It works on the repositories themselves, so
//! it also works where the daemon does not.

mod cat;
mod check;
mod database;
mod diff;
mod drill;
mod find;
mod list;
mod ls;
mod reach;
mod restore;
mod verify;

use std::collections::BTreeMap;
use std::io::Write;

use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Screen, grouped};
use crate::config::dump::DumpGrant;
use crate::config::grant::RepositoryGrant;
use crate::repository::{RepositoryError, Snapshot};

pub mod release;

/// Look into backups and restore from them, without a daemon
#[derive(Debug, Clone, clap::Args)]
pub struct BackupArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Verb {
    List(list::ListArgs),
    Ls(ls::LsArgs),
    Cat(cat::CatArgs),
    Find(find::FindArgs),
    Diff(diff::DiffArgs),
    Restore(restore::RestoreArgs),
    Release(release::ReleaseArgs),
    Check(check::CheckArgs),
    Drill(drill::DrillArgs),
    Verify(verify::VerifyArgs),
}

impl BackupArgs {
    /// Whether it works on a repository that is named by its place, so that no task file is needed.
    pub(super) fn is_bare(&self) -> bool {
        match &self.verb {
            Verb::List(args) => args.place.is_bare(),
            Verb::Ls(args) => args.place.is_bare(),
            Verb::Cat(args) => args.place.is_bare(),
            Verb::Find(args) => args.place.is_bare(),
            Verb::Diff(args) => args.place.is_bare(),
            Verb::Restore(args) => args.place.is_bare(),
            Verb::Release(_) => false,
            Verb::Check(args) => args.place.is_bare(),
            Verb::Verify(args) => args.place.is_bare(),
            Verb::Drill(_) => false,
        }
    }

    /// A drill, which is a run and needs more than the repositories.
    pub(super) fn drill(&self) -> Option<&drill::DrillArgs> {
        match &self.verb {
            Verb::Drill(args) => Some(args),
            _ => None,
        }
    }
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
    /// The databases that the task dumps.
    pub dumps: &'a BTreeMap<String, DumpGrant>,
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
        Verb::Ls(args) => ls::ls(args, repositories, screen, out),
        Verb::Cat(args) => cat::cat(args, repositories, screen, out),
        Verb::Find(args) => find::find(args, repositories, screen, out),
        Verb::Diff(args) => diff::diff(args, repositories, screen, out),
        Verb::Restore(args) => restore::restore(args, repositories, screen, out),
        Verb::Check(args) => check::check(args, repositories, screen, out),
        Verb::Verify(args) => verify::verify(args, repositories, screen, out),
        // Done before, by whoever knows where the daemon is.
        Verb::Drill(_) => Ok(Exit::Done),
        Verb::Release(_) => Err(anyhow::anyhow!("holds are in the journal, and not in a repository")),
    }
}

impl BackupArgs {
    /// Whether holds are to be ended.
    pub fn release(&self) -> Option<&release::ReleaseArgs> {
        match &self.verb {
            Verb::Release(args) => Some(args),
            _ => None,
        }
    }

    /// Whether people are shown the snapshots, and of which task.
    pub fn lists(&self) -> Option<Option<&str>> {
        match &self.verb {
            Verb::List(args) => args.shown(),
            _ => None,
        }
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
            RepositoryError::Restore(_)
            | RepositoryError::Removal(_)
            | RepositoryError::Source(_)
            | RepositoryError::Cancelled
            | RepositoryError::Ended
            | RepositoryError::Damaged { .. }
            | RepositoryError::Locked { .. }
            | RepositoryError::ReadOnly { .. } => Exit::Unsuccessful,
            RepositoryError::Failed { .. } => Exit::Internal,
        };
        Self::split(exit, error.to_string())
    }
}

/// The task that made a snapshot.
fn task_of(snapshot: &Snapshot) -> Option<&str> {
    snapshot.tags.iter().find_map(|tag| tag.strip_prefix("upkeep:"))
}

/// `1 file`, `1,200 files`, `2 entries`.
fn count(number: u64, what: &str) -> String {
    let what = match (number, what.strip_suffix('y')) {
        (1, _) => what.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) => format!("{what}s"),
    };
    format!("{} {what}", grouped(number))
}

#[cfg(test)]
mod tests;
