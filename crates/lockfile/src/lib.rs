//! The packages that a lock file, or the database of a package manager, names.
//!
//! [`Format::detect`] tells from a path what a file is, [`parse`] turns its bytes into a [`LockFile`]: packages, what asks
//! for what, and notes on all that is in the file without being a package of one version. [`sbom`] writes parsed files as
//! one CycloneDX document.
//!
//! Files come from whoever can commit to a repository, so none is trusted. Each format is read in one pass by a parser
//! that keeps only what a package needs: no document is built in memory, nothing in a file makes the stack grow beyond
//! [`Limits::depth`], aliases and entities are not expanded, and what is kept has a bound in [`Limits`]. Nothing here
//! reads a file, a clock or the network, so that it runs in a plugin as well as in the daemon.

mod apk;
mod cargo;
mod composer;
mod dpkg;
mod draft;
mod ecosystem;
mod error;
mod format;
mod go;
mod gradle;
mod json;
mod lines;
mod lock_file;
mod maven;
mod npm;
mod pipfile;
mod pnpm;
mod poetry;
pub mod purl;
mod pypi;
mod requirements;
pub mod sbom;
mod sections;
mod uv;
mod wishes;
mod yaml;
mod yarn;

pub use ecosystem::Ecosystem;
pub use error::LockFileError;
pub use format::Format;
pub use lock_file::{LockFile, Note, NoteKind, Package, Source};

use draft::Draft;

/// How much of a file is read, and how much is kept of it.
///
/// The defaults are ten times what the largest lock files in public repositories need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file. A larger one is refused.
    pub bytes: usize,
    /// Packages of a file. A file that names more is refused.
    pub packages: usize,
    /// How often packages of a file ask for others. A file with more of that is refused.
    pub requests: usize,
    /// How deep things may be nested that the format lets nest. What is deeper is refused.
    pub depth: usize,
    /// Notes of a file. More are counted and not kept.
    pub notes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 20, packages: 200_000, requests: 2_000_000, depth: 64, notes: 1_000 }
    }
}

/// Reads a file of a format.
///
/// # Errors
///
/// When the file passes a limit, is no UTF-8, is not of that format, or of a version of it that is not known. A file that
/// can be read in part gives notes instead.
pub fn parse(format: Format, bytes: &[u8], limits: &Limits) -> Result<LockFile, LockFileError> {
    if bytes.len() > limits.bytes {
        return Err(LockFileError::Large { bytes: bytes.len(), limit: limits.bytes });
    }
    let text = lines::utf8(bytes)?;
    let draft = Draft::new(format, limits);
    match format {
        Format::Npm => npm::parse(text, draft),
        Format::Pnpm => pnpm::parse(text, draft),
        Format::Yarn => yarn::parse(text, draft),
        Format::Cargo => cargo::parse(text, draft),
        Format::Requirements => requirements::parse(text, draft),
        Format::Poetry => poetry::parse(text, draft),
        Format::Uv => uv::parse(text, draft),
        Format::Pipfile => pipfile::parse(text, draft),
        Format::GoMod => go::modules(text, draft),
        Format::GoSum => go::sums(text, draft),
        Format::Composer => composer::parse(text, draft),
        Format::Maven => maven::parse(text, draft),
        Format::Gradle => gradle::parse(text, draft),
        Format::Dpkg => dpkg::parse(text, draft),
        Format::Apk => apk::parse(text, draft),
    }
}
