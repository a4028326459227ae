//! Putting back what a run moved aside.
//!
//! Folders that were removed are made again first, those above before those within; then everything is renamed to where it
//! stood, unless something else stands there by now; at last the folders get their times, which change with all that is
//! put into them.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine;
use rustix::fs::{AtFlags, Gid, Mode, RenameFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ASIDE, Ledger, Line, NO_FOLLOW, Root, Shards, kept_name, ledgers, open_folder, open_run, path, remove_empty,
};
use crate::removal::{RemovalError, Total, sync_folder};
use crate::root::RootError;

/// Paths that are named; further ones are counted.
const MOST_NAMED: usize = 100;

/// What was put back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undone {
    /// What stands again where it stood.
    pub restored: Total,
    /// Folders that were made again.
    pub folders: u64,
    /// What is still aside, since it could not be put back.
    pub left: u64,
    /// The first of what is left, as `path: reason`.
    pub problems: Vec<String>,
}

impl Undone {
    fn leave(&mut self, path: &str, reason: impl std::fmt::Display) {
        self.left += 1;
        if self.problems.len() < MOST_NAMED {
            self.problems.push(format!("{path}: {reason}"));
        }
    }
}

/// A folder that was removed.
struct Folder {
    path: std::path::PathBuf,
    mode: u32,
    uid: u32,
    gid: u32,
    accessed_ns: i64,
    modified_ns: i64,
    attributes: Vec<(String, String)>,
    made: bool,
}

/// Puts back what the run with this folder moved aside; none when it moved nothing, or all of it is gone.
///
/// # Errors
///
/// When a ledger cannot be read, or a root is not there. What cannot be put back stays aside and is told in [`Undone`].
pub fn undo(run_folder: &Path) -> Result<Option<Undone>, RemovalError> {
    let mut undone = None;
    for file in ledgers(run_folder) {
        let mut ledger = Ledger::open(&file)?;
        ledger.lock()?;
        let path = ledger.root_path()?;
        let root = Root::open(&path)
            .map_err(|error| RemovalError::Root(format!("the folder that it was removed from: {error}")))?;
        let run = run_folder.file_name().unwrap_or_default();
        let of_root = undone.get_or_insert_with(Undone::default);
        let left = of_root.left;
        put_back(&root, run, &mut ledger, of_root)?;
        if remove_empty(&root, run) && of_root.left == left {
            std::fs::remove_file(&file).map_err(RemovalError::state(&file))?;
            sync_folder(&file)?;
        }
    }
    Ok(undone)
}

fn put_back(root: &Root, run: &std::ffi::OsStr, ledger: &mut Ledger, undone: &mut Undone) -> Result<(), RemovalError> {
    let mut folders = Vec::new();
    let file = ledger.file.clone();
    let parse = |text: &str| path::parse(text).map_err(|error| RemovalError::broken(&file, error));
    ledger.each(|line| {
        if let Line::Folder { path, mode, uid, gid, accessed_ns, modified_ns, attributes } = line {
            let path = parse(&path)?;
            folders.push(Folder { path, mode, uid, gid, accessed_ns, modified_ns, attributes, made: false });
        }
        Ok(())
    })?;
    // The deepest went first.
    let mut parents = root.parents();
    for folder in folders.iter_mut().rev() {
        match make(&mut parents, folder) {
            Ok(()) => undone.folders += u64::from(folder.made),
            Err(reason) => undone.leave(&path::escape(folder.path.as_os_str().as_bytes()), reason),
        }
    }
    if let Some(aside) = open_run(root, run)? {
        let mut shards = Shards::new(&aside);
        // A folder that was opened before it was made again is another one.
        let mut parents = root.parents();
        ledger.each(|line| {
            let Line::Moved { number, path: text } = line else { return Ok(()) };
            let path = parse(&text)?;
            let Some(shard) = shards.of(number) else { return Ok(()) };
            let name = kept_name(number, &path);
            // Not there: it was never moved, or is back already.
            let Ok(stat) = rustix::fs::statat(shard, &name, NO_FOLLOW) else { return Ok(()) };
            let place = match parents.place(&path) {
                Ok(place) => place,
                Err(RootError::NotFound(_)) => {
                    undone.leave(&text, "the folder that it stood in is gone; make it, and undo once more");
                    return Ok(());
                }
                Err(error) => {
                    undone.leave(&text, error);
                    return Ok(());
                }
            };
            match rustix::fs::renameat_with(shard, &name, place.folder, place.name, RenameFlags::NOREPLACE) {
                Ok(()) => undone.restored.add(u64::try_from(stat.st_size).unwrap_or(0)),
                Err(Errno::EXIST) => {
                    undone.leave(&text, format_args!("something else stands there now; it is kept in {ASIDE}"))
                }
                Err(errno) => undone.leave(&text, std::io::Error::from(errno)),
            }
            Ok(())
        })?;
    }
    for folder in folders.iter().filter(|folder| folder.made) {
        let time = |ns: i64| Timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) };
        let times = Timestamps { last_access: time(folder.accessed_ns), last_modification: time(folder.modified_ns) };
        if let Ok(place) = root.parents().place(&folder.path) {
            // A wrong time is no reason to call it not put back.
            let _ = rustix::fs::utimensat(place.folder, place.name, &times, AtFlags::SYMLINK_NOFOLLOW);
        }
    }
    Ok(())
}

/// Makes a folder again, unless there is one.
fn make(parents: &mut crate::root::Parents<'_>, folder: &mut Folder) -> Result<(), String> {
    let place = parents.place(&folder.path).map_err(|error| error.to_string())?;
    match rustix::fs::mkdirat(place.folder, place.name, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(errno) => return Err(std::io::Error::from(errno).to_string()),
    }
    folder.made = true;
    let failed =
        |errno: Errno| format!("it was made again, but not with its owner and mode: {}", std::io::Error::from(errno));
    let made = open_folder(place.folder, place.name).map_err(failed)?;
    for (name, value) in &folder.attributes {
        let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
        if let (Some(name), Some(value)) = (decode(name), decode(value)) {
            let name = std::ffi::OsStr::from_bytes(&name);
            rustix::fs::fsetxattr(&made, name, &value, XattrFlags::empty()).map_err(failed)?;
        }
    }
    match rustix::fs::fchown(&made, Some(Uid::from_raw(folder.uid)), Some(Gid::from_raw(folder.gid))) {
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(failed(errno)),
    }
    rustix::fs::fchmod(&made, Mode::from_raw_mode(folder.mode)).map_err(failed)?;
    File::from(made).sync_all().map_err(|error| error.to_string())
}
