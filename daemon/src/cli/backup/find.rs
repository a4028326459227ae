//! `upkeep backup find`: which snapshots hold a file, and in which versions.
//!
//! Snapshots share most of their folders. A folder that was looked through once, at the same place, is not read again.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustic_core::repofile::Node;
use rustic_core::{DataId, TreeId};
use serde::Serialize;

use super::TaskRepository;
use super::reach::{WhereArgs, moment};
use crate::capability::repository::task_tag;
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Ink, Screen, line, size};
use crate::clock::Timestamp;
use crate::repository::browse::{Entry, Kind, Reader};
use crate::repository::{RepositoryError, Snapshot};
use crate::root::exclude::Exclude;

/// Find a file in all snapshots, and which versions of it there are
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FindArgs {
    /// A name, a path or the end of one; `*`, `?` and `**` stand for anything
    pattern: String,
    /// Only snapshots that this task made
    #[arg(long)]
    task: Option<String>,
    /// Only snapshots of this time or younger, such as "2026-11-20 12:00"
    #[arg(long, value_name = "TIME")]
    newer: Option<String>,
    /// Only snapshots of this time or older
    #[arg(long, value_name = "TIME")]
    older: Option<String>,
    #[command(flatten)]
    pub(super) place: WhereArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A version of a file: the same in one snapshot or in several.
#[derive(Debug, Serialize)]
struct Version {
    repository: String,
    #[serde(flatten)]
    entry: Entry,
    /// Identifiers of the snapshots that hold it, oldest first.
    snapshots: Vec<String>,
    /// When the first of them was made.
    first: Timestamp,
    /// When the last of them was made.
    last: Timestamp,
    #[serde(skip)]
    content: Option<Vec<DataId>>,
}

/// What a folder holds of what is looked for.
type Hits = Rc<Vec<(PathBuf, Node)>>;

pub(super) fn find(
    args: &FindArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let time = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => moment(text, screen).map(Some).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("`{text}` is not a time"), "write it as \"2026-11-20 12:00\"")
        }),
    };
    // A minute is met by all of it: what is newer begins where it begins.
    let newer = time(&args.newer)?.map(|it| Timestamp(it.0 - 59_999));
    let older = time(&args.older)?;
    // Anywhere, as people mean it; a leading slash makes it the whole path.
    let pattern = if args.pattern.contains('/') && !args.pattern.starts_with(['/', '*']) {
        format!("**/{}", args.pattern)
    } else {
        args.pattern.clone()
    };
    let pattern = Exclude::new(&[pattern]).map_err(|error| {
        Failure::new(Exit::Usage, error, "write a name such as `config.json`, `*.jpg` or `uploads/2026/*`")
    })?;
    let reach = args.place.reach(repositories, args.task.as_deref())?;
    reach.is_open()?;
    reach.warn();
    let tag = args.task.as_deref().map(task_tag);
    let is_meant = |it: &&Snapshot| {
        tag.as_ref().is_none_or(|tag| it.tags.contains(tag))
            && newer.is_none_or(|newer| it.time >= newer)
            && older.is_none_or(|older| it.time <= older)
    };
    let mut versions: BTreeMap<PathBuf, Vec<Version>> = BTreeMap::new();
    let mut looked = 0;
    for shelf in &reach.shelves {
        let snapshots: Vec<_> = shelf.snapshots.iter().filter(is_meant).collect();
        if snapshots.is_empty() {
            continue;
        }
        let reader = shelf.repository.reader().map_err(Failure::from)?;
        let mut search = Search { reader: &reader, pattern: &pattern, known: HashMap::new() };
        for snapshot in snapshots {
            looked += 1;
            let top = reader.node(snapshot, Path::new("/")).map_err(Failure::from)?;
            for (path, node) in search.folder(Path::new("/"), &top).map_err(Failure::from)?.iter() {
                add(versions.entry(path.clone()).or_default(), &shelf.url, snapshot, path, node);
            }
        }
    }
    let versions: Vec<Version> = versions.into_values().flatten().collect();
    if args.json {
        let answer = serde_json::json!({ "snapshots_searched": looked, "found": versions });
        serde_json::to_writer_pretty(&mut *out, &answer).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write_found(&versions, looked, screen, out)?;
    }
    if !versions.is_empty() {
        return Ok(Exit::Done);
    }
    match reach.failures.into_iter().next() {
        Some(failure) => Err(failure.into()),
        None => Ok(Exit::NotFound),
    }
}

