//! Folders that are restored into. Every entry is reached through its open parent and no link is followed, so that
//! nothing that stands in the target, or is put there meanwhile, leads a restore out of it.
//!
//! What is under way has a name of its own ([`part_name`]) and gets its real one when it is complete.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustic_core::repofile::Node;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

/// How the names of files begin that are not complete yet.
pub const PART: &str = ".upkeep-part-";

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// An open folder of the target.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    /// Whether this restore made it: then nobody else has put anything there yet.
    is_new: bool,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Folder {
    /// The folder at a path that the operator wrote: here links are followed.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Errno> {
        match rustix::fs::open(path, FOLDER, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, is_new: false })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn child(&self, name: &OsStr) -> Result<Self, Errno> {
        let fd = rustix::fs::openat(&self.fd, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(Self { fd, is_new: false })
    }

    /// The folder at a path below this one.
    pub(super) fn below(&self, path: &Path) -> Result<Self, Errno> {
        let mut at = self.child(OsStr::new("."))?;
        for name in path {
            at = at.child(name)?;
        }
        Ok(at)
    }

    /// Makes a folder that only its owner may use until it gets its mode.
    pub(super) fn make(&self, name: &OsStr) -> Result<Self, Errno> {
        rustix::fs::mkdirat(&self.fd, name, Mode::RWXU)?;
        Ok(Self { is_new: true, ..self.child(name)? })
    }

    /// Whether this restore made it: then there is nothing in it that could be in the way.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn stat(&self, name: &OsStr) -> Result<Option<Stat>, Errno> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a regular file for reading.
    pub(super) fn read(&self, name: &OsStr) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map(File::from)
    }

    /// The file of that name that an interrupted restore left, if it is one that nobody else can have put there.
    pub(super) fn reopen_part(&self, name: &OsStr) -> Option<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let is_ours = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_nlink == 1
            && stat.st_uid == rustix::process::geteuid().as_raw();
        is_ours.then(|| File::from(file))
    }

    pub(super) fn make_part(&self, name: &OsStr) -> Result<File, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR).map(File::from);
        match make() {
            Err(Errno::EXIST) => {
                self.remove(name)?;
                make()
            }
            made => made,
        }
    }

    /// Removes anything but a folder; that nothing stands there is fine.
    pub(super) fn remove(&self, name: &OsStr) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives what is complete its name.
    pub(super) fn complete(&self, part: &OsStr, name: &OsStr, replace: bool) -> Result<(), Errno> {
        if !replace {
            match rustix::fs::renameat_with(&self.fd, part, &self.fd, name, RenameFlags::NOREPLACE) {
                // Some filesystems do not have it.
                Err(Errno::INVAL | Errno::NOSYS) if self.stat(name)?.is_none() => {}
                done => return done,
            }
        }
        rustix::fs::renameat(&self.fd, part, &self.fd, name)
    }

    /// Removes what an interrupted restore left and no later one used.
    pub(super) fn sweep(&self) -> Result<(), Errno> {
        let mut left = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            if is_part(OsStr::from_bytes(entry.file_name().to_bytes())) {
                left.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
            }
        }
        for name in left {
            self.remove(&name)?;
        }
        Ok(())
    }
}

fn is_part(name: &OsStr) -> bool {
    let digits = name.as_bytes().strip_prefix(PART.as_bytes());
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

/// What an entry is called until it is complete: the same for the same content, so that another restore goes on with it.
pub(super) fn part_name(name: &OsStr, node: &Node) -> OsString {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update(node.meta.size.to_le_bytes());
    for blob in node.content.iter().flatten() {
        hash.update(blob.to_hex().as_bytes());
    }
    let digits: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{PART}{digits}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed_and_parts_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("outside")).unwrap();
        std::fs::create_dir(folder.path().join("target")).unwrap();
        std::os::unix::fs::symlink("../outside", folder.path().join("target/link")).unwrap();
        let target = Folder::open(&folder.path().join("target")).unwrap().unwrap();
        assert!(target.child(OsStr::new("link")).is_err());
        assert!(target.below(Path::new("link/deeper")).is_err());
        assert!(Folder::open(&folder.path().join("none")).unwrap().is_none());

        let part = part_name(OsStr::new("file"), &Node::default());
        assert_ne!(part, part_name(OsStr::new("other"), &Node::default()));
        drop(target.make_part(&part).unwrap());
        assert!(target.reopen_part(&part).is_some());
        std::fs::write(folder.path().join("target/file"), "theirs").unwrap();
        assert_eq!(target.complete(&part, OsStr::new("file"), false), Err(Errno::EXIST));
        target.sweep().unwrap();
        assert!(target.stat(&part).unwrap().is_none());
        assert_eq!(std::fs::read_to_string(folder.path().join("target/file")).unwrap(), "theirs");
    }
}
