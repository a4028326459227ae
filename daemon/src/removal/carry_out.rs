//! Carrying out the plan of a root.
//!
//! Each item is looked at again where it stands, in the open folder that holds it, and only then acted on. Files go as the
//! plan has them, folders after all else and those within before those above, each only when it is empty by then. That
//! some items cannot go does not keep the others from going: what became of each is counted.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use rustix::fs::AtFlags;
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::aside::{Aside, Unmoved};
use super::compress::{Around, Uncompressed, compress};
use super::plan::{Action, Item, Kind, Plan};
use super::protect::Protected;
use super::writers::Writers;
use super::{RemovalError, Total};
use crate::root::{Parents, Place, Root, RootError, path};

/// Problems that are kept; further ones are counted by their kind.
const MOST_PROBLEMS: usize = 100;

/// Items whose lines in the ledger become durable together.
const BATCH: usize = 1_024;

/// Threads that remove at once; more of them wait for each other in the kernel.
const MOST_THREADS: usize = 4;

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
    /// Is told that one more item is done; from several threads.
    pub tell: &'a (dyn Fn() + Sync),
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
    /// Adds what another thread has counted.
    fn merge(&mut self, other: Self) {
        let add = |one: &mut Total, other: Total| {
            one.items += other.items;
            one.bytes += other.bytes;
        };
        add(&mut self.removed, other.removed);
        add(&mut self.compressed, other.compressed);
        add(&mut self.changed, other.changed);
        add(&mut self.in_use, other.in_use);
        add(&mut self.failed, other.failed);
        self.filled += other.filled;
        self.gone += other.gone;
        let room = MOST_PROBLEMS.saturating_sub(self.problems.len());
        self.problems.extend(other.problems.into_iter().take(room));
    }

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

/// Carries a plan out. Files go by several threads at once, in batches: most of the time is spent in the kernel.
///
/// # Errors
///
/// When the plan or the ledger cannot be read or written, or the run was ended; what was done until then is done.
pub fn carry_out(plan: &Plan, means: Means<'_>) -> Result<Done, RemovalError> {
    let device = rustix::fs::fstat(means.root.folder()).map_err(|errno| root_failed(means.root, errno))?.st_dev;
    let Means { root, protected, aside, cancel, tell } = means;
    let shared = Shared { root, protected, cancel, tell, writers: Mutex::new(Writers::new(device)), device };
    let mut done = Done { aside: aside.is_some(), ..Done::default() };
    // A ledger is written by one.
    let threads = if aside.is_some() {
        1
    } else {
        std::thread::available_parallelism().map_or(1, |it| it.get().min(MOST_THREADS))
    };
    let mut workers: Vec<_> = (0..threads).map(|_| Worker::new(&shared, None)).collect();
    if let Some(first) = workers.first_mut() {
        first.aside = aside;
    }
    let (batches, waiting) = mpsc::sync_channel::<Vec<Item>>(2 * threads);
    let waiting = Mutex::new(waiting);
    let (folders, ended) = std::thread::scope(|scope| {
        let workers: Vec<_> = workers.into_iter().map(|worker| scope.spawn(|| worker.all_of(&waiting))).collect();
        let folders = hand_out(plan, batches);
        let join =
            |it: std::thread::ScopedJoinHandle<'_, _>| it.join().unwrap_or_else(|it| std::panic::resume_unwind(it));
        (folders, workers.into_iter().map(join).collect::<Vec<Result<_, RemovalError>>>())
    });
    let mut aside = None;
    for ended in ended {
        let (given_back, counted) = ended?;
        aside = aside.or(given_back);
        done.merge(counted);
    }
    Worker::new(&shared, aside).folders(folders?, &mut done)?;
    done.unseen = shared.writers().unseen();
    Ok(done)
}

