//! The header at the end of a pack, which lists what is in it:
//! <https://restic.readthedocs.io/en/stable/100_references.html#pack-format>.

use std::num::NonZeroU32;

use rustic_core::Id;
use sha2::{Digest, Sha256};
use upkeep_archive::Flaw;

/// The hash by which things are named.
pub(super) fn hash(data: &[u8]) -> Id {
    Id::new(Sha256::digest(data).into())
}

/// A blob as the header of its pack has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) is_tree: bool,
    pub(super) offset: u32,
    pub(super) length: u32,
    /// The length before it was compressed, where it is.
    pub(super) raw: Option<NonZeroU32>,
}

/// The blobs that a decrypted header lists.
pub(super) fn header(mut bytes: &[u8]) -> Result<Vec<Entry>, Flaw> {
    let mut entries = Vec::new();
    let mut offset = 0_u32;
    while let Some((&kind, rest)) = bytes.split_first() {
        let number = |at: usize| {
            let four = rest.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(four))
        };
        let is_compressed = match kind {
            0 | 1 => false,
            2 | 3 => true,
            _ => return Err(Flaw::Garbled),
        };
        let lengths = if is_compressed { 8 } else { 4 };
        let length = number(0).ok_or(Flaw::Garbled)?;
        let raw = if is_compressed { number(4).and_then(NonZeroU32::new) } else { None };
        let id = rest.get(lengths..lengths + 32).and_then(|id| <[u8; 32]>::try_from(id).ok()).ok_or(Flaw::Garbled)?;
        entries.push(Entry { id: Id::new(id), is_tree: kind % 2 == 1, offset, length, raw });
        offset = offset.checked_add(length).ok_or(Flaw::Garbled)?;
        bytes = &rest[lengths + 32..];
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // A header is looked at only after it was decrypted, so what it says was written by somebody with the key.
            let _ = header(&bytes);
        }
    }
}
