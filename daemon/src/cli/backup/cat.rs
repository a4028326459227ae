//! `upkeep backup cat`: the content of one file of a snapshot, to standard output. A dump can be piped into its database.

use std::io::Write;
use std::path::PathBuf;

use super::TaskRepository;
use super::reach::{WhereArgs, split};
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::Screen;

/// Write a file of a snapshot to standard output
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CatArgs {
    /// The snapshot: first digits, `latest` or a time
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: String,
    /// The file, as an absolute path
    path: Option<PathBuf>,
    /// Only snapshots that this task made
    #[arg(long)]
    task: Option<String>,
    #[command(flatten)]
    pub(super) place: WhereArgs,
}

pub(super) fn cat(
    args: &CatArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let (name, path) = match &args.path {
        Some(path) => (&*args.snapshot, Some(&**path)),
        None => split(&args.snapshot),
    };
    let Some(path) = path.filter(|path| path.is_absolute()) else {
        let help = "write it as the snapshot has it: `upkeep backup cat latest /srv/app/config.json`; \
                    `upkeep backup find NAME` finds it";
        return Err(Failure::new(Exit::Usage, "the file is not named by an absolute path", help).into());
    };
    let reach = args.place.reach(repositories, args.task.as_deref())?;
    let chosen = reach.one(name, args.task.as_deref(), Some(path), screen)?;
    reach.warn();
    let reader = chosen.shelf.repository.reader().map_err(Failure::from)?;
    let file = reader.node(chosen.snapshot, path).map_err(Failure::from)?;
    if !file.is_file() {
        let message = format!("{} is no file in the snapshot {}", path.display(), chosen.snapshot.short());
        let help = format!("`upkeep backup ls {}:{}` shows what it is", chosen.snapshot.short(), path.display());
        return Err(Failure::new(Exit::Usage, message, help).into());
    }
    reader.dump(&file, out).map_err(Failure::from)??;
    out.flush()?;
    Ok(Exit::Done)
}
