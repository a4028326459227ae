//! Compression and encryption, as restic has them: <https://restic.readthedocs.io/en/stable/100_references.html>.
//!
//! What is sealed is opened again and compared before it is written. That costs a twelfth of a first backup, and is the
//! only moment at which a defect of memory or processor can be noticed while the original is still there.

use std::num::NonZeroU32;

use aes256ctr_poly1305aes::aead::{AeadInPlace, generic_array::GenericArray};
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Tag};
use rustic_core::repofile::MasterKey;
use zstd::bulk::{Compressor, Decompressor};

use crate::ArchiveError;
use crate::worker::KEPT;

const NONCE: usize = 16;
const TAG: usize = 16;

/// Marks a file as compressed; others begin with the bracket of their JSON.
const COMPRESSED: u8 = 2;

/// The largest file or tree that is read. One of a million entries has half of that.
const LARGEST: usize = 1 << 30;

/// The keys of a repository.
#[derive(Clone)]
pub(crate) struct Keys(Key);

impl Keys {
    pub(crate) fn new(key: &MasterKey) -> Result<Self, ArchiveError> {
        let parts = [key.encrypt.as_slice(), &key.mac.k, &key.mac.r].concat();
        match parts.len() {
            64 => Ok(Self(*Key::from_slice(&parts))),
            length => Err(ArchiveError::Settings(format!("a key of {length} bytes"))),
        }
    }

    /// The keys that a password was made into.
    pub(crate) fn derived(key: &[u8; 64]) -> Self {
        Self(*Key::from_slice(key))
    }

    /// Decrypts in place, and says where the content is.
    fn decrypt<'a>(&self, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let (nonce, rest) = sealed.split_at_mut_checked(NONCE)?;
        let (content, tag) = rest.split_at_mut_checked(rest.len().checked_sub(TAG)?)?;
        let cipher = Aes256CtrPoly1305Aes::new(&self.0);
        cipher.decrypt_in_place_detached(GenericArray::from_slice(nonce), &[], content, Tag::from_slice(tag)).ok()?;
        Some(content)
    }

    /// What was sealed as a blob; none when it is damaged.
    pub(crate) fn open_blob(&self, mut sealed: Vec<u8>, length: Option<NonZeroU32>) -> Option<Vec<u8>> {
        let content = self.decrypt(&mut sealed)?;
        match length {
            None => Some(content.to_vec()),
            Some(length) => {
                let plain = zstd::bulk::decompress(content, length.get() as usize).ok()?;
                (plain.len() == length.get() as usize).then_some(plain)
            }
        }
    }

    /// What was sealed as a file; none when it is damaged.
    pub(crate) fn open_file(&self, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let content = self.decrypt(&mut sealed)?;
        match content.split_first() {
            Some((&COMPRESSED, compressed)) => {
                let mut plain = Vec::new();
                let decoder = zstd::stream::read::Decoder::new(compressed).ok()?;
                std::io::Read::read_to_end(&mut std::io::Read::take(decoder, LARGEST as u64), &mut plain).ok()?;
                Some(plain)
            }
            _ => Some(content.to_vec()),
        }
    }
}

/// Seals one thing after the other; each thread has its own.
pub(crate) struct Sealer {
    keys: Keys,
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
fn room(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
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
    pub(crate) fn new(keys: &Keys, level: Option<i32>, checks: bool) -> Result<Self, ArchiveError> {
        Ok(Self {
            keys: keys.clone(),
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
        let is_same = self.check.is_none() || self.keys.open_file(sealed.clone()).is_some_and(|it| it == plain);
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
        let (nonce, rest) = self.sealed.split_at_mut(NONCE);
        let (content, rest) = rest.split_at_mut(length);
        getrandom::fill(nonce).map_err(failed)?;
        let cipher = Aes256CtrPoly1305Aes::new(&self.keys.0);
        let tag = cipher.encrypt_in_place_detached(GenericArray::from_slice(nonce), &[], content).map_err(failed)?;
        rest[..TAG].copy_from_slice(&tag);
        Ok(())
    }

    fn compare(&mut self, sealed: usize, length: Option<NonZeroU32>, plain: &[u8]) -> Result<(), ArchiveError> {
        let Some(decompressor) = &mut self.check else { return Ok(()) };
        let copy = room(&mut self.opened, sealed);
        copy.copy_from_slice(&self.sealed[..sealed]);
        let content = self.keys.decrypt(copy).ok_or(ArchiveError::Broken)?;
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
    use super::*;

    fn keys() -> Keys {
        Keys::new(&MasterKey::new()).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened() {
        let keys = keys();
        let mut noise = vec![0; 100_000];
        getrandom::fill(&mut noise).unwrap();
        for level in [None, Some(0), Some(1), Some(19)] {
            let mut sealer = Sealer::new(&keys, level, true).unwrap();
            for plain in [&noise[..], &[7; 300_000], b"", b"x", &noise[..5]] {
                let (sealed, length) = sealer.blob(plain).unwrap();
                assert_eq!(length.is_some(), level.is_some() && plain.len() == 300_000, "{level:?}");
                let sealed = sealed.to_vec();
                assert_eq!(keys.open_blob(sealed.clone(), length).unwrap(), plain);
                let mut damaged = sealed.clone();
                damaged[sealed.len() / 2] ^= 1;
                assert!(keys.open_blob(damaged, length).is_none());
                assert!(keys.open_blob(sealed[..20].to_vec(), length).is_none());
            }
            let file = sealer.file(b"{\"packs\":[]}").unwrap();
            assert_eq!(keys.open_file(file).unwrap(), b"{\"packs\":[]}");
            let header = sealer.header(&noise[..82]).unwrap().to_vec();
            assert_eq!(keys.open_blob(header, None).unwrap(), &noise[..82]);
        }
    }

    #[test]
    fn a_wrong_length_is_noticed() {
        let keys = keys();
        let mut sealer = Sealer::new(&keys, Some(0), true).unwrap();
        let (sealed, length) = sealer.blob(&[1; 9_000]).unwrap();
        let sealed = sealed.to_vec();
        for wrong in [8_999, 9_001] {
            assert!(keys.open_blob(sealed.clone(), NonZeroU32::new(wrong)).is_none());
        }
        assert!(keys.open_blob(sealed, length).is_some());
    }
}
