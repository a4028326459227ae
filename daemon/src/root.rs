//! A folder that is granted, and nothing outside of it.
//!
//! Every path is resolved by the kernel beneath the open folder (`openat2` with `RESOLVE_BENEATH`), so neither `..` nor
//! an absolute path nor a symbolic link leads out, also when one is put there while the path is being resolved. Between
//! two calls only open handles are kept, never paths: what was opened once cannot be exchanged for something else.
//!
//! The capability `files` and the source of a backup stand on this; it knows neither grants nor guests.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

pub mod change;
pub mod exclude;
mod parents;
pub mod path;
pub mod walk;

pub use parents::{Parents, Place};

/// Why a path beneath a root gives nothing. The text names the path, relative to the root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The path leads out of the root.
    #[error("`{0}` leads out of its root")]
    Escape(String),
    /// The path has no meaning, or stands for another kind of thing than was asked for.
    #[error("`{path}`: {reason}")]
    Invalid {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing stands there.
    #[error("`{0}` does not exist")]
    NotFound(String),
    /// It is in a folder that is closed to whoever asks.
    #[error("`{0}` is in a folder that upkeep keeps for itself")]
    Closed(String),
    /// The system refuses or fails.
    #[error("`{path}`: {source}{}", remedy(source))]
    Io {
        /// The path.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "; the user that upkeep runs as has no access to it",
        io::ErrorKind::StorageFull => "; free some room on its filesystem",
        _ => "",
    }
}

impl RootError {
    fn invalid(path: &Path, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path::escape(path.as_os_str().as_bytes()), reason: reason.into() }
    }

    fn from_errno(path: &Path, errno: Errno) -> Self {
        let text = path::escape(path.as_os_str().as_bytes());
        match errno {
            Errno::XDEV => Self::Escape(text),
            Errno::NOENT => Self::NotFound(text),
            Errno::LOOP => Self::Invalid { path: text, reason: "a symbolic link that is not followed".into() },
            Errno::NOTDIR => Self::Invalid { path: text, reason: "not a folder".into() },
            Errno::ISDIR => Self::Invalid { path: text, reason: "a folder".into() },
            Errno::NAMETOOLONG => Self::Invalid { path: text, reason: "the name is too long".into() },
            errno => Self::Io { path: text, source: errno.into() },
        }
    }
}

/// An open folder.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    path: PathBuf,
    closed: Option<&'static str>,
}

impl Root {
    /// Opens the folder at `path`; here, where the operator wrote it, links are followed.
    ///
    /// # Errors
    ///
    /// When it does not exist, is no folder, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, RootError> {
        let failed = |errno| RootError::from_errno(path, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        let path = real_path(folder.as_fd())
            .map_err(|source| RootError::Io { path: path::escape(path.as_os_str().as_bytes()), source })?;
        Ok(Self { folder, path, closed: None })
    }

    /// Closes all folders of this name, on whatever level: a walk passes them by, and what is in them can neither be read
    /// nor changed through [`Root::read`] and its like, not even by a link that leads there.
    pub fn closing(self, name: &'static str) -> Self {
        Self { closed: Some(name), ..self }
    }

    /// Its absolute path without links, as it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder itself.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// What stands at `path`; a link is not followed.
    ///
    /// # Errors
    ///
    /// See [`RootError`].
    pub fn stat(&self, path: &Path) -> Result<Stat, RootError> {
        let failed = |errno| RootError::from_errno(path, errno);
        match self.parent(path)? {
            None => rustix::fs::fstat(&self.folder).map_err(failed),
            Some((parent, name)) => rustix::fs::statat(&parent, name, NO_FOLLOW).map_err(failed),
        }
    }

