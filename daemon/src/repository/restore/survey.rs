//! What a restore will do, before it does anything: what is to be made, what is right already, what is in the way.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use rustic_core::repofile::Node;
use rustix::fs::Stat;
use rustix::io::Errno;
use serde::Serialize;

use crate::repository::RepositoryError;
use crate::repository::browse::Reader;
use crate::repository::restore::attributes::{self, Owners};
use crate::repository::restore::blob::holds;
use crate::repository::restore::contents::JOURNALS;
use crate::repository::restore::target::Folder;
use crate::repository::restore::walk::{At, Next, Pass};

/// What is in the way that is named; the rest is counted.
const MOST_NAMED: usize = 20;

/// A number of files with what they hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Files, links and devices.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// What a restore will do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// To be written.
    pub write: Count,
    /// As it was saved already.
    pub same: Count,
    /// Folders to be made.
    pub folders: u64,
    /// Folders that are there; they get the attributes that were saved.
    pub folders_same: u64,
    /// What is there and would be replaced: also part of `write`.
    pub replace: u64,
    /// The first of those, as `path: what it is`.
    pub replaced: Vec<String>,
    /// What is there and is not replaced in any case, as `path: what it is`.
    pub blocked: Vec<String>,
    /// Entries of owners that they cannot be given to, since we are not root.
    pub foreign: u64,
    /// Users and groups that this server does not know.
    pub unknown_owners: Vec<String>,
    /// The nearest folder of the target that is there.
    pub place: PathBuf,
    /// Bytes that are free there.
    pub free: Option<u64>,
}

