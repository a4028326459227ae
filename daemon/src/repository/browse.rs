//! Looking into snapshots: what they hold, folder by folder, and the content of single files.
//!
//! Contents are read pack by pack: who wants many blobs asks where they are ([`Reader::place`]) and reads a stretch of a
//! pack at once ([`Reader::read`]). For a repository at the other end of a line that is the difference between one request
//! and hundreds.

use std::io::Write;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustic_core::repofile::{Node, NodeType, SnapshotFile, SnapshotId};
use rustic_core::{DataId, ErrorKind, FileType, Id, IndexedFullStatus, ReadBackend, RusticError, TreeId, WriteBackend};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use upkeep_archive::{Cipher, Flaw, Opener};

use crate::clock::Timestamp;
use crate::repository::lock::LockGuard;
use crate::repository::progress::Bars;
use crate::repository::{Repository, RepositoryError, Snapshot, message, node};

/// A repository with its index in memory.
pub struct Reader {
    url: String,
    repository: rustic_core::Repository<IndexedFullStatus>,
    backend: Arc<dyn WriteBackend>,
    cipher: Cipher,
    /// Nobody removes what is being read; none where nobody may write.
    _lock: Option<LockGuard>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    File,
    Folder,
    Link,
    Device,
    Fifo,
    Socket,
}

/// One entry of a snapshot, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The absolute path; what is not UTF-8 in it is replaced.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, in octal digits.
    pub mode: String,
    /// Number of its owner.
    pub uid: Option<u32>,
    /// Number of its group.
    pub gid: Option<u32>,
    /// Name of its owner on the server that was saved.
    pub user: Option<String>,
    /// Name of its group on the server that was saved.
    pub group: Option<String>,
    /// Bytes of a file.
    pub size: u64,
    /// When it was last modified.
    pub modified: Option<Timestamp>,
    /// Where a link points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Entry {
    /// The entry of a node that stands at `path`.
    pub fn new(path: &Path, node: &Node) -> Self {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Self {
            path: path.to_string_lossy().into_owned(),
            kind: kind(node),
            mode: format!("{:04o}", node::unix_mode(node.meta.mode.unwrap_or_default())),
            uid: node.meta.uid,
            gid: node.meta.gid,
            user: text(&node.meta.user),
            group: text(&node.meta.group),
            size: if node.is_file() { node.meta.size } else { 0 },
            modified: node.meta.mtime.map(|time| Timestamp(time.as_millisecond())),
            target: node.is_symlink().then(|| node.node_type.to_link().to_string_lossy().into_owned()),
        }
    }
}

fn kind(node: &Node) -> Kind {
    match node.node_type {
        NodeType::File => Kind::File,
        NodeType::Dir => Kind::Folder,
        NodeType::Symlink { .. } => Kind::Link,
        NodeType::Dev { .. } | NodeType::Chardev { .. } => Kind::Device,
        NodeType::Fifo => Kind::Fifo,
        NodeType::Socket => Kind::Socket,
    }
}

/// Whether a walk goes into a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descend {
    /// Its entries come next.
    Into,
    /// They are passed over.
    Over,
}

impl Repository {
    /// Reads the index, so that files can be read.
    ///
    /// # Errors
    ///
    /// When the repository cannot be read.
    pub fn reader(&self) -> Result<Reader, RepositoryError> {
        let lock = self.lock_to_read(Duration::ZERO, &CancellationToken::new())?;
        let backend = Arc::clone(&self.backend);
        let repository = self.session(Arc::clone(&backend), Bars::silent())?;
        let repository = repository.to_indexed().map_err(self.failed("its index was read"))?;
        Ok(Reader { url: self.url.clone(), repository, backend, cipher: self.cipher.clone(), _lock: lock })
    }
}

