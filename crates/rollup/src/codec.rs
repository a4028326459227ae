//! Numbers and texts as bytes: what all encodings of this crate are made of.
//!
//! Whole numbers are LEB128, seven bits to a byte; numbers with a sign are zigzagged first, so that small ones stay short.
//! Reading never panics and never reserves more memory than the bytes at hand can fill.

use thiserror::Error;

/// Bytes that are no encoding of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damaged {
    /// The bytes end too early.
    #[error("the bytes end too early")]
    Short,
    /// There are bytes behind the end.
    #[error("there are bytes behind the end")]
    Long,
    /// Written by another version.
    #[error("the format has version {0}, which is not known here")]
    Version(u8),
    /// A value that cannot be.
    #[error("{0}")]
    Invalid(&'static str),
}

/// The version of all encodings, their first byte.
pub(crate) const VERSION: u8 = 1;

pub(crate) fn put_uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_int(out: &mut Vec<u8>, value: i64) {
    put_uint(out, ((value << 1) ^ (value >> 63)) as u64);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Behind the byte of the version.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Damaged> {
        match bytes.split_first() {
            None => Err(Damaged::Short),
            Some((&VERSION, rest)) => Ok(Self(rest)),
            Some((&other, _)) => Err(Damaged::Version(other)),
        }
    }

    pub(crate) fn uint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Damaged::Short)?;
            self.0 = rest;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged::Invalid("a number is longer than 64 bits"))
    }

    pub(crate) fn int(&mut self) -> Result<i64, Damaged> {
        let value = self.uint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number of fewer bits.
    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, Damaged> {
        T::try_from(self.uint()?).map_err(|_| Damaged::Invalid("a number is too large"))
    }

    pub(crate) fn day(&mut self) -> Result<i32, Damaged> {
        i32::try_from(self.int()?).map_err(|_| Damaged::Invalid("a day is out of range"))
    }

    /// How many things follow, of at least `least` bytes each.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, Damaged> {
        let count: usize = self.narrow()?;
        if count > self.0.len() / least.max(1) { Err(Damaged::Short) } else { Ok(count) }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let count = self.count(1)?;
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged::Invalid("a name is not UTF-8"))
    }

    pub(crate) fn end(self) -> Result<(), Damaged> {
        if self.0.is_empty() { Ok(()) } else { Err(Damaged::Long) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_and_bytes_come_back(uint: u64, int: i64, bytes: Vec<u8>) {
            let mut out = vec![VERSION];
            put_uint(&mut out, uint);
            put_int(&mut out, int);
            put_bytes(&mut out, &bytes);
            let mut reader = Reader::new(&out).unwrap();
            prop_assert_eq!(reader.uint(), Ok(uint));
            prop_assert_eq!(reader.int(), Ok(int));
            prop_assert_eq!(reader.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }

    #[test]
    fn what_is_not_a_number_is_an_error() {
        assert_eq!(Reader::new(&[]).err(), Some(Damaged::Short));
        assert_eq!(Reader::new(&[9]).err(), Some(Damaged::Version(9)));
        assert_eq!(Reader(&[0x80]).uint(), Err(Damaged::Short));
        assert!(matches!(Reader(&[0xff; 11]).uint(), Err(Damaged::Invalid(_))));
        assert_eq!(Reader(&[200, 1]).count(1), Err(Damaged::Short));
    }
}
