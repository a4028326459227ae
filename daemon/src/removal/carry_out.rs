//! Carrying out the plan of a root.
//!
//! Each item is looked at again where it stands, in the open folder that holds it, and only then acted on. Files go as the
//! plan has them, folders after all else and those within before those above, each only when it is empty by then. That
//! some items cannot go does not keep the others from going: what became of each is counted.

use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::aside::{Aside, Unmoved};
use super::compress::{Uncompressed, compress};
use super::plan::{Action, Item, Kind, Plan};
use super::protect::Protected;
use super::writers::Writers;
use super::{RemovalError, Total};
use crate::root::{Parents, Place, Root, RootError, path};

/// Problems that are kept; further ones are counted by their kind.
const MOST_PROBLEMS: usize = 100;

/// Items whose lines in the ledger become durable together.
const BATCH: usize = 1_024;

/// What a plan is carried out with.
pub struct Means<'a> {
    /// The folder.
    pub root: &'a Root,
    /// What stays whatever the plan says.
    pub protected: &'a Protected,
    /// Where things go; none when they go for good.
    pub aside: Option<Aside>,
    /// Ends it between two items.
    pub cancel: &'a CancellationToken,
    /// Is told that one more item is done.
    pub tell: &'a dyn Fn(),
}

/// What became of the items of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Gone, or moved aside.
    pub removed: Total,
    /// Whether they were moved aside.
    pub aside: bool,
    /// Compressed; the bytes are those that are free now.
    pub compressed: Total,
    /// Kept, since it is not what was seen.
    pub changed: Total,
    /// Kept, since it is in use.
    pub in_use: Total,
    /// Folders that something stands in.
    pub filled: u64,
    /// Gone before.
    pub gone: u64,
    /// Not removed, although it was to be.
    pub failed: Total,
    /// The first of what was kept or failed, as `path: reason`.
    pub problems: Vec<String>,
    /// Processes whose open files could not be looked at.
    pub unseen: u64,
}

/// What became of one item.
enum Fate {
    Removed,
    Compressed(u64),
    Changed,
    InUse(String),
    Filled,
    Gone,
    Failed(String),
}

impl Done {
    fn count(&mut self, item: &Item, fate: Fate) {
        let mut problem = |reason: &dyn std::fmt::Display| {
            if self.problems.len() < MOST_PROBLEMS {
                self.problems.push(format!("{}: {reason}", item.path));
            }
        };
        // A folder's own size is no data.
        let size = if item.kind == Kind::Folder { 0 } else { item.size };
        match fate {
            Fate::Removed => self.removed.add(size),
            Fate::Compressed(now) => self.compressed.add(size.saturating_sub(now)),
            Fate::Changed => {
                problem(&"it has changed since it was planned");
                self.changed.add(size);
            }
            Fate::InUse(by) => {
                problem(&by);
                self.in_use.add(size);
            }
            Fate::Filled => self.filled += 1,
            Fate::Gone => self.gone += 1,
            Fate::Failed(reason) => {
                problem(&reason);
                self.failed.add(size);
            }
        }
    }
}

/// Carries a plan out.
///
/// # Errors
///
/// When the plan or the ledger cannot be read or written, or the run was ended; what was done until then is done.
pub fn carry_out(plan: &Plan, means: Means<'_>) -> Result<Done, RemovalError> {
    let device = rustix::fs::fstat(means.root.folder()).map_err(|errno| root_failed(means.root, errno))?.st_dev;
    let parents = means.root.parents();
    let mut done = Done { aside: means.aside.is_some(), ..Done::default() };
    let mut worker = Worker { means, parents, writers: Writers::new(device), device };
    let mut folders = Vec::new();
    let mut batch = Vec::with_capacity(BATCH);
    for item in plan.items()? {
        let item = item?;
        if item.kind == Kind::Folder {
            folders.push(item);
            continue;
        }
        batch.push(item);
        if batch.len() == BATCH {
            worker.files(&mut batch, &mut done)?;
        }
    }
    worker.files(&mut batch, &mut done)?;
    // In a plan, those above stand before those within.
    worker.folders(folders, &mut done)?;
    done.unseen = worker.writers.unseen();
    Ok(done)
}

