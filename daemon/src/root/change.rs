//! Writing beneath a root.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::root::{NO_FOLLOW, Root, RootError};

impl Root {
    /// Replaces the file at `path` as a whole: written beside it, synced, renamed, and the folder synced. Mode and owner
    /// of a file that stood there are kept; a link that stood there is replaced, not followed.
    ///
    /// # Errors
    ///
    /// See [`RootError`]; nothing has changed then.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), RootError> {
        let mut new = self.create(path)?;
        new.write(bytes)?;
        new.put_in_place().map(drop)
    }

    /// Begins a file that takes the place of the one at `path` when it is whole; see [`Root::write`].
    ///
    /// # Errors
    ///
    /// See [`RootError`].
    pub fn create(&self, path: &Path) -> Result<NewFile, RootError> {
        let failed = |errno| RootError::from_errno(path, errno);
        let Some((parent, name)) = self.parent(path)? else {
            return Err(RootError::invalid(path, "the root is a folder"));
        };
        let before = match rustix::fs::statat(&parent, name, NO_FOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(RootError::invalid(path, "a folder"));
            }
            Ok(stat) => Some(stat).filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(failed(errno)),
        };
        let name = name.to_owned();
        let (file, temporary) = open_new(&parent).map_err(failed)?;
        Ok(NewFile { path: path.to_owned(), parent, name, temporary, file, before })
    }

    /// Makes the folder `path` in a folder that exists; fine when it is there already.
    ///
    /// # Errors
    ///
    /// See [`RootError`].
    pub fn make_directory(&self, path: &Path) -> Result<(), RootError> {
        let failed = |errno| RootError::from_errno(path, errno);
        let Some((parent, name)) = self.parent(path)? else { return Ok(()) };
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => rustix::fs::fsync(&parent).map_err(failed),
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(&parent, name, NO_FOLLOW).map_err(failed)?;
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => Ok(()),
                    _ => Err(RootError::invalid(path, "something else than a folder stands there")),
                }
            }
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// A name that no other writer of this process uses; a crashed one is recognised by it.
fn temporary_name() -> OsString {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(".upkeep-{}-{count}.tmp", std::process::id()).into()
}

/// A file that is being written beside its place. Dropped before it is put there, it is gone, and so it is when the process
/// is killed: it has no name until it is whole, where the filesystem can do that.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    parent: OwnedFd,
    name: OsString,
    /// The name that it has in the meantime.
    temporary: Option<OsString>,
    file: File,
    before: Option<Stat>,
}

impl NewFile {
    /// Adds bytes.
    ///
    /// # Errors
    ///
    /// See [`RootError`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RootError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| RootError::from_errno(&self.path, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }

    /// Puts the file into its place, durably; gives what it is now.
    ///
    /// # Errors
    ///
    /// See [`RootError`]; what stood there before stands there still.
    pub fn put_in_place(mut self) -> Result<Stat, RootError> {
        let done = self.finish();
        done.map_err(|errno| RootError::from_errno(&self.path, errno))
    }

    fn finish(&mut self) -> Result<Stat, Errno> {
        if let Some(before) = &self.before {
            let owner = (rustix::fs::Uid::from_raw(before.st_uid), rustix::fs::Gid::from_raw(before.st_gid));
            match rustix::fs::fchown(&self.file, Some(owner.0), Some(owner.1)) {
                // Only root may give a file away; another user replaces it as his own.
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
            rustix::fs::fchmod(&self.file, Mode::from_raw_mode(before.st_mode & 0o7777))?;
        }
        rustix::fs::fsync(&self.file)?;
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None => self.link()?,
        };
        // Until it is in its place, dropping removes it.
        let temporary = self.temporary.insert(temporary);
        rustix::fs::renameat(&self.parent, &*temporary, &self.parent, &self.name)?;
        self.temporary = None;
        rustix::fs::fsync(&self.parent)?;
        rustix::fs::fstat(&self.file)
    }

    /// Gives a file without a name one, since only a name can be put in the place of another.
    fn link(&self) -> Result<OsString, Errno> {
        let (name, this) = (temporary_name(), own(&self.file));
        let link = || rustix::fs::linkat(rustix::fs::CWD, &this, &self.parent, &name, AtFlags::SYMLINK_FOLLOW);
        match link() {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(&self.parent, &name, AtFlags::empty())?;
                link()?;
            }
            linked => linked?,
        }
        Ok(name)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = rustix::fs::unlinkat(&self.parent, temporary, AtFlags::empty());
        }
    }
}

/// How this process names a file that it has open.
fn own(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// A new file in a folder: without a name, or with the one that is given too.
fn open_new(parent: &OwnedFd) -> Result<(File, Option<OsString>), Errno> {
    let mode = Mode::from_raw_mode(0o644);
    let unnamed = rustix::fs::openat(parent, c".", OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC, mode);
    // Not every filesystem has these (NFS has not), and without /proc nothing gives them a name.
    if let Ok(file) = unnamed.map(File::from)
        && rustix::fs::statat(rustix::fs::CWD, own(&file), AtFlags::empty()).is_ok()
    {
        return Ok((file, None));
    }
    let name = temporary_name();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::openat(parent, &name, flags, mode) {
        Err(Errno::EXIST) => {
            // Left over by a process of the same number that died.
            rustix::fs::unlinkat(parent, &name, AtFlags::empty())?;
            rustix::fs::openat(parent, &name, flags, mode)?
        }
        opened => opened?,
    };
    Ok((File::from(opened), Some(name)))
}
