//! A backup of what is made while it is read, such as the output of a database's program.
//!
//! Nobody knows beforehand how long it gets, and rustic_core writes the length into the snapshot before it reads. So the
//! backup has two parts. First rustic_core archives all, and the snapshot that it writes is held back ([`Held`]). Then,
//! when every stream has come to a good end, the few folders above the files are written once more with the lengths that
//! were found ([`Held::complete`]), and the snapshot goes out with those: restic's `check` compares lengths with contents,
//! and `ls` shows them. What rustic_core wrote of these folders, some hundred bytes, is left for the next prune.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aes256ctr_poly1305aes::Aes256CtrPoly1305Aes;
use aes256ctr_poly1305aes::aead::AeadInPlace;
use bytes::Bytes;
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{MasterKey, Metadata, Node, NodeType, SnapshotFile};
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, IndexedIdsStatus, ReadBackend, ReadSource, ReadSourceEntry, ReadSourceOpen,
    RusticError, RusticResult, TreeId, WriteBackend,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::database::{Dump, Part};
use crate::repository::entropy::Sampler;
use crate::repository::gate::Gate;
use crate::repository::node;
use crate::repository::progress::Bars;
use crate::repository::{Repository, RepositoryError, Source, Watch};

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
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// Lengths of the files that were read to their end.
    lengths: BTreeMap<String, u64>,
    /// Why a stream failed, the first time.
    failure: Option<String>,
}

impl State {
    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, file: &str, error: &std::io::Error) {
        let failure = format!("{file}: {error}");
        self.found().failure.get_or_insert_with(|| failure.clone());
        // The gate then lets no snapshot through.
        self.watch.state().failure.get_or_insert(failure);
    }
}

