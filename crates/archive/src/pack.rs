//! Blobs that are gathered into packs, and what a pack looks like.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

use rustic_core::repofile::{BlobType, ConfigFile};

use crate::id::Sha;
use crate::index::IndexBlob;

/// Blobs in one pack at most: the header of a pack is read as a whole.
const MOST_BLOBS: usize = 10_000;

/// Size of a pack of data where the repository asks for none. restic has the same; each that is being filled, or
/// waits to be written, is in memory.
const DATA: u64 = 16 << 20;

/// A pack that is full, without its header.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    pub(crate) bytes: Vec<u8>,
    pub(crate) blobs: Vec<IndexBlob>,
}

impl Pack {
    /// What stands at the end of the pack, before it is encrypted: kind, lengths and identifier of each blob.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(self.blobs.len() * 41);
        for blob in &self.blobs {
            let kind = match blob.kind {
                BlobType::Data => 0,
                BlobType::Tree => 1,
            };
            match blob.uncompressed_length {
                None => header.push(kind),
                Some(_) => header.push(kind | 2),
            }
            header.extend_from_slice(&blob.length.to_le_bytes());
            if let Some(length) = blob.uncompressed_length {
                header.extend_from_slice(&length.get().to_le_bytes());
            }
            header.extend_from_slice(blob.id.bytes());
        }
        header
    }
}

/// Gathers the blobs of one kind.
#[derive(Debug)]
pub(crate) struct Packer {
    kind: BlobType,
    size: usize,
    filling: Mutex<Pack>,
}

impl Packer {
    /// With packs as large as the repository wants them, when it holds `packed` bytes of that kind already.
    pub(crate) fn new(kind: BlobType, config: &ConfigFile, packed: u64) -> Self {
        Self { kind, size: pack_size(kind, config, packed), filling: Mutex::default() }
    }

    /// Adds a blob that is sealed. Gives the pack when it is full.
    pub(crate) fn add(&self, id: Sha, sealed: &[u8], uncompressed_length: Option<NonZeroU32>) -> Option<Pack> {
        let mut pack = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        if pack.bytes.capacity() == 0 {
            // In one piece, since it would be copied as it grows. What is not used costs nothing.
            pack.bytes.reserve(self.size + (1 << 20));
        }
        // A pack is smaller than 4 GiB, since it is full long before that.
        let (offset, length) = (u32::try_from(pack.bytes.len()).ok()?, u32::try_from(sealed.len()).ok()?);
        pack.blobs.push(IndexBlob { id, kind: self.kind, offset, length, uncompressed_length });
        pack.bytes.extend_from_slice(sealed);
        let is_full = pack.bytes.len() >= self.size || pack.blobs.len() >= MOST_BLOBS;
        is_full.then(|| std::mem::take(&mut *pack))
    }

    /// Gives what is there.
    pub(crate) fn rest(&self) -> Option<Pack> {
        let pack = std::mem::take(&mut *self.filling.lock().unwrap_or_else(PoisonError::into_inner));
        (!pack.blobs.is_empty()).then_some(pack)
    }
}

/// rustic's `prune` packs anew what is below 30 % of its own target, which grows with the repository. Packs of 40 % of it
/// are small enough for the memory and large enough not to be touched.
fn pack_size(kind: BlobType, config: &ConfigFile, packed: u64) -> usize {
    let (least, growth, limit) = config.packsize(kind);
    let target = (u64::from(least) + packed.isqrt() * u64::from(growth)).min(limit.into()).min(4_000 << 20);
    let is_asked_for = config.datapack_size.is_some() || config.datapack_growfactor.is_some();
    let size = match kind {
        BlobType::Data if !is_asked_for => DATA.max(target * 2 / 5),
        _ => target,
    };
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_are_as_large_as_prune_likes_them() {
        let mut config = ConfigFile::new(2, Default::default(), 0);
        assert_eq!(pack_size(BlobType::Data, &config, 0), 16 << 20);
        assert_eq!(pack_size(BlobType::Data, &config, 10 << 30), 16 << 20);
        assert!(pack_size(BlobType::Data, &config, 10 << 40) > (32 << 20));
        assert_eq!(pack_size(BlobType::Tree, &config, 0), 4 << 20);
        config.datapack_size = Some(50 << 20);
        assert_eq!(pack_size(BlobType::Data, &config, 0), 50 << 20);
    }

    #[test]
    fn a_full_pack_is_given_away() {
        let config = ConfigFile::new(2, Default::default(), 0);
        let packer = Packer::new(BlobType::Tree, &config, 0);
        let sealed = vec![1; 1 << 20];
        let packs: Vec<_> = (0..4_u8).filter_map(|it| packer.add(Sha::of(&[it]), &sealed, None)).collect();
        assert_eq!(packs.len(), 1);
        assert_eq!(packs[0].bytes.len(), 4 << 20);
        assert!(packer.rest().is_none());
        for number in 0..MOST_BLOBS {
            let pack = packer.add(Sha::of(&number.to_le_bytes()), b"x", NonZeroU32::new(5));
            assert_eq!(pack.is_some(), number == MOST_BLOBS - 1);
        }
    }

    #[test]
    fn a_header_is_as_restic_has_it() {
        let id = Sha::of(b"");
        let blob = IndexBlob { id, kind: BlobType::Data, offset: 0, length: 0x102, uncompressed_length: None };
        let tree = IndexBlob { kind: BlobType::Tree, uncompressed_length: NonZeroU32::new(3), ..blob.clone() };
        let header = Pack { bytes: Vec::new(), blobs: vec![blob, tree] }.header();
        assert_eq!(header.len(), 37 + 41);
        assert_eq!(header[..5], [0, 2, 1, 0, 0]);
        assert_eq!(&header[5..37], id.bytes());
        assert_eq!(header[37..46], [3, 2, 1, 0, 0, 3, 0, 0, 0]);
    }
}
