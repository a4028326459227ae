//! Why a file gives no packages.

/// Why a file gives no packages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockFileError {
    /// It is larger than [`Limits::bytes`](crate::Limits::bytes).
    #[error("the file has {bytes} bytes, more than the {limit} that are read")]
    Large {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It names more than [`Limits::packages`](crate::Limits::packages).
    #[error("line {line}: more than {limit} packages, which no project has; exclude the file if it is no lock file")]
    Packages {
        /// Where the first stands that is too many; 0 when that is not known.
        line: usize,
        /// The limit.
        limit: usize,
    },
    /// Its packages ask for others more often than [`Limits::requests`](crate::Limits::requests).
    #[error(
        "more than {limit} requests between packages, which no project has; exclude the file if it is no lock file"
    )]
    Requests {
        /// The limit.
        limit: usize,
    },
    /// It nests deeper than [`Limits::depth`](crate::Limits::depth).
    #[error("line {line}: nested deeper than {limit} levels, which no package manager writes; generate the file again")]
    Depth {
        /// Where; 0 when that is not known.
        line: usize,
        /// The limit.
        limit: usize,
    },
    /// It is not UTF-8, or holds a NUL byte.
    #[error("line {line}: no text in UTF-8; generate the file again, or exclude it if it is no lock file")]
    Encoding {
        /// The line of the first such byte.
        line: usize,
    },
    /// It is not of the format that its name says.
    #[error("line {line}: {reason}; generate the file again, or exclude it if it is no lock file")]
    Syntax {
        /// Where; 0 when that is not known.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It is of a version of the format that is not known.
    #[error("version {found} of the format is not known, only {known}; write the file with one of these")]
    Version {
        /// What it says.
        found: String,
        /// Those that are.
        known: &'static str,
    },
}

impl LockFileError {
    /// A mistake at a line.
    pub(crate) fn syntax(line: usize, reason: impl std::fmt::Display) -> Self {
        Self::Syntax { line, reason: crate::lines::clip(&reason.to_string()).to_owned() }
    }

    /// An unknown version of a format.
    pub(crate) fn version(found: &str, known: &'static str) -> Self {
        Self::Version { found: crate::lines::clip(found).to_owned(), known }
    }
}
