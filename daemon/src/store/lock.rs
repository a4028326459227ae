//! One upkeep per state directory.
//!
//! The lock is a `flock` on `upkeep.lock`, so it ends with its process however that ends, and a stale file means
//! nothing. The process id in the file is only there to be named to a second one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::StoreError;

const FILE: &str = "upkeep.lock";

/// The right to write to a state directory, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct StateLock {
    state_dir: PathBuf,
    _file: File,
}

impl StateLock {
    /// Creates the directory where needed, for its owner only (mode 0700), and takes the lock.
    pub fn acquire(state_dir: &Path) -> Result<Self, StoreError> {
        prepare(state_dir)?;
        let path = state_dir.join(FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| StoreError::io("open", &path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StoreError::Locked { path: state_dir.to_owned(), pid });
            }
            Err(error) => return Err(StoreError::io("lock", &path, error.into())),
        }
        // The lock is the flock: on a full disk it holds without the number.
        let named =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = named {
            tracing::warn!(path = %path.display(), %error, "cannot write the process id into the lock file");
        }
        Ok(Self { state_dir: state_dir.to_owned(), _file: file })
    }

    /// The directory that is locked.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }
}

/// Makes the directory private. One that others can enter is closed to them when it is empty or upkeep's already; any
/// other is refused, since `state_dir = "/tmp"` must not close /tmp.
fn prepare(state_dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|error| StoreError::io("create", state_dir, error))?;
    let metadata = fs::metadata(state_dir).map_err(|error| StoreError::io("read", state_dir, error))?;
    if metadata.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    let empty = fs::read_dir(state_dir).map_err(|error| StoreError::io("read", state_dir, error))?.next().is_none();
    if !empty && !state_dir.join(FILE).exists() {
        return Err(StoreError::Exposed { path: state_dir.to_owned() });
    }
    fs::set_permissions(state_dir, Permissions::from_mode(0o700))
        .map_err(|error| StoreError::io("change the mode of", state_dir, error))
}
