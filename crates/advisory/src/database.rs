//! A file with all advisories of one family, in which packages are looked up without reading all of it.
//!
//! ```text
//! 8 bytes   magic
//! 4         version of the format, little-endian as all numbers here
//! 4         length of the head
//! 4         CRC-32 of the head
//!           head: family, times, counts, length of all bundles, and for each block of the index its first name, length,
//!                 CRC-32
//!           index: blocks of about 16 KiB, each with names in order and the length and CRC-32 of their bundles
//!           bundles: for each name its advisories, in the order of names
//! ```
//!
//! Head, blocks and bundles are in [postcard's format](https://postcard.jamesmunns.com/wire-format). The checksum of
//! the head covers those of the blocks, which cover those of the bundles: what is used has been checked, and nothing
//! else needs to be read. A [`Database`] holds the head. A lookup sorts the names, reads the blocks that can have them
//! and then the bundles that there are, neighbours together: for an ecosystem of usual size that is one read for the
//! index, and for npm with its 200,000 packages seven. No read is longer than [`PIECE`].
//!
//! A [`Builder`] takes records one by one and keeps of each what a scan needs, encoded, with its package's name in
//! front: about 200 bytes, where the JSON has 1 to 3 KiB. It keeps them in pieces of 1 MiB that are never moved, and 16
//! bytes each for their order; the index is made when the file is written. An archive of npm's size, 200,000 records of
//! which nine in ten are about malicious packages, takes 40 MB until then and 51 MB at most, of which 36 MB are what
//! the file will hold.

mod builder;
mod format;
mod reader;

pub use builder::{Builder, Totals};
pub use format::{DatabaseError, PIECE};
pub use reader::{Database, Package, ReadAt, Source};

#[cfg(test)]
mod tests;
