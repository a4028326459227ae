//! What is never removed, whoever asks: the system's own folders, databases and repositories that upkeep knows, upkeep's
//! own state, and what the operator protects.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::ASIDE;
use crate::root::exclude::Exclude;

/// Folders of the system; nothing beneath them goes.
const SYSTEM: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/run/systemd",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/apk",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/dpkg",
    "/var/lib/etcd",
    "/var/lib/mongodb",
    "/var/lib/mysql",
    "/var/lib/postgresql",
    "/var/lib/redis",
    "/var/lib/rpm",
    "/var/lib/systemd",
    "/var/lib/valkey",
    "/var/spool/cron",
];

/// Beneath the folders of the system, but the operator's own.
const NOT_SYSTEM: &[&str] = &["/dev/shm", "/usr/local", "/usr/src"];

/// Names of what stays wherever it stands.
const NAMES: &[&str] = &[".gnupg", ".ssh", "lost+found", ASIDE];

/// What stands beside an SQLite database and belongs to it.
const BESIDE_DATABASE: &[&str] = &["-journal", "-shm", "-wal"];

/// What is protected in one root.
#[derive(Debug)]
pub struct Protected {
    /// Why nothing at all goes from this root.
    whole: Option<String>,
    /// Paths in the root, with their reasons.
    paths: Vec<(PathBuf, String)>,
    patterns: Exclude,
}

/// A path that is protected, with what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Absolute.
    pub path: PathBuf,
    /// For people: `the repository`, `the database`.
    pub what: &'static str,
}

impl Protected {
    /// What is protected in the root at `root`, an absolute path without links: the system, what is `known`, and what
    /// matches `patterns`, written as in a `.gitignore` file and relative to the root.
    ///
    /// # Errors
    ///
    /// A message that names the pattern that is none.
    pub fn new<'a>(
        root: &Path,
        known: impl IntoIterator<Item = &'a Known>,
        patterns: &[String],
    ) -> Result<Self, String> {
        let mut protected = Self { whole: None, paths: Vec::new(), patterns: Exclude::new(patterns)? };
        let is_own = NOT_SYSTEM.iter().any(|own| root.starts_with(own));
        for system in SYSTEM {
            if !is_own {
                protected.add(root, Path::new(system), format!("{system} belongs to the system"));
            }
        }
        for Known { path, what } in known {
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            protected.add(root, &real, format!("{what} {} is protected", path.display()));
            for beside in BESIDE_DATABASE {
                let mut name = real.clone().into_os_string();
                name.push(beside);
                protected.add(root, Path::new(&name), format!("it belongs to {what} {}", path.display()));
            }
        }
        Ok(protected)
    }

    fn add(&mut self, root: &Path, path: &Path, reason: String) {
        if root.starts_with(path) {
            self.whole.get_or_insert(reason);
        } else if let Ok(inside) = path.strip_prefix(root) {
            self.paths.push((inside.to_owned(), reason));
        }
    }

    /// Why `path`, relative to the root, is not let go; none when it may go.
    pub fn refuses(&self, path: &Path, is_folder: bool) -> Option<String> {
        if let Some(reason) = &self.whole {
            return Some(reason.clone());
        }
        if let Some(name) = path.iter().find(|name| NAMES.iter().any(|it| OsStr::new(it) == *name)) {
            return Some(format!("what is in a `{}` is protected", name.display()));
        }
        if let Some((_, reason)) = self.paths.iter().find(|(protected, _)| path.starts_with(protected)) {
            return Some(reason.clone());
        }
        let covered = self.patterns.covers(path, is_folder);
        covered.then(|| "it is protected (`protect` in the task file)".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protected(root: &str, known: &[Known], patterns: &[&str]) -> Protected {
        let patterns: Vec<_> = patterns.iter().map(|it| (*it).to_owned()).collect();
        Protected::new(Path::new(root), known, &patterns).unwrap()
    }

    fn refused(protected: &Protected, path: &str) -> bool {
        protected.refuses(Path::new(path), false).is_some()
    }

    #[test]
    fn the_system_is_protected() {
        for root in ["/etc/nginx", "/usr/lib/app", "/var/lib/postgresql/15/main", "/var/lib/dpkg"] {
            assert!(refused(&protected(root, &[], &[]), "old"), "{root}");
        }
        let lib = protected("/var/lib", &[], &[]);
        for (path, expected) in [
            ("mysql/ibdata1", true),
            ("mysql", true),
            ("mysql-old/ibdata1", false),
            ("app/cache/x", false),
            ("systemd/x", true),
        ] {
            assert_eq!(refused(&lib, path), expected, "{path}");
        }
        for root in ["/usr/local/app", "/dev/shm/app", "/srv/app", "/tmp", "/var/tmp", "/home/app", "/etcetera"] {
            assert!(!refused(&protected(root, &[], &[]), "old"), "{root}");
        }
        assert!(refused(&protected("/usr/share", &[], &[]), "local/x"));
        assert!(refused(&protected("/usr", &[], &[]), "local/x"), "a root above both is the system's");
    }

    #[test]
    fn names_known_paths_and_patterns_are_protected() {
        let known = [
            Known { path: "/srv/app/app.db".into(), what: "the database" },
            Known { path: "/srv/app/backup/main".into(), what: "the repository" },
        ];
        let app = protected("/srv/app", &known, &["/keep", "*.pem", "uploads/**/original"]);
        for (path, expected) in [
            ("app.db", true),
            ("app.db-wal", true),
            ("app.db-walk", false),
            ("app.db.old", false),
            ("backup/main/data/00/x", true),
            ("backup/other", false),
            ("home/.ssh/id", true),
            (".ssh", true),
            ("x.ssh", false),
            ("a/lost+found/x", true),
            (".upkeep-undo/RUN/0/1-x", true),
            ("keep", true),
            ("keep/deep/down", true),
            ("other/keep", false),
            ("tls/site.pem", true),
            ("uploads/2026/11/original/a.jpg", true),
            ("uploads/2026/11/small/a.jpg", false),
        ] {
            assert_eq!(refused(&app, path), expected, "{path}");
        }
        assert!(Protected::new(Path::new("/srv"), [], &["[".to_owned()]).unwrap_err().contains("`[`"));
    }
}
