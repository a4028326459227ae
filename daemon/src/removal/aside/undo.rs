//! Putting back what a run moved aside.
//!
//! Folders that were removed are made again first, those above before those within; then everything is renamed to where it
//! stood, unless something else stands there by now; at last the folders get their times, which change with all that is
//! put into them.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, RenameFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ledger::{Folder, Header, Ledger, Line, ledgers};
use super::{Shards, inode_of, kept_folder, kept_name, open_folder, open_run, remove_empty};
use crate::removal::{ASIDE, RemovalError, Total, attributes, sync_folder};
use crate::root::{NO_FOLLOW, Parents, Root, RootError, path};

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
    /// The first of what is left, or is not quite as it was, as `path: reason`.
    pub problems: Vec<String>,
}

impl Undone {
    fn leave(&mut self, path: &str, reason: impl std::fmt::Display) {
        self.left += 1;
        self.tell(path, reason);
    }

    fn add(&mut self, other: Self) {
        self.restored.items += other.restored.items;
        self.restored.bytes += other.restored.bytes;
        self.folders += other.folders;
        self.left += other.left;
        self.problems.extend(other.problems);
        self.problems.truncate(MOST_NAMED);
    }

    fn tell(&mut self, path: &str, reason: impl std::fmt::Display) {
        if self.problems.len() < MOST_NAMED {
            self.problems.push(format!("{path}: {reason}"));
        }
    }
}

/// A folder that was removed.
struct Lost {
    path: PathBuf,
    folder: Folder,
    is_made: bool,
}

/// Puts back what the run with this folder moved aside; none when it moved nothing, or all of it is gone.
///
/// # Errors
///
/// When a ledger cannot be read, or a root is not there. What cannot be put back stays aside and is told in [`Undone`].
pub fn undo(run_folder: &Path) -> Result<Option<Undone>, RemovalError> {
    let (mut undone, mut failed) = (None, Vec::new());
    for file in ledgers(run_folder) {
        if let Err(error) = undo_one(run_folder, &file, &mut undone) {
            failed.push(error);
        }
    }
    match &mut undone {
        // That one root is not there does not keep the others from being put back, nor from being told of.
        Some(undone) => failed.iter().for_each(|error| undone.leave("not put back", error)),
        None => failed.into_iter().next().map_or(Ok(()), Err)?,
    }
    Ok(undone)
}

fn undo_one(run_folder: &Path, file: &Path, undone: &mut Option<Undone>) -> Result<(), RemovalError> {
    let Some(mut ledger) = Ledger::open(file)? else { return Ok(()) };
    if !ledger.lock()? {
        return Ok(());
    }
    let Some(header) = ledger.header()? else { return Ok(()) };
    let mut of_root = Undone::default();
    let is_over = put_back(run_folder, &header, &mut ledger, &mut of_root)?;
    undone.get_or_insert_with(Undone::default).add(of_root);
    if is_over {
        std::fs::remove_file(file).map_err(RemovalError::state(file))?;
        sync_folder(file)?;
    }
    Ok(())
}

/// Puts back what one ledger tells of; whether nothing of it is left.
fn put_back(
    run_folder: &Path,
    header: &Header,
    ledger: &mut Ledger,
    undone: &mut Undone,
) -> Result<bool, RemovalError> {
    let path = header.root_path().map_err(|error| RemovalError::broken(&ledger.file, error))?;
    let root = Root::open(&path)
        .map_err(|error| RemovalError::Root(format!("the folder that it was removed from: {error}")))?;
    let run = kept_folder(run_folder, &header.root);
    let aside = open_run(&root, &run)?;
    if aside.is_none() && header.inode != inode_of(&root)? {
        return Err(RemovalError::Root(format!(
            "{}: this is not the folder that it was removed from, and nothing is kept in it; is its disk mounted?",
            path.display()
        )));
    }
    let mut folders = lost_folders(ledger)?;
    make_folders(&root, &mut folders, undone);
    if let Some(aside) = &aside {
        put_back_files(&root, Shards::new(aside), ledger, undone)?;
    }
    set_times(&root, &folders);
    Ok(remove_empty(&root, &run)? && undone.left == 0)
}

