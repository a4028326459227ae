//! Moving aside instead of removing, so that it can be had back for a while.
//!
//! What goes is renamed into a folder of upkeep's own in the root (`.upkeep-undo/RUN-ROOT`), under a number: it stays what it is,
//! with mode, owner, times and all. What stood where is told by a *ledger* in the state directory, out of reach of
//! whoever may write to the root. A line of it is durable before what it tells of is moved, so that nothing that was moved
//! is ever without its name; a line whose number is not there was not acted on, or is undone, or has expired.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use serde::Serialize;

use self::ledger::{Folder, Header, Line, open_to_add};
use super::plan::Item;
use super::{ASIDE, RemovalError, attributes, file_name, file_stem};
use crate::clock::Timestamp;
use crate::root::{NO_FOLLOW, Place, Root, path};

mod expire;
mod ledger;
mod undo;

pub use expire::expire;
pub use undo::{Undone, undo};

/// Things in one folder of what is aside: file systems slow down with larger ones.
const SHARD: u64 = 10_000;

/// Bytes of a name that are kept behind its number.
const NAME: usize = 200;

/// Where the things of one run and root go.
#[derive(Debug)]
pub struct Aside {
    /// `.upkeep-undo/RUN-ROOT` in the root.
    folder: OwnedFd,
    shard: Option<(u64, OwnedFd)>,
    ledger: BufWriter<File>,
    file: std::path::PathBuf,
    next: u64,
}

/// Why something was not moved.
#[derive(Debug)]
pub(super) enum Unmoved {
    /// It is not what was seen.
    Changed,
    /// It was not what was seen, and something else took its place before it was back: it has this name now.
    Displaced(OsString),
    /// The system refuses.
    Errno(Errno),
}

