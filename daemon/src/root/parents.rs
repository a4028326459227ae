//! The folders that hold what is to be changed, one path after the other.
//!
//! Stricter than the rest of a root: no link is followed on the way, and no other filesystem is entered. What is then done
//! by name in the open folder happens in the folder that was found, whatever is swapped meanwhile.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::root::{BENEATH, NO_FOLLOW, Root, RootError};

/// Finds the folders of many paths. That of the last one stays open, since the next one mostly stands beside it.
#[derive(Debug)]
pub struct Parents<'a> {
    root: &'a Root,
    open: Option<(PathBuf, OwnedFd)>,
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
        if self.open.as_ref().is_none_or(|(open, _)| open != above) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let strict = BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let opened = self.root.open_with(above, flags, Mode::empty(), strict);
            let folder = opened.map_err(|errno| match errno {
                // A path from a guest holds no `..`, and no link was followed: it cannot have led out.
                Errno::XDEV => RootError::invalid(path, "it is on another filesystem"),
                errno => RootError::from_errno(path, errno),
            })?;
            self.open = Some((above.to_owned(), folder));
        }
        match &self.open {
            Some((_, folder)) => Ok(Place { folder: folder.as_fd(), name }),
            None => Err(RootError::invalid(path, "its folder is not open")),
        }
    }
}