/// Whether all that a plan names is as it was seen; the first that is not, otherwise.
///
/// # Errors
///
/// [`RemovalError::Stale`] with the number of those that have changed.
pub fn check(plan: &Plan, root: &Root) -> Result<(), RemovalError> {
    let mut parents = root.parents();
    let (mut changed, mut first) = (0_u64, Vec::new());
    for item in plan.items()? {
        let item = item?;
        let path = path_of(&item)?;
        let now = parents.place(&path).map_err(|error| error.to_string());
        let now = now.and_then(|place| place.stat().map_err(|errno| std::io::Error::from(errno).to_string()));
        if !now.is_ok_and(|stat| item.is_same(&stat)) {
            changed += 1;
            if first.len() < 3 {
                first.push(item.path);
            }
        }
    }
    match changed {
        0 => Ok(()),
        changed => {
            let more = if changed > first.len() as u64 { ", ..." } else { "" };
            Err(RemovalError::Stale(format!(
                "{changed} of {} things in `{}` have changed or gone since: {}{more}",
                plan.head.items(),
                plan.head.root,
                first.join(", ")
            )))
        }
    }
}

fn root_failed(root: &Root, errno: Errno) -> RemovalError {
    RemovalError::Root(format!("{}: {}", root.path().display(), std::io::Error::from(errno)))
}

fn path_of(item: &Item) -> Result<PathBuf, RemovalError> {
    path::parse(&item.path).map_err(|error| RemovalError::Root(error.to_string()))
}

struct Worker<'a> {
    means: Means<'a>,
    parents: Parents<'a>,
    writers: Writers,
    device: u64,
}

