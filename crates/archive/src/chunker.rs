//! Where files are cut. restic, rustic and upkeep cut at the same places, so that they find each other's chunks again.
//!
//! A chunk ends where the low bits of the fingerprint of its last 64 bytes are zero, but not before `least` bytes and at
//! `most` bytes at the latest. The fingerprint of a place depends on the window before it and on nothing else, so four
//! places far from one another are looked at in turn: a processor that waits for one does the others.
//!
//! rustic_core 0.13 leaves the byte before the least length out of its first windows, so for 64 places it has other
//! fingerprints than restic and we: of chunks of the usual size, one in 8,000 ends elsewhere, and is saved by both.

use rustic_core::repofile::{Chunker, ConfigFile};

use crate::ArchiveError;
use crate::rabin::{Rabin, WINDOW};

/// Places that are looked at in turn.
const LANES: usize = 4;

/// How far each goes before they move on together.
const STRIDE: usize = 4_096;

/// The rule of one repository.
#[derive(Debug)]
pub(crate) enum Cuts {
    Content { rabin: Box<Rabin>, mask: u64, least: usize, most: usize },
    Fixed(usize),
}

impl Cuts {
    pub(crate) fn new(config: &ConfigFile) -> Result<Self, ArchiveError> {
        let (size, least, most) = (config.chunk_size(), config.chunk_min_size(), config.chunk_max_size());
        match config.chunker() {
            Chunker::FixedSize if size > 0 => Ok(Self::Fixed(size)),
            Chunker::Rabin if size.is_power_of_two() && (WINDOW..=most).contains(&least) => {
                let polynomial = config.poly()?;
                let rabin = Rabin::new(polynomial)
                    .ok_or_else(|| ArchiveError::Settings(format!("the polynomial {polynomial:#x} cuts no files")))?;
                Ok(Self::Content { rabin: Box::new(rabin), mask: size as u64 - 1, least, most })
            }
            _ => Err(ArchiveError::Settings(format!("chunks of {least} to {most} bytes around {size}"))),
        }
    }

    /// The shortest chunk that is not the last one of its file.
    pub(crate) fn least(&self) -> usize {
        match self {
            Self::Content { least, .. } => *least,
            Self::Fixed(size) => *size,
        }
    }

    /// How long the chunk is that `data` begins with, when it does not end before `from` bytes. None when its end is not
    /// in `data`.
    pub(crate) fn find(&self, data: &[u8], from: usize) -> Option<usize> {
        let Self::Content { rabin, mask, least, most } = self else {
            return Some(self.least()).filter(|size| *size <= data.len());
        };
        let (from, to) = (from.max(*least), data.len().min(*most));
        if from > to {
            return None;
        }
        let first = data[from - WINDOW..from].try_into().ok()?;
        let hash = rabin.of(first);
        if hash & mask == 0 {
            return Some(from);
        }
        let mut begin = from;
        while to - begin >= LANES * STRIDE {
            let block = data[begin - WINDOW..begin + LANES * STRIDE].try_into().ok()?;
            if let Some(found) = side_by_side(rabin, *mask, block) {
                return Some(begin + found);
            }
            begin += LANES * STRIDE;
        }
        let window = data[begin - WINDOW..begin].try_into().ok()?;
        let found = one_by_one(rabin, *mask, rabin.of(window), &data[begin - WINDOW..to]);
        found.map(|found| begin + found).or((to == *most).then_some(*most))
    }
}

/// How many bytes after the window that `data` begins with, whose fingerprint is `hash`, the first cut is.
fn one_by_one(rabin: &Rabin, mask: u64, mut hash: u64, data: &[u8]) -> Option<usize> {
    for (place, (oldest, newest)) in data.iter().zip(&data[WINDOW..]).enumerate() {
        hash = rabin.slide(hash, *oldest, *newest);
        if hash & mask == 0 {
            return Some(place + 1);
        }
    }
    None
}

type Block = [u8; WINDOW + LANES * STRIDE];

