//! Locks of npm: `package-lock.json`, `npm-shrinkwrap.json` and the hidden `node_modules/.package-lock.json`.
//!
//! Versions 2 and 3 list each folder of the tree in `packages` by its path; the object of an installed package says what
//! it asks for. Version 1 nests `dependencies` as the folders are nested; version 2 repeats that for old readers, and it
//! is skipped there. Either becomes a [`Tree`], which finds who asks for whom as Node.js does.
//!
//! The format is npm's: <https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json>.

mod tree;
mod v1;

use serde::Deserialize;
use serde::de::{Error, MapAccess};

use crate::draft::{Draft, Found};
use crate::json::{self, Fields, Flag, Names, Object, Text};
use crate::lines::Lines;
use crate::{LockFile, LockFileError, NoteKind, Source};
use tree::{ROOT, Tree};

pub(crate) use tree::alias;

const KNOWN: &str = "1, 2 and 3";

pub(crate) fn parse(text: &str, draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let mut lock = Lock {
        tree: Tree::new(draft),
        lines: Lines::new(text),
        packages: false,
        dependencies: false,
        version: None,
        failure: None,
    };
    let read = json::read(text, &mut lock);
    if let Some(failure) = lock.failure {
        return Err(failure);
    }
    read?;
    match lock.version {
        Some(1..=3) => {}
        None if lock.packages || lock.dependencies => {}
        None => return Err(LockFileError::syntax(1, "no `lockfileVersion`, so this is no lock of npm")),
        Some(other) => return Err(LockFileError::version(&other.to_string(), KNOWN)),
    }
    Ok(lock.tree.finish())
}

/// The whole file.
struct Lock<'t, 'l> {
    tree: Tree<'t, 'l>,
    lines: Lines<'t>,
    /// Whether `packages` was there.
    packages: bool,
    /// Whether `dependencies` was there.
    dependencies: bool,
    version: Option<u64>,
    /// What serde cannot carry.
    failure: Option<LockFileError>,
}

impl<'t> Lock<'t, '_> {
    /// Keeps an error, and gives serde one to stop by.
    fn stop<T, E: Error>(&mut self, result: Result<T, LockFileError>) -> Result<T, E> {
        result.map_err(|error| {
            let stop = E::custom(&error);
            self.failure = Some(error);
            stop
        })
    }
}

impl<'t> Fields<'t> for Lock<'t, '_> {
    fn field<A: MapAccess<'t>>(&mut self, name: Text<'t>, object: &mut A) -> Result<(), A::Error> {
        match &*name {
            "lockfileVersion" => self.version = Some(object.next_value()?),
            "packages" if !self.packages => {
                self.packages = true;
                if self.dependencies {
                    self.tree.clear();
                }
                object.next_value_seed(Object(&mut Folders { lock: self }))?;
            }
            "dependencies" if !self.packages && !self.dependencies => {
                self.dependencies = true;
                object.next_value_seed(Object(&mut v1::Level { lock: self, folder: ROOT, depth: 1 }))?;
            }
            _ => json::skip(object)?,
        }
        Ok(())
    }
}

/// The object `packages`.
struct Folders<'k, 't, 'l> {
    lock: &'k mut Lock<'t, 'l>,
}

/// What is in a folder.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Folder<'t> {
    #[serde(borrow, default)]
    name: Text<'t>,
    #[serde(borrow, default)]
    version: Text<'t>,
    #[serde(borrow, default)]
    resolved: Text<'t>,
    #[serde(default)]
    link: Flag,
    #[serde(default)]
    dev: Flag,
    #[serde(borrow, default)]
    dependencies: Names<'t>,
    #[serde(borrow, default)]
    optional_dependencies: Names<'t>,
    #[serde(borrow, default)]
    peer_dependencies: Names<'t>,
    #[serde(borrow, default)]
    dev_dependencies: Names<'t>,
}

impl<'t> Fields<'t> for Folders<'_, 't, '_> {
    fn field<A: MapAccess<'t>>(&mut self, path: Text<'t>, object: &mut A) -> Result<(), A::Error> {
        let folder: Folder<'t> = object.next_value()?;
        let line = self.lock.lines.of(&path);
        let done = self.lock.take(path, line, folder);
        self.lock.stop(done)
    }
}

impl<'t> Lock<'t, '_> {
    fn take(&mut self, path: Text<'t>, line: usize, folder: Folder<'t>) -> Result<(), LockFileError> {
        let Some(place) = self.tree.place(path.0.clone(), line)? else {
            self.tree.draft.note(line, NoteKind::Unclear, &path);
            return Ok(());
        };
        if folder.link.0 {
            self.tree.link(place, folder.resolved.0);
            return Ok(());
        }
        if place != ROOT {
            let module = Tree::module(&path);
            let here = module.unwrap_or_else(|| path.rsplit_once('/').map_or(&*path, |(_, last)| last));
            let name = if folder.name.is_empty() { here } else { &*folder.name };
            let source = if module.is_none() { Source::Path } else { source(&folder.resolved) };
            if folder.version.is_empty() && module.is_some() {
                self.tree.draft.note(line, NoteKind::Unclear, &path);
                return Ok(());
            }
            let dev = module.map(|_| folder.dev.0);
            let version = &folder.version;
            let found = Found { name, version, alias: here, source: Some(source), dev, line, direct: None };
            let package = self.tree.draft.add(found)?;
            self.tree.set(place, package);
            if module.is_none() {
                self.tree.draft.root(package, None);
            }
        }
        for names in [folder.dependencies, folder.optional_dependencies, folder.peer_dependencies] {
            self.tree.ask(place, &names.0, false)?;
        }
        self.tree.ask(place, &folder.dev_dependencies.0, true)
    }
}

/// Where a package is from, by the `resolved` of npm or yarn. Registries serve archives at `/name/-/name-version.tgz`,
/// GitHub's at `/download/`; any other address is somebody's archive. It is left out for the registry on demand
/// (`omit-lockfile-registry-resolved`) and for bundled packages.
pub(crate) fn source(resolved: &str) -> Source {
    let web = resolved.starts_with("http://") || resolved.starts_with("https://");
    let archive = resolved.contains("/-/") || resolved.contains("npm.pkg.github.com/download/");
    if resolved.is_empty() || (web && archive) {
        Source::Registry
    } else if resolved.starts_with("git") || resolved.contains(".git#") {
        Source::Git
    } else if web {
        Source::Url
    } else {
        Source::Path
    }
}

#[cfg(test)]
mod tests;
