//! Doing what the survey said: folders, links and contents in one walk; hard links, the attributes of folders and the
//! comparison with what was saved in another.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustic_core::repofile::{Node, NodeType};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use crate::repository::RepositoryError;
use crate::repository::browse::Reader;
use crate::repository::restore::attributes::{self, Owners, What, difference, give};
use crate::repository::restore::contents::{Contents, Job};
use crate::repository::restore::survey::{Found, failed, has_content, link_key, look};
use crate::repository::restore::target::{Folder, part_name};
use crate::repository::restore::walk::{At, Next, Pass};

/// Differences that are named; further ones are counted.
pub(super) const MOST_DIFFERENCES: usize = 100;

/// The first walk.
pub(super) struct Fill<'a, 'b, 'c> {
    pub(super) reader: &'a Reader,
    pub(super) owners: &'a Owners,
    pub(super) contents: &'a mut Contents<'b, 'c>,
    pub(super) overwrite: bool,
    pub(super) checksum: bool,
    /// Files with several names whose content is on its way.
    pub(super) links: HashMap<(u64, u64), ()>,
    /// Folders that lead to what is asked for and were made; the others of them are left alone.
    pub(super) made: Vec<PathBuf>,
    pub(super) written: u64,
}

impl Fill<'_, '_, '_> {
    /// Makes a link or a device beside its name, and gives it its name.
    fn special(&self, at: &At<'_>, parent: &Folder, replace: bool) -> Result<(), Errno> {
        let part = part_name(at.name, at.node);
        parent.remove(&part)?;
        make(parent, &part, at.node)?;
        give(What::Entry(parent.as_fd(), &part), at.node, self.owners);
        let done = parent.complete(&part, at.name, replace);
        if done.is_err() {
            let _ = parent.remove(&part);
        }
        done
    }
}

fn make(parent: &Folder, name: &OsStr, node: &Node) -> Result<(), Errno> {
    let device = |kind, device| rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device);
    match &node.node_type {
        NodeType::Symlink { .. } => rustix::fs::symlinkat(attributes::link_bytes(node), parent, name),
        NodeType::Dev { device: number } => device(FileType::BlockDevice, *number),
        NodeType::Chardev { device: number } => device(FileType::CharacterDevice, *number),
        NodeType::Fifo => device(FileType::Fifo, 0),
        NodeType::Socket => device(FileType::Socket, 0),
        NodeType::File | NodeType::Dir => Ok(()),
    }
}

impl Pass for Fill<'_, '_, '_> {
    fn folder(&mut self, at: &At<'_>, parent: Option<&Arc<Folder>>) -> Result<Next, RepositoryError> {
        let Some(parent) = parent else { return Ok(Next::Over) };
        let opened = match parent.stat(at.name) {
            Ok(None) => {
                if at.leads {
                    self.made.push(at.below.to_owned());
                }
                parent.make(at.name)
            }
            Ok(Some(_)) => parent.child(at.name),
            Err(error) => Err(error),
        };
        match opened {
            Ok(folder) => Ok(Next::Into(Some(Arc::new(folder)))),
            Err(error) => {
                self.contents.refused(at.below.to_owned(), error);
                Ok(Next::Over)
            }
        }
    }

    fn entry(&mut self, at: &At<'_>, parent: Option<&Arc<Folder>>) -> Result<(), RepositoryError> {
        let Some(parent) = parent else { return Ok(()) };
        let is_again = link_key(at.node).is_some_and(|key| self.links.insert(key, ()).is_some());
        let replace = match look(at, Some(parent), self.reader, self.checksum) {
            Ok((Found::Same, _)) => return Ok(()),
            Ok((Found::Nothing, _)) => false,
            Ok((Found::Other(_), _)) if self.overwrite => true,
            Ok((Found::Other(kind) | Found::Blocking(kind), _)) => {
                let reason = format!("{kind} came into the way since it was looked at; run the restore again");
                self.contents.fail(at.below.to_owned(), reason);
                return Ok(());
            }
            Err(error) => {
                self.contents.refused(at.below.to_owned(), error);
                return Ok(());
            }
        };
        if is_again {
            // Becomes a link to the first when that has its content.
        } else if at.node.is_file() {
            let part = part_name(at.name, at.node);
            let (name, below, node) = (at.name.to_owned(), at.below.to_owned(), at.node.clone());
            let mut job = Job::new(Arc::clone(parent), name, part, below, node);
            (job.replace, job.is_dump) = (replace, at.is_source);
            self.contents.add(job);
        } else {
            match self.special(at, parent, replace) {
                Ok(()) => self.written += 1,
                Err(error) => self.contents.refused(at.below.to_owned(), error),
            }
        }
        Ok(())
    }

    fn left(&mut self, _: &At<'_>, _: Option<&Arc<Folder>>) -> Result<(), RepositoryError> {
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.contents.is_stopped()
    }
}

/// What is not as it was saved.
#[derive(Debug, Default)]
pub(super) struct Differences {
    pub(super) named: Vec<String>,
    untold: u64,
}

impl Differences {
    pub(super) fn add(&mut self, difference: String) {
        if self.named.len() < MOST_DIFFERENCES {
            self.named.push(difference);
        } else {
            self.untold += 1;
        }
    }

