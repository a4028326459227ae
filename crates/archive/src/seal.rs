//! Compression and encryption, as restic has them: <https://restic.readthedocs.io/en/stable/100_references.html>.
//!
//! What is sealed is opened again and compared before it is written. That costs a twelfth of a first backup, and is the
//! only moment at which a defect of memory or processor can be noticed while the original is still there.

use std::num::NonZeroU32;

use zstd::bulk::{Compressor, Decompressor};

use crate::ArchiveError;
use crate::open::{COMPRESSED, Cipher, NONCE, TAG};
use crate::worker::KEPT;

/// Seals one thing after the other; each thread has its own.
pub(crate) struct Sealer {
    cipher: Cipher,
    compressor: Option<Compressor<'static>>,
    /// Opens again what was sealed, where that is wanted.
    check: Option<Decompressor<'static>>,
    sealed: Vec<u8>,
    opened: Vec<u8>,
    plain: Vec<u8>,
}

fn failed(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Seal(error.to_string())
}

/// At least `length` bytes of a buffer that is used again and again. What was needed for something large is given back.
pub(crate) fn room(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() > KEPT && length <= KEPT {
        *buffer = Vec::new();
    }
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    &mut buffer[..length]
}

impl Sealer {
    /// With compression at `level`, or without.
    pub(crate) fn new(cipher: &Cipher, level: Option<i32>, checks: bool) -> Result<Self, ArchiveError> {
        Ok(Self {
            cipher: cipher.clone(),
            compressor: level.map(Compressor::new).transpose().map_err(failed)?,
            check: checks.then(Decompressor::new).transpose().map_err(failed)?,
            sealed: Vec::new(),
            opened: Vec::new(),
            plain: Vec::new(),
        })
    }

    /// A blob, and its length before compression where it was compressed. What does not become smaller stays as it is.
    pub(crate) fn blob(&mut self, plain: &[u8]) -> Result<(&[u8], Option<NonZeroU32>), ArchiveError> {
        let mut content = plain.len();
        let mut length = None;
        let compressed = match &mut self.compressor {
            Some(compressor) => {
                let buffer = room(&mut self.sealed, NONCE + zstd::zstd_safe::compress_bound(plain.len()) + TAG);
                compressor.compress_to_buffer(plain, &mut buffer[NONCE..]).map_err(failed)?
            }
            None => usize::MAX,
        };
        if compressed < plain.len() {
            content = compressed;
            length = u32::try_from(plain.len()).ok().and_then(NonZeroU32::new);
        } else {
            room(&mut self.sealed, NONCE + plain.len() + TAG)[NONCE..NONCE + plain.len()].copy_from_slice(plain);
        }
        self.encrypt(content)?;
        let sealed = NONCE + content + TAG;
        self.compare(sealed, length, plain)?;
        Ok((&self.sealed[..sealed], length))
    }

    /// A file: an index or a snapshot.
    pub(crate) fn file(&mut self, plain: &[u8]) -> Result<Vec<u8>, ArchiveError> {
        let content = match &mut self.compressor {
            Some(compressor) => {
                let bound = zstd::zstd_safe::compress_bound(plain.len());
                let buffer = room(&mut self.sealed, NONCE + 1 + bound + TAG);
                buffer[NONCE] = COMPRESSED;
                1 + compressor.compress_to_buffer(plain, &mut buffer[NONCE + 1..]).map_err(failed)?
            }
            None => {
                room(&mut self.sealed, NONCE + plain.len() + TAG)[NONCE..NONCE + plain.len()].copy_from_slice(plain);
                plain.len()
            }
        };
        self.encrypt(content)?;
        let sealed = self.sealed[..NONCE + content + TAG].to_vec();
        let is_same = self.check.is_none() || self.cipher.open_file(&sealed).is_ok_and(|it| it == plain);
        is_same.then_some(sealed).ok_or(ArchiveError::Broken)
    }

    /// The header of a pack, which is never compressed.
    pub(crate) fn header(&mut self, plain: &[u8]) -> Result<&[u8], ArchiveError> {
        room(&mut self.sealed, NONCE + plain.len() + TAG)[NONCE..NONCE + plain.len()].copy_from_slice(plain);
        self.encrypt(plain.len())?;
        self.compare(NONCE + plain.len() + TAG, None, plain)?;
        Ok(&self.sealed[..NONCE + plain.len() + TAG])
    }

    /// Encrypts the `length` bytes after the room for the nonce.
    fn encrypt(&mut self, length: usize) -> Result<(), ArchiveError> {
        self.cipher.encrypt(&mut self.sealed[..NONCE + length + TAG])
    }

    fn compare(&mut self, sealed: usize, length: Option<NonZeroU32>, plain: &[u8]) -> Result<(), ArchiveError> {
        let Some(decompressor) = &mut self.check else { return Ok(()) };
        let copy = room(&mut self.opened, sealed);
        copy.copy_from_slice(&self.sealed[..sealed]);
        let content = self.cipher.decrypt(copy).map_err(|_| ArchiveError::Broken)?;
        let is_same = match length {
            None => content == plain,
            Some(_) => {
                let opened = room(&mut self.plain, plain.len());
                let count = decompressor.decompress_to_buffer(content, opened).map_err(|_| ArchiveError::Broken)?;
                count == plain.len() && opened == plain
            }
        };
        is_same.then_some(()).ok_or(ArchiveError::Broken)
    }
}

#[cfg(test)]
mod tests {
    use rustic_core::Id;
    use rustic_core::repofile::MasterKey;

    use super::*;
    use crate::id::Sha;
    use crate::open::Opener;

    #[test]
    fn what_was_sealed_is_opened() {
        let cipher = Cipher::new(&MasterKey::new()).unwrap();
        let mut opener = Opener::new(&cipher);
        let mut noise = vec![0; 100_000];
        getrandom::fill(&mut noise).unwrap();
        for level in [None, Some(0), Some(1), Some(19)] {
            let mut sealer = Sealer::new(&cipher, level, true).unwrap();
            for plain in [&noise[..], &[7; 300_000], b"", b"x", &noise[..5]] {
                let id = Id::from(Sha::of(plain));
                let (sealed, length) = sealer.blob(plain).unwrap();
                assert_eq!(length.is_some(), level.is_some() && plain.len() == 300_000, "{level:?}");
                assert_eq!(opener.blob(sealed, length, &id), Ok(plain));
                let mut damaged = sealed.to_vec();
                damaged[sealed.len() / 2] ^= 1;
                assert!(opener.blob(&damaged, length, &id).is_err());
                assert!(opener.blob(&sealed[..20], length, &id).is_err());
            }
            let file = sealer.file(b"{\"packs\":[]}").unwrap();
            assert_eq!(cipher.open_file(&file).unwrap(), b"{\"packs\":[]}");
            let header = sealer.header(&noise[..82]).unwrap();
            assert_eq!(cipher.open(header).unwrap(), &noise[..82]);
        }
    }

    #[test]
    fn a_wrong_length_is_noticed() {
        let cipher = Cipher::new(&MasterKey::new()).unwrap();
        let mut sealer = Sealer::new(&cipher, Some(0), true).unwrap();
        let id = Id::from(Sha::of(&[1; 9_000]));
        let (sealed, length) = sealer.blob(&[1; 9_000]).unwrap();
        for wrong in [8_999, 9_001] {
            assert!(cipher.open_blob(sealed, NonZeroU32::new(wrong), &id).is_err());
        }
        assert!(cipher.open_blob(sealed, length, &id).is_ok());
    }
}
