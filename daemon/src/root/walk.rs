//! Walking a root: parents before children, names in order, following no link.
//!
//! A folder is opened by its name in its open parent and compared with what was seen there a moment before; an entry is
//! looked at through its open parent. So whatever is moved or swapped meanwhile, the walk never sees anything that does
//! not stand beneath the root. A folder is read as a whole before its entries are looked at: its order is then the
//! same in each run, and what the caller changes in it cannot confuse the walk.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::fs::{FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::root::exclude::Exclude;
use crate::root::{NO_FOLLOW, Root, RootError, path};

/// The deepest folder that is walked: each level holds one file descriptor.
const DEEPEST: u32 = 512;

/// Threads that look at the entries of one folder: nearly all of the time is spent in the kernel.
const MOST_LOOKING: usize = 4;

/// Entries for which a thread is worth its start.
const WORTH_A_THREAD: usize = 64;

/// The deepest folder of which the next one is prepared: that takes one more file descriptor for each level.
const DEEPEST_PREPARED: usize = 64;

/// Problems that are kept until somebody asks; further ones are only counted.
const MOST_PROBLEMS: usize = 1_000;

/// What a walk visits.
#[derive(Debug, Clone)]
pub struct WalkOptions {
    /// What it leaves out.
    pub exclude: Exclude,
    /// Levels below the start; none for all.
    pub max_depth: Option<u32>,
    /// Whether it stays on the filesystem of the start. The folder that another one is mounted on is still seen.
    pub one_filesystem: bool,
    /// How many entries of a folder are looked at together, by several threads, and while the folder before it is still walked:
    /// for who takes them as fast as they come. With 1 an entry is looked at no earlier than it is given.
    pub together: usize,
}

/// One thing that a walk came by.
#[derive(Debug)]
pub struct Found {
    /// Bytes of its path, relative to the root.
    pub path: Vec<u8>,
    /// Where its name begins in `path`.
    name: usize,
    /// What it is.
    pub stat: Stat,
    /// The folder that holds it.
    pub parent: Arc<OwnedFd>,
}

impl Found {
    /// Its name in its parent.
    pub fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.path[self.name..])
    }

    /// Its kind.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// A walk under way.
#[derive(Debug)]
pub struct Walk {
    options: WalkOptions,
    /// The name of folders that are passed by.
    closed: Option<&'static str>,
    device: u64,
    /// Folders from the start down to the current one.
    stack: Vec<Level>,
    /// Path of the current folder with a slash at its end; empty for the root.
    prefix: Vec<u8>,
    /// The folder that was given last and is entered next: length of its name, and what it was.
    enter: Option<(Vec<u8>, Stat)>,
    problems: Vec<String>,
    untold: u64,
}

/// What stands at names, as far as it was looked at; the first in order at the end.
type Looked = Vec<Option<Seen>>;
type Seen = Result<Stat, Errno>;

#[derive(Debug)]
struct Level {
    folder: Arc<OwnedFd>,
    names: Names,
    /// What stands at the next names.
    looked: Looked,
    /// The next folder in this one, which is opened and looked at already.
    prepared: Option<Prepared>,
    /// Length of the prefix of the level above.
    above: usize,
}

#[derive(Debug)]
struct Prepared {
    name: Vec<u8>,
    opened: JoinHandle<Result<Opened, Errno>>,
}

/// A folder that was opened.
#[derive(Debug)]
struct Opened {
    folder: OwnedFd,
    names: Names,
    looked: Looked,
}

impl Opened {
    /// Opens the folder `name`, which was `seen` a moment before, and looks at the first of its entries.
    fn new(parent: &OwnedFd, name: &[u8], seen: &Stat, together: usize) -> Result<Self, Errno> {
        let folder = open_same(parent, OsStr::from_bytes(name), seen, OFlags::DIRECTORY)?;
        let names = Names::read(&folder)?;
        let looked = names.look(&folder, together);
        Ok(Self { folder, names, looked })
    }
}

impl Level {
    fn new(Opened { folder, names, looked }: Opened, above: usize) -> Self {
        Self { folder: Arc::new(folder), names, looked, prepared: None, above }
    }

    /// Opens the folder `name`, or gives what was prepared of it.
    fn open(&mut self, name: &[u8], seen: &Stat, together: usize) -> Result<Opened, Errno> {
        match self.prepared.take().filter(|prepared| prepared.name == name) {
            Some(prepared) => prepared.opened.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Opened::new(&self.folder, name, seen, together),
        }
    }

