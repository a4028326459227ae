//! Where a byte stands first, in fields that are mostly short.
//!
//! Calling memchr for each of them would take longer than looking for their ends. So two words are looked at here, and what is
//! longer is worth the call.

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// The high bit of each byte that is zero. Bits above the lowest of them may be wrong.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Where a byte stands first.
#[inline]
pub(crate) fn seek(byte: u8, bytes: &[u8]) -> Option<usize> {
    let wanted = ONES * u64::from(byte);
    for at in [0, 8] {
        let Some(chunk) = bytes.get(at..).and_then(|it| it.first_chunk::<8>()) else {
            return bytes.iter().skip(at).position(|it| *it == byte).map(|it| it + at);
        };
        let hits = zeros(u64::from_le_bytes(*chunk) ^ wanted);
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
    }
    memchr::memchr(byte, &bytes[16..]).map(|it| it + 16)
}

/// Where one of two bytes stands first.
#[inline]
pub(crate) fn seek2(one: u8, other: u8, bytes: &[u8]) -> Option<usize> {
    let wanted = (ONES * u64::from(one), ONES * u64::from(other));
    for at in [0, 8] {
        let Some(chunk) = bytes.get(at..).and_then(|it| it.first_chunk::<8>()) else {
            return bytes.iter().skip(at).position(|it| *it == one || *it == other).map(|it| it + at);
        };
        let word = u64::from_le_bytes(*chunk);
        let hits = zeros(word ^ wanted.0) | zeros(word ^ wanted.1);
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize / 8);
        }
    }
    memchr::memchr2(one, other, &bytes[16..]).map(|it| it + 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_memchr(one in 0..4u8, other in 0..4u8, bytes in proptest::collection::vec(prop_oneof![0..5u8, any::<u8>()], 0..40)) {
            prop_assert_eq!(seek(one, &bytes), memchr::memchr(one, &bytes));
            prop_assert_eq!(seek2(one, other, &bytes), memchr::memchr2(one, other, &bytes));
        }
    }
}