    /// Opens a regular file for reading; links are followed as long as they stay beneath the root.
    ///
    /// # Errors
    ///
    /// See [`RootError`]; whatever is not a regular file is refused without waiting for it.
    pub fn read(&self, path: &Path) -> Result<(File, Stat), RootError> {
        let failed = |errno| RootError::from_errno(path, errno);
        // Without O_NONBLOCK, opening a FIFO waits until somebody writes to it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.open_permitted(path, flags).map_err(|error| error.about(path))?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((File::from(file), stat)),
            FileType::Directory => Err(RootError::invalid(path, "a folder; only regular files can be read")),
            _ => Err(RootError::invalid(path, "a device, pipe or socket; only regular files can be read")),
        }
    }

    /// The folder that holds `path`, and its name therein; none for the root itself.
    fn parent<'a>(&self, path: &'a Path) -> Result<Option<(OwnedFd, &'a OsStr)>, RootError> {
        let Some(name) = path.file_name() else { return Ok(None) };
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.closed.is_some_and(|closed| name == closed) {
            return Err(Refused::Closed.about(path));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = self.open_permitted(parent, flags).map_err(|error| error.about(path))?;
        Ok(Some((folder, name)))
    }

    /// Where the links of `path` lead in the end, relative to the root. Unlike elsewhere, a link may name the root by its
    /// absolute path.
    ///
    /// # Errors
    ///
    /// [`RootError::NotFound`] when that is nothing, or outside of the root: what is out there is not told.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, RootError> {
        let end = self.end_of(path).ok().flatten();
        let end = end.filter(|end| self.closed.is_none_or(|closed| end.iter().all(|name| name != closed)));
        end.ok_or_else(|| RootError::NotFound(path::escape(path.as_os_str().as_bytes())))
    }

    /// The same for the host itself: none when there is nothing, or it is outside of the root.
    ///
    /// # Errors
    ///
    /// When it cannot be found out.
    pub fn end_of(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let from = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        // Opens nothing for use: only the name of the end is asked for.
        let end = match rustix::fs::openat(&self.folder, from, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(end) => end,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let (end, root) = (real_path(end.as_fd())?, real_path(self.folder())?);
        Ok(end.strip_prefix(root).ok().map(Path::to_owned))
    }

    /// Opens `path` for whoever asks: beneath the root, and in no folder that is closed.
    fn open_permitted(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Refused> {
        let Some(closed) = self.closed else { return Ok(self.open_beneath(path, flags, Mode::empty())?) };
        // As long as no link is followed, the path itself says where it leads.
        match self.open_with(path, flags, Mode::empty(), BENEATH.union(ResolveFlags::NO_SYMLINKS)) {
            Ok(_) if path.iter().any(|name| name == closed) => return Err(Refused::Closed),
            Err(Errno::LOOP) => {}
            opened => return Ok(opened?),
        }
        let opened = self.open_beneath(path, flags, Mode::empty())?;
        let place = real_path(opened.as_fd()).map_err(|_| Refused::Closed)?;
        let root = real_path(self.folder()).map_err(|_| Refused::Closed)?;
        match place.strip_prefix(&root).unwrap_or(&place).iter().any(|name| name == closed) {
            true => Err(Refused::Closed),
            false => Ok(opened),
        }
    }

    /// Opens `path` beneath the root.
    fn open_beneath(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        self.open_with(path, flags, mode, BENEATH)
    }

    fn open_with(&self, path: &Path, flags: OFlags, mode: Mode, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        // The kernel gives up with EAGAIN when folders are moved while it resolves `..` of a link.
        for _ in 0..64 {
            match rustix::fs::openat2(&self.folder, path, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS | Errno::PERM) if !has_openat2(self.folder()) => {
                    return open_stepwise(self.folder(), path, flags, mode);
                }
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// Why something is not opened for whoever asks.
enum Refused {
    Closed,
    Errno(Errno),
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl Refused {
    fn about(self, path: &Path) -> RootError {
        match self {
            Self::Closed => RootError::Closed(path::escape(path.as_os_str().as_bytes())),
            Self::Errno(errno) => RootError::from_errno(path, errno),
        }
    }
}

/// What stands there itself, not what it leads to.
pub(crate) const NO_FOLLOW: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::NO_AUTOMOUNT);

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Whether the kernel (5.6 or newer) and the container let us call `openat2`.
fn has_openat2(folder: BorrowedFd<'_>) -> bool {
    rustix::fs::openat2(folder, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), BENEATH).is_ok()
}

/// The same without `openat2`: one component after the other, following no link at all.
fn open_stepwise(folder: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let mut names: Vec<&OsStr> = path.iter().collect();
    let last = names.pop().unwrap_or(OsStr::new("."));
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(folder, ".", step, Mode::empty())?;
    for name in names {
        at = rustix::fs::openat(&at, name, step, Mode::empty())?;
    }
    rustix::fs::openat(&at, last, flags | OFlags::NOFOLLOW, mode)
}

/// Where an open folder is, according to the kernel.
fn real_path(folder: BorrowedFd<'_>) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

/// Modification time in nanoseconds since the Unix epoch.
pub fn modified_ns(stat: &Stat) -> i64 {
    nanoseconds(stat.st_mtime, stat.st_mtime_nsec)
}

/// Time of the last access in nanoseconds since the Unix epoch.
pub fn accessed_ns(stat: &Stat) -> i64 {
    nanoseconds(stat.st_atime, stat.st_atime_nsec)
}

#[expect(clippy::unnecessary_cast, reason = "the types differ between architectures")]
fn nanoseconds(seconds: i64, nanoseconds: u64) -> i64 {
    (seconds as i64).saturating_mul(1_000_000_000).saturating_add(nanoseconds as i64)
}

#[cfg(test)]
mod tests;