/// The same for a block, in strides side by side.
fn side_by_side(rabin: &Rabin, mask: u64, block: &Block) -> Option<usize> {
    let lane = |number: usize| -> Option<&[u8; WINDOW + STRIDE]> {
        block[number * STRIDE..number * STRIDE + WINDOW + STRIDE].try_into().ok()
    };
    let (one, two, three, four) = (lane(0)?, lane(1)?, lane(2)?, lane(3)?);
    let lanes = [one, two, three, four];
    let mut hashes = lanes.map(|lane| lane.first_chunk().map_or(0, |window| rabin.of(window)));
    for place in 0..STRIDE {
        let mut is_cut = false;
        for (hash, lane) in hashes.iter_mut().zip(lanes) {
            *hash = rabin.slide(*hash, lane[place], lane[place + WINDOW]);
            is_cut |= *hash & mask == 0;
        }
        if is_cut {
            return Some(earliest(rabin, mask, lanes, hashes, place));
        }
    }
    None
}

/// At least one lane has a cut at `place`; those before it may have one further on.
#[cold]
fn earliest(
    rabin: &Rabin,
    mask: u64,
    lanes: [&[u8; WINDOW + STRIDE]; LANES],
    hashes: [u64; LANES],
    place: usize,
) -> usize {
    for (number, (lane, hash)) in lanes.into_iter().zip(hashes).enumerate() {
        let begin = number * STRIDE + place + 1;
        if hash & mask == 0 {
            return begin;
        }
        if let Some(further) = one_by_one(rabin, mask, hash, &lane[place + 1..]) {
            return begin + further;
        }
    }
    LANES * STRIDE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rabin::tests::by_definition;

    const POLYNOMIAL: u64 = 0x003D_A335_8B4D_C173;

    fn cuts(polynomial: u64, mask: u64, least: usize, most: usize) -> Cuts {
        Cuts::Content { rabin: Box::new(Rabin::new(polynomial).unwrap()), mask, least, most }
    }

    /// The length of the first chunk, by the definition of everything.
    fn reference(data: &[u8], polynomial: u64, mask: u64, least: usize, most: usize) -> Option<usize> {
        (least..=data.len().min(most))
            .find(|end| *end == most || by_definition(&data[end - WINDOW..*end], polynomial) & mask == 0)
    }

    fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn zeros_are_cut_as_soon_as_they_may_be() {
        let cuts = cuts(POLYNOMIAL, (1 << 20) - 1, 1 << 19, 1 << 23);
        assert_eq!(cuts.find(&vec![0; 1 << 20], 0), Some(1 << 19));
        assert_eq!(cuts.find(&vec![0; (1 << 19) - 1], 0), None);
    }

    #[test]
    fn what_has_no_cut_ends_at_the_most() {
        // A mask of more bits than a fingerprint has: only zeros would fit.
        let cuts = cuts(POLYNOMIAL, u64::MAX, 100, 70_000);
        let data = noise(80_000, 3);
        assert_eq!(cuts.find(&data, 0), Some(70_000));
        assert_eq!(cuts.find(&data[..69_999], 0), None);
        assert_eq!(cuts.find(&data, 70_000), Some(70_000));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let mut config = ConfigFile::new(2, Default::default(), POLYNOMIAL);
        assert!(matches!(
            Cuts::new(&config).unwrap(),
            Cuts::Content { least: 524_288, most: 8_388_608, mask: 1_048_575, .. }
        ));
        config.chunk_size = Some(1_000);
        assert!(Cuts::new(&config).is_err());
        config.chunker = Some(Chunker::FixedSize);
        assert_eq!(Cuts::new(&config).unwrap().find(&[1; 2_000], 0), Some(1_000));
        config = ConfigFile::new(2, Default::default(), 0);
        assert!(Cuts::new(&config).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn cuts_are_where_the_definition_has_them(
            polynomial in (1_u64 << 53)..(1 << 54), bits in 6..20_u32, seed: u64, length in 0..60_000_usize,
        ) {
            let data = noise(length, seed | 1);
            let mask = (1 << bits) - 1;
            let cuts = cuts(polynomial, mask, 300, 50_000);
            prop_assert_eq!(cuts.find(&data, 0), reference(&data, polynomial, mask, 300, 50_000));
        }

        #[test]
        fn it_does_not_matter_in_which_pieces_data_comes(
            seed: u64, bits in 6..18_u32, pieces in prop::collection::vec(1..30_000_usize, 1..6),
        ) {
            let data = noise(pieces.iter().sum(), seed | 1);
            let cuts = cuts(POLYNOMIAL, (1 << bits) - 1, 300, 50_000);
            let (mut seen, mut found) = (0, None);
            for piece in &pieces {
                found = found.or_else(|| cuts.find(&data[..seen + piece], seen + 1));
                seen += piece;
            }
            prop_assert_eq!(found, cuts.find(&data, 0));
        }
    }
}
