//! What a file is, by its name.

use crate::Ecosystem;

/// A format that packages are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `package-lock.json`, `npm-shrinkwrap.json` and `node_modules/.package-lock.json`, lockfileVersion 1 to 3.
    Npm,
    /// `pnpm-lock.yaml`, lockfileVersion 5.x, 6.x and 9.x.
    Pnpm,
    /// `yarn.lock`, of yarn 1 and of yarn 2 and later.
    Yarn,
    /// `Cargo.lock`, version 1 to 4.
    Cargo,
    /// `requirements.txt` of pip.
    Requirements,
    /// `poetry.lock`.
    Poetry,
    /// `uv.lock`.
    Uv,
    /// `Pipfile.lock`.
    Pipfile,
    /// `go.mod`.
    GoMod,
    /// `go.sum`.
    GoSum,
    /// `composer.lock`.
    Composer,
    /// `pom.xml`.
    Maven,
    /// `gradle.lockfile`, `buildscript-gradle.lockfile`, and `gradle/dependency-locks/*.lockfile`.
    Gradle,
    /// `/var/lib/dpkg/status` and the files of `status.d`.
    Dpkg,
    /// `/lib/apk/db/installed`.
    Apk,
}

impl Format {
    /// The format of a file, by its path with `/` between names. Neither the file nor its folder is looked at.
    pub fn detect(path: &str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let inside = |parents: &str| {
            folder.strip_suffix(parents).is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        match name {
            "package-lock.json" | "npm-shrinkwrap.json" => Some(Self::Npm),
            ".package-lock.json" if inside("node_modules") => Some(Self::Npm),
            "pnpm-lock.yaml" => Some(Self::Pnpm),
            "yarn.lock" => Some(Self::Yarn),
            "Cargo.lock" => Some(Self::Cargo),
            "poetry.lock" => Some(Self::Poetry),
            "uv.lock" => Some(Self::Uv),
            "Pipfile.lock" => Some(Self::Pipfile),
            "go.mod" => Some(Self::GoMod),
            "go.sum" => Some(Self::GoSum),
            "composer.lock" => Some(Self::Composer),
            "pom.xml" => Some(Self::Maven),
            "gradle.lockfile" | "buildscript-gradle.lockfile" => Some(Self::Gradle),
            "status" if inside("lib/dpkg") => Some(Self::Dpkg),
            "installed" if inside("apk/db") => Some(Self::Apk),
            _ if name.ends_with(".lockfile") && inside("gradle/dependency-locks") => Some(Self::Gradle),
            _ if inside("lib/dpkg/status.d") && !name.ends_with(".md5sums") => Some(Self::Dpkg),
            _ if name.ends_with(".txt") && (is_requirements(name) || inside("requirements")) => {
                Some(Self::Requirements)
            }
            _ => None,
        }
    }

    /// The format that speaks instead of this one where both lie in one folder.
    ///
    /// `go.mod` names the versions that a build takes. `go.sum` also names those that were only looked at, so it counts
    /// where it is alone.
    pub fn superseded_by(self) -> Option<Self> {
        (self == Self::GoSum).then_some(Self::GoMod)
    }

    /// The ecosystem of its packages. Databases of distributions do not tell the release, so it is empty for these.
    pub fn ecosystem(self) -> Ecosystem {
        match self {
            Self::Npm | Self::Pnpm | Self::Yarn => Ecosystem::Npm,
            Self::Cargo => Ecosystem::CratesIo,
            Self::Requirements | Self::Poetry | Self::Uv | Self::Pipfile => Ecosystem::PyPi,
            Self::GoMod | Self::GoSum => Ecosystem::Go,
            Self::Composer => Ecosystem::Packagist,
            Self::Maven | Self::Gradle => Ecosystem::Maven,
            Self::Dpkg => Ecosystem::Debian(String::new()),
            Self::Apk => Ecosystem::Alpine(String::new()),
        }
    }
}

/// `requirements.txt` and what people make of it: `requirements-dev.txt`, `dev-requirements.txt`, `requirements_test.txt`.
fn is_requirements(name: &str) -> bool {
    let stem = name.strip_suffix(".txt").unwrap_or(name);
    let rest = stem.strip_prefix("requirements").or_else(|| stem.strip_suffix("requirements"));
    rest.is_some_and(|it| it.is_empty() || it.starts_with(['-', '_', '.']) || it.ends_with(['-', '_', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_name_and_folder() {
        for (path, format) in [
            ("package-lock.json", Some(Format::Npm)),
            ("web/npm-shrinkwrap.json", Some(Format::Npm)),
            ("web/node_modules/.package-lock.json", Some(Format::Npm)),
            ("web/.package-lock.json", None),
            ("a/pnpm-lock.yaml", Some(Format::Pnpm)),
            ("requirements-dev.txt", Some(Format::Requirements)),
            ("dev-requirements.txt", Some(Format::Requirements)),
            ("requirements/base.txt", Some(Format::Requirements)),
            ("my-requirementslist.txt", None),
            ("readme.txt", None),
            ("gradle/dependency-locks/compileClasspath.lockfile", Some(Format::Gradle)),
            ("locks/compileClasspath.lockfile", None),
            ("/var/lib/dpkg/status", Some(Format::Dpkg)),
            ("/var/lib/dpkg/status.d/base-files", Some(Format::Dpkg)),
            ("/var/lib/dpkg/status.d/base-files.md5sums", None),
            ("/srv/status", None),
            ("/lib/apk/db/installed", Some(Format::Apk)),
            ("xapk/db/installed", None),
        ] {
            assert_eq!(Format::detect(path), format, "{path}");
        }
    }

    #[test]
    fn go_mod_speaks_for_go_sum() {
        assert_eq!(Format::GoSum.superseded_by(), Some(Format::GoMod));
        assert_eq!(Format::GoMod.superseded_by(), None);
    }
}
