//! Moving aside instead of removing, so that it can be had back for a while.
//!
//! What goes is renamed into a folder of upkeep's own in the root (`.upkeep-undo/RUN`), under a number: it stays what it is,
//! with mode, owner, times and all. What stood where is told by a *ledger* in the state directory, out of reach of
//! whoever may write to the root. A line of it is durable before what it tells of is moved, so that nothing that was moved
//! is ever without its name; a line whose number is not there was not acted on, or is undone, or has expired.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::plan::Item;
use super::{ASIDE, RemovalError, Total, file_name, folder};
use crate::clock::Timestamp;
use crate::root::{self, NO_FOLLOW, Place, Root, path};

mod undo;

pub use undo::{Undone, undo};

/// Things in one folder of what is aside: file systems slow down with larger ones.
const SHARD: u64 = 10_000;

/// Bytes of a name that are kept behind its number.
const NAME: usize = 200;

/// The first line of a ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Header {
    /// Name of the root.
    root: String,
    /// Its folder, without links; escaped.
    path: String,
    /// Until when they can be had back.
    until: Timestamp,
}

/// A line of a ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// What is aside under this number.
    Moved { number: u64, path: String },
    /// A folder that was removed, since an empty one can be made again.
    Folder {
        path: String,
        mode: u32,
        uid: u32,
        gid: u32,
        accessed_ns: i64,
        modified_ns: i64,
        /// Names and values, in base64.
        attributes: Vec<(String, String)>,
    },
}

/// Where the things of one run and root go.
#[derive(Debug)]
pub struct Aside {
    /// `.upkeep-undo/RUN` in the root.
    folder: OwnedFd,
    shard: Option<(u64, OwnedFd)>,
    ledger: BufWriter<File>,
    file: PathBuf,
    next: u64,
}

