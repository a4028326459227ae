//! `upkeep backup`: which snapshots there are, and what they hold given back. It works on the repositories themselves, so
//! it also works where the daemon does not.
//!
//! A restore puts everything below the target with its whole path, as restic does: several sources of a task then never
//! meet, and nothing lands where it came from by mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::capability::repository::task_tag;
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Screen, grouped, size};
use crate::cli::table::Table;
use crate::config::grant::RepositoryGrant;
use crate::repository::restore::{RestoreOptions, Restored};
use crate::repository::{Repository, RepositoryError, Snapshot};

/// List the snapshots of the tasks' repositories, and restore from them
#[derive(Debug, Clone, clap::Args)]
pub struct BackupArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Verb {
    List(ListArgs),
    Restore(RestoreArgs),
}

/// List snapshots, oldest first
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// Only those that this task made
    task: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Restore a snapshot below a folder and compare it with what was saved
#[derive(Debug, Clone, clap::Args)]
pub struct RestoreArgs {
    /// The task that made it
    task: String,
    /// First digits of its identifier; `latest` takes the newest of each source
    #[arg(default_value = "latest")]
    snapshot: String,
    /// The folder to restore below: what was in /srv/app comes to DIR/srv/app
    #[arg(long, value_name = "DIR")]
    target: PathBuf,
    /// Restore only this file or folder (absolute)
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Name of the repository, where the task has several
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    /// Say what would be restored, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Allow a target that holds something; equal paths are replaced
    #[arg(long)]
    overwrite: bool,
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
        Verb::List(args) => list(args, repositories, screen, out),
        Verb::Restore(args) => restore(args, repositories, screen, out),
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
            | RepositoryError::Cancelled
            | RepositoryError::Locked { .. }
            | RepositoryError::ReadOnly { .. } => Exit::Unsuccessful,
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

/// A line of the list; this is the JSON object.
#[derive(Debug, Serialize)]
struct Row<'a> {
    repository: &'a str,
    #[serde(flatten)]
    snapshot: Snapshot,
}

fn list(
    args: &ListArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let tag = args.task.as_deref().map(task_tag);
    let mut places = BTreeMap::new();
    for repository in of_task(repositories, args.task.as_deref())? {
        places.insert(repository.grant.url.as_str(), repository.grant);
    }
    let (mut rows, mut missing, mut failure) = (Vec::new(), BTreeSet::new(), None);
    for (url, grant) in places {
        match Repository::open(grant).and_then(|repository| repository.snapshots()) {
            Ok(snapshots) => rows.extend(
                snapshots
                    .into_iter()
                    .filter(|snapshot| tag.as_ref().is_none_or(|tag| snapshot.tags.contains(tag)))
                    .map(|snapshot| Row { repository: url, snapshot }),
            ),
            Err(RepositoryError::Missing(url)) => drop(missing.insert(url)),
            // The other repositories are listed all the same.
            Err(error) => failure = failure.or(Some(Failure::from(error))),
        }
    }
    rows.sort_by_key(|row| row.snapshot.time);
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &serde_json::json!({ "snapshots": rows }))
            .map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write_list(&rows, screen, out)?;
        for url in missing {
            writeln!(out, "no backup yet in {url}")?;
        }
    }
    failure.map_or(Ok(Exit::Done), |failure| Err(failure.into()))
}

