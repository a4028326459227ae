//! Whose advisories speak about a package.

use std::fmt;

/// A name space of packages, as [OSV's schema](https://ossf.github.io/osv-schema/#defined-ecosystems) defines them.
/// [`Display`](fmt::Display) gives OSV's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// npm, pnpm and yarn.
    Npm,
    /// Rust.
    CratesIo,
    /// Python. Names are normalised as PEP 503 has it.
    PyPi,
    /// Go. Versions come without their `v`.
    Go,
    /// PHP.
    Packagist,
    /// Java. Names are `group:artifact`.
    Maven,
    /// Source packages of a release of Debian, such as `12`; empty when it is not known.
    Debian(String),
    /// Source packages of a release of Ubuntu, such as `22.04:LTS`; empty when it is not known.
    Ubuntu(String),
    /// Origin packages of a branch of Alpine, such as `v3.19`; empty when it is not known.
    Alpine(String),
}

impl Ecosystem {
    /// The ecosystem of a machine, from the text of its `/etc/os-release`. `None` when it is neither Debian nor Ubuntu nor
    /// Alpine, or a release that has no number yet.
    pub fn from_os_release(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
            Some(value.trim_matches(['"', '\'']))
        };
        let version = field("VERSION_ID").filter(|it| !it.is_empty())?;
        match field("ID")? {
            "debian" => Some(Self::Debian(version.to_owned())),
            "ubuntu" if field("VERSION").is_some_and(|it| it.contains("LTS")) => {
                Some(Self::Ubuntu(format!("{version}:LTS")))
            }
            "ubuntu" => Some(Self::Ubuntu(version.to_owned())),
            "alpine" => {
                let mut parts = version.splitn(3, '.');
                Some(Self::Alpine(format!("v{}.{}", parts.next()?, parts.next()?)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, release) = match self {
            Self::Npm => ("npm", ""),
            Self::CratesIo => ("crates.io", ""),
            Self::PyPi => ("PyPI", ""),
            Self::Go => ("Go", ""),
            Self::Packagist => ("Packagist", ""),
            Self::Maven => ("Maven", ""),
            Self::Debian(release) => ("Debian", release.as_str()),
            Self::Ubuntu(release) => ("Ubuntu", release.as_str()),
            Self::Alpine(release) => ("Alpine", release.as_str()),
        };
        f.write_str(name)?;
        if release.is_empty() { Ok(()) } else { write!(f, ":{release}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_named_as_osv_names_them() {
        for (text, name) in [
            ("ID=debian\nVERSION_ID=\"12\"\n", Some("Debian:12")),
            ("ID=ubuntu\nVERSION_ID=\"22.04\"\nVERSION=\"22.04.4 LTS (Jammy Jellyfish)\"", Some("Ubuntu:22.04:LTS")),
            ("ID=ubuntu\nVERSION_ID=\"25.10\"\nVERSION=\"25.10 (Questing Quokka)\"", Some("Ubuntu:25.10")),
            ("ID=alpine\nVERSION_ID=3.19.1", Some("Alpine:v3.19")),
            ("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux forky/sid\"", None),
            ("ID=fedora\nVERSION_ID=41", None),
        ] {
            assert_eq!(Ecosystem::from_os_release(text).map(|it| it.to_string()).as_deref(), name, "{text}");
        }
        assert_eq!(Ecosystem::Debian(String::new()).to_string(), "Debian");
    }
}
