//! Plans of what is to be removed: shown after a dry run, written to a file, carried out from it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::{Exit, Failure};
use super::place::Place;
use super::run::Manner;
use super::screen::{Ink, Screen, line, size};
use super::table::{Cell, Table};
use crate::client::Client;
use crate::clock::Timestamp;
use crate::record::RunId;
use crate::removal::document::{self, Origin};
use crate::removal::plan::{Action, Head, Item, Kind, Plan};

/// Items of a root that a dry run shows.
const SHOWN: usize = 20;

/// Carry out a plan that `upkeep run TASK --dry-run --out FILE` wrote, and nothing else
#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// The file
    #[arg(value_name = "FILE")]
    plan: PathBuf,
    #[command(flatten)]
    manner: Manner,
}

impl ApplyArgs {
    pub(super) fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        self.manner.apply(place, self.plan, out)
    }
}

const SAME_VERSION: &str =
    "are `upkeep` and the daemon of the same version? `upkeep --version` and `upkeep status` tell";

/// A plan that is on the disk as a whole.
fn finish(out: BufWriter<File>, file: &Path) -> anyhow::Result<()> {
    let out = out.into_inner().map_err(std::io::IntoInnerError::into_error);
    Ok(out.and_then(|out| out.sync_all()).map_err(|error| unwritable(file, &error))?)
}

fn unwritable(file: &Path, error: &std::io::Error) -> Failure {
    let message = format!("{} cannot be written: {error}", file.display());
    Failure::new(Exit::Usage, message, "name a file in a folder that this user may write to")
}

/// What is told of a plan that cannot be read.
pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    let message = format!("{} cannot be read: {error}", file.display());
    Failure::new(Exit::Usage, message, "name the file that `upkeep run TASK --dry-run --out FILE` wrote")
}

/// A plan in files of its own, and what they are in.
pub(super) struct Planned {
    origin: Origin,
    plans: Vec<Plan>,
    _folder: Option<tempfile::TempDir>,
}

impl Planned {
    /// The plan that a run keeps in its folder; none when it made none.
    pub(super) fn kept(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(origin) = document::origin(folder)? else { return Ok(None) };
        Ok(Some(Self { origin, plans: Plan::all(folder)?, _folder: None }))
    }

    /// The plan of a run of the daemon, also written to `file`.
    pub(super) async fn fetch(client: &Client, run: &RunId, file: Option<&Path>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| unwritable(&std::env::temp_dir(), &error))?;
        let written = file.map_or_else(|| folder.path().join("plan.json"), Path::to_owned);
        let mut out = BufWriter::new(File::create(&written).map_err(|error| unwritable(&written, &error))?);
        client.plan(&run.0, &mut out).await?;
        finish(out, &written)?;
        let plans = folder.path().join("plans");
        let whole = File::open(&written).map_err(|error| unreadable(&written, &error))?;
        let origin =
            document::read(whole, &plans).map_err(|message| Failure::new(Exit::Internal, message, SAME_VERSION))?;
        Ok(Self { origin, plans: Plan::all(&plans)?, _folder: Some(folder) })
    }

    /// Writes it to a file, for `upkeep apply`.
    pub(super) fn save(&self, file: &Path) -> anyhow::Result<()> {
        let mut out = BufWriter::new(File::create(file).map_err(|error| unwritable(file, &error))?);
        document::write(&self.origin, &self.plans, &mut out)?;
        finish(out, file)
    }

    /// Shows what would be removed: the first of each root.
    pub(super) fn write_start(
        &self,
        screen: &Screen,
        run: &RunId,
        standalone: bool,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        for plan in &self.plans {
            let more = plan.head.items().saturating_sub(SHOWN as u64);
            self.write_root(screen, plan, SHOWN, out)?;
            if more > 0 {
                let task = &self.origin.task;
                let all = match standalone {
                    true => format!("upkeep run {task} --standalone --dry-run --out plan.json"),
                    false => format!("upkeep show {run} --plan"),
                };
                writeln!(out, "  and {more} more: {all}")?;
            }
        }
        Ok(())
    }

    /// Shows all of it.
    pub(super) fn write_all(&self, screen: &Screen, out: &mut dyn Write) -> anyhow::Result<()> {
        for plan in &self.plans {
            self.write_root(screen, plan, usize::MAX, out)?;
        }
        Ok(())
    }

    fn write_root(&self, screen: &Screen, plan: &Plan, most: usize, out: &mut dyn Write) -> anyhow::Result<()> {
        let Head { root, path, .. } = &plan.head;
        let title = format!("From {root} ({}): {}", path.display(), amounts(&plan.head));
        writeln!(out, "\n{}", screen.ink(Ink::Bold, &line(&title)))?;
        // Rows are aligned with each other, so that many of them come in parts.
        let mut items = plan.items()?.take(most).peekable();
        while items.peek().is_some() {
            let mut table = Table::new(["", "RULE", "SIZE", "MODIFIED", "WHY", "PATH"], 4);
            for item in items.by_ref().take(1_000) {
                table.row(row(screen, &item?));
            }
            table.write(screen, 2, out)?;
        }
        Ok(())
    }
}