impl From<Errno> for Unmoved {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// Opens the folder in which a root keeps what is aside; made where there is none.
fn open_aside(root: &Root) -> Result<OwnedFd, RemovalError> {
    let failed = |errno| refused(root, None, errno);
    match rustix::fs::mkdirat(root.folder(), ASIDE, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let is_ours = match open_folder(root.folder(), OsStr::new(ASIDE)) {
        Ok(folder) => {
            let stat = rustix::fs::fstat(&folder).map_err(failed)?;
            let own = rustix::fs::fstat(root.folder()).map_err(failed)?;
            let is_private = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0;
            Some(folder).filter(|_| is_private && stat.st_dev == own.st_dev)
        }
        // A link, or no folder at all.
        Err(Errno::LOOP | Errno::NOTDIR) => None,
        Err(errno) => return Err(failed(errno)),
    };
    // Else somebody could look into it, exchange what is in it, or keep it on another disk.
    is_ours.ok_or_else(|| {
        let message =
            "it is to be a folder of upkeep's user that nobody else can enter; remove it, and it is made anew";
        RemovalError::Root(format!("{}: {message}", root.path().join(ASIDE).display()))
    })
}

/// What is told when what is aside, or the things of one run in it, cannot be worked with.
fn refused(root: &Root, run: Option<&OsStr>, errno: Errno) -> RemovalError {
    let mut place = root.path().join(ASIDE);
    place.extend(run);
    let error = std::io::Error::from(errno);
    let remedy = match errno {
        Errno::PERM | Errno::ACCESS => "; upkeep's user may not write there",
        Errno::ROFS => "; its filesystem is read-only",
        Errno::NOSPC | Errno::DQUOT => "; nothing can be kept there to be had back: make room by hand first",
        _ => "",
    };
    RemovalError::Root(format!("{}: {error}{remedy}", place.display()))
}

/// The name of the folder in which things of a run are kept: two roots may be the same folder.
fn kept_folder(run_folder: &Path, root_name: &str) -> OsString {
    let mut name = run_folder.file_name().unwrap_or_default().to_owned();
    name.push("-");
    name.push(file_stem(root_name));
    name
}

fn open_folder(above: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(above, name, flags, Mode::empty())
}

/// The folder of the things with numbers from `SHARD * shard` on.
fn shard_name(shard: u64) -> OsString {
    shard.to_string().into()
}

/// The name under which the thing that stood at `path` is kept.
fn kept_name(number: u64, path: &Path) -> OsString {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let mut kept = format!("{number}-").into_bytes();
    kept.extend_from_slice(&name[..name.len().min(NAME)]);
    OsString::from_vec(kept)
}

/// The name that something gets which was taken by mistake, and whose own name is another's by now.
fn beside_name(number: u64, path: &Path) -> OsString {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let mut beside = name[..name.len().min(NAME)].to_vec();
    beside.extend_from_slice(format!(".upkeep-{number}").as_bytes());
    OsString::from_vec(beside)
}

impl Aside {
    /// Opens it for the things of a run, which can be had back `until`; goes on where an earlier attempt ended.
    ///
    /// # Errors
    ///
    /// When the folder in the root is somebody else's, or the ledger cannot be written.
    pub fn open(root: &Root, run_folder: &Path, root_name: &str, until: Timestamp) -> Result<Self, RemovalError> {
        let above = open_aside(root)?;
        let file = run_folder.join(file_name(root_name, "ledger"));
        std::fs::create_dir_all(run_folder).map_err(RemovalError::state(&file))?;
        let (ledger, header, next) = open_to_add(&file)?;
        let path = path::escape(root.path().as_os_str().as_bytes());
        if let Some(header) = &header
            && header.path != path
        {
            return Err(RemovalError::broken(&file, format_args!("it is of {}, not of {path}", header.path)));
        }

        let name = kept_folder(run_folder, root_name);
        let failed = |errno| refused(root, Some(&name), errno);
        match rustix::fs::mkdirat(&above, &name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let folder = open_folder(&above, &name).map_err(failed)?;

        let mut aside = Self { folder, shard: None, ledger: BufWriter::new(ledger), file: file.clone(), next };
        if header.is_none() {
            aside.write(&Header { root: root_name.to_owned(), path, inode: inode_of(root)?, until })?;
            aside.sync()?;
            super::sync_folder(&aside.file)?;
        }
        Ok(aside)
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), RemovalError> {
        let written = serde_json::to_writer(&mut self.ledger, line).map_err(std::io::Error::from);
        written.and_then(|()| self.ledger.write_all(b"\n")).map_err(RemovalError::state(&self.file))
    }

    /// Makes what was announced durable.
    pub(super) fn sync(&mut self) -> Result<(), RemovalError> {
        let failed = RemovalError::state(&self.file);
        self.ledger.flush().map_err(&failed)?;
        self.ledger.get_ref().sync_data().map_err(&failed)
    }

    /// Writes down that an item is going to be moved; gives its number. Acted on may it be after [`Aside::sync`].
    pub(super) fn announce(&mut self, item: &Item) -> Result<u64, RemovalError> {
        let number = self.next;
        self.next += 1;
        self.write(&Line::Moved { number, path: item.path.clone() })?;
        Ok(number)
    }

    /// Writes down that a folder is going to be removed. It was modified when the plan says: by now that is when the last
    /// thing went from it.
    pub(super) fn announce_folder(&mut self, item: &Item, place: Place<'_>, seen: &Stat) -> Result<(), RemovalError> {
        let mut folder = Folder::new(item.path.clone(), seen, item.modified_ns);
        if let Ok(open) = open_folder(place.folder, place.name) {
            folder.set_attributes(attributes::read(open));
        }
        self.next += 1;
        self.write(&Line::Folder(folder))
    }

    /// Moves what stands at `place`, if it is what was seen.
    pub(super) fn take(&mut self, number: u64, place: Place<'_>, item: &Item, path: &Path) -> Result<(), Unmoved> {
        let name = kept_name(number, path);
        let shard = number / SHARD;
        if self.shard.as_ref().is_none_or(|(open, _)| *open != shard) {
            let folder = shard_name(shard);
            match rustix::fs::mkdirat(&self.folder, &folder, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            self.shard = Some((shard, open_folder(&self.folder, &folder)?));
        }
        let Some((_, into)) = &self.shard else { return Err(Unmoved::Changed) };
        rustix::fs::renameat_with(place.folder, place.name, into, &name, RenameFlags::NOREPLACE)?;
        // Looked at where nobody else can exchange it any more.
        let moved = rustix::fs::statat(into, &name, NO_FOLLOW)?;
        if item.is_same(&moved) {
            return Ok(());
        }
        let put_back = |name_there: &OsStr| {
            rustix::fs::renameat_with(into, &name, place.folder, name_there, RenameFlags::NOREPLACE)
        };
        match put_back(place.name) {
            Ok(()) => Err(Unmoved::Changed),
            // It was not to go, so it must not stay here, where it would expire.
            Err(Errno::EXIST) => {
                let beside = beside_name(number, path);
                put_back(&beside)?;
                Err(Unmoved::Displaced(beside))
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Whether something may be had back of the run with this folder.
pub(super) fn has_ledger(run_folder: &Path) -> bool {
    !ledger::ledgers(run_folder).is_empty()
}

/// Where one run's things are in its root; none when there is nothing (any more).
fn open_run(root: &Root, run: &OsStr) -> Result<Option<OwnedFd>, RemovalError> {
    if let Err(Errno::NOENT) = rustix::fs::statat(root.folder(), ASIDE, NO_FOLLOW) {
        return Ok(None);
    }
    match open_folder(&open_aside(root)?, run) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(refused(root, Some(run), errno)),
    }
}

/// Removes the folders of a run that are empty by now; whether all of it is gone, durably.
fn remove_empty(root: &Root, run: &OsStr) -> Result<bool, RemovalError> {
    let failed = |errno| refused(root, Some(run), errno);
    let above = match open_folder(root.folder(), OsStr::new(ASIDE)) {
        Ok(above) => above,
        Err(Errno::NOENT) => return Ok(true),
        Err(errno) => return Err(failed(errno)),
    };
    if let Ok(folder) = open_folder(&above, run)
        && let Ok(shards) = rustix::fs::Dir::read_from(&folder)
    {
        for shard in shards.flatten() {
            // Also tries `.` and `..`, which never go.
            let _ = rustix::fs::unlinkat(&folder, shard.file_name(), AtFlags::REMOVEDIR);
        }
    }
    let is_gone = match rustix::fs::unlinkat(&above, run, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => true,
        Err(Errno::NOTEMPTY | Errno::EXIST) => false,
        Err(errno) => return Err(failed(errno)),
    };
    // Before its ledger goes: what a power cut brings back must not be without its name.
    rustix::fs::fsync(&above).map_err(failed)?;
    // Only when it is empty.
    if rustix::fs::unlinkat(root.folder(), ASIDE, AtFlags::REMOVEDIR).is_ok() {
        rustix::fs::fsync(root.folder()).map_err(failed)?;
    }
    Ok(is_gone)
}

/// The number of a root's folder in its filesystem.
fn inode_of(root: &Root) -> Result<u64, RemovalError> {
    let failed = |errno| RemovalError::Root(format!("{}: {}", root.path().display(), std::io::Error::from(errno)));
    rustix::fs::fstat(root.folder()).map(|stat| stat.st_ino).map_err(failed)
}

/// The shards of a run, opened one after the other.
struct Shards<'a> {
    folder: &'a OwnedFd,
    open: Option<(u64, Option<OwnedFd>)>,
}

impl<'a> Shards<'a> {
    fn new(folder: &'a OwnedFd) -> Self {
        Self { folder, open: None }
    }

    /// The shard of a number; none when there is none (any more).
    fn of(&mut self, number: u64) -> Result<Option<&OwnedFd>, Errno> {
        let shard = number / SHARD;
        if self.open.as_ref().is_none_or(|(open, _)| *open != shard) {
            let opened = match open_folder(self.folder, &shard_name(shard)) {
                Ok(opened) => Some(opened),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno),
            };
            self.open = Some((shard, opened));
        }
        Ok(self.open.as_ref().and_then(|(_, open)| open.as_ref()))
    }
}
