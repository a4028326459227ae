//! A folder that comes back on trial, and the questions that can be put to it.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::FileType;
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::config::grant::DrillGrant;
use crate::drill::{DrillError, Place};
use crate::repository::restore::Request;
use crate::repository::{Repository, Snapshot, Tell, restore};
use crate::root::exclude::Exclude;
use crate::root::walk::WalkOptions;
use crate::root::{Root, modified_ns};

/// Room that is kept free beside what is restored.
const SPARE: u64 = 64 << 20;

/// What a snapshot has at a path, restored.
#[derive(Debug)]
pub struct Restored {
    root: Root,
    /// The path that was restored, absolute.
    path: PathBuf,
    /// How it went.
    pub result: restore::Restored,
    /// Restoring and comparing, in milliseconds.
    pub duration_ms: u64,
    /// Dropped last.
    _place: Place,
}

/// What some files are together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// When the newest was modified.
    pub newest: Option<Timestamp>,
}

impl Restored {
    /// Restores what the snapshot has at `path`, and compares it with the snapshot.
    ///
    /// # Errors
    ///
    /// When it does not fit, or cannot be restored.
    pub fn make(
        repository: &Repository,
        snapshot: &Snapshot,
        path: &Path,
        grant: &DrillGrant,
        state: &Path,
        tell: Tell,
    ) -> Result<Self, DrillError> {
        let started = Instant::now();
        let place = Place::make(state, &grant.folder)?;
        let target = place.folder().join("files");
        let reader = repository.reader()?;
        // With its whole path, as an operator restores it.
        let request = Request { only: Some(path), ..Request::new(snapshot, Path::new("/"), &target) };
        let plan = reader.plan(&request)?;
        fits(plan.write.bytes, plan.write.bytes.saturating_add(SPARE), grant)?;
        let mut result = reader.restore(&request, &plan, tell.clone())?;
        // What the restore wrote is read once more: that the disk took it is what a drill is for.
        result.differences = reader.verify(&request, tell)?.differences;
        let root = Root::open(&target)?;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Self { root, path: path.to_owned(), result, duration_ms, _place: place })
    }

    /// The files that one of the patterns matches; without patterns all.
    ///
    /// # Errors
    ///
    /// When a pattern is none, or the folder cannot be read.
    pub fn count(&self, patterns: &[String]) -> Result<Tally, DrillError> {
        let wanted = Exclude::new(patterns).map_err(DrillError::Invalid)?;
        let top = self.path.strip_prefix("/").unwrap_or(&self.path);
        let mut tally = Tally::default();
        let exclude = Exclude::new(&[]).map_err(DrillError::Invalid)?;
        let options = WalkOptions { exclude, max_depth: None, one_filesystem: false, together: 1 };
        if self.root.stat(top).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile) {
            tally.add(&self.root.stat(top)?);
            return Ok(tally);
        }
        for found in self.root.walk(top, options)? {
            if found.kind() != FileType::RegularFile {
                continue;
            }
            let full = Path::new(std::ffi::OsStr::from_bytes(&found.path));
            let below = full.strip_prefix(top).unwrap_or(full);
            // A pattern that matches a folder stands for all that is in it.
            let is_wanted = patterns.is_empty()
                || wanted.matches(below, false)
                || below.ancestors().skip(1).any(|folder| wanted.matches(folder, true));
            if is_wanted {
                tally.add(&found.stat);
            }
        }
        Ok(tally)
    }

    /// The SHA-256 of the content of the file that had this absolute path.
    ///
    /// # Errors
    ///
    /// When there is no such file.
    pub fn checksum(&self, path: &Path) -> Result<String, DrillError> {
        let below = path.strip_prefix("/").map_err(|_| {
            DrillError::Invalid(format!("{} is not absolute; write it as the snapshot has it", path.display()))
        })?;
        let (mut file, _) = self.root.read(below)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DrillError::Invalid(format!("{}: {error}", path.display()))),
            }
        }
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Tally {
    fn add(&mut self, stat: &rustix::fs::Stat) {
        self.files += 1;
        self.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        let modified = Timestamp(modified_ns(stat) / 1_000_000);
        self.newest = Some(self.newest.map_or(modified, |newest| newest.max(modified)));
    }
}

/// Whether something of `bytes` may be restored, for which `needed` bytes have to be free.
pub(super) fn fits(bytes: u64, needed: u64, grant: &DrillGrant) -> Result<(), DrillError> {
    if bytes > grant.max_size.0 {
        return Err(DrillError::TooLarge { bytes, max_size: grant.max_size });
    }
    let folder = grant.folder.clone();
    let disk = rustix::fs::statvfs(&folder)
        .map_err(|error| DrillError::Place { folder: folder.clone(), error: error.to_string() })?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < needed { Err(DrillError::NoRoom { folder, free, needed }) } else { Ok(()) }
}