/// How an entry of the target compares with what was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Same,
    /// Something else that may be replaced when the operator allows it.
    Other(&'static str),
    /// Something that is never replaced.
    Blocking(&'static str),
}

/// Looks at an entry that is no folder. Content is read with `checksum`; otherwise size and time tell.
pub(super) fn look(
    at: &At<'_>,
    parent: Option<&Arc<Folder>>,
    reader: &Reader,
    checksum: bool,
) -> Result<(Found, Option<Stat>), Errno> {
    // A folder that was made just now holds nothing; what came into it since is not replaced by a rename either.
    let parent = parent.filter(|parent| !parent.is_new());
    let Some((parent, stat)) = parent.and_then(|it| it.stat(at.name).transpose().map(|stat| (it, stat))) else {
        return Ok((Found::Nothing, None));
    };
    let stat = stat?;
    let kind = attributes::kind_name(&stat);
    if kind == "a folder" {
        return Ok((Found::Blocking(kind), Some(stat)));
    }
    // A database that is in use may have the size and the time of its dump, and another content.
    let checksum = checksum || at.is_source;
    let is_same = attributes::is_same_kind(&stat, at.node) && is_same(at, parent, &stat, reader, checksum)?;
    if is_same && at.is_source && has_journal(at, parent)? {
        return Ok((Found::Other("a database with a journal"), Some(stat)));
    }
    Ok((if is_same { Found::Same } else { Found::Other(kind) }, Some(stat)))
}

fn is_same(at: &At<'_>, parent: &Folder, stat: &Stat, reader: &Reader, checksum: bool) -> Result<bool, Errno> {
    if at.node.is_symlink() {
        let target = rustix::fs::readlinkat(parent, at.name, Vec::new())?;
        return Ok(target.as_bytes() == attributes::link_bytes(at.node));
    }
    if !at.node.is_file() {
        return Ok(true);
    }
    if u64::try_from(stat.st_size).ok() != Some(at.node.meta.size) || !attributes::is_of_time(stat, &at.node.meta) {
        return Ok(false);
    }
    Ok(!checksum || has_content(at, parent, reader)?)
}

/// Whether a database has content that stands in a journal beside it.
fn has_journal(at: &At<'_>, parent: &Folder) -> Result<bool, Errno> {
    for suffix in JOURNALS.iter().filter(|it| **it != "-shm") {
        let mut name = at.name.to_owned();
        name.push(suffix);
        if parent.stat(&name)?.is_some_and(|found| found.st_size > 0) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a file holds what was saved.
pub(super) fn has_content(at: &At<'_>, parent: &Folder, reader: &Reader) -> Result<bool, Errno> {
    let file = parent.read(at.name)?;
    let mut offset = 0;
    for blob in at.node.content.iter().flatten() {
        // What the index does not know cannot be compared, and not be restored either.
        let Some(place) = reader.place(blob) else { return Ok(false) };
        if !holds(&file, offset, place.length, blob) {
            return Ok(false);
        }
        offset += u64::from(place.length);
    }
    Ok(offset == at.node.meta.size)
}

/// What tells hard links of one file: device and inode that it had.
pub(super) fn link_key(node: &Node) -> Option<(u64, u64)> {
    let meta = &node.meta;
    (node.is_file() && meta.links > 1 && meta.inode != 0).then_some((meta.device_id, meta.inode))
}

/// The walk that makes the plan.
pub(super) struct Survey<'a> {
    pub(super) plan: Plan,
    pub(super) reader: &'a Reader,
    pub(super) owners: &'a Owners,
    pub(super) checksum: bool,
    pub(super) links: HashSet<(u64, u64)>,
}

impl Survey<'_> {
    fn block(&mut self, at: &At<'_>, what: &str) {
        if self.plan.blocked.len() < MOST_NAMED {
            self.plan.blocked.push(format!("{}: {what}", at.below.display()));
        }
    }

    fn replace(&mut self, name: String) {
        self.plan.replace += 1;
        if self.plan.replaced.len() < MOST_NAMED {
            self.plan.replaced.push(name);
        }
    }

    fn note_owner(&mut self, at: &At<'_>) {
        // Notes the names that are not known.
        self.owners.of(&at.node.meta);
        if !at.leads && self.owners.is_out_of_reach(&at.node.meta) {
            self.plan.foreign += 1;
        }
    }
}

impl Pass for Survey<'_> {
    fn folder(&mut self, at: &At<'_>, parent: Option<&Arc<Folder>>) -> Result<Next, RepositoryError> {
        let found = parent.map(|it| it.stat(at.name)).transpose().map_err(|error| failed(at, error))?.flatten();
        match (found.as_ref().map(attributes::kind_name), parent) {
            (Some("a folder"), Some(parent)) => {
                self.note_owner(at);
                self.plan.folders_same += u64::from(!at.leads);
                let folder = parent.child(at.name).map_err(|error| failed(at, error))?;
                Ok(Next::Into(Some(Arc::new(folder))))
            }
            (Some("a link"), _) => {
                self.block(at, "a link where a folder must be, and links are not followed");
                Ok(Next::Over)
            }
            (Some(kind), _) => {
                self.block(at, &format!("{kind} where a folder must be"));
                Ok(Next::Over)
            }
            (None, _) => {
                self.note_owner(at);
                self.plan.folders += 1;
                Ok(Next::Into(None))
            }
        }
    }

    fn entry(&mut self, at: &At<'_>, parent: Option<&Arc<Folder>>) -> Result<(), RepositoryError> {
        self.note_owner(at);
        let is_again = link_key(at.node).is_some_and(|key| !self.links.insert(key));
        let bytes = if at.node.is_file() && !is_again { at.node.meta.size } else { 0 };
        let (found, _) = look(at, parent, self.reader, self.checksum).map_err(|error| failed(at, error))?;
        match found {
            Found::Nothing => self.plan.write.add(bytes),
            Found::Same => self.plan.same.add(bytes),
            Found::Other(kind) => {
                self.plan.write.add(bytes);
                self.replace(format!("{}: {kind}", at.below.display()));
            }
            Found::Blocking(kind) => self.block(at, &format!("{kind} where a file must be")),
        }
        if let (true, Some(parent), false) = (at.is_source, parent, found == Found::Same) {
            for suffix in JOURNALS {
                let mut journal = at.name.to_owned();
                journal.push(suffix);
                if parent.stat(&journal).map_err(|error| failed(at, error))?.is_some() {
                    self.replace(format!("{}{suffix}: a journal of the database that is replaced", at.below.display()));
                }
            }
        }
        Ok(())
    }

    fn left(&mut self, _: &At<'_>, _: Option<&Arc<Folder>>) -> Result<(), RepositoryError> {
        Ok(())
    }
}

/// What the system says of an entry.
pub(super) fn failed(at: &At<'_>, error: Errno) -> RepositoryError {
    RepositoryError::Restore(format!("{} cannot be looked at in the target: {error}", at.below.display()))
}
