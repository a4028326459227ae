//! How long answers took: count, sum and maximum exactly, quantiles with a bounded relative error.
//!
//! This is a DDSketch (Masson, Rim and Lee, VLDB 2019) with linear interpolation within powers of two, the mapping that
//! HdrHistogram has as well: a bin is the power of two below a value and its next `BITS` bits. Values below 2^`BITS` µs are
//! exact; others are at most half a bin away from the bin's middle, which is 1 / 2^(`BITS` + 1) of them. It takes no
//! logarithm and no floating point, so that any order of merging gives the same bytes, also in WebAssembly.
//!
//! The crate `sketches-ddsketch` would do for hours, but has its sums as floating point and its bins in blocks of 1 KiB, too
//! large for each of ten thousand pages.

use crate::codec::{Damaged, Reader, put_uint};

/// How much a bin counts to. A count that is reached stays.
pub trait Bin: Copy + Default + Into<u64> {
    #[doc(hidden)]
    fn plus(self, count: u64) -> Self;
}

impl Bin for u64 {
    fn plus(self, count: u64) -> Self {
        self.saturating_add(count)
    }
}

impl Bin for u32 {
    fn plus(self, count: u64) -> Self {
        self.saturating_add(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// Microseconds, in bins whose middle is off by at most one part in 2^(`BITS` + 1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations<const BITS: u32, N> {
    count: u64,
    sum: u64,
    max: u64,
    /// The bin that `bins` begins with.
    first: u32,
    bins: Vec<N>,
}

/// Of a span: an error of at most 0.4 %.
pub type Exact = Durations<7, u64>;
/// Of a page, where ten thousand must be kept and found in the cache: an error of at most 3.2 %.
pub type Coarse = Durations<4, u32>;

impl<const BITS: u32, N: Bin> Durations<BITS, N> {
    const BINS: u32 = (65 - BITS) << BITS;

    fn bin(micros: u64) -> u32 {
        let power = (micros | 1).ilog2();
        if power < BITS {
            return micros as u32;
        }
        let within = (micros >> (power - BITS)) as u32 & ((1 << BITS) - 1);
        ((power - BITS + 1) << BITS) | within
    }

    fn middle(bin: u32) -> u64 {
        if bin < 1 << BITS {
            return bin.into();
        }
        let shift = (bin >> BITS) - 1;
        let low = u64::from((bin & ((1 << BITS) - 1)) | (1 << BITS)) << shift;
        low + ((1 << shift) - 1) / 2
    }

    /// The place of a bin, made if it is new.
    fn place(&mut self, bin: u32) -> &mut N {
        if self.bins.is_empty() {
            self.first = bin;
        }
        if bin < self.first {
            let before = (self.first - bin) as usize;
            self.bins.splice(0..0, std::iter::repeat_n(N::default(), before));
            self.first = bin;
        }
        let at = (bin - self.first) as usize;
        if at >= self.bins.len() {
            self.bins.resize(at + 1, N::default());
        }
        &mut self.bins[at]
    }

    /// Counts one.
    #[inline]
    pub fn add(&mut self, micros: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(micros);
        self.max = self.max.max(micros);
        let bin = self.place(Self::bin(micros));
        *bin = bin.plus(1);
    }

    /// Takes in those of another one.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        let Some(last) = other.bins.len().checked_sub(1) else { return };
        self.place(other.first);
        self.place(other.first + last as u32);
        let at = (other.first - self.first) as usize;
        for (mine, theirs) in self.bins[at..].iter_mut().zip(&other.bins) {
            *mine = mine.plus((*theirs).into());
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All together, in microseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The longest, in microseconds.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The least duration that `share` of all (0 to 1) do not exceed, in microseconds; none if there are none.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0u64;
        for (at, &count) in self.bins.iter().enumerate() {
            seen = seen.saturating_add(count.into());
            if seen >= rank {
                return Some(Self::middle(self.first + at as u32).min(self.max));
            }
        }
        (self.count > 0).then_some(self.max)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for value in [self.count, self.sum, self.max] {
            put_uint(out, value);
        }
        let filled = || self.bins.iter().map(|&it| it.into()).enumerate().filter(|it: &(usize, u64)| it.1 > 0);
        put_uint(out, filled().count() as u64);
        let mut next = 0;
        for (at, count) in filled() {
            let bin = self.first as usize + at;
            put_uint(out, (bin - next) as u64);
            put_uint(out, count);
            next = bin + 1;
        }
    }

    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut this =
            Self { count: reader.uint()?, sum: reader.uint()?, max: reader.uint()?, first: 0, bins: Vec::new() };
        let mut next = 0u32;
        for _ in 0..reader.count(2)? {
            let bin = next.checked_add(reader.narrow()?).filter(|it| *it < Self::BINS);
            let bin = bin.ok_or(Damaged::Invalid("a duration is out of range"))?;
            *this.place(bin) = N::default().plus(reader.uint()?);
            next = bin + 1;
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(micros: &[u64]) -> Exact {
        let mut durations = Exact::default();
        micros.iter().for_each(|it| durations.add(*it));
        durations
    }

    proptest! {
        #[test]
        fn a_bin_is_near_what_is_in_it(micros: u64, shift in 0..64u32) {
            let micros = micros >> shift;
            let off = |middle: u64| middle.abs_diff(micros) as f64 / micros.max(1) as f64;
            prop_assert!(off(Exact::middle(Exact::bin(micros))) <= 1.0 / 256.0);
            prop_assert!(off(Coarse::middle(Coarse::bin(micros))) <= 1.0 / 32.0);
            prop_assert!(Exact::bin(micros) < Exact::BINS);
        }

        #[test]
        fn merging_is_as_if_all_had_been_added(left: Vec<u32>, right: Vec<u32>) {
            let [left, right] = [left, right].map(|it| it.into_iter().map(u64::from).collect::<Vec<_>>());
            let mut merged = of(&left);
            merged.merge(&of(&right));
            let mut other = of(&right);
            other.merge(&of(&left));
            prop_assert_eq!(&merged, &other);
            prop_assert_eq!(&merged, &of(&[left, right].concat()));
            let mut bytes = vec![crate::codec::VERSION];
            merged.put(&mut bytes);
            prop_assert_eq!(Exact::get(&mut Reader::new(&bytes).unwrap()), Ok(merged));
        }
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Exact::default().quantile(0.5), None);
        assert_eq!(of(&[0]).quantile(0.99), Some(0));
        assert_eq!(of(&[5, 1, 3]).quantile(0.5), Some(3));
        assert_eq!(of(&[u64::MAX; 2]).quantile(1.0).map(|it| it >> 56), Some(0xff));
    }

    /// SplitMix64, as a share between 0 and 1.
    fn random(state: &mut u64) -> f64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((value ^ (value >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal: the sum of twelve.
    fn normal(state: &mut u64) -> f64 {
        (0..12).map(|_| random(state)).sum::<f64>() - 6.0
    }

    #[test]
    fn quantiles_of_what_servers_take_are_near() {
        let uniform = |it: &mut u64| random(it) * 2e6;
        let lognormal = |it: &mut u64| (9.0 + normal(it)).exp();
        let bimodal =
            |it: &mut u64| if random(it) < 0.985 { 900.0 + 90.0 * normal(it) } else { 3e6 + 4e5 * normal(it) };
        let draws = [("uniform", uniform as fn(&mut u64) -> f64), ("lognormal", lognormal), ("bimodal", bimodal)];
        for (name, draw) in draws {
            let mut state = 1;
            let mut exact: Vec<u64> = (0..200_000).map(|_| draw(&mut state).max(0.0) as u64).collect();
            let durations = of(&exact);
            exact.sort_unstable();
            for share in [0.5, 0.9, 0.95, 0.99] {
                let wanted = exact[(share * exact.len() as f64).ceil() as usize - 1] as f64;
                let error = (durations.quantile(share).unwrap() as f64 / wanted - 1.0).abs() * 100.0;
                println!("{name} {share}: {error:.3} %");
                assert!(error < 0.4, "{name} {share}: {error} %");
            }
        }
    }
}
