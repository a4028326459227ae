//! `upkeep backup verify`: whether a restored tree is what was saved.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::reach::WhereArgs;
use super::restore::{take_databases, write_differences};
use super::{TaskRepository, count};
use crate::cli::failure::{Exit, Failure};
use crate::cli::progress::Meter;
use crate::cli::screen::{Screen, line, size};
use crate::repository::RepositoryError;
use crate::repository::restore::Request;

/// Compare a restored folder with a snapshot: content, mode, times, owners, links
#[derive(Debug, Clone, clap::Args)]
pub(super) struct VerifyArgs {
    /// A snapshot, or a task for the newest of each of its sources
    #[arg(value_name = "SNAPSHOT|TASK")]
    what: String,
    /// The folder that was restored below; `/` compares with the old place
    #[arg(long, value_name = "DIR")]
    target: PathBuf,
    /// Compare only this file or folder (absolute, as it was saved)
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Owners are the saved numbers of users
    #[arg(long)]
    numeric_owner: bool,
    #[command(flatten)]
    pub(super) place: WhereArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(
    args: &VerifyArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let task = repositories.iter().any(|it| it.task == args.what).then_some(&*args.what);
    let reach = args.place.reach(repositories, task)?;
    let mut chosen = match task.or(reach.knows(&args.what).then_some(&*args.what)) {
        Some(task) => reach.each("latest", Some(task), args.path.as_deref(), screen)?,
        None => reach.each(&args.what, None, args.path.as_deref(), screen)?,
    };
    reach.warn();
    if args.target == Path::new("/") {
        for (_, name) in take_databases(&mut chosen) {
            if !args.json {
                writeln!(out, "The database {} has no place among the files: not compared", line(&name))?;
            }
        }
    }
    // A file that was saved for itself is compared with that, and not with its copy in the folder.
    let is_file = |path: &Path| {
        chosen.iter().any(|it| it.snapshot.files == Some(1) && it.snapshot.paths == [path.to_string_lossy()])
    };
    let (mut told, mut exit, mut missing) = (Vec::new(), Exit::Done, None);
    for it in &chosen {
        let others = chosen.iter().filter(|other| other.snapshot.id != it.snapshot.id);
        let paths = others.flat_map(|other| &other.snapshot.paths).map(PathBuf::from).filter(|path| is_file(path));
        let skip: Vec<_> = paths
            .flat_map(|path| {
                ["", "-wal", "-shm", "-journal"].map(|it| PathBuf::from(format!("{}{it}", path.display())))
            })
            .collect();
        let reader = it.shelf.repository.reader().map_err(Failure::from)?;
        let request = Request {
            only: args.path.as_deref(),
            skip: &skip,
            numeric_owner: args.numeric_owner,
            ..Request::new(it.snapshot, Path::new("/"), &args.target)
        };
        let meter = Meter::new(&it.snapshot.paths.join(" "));
        let compared = reader.verify(&request, meter.tell());
        meter.clear();
        let compared = match compared {
            Ok(compared) => compared,
            Err(error @ RepositoryError::Snapshot { .. }) => {
                missing = Some(error);
                continue;
            }
            Err(error) => return Err(Failure::from(error).into()),
        };
        if !compared.differences.is_empty() {
            exit = Exit::Unsuccessful;
        }
        if !args.json {
            let (files, folders) = (count(compared.files, "file"), count(compared.folders, "folder"));
            let (id, time) = (it.snapshot.short(), screen.minute(it.snapshot.time));
            let paths = it.snapshot.paths.join(" ");
            writeln!(out, "{id}, saved {time}, {}", line(&paths))?;
            writeln!(out, "  {files} in {folders}, {} compared with {}", size(compared.bytes), args.target.display())?;
            write_differences(&compared.differences, "equal to what was saved", screen, out)?;
        }
        told.push(serde_json::json!({ "snapshot": it.snapshot, "compared": compared }));
    }
    if let (true, Some(error)) = (told.is_empty(), missing) {
        return Err(Failure::from(error).into());
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &serde_json::json!({ "snapshots": told }))
            .map_err(std::io::Error::from)?;
        writeln!(out)?;
    }
    Ok(exit)
}
