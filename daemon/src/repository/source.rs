//! What a backup reads: a granted folder, or one file that stands for another.
//!
//! The folder is walked as [`crate::root::walk`] does it, and each file is opened in its open parent and compared with
//! what the walk saw. Nothing that is swapped in meanwhile can lead the backup out of the folder.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustic_core::{ErrorKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError, RusticResult};
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use crate::repository::entropy::Sampler;
use crate::repository::node::{self, Names};
use crate::repository::{Source, Watch};
use crate::root::exclude::Exclude;
use crate::root::walk::{Found, Walk, WalkOptions, open_same};
use crate::root::{Root, RootError, path};

/// A folder with what it holds.
#[derive(Debug)]
pub struct FolderSource {
    root: Arc<Root>,
    options: WalkOptions,
    /// Larger files are left out.
    max_size: Option<u64>,
    watch: Arc<Watch>,
}

impl FolderSource {
    /// The folder `root` without what `exclude` matches and without files of more than `max_size` bytes.
    pub fn new(root: Root, exclude: Exclude, max_size: Option<u64>, one_filesystem: bool, watch: Arc<Watch>) -> Self {
        let options = WalkOptions { exclude, max_depth: None, one_filesystem, together: 1 };
        Self { root: Arc::new(root), options, max_size, watch }
    }

    fn walk(&self) -> Result<Walk, RootError> {
        self.root.walk(Path::new(""), self.options.clone())
    }
}

