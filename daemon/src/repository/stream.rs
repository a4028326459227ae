//! A backup of what is made while it is read, such as the output of a database's program.
//!
//! Nobody knows beforehand how long it gets: the archiver notes how much came. A stream that does not come to a good end
//! closes the gate, so that there is no snapshot of half a database.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{ErrorKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError, RusticResult};
use tokio_util::sync::CancellationToken;

use crate::database::{Dump, Part};
use crate::repository::entropy::Sampler;
use crate::repository::{Source, Watch, node};

/// Opens a stream. Whatever goes wrong later comes as an error of reading, at the latest in place of its end.
pub type Open = Box<dyn FnOnce(&CancellationToken) -> std::io::Result<Box<dyn Read + Send>> + Send>;

/// What stands for a length that is not known yet; longer than any buffer.
const UNKNOWN: u64 = 1 << 40;

/// Files that are made while they are read, in a folder that need not exist.
pub struct StreamSource {
    folder: PathBuf,
    files: Mutex<Vec<(String, Open)>>,
    state: Arc<State>,
}

impl std::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamSource").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// What the streams share.
#[derive(Debug)]
struct State {
    watch: Arc<Watch>,
    /// Why a stream failed, the first time.
    failure: Mutex<Option<String>>,
}

impl State {
    fn failure(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, file: &str, error: &std::io::Error) {
        let failure = format!("{file}: {error}");
        self.failure().get_or_insert_with(|| failure.clone());
        // The gate then lets no snapshot through.
        self.watch.state().failure.get_or_insert(failure);
    }
}

impl StreamSource {
    /// Files by name in `folder`, which is absolute.
    pub fn new(folder: PathBuf, files: Vec<(String, Open)>, watch: Arc<Watch>) -> Self {
        let state = Arc::new(State { watch, failure: Mutex::default() });
        Self { folder, files: Mutex::new(files), state }
    }
}

impl StreamSource {
    /// The dump of a server.
    pub fn of(dump: Dump, watch: Arc<Watch>) -> Self {
        let open = |part: Part| {
            let file = part.file.clone();
            let open: Open = Box::new(move |cancel| match part.open(cancel) {
                Ok(reader) => Ok(Box::new(reader) as Box<dyn Read + Send>),
                Err(error) => Err(std::io::Error::other(error.to_string())),
            });
            (file, open)
        };
        Self::new(dump.folder, dump.parts.into_iter().map(open).collect(), watch)
    }
}

impl Source for StreamSource {
    fn path(&self) -> PathBuf {
        self.folder.clone()
    }

    fn watch(&self) -> &Arc<Watch> {
        &self.state.watch
    }

    fn failure(&self) -> Option<String> {
        self.state.failure().clone()
    }
}

impl ReadSource for StreamSource {
    type Open = Unopened;
    type Iter = std::vec::IntoIter<RusticResult<ReadSourceEntry<Unopened>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let now = Timestamp::from_millisecond(crate::clock::now().0).ok();
        let mut entries = Vec::new();
        let mut folders: Vec<&Path> = self.folder.ancestors().filter(|folder| folder.file_name().is_some()).collect();
        folders.reverse();
        for folder in folders {
            let name = folder.file_name().unwrap_or_default();
            let node = Node::new_node(name, NodeType::Dir, metadata(now, 1 << 31 | 0o700, 0));
            entries.push(Ok(ReadSourceEntry { path: folder.to_owned(), node, open: None }));
        }
        let mut files = std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner));
        // A tree of restic's format is in the order of its names.
        files.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, open) in files {
            self.state.watch.state().files += 1;
            let node = Node::new_node(name.as_ref(), NodeType::File, metadata(now, 0o600, UNKNOWN));
            let path = self.folder.join(&name);
            let open = Some(Unopened { name, open, state: Arc::clone(&self.state) });
            entries.push(Ok(ReadSourceEntry { path, node, open }));
        }
        entries.into_iter()
    }
}

fn metadata(now: Option<Timestamp>, mode: u32, size: u64) -> Metadata {
    let uid = rustix::process::getuid().as_raw();
    Metadata {
        mode: Some(mode),
        mtime: now,
        atime: now,
        ctime: now,
        uid: Some(uid),
        gid: Some(rustix::process::getgid().as_raw()),
        user: node::user_name(uid),
        size,
        links: u64::from(size > 0),
        ..Metadata::default()
    }
}

/// A stream that may be opened.
pub struct Unopened {
    name: String,
    open: Open,
    state: Arc<State>,
}

impl ReadSourceOpen for Unopened {
    type Reader = Reading;

    fn open(self) -> RusticResult<Reading> {
        let Self { name, open, state } = self;
        // The others need not begin when one has failed.
        let opened = match state.failure().is_some() || state.watch.cancel.is_cancelled() {
            true => Err(std::io::Error::other("it was not begun")),
            false => Ok(()),
        };
        match opened.and_then(|()| open(&state.watch.cancel)) {
            Ok(stream) => Ok(Reading { name, stream, sampler: Sampler::default(), state }),
            Err(error) => {
                state.fail(&name, &error);
                Err(RusticError::new(ErrorKind::InputOutput, "the stream cannot be opened"))
            }
        }
    }
}

/// A stream that is being read.
pub struct Reading {
    name: String,
    stream: Box<dyn Read + Send>,
    sampler: Sampler,
    state: Arc<State>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.state.watch.state().content.add(&self.sampler);
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = match self.state.watch.cancel.is_cancelled() {
            true => Err(std::io::Error::other("the run was ended")),
            false => self.stream.read(buffer),
        };
        match read {
            Ok(count) => {
                if let Some(rate) = &self.state.watch.rate {
                    rate.pay(count);
                }
                self.sampler.see(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.state.fail(&self.name, &error);
                Err(error)
            }
        }
    }
}
