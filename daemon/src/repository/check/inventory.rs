//! What a repository has: the packs that its indexes list and those that lie there, and where each blob is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustic_core::repofile::{BlobType, IndexFile};
use rustic_core::{FileType, Id, ReadBackend, WriteBackend};
use upkeep_archive::{Cipher, Flaw, OVERHEAD};

use crate::repository::RepositoryError;
use crate::repository::check::failed;
use crate::repository::check::header::{Entry, hash, header};

/// Number of a pack in [`Inventory::packs`].
pub(super) type PackNumber = u32;

/// A pack, as it is known.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    pub(super) id: Id,
    /// Length of the file; none when there is no file.
    pub(super) length: Option<u32>,
    /// Length that the index expects; none when no index has the pack.
    pub(super) expected: Option<u32>,
    /// Whether a prune has marked it: no snapshot needs it any more, and nothing is amiss when it is gone.
    is_marked: bool,
}

impl Pack {
    pub(super) fn is_indexed(&self) -> bool {
        self.expected.is_some()
    }

    /// Whether it lies there as long as it was written.
    pub(super) fn is_of_right_length(&self) -> bool {
        self.length.is_some() && self.length == self.expected
    }
}

/// A blob in a pack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) pack: PackNumber,
    pub(super) entry: Entry,
}

/// An index file that cannot be read.
#[derive(Debug)]
pub(super) struct BadFile {
    pub(super) id: Id,
    pub(super) flaw: Flaw,
}

/// Blobs by pack and offset, as places in [`Inventory::blobs`]: a copy of them would need ten times the memory.
pub(super) struct Layout(Vec<u32>);

/// All packs, all blobs.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) packs: Vec<Pack>,
    /// All blobs, ordered by name.
    blobs: Vec<Place>,
    pub(super) bad_indexes: Vec<BadFile>,
    /// Index files that there are.
    pub(super) indexes: HashSet<Id>,
}

impl Inventory {
    /// Reads all indexes, and then which packs there are: a backup that runs meanwhile writes packs before their index.
    pub(super) fn read(backend: &Arc<dyn WriteBackend>, cipher: &Cipher, url: &str) -> Result<Self, RepositoryError> {
        let mut found = Self::default();
        let mut numbers = HashMap::new();
        for (id, _) in backend.list_with_size(FileType::Index).map_err(failed(url, "its indexes were listed"))? {
            found.indexes.insert(id);
            match read_index(backend, cipher, &id) {
                Ok(index) => found.add(index, &mut numbers),
                Err(flaw) => found.bad_indexes.push(BadFile { id, flaw }),
            }
        }
        for (id, length) in backend.list_with_size(FileType::Pack).map_err(failed(url, "its packs were listed"))? {
            let number = found.number(id, &mut numbers);
            found.packs[number as usize].length = Some(length);
        }
        found.read_headers(backend, cipher);
        found.blobs.sort_unstable_by_key(|place| (place.entry.id, place.entry.is_tree, place.pack));
        // Two indexes may list one pack, after a repair that was interrupted.
        found.blobs.dedup_by_key(|place| (place.entry.id, place.entry.is_tree, place.pack, place.entry.offset));
        found.blobs.shrink_to_fit();
        Ok(found)
    }

    fn number(&mut self, id: Id, numbers: &mut HashMap<Id, PackNumber>) -> PackNumber {
        *numbers.entry(id).or_insert_with(|| {
            self.packs.push(Pack { id, length: None, expected: None, is_marked: false });
            PackNumber::try_from(self.packs.len() - 1).unwrap_or(PackNumber::MAX)
        })
    }

    fn add(&mut self, index: IndexFile, numbers: &mut HashMap<Id, PackNumber>) {
        for listed in index.packs {
            let pack = self.number(*listed.id, numbers);
            self.packs[pack as usize].expected = Some(listed.pack_size());
            self.blobs.extend(listed.blobs.iter().map(|blob| Place {
                pack,
                entry: Entry {
                    id: *blob.id,
                    is_tree: blob.tpe == BlobType::Tree,
                    offset: blob.location.offset,
                    length: blob.location.length,
                    raw: blob.location.uncompressed_length,
                },
            }));
        }
        for listed in index.packs_to_delete {
            let pack = self.number(*listed.id, numbers);
            self.packs[pack as usize].is_marked = true;
        }
    }