impl Source for FolderSource {
    fn path(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl ReadSource for FolderSource {
    type Open = Unopened;
    type Iter = Entries;

    fn size(&self) -> RusticResult<Option<u64>> {
        let Ok(walk) = self.walk() else { return Ok(None) };
        let sizes = walk.take_while(|_| !self.watch.cancel.is_cancelled()).map(|found| match found.kind() {
            FileType::RegularFile => size(&found.stat),
            _ => 0,
        });
        let is_kept = |size: &u64| self.max_size.is_none_or(|most| *size <= most);
        Ok(Some(sizes.filter(is_kept).sum()))
    }

    fn entries(&self) -> Entries {
        let walk = self.walk().map_err(|error| self.watch.problem(error.to_string())).ok();
        Entries {
            above: above(self.root.path()).into_iter(),
            root: Arc::clone(&self.root),
            walk,
            max_size: self.max_size,
            names: Names::default(),
            watch: Arc::clone(&self.watch),
        }
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// The folders from the top of the filesystem down to `path` itself: a snapshot holds them too, so that a restore of
/// the whole gives them their modes.
fn above(path: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> =
        path.ancestors().filter(|folder| folder.file_name().is_some()).map(Path::to_owned).collect();
    folders.reverse();
    folders
}

/// The entries of a backup, one after the other.
#[derive(Debug)]
pub struct Entries {
    above: std::vec::IntoIter<PathBuf>,
    root: Arc<Root>,
    walk: Option<Walk>,
    max_size: Option<u64>,
    names: Names,
    watch: Arc<Watch>,
}

impl Entries {
    /// A folder that the root stands in.
    fn folder_above(&mut self, path: PathBuf) -> Option<ReadSourceEntry<Unopened>> {
        let stat = rustix::fs::lstat(&path).ok()?;
        let node = node::at(&path, path.file_name()?, &stat, &mut self.names);
        node.is_dir().then_some(ReadSourceEntry { path, node, open: None })
    }

    fn entry(&mut self, found: Found) -> Option<ReadSourceEntry<Unopened>> {
        let name = found.name();
        let node = match node::entry(found.parent.as_fd(), name, &found.stat, &mut self.names) {
            Ok(node) => node,
            Err(Errno::NOENT) => return None,
            Err(errno) => {
                self.watch.problem(problem(&found.path, std::io::Error::from(errno)));
                return None;
            }
        };
        let open = (found.kind() == FileType::RegularFile).then(|| Unopened {
            name: name.to_owned(),
            parent: Arc::clone(&found.parent),
            stat: found.stat,
            path: found.path.clone(),
            watch: Arc::clone(&self.watch),
        });
        if !node.is_dir() {
            self.watch.state().files += 1;
        }
        Some(ReadSourceEntry { path: self.root.path().join(OsStr::from_bytes(&found.path)), node, open })
    }
}

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<Unopened>>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(path) = self.above.next() {
            if let Some(entry) = self.folder_above(path) {
                return Some(Ok(entry));
            }
        }
        loop {
            // The gate keeps the snapshot of a backup that was ended from being written.
            if self.watch.cancel.is_cancelled() {
                return None;
            }
            let Some(found) = self.walk.as_mut()?.next() else {
                let problems = self.walk.take().map(|mut walk| walk.take_problems()).unwrap_or_default();
                problems.into_iter().for_each(|problem| self.watch.problem(problem));
                self.watch.state().read = Some(std::time::Instant::now());
                return None;
            };
            let is_file = found.kind() == FileType::RegularFile;
            if is_file && self.max_size.is_some_and(|most| size(&found.stat) > most) {
                continue;
            }
            if let Some(entry) = self.entry(found) {
                return Some(Ok(entry));
            }
        }
    }
}

fn problem(path: &[u8], reason: impl std::fmt::Display) -> String {
    format!("{}: {reason}", path::escape(path))
}

/// A file that was seen and may be read.
#[derive(Debug)]
pub struct Unopened {
    parent: Arc<OwnedFd>,
    name: OsString,
    stat: Stat,
    path: Vec<u8>,
    watch: Arc<Watch>,
}

impl ReadSourceOpen for Unopened {
    type Reader = Reading;

    fn open(self) -> RusticResult<Reading> {
        let opened = match self.watch.cancel.is_cancelled() {
            true => Err(Errno::CANCELED),
            false => open_same(&self.parent, &self.name, &self.stat, OFlags::empty()),
        };
        match opened {
            Ok(file) => Ok(Reading {
                file: file.into(),
                left: size(&self.stat),
                is_short: false,
                sampler: Sampler::default(),
                path: self.path,
                watch: self.watch,
            }),
            Err(errno) => {
                self.watch.lose();
                match errno {
                    Errno::NOENT | Errno::CANCELED => {}
                    Errno::LOOP | Errno::STALE => {
                        self.watch.problem(problem(&self.path, "it was exchanged for something else meanwhile"));
                    }
                    errno => self.watch.problem(problem(&self.path, std::io::Error::from(errno))),
                }
                Err(RusticError::new(ErrorKind::InputOutput, "the file cannot be read"))
            }
        }
    }
}

/// A file that is being read, as long as it was when it was seen: a log that grows is saved as it was then, and one that
/// shrinks is filled up, as tar does, because the snapshot already says how long it is.
#[derive(Debug)]
pub struct Reading {
    file: File,
    left: u64,
    is_short: bool,
    sampler: Sampler,
    path: Vec<u8>,
    watch: Arc<Watch>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.watch.state();
        state.content.add(&self.sampler);
        // The last one is what remains.
        state.read = Some(std::time::Instant::now());
    }
}

impl Reading {
    fn pad(&mut self, buffer: &mut [u8]) -> usize {
        buffer.fill(0);
        self.left -= buffer.len() as u64;
        buffer.len()
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.watch.cancel.is_cancelled() {
            return Err(std::io::Error::other("the run was ended"));
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        if self.is_short {
            return Ok(self.pad(&mut buffer[..most]));
        }
        match self.file.read(&mut buffer[..most]) {
            Ok(0) => {
                let told = format!("it became {} bytes shorter meanwhile; zeros stand for them", self.left);
                self.watch.problem(problem(&self.path, told));
                self.is_short = true;
                Ok(self.pad(&mut buffer[..most]))
            }
            Ok(count) => {
                if let Some(rate) = &self.watch.rate {
                    rate.pay(count);
                }
                self.left -= count as u64;
                self.sampler.see(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.watch.lose();
                self.watch.problem(problem(&self.path, &error));
                Err(error)
            }
        }
    }
}

/// One file that is saved in the name of another, such as the copy of a database in the database's name.
#[derive(Debug)]
pub struct FileSource {
    /// The file that is read.
    copy: PathBuf,
    /// The path that the snapshot names; absolute.
    path: PathBuf,
    watch: Arc<Watch>,
}

impl FileSource {
    /// The content of `copy` with name, mode, owner and times of `path`.
    pub fn new(copy: PathBuf, path: PathBuf, watch: Arc<Watch>) -> Self {
        Self { copy, path, watch }
    }

    fn entry(&self, names: &mut Names) -> std::io::Result<ReadSourceEntry<Reading>> {
        let file = File::open(&self.copy)?;
        let copied = rustix::fs::fstat(&file)?;
        let mut stat = rustix::fs::stat(&self.path)?;
        stat.st_size = copied.st_size;
        // Another inode than last time's tells rustic_core nothing; the same with other content would mislead it.
        stat.st_ino = copied.st_ino;
        stat.st_ctime = copied.st_ctime;
        stat.st_ctime_nsec = copied.st_ctime_nsec;
        stat.st_nlink = 1;
        let name = self.path.file_name().unwrap_or(OsStr::new("file"));
        let node = node::at(&self.path, name, &stat, names);
        let reading = Reading {
            file,
            left: size(&stat),
            is_short: false,
            sampler: Sampler::default(),
            path: self.path.as_os_str().as_bytes().to_vec(),
            watch: Arc::clone(&self.watch),
        };
        self.watch.state().files += 1;
        Ok(ReadSourceEntry { path: self.path.clone(), node, open: Some(reading) })
    }
}

impl Source for FileSource {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl ReadSource for FileSource {
    type Open = Reading;
    type Iter = std::vec::IntoIter<RusticResult<ReadSourceEntry<Reading>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(std::fs::metadata(&self.copy).ok().map(|metadata| metadata.len()))
    }

    fn entries(&self) -> Self::Iter {
        let mut names = Names::default();
        let mut entries = Vec::new();
        for folder in self.path.parent().map(above).unwrap_or_default() {
            if let (Ok(stat), Some(name)) = (rustix::fs::lstat(&folder), folder.file_name()) {
                let node = node::at(&folder, name, &stat, &mut names);
                entries.push(Ok(ReadSourceEntry { path: folder, node, open: None }));
            }
        }
        match self.entry(&mut names) {
            Ok(entry) => entries.push(Ok(entry)),
            Err(error) => {
                // Without the file the snapshot has no sense; the gate keeps it from being written.
                self.watch.state().failure.get_or_insert(format!("{}: {error}", self.path.display()));
            }
        }
        entries.into_iter()
    }
}