impl Worker<'_> {
    fn files(&mut self, batch: &mut Vec<Item>, done: &mut Done) -> Result<(), RemovalError> {
        let mut numbers = Vec::new();
        if let Some(aside) = &mut self.means.aside {
            for item in batch.iter().filter(|item| item.action == Action::Remove) {
                numbers.push(aside.announce(item)?);
            }
            if !numbers.is_empty() {
                aside.sync()?;
            }
        }
        let mut numbers = numbers.into_iter();
        for item in batch.drain(..) {
            if self.means.cancel.is_cancelled() {
                return Err(RemovalError::Cancelled);
            }
            let number = if item.action == Action::Remove { numbers.next() } else { None };
            let fate = self.file(&item, number)?;
            done.count(&item, fate);
            (self.means.tell)();
        }
        Ok(())
    }

    fn file(&mut self, item: &Item, number: Option<u64>) -> Result<Fate, RemovalError> {
        let path = path_of(item)?;
        if let Some(fate) = self.keeps(item, &path) {
            return Ok(fate);
        }
        let place = match self.parents.place(&path) {
            Ok(place) => place,
            Err(error) => return Ok(no_place(error)),
        };
        let seen = match place.stat() {
            Ok(stat) if item.is_same(&stat) && stat.st_dev == self.device => stat,
            Ok(_) => return Ok(Fate::Changed),
            Err(Errno::NOENT) => return Ok(Fate::Gone),
            Err(errno) => return Ok(failed(errno)),
        };
        if item.kind == Kind::File
            && let Some(writer) = self.writers.of(seen.st_ino)
        {
            return Ok(Fate::InUse(format!("{writer} writes to it")));
        }
        if item.action != Action::Remove {
            return Ok(match compress(place, item, &seen) {
                Ok(size) => Fate::Compressed(size),
                Err(Uncompressed::Changed) => Fate::Changed,
                Err(Uncompressed::Failed(reason)) => Fate::Failed(format!("not compressed: {reason}")),
            });
        }
        Ok(match (&mut self.means.aside, number) {
            (Some(aside), Some(number)) => match aside.take(number, place, item, &path) {
                Ok(()) => Fate::Removed,
                Err(Unmoved::Changed) => Fate::Changed,
                Err(Unmoved::Errno(Errno::NOENT)) => Fate::Gone,
                Err(Unmoved::Errno(errno)) => failed(errno),
            },
            _ => unlink(place, AtFlags::empty()),
        })
    }

    /// Why an item stays, before it is looked at.
    fn keeps(&self, item: &Item, path: &Path) -> Option<Fate> {
        if let Some(reason) = self.means.protected.refuses(path, item.kind == Kind::Folder) {
            return Some(Fate::Failed(reason));
        }
        let link = item.unless_linked.as_ref()?;
        let Ok(link_path) = path::parse(link) else { return Some(Fate::Failed(format!("`{link}` is no path"))) };
        match self.means.root.resolve(&link_path) {
            Ok(end) if path.starts_with(&end) || end.starts_with(path) => {
                Some(Fate::InUse(format!("the link `{link}` leads there now")))
            }
            // Where it leads outside, or nowhere, it does not lead here.
            Ok(_) | Err(_) => None,
        }
    }

    fn folders(&mut self, mut folders: Vec<Item>, done: &mut Done) -> Result<(), RemovalError> {
        // Those within before those above, whatever the order of the plan.
        folders.sort_by(|one, other| other.path.cmp(&one.path));
        for batch in folders.chunks(BATCH) {
            if self.means.aside.is_some() {
                self.announce_folders(batch)?;
            }
            for item in batch {
                if self.means.cancel.is_cancelled() {
                    return Err(RemovalError::Cancelled);
                }
                let fate = self.folder(item)?;
                done.count(item, fate);
                (self.means.tell)();
            }
        }
        Ok(())
    }

    fn announce_folders(&mut self, batch: &[Item]) -> Result<(), RemovalError> {
        let Some(aside) = &mut self.means.aside else { return Ok(()) };
        for item in batch {
            let path = path_of(item)?;
            if let Ok(place) = self.parents.place(&path)
                && let Ok(stat) = place.stat()
                && item.is_same(&stat)
            {
                aside.announce_folder(item, place, &stat)?;
            }
        }
        aside.sync()
    }

    fn folder(&mut self, item: &Item) -> Result<Fate, RemovalError> {
        let path = path_of(item)?;
        if let Some(fate) = self.keeps(item, &path) {
            return Ok(fate);
        }
        let place = match self.parents.place(&path) {
            Ok(place) => place,
            Err(error) => return Ok(no_place(error)),
        };
        Ok(match place.stat() {
            Ok(stat) if item.is_same(&stat) && stat.st_dev == self.device => unlink(place, AtFlags::REMOVEDIR),
            Ok(_) => Fate::Changed,
            Err(Errno::NOENT) => Fate::Gone,
            Err(errno) => failed(errno),
        })
    }
}

fn unlink(place: Place<'_>, flags: AtFlags) -> Fate {
    match rustix::fs::unlinkat(place.folder, place.name, flags) {
        Ok(()) => Fate::Removed,
        Err(Errno::NOENT) => Fate::Gone,
        Err(Errno::NOTEMPTY | Errno::EXIST) => Fate::Filled,
        // Exchanged for the other kind of thing a moment ago.
        Err(Errno::ISDIR | Errno::NOTDIR) => Fate::Changed,
        Err(errno) => failed(errno),
    }
}

fn no_place(error: RootError) -> Fate {
    match error {
        RootError::NotFound(_) => Fate::Gone,
        // A link stands where a folder was.
        RootError::Invalid { .. } | RootError::Escape(_) => Fate::Changed,
        error @ RootError::Io { .. } => Fate::Failed(error.to_string()),
    }
}

fn failed(errno: Errno) -> Fate {
    let error = std::io::Error::from(errno);
    let remedy = match errno {
        Errno::PERM | Errno::ACCESS => "; upkeep's user may not change its folder, or it is immutable",
        Errno::ROFS => "; its filesystem is read-only",
        _ => "",
    };
    Fate::Failed(format!("{error}{remedy}"))
}