/// Notes a hit: with its version, or as a new one.
fn add(versions: &mut Vec<Version>, repository: &str, snapshot: &Snapshot, path: &Path, node: &Node) {
    let entry = Entry::new(path, node);
    let same = versions.iter_mut().find(|it| {
        it.repository == repository
            && (it.entry.kind, it.entry.size, &it.entry.target) == (entry.kind, entry.size, &entry.target)
            && (entry.kind == Kind::Folder || it.entry.modified == entry.modified)
            && it.content == node.content
    });
    match same {
        Some(version) => {
            version.snapshots.push(snapshot.id.clone());
            version.last = snapshot.time;
        }
        None => versions.push(Version {
            repository: repository.to_owned(),
            entry,
            snapshots: vec![snapshot.id.clone()],
            first: snapshot.time,
            last: snapshot.time,
            content: node.content.clone(),
        }),
    }
}

struct Search<'a> {
    reader: &'a Reader,
    pattern: &'a Exclude,
    known: HashMap<(PathBuf, TreeId), Hits>,
}

impl Search<'_> {
    /// What stands in a folder and beneath it. As deep as folders are in each other, which the kernel limits by the length
    /// of a path.
    fn folder(&mut self, path: &Path, folder: &Node) -> Result<Hits, RepositoryError> {
        let Some(tree) = folder.subtree else { return Ok(Hits::default()) };
        if let Some(known) = self.known.get(&(path.to_owned(), tree)) {
            return Ok(Rc::clone(known));
        }
        let mut hits = Vec::new();
        for node in self.reader.children(folder)? {
            let path = path.join(node.name());
            let relative = path.strip_prefix("/").unwrap_or(&path);
            let is_hit = self.pattern.matches(relative, node.is_dir());
            if node.is_dir() {
                let below = self.folder(&path, &node)?;
                hits.extend(below.iter().cloned());
            }
            if is_hit {
                hits.push((path, node));
            }
        }
        let hits = Rc::new(hits);
        self.known.insert((path.to_owned(), tree), Rc::clone(&hits));
        Ok(hits)
    }
}

fn write_found(versions: &[Version], looked: usize, screen: &Screen, out: &mut dyn Write) -> std::io::Result<()> {
    if versions.is_empty() {
        return writeln!(out, "nothing of that name in {looked} {}", snapshots(looked));
    }
    let mut last: Option<&str> = None;
    for version in versions {
        let Version { entry, snapshots: ids, first, last: until, .. } = version;
        if last != Some(&entry.path) {
            writeln!(out, "{}", screen.ink(Ink::Bold, &line(&entry.path)))?;
            last = Some(&entry.path);
        }
        let short = |id: &str| id.get(..8).unwrap_or(id).to_owned();
        let held = match &ids[..] {
            [only] => format!("in {} of {}", short(only), screen.minute(*first)),
            [one, .., other] => format!(
                "in {} {}, {} of {} to {} of {}",
                ids.len(),
                snapshots(ids.len()),
                short(one),
                screen.minute(*first),
                short(other),
                screen.minute(*until)
            ),
            [] => String::new(),
        };
        let what = match entry.kind {
            Kind::File => size(entry.size),
            Kind::Folder => "folder".to_owned(),
            Kind::Link => "link".to_owned(),
            _ => "special".to_owned(),
        };
        let modified = entry.modified.map_or("-".to_owned(), |time| screen.minute(time));
        writeln!(out, "  {what:>9}, modified {modified}")?;
        writeln!(out, "             {held}")?;
    }
    Ok(())
}

fn snapshots(count: usize) -> &'static str {
    if count == 1 { "snapshot" } else { "snapshots" }
}
