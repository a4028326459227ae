//! Makes the file.

use std::borrow::Cow;

use super::format::{BLOCK, Block, FORMAT, Head, MAGIC, Name, Names, PIECE, encode};
use crate::ecosystem::Family;
use crate::osv::{Record, RecordError};

/// The longest time of change that is kept, in bytes: `2026-11-29T12:00:00.123456789Z`.
const TIME: usize = 30;

/// Collects the advisories of a family.
#[derive(Debug)]
pub struct Builder {
    family: Family,
    newest: String,
    records: u32,
    chunks: Vec<Vec<u8>>,
    entries: Vec<Entry>,
}

/// Where in the chunks there is a name, and the advisory behind it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    chunk: u32,
    start: u32,
    middle: u32,
    end: u32,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Records that were taken.
    pub records: u32,
    /// Packages that they are about.
    pub packages: u32,
    /// Length of the file in bytes.
    pub size: u64,
}

impl Builder {
    /// An empty one.
    pub fn new(family: Family) -> Self {
        Self { family, newest: String::new(), records: 0, chunks: Vec::new(), entries: Vec::new() }
    }

    /// Takes a record, and says whether it tells something: those that were withdrawn or are about other families do
    /// not.
    ///
    /// # Errors
    /// When the record cannot be used; others can be added all the same.
    pub fn add(&mut self, json: &[u8]) -> Result<bool, RecordError> {
        let record = Record::parse(json)?;
        let advisories = record.advisories(self.family);
        let is_some = !advisories.is_empty();
        for (name, mut advisory) in advisories {
            advisory.trim(self.family);
            let encoded = encode(&advisory);
            self.push(name.as_bytes(), &encoded);
        }
        if is_some {
            self.records = self.records.saturating_add(1);
            // All are in UTC and of one form, so that their texts are in the order of time.
            if record.modified > self.newest && record.modified.len() <= TIME {
                self.newest = record.modified;
            }
        }
        Ok(is_some)
    }

    fn push(&mut self, name: &[u8], encoded: &[u8]) {
        let length = name.len() + encoded.len();
        let has_room = |it: &Vec<u8>| it.capacity() - it.len() >= length;
        if !self.chunks.last().is_some_and(has_room) {
            self.chunks.push(Vec::with_capacity(length.max(PIECE as usize)));
        }
        let at = self.chunks.len() - 1;
        let chunk = &mut self.chunks[at];
        let start = chunk.len();
        chunk.extend_from_slice(name);
        chunk.extend_from_slice(encoded);
        let [chunk, start, middle, end] = [at, start, start + name.len(), start + length].map(|it| it as u32);
        self.entries.push(Entry { chunk, start, middle, end });
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        &self.chunks[entry.chunk as usize][entry.start as usize..entry.middle as usize]
    }

    fn advisory(&self, entry: &Entry) -> &[u8] {
        &self.chunks[entry.chunk as usize][entry.middle as usize..entry.end as usize]
    }

    /// Writes the file from its beginning to its end, in pieces of at most [`PIECE`] bytes. `fetched` is when the
    /// records were fetched, in seconds since the Unix epoch. The same records give the same file, whatever their
    /// sequence.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn finish<E>(mut self, fetched: u64, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<Totals, E> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|one, other| {
            self.name(one).cmp(self.name(other)).then_with(|| self.advisory(one).cmp(self.advisory(other)))
        });
        let same = |one: &Entry, other: &Entry| self.name(one) == self.name(other);
        let bundles: Vec<_> = entries.chunk_by(same).collect();

        let mut index = Index::default();
        for bundle in &bundles {
            let (mut hasher, mut length) = (crc32fast::Hasher::new(), 0);
            for part in self.parts(bundle) {
                hasher.update(&part);
                length += part.len();
            }
            let name = std::str::from_utf8(self.name(&bundle[0])).unwrap_or_default();
            index.push(Name { name, length: length as u32, checksum: hasher.finalize() });
        }
        index.close();
        let head = Head {
            family: self.family,
            fetched,
            newest: self.newest.clone(),
            records: self.records,
            packages: bundles.len() as u32,
            bundles: index.end,
            blocks: index.blocks,
        };
        let encoded = encode(&head);

        let mut out = Writer { piece: Vec::with_capacity(PIECE as usize), write: &mut write };
        out.put(&MAGIC)?;
        for number in [FORMAT, encoded.len() as u32, crc32fast::hash(&encoded)] {
            out.put(&number.to_le_bytes())?;
        }
        out.put(&encoded)?;
        for block in &index.encoded {
            out.put(block)?;
        }
        for part in bundles.iter().flat_map(|it| self.parts(it)) {
            out.put(&part)?;
        }
        out.flush()?;
        Ok(Totals { records: head.records, packages: head.packages, size: head.size(encoded.len() as u64) })
    }

    /// A bundle: how many advisories, and each.
    fn parts<'a>(&'a self, bundle: &'a [Entry]) -> impl Iterator<Item = Cow<'a, [u8]>> {
        let count = encode(&bundle.len());
        std::iter::once(count.into()).chain(bundle.iter().map(|it| self.advisory(it).into()))
    }
}

/// The index while names are added in order.
#[derive(Default)]
struct Index<'a> {
    blocks: Vec<Block>,
    encoded: Vec<Vec<u8>>,
    open: Vec<Name<'a>>,
    /// About the length of the open block.
    filled: usize,
    /// Where the bundles of the open block begin.
    start: u64,
    /// Where the next bundle begins.
    end: u64,
}

impl<'a> Index<'a> {
    fn push(&mut self, name: Name<'a>) {
        if self.filled >= BLOCK {
            self.close();
        }
        // Beside the name there are its length and two numbers.
        self.filled += name.name.len() + 10;
        self.end += u64::from(name.length);
        self.open.push(name);
    }

    fn close(&mut self) {
        let names = std::mem::take(&mut self.open);
        let Some(first) = names.first().map(|it| it.name.to_owned()) else { return };
        let encoded = encode(&Names { offset: self.start, names });
        self.blocks.push(Block { first, length: encoded.len() as u32, checksum: crc32fast::hash(&encoded) });
        self.encoded.push(encoded);
        (self.start, self.filled) = (self.end, 0);
    }
}

/// Gathers pieces.
struct Writer<'a, W> {
    piece: Vec<u8>,
    write: &'a mut W,
}

impl<E, W: FnMut(&[u8]) -> Result<(), E>> Writer<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), E> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PIECE as usize - self.piece.len()));
            self.piece.extend_from_slice(now);
            if self.piece.len() == PIECE as usize {
                self.flush()?;
            }
            rest = later;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), E> {
        if !self.piece.is_empty() {
            (self.write)(&self.piece)?;
            self.piece.clear();
        }
        Ok(())
    }
}
