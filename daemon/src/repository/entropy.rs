//! What content looks like, from small samples of what a backup reads anyway: encrypted files are told from others, at a
//! cost far below one per cent of reading them.
//!
//! Of each file the first 2 KiB are counted, and 2 KiB of each further MiB. The entropy of the counted bytes is
//! H = -Σ pᵢ log₂ pᵢ, with the correction for small samples by Miller and Madow (1955): H + (m - 1) / (2 n ln 2) for m
//! different bytes among n. Compressed formats are as noisy as encrypted ones; those that are common are known by their
//! first bytes.

use std::sync::LazyLock;

/// Bytes of a sample.
const SAMPLE: usize = 2 << 10;
/// Bytes that are passed over after a sample.
const STRIDE: u64 = 1 << 20;
/// Fewer bytes say too little.
const LEAST: u32 = 1 << 10;
/// Bits per byte of noise.
const NOISE: f64 = 7.9;

/// x · log₂ x for the counts of one sample, since a logarithm takes longer than all the rest.
static X_LOG_X: LazyLock<Vec<f64>> =
    LazyLock::new(|| (0..=SAMPLE).map(|x| if x == 0 { 0.0 } else { x as f64 * (x as f64).log2() }).collect());

/// What the content of files looks like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    /// Bytes that were read.
    pub bytes: u64,
    /// Files with enough content to judge.
    pub sampled: u64,
    /// Those that look like noise and like no known compressed format.
    pub opaque: u64,
    /// Sum of the files' bits per byte.
    bits: f64,
}

impl Content {
    /// Bits per byte, averaged over the files that were sampled; 0 where there are none.
    pub fn entropy(&self) -> f64 {
        if self.sampled == 0 { 0.0 } else { self.bits / self.sampled as f64 }
    }

    /// Counts a file in.
    pub(super) fn add(&mut self, file: &Sampler) {
        self.bytes += file.bytes;
        let Some(counts) = &file.counts else { return };
        if let Some(bits) = counts.entropy() {
            self.sampled += 1;
            self.bits += bits;
            self.opaque += u64::from(bits > NOISE && !counts.is_known_format);
        }
    }
}

/// Looks at one file while it is read.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    bytes: u64,
    /// Where the next sample begins.
    next: u64,
    /// Bytes that the sample that was begun still wants.
    wanted: usize,
    /// Made for the first byte: files without content are many.
    counts: Option<Box<Counts>>,
}

#[derive(Debug)]
struct Counts {
    of: [u32; 256],
    is_known_format: bool,
}

impl Sampler {
    /// The next bytes of the file.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        let (start, mut rest) = (self.bytes, bytes);
        self.bytes += bytes.len() as u64;
        while self.wanted > 0 || self.next < self.bytes {
            if self.wanted == 0 {
                // It begins in these bytes: what was before them was seen before.
                let from = self.next.saturating_sub(start);
                rest = &bytes[usize::try_from(from).unwrap_or(bytes.len())..];
                (self.wanted, self.next) = (SAMPLE, self.next + STRIDE);
            }
            let Some(sample) = rest.get(..self.wanted.min(rest.len())).filter(|sample| !sample.is_empty()) else {
                return;
            };
            let counts = self
                .counts
                .get_or_insert_with(|| Box::new(Counts { of: [0; 256], is_known_format: is_known_format(sample) }));
            counts.count(sample);
            self.wanted -= sample.len();
            rest = &rest[sample.len()..];
        }
    }
}

impl Counts {
    fn count(&mut self, sample: &[u8]) {
        // Two counters, so that a byte that comes twice in a row does not wait for its own sum.
        let mut second = [0_u32; 256];
        let (pairs, rest) = sample.as_chunks::<2>();
        for [a, b] in pairs {
            self.of[usize::from(*a)] += 1;
            second[usize::from(*b)] += 1;
        }
        for byte in rest {
            self.of[usize::from(*byte)] += 1;
        }
        for (all, more) in self.of.iter_mut().zip(second) {
            *all += more;
        }
    }

