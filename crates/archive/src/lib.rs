//! The way of a backup's data into a repository in restic's format: cut, hashed, compressed, sealed, packed, indexed.
//!
//! rustic_core knows the whole format and does everything else with repositories. Its archiver is the one part that
//! upkeep does itself, because it is where the time and the memory of a backup go: see [decision 9]. It is a crate of
//! its own, so that it is compiled with optimisation in every profile.
//!
//! [`archive`] is nearly the whole interface. One thread walks ([`walk`], [`parent`], [`tree`]), as many as there are processors read and
//! seal files ([`worker`]), two write packs ([`store`]). What is in memory at a time is bounded by their number and not by
//! that of the files, apart from the identifiers of new blobs.
//!
//! [decision 9]: ../../../docs/decisions/0009-an-archiver-of-our-own.md

mod archiver;
mod chunker;
mod id;
mod index;
mod key;
mod open;
mod pack;
mod parent;
mod rabin;
mod seal;
mod store;
mod tree;
mod walk;
mod worker;

use std::io::Read;
use std::path::PathBuf;

use rustic_core::RusticError;
use rustic_core::repofile::Node;

pub use archiver::{Request, archive};
pub use key::key_file;
pub use open::{Cipher, Flaw, OVERHEAD, Opener};

/// Opens a file for reading. `None` when it cannot be read: it is then left out of the snapshot, and who gave the entry
/// knows why.
pub type Open = Box<dyn FnOnce() -> Option<Box<dyn Read>> + Send>;

/// One thing that a snapshot is to hold. Parents come before children, names in order of their bytes.
pub struct Entry {
    /// Its absolute path.
    pub path: PathBuf,
    /// What is known of it, without its content.
    pub node: Node,
    /// How its content is had; none for what is no file.
    pub open: Option<Open>,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The storage of the repository refused.
    #[error("{}", .0.display_log())]
    Storage(#[from] Box<RusticError>),
    /// Something in the repository cannot be read.
    #[error("{what} is damaged: {reason}; `restic check --read-data` tells how much is")]
    Damaged {
        /// What it is.
        what: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// The repository asks for something that is not understood.
    #[error("the repository's settings are not understood: {0}")]
    Settings(String),
    /// What was sealed is not what was given: the memory or the processor of this machine is broken.
    #[error("what was compressed and encrypted could not be read again; test this machine's memory")]
    Broken,
    /// The system gives no random numbers, or the compressor no memory.
    #[error("data cannot be sealed: {0}")]
    Seal(String),
    /// Entries do not come in order, or a thread broke.
    #[error("{0}; this is a defect of upkeep, please report it")]
    Defect(String),
}
