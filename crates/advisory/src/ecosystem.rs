//! Where packages come from: the ecosystems of the OSV schema, their releases, and how they spell names.
//!
//! A [`Family`] is what OSV has one archive for and what has one order of versions. An [`Ecosystem`] is a family and,
//! for Linux distributions, one of its releases: `Debian:12`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// All packages that share one archive of advisories and one order of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// Rust.
    CratesIo,
    /// JavaScript.
    Npm,
    /// Python.
    PyPi,
    /// Go modules.
    Go,
    /// PHP, by way of Composer.
    Packagist,
    /// Java; also what Gradle resolves.
    Maven,
    /// .NET.
    NuGet,
    /// Ruby.
    RubyGems,
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
    /// Alpine Linux.
    Alpine,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::CratesIo,
        Self::Npm,
        Self::PyPi,
        Self::Go,
        Self::Packagist,
        Self::Maven,
        Self::NuGet,
        Self::RubyGems,
        Self::Debian,
        Self::Ubuntu,
        Self::Alpine,
    ];

    /// Its name as OSV spells it, which is also the name of the folder that has its `all.zip`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CratesIo => "crates.io",
            Self::Npm => "npm",
            Self::PyPi => "PyPI",
            Self::Go => "Go",
            Self::Packagist => "Packagist",
            Self::Maven => "Maven",
            Self::NuGet => "NuGet",
            Self::RubyGems => "RubyGems",
            Self::Debian => "Debian",
            Self::Ubuntu => "Ubuntu",
            Self::Alpine => "Alpine",
        }
    }

    /// The one spelling of a package's name under which it is stored and looked up.
    ///
    /// PyPI follows PEP 503: lower case, and runs of `-`, `_` and `.` are one `-`. crates.io takes `_` for `-` and, as
    /// Packagist and NuGet do, capital letters for small ones. Elsewhere names that differ are different packages.
    pub fn normalise(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::PyPi if name.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit()) => Cow::Borrowed(name),
            Self::PyPi => {
                let mut normal = String::with_capacity(name.len());
                for it in name.chars() {
                    match it {
                        '-' | '_' | '.' if normal.ends_with('-') => {}
                        '-' | '_' | '.' => normal.push('-'),
                        it => normal.push(it.to_ascii_lowercase()),
                    }
                }
                Cow::Owned(normal)
            }
            Self::CratesIo if name.bytes().any(|it| it == b'_' || it.is_ascii_uppercase()) => {
                Cow::Owned(name.to_ascii_lowercase().replace('_', "-"))
            }
            Self::Packagist | Self::NuGet if name.bytes().any(|it| it.is_ascii_uppercase()) => {
                Cow::Owned(name.to_ascii_lowercase())
            }
            _ => Cow::Borrowed(name),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Family {
    type Err = EcosystemError;

    fn from_str(text: &str) -> Result<Self, EcosystemError> {
        let unknown = || EcosystemError { name: text.to_owned() };
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(unknown)
    }
}

/// A family and what of it is meant: `crates.io`, `Debian:12`, `Ubuntu:22.04:LTS`, `Alpine:v3.19`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ecosystem {
    /// The family.
    pub family: Family,
    /// The release of a distribution, without the ornaments that OSV gives it: `12`, `22.04`, `Pro:18.04`, `3.19`.
    pub release: Option<String>,
}

/// Whether two releases can be the same; none stands for all.
pub(crate) fn is_release(one: Option<&str>, other: Option<&str>) -> bool {
    one.is_none() || other.is_none() || one == other
}

impl From<Family> for Ecosystem {
    fn from(family: Family) -> Self {
        Self { family, release: None }
    }
}

impl FromStr for Ecosystem {
    type Err = EcosystemError;

    fn from_str(text: &str) -> Result<Self, EcosystemError> {
        let (family, release) = text.split_once(':').unwrap_or((text, ""));
        let family = family.parse().map_err(|_| EcosystemError { name: text.to_owned() })?;
        let release = match family {
            Family::Alpine => release.strip_prefix('v').unwrap_or(release),
            Family::Ubuntu => release.strip_suffix(":LTS").unwrap_or(release),
            Family::Debian => release,
            // Maven's suffix is a repository, and a package is the same whichever it came from.
            _ => "",
        };
        Ok(Self { family, release: Some(release.to_owned()).filter(|it| !it.is_empty()) })
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.release {
            Some(release) => write!(f, "{}:{release}", self.family),
            None => self.family.fmt(f),
        }
    }
}

/// An ecosystem that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ecosystem `{name}` is not known; write it as OSV does, such as `crates.io`, `PyPI` or `Debian:12`")]
pub struct EcosystemError {
    /// What was asked for.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecosystems_are_read_as_osv_writes_them() {
        let cases = [
            ("crates.io", Family::CratesIo, None),
            ("Debian:12", Family::Debian, Some("12")),
            ("Debian", Family::Debian, None),
            ("Ubuntu:22.04:LTS", Family::Ubuntu, Some("22.04")),
            ("Ubuntu:Pro:18.04:LTS", Family::Ubuntu, Some("Pro:18.04")),
            ("Ubuntu:24.10", Family::Ubuntu, Some("24.10")),
            ("Alpine:v3.19", Family::Alpine, Some("3.19")),
            ("Alpine:edge", Family::Alpine, Some("edge")),
            ("Maven:https://repo.example.org/maven2", Family::Maven, None),
        ];
        for (text, family, release) in cases {
            let expected = Ecosystem { family, release: release.map(str::to_owned) };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        let error = "pypi".parse::<Ecosystem>().unwrap_err().to_string();
        assert!(error.contains("`pypi`") && error.contains("PyPI"), "{error}");
        assert!("Bitnami:x".parse::<Ecosystem>().is_err());
    }

    #[test]
    fn a_release_that_is_not_named_is_any() {
        assert!(is_release(Some("12"), Some("12")) && !is_release(Some("12"), Some("11")));
        assert!(is_release(None, Some("12")) && is_release(Some("12"), None) && is_release(None, None));
        assert!(!is_release(Some("18.04"), Some("Pro:18.04")), "Pro has packages of its own");
    }

    #[test]
    fn names_have_one_spelling() {
        let cases = [
            (Family::PyPi, "Zope.Interface__x", "zope-interface-x"),
            (Family::PyPi, "requests2", "requests2"),
            (Family::CratesIo, "Serde_JSON", "serde-json"),
            (Family::Packagist, "Symfony/HTTP-Kernel", "symfony/http-kernel"),
            (Family::NuGet, "Newtonsoft.Json", "newtonsoft.json"),
            (Family::Npm, "@Scope/JSONStream", "@Scope/JSONStream"),
            (Family::Go, "github.com/BurntSushi/toml", "github.com/BurntSushi/toml"),
        ];
        for (family, name, expected) in cases {
            assert_eq!(family.normalise(name), expected);
            assert_eq!(family.normalise(expected), expected, "a normal name stays");
        }
    }
}
