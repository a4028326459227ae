//! `upkeep backup restore`: what snapshots hold is given back.
//!
//! A restore puts everything below the target with its whole path, as restic does: several sources of a task then never
//! meet, and nothing lands where it came from by mistake.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{TaskRepository, of_task, one_of, short};
use crate::capability::repository::task_tag;
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Screen, grouped, size};
use crate::repository::restore::{RestoreOptions, Restored};
use crate::repository::{Repository, Snapshot};

/// Restore a snapshot below a folder and compare it with what was saved
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RestoreArgs {
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

pub(super) fn restore(
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
