//! The tree of folders that npm installs into.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::draft::Draft;
use crate::json::Text;
use crate::lock_file::NONE;
use crate::wishes::Wishes;
use crate::{LockFile, LockFileError};

/// The folder of the project.
pub(super) const ROOT: u32 = 0;

/// The longest path that a system opens. A longer one is not looked at, so that nobody pays for its length many times.
const LONGEST: usize = 4096;

const MODULES: &str = "node_modules/";

/// Folders, what is installed in them, and what they ask for.
pub(super) struct Tree<'t, 'l> {
    pub(super) draft: Draft<'l>,
    folders: Vec<Folder>,
    /// A `BTreeMap` since names are foreign: nothing can be chosen that makes it slow.
    index: BTreeMap<(u32, Kind, Cow<'t, str>), u32>,
    /// By folder.
    wishes: Wishes,
    links: Vec<(u32, Cow<'t, str>)>,
}

struct Folder {
    parent: u32,
    package: u32,
}

/// What a folder is in the one above.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// In its `node_modules`, by name.
    Module,
    /// Beside it, by path.
    Beside,
}

impl<'t, 'l> Tree<'t, 'l> {
    pub(super) fn new(draft: Draft<'l>) -> Self {
        let folders = vec![Folder { parent: NONE, package: NONE }];
        let wishes = Wishes::new(draft.limits.requests);
        Self { draft, folders, index: BTreeMap::new(), wishes, links: Vec::new() }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        let limits = self.draft.limits;
        *self = Self::new(Draft::new(crate::Format::Npm, limits));
    }

    /// The name of the package in a folder; `None` when the folder is not in `node_modules`.
    pub(super) fn module(path: &str) -> Option<&str> {
        let at = path.rfind(MODULES)?;
        (at == 0 || path.get(..at)?.ends_with('/')).then(|| path.get(at + MODULES.len()..)).flatten()
    }

    /// The folder of a path such as `packages/a/node_modules/b/node_modules/c`. `None` when there can be no such folder.
    pub(super) fn place(&mut self, path: Cow<'t, str>, line: usize) -> Result<Option<u32>, LockFileError> {
        if path.len() > LONGEST {
            return Ok(None);
        }
        let mut folder = ROOT;
        let mut depth = 0;
        let mut rest = 0;
        while rest < path.len() {
            let left = path.get(rest..).unwrap_or_default();
            let (kind, start) = match left.strip_prefix(MODULES) {
                Some(_) => (Kind::Module, rest + MODULES.len()),
                None => (Kind::Beside, rest),
            };
            let after = path.get(start..).unwrap_or_default();
            let end = after.find("/node_modules/").map_or(path.len(), |it| start + it);
            if start == end {
                return Ok(None);
            }
            depth += 1;
            if depth > self.draft.limits.depth {
                return Err(LockFileError::Depth { line, limit: self.draft.limits.depth });
            }
            folder = self.child(folder, kind, part(&path, start, end))?;
            rest = end + 1;
        }
        Ok(Some(folder))
    }

    /// The folder of a module in another folder.
    pub(super) fn inside(&mut self, folder: u32, name: Cow<'t, str>) -> Result<u32, LockFileError> {
        self.child(folder, Kind::Module, name)
    }

    fn child(&mut self, parent: u32, kind: Kind, name: Cow<'t, str>) -> Result<u32, LockFileError> {
        let limit = self.draft.limits.packages;
        let next = self.folders.len();
        match self.index.entry((parent, kind, name)) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(*entry.get()),
            // Folders without a package of their own count as well, or a file of paths would cost what packages may not.
            std::collections::btree_map::Entry::Vacant(_) if next > limit.saturating_mul(2) => {
                Err(LockFileError::Packages { line: 0, limit })
            }
            std::collections::btree_map::Entry::Vacant(entry) => {
                self.folders.push(Folder { parent, package: NONE });
                Ok(*entry.insert(u32::try_from(next).unwrap_or(NONE)))
            }
        }
    }

    /// Says which package is in a folder.
    pub(super) fn set(&mut self, folder: u32, package: u32) {
        if let Some(it) = self.folders.get_mut(folder as usize) {
            it.package = package;
        }
    }

    /// Says that a folder is a link to the folder of a path.
    pub(super) fn link(&mut self, folder: u32, target: Cow<'t, str>) {
        self.links.push((folder, target));
    }

    /// Says what the package of a folder asks for.
    pub(super) fn ask(&mut self, folder: u32, names: &[Text<'t>], dev: bool) -> Result<(), LockFileError> {
        names.iter().try_for_each(|it| self.wishes.ask(folder, it, "", dev))
    }

    /// Finds who asks for whom, when all folders are known.
    pub(super) fn finish(mut self) -> LockFile {
        for (folder, target) in std::mem::take(&mut self.links) {
            let target = self.index.get(&(ROOT, Kind::Beside, target)).copied();
            let package = target.and_then(|it| self.folders.get(it as usize)).map_or(NONE, |it| it.package);
            self.set(folder, package);
        }
        let wishes = std::mem::replace(&mut self.wishes, Wishes::new(0));
        wishes.each(|folder, name, _, dev| {
            let from = self.folders.get(folder as usize).map_or(NONE, |it| it.package);
            match self.find(folder, name) {
                NONE => {}
                to if folder == ROOT => self.draft.root(to, None),
                to => self.draft.edge(from, to, dev),
            }
        });
        self.draft.finish()
    }

    /// The package that a folder gets when it asks for a name: its own `node_modules` first, then those above.
    fn find(&self, folder: u32, name: &str) -> u32 {
        let mut folder = folder;
        loop {
            let module = self.index.get(&(folder, Kind::Module, Cow::Borrowed(name)));
            let found = module.and_then(|it| self.folders.get(*it as usize)).filter(|it| it.package != NONE);
            if let Some(found) = found {
                return found.package;
            }
            match self.folders.get(folder as usize) {
                Some(it) if it.parent != NONE => folder = it.parent,
                _ => return NONE,
            }
        }
    }
}

/// A part of a string, borrowed where the string is.
fn part<'t>(text: &Cow<'t, str>, start: usize, end: usize) -> Cow<'t, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(start..end).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(start..end).unwrap_or_default().to_owned()),
    }
}

/// The package behind an alias: `npm:name@version` as name and version.
pub(crate) fn alias(version: &str) -> Option<(&str, &str)> {
    let (name, version) = version.strip_prefix("npm:")?.rsplit_once('@')?;
    (!name.is_empty()).then_some((name, version))
}
