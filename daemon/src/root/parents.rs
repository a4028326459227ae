//! The folders that hold what is to be changed, one path after the other.
//!
//! Stricter than the rest of a root: no link is followed on the way, and no other filesystem is entered. What is then done
//! by name in the open folder happens in the folder that was found, whatever is swapped meanwhile.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::root::{BENEATH, NO_FOLLOW, Root, RootError};

/// How long a folder is taken to stand where it was found. What is moved out of the root meanwhile is not followed for
/// longer, and looking for it some fifty times a second costs nothing.
pub(super) const FOUND: Duration = Duration::from_millis(20);

/// Finds the folders of many paths. That of the last one stays open for a moment, since the next one mostly stands beside it.
#[derive(Debug)]
pub struct Parents<'a> {
    root: &'a Root,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    folder: OwnedFd,
    found: Instant,
}

/// A place in an open folder.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    /// The folder.
    pub folder: BorrowedFd<'p>,
    /// The name therein.
    pub name: &'p OsStr,
}

impl Place<'_> {
    /// What stands there; a link is not followed.
    ///
    /// # Errors
    ///
    /// `ENOENT` when there is nothing.
    pub fn stat(&self) -> Result<Stat, Errno> {
        rustix::fs::statat(self.folder, self.name, NO_FOLLOW)
    }
}

impl Root {
    /// Starts to look for folders.
    pub fn parents(&self) -> Parents<'_> {
        Parents { root: self, open: None }
    }
}

impl Parents<'_> {
    /// The place of `path`, which is relative to the root.
    ///
    /// # Errors
    ///
    /// [`RootError::NotFound`] when its folder is gone, [`RootError::Invalid`] when a link or another filesystem stands in the
    /// way, or the root itself is meant.
    pub fn place<'p>(&'p mut self, path: &'p Path) -> Result<Place<'p>, RootError> {
        let Some(name) = path.file_name() else {
            return Err(RootError::invalid(path, "the root itself stays"));
        };
        let above = path.parent().unwrap_or(Path::new(""));
        if self.open.as_ref().is_none_or(|open| open.path != above || open.found.elapsed() >= FOUND) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let strict = BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            // Also when it cannot be opened any more, the one that was open is not used.
            self.open = None;
            let opened = self.root.open_with(above, flags, Mode::empty(), strict);
            let folder = opened.map_err(|errno| match errno {
                // A path from a guest holds no `..`, and no link was followed: it cannot have led out.
                Errno::XDEV => RootError::invalid(path, "it is on another filesystem"),
                errno => RootError::from_errno(path, errno),
            })?;
            self.open = Some(Open { path: above.to_owned(), folder, found: Instant::now() });
        }
        match &self.open {
            Some(open) => Ok(Place { folder: open.folder.as_fd(), name }),
            None => Err(RootError::invalid(path, "its folder is not open")),
        }
    }
}