/// Reads the plan, gives its files to whoever takes them, and its folders back.
fn hand_out(plan: &Plan, batches: mpsc::SyncSender<Vec<Item>>) -> Result<Vec<Item>, RemovalError> {
    let mut folders = Vec::new();
    let mut batch = Vec::with_capacity(BATCH);
    for item in plan.items()? {
        let item = item?;
        if item.kind == Kind::Folder {
            folders.push(Item { rule: String::new(), reason: String::new(), ..item });
            continue;
        }
        batch.push(item);
        if batch.len() == BATCH {
            // They are taken until it is closed, whatever happens.
            let _ = batches.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)));
        }
    }
    let _ = batches.send(batch);
    Ok(folders)
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

/// What all threads work with.
struct Shared<'a> {
    root: &'a Root,
    protected: &'a Protected,
    cancel: &'a CancellationToken,
    tell: &'a (dyn Fn() + Sync),
    writers: Mutex<Writers>,
    device: u64,
}

impl Shared<'_> {
    fn writers(&self) -> MutexGuard<'_, Writers> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread.
struct Worker<'a> {
    shared: &'a Shared<'a>,
    aside: Option<Aside>,
    parents: Parents<'a>,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared<'a>, aside: Option<Aside>) -> Self {
        Self { shared, aside, parents: shared.root.parents() }
    }

    /// Works until nothing is handed out any more; gives back what things are moved with.
    fn all_of(mut self, waiting: &Mutex<mpsc::Receiver<Vec<Item>>>) -> Result<(Option<Aside>, Done), RemovalError> {
        let mut done = Done::default();
        let mut failed = None;
        loop {
            let batch = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match (batch, &failed) {
                (Ok(batch), None) => failed = self.files(batch, &mut done).err(),
                // Takes the rest all the same: who hands out must not wait for ever.
                (Ok(_), Some(_)) => {}
                (Err(_), _) => return failed.map_or(Ok((self.aside, done)), Err),
            }
        }
    }

    fn files(&mut self, batch: Vec<Item>, done: &mut Done) -> Result<(), RemovalError> {
        let mut numbers = Vec::new();
        if let Some(aside) = &mut self.aside {
            for item in batch.iter().filter(|item| item.action == Action::Remove) {
                numbers.push(aside.announce(item)?);
            }
            if !numbers.is_empty() {
                aside.sync()?;
            }
        }
        let mut numbers = numbers.into_iter();
        for item in batch {
            if self.shared.cancel.is_cancelled() {
                return Err(RemovalError::Cancelled);
            }
            let number = if item.action == Action::Remove { numbers.next() } else { None };
            let fate = self.file(&item, number)?;
            done.count(&item, fate);
            (self.shared.tell)();
        }
        Ok(())
    }

    fn file(&mut self, item: &Item, number: Option<u64>) -> Result<Fate, RemovalError> {
        let path = path_of(item)?;
        if let Some(fate) = self.keeps(item, &path) {
            return Ok(fate);
        }
        // Before it is looked at: to ask all processes takes longer than anything else that happens here.
        let writer = match item.kind {
            Kind::File => self.shared.writers().of(item.inode).map(str::to_owned),
            Kind::Folder | Kind::Link => None,
        };
        let place = match self.parents.place(&path) {
            Ok(place) => place,
            Err(error) => return Ok(no_place(error)),
        };
        let seen = match place.stat() {
            Ok(stat) if item.is_same(&stat) && stat.st_dev == self.shared.device => stat,
            Ok(_) => return Ok(Fate::Changed),
            Err(Errno::NOENT) => return Ok(Fate::Gone),
            Err(errno) => return Ok(failed(errno)),
        };
        // Only now: of a file that is gone, the number may be another one's.
        if let Some(writer) = writer {
            return Ok(Fate::InUse(format!("{writer} writes to it")));
        }
        if item.action != Action::Remove {
            let shared = self.shared;
            let mut may_go = || may_go(shared.root, place, &path, item, &mut shared.writers());
            let around = Around { cancel: shared.cancel, may_go: &mut may_go };
            return match compress(place, item, &seen, around) {
                Ok(size) => Ok(Fate::Compressed(size)),
                Err(Uncompressed::Changed) => Ok(Fate::Changed),
                Err(Uncompressed::InUse(by)) => Ok(Fate::InUse(by)),
                Err(Uncompressed::Failed(reason)) => Ok(Fate::Failed(format!("not compressed: {reason}"))),
                Err(Uncompressed::Cancelled) => Err(RemovalError::Cancelled),
            };
        }
        Ok(match (&mut self.aside, number) {
            (Some(aside), Some(number)) => match aside.take(number, place, item, &path) {
                Ok(()) => Fate::Removed,
                Err(Unmoved::Changed) => Fate::Changed,
                Err(Unmoved::Displaced(name)) => Fate::Failed(format!(
                    "it was exchanged twice while it was looked at; what stood there first is called `{}` now",
                    name.display()
                )),
                Err(Unmoved::Errno(Errno::NOENT)) => Fate::Gone,
                Err(Unmoved::Errno(errno)) => failed(errno),
            },
            _ => unlink(place, AtFlags::empty()),
        })
    }

    /// Why an item stays, before it is looked at.
    fn keeps(&self, item: &Item, path: &Path) -> Option<Fate> {
        if let Some(reason) = self.shared.protected.refuses(path, item.kind == Kind::Folder) {
            return Some(Fate::Failed(reason));
        }
        let link = item.unless_linked.as_ref()?;
        let Ok(link_path) = path::parse(link) else { return Some(Fate::Failed(format!("`{link}` is no path"))) };
        match self.shared.root.end_of(&link_path) {
            Ok(Some(end)) if path.starts_with(&end) || end.starts_with(path) => {
                Some(Fate::InUse(format!("the link `{link}` leads there now")))
            }
            // Where it leads outside, or nowhere, it does not lead here.
            Ok(_) => None,
            Err(error) => Some(Fate::Failed(format!("it is not known where the link `{link}` leads: {error}"))),
        }
    }

    fn folders(&mut self, mut folders: Vec<Item>, done: &mut Done) -> Result<(), RemovalError> {
        // Those within before those above, whatever the order of the plan.
        folders.sort_by(|one, other| other.path.cmp(&one.path));
        for batch in folders.chunks(BATCH) {
            if self.aside.is_some() {
                self.announce_folders(batch)?;
            }
            for item in batch {
                if self.shared.cancel.is_cancelled() {
                    return Err(RemovalError::Cancelled);
                }
                let fate = self.folder(item)?;
                done.count(item, fate);
                (self.shared.tell)();
            }
        }
        Ok(())
    }

    fn announce_folders(&mut self, batch: &[Item]) -> Result<(), RemovalError> {
        let Some(aside) = &mut self.aside else { return Ok(()) };
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
            Ok(stat) if item.is_same(&stat) && stat.st_dev == self.shared.device => unlink(place, AtFlags::REMOVEDIR),
            Ok(_) => Fate::Changed,
            Err(Errno::NOENT) => Fate::Gone,
            Err(errno) => failed(errno),
        })
    }
}

