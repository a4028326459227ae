//! The walk: every entry is compared with the parent, files that changed are given to the workers, and everything goes
//! into the trees in the order in which it came, whenever it is ready.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crossbeam_channel::{Receiver, Sender};
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{DataId, Id};

use crate::id::Sha;
use crate::parent::{Before, Parent};
use crate::store::Store;
use crate::tree::Trees;
use crate::worker::{Done, Job};
use crate::{ArchiveError, Entry, Open};

/// Entries that the walk may be ahead of the first file that is still being read. Each may keep a folder open, of which
/// a process may have about a thousand.
const AHEAD: usize = 200;

/// What becomes of the trees, in order.
enum Event {
    Enter(Node, Before<Option<Sha>>),
    Leave,
    Leaf(Node, Before<()>, Leaf),
}

enum Leaf {
    /// Of so many bytes.
    Ready(u64),
    Reading,
    /// It could not be read.
    Lost,
}

pub(crate) struct Walk<'a> {
    store: &'a Store,
    tell: &'a (dyn Fn(u64) + Sync),
    parent: Parent<'a>,
    trees: Trees<'a>,
    jobs: Sender<Job>,
    done: Receiver<Done>,
    /// The folder at which the walk is.
    at: PathBuf,
    queue: VecDeque<Event>,
    /// Number of the first one in the queue.
    first: u64,
}

impl<'a> Walk<'a> {
    /// Files to be read go to `jobs` and come back by `done`.
    pub(crate) fn new(
        store: &'a Store,
        tell: &'a (dyn Fn(u64) + Sync),
        parent: Parent<'a>,
        trees: Trees<'a>,
        jobs: Sender<Job>,
        done: Receiver<Done>,
    ) -> Self {
        Self { store, tell, parent, trees, jobs, done, at: PathBuf::from("/"), queue: VecDeque::new(), first: 0 }
    }

    /// Goes through all entries, and gives the trees.
    pub(crate) fn all(mut self, entries: impl Iterator<Item = Entry>) -> Result<Trees<'a>, ArchiveError> {
        for Entry { path, node, open } in entries {
            self.go(path.parent().unwrap_or(Path::new("/")))?;
            if node.is_dir() {
                self.enter(node, path);
            } else {
                self.leaf(node, open);
            }
            self.settle(AHEAD)?;
            if self.store.has_failed() {
                break;
            }
        }
        self.settle(0)?;
        Ok(self.trees)
    }

    /// Goes to a folder. Those on the way down that were not given get a mode by which they can be used.
    fn go(&mut self, folder: &Path) -> Result<(), ArchiveError> {
        if folder.as_os_str() == self.at.as_os_str() {
            return Ok(());
        }
        while !folder.starts_with(&self.at) {
            self.queue.push_back(Event::Leave);
            self.parent.leave();
            if !self.at.pop() {
                return Err(ArchiveError::Defect(format!("{} is no absolute path", folder.display())));
            }
        }
        let missing = folder.strip_prefix(&self.at).unwrap_or(Path::new("")).to_owned();
        for part in missing.components() {
            let Component::Normal(name) = part else {
                return Err(ArchiveError::Defect(format!("{} is no plain path", folder.display())));
            };
            let meta = Metadata { mode: Some(0x8000_0000 | 0o755), ..Metadata::default() };
            self.enter(Node::new_node(name, NodeType::Dir, meta), self.at.join(name));
        }
        Ok(())
    }

    fn enter(&mut self, node: Node, path: PathBuf) {
        let before = self.parent.enter(path.file_name().unwrap_or(OsStr::new("")).as_bytes(), &node);
        self.queue.push_back(Event::Enter(node, before));
        self.at = path;
    }

    fn leaf(&mut self, mut node: Node, open: Option<Open>) {
        let size = node.meta.size;
        let before = self.parent.compare(node.name().as_bytes(), &node);
        let number = self.first + self.queue.len() as u64;
        let (before, leaf) = match before {
            Before::Same(content) => {
                if node.is_file() {
                    node.content = Some(content.into_iter().map(|id| DataId::from(Id::from(id))).collect());
                }
                (self.tell)(size);
                (Before::Same(()), Leaf::Ready(size))
            }
            before => {
                let before = if before == Before::Other { Before::Other } else { Before::Nothing };
                let leaf = match open {
                    _ if !node.is_file() => Leaf::Ready(0),
                    None => Leaf::Lost,
                    // Nobody works any more when something broke, which is told of already.
                    Some(open) => {
                        self.jobs.send(Job::File { number, size, open }).map_or(Leaf::Lost, |()| Leaf::Reading)
                    }
                };
                (before, leaf)
            }
        };
        self.queue.push_back(Event::Leaf(node, before, leaf));
    }

    /// Puts into the trees what is ready, until at most so many entries are left.
    fn settle(&mut self, most: usize) -> Result<(), ArchiveError> {
        loop {
            while let Ok(done) = self.done.try_recv() {
                self.take(done);
            }
            while let Some(event) = self.queue.pop_front_if(|it| !matches!(it, Event::Leaf(_, _, Leaf::Reading))) {
                self.first += 1;
                match event {
                    Event::Enter(node, before) => self.trees.enter(node, before),
                    Event::Leave => self.trees.leave()?,
                    Event::Leaf(node, before, Leaf::Ready(size)) => self.trees.add(&node, &before, size)?,
                    Event::Leaf(..) => {}
                }
            }
            if self.queue.len() <= most {
                return Ok(());
            }
            let defect = |_| ArchiveError::Defect("nobody reads files".to_owned());
            let done = self.done.recv().map_err(defect)?;
            self.take(done);
        }
    }

    fn take(&mut self, done: Done) {
        let place = usize::try_from(done.number - self.first).ok().and_then(|it| self.queue.get_mut(it));
        if let Some(Event::Leaf(node, _, leaf)) = place {
            *leaf = match done.content {
                None => Leaf::Lost,
                Some((content, bytes)) => {
                    node.content = Some(content);
                    // Of what is made while it is read, nobody knew before how long it gets.
                    node.meta.size = bytes;
                    Leaf::Ready(bytes)
                }
            };
        }
    }
}
