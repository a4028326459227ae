//! Writing beneath a root.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
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