fn write_list(rows: &[Row<'_>], screen: &Screen, out: &mut dyn Write) -> std::io::Result<()> {
    let time = format!("TIME ({})", screen.zone_note());
    let mut table = Table::new(["SNAPSHOT", time.as_str(), "TASK", "FILES", "SIZE", "PATHS"], 5);
    for Row { snapshot, .. } in rows {
        let task = snapshot.tags.iter().find_map(|tag| tag.strip_prefix("upkeep:")).unwrap_or("-");
        table.row([
            short(snapshot).into(),
            screen.minute(snapshot.time).into(),
            task.into(),
            snapshot.files.map_or("-".to_owned(), grouped).into(),
            snapshot.bytes.map_or("-".to_owned(), size).into(),
            snapshot.paths.join(" ").into(),
        ]);
    }
    match table.is_empty() {
        true => Ok(()),
        false => table.write(screen, 0, out),
    }
}

fn short(snapshot: &Snapshot) -> &str {
    snapshot.id.get(..8).unwrap_or(&snapshot.id)
}

fn restore(
    args: &RestoreArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    if args.path.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err(
            Failure::new(Exit::Usage, "`--path` is not absolute", "write it as the snapshot has it: /srv/app").into()
        );
    }
    let grant = one_of(&of_task(repositories, Some(&args.task))?, args.repository.as_deref())?;
    let repository = Repository::open(grant).map_err(Failure::from)?;
    let chosen = choose(args, &repository)?;
    if !args.overwrite && !args.dry_run && is_occupied(&args.target) {
        let message = format!("{} holds something already", args.target.display());
        return Err(Failure::new(Exit::Usage, message, "choose an empty folder, or allow it with `--overwrite`").into());
    }
    let mut exit = Exit::Done;
    for snapshot in chosen {
        let path = args.path.as_deref().unwrap_or(Path::new("/"));
        let target = args.target.join(path.strip_prefix("/").unwrap_or(path));
        // The target as a whole was looked at; the second source finds what the first one made.
        let options = RestoreOptions { overwrite: true, dry_run: args.dry_run };
        let restored = repository.restore(&snapshot, path, &target, options, Arc::new(|_, _| {}));
        let restored = restored.map_err(Failure::from)?;
        if !args.dry_run {
            remove_foreign_journals(&snapshot, &args.target)?;
        }
        write_restored(args, &snapshot, &restored, screen, out)?;
        if !restored.differences.is_empty() {
            exit = Exit::Unsuccessful;
        }
    }
    Ok(exit)
}

/// Where a folder's snapshot brought back a database with its journal, and the dump of that database replaced it, the
/// journal belongs to another state: SQLite would play it into the database that was just restored.
fn remove_foreign_journals(snapshot: &Snapshot, target: &Path) -> std::io::Result<()> {
    for path in &snapshot.paths {
        let database = target.join(path.trim_start_matches('/'));
        if !is_sqlite(&database) {
            continue;
        }
        for suffix in ["-wal", "-shm", "-journal"] {
            let mut journal = database.clone().into_os_string();
            journal.push(suffix);
            match std::fs::remove_file(&journal) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_sqlite(path: &Path) -> bool {
    let mut start = [0; 16];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut start));
    read.is_ok() && start == *b"SQLite format 3\0"
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

/// The snapshots that are meant: one by its identifier, or the newest of each source of the task.
fn choose(args: &RestoreArgs, repository: &Repository) -> Result<Vec<Snapshot>, Failure> {
    if args.snapshot != "latest" {
        return Ok(vec![repository.find(&args.snapshot, |_| true)?]);
    }
    let tag = task_tag(&args.task);
    let mut newest = BTreeMap::new();
    for snapshot in repository.snapshots()? {
        if snapshot.tags.contains(&tag) && args.path.as_deref().is_none_or(|path| has(&snapshot, path)) {
            newest.insert(snapshot.paths.clone(), snapshot);
        }
    }
    if newest.is_empty() {
        let what = args.path.as_ref().map(|path| format!(" of {}", path.display())).unwrap_or_default();
        let message = format!("the task `{}` has no snapshot{what} yet", args.task);
        return Err(Failure::new(Exit::NotFound, message, "`upkeep backup list` shows what there is"));
    }
    Ok(newest.into_values().collect())
}

/// Whether a path may be in a snapshot.
fn has(snapshot: &Snapshot, path: &Path) -> bool {
    snapshot.paths.iter().any(|saved| path.starts_with(saved) || Path::new(saved).starts_with(path))
}

fn is_occupied(target: &Path) -> bool {
    match std::fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => target.symlink_metadata().is_ok(),
    }
}

fn write_restored(
    args: &RestoreArgs,
    snapshot: &Snapshot,
    restored: &Restored,
    screen: &Screen,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let number = |count: u64, what: &str| format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" });
    let (files, folders) = (number(restored.files, "file"), number(restored.folders, "folder"));
    let (id, time) = (short(snapshot), screen.minute(snapshot.time));
    writeln!(out, "{id}, saved {time}: {files} in {folders}, {}", size(restored.bytes))?;
    let saved = match &args.path {
        Some(path) => vec![path.display().to_string()],
        None => snapshot.paths.clone(),
    };
    for path in saved {
        let did = if args.dry_run { "would be restored" } else { "restored" };
        writeln!(out, "  {did} to {}{path}", args.target.display())?;
    }
    if !restored.differences.is_empty() {
        writeln!(out, "  but not as it was saved:")?;
        for difference in &restored.differences {
            writeln!(out, "    {difference}")?;
        }
    } else if !args.dry_run {
        writeln!(out, "  read again and equal to what was saved")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
