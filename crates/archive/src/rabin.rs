//! Fingerprints after M. O. Rabin, "Fingerprinting by random polynomials", 1981.
//!
//! The bits of bytes are the coefficients of a polynomial over the field of two elements, in which addition is XOR. The
//! fingerprint of a window is what is left of it after division by a fixed polynomial P of the repository. When the window
//! slides on by a byte `b`, the fingerprint `f` becomes `(f * x^8 + b - o * x^(8 * window)) mod P`, where `o` is the byte
//! that leaves. All of that is linear, so its parts can be looked up each for itself: what `f * x^8` loses to P depends on
//! the eight highest bits of `f`, and what `o` takes with it on `o` alone. Only the first of the two has to wait for the
//! fingerprint before it.

/// Bytes in the window, as in restic: <https://restic.net/blog/2015-09-12/restic-foundation1-cdc/>.
pub(crate) const WINDOW: usize = 64;

/// The tables of one polynomial.
#[derive(Debug, Clone)]
pub(crate) struct Rabin {
    /// Bits below the eight highest ones of a fingerprint.
    shift: u32,
    /// For the eight bits that a shift moves out of the fingerprint: the multiple of P that takes them away.
    reduce: [u64; 256],
    /// For the byte that has left the window: what it had added to the fingerprint.
    leave: [u64; 256],
}

fn degree(polynomial: u64) -> Option<u32> {
    polynomial.checked_ilog2()
}

/// What is left of `dividend` after division by `divisor`, whose degree is `of_divisor`.
fn modulo(dividend: u64, divisor: u64, of_divisor: u32) -> u64 {
    let mut rest = dividend;
    while let Some(of_rest) = degree(rest)
        && of_rest >= of_divisor
    {
        rest ^= divisor << (of_rest - of_divisor);
    }
    rest
}

impl Rabin {
    /// None unless the polynomial has a degree of 8 to 55. Those of restic have 53.
    pub(crate) fn new(polynomial: u64) -> Option<Self> {
        let degree = degree(polynomial).filter(|degree| (8..=55).contains(degree))?;
        let mut it = Self { shift: degree - 8, reduce: [0; 256], leave: [0; 256] };
        for (byte, (reduce, leave)) in (0_u64..).zip(it.reduce.iter_mut().zip(&mut it.leave)) {
            let moved_out = byte << degree;
            *reduce = modulo(moved_out, polynomial, degree) | moved_out;
            // It came in as it is, and was shifted by a byte with each one that came after it.
            *leave = (0..WINDOW).fold(modulo(byte, polynomial, degree), |sum, _| modulo(sum << 8, polynomial, degree));
        }
        Some(it)
    }

    /// The fingerprint of a window of zeros that `bytes` slid into.
    pub(crate) fn of(&self, bytes: &[u8; WINDOW]) -> u64 {
        bytes.iter().fold(0, |hash, byte| self.slide(hash, 0, *byte))
    }

    /// The next fingerprint, when `oldest` leaves and `newest` comes in.
    #[inline(always)]
    pub(crate) fn slide(&self, hash: u64, oldest: u8, newest: u8) -> u64 {
        // A fingerprint has no bit above these eight: nothing is cut off.
        #[expect(clippy::cast_possible_truncation, reason = "eight bits are left")]
        let highest = (hash >> self.shift) as u8;
        let beside = u64::from(newest) ^ self.leave[usize::from(oldest)];
        (hash << 8) ^ beside ^ self.reduce[usize::from(highest)]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, without tables and without a window that slides.
    pub(crate) fn by_definition(window: &[u8], polynomial: u64) -> u64 {
        let degree = degree(polynomial).unwrap();
        window.iter().fold(0, |rest, byte| modulo((rest << 8) | u64::from(*byte), polynomial, degree))
    }

    #[test]
    fn divisions() {
        // x^2+x+1 = x(x+1) + 1; x^4+x+1 = x * x^3 + x+1
        for (dividend, divisor, rest) in [(7, 3, 1), (7, 4, 3), (16, 8, 0), (19, 8, 3), (5, 5, 0), (3, 4, 3), (0, 2, 0)]
        {
            assert_eq!(modulo(dividend, divisor, degree(divisor).unwrap()), rest, "{dividend} modulo {divisor}");
        }
        assert!(Rabin::new(0).is_none() && Rabin::new(0x7f).is_none() && Rabin::new(1 << 56).is_none());
    }

    proptest! {
        #[test]
        fn a_sliding_window_is_as_defined(data in prop::collection::vec(any::<u8>(), 64..400), degree in 8..56_u32, low: u64) {
            let polynomial = 1 << degree | low & ((1 << degree) - 1);
            let rabin = Rabin::new(polynomial).unwrap();
            let mut hash = rabin.of(data[..64].try_into().unwrap());
            for end in 64..data.len() {
                prop_assert_eq!(hash, by_definition(&data[end - 64..end], polynomial));
                hash = rabin.slide(hash, data[end - 64], data[end]);
            }
        }
    }
}
