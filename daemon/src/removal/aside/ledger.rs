//! The ledger of what one run moved aside in one root: a header, then one line of JSON for each thing.
//!
//! A line is durable before what it tells of is done. So a line that was cut off by a crash, also the header, tells of
//! nothing, and a ledger without a header tells of nothing at all.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::removal::RemovalError;
use crate::removal::attributes::Attributes;
use crate::root::path;

/// The first line of a ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Header {
    /// Name of the root.
    pub(super) root: String,
    /// Its folder, without links; escaped.
    pub(super) path: String,
    /// The number of its folder in its filesystem: another one means that a disk is not mounted, or that the folder was made
    /// anew. Not the device's, which may be another after each start.
    pub(super) inode: u64,
    /// Until when they can be had back.
    pub(super) until: Timestamp,
}

impl Header {
    /// The folder of its root as a path.
    pub(super) fn root_path(&self) -> Result<PathBuf, String> {
        // Absolute, which `path::parse` does not take.
        let below = path::parse(self.path.trim_start_matches('/')).map_err(|error| error.to_string())?;
        Ok(Path::new("/").join(below))
    }
}

/// A line of a ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// What is aside under this number.
    Moved { number: u64, path: String },
    /// A folder that was removed, since an empty one can be made again.
    Folder(Folder),
}

/// A folder that was removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Folder {
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) accessed_ns: i64,
    pub(super) modified_ns: i64,
    /// Names and values, in base64.
    attributes: Vec<(String, String)>,
}

impl Folder {
    pub(super) fn set_attributes(&mut self, attributes: Attributes) {
        use std::os::unix::ffi::OsStrExt;
        let encoded = attributes.iter().map(|(name, value)| (BASE64.encode(name.as_bytes()), BASE64.encode(value)));
        self.attributes = encoded.collect();
    }

    pub(super) fn attributes(&self) -> Attributes {
        let decode = |text: &String| BASE64.decode(text).ok();
        let decoded = self.attributes.iter();
        decoded.filter_map(|(name, value)| Some((OsString::from_vec(decode(name)?), decode(value)?))).collect()
    }

    pub(super) fn new(path: String, stat: &rustix::fs::Stat, modified_ns: i64) -> Self {
        Self {
            path,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            accessed_ns: crate::root::accessed_ns(stat),
            modified_ns,
            attributes: Vec::new(),
        }
    }
}

/// A ledger, open for reading.
pub(super) struct Ledger {
    lines: BufReader<File>,
    pub(super) file: PathBuf,
}

impl Ledger {
    /// Opens it; none when it has gone.
    pub(super) fn open(file: &Path) -> Result<Option<Self>, RemovalError> {
        match File::open(file) {
            Ok(open) => Ok(Some(Self { lines: BufReader::new(open), file: file.to_owned() })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RemovalError::state(file)(error)),
        }
    }

    /// Keeps everybody else away from it; gives whether it is still there.
    pub(super) fn lock(&self) -> Result<bool, RemovalError> {
        lock(self.lines.get_ref(), &self.file)
    }

    /// Its header; none when it tells of nothing.
    pub(super) fn header(&mut self) -> Result<Option<Header>, RemovalError> {
        let mut first = Vec::new();
        let read = self.lines.seek(SeekFrom::Start(0)).and_then(|_| self.lines.read_until(b'\n', &mut first));
        read.map_err(RemovalError::state(&self.file))?;
        if let Ok(header) = serde_json::from_slice(&first) {
            return Ok(Some(header));
        }
        let mut lines = 0;
        self.each(|_| {
            lines += 1;
            Ok(())
        })?;
        match lines {
            0 => Ok(None),
            _ => Err(RemovalError::broken(&self.file, "its first line is damaged; what it tells of is left alone")),
        }
    }

    /// All lines that are whole, once more from the first.
    pub(super) fn each(&mut self, mut act: impl FnMut(Line) -> Result<(), RemovalError>) -> Result<(), RemovalError> {
        let failed = RemovalError::state(&self.file);
        self.lines.seek(SeekFrom::Start(0)).map_err(&failed)?;
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.lines.read_until(b'\n', &mut line).map_err(&failed)? == 0 {
                return Ok(());
            }
            // The header, and what a crash cut off, are no lines.
            if let Ok(line) = serde_json::from_slice(&line) {
                act(line)?;
            }
        }
    }
}

/// Opens the ledger at `file` to add to it, and keeps everybody else away from it; it is made where there is none. Gives
/// its header when it has one, and the number of its lines; it then ends with the end of a line.
pub(super) fn open_to_add(file: &Path) -> Result<(File, Option<Header>, u64), RemovalError> {
    let failed = RemovalError::state(file);
    let mut open = loop {
        let open = File::options().create(true).read(true).append(true).open(file).map_err(&failed)?;
        if lock(&open, file)? {
            break open;
        }
    };
    let reader = open.try_clone().map_err(&failed)?;
    let header = Ledger { lines: BufReader::new(reader), file: file.to_owned() }.header()?;
    if header.is_none() {
        open.set_len(0).map_err(&failed)?;
        return Ok((open, None, 0));
    }
    open.seek(SeekFrom::Start(0)).map_err(&failed)?;
    let (mut lines, mut last) = (0, b'\n');
    let mut buffer = vec![0; 1 << 16];
    loop {
        match open.read(&mut buffer).map_err(&failed)? {
            0 => break,
            read => {
                lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
                last = buffer[read - 1];
            }
        }
    }
    if last != b'\n' {
        use std::io::Write;
        open.write_all(b"\n").map_err(&failed)?;
        lines += 1;
    }
    Ok((open, header, lines))
}

/// Locks an open ledger; gives whether it is still the one at `file`.
fn lock(ledger: &File, file: &Path) -> Result<bool, RemovalError> {
    match rustix::fs::flock(ledger, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(RemovalError::Busy { file: file.to_owned() }),
        Err(errno) => return Err(RemovalError::state(file)(errno.into())),
    }
    // Whoever had it locked before may have removed it.
    let stat = rustix::fs::fstat(ledger).map_err(|errno| RemovalError::state(file)(errno.into()))?;
    Ok(stat.st_nlink > 0)
}

/// All ledgers of a run, in any order.
pub(super) fn ledgers(run_folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run_folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|it| it == "ledger")).collect()
}
