//! Owner, mode, times and extended attributes (ACLs are among them): set, and compared with what was saved.
//!
//! Owners go by name where this server knows the name, since the same service often has another number on a new server;
//! otherwise by number. Who is not root cannot give files away, so then owners are neither set nor compared.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustic_core::jiff;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};

use crate::repository::node;

/// Who owns what is restored.
#[derive(Debug)]
pub(super) struct Owners {
    numeric: bool,
    is_root: bool,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    users: HashMap<String, Option<u32>>,
    groups: HashMap<String, Option<u32>>,
    unknown: BTreeSet<String>,
}

impl Owners {
    pub(super) fn new(numeric: bool) -> Self {
        Self { numeric, is_root: rustix::process::geteuid().is_root(), names: Mutex::default() }
    }

    /// Owner and group that an entry gets; none where they cannot be given.
    pub(super) fn of(&self, meta: &Metadata) -> Option<(u32, u32)> {
        let (uid, gid) = (meta.uid?, meta.gid?);
        if !self.is_root {
            return None;
        }
        if self.numeric {
            return Some((uid, gid));
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let Names { users, groups, unknown } = &mut *names;
        let mut known = |cache: &mut HashMap<String, Option<u32>>, name: &Option<String>, what, look: fn(&str) -> _| {
            let name = name.as_deref().filter(|name| !name.is_empty())?;
            if let Some(found) = cache.get(name) {
                return *found;
            }
            let found: Option<u32> = look(name);
            if found.is_none() {
                unknown.insert(format!("{what} {name}"));
            }
            cache.insert(name.to_owned(), found);
            found
        };
        let uid = known(users, &meta.user, "user", node::user_number).unwrap_or(uid);
        let gid = known(groups, &meta.group, "group", node::group_number).unwrap_or(gid);
        Some((uid, gid))
    }

    /// Whether an entry belongs to somebody whom we cannot give it to.
    pub(super) fn is_out_of_reach(&self, meta: &Metadata) -> bool {
        !self.is_root && meta.uid.is_some_and(|uid| uid != rustix::process::geteuid().as_raw())
    }

    /// Names that this server does not know, so far.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).unknown.iter().cloned().collect()
    }
}

/// What gets attributes: something open, or an entry of an open folder that is not followed.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    Open(BorrowedFd<'a>),
    Entry(BorrowedFd<'a>, &'a OsStr),
}

/// Sets what can be set. What is refused shows as a difference to whoever compares.
pub(super) fn give(what: What<'_>, node: &Node, owners: &Owners) {
    let meta = &node.meta;
    // In this order: another owner takes set-user-id bits and capabilities away, and a mode changes the mask of an ACL.
    if let Some((uid, gid)) = owners.of(meta) {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let _ = match what {
            What::Open(fd) => rustix::fs::fchown(fd, uid, gid),
            What::Entry(folder, name) => rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        };
    }
    if let Some(mode) = meta.mode.map(|mode| Mode::from_raw_mode(node::unix_mode(mode))) {
        let _ = match what {
            What::Open(fd) => rustix::fs::fchmod(fd, mode),
            What::Entry(..) if node.is_symlink() => Ok(()),
            What::Entry(folder, name) => rustix::fs::chmodat(folder, name, mode, AtFlags::empty()),
        };
    }
    for attribute in &meta.extended_attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        let _ = match what {
            What::Open(fd) => rustix::fs::fsetxattr(fd, &*attribute.name, value, XattrFlags::empty()),
            What::Entry(..) => rustix::fs::lsetxattr(path(what), &*attribute.name, value, XattrFlags::empty()),
        };
    }
    if let Some((tv_sec, tv_nsec)) = meta.mtime.map(seconds) {
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        let _ = match what {
            What::Open(fd) => rustix::fs::futimens(fd, &times),
            What::Entry(folder, name) => rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW),
        };
    }
}

/// The value of an extended attribute; empty where there is none.
fn read(what: What<'_>, name: &str) -> Vec<u8> {
    node::grown(|buffer| match what {
        What::Open(fd) => rustix::fs::fgetxattr(fd, name, buffer),
        What::Entry(..) => rustix::fs::lgetxattr(path(what), name, buffer),
    })
}

