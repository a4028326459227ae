//! Numbers in text.

/// A whole number; none if there is anything but digits, or if it does not fit.
#[inline]
pub(crate) fn whole(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    let mut sum: u64 = 0;
    for it in digits {
        let digit = it.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(sum)
}

/// A number of seconds or the like, exact to nine places behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    /// What stands before the point.
    pub(crate) whole: u64,
    /// Billionths.
    pub(crate) nanos: u32,
    /// How many places it was given with.
    pub(crate) places: usize,
}

impl Decimal {
    /// The number times ten to the power of `places`, at most nine, cut off.
    pub(crate) fn scaled(self, places: u32) -> Option<u64> {
        let fraction = self.nanos / POWERS.get(9usize.checked_sub(places as usize)?)?;
        self.whole.checked_mul(u64::from(POWERS[places as usize]))?.checked_add(u64::from(fraction))
    }
}

/// `12`, `12.5`, `.5`, and what JSON writes as `1.25e1`; none for what is negative or no number.
pub(crate) fn decimal(text: &[u8]) -> Option<Decimal> {
    let (before, rest) = digits(text);
    let Some((sign, fraction)) = rest.split_first() else {
        return Some(Decimal { whole: whole(before)?, nanos: 0, places: 0 });
    };
    let (behind, rest) = if *sign == b'.' { digits(fraction) } else { (&[][..], rest) };
    match rest {
        [] if before.is_empty() && behind.is_empty() => return None,
        [] => (),
        [b'e' | b'E', ..] => return float(text),
        _ => return None,
    }
    let before = if before.is_empty() { 0 } else { whole(before)? };
    let given = behind.len().min(9);
    let nanos = behind[..given].iter().fold(0, |sum, it| sum * 10 + u32::from(it - b'0')) * POWERS[9 - given];
    Some(Decimal { whole: before, nanos, places: behind.len() })
}

/// Powers of ten.
const POWERS: [u32; 10] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// The digits at the begin of a text, and what stands behind them.
#[inline]
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|it| !it.is_ascii_digit()).unwrap_or(text.len()))
}

/// A number with an exponent. Nobody writes logs like this, but JSON allows it.
#[cold]
fn float(text: &[u8]) -> Option<Decimal> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    if !(0.0..1.8e19).contains(&number) {
        return None;
    }
    let nanos = ((number.fract() * 1e9).round() as u32).min(999_999_999);
    Some(Decimal { whole: number.trunc() as u64, nanos, places: if nanos == 0 { 0 } else { 9 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        assert_eq!(whole(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(whole(b"007"), Some(7));
        for wrong in ["", "18446744073709551616", "-1", "1 ", "000000000000000000001"] {
            assert_eq!(whole(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn decimals() {
        let scaled = |text: &str, places| decimal(text.as_bytes()).and_then(|it| it.scaled(places));
        assert_eq!(scaled("0.012", 6), Some(12_000));
        assert_eq!(scaled("3", 6), Some(3_000_000));
        assert_eq!(scaled(".5", 3), Some(500));
        assert_eq!(scaled("5.", 3), Some(5000));
        assert_eq!(scaled("0.00000000199", 9), Some(1));
        assert_eq!(scaled("1.5e-3", 6), Some(1500));
        assert_eq!(scaled("18446744073709551615", 6), None);
        for wrong in ["", ".", "-1", "1.-", "1,5", "1e", "e5", "1e99"] {
            assert_eq!(decimal(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
