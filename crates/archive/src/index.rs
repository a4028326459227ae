//! Which blobs a repository has, and where the trees among them are; and the index files that say so.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use rustic_core::jiff::Timestamp;
use rustic_core::repofile::BlobType;
use rustic_core::{FileType, Id, WriteBackend};
use serde::{Deserialize, Serialize};

use crate::ArchiveError;
use crate::id::{ByItself, Sha};
use crate::open::Cipher;

/// Shares of the identifiers of new blobs: threads seldom wait for one another, and each grows by itself.
const SHARES: usize = 32;

/// An index file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct IndexFile {
    pub(crate) packs: Vec<IndexPack>,
}

/// A pack and what it holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IndexPack {
    pub(crate) id: Sha,
    pub(crate) blobs: Vec<IndexBlob>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<Timestamp>,
}

/// A blob and where it is in its pack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IndexBlob {
    pub(crate) id: Sha,
    #[serde(rename = "type")]
    pub(crate) kind: BlobType,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uncompressed_length: Option<NonZeroU32>,
}

/// Where a tree is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) pack: Sha,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) uncompressed_length: Option<NonZeroU32>,
}

/// What the repository has, and what is being added to it.
#[derive(Debug)]
pub(crate) struct Known {
    /// In order.
    data: Vec<Sha>,
    trees: HashMap<Sha, Place, ByItself>,
    fresh: [Mutex<HashSet<Sha, ByItself>>; SHARES],
    /// Bytes of all data that is packed.
    packed: u64,
}

impl Known {
    /// Reads all index files, as many at a time as there are `threads`.
    pub(crate) fn read(backend: &dyn WriteBackend, cipher: &Cipher, threads: usize) -> Result<Self, ArchiveError> {
        let files = Mutex::new(backend.list(FileType::Index)?);
        let found = Mutex::new((Vec::new(), HashMap::default(), 0));
        std::thread::scope(|scope| {
            let read = || -> Result<(), ArchiveError> {
                loop {
                    let Some(id) = files.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return Ok(()) };
                    let index = read(backend, cipher, &id)?;
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    let (data, trees, packed) = &mut *found;
                    for (pack, blob) in index.packs.iter().flat_map(|it| it.blobs.iter().map(|blob| (it.id, blob))) {
                        match blob.kind {
                            BlobType::Data => {
                                data.push(blob.id);
                                *packed += u64::from(blob.length);
                            }
                            BlobType::Tree => {
                                let &IndexBlob { offset, length, uncompressed_length, .. } = blob;
                                trees.insert(blob.id, Place { pack, offset, length, uncompressed_length });
                            }
                        }
                    }
                }
            };
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(read)).collect();
            let mine = read();
            let broken = |_| Err(ArchiveError::Defect("a thread that reads the index broke".to_owned()));
            others.into_iter().map(|it| it.join().unwrap_or_else(broken)).fold(mine, Result::and)
        })?;
        let (mut data, trees, packed) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        data.sort_unstable();
        data.dedup();
        Ok(Self { data, trees, fresh: Default::default(), packed })
    }

    /// Whether the repository had this data when the backup began.
    pub(crate) fn has_data(&self, id: &Sha) -> bool {
        self.data.binary_search(id).is_ok()
    }

    /// Where a tree is that the repository had when the backup began.
    pub(crate) fn tree(&self, id: &Sha) -> Option<&Place> {
        self.trees.get(id)
    }

    /// Bytes of all data that was packed when the backup began.
    pub(crate) fn packed(&self) -> u64 {
        self.packed
    }

    /// Whether this blob is still to be saved, which it is once: who hears so has to do it.
    pub(crate) fn claim(&self, kind: BlobType, id: Sha) -> bool {
        let is_there = match kind {
            BlobType::Data => self.has_data(&id),
            BlobType::Tree => self.trees.contains_key(&id),
        };
        // The same bytes may be data in one place and a tree in another, which are two blobs.
        let share = usize::from(id.bytes()[31]) % (SHARES / 2) + if kind == BlobType::Tree { SHARES / 2 } else { 0 };
        !is_there && self.fresh[share].lock().unwrap_or_else(PoisonError::into_inner).insert(id)
    }
}

fn read(backend: &dyn WriteBackend, cipher: &Cipher, id: &Id) -> Result<IndexFile, ArchiveError> {
    let damaged = |reason: &str| ArchiveError::Damaged {
        what: format!("the index file {}", id.to_hex().as_str()),
        reason: reason.to_owned(),
    };
    let sealed = backend.read_full(FileType::Index, id)?;
    if Id::from(Sha::of(&sealed)) != *id {
        return Err(damaged("its content is not what its name says"));
    }
    let plain = cipher.open_file(&sealed).map_err(|flaw| damaged(&flaw.to_string()))?;
    serde_json::from_slice(&plain).map_err(|error| damaged(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_written_as_restic_has_it() {
        let id = Sha::of(b"");
        let blob = IndexBlob { id, kind: BlobType::Data, offset: 5, length: 40, uncompressed_length: None };
        let tree = IndexBlob { kind: BlobType::Tree, uncompressed_length: NonZeroU32::new(90), ..blob.clone() };
        let file = IndexFile { packs: vec![IndexPack { id, blobs: vec![blob, tree], time: None }] };
        let text = serde_json::to_value(&file).unwrap();
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let expected = serde_json::json!({"packs": [{"id": hex, "blobs": [
            {"id": hex, "type": "data", "offset": 5, "length": 40},
            {"id": hex, "type": "tree", "offset": 5, "length": 40, "uncompressed_length": 90},
        ]}]});
        assert_eq!(text, expected);
        // As rustic and older versions of restic write it.
        let other =
            r#"{"supersedes":["x"],"packs":[{"id":"HEX","blobs":[],"time":"2026-11-23T18:00:00.5+08:00","size":3}]}"#;
        let read: IndexFile = serde_json::from_str(&other.replace("HEX", hex)).unwrap();
        assert!(read.packs[0].time.is_some());
    }

    #[test]
    fn a_blob_is_claimed_once() {
        let known =
            Known { data: vec![Sha::of(b"old")], trees: HashMap::default(), fresh: Default::default(), packed: 0 };
        assert!(!known.claim(BlobType::Data, Sha::of(b"old")));
        assert!(known.claim(BlobType::Data, Sha::of(b"new")) && !known.claim(BlobType::Data, Sha::of(b"new")));
        assert!(known.claim(BlobType::Tree, Sha::of(b"new")), "a tree of the same bytes is another blob");
    }
}
