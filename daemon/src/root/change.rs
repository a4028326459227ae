//! Writing and removing beneath a root.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
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
        let temporary = temporary_name();
        let written = write_new(&parent, &temporary, bytes, before.as_ref())
            .and_then(|()| rustix::fs::renameat(&parent, &temporary, &parent, name))
            .and_then(|()| rustix::fs::fsync(&parent));
        written.map_err(|errno| {
            // It may have been renamed already; then nothing stands there.
            let _ = rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty());
            failed(errno)
        })
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

    /// Starts to remove things.
    pub fn remover(&self) -> Remover<'_> {
        Remover { root: self, parent: None }
    }
}

/// A name that no other writer of this process uses; a crashed one is recognised by it.
fn temporary_name() -> OsString {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(".upkeep-{}-{count}.tmp", std::process::id()).into()
}

fn write_new(parent: &OwnedFd, name: &OsString, bytes: &[u8], before: Option<&Stat>) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)) {
        Err(Errno::EXIST) => {
            // Left over by a process of the same number that died.
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?
        }
        result => result?,
    };
    let mut file = File::from(file);
    file.write_all(bytes).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if let Some(before) = before {
        let owner = (rustix::fs::Uid::from_raw(before.st_uid), rustix::fs::Gid::from_raw(before.st_gid));
        match rustix::fs::fchown(&file, Some(owner.0), Some(owner.1)) {
            // Only root may give a file away; another user replaces it as his own.
            Ok(()) | Err(Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(before.st_mode & 0o7777))?;
    }
    rustix::fs::fsync(&file)
}

/// What became of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It is gone now.
    Removed,
    /// It is not what was seen, and is kept.
    Changed,
    /// It was gone before.
    Gone,
    /// It could not be removed, and why.
    Failed(String),
}

/// Removes things one by one. The folder of the last one stays open, since the next one mostly stands beside it.
#[derive(Debug)]
pub struct Remover<'a> {
    root: &'a Root,
    parent: Option<(PathBuf, OwnedFd)>,
}

impl Remover<'_> {
    /// Removes `path` if `same` says that what stands there is what was seen. A folder goes only when it is empty.
    ///
    /// # Errors
    ///
    /// [`RootError::Escape`] when the path leads out of the root; all else is a [`Removal`].
    pub fn remove(&mut self, path: &Path, same: impl Fn(&Stat) -> bool) -> Result<Removal, RootError> {
        let Some(name) = path.file_name() else {
            return Ok(Removal::Failed("the root itself is not removed".to_owned()));
        };
        let above = path.parent().unwrap_or(Path::new(""));
        if self.parent.as_ref().is_none_or(|(open, _)| open != above) {
            match self.root.parent(path) {
                Ok(Some((folder, _))) => self.parent = Some((above.to_owned(), folder)),
                Ok(None) | Err(RootError::NotFound(_)) => return Ok(Removal::Gone),
                Err(escape @ RootError::Escape(_)) => return Err(escape),
                Err(error) => return Ok(Removal::Failed(error.to_string())),
            }
        }
        let Some((_, folder)) = &self.parent else { return Ok(Removal::Gone) };
        let outcome = match rustix::fs::statat(folder, name, NO_FOLLOW) {
            Ok(stat) if same(&stat) => {
                let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                rustix::fs::unlinkat(folder.as_fd(), name, flags).map(|()| Removal::Removed)
            }
            Ok(_) => Ok(Removal::Changed),
            Err(errno) => Err(errno),
        };
        Ok(outcome.unwrap_or_else(|errno| match errno {
            Errno::NOENT => Removal::Gone,
            Errno::NOTEMPTY | Errno::EXIST => Removal::Failed("the folder is not empty".to_owned()),
            Errno::ISDIR | Errno::NOTDIR => Removal::Changed,
            errno => Removal::Failed(std::io::Error::from(errno).to_string()),
        }))
    }
}