/// Why something was not moved.
#[derive(Debug)]
pub(super) enum Unmoved {
    /// It is not what was seen.
    Changed,
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
    let shown = root.path().join(ASIDE);
    let failed = |errno: Errno| RemovalError::Root(format!("{}: {}", shown.display(), std::io::Error::from(errno)));
    match rustix::fs::mkdirat(root.folder(), ASIDE, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let folder = open_folder(root.folder(), OsStr::new(ASIDE)).map_err(failed)?;
    let stat = rustix::fs::fstat(&folder).map_err(failed)?;
    let own = rustix::fs::fstat(root.folder()).map_err(failed)?;
    let is_ours = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0;
    if is_ours && stat.st_dev == own.st_dev {
        return Ok(folder);
    }
    // Somebody else could look into it, exchange what is in it, or keep it on another disk.
    let message = "it is to be a folder of upkeep's user that nobody else can enter; remove it, and it is made anew";
    Err(RemovalError::Root(format!("{}: {message}", shown.display())))
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

impl Aside {
    /// Opens it for the things of a run, which can be had back `until`; goes on where an earlier attempt ended.
    ///
    /// # Errors
    ///
    /// When the folder in the root is somebody else's, or the ledger cannot be written.
    pub fn open(root: &Root, run_folder: &Path, root_name: &str, until: Timestamp) -> Result<Self, RemovalError> {
        let above = open_aside(root)?;
        let run = run_folder.file_name().unwrap_or_default();
        let shown = root.path().join(ASIDE).join(run);
        let failed = |errno: Errno| RemovalError::Root(format!("{}: {}", shown.display(), std::io::Error::from(errno)));
        match rustix::fs::mkdirat(&above, run, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
        let folder = open_folder(&above, run).map_err(failed)?;

        let file = run_folder.join(file_name(root_name, "ledger"));
        let failed = RemovalError::state(&file);
        std::fs::create_dir_all(run_folder).map_err(&failed)?;
        let mut ledger = File::options().create(true).read(true).append(true).open(&file).map_err(&failed)?;
        lock(&ledger, &file)?;
        let mut next = 0;
        let mut ends_well = true;
        for line in BufReader::new(&ledger).split(b'\n') {
            line.map_err(&failed)?;
            next += 1;
        }
        let length = ledger.seek(SeekFrom::End(0)).map_err(&failed)?;
        if length > 0 {
            let mut last = [0];
            ledger.seek(SeekFrom::End(-1)).and_then(|_| ledger.read_exact(&mut last)).map_err(&failed)?;
            ends_well = last == *b"\n";
        }
        let mut aside = Self { folder, shard: None, ledger: BufWriter::new(ledger), file: file.clone(), next };
        if length == 0 {
            let path = path::escape(root.path().as_os_str().as_bytes());
            aside.write(&Header { root: root_name.to_owned(), path, until })?;
            aside.sync()?;
            super::sync_folder(&aside.file)?;
        } else if !ends_well {
            // Cut off by a crash: it was not acted on.
            aside.ledger.write_all(b"\n").map_err(RemovalError::state(&aside.file))?;
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

    /// Writes down that a folder is going to be removed.
    pub(super) fn announce_folder(&mut self, item: &Item, place: Place<'_>, seen: &Stat) -> Result<(), RemovalError> {
        let attributes = open_folder(place.folder, place.name).map(|folder| attributes(&folder)).unwrap_or_default();
        self.write(&Line::Folder {
            path: item.path.clone(),
            mode: seen.st_mode & 0o7777,
            uid: seen.st_uid,
            gid: seen.st_gid,
            accessed_ns: root::accessed_ns(seen),
            modified_ns: root::modified_ns(seen),
            attributes,
        })
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
        // If something else took its name meanwhile, it stays here, and the ledger knows where it belongs.
        rustix::fs::renameat_with(into, &name, place.folder, place.name, RenameFlags::NOREPLACE)?;
        Err(Unmoved::Changed)
    }
}

/// Extended attributes with their values in base64; those that cannot be read are left out.
fn attributes(folder: &OwnedFd) -> Vec<(String, String)> {
    let mut names = vec![0_u8; 1 << 16];
    let Ok(length) = rustix::fs::flistxattr(folder, &mut names) else { return Vec::new() };
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .filter_map(|name| {
            let mut value = vec![0_u8; 1 << 16];
            let length = rustix::fs::fgetxattr(folder, OsStr::from_bytes(name), &mut value).ok()?;
            Some((encode(name), encode(&value[..length])))
        })
        .collect()
}

fn lock(ledger: &File, file: &Path) -> Result<(), RemovalError> {
    rustix::fs::flock(ledger, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
        Errno::WOULDBLOCK => {
            let message = "something else works with what this run moved aside; try again when it is done";
            RemovalError::broken(file, message)
        }
        errno => RemovalError::state(file)(errno.into()),
    })
}

/// A ledger, open for reading.
struct Ledger {
    header: Header,
    lines: BufReader<File>,
    file: PathBuf,
}

impl Ledger {
    /// Not locked yet.
    fn open(file: &Path) -> Result<Self, RemovalError> {
        let failed = RemovalError::state(file);
        let open = File::open(file).map_err(&failed)?;
        let mut lines = BufReader::new(open);
        let mut first = String::new();
        lines.read_line(&mut first).map_err(&failed)?;
        let header = serde_json::from_str(&first).map_err(|error| RemovalError::broken(file, error))?;
        Ok(Self { header, lines, file: file.to_owned() })
    }

    /// Keeps everybody else away from it.
    fn lock(&self) -> Result<(), RemovalError> {
        lock(self.lines.get_ref(), &self.file)
    }

    /// The folder of its root as a path.
    fn root_path(&self) -> Result<PathBuf, RemovalError> {
        // Absolute, which `path::parse` does not take.
        let below = self.header.path.trim_start_matches('/');
        let parsed = path::parse(below).map_err(|error| RemovalError::broken(&self.file, error))?;
        Ok(Path::new("/").join(parsed))
    }

    /// All lines that are whole, once more from the first.
    fn each(&mut self, mut act: impl FnMut(Line) -> Result<(), RemovalError>) -> Result<(), RemovalError> {
        let failed = RemovalError::state(&self.file);
        self.lines.seek(SeekFrom::Start(0)).map_err(&failed)?;
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.lines.read_until(b'\n', &mut line).map_err(&failed)? == 0 {
                return Ok(());
            }
            // The header, and what a crash cut off, are no lines; such a line was not acted on.
            if let Ok(line) = serde_json::from_slice(&line) {
                act(line)?;
            }
        }
    }
}

/// All ledgers of a run, in any order.
fn ledgers(run_folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run_folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|it| it == "ledger")).collect()
}

/// Whether something may be had back of the run with this folder.
pub(super) fn has_ledger(run_folder: &Path) -> bool {
    !ledgers(run_folder).is_empty()
}

/// Where one run's things are in its root; none when there is nothing (any more).
fn open_run(root: &Root, run: &OsStr) -> Result<Option<OwnedFd>, RemovalError> {
    match rustix::fs::statat(root.folder(), ASIDE, NO_FOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        _ => {}
    }
    let above = open_aside(root)?;
    match open_folder(&above, run) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => {
            let shown = root.path().join(ASIDE).join(run);
            Err(RemovalError::Root(format!("{}: {}", shown.display(), std::io::Error::from(errno))))
        }
    }
}

