//! A repository in a folder of this machine.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::storage::throttle::{Limits, PIECE};
use crate::storage::{Entry, Fault, LOCKS, StorageError, Store};

#[derive(Debug)]
pub(super) struct Folder {
    folder: PathBuf,
    limits: Limits,
}

impl Folder {
    pub(super) fn new(folder: PathBuf, limits: Limits) -> Self {
        Self { folder, limits }
    }

    fn write_file(&self, path: &Path, content: &[Bytes]) -> std::io::Result<()> {
        let mut file = match File::create_new(path) {
            // The folder of a pack is made when its first pack comes.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
                File::create_new(path)?
            }
            opened => opened?,
        };
        for bytes in content {
            match &self.limits.upload {
                Some(bucket) => {
                    for piece in bytes.chunks(PIECE) {
                        bucket.pay(piece.len());
                        file.write_all(piece)?;
                    }
                }
                None => file.write_all(bytes)?,
            }
        }
        file.sync_all()
    }
}

/// What the system says of a path, with the remedy where there is one.
fn failure(action: &str, path: &Path, error: &std::io::Error) -> StorageError {
    let fault = match error.kind() {
        ErrorKind::NotFound => Fault::Missing,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Fault::Refused,
        _ => Fault::Other,
    };
    let remedy = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; make room on the disk of the repository, then run it again"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "; mount it writable, and under systemd name it in ReadWritePaths= of the unit"
        }
        ErrorKind::PermissionDenied => "; correct its owner or its rights",
        _ => "",
    };
    StorageError::new(fault, format!("{} cannot be {action}: {error}{remedy}", path.display()))
}

/// A name for the time in which the file is not whole, that no other write has.
fn unfinished(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!("-tmp-{}-{count}", std::process::id()));
    name.into()
}

impl Store for Folder {
    fn make(&self) -> Result<(), StorageError> {
        let packs = (0_u8..=255).map(|first| format!("data/{first:02x}"));
        for part in ["data", "index", "keys", "snapshots", LOCKS].into_iter().map(str::to_owned).chain(packs) {
            let path = self.folder.join(part);
            fs::create_dir_all(&path).map_err(|error| failure("made", &path, &error))?;
        }
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        let mut folders = vec![self.folder.join(folder)];
        while let Some(folder) = folders.pop() {
            let failed = |error: std::io::Error| failure("listed", &folder, &error);
            let read = match fs::read_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                read => read.map_err(failed)?,
            };
            for entry in read {
                let entry = entry.map_err(failed)?;
                if entry.file_type().map_err(failed)?.is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                let Ok(name) = entry.file_name().into_string() else { continue };
                // A link may stand for a file that was moved to another disk.
                match fs::metadata(entry.path()) {
                    Ok(metadata) => entries.push(Entry { name, size: metadata.len() }),
                    // A file that was being written, or was removed meanwhile.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(entries)
    }

    fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        let path = self.folder.join(path);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure("read", &path, &error)),
        }
    }

    fn read(&self, path: &str, range: Option<(u64, u64)>) -> Result<Bytes, StorageError> {
        let path = self.folder.join(path);
        let read = || {
            let file = File::open(&path)?;
            let (offset, length) = match range {
                Some(range) => range,
                None => (0, file.metadata()?.len()),
            };
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            match &self.limits.download {
                Some(bucket) => {
                    for (number, piece) in bytes.chunks_mut(PIECE).enumerate() {
                        bucket.pay(piece.len());
                        file.read_exact_at(piece, offset + (number * PIECE) as u64)?;
                    }
                }
                None => file.read_exact_at(&mut bytes, offset)?,
            }
            Ok(bytes.into())
        };
        read().map_err(|error: std::io::Error| failure("read", &path, &error))
    }

    fn write(&self, path: &str, content: Vec<Bytes>) -> Result<(), StorageError> {
        let path = self.folder.join(path);
        let unfinished = unfinished(&path);
        let written = self.write_file(&unfinished, &content).and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(|error| {
            // What is left of it would take the room that may be missing.
            let _ = fs::remove_file(&unfinished);
            failure("written", &path, &error)
        })
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        let path = self.folder.join(path);
        fs::remove_file(&path).map_err(|error| failure("removed", &path, &error))
    }
}
