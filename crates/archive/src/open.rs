//! What is stored, back in the form in which it was written: decrypted, unpacked, and compared with its name. The format is
//! restic's: <https://restic.readthedocs.io/en/stable/100_references.html>.

use std::io::Read;
use std::num::NonZeroU32;

use aes256ctr_poly1305aes::aead::{AeadInPlace, generic_array::GenericArray};
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Tag};
use rustic_core::Id;
use rustic_core::repofile::MasterKey;
use zstd::bulk::Decompressor;

use crate::ArchiveError;
use crate::id::Sha;
use crate::seal::room;

/// Length of the nonce before what is encrypted, and of the code after it.
pub(crate) const NONCE: usize = 16;
pub(crate) const TAG: usize = 16;

/// Bytes that encryption adds.
pub const OVERHEAD: usize = NONCE + TAG;

/// Marks a file as compressed; others begin with the bracket of their JSON.
pub(crate) const COMPRESSED: u8 = 2;

/// What a file may grow to when it is unpacked: an index of 50,000 blobs has some megabytes.
const LARGEST_FILE: u64 = 1 << 30;

/// What is wrong with something that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
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

impl std::fmt::Display for Flaw {
    /// The end of a sentence that begins with what it is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the storage does not give it",
            Self::CutOff => "the file ends before it",
            Self::Forged => "its bytes are not those that were written",
            Self::Garbled => "it does not unpack",
            Self::Misnamed => "its content is not what its name says",
        })
    }
}

/// The key of a repository.
#[derive(Clone)]
pub struct Cipher(Key);

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(…)")
    }
}

impl Cipher {
    /// Of the key that a repository has.
    ///
    /// # Errors
    ///
    /// When it has another length than such keys have.
    pub fn new(key: &MasterKey) -> Result<Self, ArchiveError> {
        let parts = [key.encrypt.as_slice(), &key.mac.k, &key.mac.r].concat();
        match parts.len() {
            64 => Ok(Self(*Key::from_slice(&parts))),
            length => Err(ArchiveError::Settings(format!("a key of {length} bytes"))),
        }
    }

    /// Of the key that a password was made into.
    pub(crate) fn derived(key: &[u8; 64]) -> Self {
        Self(*Key::from_slice(key))
    }

    /// Encrypts what stands between the room for the nonce and that for the code.
    pub(crate) fn encrypt(&self, sealed: &mut [u8]) -> Result<(), ArchiveError> {
        let failed = |error: &dyn std::fmt::Display| ArchiveError::Seal(error.to_string());
        let (nonce, rest) = sealed.split_at_mut(NONCE);
        let (content, tag) = rest.split_at_mut(rest.len() - TAG);
        getrandom::fill(nonce).map_err(|error| failed(&error))?;
        let cipher = Aes256CtrPoly1305Aes::new(&self.0);
        let code = cipher.encrypt_in_place_detached(GenericArray::from_slice(nonce), &[], content);
        tag.copy_from_slice(&code.map_err(|error| failed(&error))?);
        Ok(())
    }

    /// Decrypts in place, and says where the content is.
    pub(crate) fn decrypt<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a mut [u8], Flaw> {
        let (nonce, rest) = sealed.split_at_mut_checked(NONCE).ok_or(Flaw::CutOff)?;
        let length = rest.len().checked_sub(TAG).ok_or(Flaw::CutOff)?;
        let (content, tag) = rest.split_at_mut(length);
        let cipher = Aes256CtrPoly1305Aes::new(&self.0);
        cipher
            .decrypt_in_place_detached(GenericArray::from_slice(nonce), &[], content, Tag::from_slice(tag))
            .map_err(|_| Flaw::Forged)?;
        Ok(content)
    }