    /// The next name that was looked at and is a folder.
    fn next_folder(&self) -> Option<(&[u8], &Stat)> {
        let names = self.names.places.iter().rev().map(|place| self.names.name(*place));
        names.zip(self.looked.iter().rev()).find_map(|(name, looked)| match looked {
            Some(Ok(stat)) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Some((name, stat)),
            _ => None,
        })
    }

    /// The next name, and what stands there when that is known already.
    fn next(&mut self, together: usize) -> Option<(&[u8], Option<Seen>)> {
        if self.looked.is_empty() {
            self.looked = self.names.look(&self.folder, together);
        }
        let looked = self.looked.pop().flatten();
        Some((self.names.next()?, looked))
    }
}

impl Root {
    /// Starts a walk at the folder `start`, which is not part of what it gives.
    ///
    /// # Errors
    ///
    /// When `start` cannot be opened or is no folder; see [`RootError`].
    pub fn walk(&self, start: &Path, options: WalkOptions) -> Result<Walk, RootError> {
        let failed = |errno| RootError::from_errno(start, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = self.open_permitted(start, flags).map_err(|error| error.about(start))?;
        let device = rustix::fs::fstat(&folder).map_err(failed)?.st_dev;
        let mut prefix = start.as_os_str().as_bytes().to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        let names =
            if options.max_depth == Some(0) { Names::default() } else { Names::read(&folder).map_err(failed)? };
        let stack = vec![Level::new(Opened { folder, names, looked: Vec::new() }, 0)];
        Ok(Walk { options, closed: self.closed, device, stack, prefix, enter: None, problems: Vec::new(), untold: 0 })
    }
}

impl Walk {
    /// Takes the paths that could not be read since the last call, as `path: reason`.
    pub fn take_problems(&mut self) -> Vec<String> {
        let mut problems = std::mem::take(&mut self.problems);
        if self.untold > 0 {
            problems.push(format!("and {} more", std::mem::take(&mut self.untold)));
        }
        problems
    }

    fn problem(&mut self, path: &[u8], reason: impl std::fmt::Display) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(format!("{}: {reason}", path::escape(path)));
        } else {
            self.untold += 1;
        }
    }

    /// Goes down into the folder `name`, which was `seen` a moment before.
    fn enter(&mut self, name: &[u8], seen: &Stat) {
        let Some(level) = self.stack.last_mut() else { return };
        let opened = level.open(name, seen, self.options.together);
        let above = self.prefix.len();
        self.prefix.extend_from_slice(name);
        match opened {
            Ok(opened) => {
                self.prefix.push(b'/');
                self.stack.push(Level::new(opened, above));
            }
            Err(errno) => {
                let path = self.prefix.clone();
                self.prefix.truncate(above);
                // What is gone before it was looked at was never there.
                if errno != Errno::NOENT {
                    self.problem(&path, reason(errno));
                }
            }
        }
    }

    /// Has the folder that comes after the one that is entered next opened and looked at, meanwhile.
    fn prepare(&mut self) {
        let together = self.options.together;
        let Some(level) = self.stack.last().filter(|_| together > 1 && self.stack.len() < DEEPEST_PREPARED) else {
            return;
        };
        let Some((name, stat)) = level.next_folder().filter(|(_, stat)| self.may_enter(stat)) else { return };
        let path = [&self.prefix, name].concat();
        if self.closed.is_some_and(|closed| name == closed.as_bytes()) {
            return;
        }
        if self.options.exclude.matches(Path::new(OsStr::from_bytes(&path)), true) {
            return;
        }
        let (parent, name, seen) = (Arc::clone(&level.folder), name.to_owned(), *stat);
        let opened = {
            let name = name.clone();
            std::thread::Builder::new().spawn(move || Opened::new(&parent, &name, &seen, together))
        };
        if let (Some(level), Ok(opened)) = (self.stack.last_mut(), opened) {
            level.prepared = Some(Prepared { name, opened });
        }
    }

    fn may_enter(&self, stat: &Stat) -> bool {
        let depth = u32::try_from(self.stack.len()).unwrap_or(u32::MAX);
        self.options.max_depth.is_none_or(|most| depth < most)
            && (!self.options.one_filesystem || stat.st_dev == self.device)
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if let Some((name, seen)) = self.enter.take() {
            self.enter(&name, &seen);
        }
        loop {
            let level = self.stack.last_mut()?;
            let parent = Arc::clone(&level.folder);
            let Some((name, looked)) = level.next(self.options.together) else {
                self.prefix.truncate(level.above);
                self.stack.pop();
                continue;
            };
            if self.closed.is_some_and(|closed| name == closed.as_bytes()) {
                continue;
            }
            let mut path = Vec::with_capacity(self.prefix.len() + name.len());
            path.extend_from_slice(&self.prefix);
            path.extend_from_slice(name);
            let stat = match looked.unwrap_or_else(|| look(&parent, name)) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => {
                    self.problem(&path, reason(errno));
                    continue;
                }
            };
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if self.options.exclude.matches(Path::new(OsStr::from_bytes(&path)), is_folder) {
                continue;
            }
            let name = self.prefix.len();
            if is_folder && self.may_enter(&stat) {
                if self.stack.len() < DEEPEST as usize {
                    self.enter = Some((path[name..].to_vec(), stat));
                    self.prepare();
                } else {
                    self.problem(&path, format_args!("more than {DEEPEST} folders deep; what it holds is left out"));
                }
            }
            return Some(Found { path, name, stat, parent });
        }
    }
}

