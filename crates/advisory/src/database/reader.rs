//! Looks packages up.

use std::borrow::Cow;
use std::ops::Range;

use super::format::{Block, DatabaseError, FORMAT, Head, LONGEST_HEAD, MAGIC, Names, PIECE, PREFIX};
use crate::advisory::Advisory;
use crate::ecosystem::Family;
use crate::range::Installed;
use crate::vulnerability::Answer;

/// How much is read at first: most heads are in it, and all of a small file.
const FIRST: u32 = 64 << 10;

/// What is read in vain rather than reading twice, in bytes.
const GAP: u64 = 32 << 10;

/// A file, or what takes its place.
pub trait ReadAt {
    /// Why it cannot be read.
    type Error;

    /// Its length in bytes.
    ///
    /// # Errors
    /// When it cannot be had.
    fn size(&self) -> Result<u64, Self::Error>;

    /// So many bytes from a place on. Fewer only where the file ends.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, Self::Error>;
}

impl ReadAt for [u8] {
    type Error = std::convert::Infallible;

    fn size(&self) -> Result<u64, Self::Error> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, Self::Error> {
        let rest = usize::try_from(offset).ok().and_then(|it| self.get(it..)).unwrap_or_default();
        Ok(rest[..rest.len().min(length as usize)].to_vec())
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    type Error = T::Error;

    fn size(&self) -> Result<u64, Self::Error> {
        (**self).size()
    }

    fn read_at(&self, offset: u64, length: u32) -> Result<Vec<u8>, Self::Error> {
        (**self).read_at(offset, length)
    }
}

/// What a file was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Whose packages it is about.
    pub family: Family,
    /// When the records were fetched, in seconds since the Unix epoch.
    pub fetched: u64,
    /// When the newest of them was changed, in RFC 3339; empty when none says.
    pub newest: String,
    /// How many there are.
    pub records: u32,
    /// How many packages they are about.
    pub packages: u32,
}

/// A package to look up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package<'a> {
    /// Its name, in any spelling that the family allows.
    pub name: &'a str,
    /// The version that is installed.
    pub version: &'a str,
}

/// An open file.
#[derive(Debug)]
pub struct Database<R> {
    file: R,
    source: Source,
    blocks: Vec<Block>,
    /// Where each block begins, and where the last ends: there the bundles begin.
    starts: Vec<u64>,
    size: u64,
}

/// A fuzzer does not find checksums, and is to get behind them.
fn is_intact(bytes: &[u8], checksum: u32) -> bool {
    cfg!(fuzzing) || crc32fast::hash(bytes) == checksum
}

/// Where the bundle of a name is.
struct Hit<'a> {
    name: &'a str,
    place: Range<u64>,
    checksum: u32,
}