    /// Bits per byte; none where there are too few bytes.
    fn entropy(&self) -> Option<f64> {
        let n: u32 = self.of.iter().sum();
        if n < LEAST {
            return None;
        }
        let different = self.of.iter().filter(|count| **count > 0).count();
        let x_log_x = |count: u32| match X_LOG_X.get(count as usize) {
            Some(known) => *known,
            None => f64::from(count) * f64::from(count).log2(),
        };
        let n = f64::from(n);
        let sum: f64 = self.of.iter().map(|count| x_log_x(*count)).sum();
        let correction = (different as f64 - 1.0) / (2.0 * n * std::f64::consts::LN_2);
        Some((n.log2() - sum / n + correction).min(8.0))
    }
}

/// Whether a file begins as a common compressed format does.
fn is_known_format(start: &[u8]) -> bool {
    const FORMATS: [(usize, &[u8]); 27] = [
        (0, b"\xff\xd8\xff"),       // JPEG
        (0, b"\x89PNG"),            // PNG
        (0, b"GIF8"),               // GIF
        (8, b"WEBP"),               // WebP
        (4, b"ftyp"),               // MP4, MOV, HEIC, AVIF
        (0, b"\x1a\x45\xdf\xa3"),   // Matroska, WebM
        (8, b"AVI "),               // AVI
        (0, b"OggS"),               // Ogg
        (0, b"fLaC"),               // FLAC
        (0, b"ID3"),                // MP3
        (0, b"\xff\xfb"),           // MP3 without a tag
        (0, b"%PDF"),               // PDF
        (0, b"PK\x03\x04"),         // ZIP, OOXML, ODF, JAR, APK
        (0, b"\x1f\x8b"),           // gzip
        (0, b"BZh"),                // bzip2
        (0, b"\xfd7zXZ"),           // xz
        (0, b"\x28\xb5\x2f\xfd"),   // zstd
        (0, b"\x04\x22\x4d\x18"),   // LZ4
        (0, b"7z\xbc\xaf\x27\x1c"), // 7-Zip
        (0, b"Rar!"),               // RAR
        (0, b"wOF2"),               // WOFF2
        (0, b"\x00\x00\x01\xba"),   // MPEG
        (0, b"PGDMP"),              // pg_dump's custom format
        (0, b"DIRC"),               // git's index
        (0, b"PACK"),               // git's packs
        (0, b"\x78\x01"),           // zlib, such as git's objects
        (0, b"\x78\x9c"),           // zlib
    ];
    FORMATS.iter().any(|(at, magic)| start.get(*at..).is_some_and(|rest| rest.starts_with(magic)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    /// The content of one file that is read in pieces.
    fn content(bytes: &[u8], piece: usize) -> Content {
        let (mut sampler, mut content) = (Sampler::default(), Content::default());
        bytes.chunks(piece).for_each(|piece| sampler.see(piece));
        content.add(&sampler);
        content
    }

    #[test]
    fn noise_is_told_from_text() {
        let text = "A backup that was never restored is a hope. ".repeat(2_000).into_bytes();
        let found = content(&text, 8_192);
        assert_eq!((found.bytes, found.sampled, found.opaque), (text.len() as u64, 1, 0));
        assert!((3.0..4.6).contains(&found.entropy()), "{}", found.entropy());
        for length in [1_024, 4_096, 100_000, 5_000_000] {
            for piece in [1_000, 65_536, 1 << 20, 8 << 20] {
                let found = content(&noise(length), piece);
                assert_eq!((found.bytes, found.sampled, found.opaque), (length as u64, 1, 1), "{length} {piece}");
                assert!(found.entropy() > 7.95, "{length} {piece}: {}", found.entropy());
            }
        }
        let picture = [&b"\xff\xd8\xff\xe0"[..], &noise(50_000)].concat();
        assert_eq!((content(&picture, 65_536).sampled, content(&picture, 65_536).opaque), (1, 0));
        // Zeros have none, and too few bytes say nothing.
        assert_eq!(content(&[0; 10_000], 4_096).entropy(), 0.0);
        assert_eq!(content(&noise(1_000), 4_096).sampled, 0);
        assert_eq!(content(&[], 1), Content::default());
    }

    #[test]
    fn a_few_samples_are_taken() {
        let mut sampler = Sampler::default();
        noise(5 << 20).chunks(64 << 10).for_each(|piece| sampler.see(piece));
        let counted: u32 = sampler.counts.unwrap().of.iter().sum();
        assert_eq!(counted as usize, 5 * SAMPLE);
    }
}
