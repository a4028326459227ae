//! `upkeep backup ls`: what a snapshot holds, as `ls -l` shows it.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::TaskRepository;
use super::reach::{WhereArgs, split};
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Screen, line, size};
use crate::repository::browse::{Descend, Entry, Kind};

/// Show what a snapshot holds
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LsArgs {
    /// The snapshot, and a path in it: `85fc0e91:/srv/app`, `latest:/srv/app`, `"2026-11-20 12:00:/srv/app"`
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    what: String,
    /// Go into folders
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Only snapshots that this task made
    #[arg(long)]
    task: Option<String>,
    #[command(flatten)]
    pub(super) place: WhereArgs,
    /// Print JSON: one object, then one entry a line
    #[arg(long)]
    json: bool,
}

pub(super) fn ls(
    args: &LsArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let (name, path) = split(&args.what);
    let reach = args.place.reach(repositories, args.task.as_deref())?;
    let chosen = reach.one(name, args.task.as_deref(), path, screen)?;
    reach.warn();
    let snapshot = chosen.snapshot;
    let reader = chosen.shelf.repository.reader().map_err(Failure::from)?;
    let path = match path {
        Some(path) => path.to_owned(),
        None => top(&snapshot.paths),
    };
    let node = reader.node(snapshot, &path).map_err(Failure::from)?;
    let mut out = std::io::BufWriter::new(out);
    if args.json {
        serde_json::to_writer(&mut out, &serde_json::json!({ "snapshot": snapshot, "path": path }))
            .map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        let (id, time) = (snapshot.short(), screen.minute(snapshot.time));
        writeln!(out, "{id}, saved {time} ({}), {}", screen.zone_note(), line(&path.to_string_lossy()))?;
    }
    if !node.is_dir() {
        return Ok(write(&Entry::new(&path, &node), None, args.json, screen, &mut out).map(|()| Exit::Done)?);
    }
    reader.walk(&node, &path, &mut |at, node| -> anyhow::Result<Descend> {
        write(&Entry::new(at, node), Some(&path), args.json, screen, &mut out)?;
        Ok(if args.recursive { Descend::Into } else { Descend::Over })
    })?;
    Ok(out.flush().map(|()| Exit::Done)?)
}

/// The folder that holds all that was saved.
fn top(paths: &[String]) -> PathBuf {
    match paths {
        [only] => PathBuf::from(only),
        _ => PathBuf::from("/"),
    }
}

/// One line; names are shown below `folder`.
fn write(
    entry: &Entry,
    folder: Option<&Path>,
    json: bool,
    screen: &Screen,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, entry)?;
        return writeln!(out);
    }
    let owner = |name: &Option<String>, number: Option<u32>| {
        name.clone().or(number.map(|number| number.to_string())).unwrap_or_else(|| "?".to_owned())
    };
    let name = folder.and_then(|folder| Path::new(&entry.path).strip_prefix(folder).ok());
    let name = name.map_or(entry.path.clone().into(), Path::to_string_lossy);
    let ending = match (&entry.target, entry.kind) {
        (Some(target), _) => format!(" -> {}", line(target)),
        (None, Kind::Folder) => "/".to_owned(),
        (None, _) => String::new(),
    };
    writeln!(
        out,
        "{} {:<8} {:<8} {:>9}  {:<16}  {}{ending}",
        permissions(entry),
        line(&owner(&entry.user, entry.uid)),
        line(&owner(&entry.group, entry.gid)),
        if entry.kind == Kind::File { size(entry.size) } else { "-".to_owned() },
        entry.modified.map_or("-".to_owned(), |time| screen.minute(time)),
        line(&name)
    )
}

/// `-rwxr-x---`, as `ls` has it.
fn permissions(entry: &Entry) -> String {
    let mode = u32::from_str_radix(&entry.mode, 8).unwrap_or(0);
    let kind = match entry.kind {
        Kind::File => '-',
        Kind::Folder => 'd',
        Kind::Link => 'l',
        Kind::Device => 'b',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
    };
    let mut text = String::from(kind);
    for (shift, special, both, alone) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => both,
            (false, true) => alone,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_shown_as_ls_does() {
        let shown = |kind, mode: u32| {
            let (path, mode) = (String::new(), format!("{mode:04o}"));
            let (uid, gid, user, group, modified, target) = (None, None, None, None, None, None);
            permissions(&Entry { path, kind, mode, uid, gid, user, group, size: 0, modified, target })
        };
        assert_eq!(shown(Kind::File, 0o644), "-rw-r--r--");
        assert_eq!(shown(Kind::File, 0o6755), "-rwsr-sr-x");
        assert_eq!(shown(Kind::Folder, 0o1777), "drwxrwxrwt");
        assert_eq!(shown(Kind::Link, 0o1640), "lrw-r----T");
    }
}