    /// `plain`, encrypted.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, ArchiveError> {
        let mut sealed = [&[0; NONCE], plain, &[0; TAG]].concat();
        self.encrypt(&mut sealed)?;
        Ok(sealed)
    }

    /// What is encrypted in `sealed`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Flaw> {
        let mut sealed = sealed.to_vec();
        let length = self.decrypt(&mut sealed)?.len();
        sealed.drain(..NONCE);
        sealed.truncate(length);
        Ok(sealed)
    }

    /// The content of an index, a snapshot, a lock or the settings.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn open_file(&self, sealed: &[u8]) -> Result<Vec<u8>, Flaw> {
        let content = self.open(sealed)?;
        match content.split_first() {
            Some((&COMPRESSED, packed)) => {
                let mut plain = Vec::new();
                let read =
                    zstd::Decoder::with_buffer(packed).and_then(|it| it.take(LARGEST_FILE).read_to_end(&mut plain));
                read.map(|_| plain).map_err(|_| Flaw::Garbled)
            }
            Some((b'{' | b'[', _)) => Ok(content),
            _ => Err(Flaw::Garbled),
        }
    }

    /// One blob, as [`Opener::blob`].
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn open_blob(&self, sealed: &[u8], raw: Option<NonZeroU32>, id: &Id) -> Result<Vec<u8>, Flaw> {
        Opener::new(self).blob(sealed, raw, id).map(<[u8]>::to_vec)
    }
}

/// Opens one blob after the other; each thread has its own, which uses its memory again and again.
pub struct Opener {
    cipher: Cipher,
    /// Made when the first compressed blob comes.
    decompressor: Option<Decompressor<'static>>,
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl Opener {
    /// Opens with this key.
    pub fn new(cipher: &Cipher) -> Self {
        Self { cipher: cipher.clone(), decompressor: None, sealed: Vec::new(), plain: Vec::new() }
    }

    /// The content of the blob `id`; `raw` is its length before it was compressed, where it was.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn blob(&mut self, sealed: &[u8], raw: Option<NonZeroU32>, id: &Id) -> Result<&[u8], Flaw> {
        let copy = room(&mut self.sealed, sealed.len());
        copy.copy_from_slice(sealed);
        let content = self.cipher.decrypt(copy)?;
        let plain = match raw {
            None => &*content,
            Some(raw) => {
                let raw = raw.get() as usize;
                let plain = room(&mut self.plain, raw);
                let decompressor = match &mut self.decompressor {
                    Some(decompressor) => decompressor,
                    none => none.insert(Decompressor::new().map_err(|_| Flaw::Garbled)?),
                };
                match decompressor.decompress_to_buffer(content, plain) {
                    Ok(length) if length == raw => plain,
                    _ => return Err(Flaw::Garbled),
                }
            }
        };
        if Id::from(Sha::of(plain)) == *id { Ok(plain) } else { Err(Flaw::Misnamed) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let cipher = Cipher::new(&MasterKey::new()).unwrap();
            prop_assert!(cipher.open(&bytes).is_err());
            prop_assert!(cipher.open_file(&bytes).is_err());
            let mut opener = Opener::new(&cipher);
            prop_assert!(opener.blob(&bytes, NonZeroU32::new(7), &Id::default()).is_err());
        }
    }

    #[test]
    fn what_was_sealed_is_opened() {
        let cipher = Cipher::new(&MasterKey::new()).unwrap();
        let sealed = cipher.seal(b"{}").unwrap();
        assert_eq!(sealed.len(), 2 + OVERHEAD);
        assert_eq!(cipher.open(&sealed).unwrap(), b"{}");
        assert_eq!(cipher.open_file(&sealed).unwrap(), b"{}");
        assert_eq!(cipher.open_file(&cipher.seal(b"x").unwrap()), Err(Flaw::Garbled));
        assert_eq!(cipher.open(&sealed[..31]), Err(Flaw::CutOff));
        assert_eq!(cipher.open(&sealed[..32]), Err(Flaw::Forged));
        let mut opener = Opener::new(&cipher);
        let id = Id::from(Sha::of(b"{}"));
        assert_eq!(opener.blob(&sealed, None, &id), Ok(&b"{}"[..]));
        assert_eq!(opener.blob(&sealed, None, &Id::default()), Err(Flaw::Misnamed));
        assert_eq!(opener.blob(&sealed, NonZeroU32::new(2), &id), Err(Flaw::Garbled));
    }
}