impl<R: ReadAt> Database<R> {
    /// Reads the head, with one read for nearly every file.
    ///
    /// # Errors
    /// When the file cannot be read, is another one, or is not whole.
    pub fn open(file: R) -> Result<Self, DatabaseError<R::Error>> {
        let size = file.size().map_err(DatabaseError::Read)?;
        let damaged = || DatabaseError::Damaged { place: "its head".to_owned() };
        let beginning = file.read_at(0, FIRST).map_err(DatabaseError::Read)?;
        let (prefix, rest) = beginning.split_at_checked(PREFIX).ok_or(DatabaseError::Foreign)?;
        let (magic, numbers) = prefix.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(DatabaseError::Foreign);
        }
        let number =
            |at: usize| numbers.iter().skip(at * 4).take(4).rev().fold(0, |sum, it| (sum << 8) | u32::from(*it));
        let [found, length, checksum] = [0, 1, 2].map(number);
        if found != FORMAT {
            return Err(DatabaseError::Format { found });
        }
        if length > LONGEST_HEAD {
            return Err(damaged());
        }
        let encoded = match rest.get(..length as usize) {
            Some(encoded) => Cow::Borrowed(encoded),
            None => file.read_at(PREFIX as u64, length).map_err(DatabaseError::Read)?.into(),
        };
        if encoded.len() < length as usize {
            return Err(DatabaseError::Length { expected: PREFIX as u64 + u64::from(length), found: size });
        }
        if !is_intact(&encoded, checksum) {
            return Err(damaged());
        }
        let head: Head = postcard::from_bytes(&encoded).map_err(|_| damaged())?;
        let expected = head.size(u64::from(length));
        if expected != size {
            return Err(DatabaseError::Length { expected, found: size });
        }
        let mut starts = vec![PREFIX as u64 + u64::from(length)];
        for block in &head.blocks {
            starts.push(starts[starts.len() - 1] + u64::from(block.length));
        }
        let Head { family, fetched, newest, records, packages, blocks, .. } = head;
        Ok(Self { file, source: Source { family, fetched, newest, records, packages }, blocks, starts, size })
    }

    /// What the file was made from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Judges packages: an answer for each, in their order. `release` is the release of a distribution that they are
    /// from, as in [`Ecosystem`](crate::ecosystem::Ecosystem); none takes advisories for all.
    ///
    /// Give all at once: what is near in the file is read together.
    ///
    /// # Errors
    /// When what has to be read cannot be, or is damaged.
    pub fn look_up(
        &self,
        release: Option<&str>,
        packages: &[Package<'_>],
    ) -> Result<Vec<Answer>, DatabaseError<R::Error>> {
        let family = self.source.family;
        let mut asked: Vec<_> =
            packages.iter().enumerate().map(|(at, it)| (family.normalise(it.name), it.version, at)).collect();
        asked.sort_unstable();
        let mut names: Vec<&str> = asked.iter().map(|(name, ..)| name.as_ref()).collect();
        names.dedup();

        let mut answers = vec![Answer::default(); packages.len()];
        self.bundles(&names, |name, advisories| {
            let first = asked.partition_point(|(it, ..)| it.as_ref() < name);
            let last = asked.partition_point(|(it, ..)| it.as_ref() <= name);
            // Lock files of one project often have the same version.
            for same in asked[first..last].chunk_by(|one, other| one.1 == other.1) {
                let installed = Installed::new(family, same[0].1);
                let answer = Answer::new(family, release, advisories, &installed);
                for (.., at) in same {
                    answers[*at].clone_from(&answer);
                }
            }
        })?;
        Ok(answers)
    }

    /// All advisories on a package, in the order of their identifiers, the shorter ones first.
    ///
    /// # Errors
    /// When what has to be read cannot be, or is damaged.
    pub fn advisories(&self, name: &str) -> Result<Vec<Advisory>, DatabaseError<R::Error>> {
        let mut found = Vec::new();
        self.bundles(&[&self.source.family.normalise(name)], |_, advisories| found = advisories.to_vec())?;
        Ok(found)
    }

    /// Takes those of the names that there are, which have to be in order, to `each`.
    fn bundles(&self, names: &[&str], mut each: impl FnMut(&str, &[Advisory])) -> Result<(), DatabaseError<R::Error>> {
        let hits = self.hits(names)?;
        let places: Vec<_> = hits.iter().map(|it| it.place.clone()).collect();
        self.read_together(&places, |at, bytes| {
            let Hit { name, checksum, .. } = hits[at];
            let damaged = || DatabaseError::Damaged { place: format!("what it says of `{name}`") };
            if !is_intact(bytes, checksum) {
                return Err(damaged());
            }
            let advisories: Vec<Advisory> = postcard::from_bytes(bytes).map_err(|_| damaged())?;
            each(name, &advisories);
            Ok(())
        })
    }

    /// Asks the index.
    fn hits<'a>(&self, names: &[&'a str]) -> Result<Vec<Hit<'a>>, DatabaseError<R::Error>> {
        // A name is in the last block that does not begin after it.
        let block = |name: &str| self.blocks.partition_point(|it| it.first.as_str() <= name).checked_sub(1);
        let mut wanted: Vec<(usize, &[&'a str])> = Vec::new();
        let mut rest = names;
        while let Some(first) = rest.first() {
            let at = block(first);
            let end = at.map_or(0, |it| it + 1);
            let next =
                self.blocks.get(end).map_or(rest.len(), |it| rest.partition_point(|name| *name < it.first.as_str()));
            let (here, later) = rest.split_at(next.max(1));
            wanted.extend(at.map(|at| (at, here)));
            rest = later;
        }
        let places: Vec<_> = wanted.iter().map(|(at, _)| self.starts[*at]..self.starts[*at + 1]).collect();
        let bundles_at = self.starts[self.blocks.len()];
        let mut hits = Vec::new();
        self.read_together(&places, |at, bytes| {
            let (block, asked) = wanted[at];
            let damaged = || DatabaseError::Damaged { place: format!("block {block} of its index") };
            if !is_intact(bytes, self.blocks[block].checksum) {
                return Err(damaged());
            }
            let Names { offset, names } = postcard::from_bytes(bytes).map_err(|_| damaged())?;
            let mut start = bundles_at.saturating_add(offset);
            let mut asked = asked.iter().peekable();
            for it in names {
                let end = start.saturating_add(u64::from(it.length));
                while asked.next_if(|name| **name < it.name).is_some() {}
                if let Some(name) = asked.next_if(|name| **name == it.name) {
                    hits.push(Hit { name, place: start..end, checksum: it.checksum });
                }
                start = end;
            }
            // Bundles that overlap the index, or end after the file, come of no builder.
            if start > self.size { Err(damaged()) } else { Ok(()) }
        })?;
        Ok(hits)
    }

    /// Reads places of the file, which have to be in order, with as few reads as may be.
    fn read_together(
        &self,
        places: &[Range<u64>],
        mut each: impl FnMut(usize, &[u8]) -> Result<(), DatabaseError<R::Error>>,
    ) -> Result<(), DatabaseError<R::Error>> {
        let mut at = 0;
        while at < places.len() {
            let start = places[at].start;
            let near = |pair: &[Range<u64>]| {
                pair[1].start >= pair[0].end
                    && pair[1].start - pair[0].end <= GAP
                    && pair[1].end - start <= u64::from(PIECE)
            };
            let count = 1 + places[at..].windows(2).take_while(|it| near(it)).count();
            let together = &places[at..at + count];
            let bytes = self.read(start..together[count - 1].end)?;
            for (more, place) in together.iter().enumerate() {
                let range = (place.start - start) as usize..(place.end - start) as usize;
                let bytes = bytes.get(range).ok_or(DatabaseError::Length { expected: place.end, found: self.size })?;
                each(at + more, bytes)?;
            }
            at += count;
        }
        Ok(())
    }

    /// Reads a place in pieces. What is kept in memory has been read, so that no number in the file can ask for more.
    fn read(&self, place: Range<u64>) -> Result<Vec<u8>, DatabaseError<R::Error>> {
        let mut bytes = Vec::new();
        let mut at = place.start;
        while at < place.end {
            let length = (place.end - at).min(u64::from(PIECE));
            let piece = self.file.read_at(at, length as u32).map_err(DatabaseError::Read)?;
            if piece.len() as u64 != length {
                return Err(DatabaseError::Length { expected: place.end, found: at + piece.len() as u64 });
            }
            at += length;
            if bytes.is_empty() {
                bytes = piece;
            } else {
                bytes.extend_from_slice(&piece);
            }
        }
        Ok(bytes)
    }
}