/// What the operator is told when an entry cannot be read.
fn reason(errno: Errno) -> String {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::STALE => "it was exchanged for something else meanwhile".to_owned(),
        errno => std::io::Error::from(errno).to_string(),
    }
}

/// Opens what stands at `name` in `folder`, if it is still what was `seen`; anything else is `ESTALE`.
pub fn open_same(folder: &OwnedFd, name: &OsStr, seen: &Stat, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(folder, name, flags, Mode::empty());
    // Leaves the time of access alone, which only the owner may ask for.
    let file = match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        result => result,
    }?;
    let stat = rustix::fs::fstat(&file)?;
    if (stat.st_dev, stat.st_ino) == (seen.st_dev, seen.st_ino) { Ok(file) } else { Err(Errno::STALE) }
}

/// What stands at `name` in `folder`; a link itself.
fn look(folder: &OwnedFd, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, OsStr::from_bytes(name), NO_FOLLOW)
}

/// The names of one folder in order of their bytes: one allocation for all, since a folder may hold millions.
#[derive(Debug, Default)]
struct Names {
    bytes: Vec<u8>,
    /// Begin and end in `bytes`, the first in order at the end.
    places: Vec<(u32, u32)>,
}

impl Names {
    fn read(folder: &OwnedFd) -> Result<Self, Errno> {
        let mut names = Self::default();
        let mut buffer = Box::new([MaybeUninit::<u8>::uninit(); 32 * 1024]);
        let mut entries = RawDir::new(folder, buffer.as_mut_slice());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let begin = u32::try_from(names.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
                names.bytes.extend_from_slice(name);
                names.places.push((begin, u32::try_from(names.bytes.len()).map_err(|_| Errno::OVERFLOW)?));
            }
        }
        let Self { bytes, places } = &mut names;
        let name = |place: &(u32, u32)| &bytes[place.0 as usize..place.1 as usize];
        places.sort_unstable_by(|one, other| name(other).cmp(name(one)));
        Ok(names)
    }

    fn name(&self, (begin, end): (u32, u32)) -> &[u8] {
        &self.bytes[begin as usize..end as usize]
    }

    /// Looks at the next names together, at most so many; the first in order is at the end. Nothing where it is not worth it.
    fn look(&self, folder: &OwnedFd, together: usize) -> Looked {
        let places = &self.places[self.places.len().saturating_sub(together)..];
        let threads = std::thread::available_parallelism().map_or(1, |it| it.get().min(MOST_LOOKING));
        let share = places.len().div_ceil(threads).max(WORTH_A_THREAD);
        if places.len() <= share {
            return Vec::new();
        }
        let mut looked = vec![None; places.len()];
        std::thread::scope(|scope| {
            let work = looked.chunks_mut(share).zip(places.chunks(share));
            for (looked, places) in work {
                let all = move || {
                    looked.iter_mut().zip(places).for_each(|(it, place)| *it = Some(look(folder, self.name(*place))));
                };
                // What no thread could be had for is looked at when its turn has come.
                let _ = std::thread::Builder::new().spawn_scoped(scope, all);
            }
        });
        looked
    }

    fn next(&mut self) -> Option<&[u8]> {
        let (begin, end) = self.places.pop()?;
        Some(&self.bytes[begin as usize..end as usize])
    }
}
