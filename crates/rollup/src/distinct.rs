//! How many different visitors there were, about: HyperLogLog (Flajolet et al. 2007) of the crate `datasketches`.
//!
//! Few are kept as what they are, four bytes each, and counted almost exactly; many as 2^17 registers (128 KiB in memory and
//! half of it encoded), with a standard error of 1.04 / √2^17 = 0.29 %. The estimate is the one that depends on the registers
//! alone, not the one that also depends on the order in which they were filled: so it is the same however it was merged.
//! Encoded, there is a checksum behind the registers, since the crate takes some of what it reads on trust.

use datasketches::hll::{HllSketch, HllType, HllUnion};

use crate::codec::{Damaged, Reader, put_bytes, put_uint};

/// Registers, as a power of two.
const LG_K: u8 = 17;

/// A set of visitors that is only asked for its size.
#[derive(Debug, Clone, Default)]
pub struct Distinct(State);

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Empty,
    /// Read, and not touched since.
    Sketch(Box<HllSketch>),
    Union(Box<HllUnion>),
}

impl Distinct {
    #[inline]
    fn union(&mut self) -> &mut HllUnion {
        if !matches!(self.0, State::Union(_)) {
            self.0 = State::Union(Box::new(self.to_union()));
        }
        match &mut self.0 {
            State::Union(union) => union,
            _ => unreachable!("it has just been made one"),
        }
    }

    #[expect(clippy::expect_used, reason = "the crate takes 4 to 21")]
    fn to_union(&self) -> HllUnion {
        let mut union = HllUnion::new(LG_K).expect("17 is between 4 and 21");
        if let State::Sketch(sketch) = &self.0 {
            union.update(sketch);
        }
        union
    }

    /// Takes one in.
    #[inline]
    pub fn add(&mut self, visitor: u64) {
        self.union().update_value(visitor);
    }

    /// Takes those of another one in.
    pub fn merge(&mut self, other: &Self) {
        match &other.0 {
            State::Empty => (),
            State::Sketch(sketch) => self.union().update(sketch),
            State::Union(union) => self.union().update(&union.to_sketch(HllType::Hll8)),
        }
    }

    /// How many different ones, about.
    pub fn estimate(&self) -> u64 {
        let estimate = match &self.0 {
            State::Empty => 0.0,
            State::Sketch(sketch) => sketch.composite_estimate(),
            State::Union(union) => union.composite_estimate(),
        };
        estimate.round().max(0.0) as u64
    }

    /// Packed, half a byte for most registers.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        self.put_as(HllType::Hll4, out);
    }

    /// Twice as long, but as it is in memory: for what is read once, and soon.
    pub(crate) fn put_plain(&self, out: &mut Vec<u8>) {
        self.put_as(HllType::Hll8, out);
    }

    fn put_as(&self, packing: HllType, out: &mut Vec<u8>) {
        let bytes = match &self.0 {
            State::Empty => Vec::new(),
            State::Sketch(sketch) if sketch.target_type() == packing => sketch.serialize(),
            State::Sketch(_) => self.to_union().to_sketch(packing).serialize(),
            State::Union(union) => union.to_sketch(packing).serialize(),
        };
        put_bytes(out, &bytes);
        if !bytes.is_empty() {
            put_uint(out, crc32fast::hash(&bytes).into());
        }
    }

    pub(crate) fn get(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let bytes = reader.bytes()?;
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if reader.uint()? != u64::from(crc32fast::hash(bytes)) {
            return Err(Damaged::Invalid("visitors have another checksum"));
        }
        let sketch = HllSketch::deserialize(bytes).map_err(|_| Damaged::Invalid("visitors cannot be read"))?;
        if sketch.lg_config_k() != LG_K {
            return Err(Damaged::Invalid("visitors have another number of registers"));
        }
        Ok(Self(State::Sketch(Box::new(sketch))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The errors of `trials` sets of `size`, in percent: root of the mean square, the largest, and the share above 1 %.
    fn errors(size: u64, trials: u64) -> (f64, f64, f64) {
        let mut all = Vec::new();
        for trial in 0..trials {
            let mut halves = [Distinct::default(), Distinct::default()];
            for at in 0..size {
                halves[(at % 2) as usize].add(trial << 40 | at);
            }
            let [mut left, right] = halves;
            left.merge(&right);
            all.push((left.estimate() as f64 / size as f64 - 1.0).abs() * 100.0);
        }
        let square = all.iter().map(|it| it * it).sum::<f64>() / all.len() as f64;
        let above = all.iter().filter(|it| **it > 1.0).count() as f64 / all.len() as f64;
        (square.sqrt(), all.into_iter().fold(0.0, f64::max), above)
    }

    #[test]
    fn the_error_is_far_below_a_percent() {
        for (size, trials) in [(1_000, 5), (100_000, 3), (1_000_000, 1)] {
            let (_, worst, _) = errors(size, trials);
            assert!(worst < 1.0, "{size}: {worst} %");
        }
    }

    #[test]
    #[ignore = "measures, for minutes"]
    fn the_error_over_many_sets() {
        for (size, trials) in [(1_000, 200), (10_000, 200), (100_000, 200), (1_000_000, 200)] {
            let (square, worst, above) = errors(size, trials);
            println!(
                "{size}: {square:.3} % root mean square, {worst:.3} % at most of {trials}, {above} of them above 1 %"
            );
        }
    }

    #[test]
    fn few_are_small_and_come_back() {
        for (size, most) in [(0, 1), (100, 500), (1_000, 4_200), (1_000_000, 68_000)] {
            let mut set = Distinct::default();
            (0..size).for_each(|it| set.add(it));
            let mut bytes = vec![crate::codec::VERSION];
            set.put(&mut bytes);
            let mut plain = vec![crate::codec::VERSION];
            set.put_plain(&mut plain);
            let plain = Distinct::get(&mut Reader::new(&plain).unwrap()).unwrap();
            let mut packed = vec![crate::codec::VERSION];
            plain.put(&mut packed);
            assert!(plain.estimate() == set.estimate() && packed.len().abs_diff(bytes.len()) < 5);
            assert!(bytes.len() <= most + 1, "{size}: {} bytes", bytes.len());
            let back = Distinct::get(&mut Reader::new(&bytes).unwrap()).unwrap();
            assert_eq!(back.estimate(), set.estimate());
            let mut doubled = back.clone();
            doubled.merge(&set);
            assert_eq!(doubled.estimate(), set.estimate());
        }
    }

    #[test]
    fn damaged_sets_are_errors() {
        for size in [5, 300, 200_000] {
            let mut set = Distinct::default();
            (0..size).for_each(|it| set.add(it));
            let mut bytes = vec![crate::codec::VERSION];
            set.put(&mut bytes);
            for at in 1..bytes.len().min(500) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                assert!(Distinct::get(&mut Reader::new(&damaged).unwrap()).is_err(), "byte {at} of {size}");
            }
        }
    }
}
