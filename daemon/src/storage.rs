//! Where the files of a repository lie: a folder, an SFTP server, an object store or a WebDAV server.
//!
//! A repository is a handful of kinds of files with names that never change once they are written. A [`Store`] does five
//! things with files by their path; [`Storage`] puts restic's layout and rustic_core's traits on top of it, so that all
//! above is the same for all kinds. A file appears under its name only when it is whole. What is far away is tried again
//! when the reason may pass ([`wait`]), and no faster than the operator allows ([`throttle`]).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use crate::config::grant::RepositoryGrant;
use crate::config::secret::SecretError;
use crate::storage::address::{Address, Place};
use crate::storage::throttle::Limits;

pub mod address;
mod http;
mod local;
mod object;
mod sftp;
pub mod throttle;
mod wait;

/// The folder of the lock files, of which rustic_core knows nothing.
pub const LOCKS: &str = "locks";

/// Why a file could not be written, read or removed. The text says what to do about it where that is known.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    /// What kind of failure it is.
    pub fault: Fault,
    /// For people.
    pub message: String,
}

/// Kinds of failures, as far as anybody acts on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The file is not there.
    Missing,
    /// The storage lets nobody do that, or not with these credentials.
    Refused,
    /// It may go well another time.
    Passing,
    /// Anything else.
    Other,
}

impl StorageError {
    fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }
}

/// Why a storage cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address has no meaning, or an option has none.
    #[error("{0}")]
    Address(String),
    /// A secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// A file in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the folder.
    pub name: String,
    /// Its bytes.
    pub size: u64,
}

/// One kind of storage. Paths are relative to the repository, with `/` between the parts.
trait Store: fmt::Debug + Send + Sync {
    /// Makes the folders of an empty repository, where there are folders.
    fn make(&self) -> Result<(), StorageError>;
    /// The files in a folder, and in the folders in it; none when there is no such folder.
    fn list(&self, folder: &str) -> Result<Vec<Entry>, StorageError>;
    /// How long a file is, if it is there.
    fn size(&self, path: &str) -> Result<Option<u64>, StorageError>;
    /// `length` bytes from `offset` on; exactly so many. Without a range, the whole file.
    fn read(&self, path: &str, range: Option<(u64, u64)>) -> Result<Bytes, StorageError>;
    /// Writes a file; it is there with its whole content, or not at all.
    fn write(&self, path: &str, content: Vec<Bytes>) -> Result<(), StorageError>;
    /// Removes a file.
    fn remove(&self, path: &str) -> Result<(), StorageError>;
}

/// The storage of one repository.
#[derive(Debug, Clone)]
pub struct Storage {
    store: Arc<dyn Store>,
    shown: Arc<str>,
}

impl Storage {
    /// Makes ready to reach the storage of a repository. What is far away is reached at the first use.
    ///
    /// # Errors
    ///
    /// When the address or an option has no meaning, or a secret cannot be had.
    pub fn connect(grant: &RepositoryGrant) -> Result<Self, ConnectError> {
        let address = Address::parse(&grant.url).map_err(|wrong| ConnectError::Address(wrong.to_string()))?;
        address.check_keys(grant).map_err(|wrong| ConnectError::Address(wrong.to_string()))?;
        let mut secrets = std::collections::BTreeMap::new();
        for (name, secret) in &grant.secrets {
            secrets.insert(name.as_str(), secret.read()?);
        }
        let limits = Limits::of(grant);
        let store: Arc<dyn Store> = match address.place {
            Place::Folder(folder) => Arc::new(local::Folder::new(folder, limits)),
            Place::Sftp(server) => Arc::new(sftp::Sftp::new(server, &grant.options, limits)),
            Place::S3(bucket) => Arc::new(object::s3(&bucket, &grant.options, &secrets, limits)?),
            Place::WebDav(server) => Arc::new(object::webdav(&server, &grant.options, &secrets, limits)?),
        };
        Ok(Self { store, shown: grant.url.as_str().into() })
    }

