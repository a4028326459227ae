//! The encryption of message push: AES-256 in CBC mode over 16 random bytes, the length of the message, the message and the
//! appid, padded to blocks of 32. The initialisation vector is the key's first half.

use aes::Aes256;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{CallbackError, LENIENT};

const BLOCK: usize = 16;
/// PKCS#7 over twice the cipher's block: pads of 17 to 32 bytes occur.
const PADDED: usize = 32;
/// Random bytes and length.
const HEAD: usize = 20;

/// The message and the appid. Whoever calls this has checked the signature; so one error says all, and tells nobody anything
/// who tries paddings out.
pub(super) fn open(key: &[u8; 32], encrypted: &str) -> Result<(Vec<u8>, Vec<u8>), CallbackError> {
    let text: Vec<u8> = encrypted.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
    let mut plain = LENIENT.decode(text).map_err(|_| CallbackError::Decrypt)?;
    if plain.is_empty() || plain.len() % BLOCK != 0 {
        return Err(CallbackError::Decrypt);
    }
    let mut cipher = cbc::Decryptor::<Aes256>::new(key.into(), GenericArray::from_slice(&key[..BLOCK]));
    for block in plain.chunks_exact_mut(BLOCK) {
        cipher.decrypt_block_mut(GenericArray::from_mut_slice(block));
    }
    split(&plain).ok_or(CallbackError::Decrypt)
}

fn split(plain: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let pad = usize::from(*plain.last()?);
    let (content, padding) = plain.split_at_checked(plain.len().checked_sub(pad)?)?;
    if !(1..=PADDED).contains(&pad) || padding.iter().any(|it| usize::from(*it) != pad) {
        return None;
    }
    let length = u32::from_be_bytes(content.get(HEAD - 4..HEAD)?.try_into().ok()?);
    let (message, appid) = content[HEAD..].split_at_checked(usize::try_from(length).ok()?)?;
    Some((message.to_vec(), appid.to_vec()))
}

pub(super) fn seal(key: &[u8; 32], random: [u8; 16], message: &[u8], appid: &[u8]) -> Result<String, CallbackError> {
    let length = u32::try_from(message.len()).map_err(|_| CallbackError::TooLarge)?;
    let mut text = Vec::with_capacity(HEAD + message.len() + appid.len() + PADDED);
    text.extend_from_slice(&random);
    text.extend_from_slice(&length.to_be_bytes());
    text.extend_from_slice(message);
    text.extend_from_slice(appid);
    let pad = PADDED - text.len() % PADDED;
    text.resize(text.len() + pad, u8::try_from(pad).map_err(|_| CallbackError::TooLarge)?);
    let mut cipher = cbc::Encryptor::<Aes256>::new(key.into(), GenericArray::from_slice(&key[..BLOCK]));
    for block in text.chunks_exact_mut(BLOCK) {
        cipher.encrypt_block_mut(GenericArray::from_mut_slice(block));
    }
    Ok(STANDARD.encode(text))
}
