//! Folders that the task file names. The guest sees paths and identities; the host keeps every path beneath its root
//! ([`crate::root`]) and asks the grant at each call. Work that waits for a disk runs on threads made for waiting.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FileType, Stat};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wasmtime::component::Resource;

use crate::abi::files as abi;
use crate::abi::types::Error;
use crate::capability::{Host, HostError, blocking};
use crate::config::grant::FilesAccess;
use crate::removal::ASIDE;
use crate::root::change::NewFile;
use crate::root::exclude::Exclude;
use crate::root::walk::{Walk, WalkOptions};
use crate::root::{self, RootError, path};

/// Most entries that one call gives, whatever the guest asks for.
const MOST_ENTRIES: usize = 16_384;

/// Entries that are looked at together; a walk has as many for each folder that it is in.
const LOOKED_AT_TOGETHER: usize = 512;

/// What one entry takes in a call beside its path, in bytes.
const ENTRY_SIZE: usize = 80;

/// What one file takes in a call beside its bytes.
const FILE_SIZE: usize = 16;

/// A granted folder.
pub struct Root {
    name: Arc<str>,
    access: Vec<FilesAccess>,
    root: Arc<root::Root>,
}

/// A walk under way. While the guest looks at some entries, the next ones are read already.
pub struct Walker {
    name: Arc<str>,
    walk: Arc<Mutex<Walk>>,
    ahead: Option<JoinHandle<Vec<abi::Entry>>>,
    /// Entries that were more than the guest asked for.
    carried: Vec<abi::Entry>,
}

impl Walker {
    fn new(name: Arc<str>, walk: Walk) -> Self {
        Self { name, walk: Arc::new(Mutex::new(walk)), ahead: None, carried: Vec::new() }
    }

    /// Reads the next entries: at most `most`, and about as many as take up `bytes` in a call.
    fn read(&self, most: usize, bytes: usize, cancel: CancellationToken) -> JoinHandle<Vec<abi::Entry>> {
        let walk = Arc::clone(&self.walk);
        tokio::task::spawn_blocking(move || {
            let mut walk = walk.lock().unwrap_or_else(PoisonError::into_inner);
            let mut entries = Vec::with_capacity(most.min(1_024));
            let mut size = 0;
            while entries.len() < most && size < bytes {
                if entries.len() % 256 == 0 && cancel.is_cancelled() {
                    break;
                }
                let Some(found) = walk.next() else { break };
                size += found.path.len() + ENTRY_SIZE;
                entries.push(entry(path::escape_owned(found.path), &found.stat));
            }
            entries
        })
    }
}

/// A file that is being written beside its place.
pub struct Writer {
    name: Arc<str>,
    file: Arc<Mutex<NewFile>>,
}

/// An open file.
pub struct Reader {
    name: Arc<str>,
    path: String,
    file: Arc<std::fs::File>,
    identity: abi::Identity,
}

fn identity(stat: &Stat) -> abi::Identity {
    abi::Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: root::modified_ns(stat),
    }
}

fn entry(path: String, stat: &Stat) -> abi::Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => abi::Kind::File,
        FileType::Directory => abi::Kind::Directory,
        FileType::Symlink => abi::Kind::Link,
        _ => abi::Kind::Other,
    };
    abi::Entry {
        path,
        kind,
        id: identity(stat),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        accessed_ns: root::accessed_ns(stat),
    }
}

fn right(access: FilesAccess) -> &'static str {
    match access {
        FilesAccess::Read => "read",
        FilesAccess::Write => "write",
        FilesAccess::Remove => "remove",
    }
}

/// At most `most` bytes from the beginning of a file.
fn beginning(root: &root::Root, path: &Path, most: usize) -> Result<Vec<u8>, RootError> {
    let (file, stat) = root.read(path)?;
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX).min(most);
    let mut bytes = vec![0; size];
    match fill(&file, &mut bytes, 0) {
        Ok(filled) => bytes.truncate(filled),
        Err(source) => {
            return Err(RootError::Io { path: path::escape(path.as_os_str().as_encoded_bytes()), source });
        }
    }
    Ok(bytes)
}