    pub(super) fn all(mut self) -> Vec<String> {
        if self.untold > 0 {
            self.named.push(format!("and {} more", self.untold));
        }
        self.named
    }
}

/// The second walk; with `write` unset it only compares.
pub(super) struct Finish<'a> {
    pub(super) owners: &'a Owners,
    pub(super) base: Arc<Folder>,
    pub(super) overwrite: bool,
    pub(super) write: bool,
    /// Where to compare contents with.
    pub(super) compare: Option<&'a Reader>,
    /// The first name of each file with several.
    pub(super) links: HashMap<(u64, u64), PathBuf>,
    pub(super) made: Vec<PathBuf>,
    /// Paths that are told as failed already.
    pub(super) failed: Vec<PathBuf>,
    pub(super) linked: u64,
    pub(super) files: u64,
    pub(super) folders: u64,
    pub(super) bytes: u64,
    pub(super) differences: Differences,
    pub(super) tell: &'a dyn Fn(u64),
}

impl Finish<'_> {
    /// Makes `at` another name of the file at `first`.
    fn link(&self, at: &At<'_>, parent: &Folder, first: &Path) -> Result<(), Errno> {
        let Some(name) = first.file_name() else { return Ok(()) };
        let folder = self.base.below(first.parent().unwrap_or(first))?;
        let (Some(original), found) = (folder.stat(name)?, parent.stat(at.name)?) else { return Ok(()) };
        if found.is_some_and(|found| (found.st_dev, found.st_ino) == (original.st_dev, original.st_ino)) {
            return Ok(());
        }
        if let Some(found) = found.filter(|_| !self.overwrite) {
            // Equal in all but that it is a file of its own, or it would have been in the way.
            let is_equal = attributes::is_same_kind(&found, at.node) && attributes::is_of_time(&found, &at.node.meta);
            return if is_equal { Ok(()) } else { Err(Errno::EXIST) };
        }
        let part = part_name(at.name, at.node);
        parent.remove(&part)?;
        rustix::fs::linkat(&folder, name, parent, &part, AtFlags::empty())?;
        parent.complete(&part, at.name, self.overwrite)
    }
}

impl Pass for Finish<'_> {
    fn folder(&mut self, at: &At<'_>, parent: Option<&Arc<Folder>>) -> Result<Next, RepositoryError> {
        match parent.map(|parent| parent.child(at.name)) {
            Some(Ok(folder)) => Ok(Next::Into(Some(Arc::new(folder)))),
            Some(Err(Errno::NOENT)) | None => {
                self.differences.add(format!("{}: the folder is not there", at.below.display()));
                Ok(Next::Over)
            }
            Some(Err(error)) => {
                self.differences.add(format!("{}: {error}", at.below.display()));
                Ok(Next::Over)
            }
        }
    }

    fn entry(&mut self, at: &At<'_>, parent: Option<&Arc<Folder>>) -> Result<(), RepositoryError> {
        let Some(parent) = parent else { return Ok(()) };
        self.files += 1;
        let mut is_again = false;
        if let Some(key) = link_key(at.node) {
            match self.links.get(&key) {
                Some(first) if self.write => {
                    is_again = true;
                    match self.link(at, parent, first) {
                        Ok(()) => self.linked += 1,
                        Err(error) => self.differences.add(format!("{}: {error}", at.below.display())),
                    }
                }
                Some(_) => is_again = true,
                None => drop(self.links.insert(key, at.below.to_owned())),
            }
        }
        if at.node.is_file() && !is_again {
            self.bytes += at.node.meta.size;
        }
        (self.tell)(if is_again { 0 } else { at.node.meta.size });
        if self.failed.iter().any(|path| path == at.below) {
            return Ok(());
        }
        let Some(found) = parent.stat(at.name).map_err(|error| failed(at, error))? else {
            self.differences.add(format!("{}: it is not there", at.below.display()));
            return Ok(());
        };
        let what = What::Entry(parent.as_fd(), at.name);
        if let Some(difference) = difference(&found, what, at.node, self.owners) {
            self.differences.add(format!("{}: {difference}", at.below.display()));
        } else if let Some(reader) = self.compare.filter(|_| at.node.is_file()) {
            match has_content(at, parent, reader) {
                Ok(true) => {}
                Ok(false) => self.differences.add(format!("{}: its content is another", at.below.display())),
                Err(error) => self.differences.add(format!("{}: {error}", at.below.display())),
            }
        }
        Ok(())
    }

    fn left(&mut self, at: &At<'_>, folder: Option<&Arc<Folder>>) -> Result<(), RepositoryError> {
        let Some(folder) = folder else { return Ok(()) };
        if self.write {
            folder.sweep().map_err(|error| failed(at, error))?;
        }
        let is_made = self.made.iter().any(|made| made == at.below);
        if !at.below.as_os_str().is_empty() {
            self.folders += 1;
        }
        if at.leads && !is_made || at.path.parent().is_none() {
            return Ok(());
        }
        if self.write {
            give(What::Open(folder.as_fd()), at.node, self.owners);
        }
        let found = rustix::fs::fstat(&**folder).map_err(|error| failed(at, error))?;
        let difference = difference(&found, What::Open(folder.as_fd()), at.node, self.owners).filter(|_| !at.leads);
        if let Some(difference) = difference {
            self.differences.add(format!("{}: {difference}", at.below.display()));
        }
        Ok(())
    }
}
