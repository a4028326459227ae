//! Files in a repository's folder that do not belong there: copies that somebody made beside the original, leftovers of a
//! transfer, a pack in the folder of another. Nothing reads them, so nothing is lost; but whoever put them there may
//! believe that something does.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::repository::open::folder;
use crate::root::path;

/// Folders that hold files of the repository.
const FOLDERS: [&str; 5] = ["data", "index", "keys", "locks", "snapshots"];

/// Files that are named; a folder that has more is another kind of problem.
const MOST: usize = 1_000;

/// Their paths below the repository; none where it is no folder on this machine.
pub(super) fn list(url: &str) -> Vec<String> {
    let Some(top) = folder(url) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&top).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name == "config" || name == "lost+found" {
            continue;
        }
        match FOLDERS.iter().find(|known| name == **known) {
            Some(known) => walk(&top, &entry.path(), known, 0, &mut found),
            None => found.push(shown(&top, &entry.path())),
        }
    }
    found.sort();
    found
}

fn walk(top: &Path, folder: &Path, kind: &str, depth: u32, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if found.len() >= MOST {
            return;
        }
        let (name, path) = (entry.file_name(), entry.path());
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_sector = kind == "data" && depth == 0 && name.len() == 2 && is_hexadecimal(&name);
        if is_folder && is_sector {
            walk(top, &path, kind, 1, found);
        } else if is_folder || !belongs(folder, &name, kind, depth) {
            found.push(shown(top, &path));
        }
    }
}

fn belongs(folder: &Path, name: &OsStr, kind: &str, depth: u32) -> bool {
    let is_named = name.len() == 64 && is_hexadecimal(name);
    match kind {
        "data" if depth == 0 => false,
        "data" => is_named && folder.file_name().is_some_and(|sector| name.as_bytes().starts_with(sector.as_bytes())),
        _ => is_named,
    }
}

fn is_hexadecimal(name: &OsStr) -> bool {
    name.as_bytes().iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
}

fn shown(top: &Path, path: &Path) -> String {
    path::escape(path.strip_prefix(top).unwrap_or(path).as_os_str().as_bytes())
}
