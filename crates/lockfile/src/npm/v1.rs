//! `dependencies` of version 1: packages by name, with those of their own `node_modules` inside.

use serde::de::MapAccess;

use super::tree::alias;
use super::{Lock, source};
use crate::draft::Found;
use crate::json::{self, Fields, Flag, Names, Object, Text};
use crate::{LockFileError, NoteKind, Source};

/// One object `dependencies`.
pub(super) struct Level<'k, 't, 'l> {
    pub(super) lock: &'k mut Lock<'t, 'l>,
    /// The folder whose `node_modules` it is.
    pub(super) folder: u32,
    /// From 1.
    pub(super) depth: usize,
}

/// One package of such an object.
struct Entry<'k, 't, 'l> {
    lock: &'k mut Lock<'t, 'l>,
    folder: u32,
    depth: usize,
    version: Text<'t>,
    resolved: Text<'t>,
    dev: Flag,
    requires: Names<'t>,
}

impl<'t> Fields<'t> for Level<'_, 't, '_> {
    fn field<A: MapAccess<'t>>(&mut self, name: Text<'t>, object: &mut A) -> Result<(), A::Error> {
        let line = self.lock.lines.of(&name);
        let limit = self.lock.tree.draft.limits.depth;
        if self.depth > limit {
            return self.lock.stop(Err(LockFileError::Depth { line, limit }));
        }
        let folder = self.lock.tree.inside(self.folder, name.0.clone());
        let folder = self.lock.stop(folder)?;
        let mut entry = Entry {
            lock: self.lock,
            folder,
            depth: self.depth,
            version: Text::default(),
            resolved: Text::default(),
            dev: Flag(false),
            requires: Names::default(),
        };
        object.next_value_seed(Object(&mut entry))?;
        let done = entry.take(&name, line);
        self.lock.stop(done)
    }
}

impl<'t> Fields<'t> for Entry<'_, 't, '_> {
    fn field<A: MapAccess<'t>>(&mut self, name: Text<'t>, object: &mut A) -> Result<(), A::Error> {
        match &*name {
            "version" => self.version = object.next_value()?,
            "resolved" => self.resolved = object.next_value()?,
            "dev" => self.dev = object.next_value()?,
            "requires" => self.requires = object.next_value()?,
            "dependencies" => {
                let mut level = Level { lock: self.lock, folder: self.folder, depth: self.depth + 1 };
                object.next_value_seed(Object(&mut level))?;
            }
            _ => json::skip(object)?,
        }
        Ok(())
    }
}

impl Entry<'_, '_, '_> {
    fn take(self, here: &str, line: usize) -> Result<(), LockFileError> {
        let tree = &mut self.lock.tree;
        let (name, version) = alias(&self.version).unwrap_or((here, &self.version));
        if version.is_empty() {
            tree.draft.note(line, NoteKind::Unclear, here);
            return Ok(());
        }
        // What is from no registry has its address for a version.
        let source = match version.split_once(':') {
            None => source(&self.resolved),
            Some(("http" | "https" | "file" | "link", _)) => source(version),
            Some(_) => Source::Git,
        };
        let dev = Some(self.dev.0);
        let package =
            tree.draft.add(Found { name, version, alias: here, source: Some(source), dev, line, direct: None })?;
        tree.set(self.folder, package);
        tree.ask(self.folder, &self.requires.0, false)
    }
}