/// Whether a file may still go after its compressed form was written.
fn may_go(root: &Root, place: Place<'_>, path: &Path, item: &Item, writers: &mut Writers) -> Result<(), Uncompressed> {
    // Its folder may have been moved elsewhere, with all that stands in it.
    let mut parents = root.parents();
    let there = parents.place(path).map_err(|_| Uncompressed::Changed)?;
    let number = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    if rustix::fs::fstat(there.folder).map(number)? != rustix::fs::fstat(place.folder).map(number)? {
        return Err(Uncompressed::Changed);
    }
    match writers.of_now(item.inode) {
        Some(writer) => Err(Uncompressed::InUse(format!("{writer} writes to it"))),
        None => Ok(()),
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
        error @ (RootError::Io { .. } | RootError::Closed(_)) => Fate::Failed(error.to_string()),
    }
}

fn failed(errno: Errno) -> Fate {
    let error = std::io::Error::from(errno);
    let remedy = match errno {
        Errno::PERM | Errno::ACCESS => "; upkeep's user may not change its folder, or it is immutable",
        Errno::ROFS => "; its filesystem is read-only",
        Errno::XDEV => "; it cannot be moved aside within its filesystem",
        _ => "",
    };
    Fate::Failed(format!("{error}{remedy}"))
}
