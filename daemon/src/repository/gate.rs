//! What stands between rustic_core and the repository's storage during a backup, and while something is removed.
//!
//! rustic_core goes on after many errors and writes the snapshot all the same, without the files that failed. The gate
//! lets a snapshot through only when every write before it went well and the run was not ended; so what is listed
//! is complete. Nor does it let a backup remove anything: who may append may do no more. It also syncs the folders that
//! new files were renamed in, so that a snapshot that is listed after a power loss has all that it refers to.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use crate::repository::lock::LockWatch;
use crate::repository::{Watch, message};

#[derive(Debug)]
pub(super) struct Gate {
    inner: Arc<dyn WriteBackend>,
    /// The repository's folder, where it is one.
    folder: Option<PathBuf>,
    /// Folders with files that were made since the last sync.
    written: Mutex<BTreeSet<PathBuf>>,
    watch: Arc<Watch>,
    /// Under which it is written, where that is so.
    lock: Option<LockWatch>,
    /// Whether files may be removed.
    removes: bool,
}

impl Gate {
    pub(super) fn new(
        inner: Arc<dyn WriteBackend>,
        folder: Option<PathBuf>,
        watch: Arc<Watch>,
        lock: Option<LockWatch>,
    ) -> Self {
        Self { inner, folder, written: Mutex::default(), watch, lock, removes: false }
    }

    /// Lets files be removed too.
    pub(super) fn removing(self) -> Self {
        Self { removes: true, ..self }
    }

    fn demand_lock(&self) -> RusticResult<()> {
        if let Some(Err(lost)) = self.lock.as_ref().map(LockWatch::still_held) {
            self.note_failure(lost.to_string());
            return Self::refuse("the lock is lost");
        }
        Ok(())
    }

    fn refuse<T>(reason: &str) -> RusticResult<T> {
        Err(RusticError::new(ErrorKind::Backend, reason))
    }

    fn note_failure(&self, failure: String) {
        self.watch.state().failure.get_or_insert(failure);
    }

    fn note_written(&self, file: FileType, id: &Id) {
        let Some(folder) = &self.folder else { return };
        let folder = match file {
            FileType::Config => folder.clone(),
            FileType::Pack => folder.join(file.dirname()).join(&id.to_hex().as_str()[..2]),
            _ => folder.join(file.dirname()),
        };
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(folder);
    }

    fn sync(&self) -> RusticResult<()> {
        // Locked until it is done: whoever comes meanwhile relies on it too.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for folder in std::mem::take(&mut *written) {
            if let Err(error) = std::fs::File::open(&folder).and_then(|folder| folder.sync_all()) {
                let failure = format!("{} cannot be synced to disk: {error}", folder.display());
                self.note_failure(failure.clone());
                return Self::refuse(&failure);
            }
        }
        Ok(())
    }
}

impl ReadBackend for Gate {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn list_with_size(&self, file: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.inner.list_with_size(file)
    }

    fn list(&self, file: FileType) -> RusticResult<Vec<Id>> {
        self.inner.list(file)
    }

    fn read_full(&self, file: FileType, id: &Id) -> RusticResult<Bytes> {
        self.inner.read_full(file, id)
    }

    fn read_partial(&self, file: FileType, id: &Id, cache: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        self.inner.read_partial(file, id, cache, offset, length)
    }

    fn warmup_path(&self, file: FileType, id: &Id) -> String {
        self.inner.warmup_path(file, id)
    }
}

impl WriteBackend for Gate {
    fn create(&self) -> RusticResult<()> {
        self.inner.create()
    }

    fn write_bytes(&self, file: FileType, id: &Id, cache: bool, content: BytesList) -> RusticResult<()> {
        if self.watch.cancel.is_cancelled() {
            return Self::refuse("the run was ended");
        }
        if self.watch.state().failure.is_some() {
            return Self::refuse("an earlier write failed");
        }
        let is_snapshot = file == FileType::Snapshot;
        if is_snapshot {
            self.demand_lock()?;
            self.sync()?;
        }
        let length = content.size() as u64;
        if let Err(error) = self.inner.write_bytes(file, id, cache, content) {
            self.note_failure(message(&error));
            return Err(error);
        }
        self.watch.written.fetch_add(length, std::sync::atomic::Ordering::Relaxed);
        self.note_written(file, id);
        if is_snapshot { self.sync() } else { Ok(()) }
    }

    /// Who adds has no right to remove, and rustic_core no reason to do it then. Where something is to be removed, what
    /// stands for it must be safe before, and nothing goes when not all of it could be written.
    fn remove(&self, file: FileType, id: &Id, cache: bool) -> RusticResult<()> {
        if !self.removes {
            self.note_failure(format!("a {file} file ({id}) was to be removed, which a backup must not do"));
            return Self::refuse("a backup removes nothing");
        }
        if self.watch.cancel.is_cancelled() {
            return Self::refuse("the run was ended");
        }
        if self.watch.state().failure.is_some() {
            return Self::refuse("an earlier write failed");
        }
        self.demand_lock()?;
        self.sync()?;
        match self.inner.remove(file, id, cache) {
            // Another program was here first, such as `restic prune`, which removes packs that rustic has only marked.
            Err(_) if self.inner.list(file).is_ok_and(|there| !there.contains(id)) => Ok(()),
            Err(error) => {
                self.note_failure(message(&error));
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::grant::RepositoryGrant;
    use crate::config::secret::Secret;
    use crate::repository::Repository;

    #[test]
    fn nothing_is_removed_whatever_is_asked_for_and_no_snapshot_follows() {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "secret").unwrap();
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
        let path = folder.path().join("repository");
        let repository =
            Repository::open_or_make(&RepositoryGrant::new(path.to_str().unwrap(), Secret::File(password))).unwrap();
        let watch = Watch::new(tokio_util::sync::CancellationToken::new());
        let gate = Gate::new(Arc::clone(&repository.backend), Some(path), Arc::clone(&watch), None);
        let content = || BytesList::from(b"content".to_vec());
        for kind in [FileType::Pack, FileType::Index, FileType::Snapshot, FileType::Key] {
            let id = Id::random();
            repository.backend.write_bytes(kind, &id, false, content()).unwrap();
            assert!(gate.remove(kind, &id, false).is_err());
            assert!(repository.backend.list(kind).unwrap().contains(&id), "{kind}");
        }
        assert!(gate.remove(FileType::Config, &Id::default(), false).is_err());
        assert_eq!(repository.backend.list(FileType::Config).unwrap().len(), 1);
        assert!(gate.write_bytes(FileType::Snapshot, &Id::random(), false, content()).is_err());
        assert!(watch.state().failure.as_ref().unwrap().contains("must not do"));
    }
}
