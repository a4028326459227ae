//! What is stored, back in the form in which it was written: decrypted, unpacked, and compared with its name.
//!
//! rustic_core does the same and stops at the first thing that is wrong. A check goes on, and needs to know which piece it
//! was and what was wrong with it. The format is restic's: <https://restic.readthedocs.io/en/stable/100_references.html>.

use std::io::Read;

use aes256ctr_poly1305aes::aead::AeadInPlace;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key};
use rustic_core::Id;
use rustic_core::repofile::MasterKey;
use sha2::{Digest, Sha256};

/// Length of the nonce before what is encrypted, and of the code after it.
const NONCE: usize = 16;
const CODE: usize = 16;

/// Bytes that encryption adds.
pub(super) const OVERHEAD: usize = NONCE + CODE;

/// The first byte of a file that is compressed.
const COMPRESSED: u8 = 2;

/// What a file may grow to when it is unpacked: an index of 50,000 blobs has some megabytes.
const LARGEST_FILE: u64 = 1 << 30;

/// What is wrong with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The storage does not give it.
    Unreadable,
    /// It lies beyond the end of its file.
    CutOff,
    /// Its authentication code is not that of its content.
    Forged,
    /// It does not unpack, or not to the length that is noted.
    Garbled,
    /// Its content has another hash than its name says.
    Misnamed,
}

impl Flaw {
    /// The end of a sentence that begins with what it is.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Unreadable => "the storage does not give it",
            Self::CutOff => "the file ends before it",
            Self::Forged => "its bytes are not those that were written",
            Self::Garbled => "it does not unpack",
            Self::Misnamed => "its content is not what its name says",
        }
    }
}

/// The hash by which things are named.
pub(super) fn hash(data: &[u8]) -> Id {
    Id::new(Sha256::digest(data).into())
}

/// Decrypts with the repository's key.
#[derive(Clone)]
pub(super) struct Cipher(Aes256CtrPoly1305Aes);

impl Cipher {
    pub(super) fn new(key: &MasterKey) -> Self {
        let mut bytes = Key::default();
        let parts = key.encrypt.iter().chain(&key.mac.k).chain(&key.mac.r);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        Self(Aes256CtrPoly1305Aes::new(&bytes))
    }

    /// What is encrypted in `data`.
    pub(super) fn decrypt(&self, data: &[u8]) -> Result<Vec<u8>, Flaw> {
        let (nonce, rest) = data.split_at_checked(NONCE).ok_or(Flaw::CutOff)?;
        let length = rest.len().checked_sub(CODE).ok_or(Flaw::CutOff)?;
        let (content, code) = rest.split_at(length);
        let mut content = content.to_vec();
        self.0.decrypt_in_place_detached(nonce.into(), &[], &mut content, code.into()).map_err(|_| Flaw::Forged)?;
        Ok(content)
    }

    /// The content of an index, a snapshot or the configuration.
    pub(super) fn file(&self, data: &[u8]) -> Result<Vec<u8>, Flaw> {
        let content = self.decrypt(data)?;
        match content.split_first() {
            Some((&COMPRESSED, packed)) => unpack(packed),
            Some((b'{' | b'[', _)) => Ok(content),
            _ => Err(Flaw::Garbled),
        }
    }

    /// The content of a blob of the name `id`; `raw` is its length before it was compressed, where it is.
    pub(super) fn blob(&self, data: &[u8], raw: Option<u32>, id: &Id) -> Result<Vec<u8>, Flaw> {
        let mut content = self.decrypt(data)?;
        if let Some(raw) = raw {
            let raw = usize::try_from(raw).map_err(|_| Flaw::Garbled)?;
            content = zstd::bulk::decompress(&content, raw).map_err(|_| Flaw::Garbled)?;
            if content.len() != raw {
                return Err(Flaw::Garbled);
            }
        }
        if hash(&content) == *id { Ok(content) } else { Err(Flaw::Misnamed) }
    }
}

/// Unpacks a file, which does not say how long it will be.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, Flaw> {
    let mut content = Vec::new();
    let unpacked =
        zstd::Decoder::with_buffer(packed).and_then(|from| from.take(LARGEST_FILE).read_to_end(&mut content));
    unpacked.map(|_| content).map_err(|_| Flaw::Garbled)
}

/// A blob as the header of its pack has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) is_tree: bool,
    pub(super) offset: u32,
    pub(super) length: u32,
    /// The length before it was compressed, where it is.
    pub(super) raw: Option<u32>,
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
        let raw = if is_compressed { number(4) } else { None };
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
        fn foreign_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let cipher = Cipher::new(&MasterKey::new());
            prop_assert!(cipher.file(&bytes).is_err());
            prop_assert!(cipher.blob(&bytes, Some(7), &Id::default()).is_err());
            // A header has no code of its own: it is looked at only after it was decrypted.
            let _ = header(&bytes);
        }
    }
}