/// The kernel offers no calls for extended attributes relative to a folder, except by way of /proc.
fn path(what: What<'_>) -> PathBuf {
    let (folder, name) = match what {
        What::Open(fd) => (fd, None),
        What::Entry(folder, name) => (folder, Some(name)),
    };
    let folder = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    name.map_or(folder.clone(), |name| folder.join(name))
}

/// A time as the system counts it: nanoseconds count forward also before 1970.
fn seconds(time: jiff::Timestamp) -> (i64, i64) {
    let (seconds, nanoseconds) = (time.as_second(), i64::from(time.subsec_nanosecond()));
    if nanoseconds < 0 { (seconds - 1, nanoseconds + 1_000_000_000) } else { (seconds, nanoseconds) }
}

/// Whether a file was last modified when the saved one was.
pub(super) fn is_of_time(found: &Stat, meta: &Metadata) -> bool {
    meta.mtime.map(seconds) == Some(time(found))
}

#[expect(clippy::unnecessary_cast, reason = "the types differ between architectures")]
fn time(found: &Stat) -> (i64, i64) {
    (found.st_mtime as i64, found.st_mtime_nsec as i64)
}

/// Whether what was found is of the kind that was saved.
pub(super) fn is_same_kind(found: &Stat, node: &Node) -> bool {
    let kind = FileType::from_raw_mode(found.st_mode);
    match &node.node_type {
        NodeType::File => kind == FileType::RegularFile,
        NodeType::Dir => kind == FileType::Directory,
        NodeType::Symlink { .. } => kind == FileType::Symlink,
        NodeType::Dev { device } => kind == FileType::BlockDevice && found.st_rdev == *device,
        NodeType::Chardev { device } => kind == FileType::CharacterDevice && found.st_rdev == *device,
        NodeType::Fifo => kind == FileType::Fifo,
        NodeType::Socket => kind == FileType::Socket,
    }
}

/// What stands there, in words.
pub(super) fn kind_name(found: &Stat) -> &'static str {
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a link",
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::Unknown => "something unknown",
    }
}

/// What is not as it was saved, apart from the content of files.
pub(super) fn difference(found: &Stat, what: What<'_>, node: &Node, owners: &Owners) -> Option<String> {
    if !is_same_kind(found, node) {
        return Some(format!("it is {}", kind_name(found)));
    }
    let meta = &node.meta;
    if node.is_file() && u64::try_from(found.st_size).ok() != Some(meta.size) {
        return Some(format!("it has {} bytes instead of {}", found.st_size, meta.size));
    }
    if let (What::Entry(folder, name), true) = (what, node.is_symlink()) {
        let target = rustix::fs::readlinkat(folder, name, Vec::new());
        if !target.is_ok_and(|target| target.as_bytes() == link_bytes(node)) {
            return Some("it points elsewhere".to_owned());
        }
    }
    let (mode, saved) = (found.st_mode & 0o7777, meta.mode.map(node::unix_mode));
    if let Some(saved) = saved.filter(|saved| *saved != mode && !node.is_symlink()) {
        return Some(format!("its mode is {mode:04o} instead of {saved:04o}"));
    }
    if meta.mtime.is_some() && !is_of_time(found, meta) {
        return Some("its time is another".to_owned());
    }
    if let Some((uid, gid)) = owners.of(meta).filter(|owner| *owner != (found.st_uid, found.st_gid)) {
        return Some(format!("its owner is {}:{} instead of {uid}:{gid}", found.st_uid, found.st_gid));
    }
    let lost = meta.extended_attributes.iter().find(|saved| {
        let is_same =
            |value: Vec<u8>| Some(&value) == saved.value.as_ref() || (value.is_empty() && saved.value.is_none());
        !is_same(read(what, &saved.name))
    });
    lost.map(|lost| match &*lost.name {
        "system.posix_acl_access" | "system.posix_acl_default" => "its ACL is another".to_owned(),
        name => format!("its extended attribute {name} is another"),
    })
}

pub(super) fn link_bytes(node: &Node) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    node.node_type.to_link().as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_counted_as_the_system_does() {
        let time = |nanoseconds: i128| seconds(jiff::Timestamp::from_nanosecond(nanoseconds).unwrap());
        assert_eq!(time(1_500_000_000), (1, 500_000_000));
        assert_eq!(time(-500_000_000), (-1, 500_000_000));
        assert_eq!(time(-2_000_000_000), (-2, 0));
    }
}
