//! What the system knows of a file, as restic writes it down.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde_json::json;

/// Names of users and groups, each looked up once.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<u32, Option<String>>,
    groups: HashMap<u32, Option<String>>,
}

/// Name of a user, where the system knows one.
pub(super) fn user_name(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

fn group_name(gid: u32) -> Option<String> {
    nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
}

/// Number of a user, where the system knows one of that name.
pub(super) fn user_number(name: &str) -> Option<u32> {
    nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

/// Number of a group, where the system knows one of that name.
pub(super) fn group_number(name: &str) -> Option<u32> {
    nix::unistd::Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

/// The entry `name` of the open folder `parent`, of which `stat` is known.
pub(super) fn entry(parent: BorrowedFd<'_>, name: &OsStr, stat: &Stat, names: &mut Names) -> Result<Node, Errno> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
            NodeType::from_link(Path::new(OsStr::from_bytes(target.as_bytes())))
        }
        kind => special(kind, stat),
    };
    // The kernel offers no such call relative to a folder, except by way of /proc; the last name is not followed.
    let path: PathBuf =
        [OsStr::new("/proc/self/fd"), OsStr::new(&parent.as_raw_fd().to_string()), name].iter().collect();
    Ok(node(&path, name, kind, stat, names))
}

/// The folder or file at `path`, of which `stat` is known, as `name`.
pub(super) fn at(path: &Path, name: &OsStr, stat: &Stat, names: &mut Names) -> Node {
    node(path, name, special(FileType::from_raw_mode(stat.st_mode), stat), stat, names)
}

fn special(kind: FileType, stat: &Stat) -> NodeType {
    match kind {
        FileType::Directory => NodeType::Dir,
        FileType::BlockDevice => NodeType::Dev { device: stat.st_rdev },
        FileType::CharacterDevice => NodeType::Chardev { device: stat.st_rdev },
        FileType::Fifo => NodeType::Fifo,
        FileType::Socket => NodeType::Socket,
        _ => NodeType::File,
    }
}

fn node(path: &Path, name: &OsStr, kind: NodeType, stat: &Stat, names: &mut Names) -> Node {
    let is_folder = kind == NodeType::Dir;
    let is_link = matches!(kind, NodeType::Symlink { .. });
    let is_hard_link = !is_folder && stat.st_nlink > 1;
    let size = if kind == NodeType::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
    let modified = time(stat.st_mtime, stat.st_mtime_nsec);
    let metadata = Metadata {
        mode: Some(go_mode(stat.st_mode)),
        mtime: modified,
        // Reading changes it, so every backup would change every folder: restic does the same unless told otherwise.
        atime: modified,
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        uid: Some(stat.st_uid),
        gid: Some(stat.st_gid),
        user: names.users.entry(stat.st_uid).or_insert_with(|| user_name(stat.st_uid)).clone(),
        group: names.groups.entry(stat.st_gid).or_insert_with(|| group_name(stat.st_gid)).clone(),
        inode: stat.st_ino,
        // Some filesystems get another number at each mount; only hard links need it.
        device_id: if is_hard_link { stat.st_dev } else { 0 },
        size,
        links: if is_folder { 0 } else { links(stat) },
        // restic saves none of a link, and restic 0.14 would give them to what the link points to.
        extended_attributes: if is_link { Vec::new() } else { attributes(path) },
    };
    Node::new_node(name, kind, metadata)
}

#[expect(clippy::unnecessary_cast, reason = "the type differs between architectures")]
fn links(stat: &Stat) -> u64 {
    stat.st_nlink as u64
}

#[expect(clippy::unnecessary_cast, clippy::cast_possible_truncation, reason = "the types differ between architectures")]
fn time(seconds: i64, nanoseconds: u64) -> Option<Timestamp> {
    Timestamp::new(seconds as i64, nanoseconds as i32).ok()
}

/// The mode as Go's `io/fs` has it, in which restic is written: <https://pkg.go.dev/io/fs#FileMode>.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let flag = |unix: u32, go: u32| if mode & unix == 0 { 0 } else { go };
    (mode & 0o777) | kind | flag(0o4000, 1 << 23) | flag(0o2000, 1 << 22) | flag(0o1000, 1 << 20)
}

/// The permission bits of [`go_mode`], back.
pub(super) fn unix_mode(mode: u32) -> u32 {
    let flag = |go: u32, unix: u32| if mode & go == 0 { 0 } else { unix };
    (mode & 0o777) | flag(1 << 23, 0o4000) | flag(1 << 22, 0o2000) | flag(1 << 20, 0o1000)
}

/// Extended attributes, as far as they can be read. rustic_core does not export their type; it is met by its JSON.
fn attributes<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let list = grown(|buffer| rustix::fs::llistxattr(path, buffer));
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .filter_map(|name| {
            let value = grown(|buffer| rustix::fs::lgetxattr(path, OsStr::from_bytes(name), buffer));
            // The format wants text; names that are not UTF-8 do not occur in practice.
            let attribute = json!({ "name": std::str::from_utf8(name).ok()?, "value": BASE64.encode(value) });
            serde_json::from_value(attribute).ok()
        })
        .collect()
}

/// Reads into a buffer that is made larger as long as it is too small; empty on any other error.
pub(super) fn grown(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Vec<u8> {
    let mut small = [0; 256];
    match read(&mut small) {
        Ok(0) => return Vec::new(),
        Ok(length) => return small[..length].to_vec(),
        Err(Errno::RANGE) => {}
        Err(_) => return Vec::new(),
    }
    let mut size = 4_096;
    while size <= 1 << 20 {
        let mut buffer = vec![0; size];
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return buffer;
            }
            Err(Errno::RANGE) => size *= 4,
            Err(_) => break,
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_go() {
        // As `restic cat tree` shows them.
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o040_755), 2_147_484_141);
        assert_eq!(go_mode(0o041_777), 2_148_532_735);
        assert_eq!(go_mode(0o120_777), 134_218_239);
        assert_eq!(go_mode(0o104_755), 8_389_101);
        assert_eq!(go_mode(0o020_666), 69_206_454);
        for mode in [0o644, 0o4755, 0o2755, 0o1777, 0o7777] {
            assert_eq!(unix_mode(go_mode(0o100_000 | mode)), mode);
        }
    }
}