    /// Packs that no index has: of an interrupted backup, or of an index that is lost. What is in them is not lost.
    fn read_headers(&mut self, backend: &Arc<dyn WriteBackend>, cipher: &Cipher) {
        for number in 0..self.packs.len() {
            let pack = &self.packs[number];
            if pack.is_indexed() || pack.is_marked {
                continue;
            }
            let Some(Ok(entries)) = pack.length.map(|length| read_header(backend, cipher, &pack.id, length)) else {
                continue;
            };
            let pack = PackNumber::try_from(number).unwrap_or(PackNumber::MAX);
            self.blobs.extend(entries.into_iter().map(|entry| Place { pack, entry }));
        }
    }

    /// Where a blob is; several places when it was saved twice.
    pub(super) fn places(&self, id: &Id, is_tree: bool) -> &[Place] {
        let key = |place: &Place| (place.entry.id, place.entry.is_tree);
        let from = self.blobs.partition_point(|place| key(place) < (*id, is_tree));
        let count = self.blobs[from..].iter().take_while(|place| key(place) == (*id, is_tree)).count();
        &self.blobs[from..from + count]
    }

    /// The order in which the blobs lie in the packs.
    pub(super) fn layout(&self) -> Layout {
        let mut order: Vec<u32> = (0..u32::try_from(self.blobs.len()).unwrap_or(u32::MAX)).collect();
        order.sort_unstable_by_key(|&at| {
            let place = &self.blobs[at as usize];
            (place.pack, place.entry.offset)
        });
        Layout(order)
    }

    /// The blobs of a pack, in the order in which they lie in it.
    pub(super) fn blobs_of(&self, pack: PackNumber, Layout(order): &Layout) -> Vec<Entry> {
        let from = order.partition_point(|&at| self.blobs[at as usize].pack < pack);
        let of_pack = order[from..].iter().map(|&at| &self.blobs[at as usize]).take_while(|place| place.pack == pack);
        of_pack.map(|place| place.entry).collect()
    }

    pub(super) fn blob_count(&self) -> u64 {
        self.blobs.len() as u64
    }

    pub(super) fn pack(&self, number: PackNumber) -> &Pack {
        &self.packs[number as usize]
    }
}

/// A file that is named by the hash of its content, decrypted.
pub(super) fn read_file(
    backend: &Arc<dyn WriteBackend>,
    cipher: &Cipher,
    kind: FileType,
    id: &Id,
) -> Result<Vec<u8>, Flaw> {
    let bytes = backend.read_full(kind, id).map_err(|_| Flaw::Unreadable)?;
    if hash(&bytes) != *id {
        return Err(Flaw::Misnamed);
    }
    cipher.open_file(&bytes)
}

fn read_index(backend: &Arc<dyn WriteBackend>, cipher: &Cipher, id: &Id) -> Result<IndexFile, Flaw> {
    let content = read_file(backend, cipher, FileType::Index, id)?;
    serde_json::from_slice(&content).map_err(|_| Flaw::Garbled)
}

/// What the header at the end of a pack lists.
pub(super) fn read_header(
    backend: &Arc<dyn WriteBackend>,
    cipher: &Cipher,
    id: &Id,
    length: u32,
) -> Result<Vec<Entry>, Flaw> {
    let read = |offset: u32, length: u32| {
        backend.read_partial(FileType::Pack, id, false, offset, length).map_err(|_| Flaw::Unreadable)
    };
    let at = length.checked_sub(4).ok_or(Flaw::CutOff)?;
    let told = read(at, 4)?;
    let told = <[u8; 4]>::try_from(&told[..]).map(u32::from_le_bytes).map_err(|_| Flaw::CutOff)?;
    if (told as usize) < OVERHEAD {
        return Err(Flaw::Garbled);
    }
    let offset = at.checked_sub(told).ok_or(Flaw::Garbled)?;
    header(&cipher.open(&read(offset, told)?)?)
}