impl StreamSource {
    /// Files by name in `folder`, which is absolute.
    pub fn new(folder: PathBuf, files: Vec<(String, Open)>, watch: Arc<Watch>) -> Self {
        let state = Arc::new(State { watch, found: Mutex::default() });
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

    fn streamed(&self) -> bool {
        true
    }

    fn failure(&self) -> Option<String> {
        self.state.found().failure.clone()
    }

    fn lengths(&self) -> BTreeMap<String, u64> {
        self.state.found().lengths.clone()
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
        let opened = match state.found().failure.is_some() || state.watch.cancel.is_cancelled() {
            true => Err(std::io::Error::other("it was not begun")),
            false => Ok(()),
        };
        match opened.and_then(|()| open(&state.watch.cancel)) {
            Ok(stream) => Ok(Reading { name, stream, length: 0, sampler: Sampler::default(), state }),
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
    length: u64,
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
            Ok(0) if !buffer.is_empty() => {
                let (name, length) = (std::mem::take(&mut self.name), self.length);
                // Some readers ask once more after the end.
                if !name.is_empty() {
                    self.state.found().lengths.insert(name, length);
                }
                Ok(0)
            }
            Ok(count) => {
                if let Some(rate) = &self.state.watch.rate {
                    rate.pay(count);
                }
                self.sampler.see(&buffer[..count]);
                self.length += count as u64;
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

/// The gate, with the snapshot held back until the lengths are known.
#[derive(Debug)]
pub(super) struct Held {
    gate: Gate,
    state: Mutex<HeldState>,
}

#[derive(Debug, Default)]
struct HeldState {
    /// Whether snapshots go through.
    open: bool,
    /// The index files that were written meanwhile, with their lengths.
    indexes: Vec<(Id, u32)>,
    /// The snapshot that went through.
    snapshot: Option<Id>,
}

impl Held {
    pub(super) fn new(gate: Gate) -> Arc<Self> {
        Arc::new(Self { gate, state: Mutex::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, HeldState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the folders with the right lengths, and the snapshot with those.
    pub(super) fn complete(
        self: &Arc<Self>,
        repository: &Repository,
        mut snapshot: SnapshotFile,
        source: &impl Source,
    ) -> Result<SnapshotFile, RepositoryError> {
        let action = "the lengths of what was saved were written";
        let failed = repository.failed(action);
        let broken = |message: &str| RepositoryError::Failed {
            url: repository.url.clone(),
            action,
            message: message.to_owned(),
        };
        self.state().open = true;
        // Only what was written just now is looked at, so this reads no large index.
        let opened = repository.session(Arc::<Self>::clone(self), Bars::silent())?.to_indexed_ids().map_err(&failed)?;
        let path = source.path();
        let names: Vec<OsString> = path
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_owned()),
                _ => None,
            })
            .collect();
        let mut trees = Vec::new();
        let lengths = source.lengths();
        snapshot.tree = rebuild(&opened, snapshot.tree, &names, &lengths, &mut trees).map_err(&failed)?;
        let mut pack = Vec::new();
        let (mut header, mut blobs) = (Vec::new(), Vec::new());
        for (id, tree) in &trees {
            let sealed = seal(&repository.key, tree).ok_or_else(|| broken("there is no randomness"))?;
            let length = u32::try_from(sealed.len()).map_err(|_| broken("a folder is too large"))?;
            // <https://restic.readthedocs.io/en/stable/100_references.html#pack-format>: 1 is a tree, not compressed.
            header.push(1);
            header.extend(length.to_le_bytes());
            header.extend(bytes_of(*id));
            blobs.push(json!({ "id": id.to_hex().as_str(), "type": "tree", "offset": pack.len(), "length": length }));
            pack.extend(sealed);
        }
        let header = seal(&repository.key, &header).ok_or_else(|| broken("there is no randomness"))?;
        let length = u32::try_from(header.len()).map_err(|_| broken("a folder is too large"))?;
        pack.extend(header);
        pack.extend(length.to_le_bytes());
        let id = self.write(FileType::Pack, pack).map_err(&failed)?;
        let index = json!({ "packs": [{ "id": id.to_hex().as_str(), "blobs": blobs }] });
        let index =
            seal(&repository.key, index.to_string().as_bytes()).ok_or_else(|| broken("there is no randomness"))?;
        self.write(FileType::Index, index).map_err(&failed)?;
        opened.save_snapshots(vec![snapshot.clone()]).map_err(&failed)?;
        let id = self.state().snapshot.ok_or_else(|| broken("no snapshot was written"))?;
        snapshot.id = id.into();
        Ok(snapshot)
    }

    fn write(&self, file: FileType, content: Vec<u8>) -> RusticResult<Id> {
        let hash = Sha256::digest(&content);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = hash.parse::<Id>()?;
        self.write_bytes(file, &id, false, content.into())?;
        Ok(id)
    }
}

fn bytes_of(id: TreeId) -> Vec<u8> {
    let hex = id.to_hex();
    let digits = hex.as_str().as_bytes().chunks(2);
    digits.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The tree with the files' lengths below `names`, and all trees above it.
fn rebuild(
    repository: &rustic_core::Repository<IndexedIdsStatus>,
    id: TreeId,
    names: &[OsString],
    lengths: &BTreeMap<String, u64>,
    trees: &mut Vec<(TreeId, Vec<u8>)>,
) -> RusticResult<TreeId> {
    let missing = |what: &str| RusticError::new(ErrorKind::Internal, format!("{what} is not in the snapshot"));
    let mut tree = repository.get_tree(&id)?;
    match names.split_first() {
        Some((name, rest)) => {
            let node = tree.nodes.iter_mut().find(|node| node.name() == *name).ok_or_else(|| missing("a folder"))?;
            let below = node.subtree.ok_or_else(|| missing("a folder"))?;
            node.subtree = Some(rebuild(repository, below, rest, lengths, trees)?);
        }
        None => {
            if tree.nodes.len() != lengths.len() {
                return Err(missing("a file"));
            }
            for node in &mut tree.nodes {
                let name = node.name();
                let length = name.to_str().and_then(|name| lengths.get(name)).ok_or_else(|| missing("a file"))?;
                node.meta.size = *length;
            }
        }
    }
    let (content, id) = tree.serialize().map_err(|error| RusticError::new(ErrorKind::Internal, error.to_string()))?;
    trees.push((id, content));
    Ok(id)
}

/// Encrypts as restic does: <https://restic.readthedocs.io/en/stable/100_references.html#keys-encryption-and-mac>.
fn seal(key: &MasterKey, content: &[u8]) -> Option<Vec<u8>> {
    let mut joined = [0; 64];
    joined[..32].copy_from_slice(key.encrypt.get(..32)?);
    joined[32..48].copy_from_slice(key.mac.k.get(..16)?);
    joined[48..].copy_from_slice(key.mac.r.get(..16)?);
    let mut nonce = [0; 16];
    std::fs::File::open("/dev/urandom").ok()?.read_exact(&mut nonce).ok()?;
    let mut sealed = Vec::with_capacity(content.len() + 32);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(content);
    let cipher = Aes256CtrPoly1305Aes::new(&joined.into());
    let tag = cipher.encrypt_in_place_detached(&nonce.into(), &[], &mut sealed[16..]).ok()?;
    sealed.extend_from_slice(&tag);
    Some(sealed)
}

impl ReadBackend for Held {
    fn location(&self) -> String {
        self.gate.location()
    }

    fn list_with_size(&self, file: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let state = self.state();
        if state.open && file == FileType::Index {
            return Ok(state.indexes.clone());
        }
        drop(state);
        self.gate.list_with_size(file)
    }

    fn list(&self, file: FileType) -> RusticResult<Vec<Id>> {
        Ok(self.list_with_size(file)?.into_iter().map(|(id, _)| id).collect())
    }

    fn read_full(&self, file: FileType, id: &Id) -> RusticResult<Bytes> {
        self.gate.read_full(file, id)
    }

    fn read_partial(&self, file: FileType, id: &Id, cache: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        self.gate.read_partial(file, id, cache, offset, length)
    }

    fn warmup_path(&self, file: FileType, id: &Id) -> String {
        self.gate.warmup_path(file, id)
    }
}

impl WriteBackend for Held {
    fn create(&self) -> RusticResult<()> {
        self.gate.create()
    }

    fn write_bytes(&self, file: FileType, id: &Id, cache: bool, content: BytesList) -> RusticResult<()> {
        let is_snapshot = file == FileType::Snapshot;
        if is_snapshot && !self.state().open {
            return Ok(());
        }
        let length = content.size();
        self.gate.write_bytes(file, id, cache, content)?;
        match file {
            FileType::Index => self.state().indexes.push((*id, u32::try_from(length).unwrap_or(u32::MAX))),
            FileType::Snapshot => self.state().snapshot = Some(*id),
            _ => {}
        }
        Ok(())
    }

    fn remove(&self, file: FileType, id: &Id, cache: bool) -> RusticResult<()> {
        self.gate.remove(file, id, cache)
    }
}
