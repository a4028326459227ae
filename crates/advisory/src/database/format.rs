//! What reader and builder agree on.

use serde::{Deserialize, Serialize};

use crate::ecosystem::Family;

/// At the beginning of every file.
pub(super) const MAGIC: [u8; 8] = *b"upkeepOV";

/// Raised when a reader of the old format would misread the new one. It covers the order of versions as well: listed
/// versions that a range holds are left out of the file by the rules of its time.
pub(super) const FORMAT: u32 = 1;

/// Length of magic, format, length and checksum.
pub(super) const PREFIX: usize = 20;

/// The longest head that is read, in bytes. That of npm has 10 KiB.
pub(super) const LONGEST_HEAD: u32 = 1 << 20;

/// About the length of a block of the index.
pub(super) const BLOCK: usize = 16 << 10;

/// The longest read and write, in bytes.
pub const PIECE: u32 = 1 << 20;

/// The beginning of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) family: Family,
    pub(super) fetched: u64,
    pub(super) newest: String,
    pub(super) records: u32,
    pub(super) packages: u32,
    /// Length of all bundles.
    pub(super) bundles: u64,
    pub(super) blocks: Vec<Block>,
}

impl Head {
    /// How long the file has to be when the head itself has so many bytes.
    pub(super) fn size(&self, length: u64) -> u64 {
        self.bundles_at(length).saturating_add(self.bundles)
    }

    /// Where the bundles begin.
    pub(super) fn bundles_at(&self, length: u64) -> u64 {
        PREFIX as u64 + length + self.blocks.iter().map(|it| u64::from(it.length)).sum::<u64>()
    }
}

/// A block of the index. The first begins where the head ends, each other where the one before it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) first: String,
    pub(super) length: u32,
    pub(super) checksum: u32,
}

/// What a block says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Names<'a> {
    /// Where the bundle of its first name is among the bundles; the others follow.
    pub(super) offset: u64,
    #[serde(borrow)]
    pub(super) names: Vec<Name<'a>>,
}

/// A package and its bundle.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Name<'a> {
    pub(super) name: &'a str,
    pub(super) length: u32,
    pub(super) checksum: u32,
}

/// The form of head, blocks and bundles.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    // Nothing of what is written here has a form that postcard lacks, and memory is no error.
    postcard::to_allocvec(value).unwrap_or_default()
}

/// Why a file of advisories cannot be used; `E` is why it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError<E> {
    /// The file cannot be read.
    #[error("the file of advisories cannot be read: {0}")]
    Read(E),
    /// It is another file.
    #[error("this is no file of advisories; give the one that the plugin `advisories` made")]
    Foreign,
    /// It was made by another version.
    #[error(
        "the file of advisories has format {found}, and this version reads {FORMAT}; run the plugin `advisories` again"
    )]
    Format {
        /// Its format.
        found: u32,
    },
    /// It is shorter or longer than it was made.
    #[error("the file of advisories should have {expected} bytes and has {found}; run the plugin `advisories` again")]
    Length {
        /// Bytes it should have at least.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// Something in it is not what was written.
    #[error(
        "the file of advisories is damaged in {place}; run the plugin `advisories` again, and look at the disk if it recurs"
    )]
    Damaged {
        /// The head, a block of the index, or the bundle of a package.
        place: String,
    },
}
