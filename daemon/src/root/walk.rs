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

use rustix::fs::{FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::root::exclude::Exclude;
use crate::root::{NO_FOLLOW, Root, RootError, path};

/// The deepest folder that is walked: each level holds one file descriptor.
const DEEPEST: u32 = 512;

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

#[derive(Debug)]
struct Level {
    folder: Arc<OwnedFd>,
    names: Names,
    /// Length of the prefix of the level above.
    above: usize,
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
        let stack = vec![Level { folder: Arc::new(folder), names, above: 0 }];
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
        let Some(level) = self.stack.last() else { return };
        let opened = open_same(&level.folder, OsStr::from_bytes(name), seen, OFlags::DIRECTORY);
        let above = self.prefix.len();
        self.prefix.extend_from_slice(name);
        match opened.and_then(|folder| Ok((Names::read(&folder)?, folder))) {
            Ok((names, folder)) => {
                self.prefix.push(b'/');
                self.stack.push(Level { folder: Arc::new(folder), names, above });
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
            let Some(name) = level.names.next() else {
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
            let parent = Arc::clone(&level.folder);
            let stat = match rustix::fs::statat(&parent, OsStr::from_bytes(name), NO_FOLLOW) {
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

    fn next(&mut self) -> Option<&[u8]> {
        let (begin, end) = self.places.pop()?;
        Some(&self.bytes[begin as usize..end as usize])
    }
}
