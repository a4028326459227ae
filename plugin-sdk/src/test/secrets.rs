//! `secrets` of the test host: values that the test gives. Requests keep their placeholders, for the test to look at.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};

use super::{denied, with};
use crate::host::{HostError, HostResult};
use crate::secrets::{Algorithm, Part};

pub(crate) fn hmac(algorithm: Algorithm, key: &[Part], message: &[Part]) -> HostResult<Vec<u8>> {
    if key.iter().chain(message).all(|part| matches!(part, Part::Bytes(_))) {
        let message = "nothing that is to be signed, and not the key, has a secret in it";
        return Err(HostError::Invalid(message.to_owned()));
    }
    let (key, message) = (assemble(key)?, assemble(message)?);
    let left = with(|world| world.signatures.as_mut().map(|left| std::mem::replace(left, left.saturating_sub(1))));
    if left == Some(0) {
        return Err(HostError::Limit("this run has signed as often as it may".to_owned()));
    }
    match algorithm {
        Algorithm::Sha1 => of::<Hmac<sha1::Sha1>>(&key, &message),
        Algorithm::Sha256 => of::<Hmac<sha2::Sha256>>(&key, &message),
    }
}

fn of<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> HostResult<Vec<u8>> {
    let mac = <M as KeyInit>::new_from_slice(key).map_err(|error| HostError::Invalid(error.to_string()))?;
    Ok(mac.chain_update(message).finalize().into_bytes().to_vec())
}

fn assemble(parts: &[Part]) -> HostResult<Vec<u8>> {
    let pieces = parts.iter().map(|part| match part {
        Part::Bytes(bytes) => Ok(bytes.clone()),
        Part::Secret(name) => value(name).map(String::into_bytes),
        Part::Decoded(name) => {
            let value = value(name)?;
            let decoded = STANDARD.decode(value.strip_prefix("whsec_").unwrap_or(&value));
            decoded.map_err(|_| HostError::Unavailable(format!("the secret `{name}` is no base64")))
        }
    });
    pieces.collect::<HostResult<Vec<_>>>().map(|pieces| pieces.concat())
}

fn value(name: &str) -> HostResult<String> {
    with(|world| world.secrets.get(name).cloned()).ok_or_else(|| denied("secret", name))
}
