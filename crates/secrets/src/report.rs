//! What is said about a secret without saying it.

use std::fmt::{self, Write};
use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::pem;
use crate::rule::{Id, Rule};

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// What it is.
    pub rule: &'static Rule,
    /// From 1 on.
    pub line: u64,
    /// In characters, from 1 on.
    pub column: u64,
    /// Its bytes in the file.
    pub range: Range<u64>,
    /// At most its first four characters, and its length: `ghp_… (40 characters)`. Of what is short, neither.
    pub redacted: String,
    /// The same for the same secret, wherever it stands.
    pub fingerprint: Fingerprint,
}

/// 128 bits of the SHA-256 of salt, rule and secret. A long random secret cannot be had back from it; a short password
/// could be guessed by who knows the salt, which therefore is to be kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The salt is hashed first, so that what follows cannot be mistaken for a part of it.
    pub(crate) fn new(salt: &[u8], rule: &Rule, secret: &[u8]) -> Self {
        let salt = Sha256::digest(salt);
        let hash =
            Sha256::new().chain_update(salt).chain_update(rule.id).chain_update([0]).chain_update(secret).finalize();
        let mut it = [0; 16];
        it.iter_mut().zip(hash).for_each(|(to, byte)| *to = byte);
        Self(it)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// What a fingerprint is made of: a key in PEM is the same however its lines are ended.
pub(crate) fn identity(id: Id, secret: &[u8]) -> Vec<u8> {
    match id {
        Id::PrivateKey | Id::GoogleAccount => pem::body(secret),
        _ => secret.to_vec(),
    }
}

/// Length from which the first two characters are shown, and that for the first four.
const SHOWN: [(usize, usize); 2] = [(24, 4), (16, 2)];

/// The beginning of a secret and its length; `generic` ones have no prefix that all know, so half as much is shown.
pub(crate) fn redact(id: Id, secret: &[u8]) -> String {
    let length = secret.len();
    if matches!(id, Id::PrivateKey | Id::GoogleAccount) {
        return format!("-----BEGIN … ({length} bytes)");
    }
    let shown = SHOWN.iter().find(|(least, _)| length >= *least).map_or(0, |(_, shown)| *shown);
    let shown = if id.is_generic() { shown.min(2) } else { shown };
    let mut text = String::new();
    secret[..shown].iter().filter(|it| it.is_ascii_graphic()).for_each(|it| text.push(char::from(*it)));
    // Writing to a string cannot fail.
    _ = match shown {
        0 => write!(text, "… (fewer than 16 characters)"),
        _ => write!(text, "… ({length} characters)"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_shown() {
        assert_eq!(redact(Id::Password, b"Mall@8842"), "… (fewer than 16 characters)");
        assert_eq!(redact(Id::Secret, b"kJ8sPq2LmZx0vB3nWt6Ykk00"), "kJ… (24 characters)");
        assert_eq!(redact(Id::GithubToken, &[b'g'; 40]), "gggg… (40 characters)");
        assert_eq!(redact(Id::PrivateKey, &[b'-'; 1704]), "-----BEGIN … (1704 bytes)");
    }

    #[test]
    fn fingerprints_differ_by_all_that_they_are_made_of() {
        let of = |salt: &[u8], id: Id, secret: &[u8]| Fingerprint::new(salt, id.rule(), secret).to_string();
        let one = of(b"s", Id::Password, b"a");
        assert_eq!(one.len(), 32);
        assert_eq!(one, of(b"s", Id::Password, b"a"));
        for other in [of(b"t", Id::Password, b"a"), of(b"s", Id::Secret, b"a"), of(b"s", Id::Password, b"b")] {
            assert_ne!(one, other);
        }
    }
}
