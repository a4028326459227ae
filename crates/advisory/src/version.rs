//! The order of versions, by the rules of each ecosystem.
//!
//! A [`Version`] is parsed once by its [`Scheme`] and then compared. Texts that a scheme does not define are errors:
//! where they would be in the order is not guessed. Each order is total among the versions of one scheme, and versions
//! of different schemes are not comparable.

/// Gives a type the operators that follow from its `Ord::cmp`.
macro_rules! order {
    ($name:ty) => {
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for $name {}
    };
}

mod alpine;
mod composer;
mod debian;
mod digits;
mod gem;
mod maven;
mod semantic;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::ecosystem::Family;

/// How versions are written and ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// [Semantic Versioning 2.0](https://semver.org), as it says.
    Semver,
    /// Semantic Versioning with the liberties that npm takes: a leading `v` or `=`, zeros before numbers, and no hyphen
    /// before a pre-release.
    Npm,
    /// Semantic Versioning as Go modules use it: with or without the leading `v`, which may be `go`, and with parts
    /// left out at the end. What follows `+` says nothing of the order.
    Go,
    /// Semantic Versioning with a fourth number and without regard to case.
    NuGet,
    /// [PEP 440](https://packaging.python.org/en/latest/specifications/version-specifiers/).
    Pep440,
    /// [Composer](https://getcomposer.org/doc/articles/versions.md): up to four numbers, then dev, alpha, beta, RC,
    /// stable, patch. Branches have no order.
    Composer,
    /// [Maven](https://maven.apache.org/pom.html#version-order-specification).
    Maven,
    /// RubyGems: a part with letters comes before any number.
    Gem,
    /// [Debian](https://www.debian.org/doc/debian-policy/ch-controlfields.html#version), which Ubuntu shares.
    Debian,
    /// Alpine's package manager apk.
    Alpine,
}

impl Family {
    /// The order of its versions.
    pub fn scheme(self) -> Scheme {
        match self {
            Self::CratesIo => Scheme::Semver,
            Self::Npm => Scheme::Npm,
            Self::Go => Scheme::Go,
            Self::NuGet => Scheme::NuGet,
            Self::PyPi => Scheme::Pep440,
            Self::Packagist => Scheme::Composer,
            Self::Maven => Scheme::Maven,
            Self::RubyGems => Scheme::Gem,
            Self::Debian | Self::Ubuntu => Scheme::Debian,
            Self::Alpine => Scheme::Alpine,
        }
    }
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Semver,
        Self::Npm,
        Self::Go,
        Self::NuGet,
        Self::Pep440,
        Self::Composer,
        Self::Maven,
        Self::Gem,
        Self::Debian,
        Self::Alpine,
    ];

    /// Whether it is Semantic Versioning, perhaps with liberties.
    pub fn is_semver(self) -> bool {
        matches!(self, Self::Semver | Self::Npm | Self::Go | Self::NuGet)
    }

    /// Compares two texts.
    pub fn compare(self, one: &str, other: &str) -> Result<Ordering, VersionError> {
        Ok(Version::parse(self, one)?.kind.order(&Version::parse(self, other)?.kind))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Semver => "Semantic Versioning",
            Self::Npm => "npm",
            Self::Go => "Go modules",
            Self::NuGet => "NuGet",
            Self::Pep440 => "PEP 440",
            Self::Composer => "Composer",
            Self::Maven => "Maven",
            Self::Gem => "RubyGems",
            Self::Debian => "Debian",
            Self::Alpine => "Alpine",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The longest text that is taken for a version, in bytes.
pub const LONGEST: usize = 512;

/// A version that can be compared with others of its scheme. Those that are equal need not be the same text.
#[derive(Debug, Clone)]
pub struct Version {
    scheme: Scheme,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Semantic(semantic::Semantic),
    Pep440(pep440_rs::Version),
    Composer(composer::Composer),
    Maven(maven::Maven),
    Gem(gem::Gem),
    Debian(debian::Debian),
    Alpine(alpine::Alpine),
}

impl Version {
    /// Reads a version. Space around it does not count.
    ///
    /// # Errors
    /// When the scheme does not define the text, or it is longer than [`LONGEST`].
    pub fn parse(scheme: Scheme, text: &str) -> Result<Self, VersionError> {
        let trimmed = text.trim();
        let kind = if trimmed.len() > LONGEST {
            None
        } else {
            match scheme {
                Scheme::Semver => semantic::Semantic::strict(trimmed).map(Kind::Semantic),
                Scheme::Npm => semantic::Semantic::npm(trimmed).map(Kind::Semantic),
                Scheme::Go => semantic::Semantic::go(trimmed).map(Kind::Semantic),
                Scheme::NuGet => semantic::Semantic::nuget(trimmed).map(Kind::Semantic),
                Scheme::Pep440 => pep440_rs::Version::from_str(trimmed).ok().map(Kind::Pep440),
                Scheme::Composer => composer::Composer::parse(trimmed).map(Kind::Composer),
                Scheme::Maven => maven::Maven::parse(trimmed).map(Kind::Maven),
                Scheme::Gem => gem::Gem::parse(trimmed).map(Kind::Gem),
                Scheme::Debian => debian::Debian::parse(trimmed).map(Kind::Debian),
                Scheme::Alpine => alpine::Alpine::parse(trimmed).map(Kind::Alpine),
            }
        };
        let shown = || trimmed.chars().take(80).collect();
        kind.map(|kind| Self { scheme, kind }).ok_or_else(|| VersionError { scheme, text: shown() })
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl Kind {
    /// Versions of one scheme are of one kind.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Semantic(one), Self::Semantic(other)) => one.cmp(other),
            (Self::Pep440(one), Self::Pep440(other)) => one.cmp(other),
            (Self::Composer(one), Self::Composer(other)) => one.cmp(other),
            (Self::Maven(one), Self::Maven(other)) => one.cmp(other),
            (Self::Gem(one), Self::Gem(other)) => one.cmp(other),
            (Self::Debian(one), Self::Debian(other)) => one.cmp(other),
            (Self::Alpine(one), Self::Alpine(other)) => one.cmp(other),
            _ => Ordering::Equal,
        }
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    /// None for versions of different schemes.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.scheme == other.scheme).then(|| self.kind.order(&other.kind))
    }
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no version by the rules of {scheme}, so it cannot be compared; look at this package by hand")]
pub struct VersionError {
    /// The rules.
    pub scheme: Scheme,
    /// The beginning of the text.
    pub text: String,
}

#[cfg(test)]
mod tests;
