//! `upkeep backup diff`: what changed between two snapshots, or since a snapshot.
//!
//! Folders that are the same in both snapshots are not read. Files are compared by what they hold between snapshots, and
//! by size and time with a folder as it is now.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustic_core::repofile::{Node, NodeType};
use serde::Serialize;

use super::TaskRepository;
use super::reach::{Chosen, WhereArgs, split};
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Ink, Screen, grouped, line, size};
use crate::repository::RepositoryError;
use crate::repository::browse::{Entry, Kind, Reader};

/// Show what changed between two snapshots, or between a snapshot and now
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DiffArgs {
    /// The older snapshot, and where in it to compare
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    one: String,
    /// The newer snapshot, or a folder as it is now [default: the folder that was saved]
    #[arg(value_name = "SNAPSHOT|FOLDER")]
    other: Option<String>,
    /// Only the sums
    #[arg(long)]
    stat: bool,
    /// Only snapshots that this task made
    #[arg(long)]
    task: Option<String>,
    #[command(flatten)]
    pub(super) place: WhereArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum How {
    Added,
    Removed,
    Changed,
    /// Mode, owner or time; not the content.
    Attributes,
}

/// Something that is not the same on both sides.
#[derive(Debug, Serialize)]
struct Change {
    how: How,
    path: String,
    kind: Kind,
    /// Bytes on the older side.
    before: Option<u64>,
    /// Bytes on the newer side.
    after: Option<u64>,
}

/// Sums of the changes: of entries, and of their bytes.
#[derive(Debug, Default, Serialize)]
struct Sums {
    added: u64,
    added_bytes: u64,
    removed: u64,
    removed_bytes: u64,
    changed: u64,
    changed_bytes: u64,
    attributes: u64,
}

/// One side of the comparison.
enum Side<'a> {
    Saved(&'a Reader, Box<Node>),
    Live(PathBuf),
}

/// An entry of a side.
struct Item<'a> {
    entry: Entry,
    side: Side<'a>,
}

