//! Trees of files: one with whatever a backup has to get right, and what makes two of them equal.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes that do not compress, always the same.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Odd names, links, modes, times, holes.
pub(crate) fn fill(folder: &Path) {
    fs::create_dir_all(folder.join("uploads/2026/empty")).expect("a folder");
    let write = |name: &[u8], content: &[u8]| fs::write(folder.join(OsStr::from_bytes(name)), content).expect("a file");
    for number in 0..200 {
        write(format!("uploads/2026/{number}.json").as_bytes(), format!(r#"{{"id": {number}}}"#).as_bytes());
    }
    write(b"uploads/nothing in it", b"");
    write(b"photo.jpg", &noise(3_000_000));
    for name in [&b"not UTF-8 \xff"[..], b"quote\" back\\slash", b"new\nline", "Umläut 文件".as_bytes(), b"-dash", b"*"]
    {
        write(name, name);
    }
    write(b"left-out.tmp", b"");
    symlink("photo.jpg", folder.join("link")).expect("a link");
    symlink("/nowhere/at/all", folder.join("leads nowhere")).expect("a link");
    fs::hard_link(folder.join("photo.jpg"), folder.join("uploads/the same")).expect("a link");
    let holes = fs::File::create(folder.join("holes")).expect("a file");
    holes.set_len(5_000_000).expect("a length");
    for (name, mode) in [("-dash", 0o400), ("photo.jpg", 0o6755), ("uploads", 0o2750), ("uploads/2026", 0o1777)] {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    for name in ["photo.jpg", "link", "uploads/2026/7.json", "uploads/2026/empty", "uploads/2026"] {
        let touch =
            Command::new("touch").args(["-h", "-d", "2001-02-03 04:05:06.789012345"]).arg(folder.join(name)).status();
        assert!(touch.expect("touch can be started").success());
    }
}

/// What is in a tree, each path with all that a restore has to give back. What the task leaves out is left out.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        for entry in fs::read_dir(folder.join(&relative)).expect("a folder") {
            let entry = entry.expect("an entry");
            let (path, metadata) = (relative.join(entry.file_name()), entry.metadata().expect("metadata"));
            let name = path.to_string_lossy();
            if name.starts_with("app.db") || name.ends_with(".tmp") {
                continue;
            }
            let kind = metadata.file_type();
            let content = if kind.is_symlink() {
                format!("-> {:?}", fs::read_link(entry.path()).expect("a link"))
            } else if kind.is_file() {
                format!("{} bytes {:x} in {} links", metadata.len(), hash(&entry.path()), metadata.nlink())
            } else {
                folders.push(path.clone());
                String::new()
            };
            let mode = if kind.is_symlink() { 0 } else { metadata.mode() };
            let (owner, time) = ((metadata.uid(), metadata.gid()), (metadata.mtime(), metadata.mtime_nsec()));
            found.insert(path, format!("{content} {mode:o} {owner:?} {time:?}"));
        }
    }
    found
}

/// FNV-1a: good enough to tell files apart.
fn hash(path: &Path) -> u64 {
    let bytes = fs::read(path).expect("a file");
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Content, modes, owners, times and links are equal.
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (tree(one), tree(other));
    for path in one.keys().chain(other.keys()) {
        assert_eq!(one.get(path), other.get(path), "{}", path.display());
    }
}
