//! Where sealed blobs go: into packs, which two threads write, and into index files. The first failure ends it all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{BlobType, ConfigFile};
use rustic_core::{FileType, Id, WriteBackend};

use crate::ArchiveError;
use crate::id::Sha;
use crate::index::{IndexFile, IndexPack, Known};
use crate::pack::{Pack, Packer};
use crate::seal::Sealer;

/// Blobs in one index file, as in restic.
const INDEXED: usize = 50_000;

/// What was added to the repository.
#[derive(Debug, Default)]
pub(crate) struct Added {
    pub(crate) blobs: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) packed: AtomicU64,
}

/// A repository that is being added to.
pub(crate) struct Store {
    backend: Arc<dyn WriteBackend>,
    pub(crate) known: Known,
    data: Packer,
    trees: Packer,
    pub(crate) added_data: Added,
    pub(crate) added_trees: Added,
    /// None when no more packs come.
    full: Mutex<Option<Sender<Pack>>>,
    index: Mutex<IndexFile>,
    has_failed: AtomicBool,
    failure: Mutex<Option<ArchiveError>>,
}

impl Store {
    /// Full packs go to who holds the other end of `full`.
    pub(crate) fn new(backend: Arc<dyn WriteBackend>, config: &ConfigFile, known: Known, full: Sender<Pack>) -> Self {
        Self {
            backend,
            data: Packer::new(BlobType::Data, config, known.packed()),
            trees: Packer::new(BlobType::Tree, config, 0),
            known,
            added_data: Added::default(),
            added_trees: Added::default(),
            full: Mutex::new(Some(full)),
            index: Mutex::default(),
            has_failed: AtomicBool::new(false),
            failure: Mutex::default(),
        }
    }

    /// Seals and adds a blob that was claimed.
    pub(crate) fn add(&self, sealer: &mut Sealer, kind: BlobType, id: Sha, plain: &[u8]) -> Result<(), ArchiveError> {
        let (packer, added) = match kind {
            BlobType::Data => (&self.data, &self.added_data),
            BlobType::Tree => (&self.trees, &self.added_trees),
        };
        let (sealed, length) = sealer.blob(plain)?;
        added.blobs.fetch_add(1, Ordering::Relaxed);
        added.bytes.fetch_add(plain.len() as u64, Ordering::Relaxed);
        added.packed.fetch_add(sealed.len() as u64, Ordering::Relaxed);
        packer.add(id, sealed, length).map_or(Ok(()), |pack| self.hand_over(pack))
    }

    /// Hands over what is not full.
    pub(crate) fn flush(&self) -> Result<(), ArchiveError> {
        [&self.data, &self.trees].into_iter().filter_map(Packer::rest).try_for_each(|pack| self.hand_over(pack))
    }

    fn hand_over(&self, pack: Pack) -> Result<(), ArchiveError> {
        let full = self.full.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sent = full.is_some_and(|full| full.send(pack).is_ok());
        sent.then_some(()).ok_or_else(|| ArchiveError::Defect("nobody writes packs".to_owned()))
    }

    /// Tells those who write packs that no more come.
    pub(crate) fn close(&self) {
        self.full.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Writes packs until there are no more, or one cannot be written.
    pub(crate) fn write_packs(&self, packs: &Receiver<Pack>, mut sealer: Sealer) {
        for pack in packs {
            if self.has_failed() {
                continue;
            }
            if let Err(error) = self.write_pack(pack, &mut sealer) {
                self.fail(error);
            }
        }
    }

    fn write_pack(&self, mut pack: Pack, sealer: &mut Sealer) -> Result<(), ArchiveError> {
        let header = pack.header();
        let header = sealer.header(&header)?;
        let length = u32::try_from(header.len()).map_err(|_| ArchiveError::Defect("a pack is too large".to_owned()))?;
        pack.bytes.extend_from_slice(header);
        pack.bytes.extend_from_slice(&length.to_le_bytes());
        let id = Sha::of(&pack.bytes);
        self.backend.write_bytes(FileType::Pack, &id.into(), false, Bytes::from(pack.bytes).into())?;
        let index = {
            let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            index.packs.push(IndexPack { id, blobs: pack.blobs, time: Some(Timestamp::now()) });
            let blobs: usize = index.packs.iter().map(|it| it.blobs.len()).sum();
            if blobs < INDEXED {
                return Ok(());
            }
            std::mem::take(&mut *index)
        };
        self.write_index(&index, sealer)
    }

    fn write_index(&self, index: &IndexFile, sealer: &mut Sealer) -> Result<(), ArchiveError> {
        self.write_file(FileType::Index, &serde_json::to_vec(index).map_err(unwritable)?, sealer).map(drop)
    }

    /// Writes the index of the packs that no index file names yet.
    pub(crate) fn finish_index(&self, sealer: &mut Sealer) -> Result<(), ArchiveError> {
        let index = std::mem::take(&mut *self.index.lock().unwrap_or_else(PoisonError::into_inner));
        if index.packs.is_empty() { Ok(()) } else { self.write_index(&index, sealer) }
    }

    /// Seals and writes a file, and says how it is called.
    pub(crate) fn write_file(&self, kind: FileType, json: &[u8], sealer: &mut Sealer) -> Result<Id, ArchiveError> {
        let sealed = sealer.file(json)?;
        let id = Id::from(Sha::of(&sealed));
        self.backend.write_bytes(kind, &id, false, sealed.into())?;
        Ok(id)
    }

    /// Reads a part of a pack.
    pub(crate) fn read_part(&self, pack: Sha, offset: u32, length: u32) -> Result<Vec<u8>, ArchiveError> {
        Ok(self.backend.read_partial(FileType::Pack, &pack.into(), true, offset, length)?.into())
    }

    /// Ends the backup.
    pub(crate) fn fail(&self, error: ArchiveError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.has_failed.store(true, Ordering::Release);
    }

    /// Whether it is to end.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Why it has to end, if it has to.
    pub(crate) fn take_failure(&self) -> Option<ArchiveError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(crate) fn unwritable(error: serde_json::Error) -> ArchiveError {
    ArchiveError::Defect(format!("what was gathered cannot be written as JSON: {error}"))
}