pub(super) fn diff(
    args: &DiffArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let reach = args.place.reach(repositories, args.task.as_deref())?;
    let task = args.task.as_deref();
    let (name, path) = split(&args.one);
    let chosen = reach.one(name, task, path, screen)?;
    reach.warn();
    let reader = chosen.shelf.repository.reader().map_err(Failure::from)?;
    let path = match (path, &chosen.snapshot.paths[..]) {
        (Some(path), _) => path.to_owned(),
        (None, [only]) => PathBuf::from(only),
        (None, _) => PathBuf::from("/"),
    };
    let one = Side::Saved(&reader, Box::new(reader.node(chosen.snapshot, &path).map_err(Failure::from)?));
    let live = match args.other.as_deref() {
        None => Some(path.clone()),
        Some(other) if other.starts_with(['/', '.']) => Some(PathBuf::from(other)),
        Some(_) => None,
    };
    let second;
    let (other, other_title) = if let Some(folder) = live {
        if std::fs::symlink_metadata(&folder).is_err() {
            let message = format!("{} does not exist", folder.display());
            let help = "name a second snapshot, or the folder to compare with";
            return Err(Failure::new(Exit::NotFound, message, help).into());
        }
        let title = format!("{} now", folder.display());
        (Side::Live(folder), title)
    } else {
        let (name, other_path) = split(args.other.as_deref().unwrap_or_default());
        let other_path = other_path.unwrap_or(&path);
        // `latest` beside a snapshot means the newest of the same source.
        let chosen = reach.one(name, task, Some(other_path), screen)?;
        second = chosen.shelf.repository.reader().map_err(Failure::from)?;
        let node = second.node(chosen.snapshot, other_path).map_err(Failure::from)?;
        (Side::Saved(&second, Box::new(node)), title(chosen, screen))
    };
    let mut changes = Vec::new();
    let mut sums = Sums::default();
    compare(&path, one, other, &mut |change| {
        sums.add(&change);
        if !args.stat {
            changes.push(change);
        }
    })
    .map_err(Failure::from)?;
    let mut out = std::io::BufWriter::new(out);
    if args.json {
        let answer = match args.stat {
            true => serde_json::json!({ "sums": sums }),
            false => serde_json::json!({ "sums": sums, "changes": changes }),
        };
        serde_json::to_writer_pretty(&mut out, &answer).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        writeln!(out, "from {}", title(chosen, screen))?;
        writeln!(out, "to   {}", line(&other_title))?;
        for change in &changes {
            write_change(change, screen, &mut out)?;
        }
        sums.write(&mut out)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn title(chosen: Chosen<'_>, screen: &Screen) -> String {
    format!("{}, saved {}", chosen.snapshot.short(), screen.minute(chosen.snapshot.time))
}

impl Sums {
    fn add(&mut self, change: &Change) {
        let (before, after) = (change.before.unwrap_or(0), change.after.unwrap_or(0));
        match change.how {
            How::Added => (self.added, self.added_bytes) = (self.added + 1, self.added_bytes + after),
            How::Removed => (self.removed, self.removed_bytes) = (self.removed + 1, self.removed_bytes + before),
            How::Changed => (self.changed, self.changed_bytes) = (self.changed + 1, self.changed_bytes + after),
            How::Attributes => self.attributes += 1,
        }
    }

    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(
            out,
            "{} added ({}), {} removed ({}), {} changed ({}), {} with other attributes",
            grouped(self.added),
            size(self.added_bytes),
            grouped(self.removed),
            size(self.removed_bytes),
            grouped(self.changed),
            size(self.changed_bytes),
            grouped(self.attributes)
        )
    }
}

fn write_change(change: &Change, screen: &Screen, out: &mut dyn Write) -> std::io::Result<()> {
    let (sign, ink) = match change.how {
        How::Added => ("+", Ink::Green),
        How::Removed => ("-", Ink::Red),
        How::Changed => ("M", Ink::Yellow),
        How::Attributes => ("a", Ink::Dim),
    };
    let sizes = match (change.kind, change.before, change.after) {
        (Kind::File, Some(before), Some(after)) if before != after => format!("{} to {}", size(before), size(after)),
        (Kind::File, _, Some(bytes)) | (Kind::File, Some(bytes), None) => size(bytes),
        _ => String::new(),
    };
    let slash = if change.kind == Kind::Folder { "/" } else { "" };
    writeln!(out, "{} {sizes:>22}  {}{slash}", screen.ink(ink, sign), line(&change.path))
}

/// Compares what stands at `path` on both sides, folder by folder.
fn compare(path: &Path, one: Side<'_>, other: Side<'_>, tell: &mut dyn FnMut(Change)) -> Result<(), RepositoryError> {
    let mut pending = vec![(path.to_owned(), one, other)];
    while let Some((path, one, other)) = pending.pop() {
        if let (Side::Saved(_, one), Side::Saved(_, other)) = (&one, &other)
            && one.subtree.is_some()
            && one.subtree == other.subtree
        {
            continue;
        }
        if let (Side::Saved(_, node), Side::Live(live)) = (&one, &other)
            && !node.is_dir()
        {
            let (before, after) = (Entry::new(&path, node), live_entry(&path, live)?);
            changed(before, after, None, tell);
            continue;
        }
        let mut names: BTreeMap<OsString, (Option<Item<'_>>, Option<Item<'_>>)> = BTreeMap::new();
        for (name, item) in children(&path, one)? {
            names.entry(name).or_default().0 = Some(item);
        }
        for (name, item) in children(&path, other)? {
            names.entry(name).or_default().1 = Some(item);
        }
        // Later ones are pushed first, so that they come last.
        let mut folders = Vec::new();
        for (name, (before, after)) in names {
            let path = path.join(name);
            match (before, after) {
                (Some(before), Some(after)) => {
                    let is_folder = before.entry.kind == Kind::Folder && after.entry.kind == Kind::Folder;
                    changed(before.entry, after.entry, is_same_content(&before.side, &after.side), tell);
                    if is_folder {
                        folders.push((path, before.side, after.side));
                    }
                }
                (Some(before), None) => all(&path, before, How::Removed, tell)?,
                (None, Some(after)) => all(&path, after, How::Added, tell)?,
                (None, None) => {}
            }
        }
        pending.extend(folders.into_iter().rev());
    }
    Ok(())
}

/// Whether two files of snapshots hold the same; none where only looking at them would tell.
fn is_same_content(one: &Side<'_>, other: &Side<'_>) -> Option<bool> {
    match (one, other) {
        (Side::Saved(_, one), Side::Saved(_, other)) => Some(one.content == other.content),
        _ => None,
    }
}

fn changed(before: Entry, after: Entry, is_same_content: Option<bool>, tell: &mut dyn FnMut(Change)) {
    let is_other = before.kind != after.kind
        || before.target != after.target
        || before.kind == Kind::File
            && !is_same_content.unwrap_or((before.size, before.modified) == (after.size, after.modified));
    let attributes = |it: &Entry| (it.mode.clone(), it.uid, it.gid, (it.kind == Kind::File).then_some(it.modified));
    let how = if is_other {
        Some(How::Changed)
    } else {
        (before.kind != Kind::Link && attributes(&before) != attributes(&after)).then_some(How::Attributes)
    };
    if let Some(how) = how {
        let (path, kind) = (after.path, after.kind);
        tell(Change { how, path, kind, before: Some(before.size), after: Some(after.size) });
    }
}

/// All that stands beneath something that is only on one side.
fn all(path: &Path, item: Item<'_>, how: How, tell: &mut dyn FnMut(Change)) -> Result<(), RepositoryError> {
    let mut pending = vec![(path.to_owned(), item)];
    while let Some((path, item)) = pending.pop() {
        let bytes = Some(item.entry.size);
        let (before, after) = if how == How::Added { (None, bytes) } else { (bytes, None) };
        tell(Change { how, path: item.entry.path, kind: item.entry.kind, before, after });
        if item.entry.kind == Kind::Folder {
            let children = children(&path, item.side)?;
            pending.extend(children.into_iter().rev().map(|(name, item)| (path.join(name), item)));
        }
    }
    Ok(())
}

fn children<'a>(path: &Path, side: Side<'a>) -> Result<Vec<(OsString, Item<'a>)>, RepositoryError> {
    match side {
        Side::Saved(reader, node) => {
            let nodes = reader.children(&node)?;
            Ok(nodes
                .into_iter()
                .map(|node| {
                    let name = node.name().into_owned();
                    let entry = Entry::new(&path.join(&name), &node);
                    (name, Item { entry, side: Side::Saved(reader, Box::new(node)) })
                })
                .collect())
        }
        Side::Live(folder) => {
            let failed = |error| RepositoryError::Restore(format!("{} cannot be read: {error}", folder.display()));
            let mut found = Vec::new();
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let (name, live) = (entry.file_name(), entry.path());
                // What vanishes meanwhile is not there.
                if let Ok(entry) = live_entry(&path.join(&name), &live) {
                    found.push((name, Item { entry, side: Side::Live(live) }));
                }
            }
            found.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(found)
        }
    }
}

fn live_entry(path: &Path, live: &Path) -> Result<Entry, RepositoryError> {
    let failed = |error| RepositoryError::Restore(format!("{} cannot be read: {error}", live.display()));
    let found = std::fs::symlink_metadata(live).map_err(failed)?;
    let kind = found.file_type();
    let node_type = if kind.is_symlink() {
        NodeType::from_link(&std::fs::read_link(live).map_err(failed)?)
    } else if kind.is_dir() {
        NodeType::Dir
    } else if kind.is_file() {
        NodeType::File
    } else {
        NodeType::Fifo
    };
    let mut entry = Entry::new(path, &Node { node_type, ..Node::default() });
    entry.size = if kind.is_file() { found.len() } else { 0 };
    entry.mode = format!("{:04o}", found.mode() & 0o7777);
    (entry.uid, entry.gid) = (Some(found.uid()), Some(found.gid()));
    entry.modified = Some(crate::clock::Timestamp(found.mtime() * 1000 + found.mtime_nsec() / 1_000_000));
    Ok(entry)
}
