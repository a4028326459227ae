//! How a tree is parted among steps: by a digest of the path, so that no list has to be carried from the plan to a step, and a
//! file falls to the same step in each run.

use serde::{Deserialize, Serialize};

/// Bytes that are worth a step.
const WORTH: u64 = 64 << 20;

/// One part of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Which, from 0.
    pub(crate) number: u64,
    /// Of how many.
    pub(crate) of: u64,
}

impl Share {
    /// The parts that so many bytes are worth, at most `most` of them.
    pub(crate) fn of_bytes(bytes: u64, most: u64) -> impl Iterator<Item = Self> {
        let of = bytes.div_ceil(WORTH).clamp(1, most);
        (0..of).map(move |number| Self { number, of })
    }

    /// Whether the file at `path` falls to it.
    pub(crate) fn takes(self, path: &str) -> bool {
        // FNV-1a: the same on each machine and in each version.
        let digest = path
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        digest % self.of.max(1) == self.number
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.of == 1 { Ok(()) } else { write!(f, " ({} of {})", self.number + 1, self.of) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_falls_to_one_step() {
        let shares: Vec<_> = Share::of_bytes(200 << 20, 8).collect();
        assert_eq!(shares.len(), 4);
        let mut counts = [0; 4];
        for number in 0..1_000 {
            let path = format!("src/file-{number}.js");
            let takers: Vec<_> = shares.iter().filter(|share| share.takes(&path)).collect();
            assert_eq!(takers.len(), 1);
            counts[takers[0].number as usize] += 1;
        }
        assert!(counts.iter().all(|count| *count > 150), "{counts:?}");
        assert_eq!(Share::of_bytes(0, 8).count(), 1);
        assert_eq!(Share::of_bytes(u64::MAX, 8).count(), 8);
    }
}