impl Reader {
    fn failed(&self, action: &'static str) -> impl Fn(Box<RusticError>) -> RepositoryError + use<'_> {
        move |error| RepositoryError::Failed { url: self.url.clone(), action, message: message(&error) }
    }

    /// What a snapshot has at an absolute path; `/` stands for all of it.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Snapshot`] when it has nothing there.
    pub fn node(&self, snapshot: &Snapshot, path: &Path) -> Result<Node, RepositoryError> {
        let missing = || RepositoryError::Snapshot {
            url: self.url.clone(),
            name: format!("{}:{}", snapshot.short(), path.display()),
            reason: format!("nothing stands there; it holds {}", snapshot.paths.join(", ")),
        };
        let failed = self.failed("a snapshot was read");
        let id: SnapshotId = snapshot.id.parse().map_err(&failed)?;
        let file: SnapshotFile = self.repository.get_file(&id).map_err(&failed)?;
        let mut node = Node { node_type: NodeType::Dir, subtree: Some(file.tree), ..Node::default() };
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    let children = self.children(&node)?;
                    node = children.into_iter().find(|child| child.name() == name).ok_or_else(missing)?;
                }
                _ => return Err(missing()),
            }
        }
        Ok(node)
    }

    /// What a folder holds, by name. Anything but a folder holds nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or holds a name that would lead out of it.
    pub fn children(&self, folder: &Node) -> Result<Vec<Node>, RepositoryError> {
        let Some(tree) = folder.subtree.filter(|_| folder.is_dir()) else { return Ok(Vec::new()) };
        self.tree(tree)
    }

    pub(super) fn tree(&self, tree: TreeId) -> Result<Vec<Node>, RepositoryError> {
        let failed = self.failed("a folder of a snapshot was read");
        let mut nodes = self.repository.get_tree(&tree).map_err(&failed)?.nodes;
        for node in &nodes {
            if !is_plain(node) {
                let error = format!("the snapshot holds the name {:?}, which would lead out of the target", node.name);
                return Err(failed(RusticError::new(ErrorKind::Verification, error)));
            }
        }
        nodes.sort_by(|one, other| one.name().as_bytes().cmp(other.name().as_bytes()));
        Ok(nodes)
    }

    /// Visits all that stands beneath `top`, which stands at `path`; folders before what they hold.
    ///
    /// # Errors
    ///
    /// When a folder cannot be read, or what `visit` gives.
    pub fn walk<E: From<RepositoryError>>(
        &self,
        top: &Node,
        path: &Path,
        visit: &mut dyn FnMut(&Path, &Node) -> Result<Descend, E>,
    ) -> Result<(), E> {
        // Folders that were not gone into yet; a deep tree must not need a deep stack.
        let mut pending: Vec<(PathBuf, std::vec::IntoIter<Node>)> =
            vec![(path.to_owned(), self.children(top)?.into_iter())];
        while let Some((folder, nodes)) = pending.last_mut() {
            let Some(node) = nodes.next() else {
                pending.pop();
                continue;
            };
            let path = folder.join(node.name());
            if visit(&path, &node)? == Descend::Into && node.is_dir() {
                let children = self.children(&node)?;
                pending.push((path, children.into_iter()));
            }
        }
        Ok(())
    }

    /// Writes the content of a file, blob after blob.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or what `out` says.
    pub fn dump(&self, file: &Node, out: &mut dyn Write) -> Result<Result<(), std::io::Error>, RepositoryError> {
        let mut out = Kept { out, error: None };
        match self.repository.dump(file, &mut out) {
            Ok(()) => Ok(Ok(())),
            Err(error) => match out.error {
                Some(error) => Ok(Err(error)),
                None => Err(self.failed("a file was read")(error)),
            },
        }
    }

    /// Where a blob is: its pack, and there from where to where. None when the index does not know it.
    pub(super) fn place(&self, blob: &DataId) -> Option<Place> {
        let entry = self.repository.get_index_entry(blob).ok()?;
        let location = entry.location;
        Some(Place {
            pack: entry.pack.into_inner(),
            start: location.offset,
            end: location.offset + location.length,
            length: location.data_length(),
            raw: location.uncompressed_length,
        })
    }

    /// Reads a stretch of a pack.
    pub(super) fn read(&self, pack: Id, start: u32, end: u32) -> Result<Bytes, Flaw> {
        let read = self.backend.read_partial(FileType::Pack, &pack, false, start, end - start);
        let bytes = read.map_err(|_| Flaw::Unreadable)?;
        if bytes.len() == (end - start) as usize { Ok(bytes) } else { Err(Flaw::CutOff) }
    }

    /// Opens what is read; each thread has its own.
    pub(super) fn opener(&self) -> Opener {
        Opener::new(&self.cipher)
    }
}

/// A blob in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) pack: Id,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Bytes of its content.
    pub(super) length: u32,
    /// The same, where it is compressed.
    pub(super) raw: Option<NonZeroU32>,
}

/// Whether a name stands for an entry of its own folder and nothing else.
fn is_plain(node: &Node) -> bool {
    let name = node.name();
    let mut parts = Path::new(&*name).components();
    let only = (parts.next(), parts.next());
    matches!(only, (Some(Component::Normal(only)), None) if only == name) && !name.as_bytes().contains(&0)
}

/// A writer that keeps its error, which rustic_core turns into text.
struct Kept<'a> {
    out: &'a mut dyn Write,
    error: Option<std::io::Error>,
}

impl Write for Kept<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.error = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