/// The folders that went, those above before those within.
fn lost_folders(ledger: &mut Ledger) -> Result<Vec<Lost>, RemovalError> {
    let (mut folders, file) = (Vec::new(), ledger.file.clone());
    ledger.each(|line| {
        if let Line::Folder(folder) = line {
            let path = path::parse(&folder.path).map_err(|error| RemovalError::broken(&file, error))?;
            folders.push(Lost { path, folder, is_made: false });
        }
        Ok(())
    })?;
    folders.sort_by(|one, other| one.path.cmp(&other.path));
    // One that an attempt could not remove, and the next one did: it went as it was then.
    folders.reverse();
    folders.dedup_by(|one, other| one.path == other.path);
    folders.reverse();
    Ok(folders)
}

fn make_folders(root: &Root, folders: &mut [Lost], undone: &mut Undone) {
    let mut parents = root.parents();
    for lost in folders {
        match make(&mut parents, lost) {
            Ok(None) => {}
            Ok(Some(problem)) => {
                let problem = format_args!("it is made again, but not as it was: {problem}");
                undone.tell(&lost.folder.path, problem);
            }
            Err(reason) => undone.leave(&lost.folder.path, reason),
        }
        undone.folders += u64::from(lost.is_made);
    }
}

/// Makes a folder again, unless there is one; gives what of it could not be set as it was.
fn make(parents: &mut Parents<'_>, lost: &mut Lost) -> Result<Option<String>, String> {
    let place = parents.place(&lost.path).map_err(|error| error.to_string())?;
    let plain = |errno: Errno| std::io::Error::from(errno).to_string();
    match rustix::fs::mkdirat(place.folder, place.name, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(None),
        Err(errno) => return Err(plain(errno)),
    }
    lost.is_made = true;
    let folder = &lost.folder;
    let made = open_folder(place.folder, place.name).map_err(plain)?;
    let owner = rustix::fs::fchown(&made, Some(Uid::from_raw(folder.uid)), Some(Gid::from_raw(folder.gid)));
    let set = [
        attributes::write(&made, &folder.attributes()).map_err(|errno| format!("its attributes: {}", plain(errno))),
        owner.map_err(|errno| format!("its owner: {}", plain(errno))),
        // At last: a change of the owner takes some bits of it away.
        rustix::fs::fchmod(&made, Mode::from_raw_mode(folder.mode))
            .map_err(|errno| format!("its mode: {}", plain(errno))),
    ];
    rustix::fs::fsync(&made).map_err(plain)?;
    Ok(set.into_iter().find_map(Result::err))
}

fn put_back_files(
    root: &Root,
    mut shards: Shards<'_>,
    ledger: &mut Ledger,
    undone: &mut Undone,
) -> Result<(), RemovalError> {
    let file = ledger.file.clone();
    // A folder that was opened before it was made again is another one.
    let mut parents = root.parents();
    ledger.each(|line| {
        let Line::Moved { number, path: text } = line else { return Ok(()) };
        let path = path::parse(&text).map_err(|error| RemovalError::broken(&file, error))?;
        let name = kept_name(number, &path);
        let kept = shards.of(number).and_then(|shard| match shard {
            Some(shard) => Ok(Some((shard, rustix::fs::statat(shard, &name, NO_FOLLOW)?))),
            None => Ok(None),
        });
        let (shard, stat) = match kept {
            Ok(Some(kept)) => kept,
            // It was never moved, or is back already.
            Ok(None) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => {
                undone.leave(&text, std::io::Error::from(errno));
                return Ok(());
            }
        };
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
                undone.leave(&text, format_args!("something else stands there now; it is kept in {ASIDE}"));
            }
            Err(errno) => undone.leave(&text, std::io::Error::from(errno)),
        }
        Ok(())
    })
}

fn set_times(root: &Root, folders: &[Lost]) {
    let time = |ns: i64| Timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) };
    let mut parents = root.parents();
    for Lost { path, folder, .. } in folders.iter().filter(|lost| lost.is_made) {
        let times = Timestamps { last_access: time(folder.accessed_ns), last_modification: time(folder.modified_ns) };
        if let Ok(place) = parents.place(path) {
            // A wrong time is no reason to call it not put back.
            let _ = rustix::fs::utimensat(place.folder, place.name, &times, AtFlags::SYMLINK_NOFOLLOW);
        }
    }
}