/// Reads from `offset` until the buffer is full or the file ends; gives how much that is.
fn fill(file: &std::fs::File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Host {
    /// Passes an error on to the guest; an attempt to leave the root is denied.
    pub(super) fn refuse<T>(&self, name: &str, error: RootError) -> Result<T, HostError> {
        match error {
            RootError::Escape(path) => self.deny(format!(
                "`{path}` leads out of the folder `{name}`; `grant.files.{name}` grants only what stands beneath it"
            )),
            RootError::Closed(_) => self.deny(error.to_string()),
            RootError::Invalid { .. } => Err(HostError::invalid(error.to_string())),
            RootError::NotFound(_) => Err(HostError::not_found(error.to_string())),
            RootError::Io { .. } => Err(HostError::unavailable(error.to_string())),
        }
    }

    /// The folder of a handle, if it is granted with this right.
    fn root_for(&self, handle: &Resource<Root>, access: FilesAccess) -> Result<(Arc<str>, Arc<root::Root>), HostError> {
        let root = self.table.get(handle)?;
        if root.access.contains(&access) {
            return Ok((Arc::clone(&root.name), Arc::clone(&root.root)));
        }
        let (name, right) = (&root.name, right(access));
        self.deny(format!("{right} in the folder `{name}` (`grant.files.{name}.access` does not hold \"{right}\")"))
    }

    fn path(&self, name: &str, path: &str) -> Result<PathBuf, HostError> {
        path::parse(path).or_else(|error| self.refuse(name, error))
    }
}

/// Opens the folder `name` as the task file grants it, whatever the right. What is kept in it to be had back is not closed:
/// a guest must not get hold of it.
pub(crate) async fn open(host: &mut Host, name: &str) -> Result<(Vec<FilesAccess>, root::Root), HostError> {
    let Some(grant) = host.run.grants.files.get(name) else {
        return host.deny(format!("the folder `{name}` (the task file has no `grant.files.{name}`)"));
    };
    let (path, access) = (grant.path.clone(), grant.access.clone());
    match blocking(move || root::Root::open(&path)).await? {
        Ok(root) => Ok((access, root)),
        Err(error) => Err(HostError::not_found(format!("`grant.files.{name}.path`: {error}"))),
    }
}

impl abi::Host for Host {}

impl abi::HostRoot for Host {
    async fn open(&mut self, name: String) -> Result<Resource<Root>, HostError> {
        let (access, root) = open(self, &name).await?;
        let root = root.closing(ASIDE);
        self.push(Root { name: name.into(), access, root: Arc::new(root) })
    }

    async fn walk(&mut self, handle: Resource<Root>, options: abi::WalkOptions) -> Result<Resource<Walker>, HostError> {
        let (name, root) = self.root_for(&handle, FilesAccess::Read)?;
        let start = self.path(&name, &options.path)?;
        let options = WalkOptions {
            exclude: Exclude::new(&options.exclude).map_err(HostError::invalid)?,
            max_depth: options.max_depth,
            one_filesystem: options.one_filesystem,
            together: LOOKED_AT_TOGETHER,
        };
        match blocking(move || root.walk(&start, options)).await? {
            Ok(walk) => self.push(Walker::new(name, walk)),
            Err(error) => self.refuse(&name, error),
        }
    }

    async fn stat(&mut self, handle: Resource<Root>, path: String) -> Result<abi::Entry, HostError> {
        let (name, root) = self.root_for(&handle, FilesAccess::Read)?;
        let inner = self.path(&name, &path)?;
        let text = path::escape(inner.as_os_str().as_encoded_bytes());
        match blocking(move || root.stat(&inner)).await? {
            Ok(stat) => Ok(entry(text, &stat)),
            Err(error) => self.refuse(&name, error),
        }
    }

    async fn read(&mut self, handle: Resource<Root>, path: String) -> Result<Resource<Reader>, HostError> {
        let (name, root) = self.root_for(&handle, FilesAccess::Read)?;
        let inner = self.path(&name, &path)?;
        match blocking(move || root.read(&inner)).await? {
            Ok((file, stat)) => self.push(Reader { name, path, file: Arc::new(file), identity: identity(&stat) }),
            Err(error) => self.refuse(&name, error),
        }
    }

    async fn read_many(
        &mut self,
        handle: Resource<Root>,
        paths: Vec<String>,
        max: u32,
    ) -> Result<Vec<Result<Vec<u8>, Error>>, HostError> {
        let (name, root) = self.root_for(&handle, FilesAccess::Read)?;
        let (call, cancel) = (self.run.limits.call.bytes(), self.run.cancel.clone());
        let read = blocking(move || {
            let (mut read, mut size) = (Vec::with_capacity(paths.len()), 0);
            let most = call.min(max as usize);
            for text in &paths {
                if size >= call || cancel.is_cancelled() {
                    break;
                }
                let bytes = path::parse(text).and_then(|inner| beginning(&root, &inner, most));
                size += FILE_SIZE + bytes.as_ref().map_or(0, Vec::len);
                // What does not fit is left for the next call.
                if size > call && !read.is_empty() {
                    break;
                }
                read.push(bytes);
            }
            read
        });
        let mut results = Vec::new();
        for bytes in read.await? {
            results.push(match bytes.or_else(|error| self.refuse(&name, error)) {
                Ok(bytes) => Ok(bytes),
                Err(HostError::Guest(error)) => Err(error),
                Err(trap) => return Err(trap),
            });
        }
        // No result at all would make the guest ask for ever.
        match self.run.cancel.is_cancelled() {
            true => Err(HostError::unavailable("the run was ended")),
            false => Ok(results),
        }
    }

    async fn write(&mut self, handle: Resource<Root>, path: String, bytes: Vec<u8>) -> Result<(), HostError> {
        let (name, root) = self.root_for(&handle, FilesAccess::Write)?;
        let inner = self.path(&name, &path)?;
        let (size, most) = (bytes.len(), self.run.limits.call);
        if size > most.bytes() {
            return self.exceed("call", format!("`{path}`: {size} bytes in one call, {most} allowed (limits.call)"));
        }
        blocking(move || root.write(&inner, &bytes)).await?.or_else(|error| self.refuse(&name, error))
    }

    async fn create(&mut self, handle: Resource<Root>, path: String) -> Result<Resource<Writer>, HostError> {
        let (name, root) = self.root_for(&handle, FilesAccess::Write)?;
        let inner = self.path(&name, &path)?;
        match blocking(move || root.create(&inner)).await? {
            Ok(file) => self.push(Writer { name, file: Arc::new(Mutex::new(file)) }),
            Err(error) => self.refuse(&name, error),
        }
    }

    async fn make_directory(&mut self, handle: Resource<Root>, path: String) -> Result<(), HostError> {
        let (name, root) = self.root_for(&handle, FilesAccess::Write)?;
        let inner = self.path(&name, &path)?;
        blocking(move || root.make_directory(&inner)).await?.or_else(|error| self.refuse(&name, error))
    }

    async fn resolve(&mut self, handle: Resource<Root>, path: String) -> Result<String, HostError> {
        let (name, root) = self.root_for(&handle, FilesAccess::Read)?;
        let inner = self.path(&name, &path)?;
        match blocking(move || root.resolve(&inner)).await? {
            Ok(end) => Ok(path::escape(end.as_os_str().as_encoded_bytes())),
            Err(error) => self.refuse(&name, error),
        }
    }

    async fn drop(&mut self, handle: Resource<Root>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl abi::HostWriter for Host {
    async fn write(&mut self, handle: Resource<Writer>, bytes: Vec<u8>) -> Result<(), HostError> {
        let Writer { name, file } = self.table.get(&handle)?;
        let (name, file) = (Arc::clone(name), Arc::clone(file));
        let written = blocking(move || file.lock().unwrap_or_else(PoisonError::into_inner).write(&bytes));
        written.await?.or_else(|error| self.refuse(&name, error))
    }

    async fn commit(&mut self, handle: Resource<Writer>) -> Result<abi::Identity, HostError> {
        let Writer { name, file } = self.table.delete(handle)?;
        let Some(file) = Arc::into_inner(file) else {
            return Err(HostError::invalid("the file is being written to"));
        };
        let file = file.into_inner().unwrap_or_else(PoisonError::into_inner);
        match blocking(move || file.put_in_place()).await? {
            Ok(stat) => Ok(identity(&stat)),
            Err(error) => self.refuse(&name, error),
        }
    }

    async fn drop(&mut self, handle: Resource<Writer>) -> wasmtime::Result<()> {
        let writer = self.table.delete(handle)?;
        // What is not put into its place is removed.
        tokio::task::spawn_blocking(move || drop(writer));
        Ok(())
    }
}

impl abi::HostWalker for Host {
    async fn next(&mut self, handle: Resource<Walker>, max: u32) -> Result<Vec<abi::Entry>, HostError> {
        if max == 0 {
            return Err(HostError::invalid("`next` of a walker: `max` is at least 1"));
        }
        let most = (max as usize).min(MOST_ENTRIES);
        let (bytes, cancel) = (self.run.limits.call.bytes(), self.run.cancel.clone());
        let walker = self.table.get_mut(&handle)?;
        let mut entries = std::mem::take(&mut walker.carried);
        if entries.is_empty() {
            let reading = walker.ahead.take().unwrap_or_else(|| walker.read(most, bytes, cancel.clone()));
            entries = reading.await.map_err(|error| HostError::Trap(wasmtime::Error::msg(error.to_string())))?;
        }
        let walker = self.table.get_mut(&handle)?;
        if entries.len() > most {
            walker.carried = entries.split_off(most);
        } else if !entries.is_empty() {
            walker.ahead = Some(walker.read(most, bytes, cancel));
        }
        // An empty list would say that the walk is complete.
        match self.run.cancel.is_cancelled() {
            true => Err(HostError::unavailable("the run was ended")),
            false => Ok(entries),
        }
    }

    async fn problems(&mut self, handle: Resource<Walker>) -> wasmtime::Result<Vec<String>> {
        let walker = self.table.get(&handle)?;
        let (name, walk) = (Arc::clone(&walker.name), Arc::clone(&walker.walk));
        // May have to wait for entries that are being read ahead.
        let problems =
            tokio::task::spawn_blocking(move || walk.lock().unwrap_or_else(PoisonError::into_inner).take_problems());
        let problems = problems.await.map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        if !problems.is_empty() {
            tracing::debug!(root = %name, count = problems.len(), "could not read all of a folder");
        }
        Ok(problems)
    }

    async fn drop(&mut self, handle: Resource<Walker>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl abi::HostReader for Host {
    async fn identity(&mut self, handle: Resource<Reader>) -> wasmtime::Result<abi::Identity> {
        Ok(self.table.get(&handle)?.identity)
    }

    async fn read_at(&mut self, handle: Resource<Reader>, offset: u64, max: u32) -> Result<Vec<u8>, HostError> {
        let reader = self.table.get(&handle)?;
        let file = Arc::clone(&reader.file);
        let most = (max as usize).min(self.run.limits.call.bytes());
        let read = blocking(move || {
            let mut bytes = vec![0; most];
            fill(&file, &mut bytes, offset).map(|filled| {
                bytes.truncate(filled);
                bytes
            })
        });
        read.await?.map_err(|error| HostError::unavailable(format!("`{}` in `{}`: {error}", reader.path, reader.name)))
    }

    async fn drop(&mut self, handle: Resource<Reader>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