/// Removes the folders of a run that are empty by now; whether all of it is gone.
fn remove_empty(root: &Root, run: &OsStr) -> bool {
    let Ok(above) = open_folder(root.folder(), OsStr::new(ASIDE)) else { return true };
    if let Ok(folder) = open_folder(&above, run)
        && let Ok(shards) = rustix::fs::Dir::read_from(&folder)
    {
        for shard in shards.flatten() {
            // Also tries `.` and `..`, which never go.
            let _ = rustix::fs::unlinkat(&folder, shard.file_name(), AtFlags::REMOVEDIR);
        }
    }
    let gone = matches!(rustix::fs::unlinkat(&above, run, AtFlags::REMOVEDIR), Ok(()) | Err(Errno::NOENT));
    // Only when it is empty.
    let _ = rustix::fs::unlinkat(root.folder(), ASIDE, AtFlags::REMOVEDIR);
    gone
}

/// Removes for good what runs moved aside from this root and promised to keep until a time before `now`.
///
/// # Errors
///
/// When a ledger cannot be read, or something in it cannot be removed.
pub fn expire(state_dir: &Path, root: &Root, now: Timestamp, go_on: impl Fn() -> bool) -> Result<Total, RemovalError> {
    let mut expired = Total::default();
    let runs = std::fs::read_dir(folder(state_dir)).into_iter().flatten().flatten();
    for run in runs {
        for file in ledgers(&run.path()) {
            let mut ledger = Ledger::open(&file)?;
            if ledger.header.until > now || ledger.root_path()? != root.path() {
                continue;
            }
            ledger.lock()?;
            let run = run.file_name();
            if let Some(folder) = open_run(root, &run)? {
                let mut shards = Shards::new(&folder);
                ledger.each(|line| {
                    let Line::Moved { number, path } = line else { return Ok(()) };
                    if !go_on() {
                        return Err(RemovalError::Cancelled);
                    }
                    let path = path::parse(&path).map_err(|error| RemovalError::broken(&file, error))?;
                    let Some(shard) = shards.of(number) else { return Ok(()) };
                    let name = kept_name(number, &path);
                    let Ok(stat) = rustix::fs::statat(shard, &name, NO_FOLLOW) else { return Ok(()) };
                    match rustix::fs::unlinkat(shard, &name, AtFlags::empty()) {
                        Ok(()) => expired.add(u64::try_from(stat.st_size).unwrap_or(0)),
                        Err(Errno::NOENT) => {}
                        Err(errno) => {
                            let shown = root.path().join(ASIDE).join(&run);
                            let error = std::io::Error::from(errno);
                            return Err(RemovalError::Root(format!("{}: {error}", shown.display())));
                        }
                    }
                    Ok(())
                })?;
            }
            remove_empty(root, &run);
            std::fs::remove_file(&file).map_err(RemovalError::state(&file))?;
        }
    }
    Ok(expired)
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
    fn of(&mut self, number: u64) -> Option<&OwnedFd> {
        let shard = number / SHARD;
        if self.open.as_ref().is_none_or(|(open, _)| *open != shard) {
            self.open = Some((shard, open_folder(self.folder, &shard_name(shard)).ok()));
        }
        self.open.as_ref().and_then(|(_, open)| open.as_ref())
    }
}
