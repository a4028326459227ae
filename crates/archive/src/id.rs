//! Identifiers of blobs and files: the SHA-256 of their content.

use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use rustic_core::Id;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// An identifier. It is written as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sha([u8; 32]);

impl Sha {
    pub(crate) fn of(data: &[u8]) -> Self {
        Self(Sha256::digest(data).into())
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn hex(self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        text
    }

    fn from_hex(text: &[u8]) -> Option<Self> {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let mut id = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in id.iter_mut().zip(text.as_chunks::<2>().0) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(id))
    }
}

impl From<Sha> for Id {
    fn from(id: Sha) -> Self {
        Self::new(id.0)
    }
}

impl From<Id> for Sha {
    fn from(id: Id) -> Self {
        // rustic_core shows its digits only.
        Self::from_hex(id.to_hex().as_str().as_bytes()).unwrap_or(Self([0; 32]))
    }
}

impl Serialize for Sha {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.hex();
        serializer.serialize_str(str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Sha {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Sha;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Sha, E> {
                Sha::from_hex(text.as_bytes()).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

/// Identifiers are random already: eight of their bytes are their hash.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct AsIs(u64);

pub(crate) type ByItself = BuildHasherDefault<AsIs>;

impl Hash for Sha {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_written_and_read() {
        let id = Sha::of(b"");
        let text = "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"";
        assert_eq!(serde_json::to_string(&id).unwrap(), text);
        assert_eq!(serde_json::from_str::<Sha>(text).unwrap(), id);
        assert_eq!(Sha::from(Id::from(id)), id);
        assert!(serde_json::from_str::<Sha>("\"e3b0\"").is_err());
        assert!(serde_json::from_str::<Sha>(&text.replace('e', "g")).is_err());
    }
}