/// What a plan amounts to: `12 files of 3.1 MiB go, and 2 folders; 1 file is compressed`.
fn amounts(head: &Head) -> String {
    let Head { files, folders, compressed, .. } = head;
    let count = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let mut parts = Vec::new();
    if files.items > 0 {
        parts.push(format!("{} of {} to remove", count(files.items, "file"), size(files.bytes)));
    }
    if *folders > 0 {
        parts.push(format!("{} to remove", count(*folders, "folder")));
    }
    if compressed.items > 0 {
        parts.push(format!("{} of {} to compress", count(compressed.items, "file"), size(compressed.bytes)));
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

fn row(screen: &Screen, item: &Item) -> [Cell; 6] {
    let act = match item.action {
        Action::Remove => "remove",
        Action::Gzip => "gzip",
        Action::Zstd => "zstd",
    };
    let is_folder = item.kind == Kind::Folder;
    let bytes = if is_folder { "-".to_owned() } else { size(item.size) };
    let path = if is_folder { format!("{}/", item.path) } else { item.path.clone() };
    let modified = screen.minute(Timestamp(item.modified_ns.div_euclid(1_000_000)));
    // The day will do.
    let day = modified.split(' ').next().unwrap_or_default();
    [act.into(), item.rule.as_str().into(), bytes.into(), day.into(), item.reason.as_str().into(), path.into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::tests::terminal;
    use crate::removal::plan::Writer;

    #[test]
    fn a_dry_run_shows_the_first_of_each_root() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(folder.path(), "uploads", Path::new("/srv/app/uploads")).unwrap();
        let modified_ns = (terminal().now.0 - 90 * 86_400_000) * 1_000_000;
        for number in 0..25 {
            let (kind, path) = if number == 0 { (Kind::Folder, "tmp/old") } else { (Kind::File, "tmp/微信图片") };
            let action = if number == 1 { Action::Gzip } else { Action::Remove };
            writer
                .add(&Item {
                    path: format!("{path}-{number}"),
                    kind,
                    action,
                    size: 3 << 20,
                    modified_ns,
                    device: 1,
                    inode: number,
                    unless_linked: None,
                    rule: "temporary uploads".into(),
                    reason: "90 days old".into(),
                })
                .unwrap();
        }
        writer.finish().unwrap();
        let origin = Origin {
            upkeep_plan: document::FORMAT,
            task: "cleanup".into(),
            host: "web-1".into(),
            run: "R".into(),
            made: Timestamp(0),
            fingerprint: "f".into(),
            steps: Vec::new(),
        };
        document::keep(&origin, folder.path()).unwrap();
        let planned = Planned::kept(folder.path()).unwrap().unwrap();
        let mut out = Vec::new();
        planned.write_start(&terminal(), &RunId("01KARX".into()), false, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
        let file = folder.path().join("plan.json");
        planned.save(&file).unwrap();
        let again = tempfile::tempdir().unwrap();
        assert_eq!(document::read(File::open(file).unwrap(), again.path()).unwrap(), origin);
        let plans = Plan::all(again.path()).unwrap();
        let items = |plan: &Plan| plan.items().unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!((&plans[0].head, items(&plans[0])), (&planned.plans[0].head, items(&planned.plans[0])));
    }
}