    /// The lock files.
    ///
    /// # Errors
    ///
    /// When the storage cannot be read.
    pub fn locks(&self) -> Result<Vec<Entry>, StorageError> {
        self.store.list(LOCKS)
    }

    /// Whether the lock file of this name is there.
    ///
    /// # Errors
    ///
    /// When the storage cannot be read.
    pub fn has_lock(&self, name: &str) -> Result<bool, StorageError> {
        Ok(self.store.size(&format!("{LOCKS}/{name}"))?.is_some())
    }

    /// The content of a lock file.
    ///
    /// # Errors
    ///
    /// When it cannot be read; [`Fault::Missing`] when its holder has removed it.
    pub fn read_lock(&self, name: &str) -> Result<Bytes, StorageError> {
        self.store.read(&format!("{LOCKS}/{name}"), None)
    }

    /// Writes a lock file.
    ///
    /// # Errors
    ///
    /// When the storage cannot be written.
    pub fn write_lock(&self, name: &str, content: Vec<u8>) -> Result<(), StorageError> {
        self.store.write(&format!("{LOCKS}/{name}"), vec![content.into()])
    }

    /// Removes a lock file; it is no error when it is not there.
    ///
    /// # Errors
    ///
    /// When the storage cannot be written.
    pub fn remove_lock(&self, name: &str) -> Result<(), StorageError> {
        match self.store.remove(&format!("{LOCKS}/{name}")) {
            Err(error) if error.fault == Fault::Missing => Ok(()),
            done => done,
        }
    }
}

/// Where restic keeps a file.
fn path(kind: FileType, id: &Id) -> String {
    let name = id.to_hex();
    match kind {
        FileType::Config => "config".to_owned(),
        FileType::Pack => format!("data/{}/{}", &name.as_str()[..2], name.as_str()),
        _ => format!("{}/{}", kind.dirname(), name.as_str()),
    }
}

fn rustic(error: StorageError) -> Box<RusticError> {
    // The text of rustic_core is a template, in which braces have a meaning.
    RusticError::new(ErrorKind::Backend, "{reason}").attach_context("reason", error.message)
}

fn length(size: u64) -> RusticResult<u32> {
    u32::try_from(size).map_err(|_| {
        rustic(StorageError::new(Fault::Other, format!("a file of {size} bytes is no part of a repository")))
    })
}

impl ReadBackend for Storage {
    fn location(&self) -> String {
        self.shown.to_string()
    }

    fn list_with_size(&self, file: FileType) -> RusticResult<Vec<(Id, u32)>> {
        if file == FileType::Config {
            let size = self.store.size("config").map_err(rustic)?;
            return size.map(|size| Ok((Id::default(), length(size)?))).into_iter().collect();
        }
        let entries = self.store.list(file.dirname()).map_err(rustic)?;
        // What is not named by a whole identifier is being written, or was left by a write that broke off.
        let parsed = entries.iter().filter_map(|entry| Some((Id::parse_some(&entry.name, file)?, entry.size)));
        parsed.map(|(id, size)| Ok((id, length(size)?))).collect()
    }

    fn read_full(&self, file: FileType, id: &Id) -> RusticResult<Bytes> {
        self.store.read(&path(file, id), None).map_err(rustic)
    }

    fn read_partial(&self, file: FileType, id: &Id, _: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        self.store.read(&path(file, id), Some((offset.into(), length.into()))).map_err(rustic)
    }

    fn warmup_path(&self, file: FileType, id: &Id) -> String {
        path(file, id)
    }
}

impl WriteBackend for Storage {
    fn create(&self) -> RusticResult<()> {
        self.store.make().map_err(rustic)
    }

    fn write_bytes(&self, file: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        self.store.write(&path(file, id), content.into_vec()).map_err(rustic)
    }

    fn remove(&self, file: FileType, id: &Id, _: bool) -> RusticResult<()> {
        self.store.remove(&path(file, id)).map_err(rustic)
    }
}
