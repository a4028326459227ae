//! Opening a repository, or making it.
//!
//! Two programs that make one repository at the same time would make two keys for it, of which one opens nothing. So
//! making it is done under a lock on its folder, and what an interrupted one left behind is recognised: a key without a
//! config, and nothing else.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustic_core::repofile::ConfigFile;
use rustic_core::{
    ConfigOptions, Credentials, FileType, KeyOptions, RepositoryBackends, RepositoryOptions, WriteBackend,
};
use upkeep_archive::Cipher;

use crate::config::grant::RepositoryGrant;
use crate::config::secret::SecretValue;
use crate::repository::{Repository, RepositoryError, check, key, message};
use crate::storage::{ConnectError, Storage};

/// The folder of a repository that is one on this machine.
pub(super) fn folder(url: &str) -> Option<PathBuf> {
    url.starts_with('/').then(|| PathBuf::from(url))
}

impl Repository {
    /// Opens the repository.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Missing`] when there is none; otherwise when the password is not there or does not open it.
    pub fn open(grant: &RepositoryGrant) -> Result<Self, RepositoryError> {
        let (storage, backend) = connect(grant)?;
        if !has_config(&grant.url, &backend)? {
            return Err(RepositoryError::Missing(grant.url.clone()));
        }
        Self::unlock(&grant.url, storage, backend, &password(grant)?)
    }

    /// Opens the repository, or makes it (format version 2) where there is none.
    ///
    /// # Errors
    ///
    /// As [`Repository::open`], and [`RepositoryError::Occupied`] when something else is in its place.
    pub fn open_or_make(grant: &RepositoryGrant) -> Result<Self, RepositoryError> {
        Self::open_or_make_with(grant, None)
    }

    /// The same; what is made has the parameters of `config`.
    pub(super) fn open_or_make_with(
        grant: &RepositoryGrant,
        config: Option<ConfigFile>,
    ) -> Result<Self, RepositoryError> {
        let (storage, backend) = connect(grant)?;
        // Before anything is made.
        let password = password(grant)?;
        if !has_config(&grant.url, &backend)? {
            make(&grant.url, &backend, &password, config)?;
        }
        Self::unlock(&grant.url, storage, backend, &password)
    }

    fn unlock(
        url: &str,
        storage: Storage,
        backend: Arc<dyn WriteBackend>,
        password: &SecretValue,
    ) -> Result<Self, RepositoryError> {
        match key::open(url, &backend, password) {
            Ok(key) => {
                let cipher = Cipher::new(&key).map_err(|error| {
                    let (url, message) = (url.to_owned(), error.to_string());
                    RepositoryError::Failed { url, action: "it was opened", message }
                })?;
                Ok(Self { url: url.to_owned(), backend, storage, key, cipher })
            }
            Err(error) => {
                let is_wrong_password = error.is_incorrect_password();
                let found = check::why_not_opened(url, &backend, is_wrong_password);
                Err(found.unwrap_or_else(|| match is_wrong_password {
                    true => RepositoryError::Password(url.to_owned()),
                    false => {
                        let (url, message) = (url.to_owned(), message(&error));
                        RepositoryError::Failed { url, action: "it was opened", message }
                    }
                }))
            }
        }
    }
}

pub(super) fn raw(backend: &Arc<dyn WriteBackend>) -> rustic_core::RusticResult<rustic_core::Repository<()>> {
    let options = RepositoryOptions::default().no_cache(true);
    rustic_core::Repository::new(&options, &RepositoryBackends::new(Arc::clone(backend), None))
}

fn password(grant: &RepositoryGrant) -> Result<SecretValue, RepositoryError> {
    grant.password.read().map_err(|source| RepositoryError::Secret { url: grant.url.clone(), source })
}

fn connect(grant: &RepositoryGrant) -> Result<(Storage, Arc<dyn WriteBackend>), RepositoryError> {
    let url = grant.url.clone();
    match Storage::connect(grant) {
        Ok(storage) => Ok((storage.clone(), Arc::new(storage))),
        Err(ConnectError::Address(reason)) => Err(RepositoryError::Address { url, reason }),
        Err(ConnectError::Secret(source)) => Err(RepositoryError::Secret { url, source }),
    }
}

fn has_config(url: &str, backend: &Arc<dyn WriteBackend>) -> Result<bool, RepositoryError> {
    match backend.list(FileType::Config) {
        Ok(found) => Ok(!found.is_empty()),
        Err(error) => {
            Err(RepositoryError::Failed { url: url.to_owned(), action: "it was looked for", message: message(&error) })
        }
    }
}

fn make(
    url: &str,
    backend: &Arc<dyn WriteBackend>,
    password: &SecretValue,
    config: Option<ConfigFile>,
) -> Result<(), RepositoryError> {
    let failed = |message| RepositoryError::Failed { url: url.to_owned(), action: "it was made", message };
    let _lock = match folder(url) {
        Some(folder) => Some(lock(&folder).map_err(|error| failed(error.to_string()))?),
        None => None,
    };
    // Where there is no folder to lock, at least the steps of this process wait for each other.
    static REMOTE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _remote = REMOTE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if has_config(url, backend)? {
        return Ok(());
    }
    match folder(url) {
        Some(folder) => clear(url, &folder)?,
        None => clear_remote(url, backend)?,
    }
    let credentials = Credentials::Masterkey(key::make(backend, password).map_err(failed)?);
    let options = ConfigOptions::default().set_version(2_u32);
    raw(backend)
        .and_then(|repository| match config {
            Some(config) => repository.init_with_config(&credentials, &KeyOptions::default(), config),
            None => repository.init(&credentials, &KeyOptions::default(), &options),
        })
        .map_err(|error| failed(message(&error)))?;
    if let Some(folder) = folder(url) {
        for folder in [&folder.join("keys"), &folder] {
            std::fs::File::open(folder).and_then(|it| it.sync_all()).map_err(|error| failed(error.to_string()))?;
        }
    }
    Ok(())
}

/// Makes the folder for its owner alone, and locks it until the file is closed.
fn lock(folder: &Path) -> std::io::Result<std::fs::File> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = std::fs::File::open(folder)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Takes away the key that an interrupted making left behind; leaves alone whatever may be of worth.
fn clear(url: &str, folder: &Path) -> Result<(), RepositoryError> {
    let occupied = |reason: String| RepositoryError::Occupied { url: url.to_owned(), reason };
    let failed = |error: std::io::Error| occupied(error.to_string());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !RepositoryGrant::PARTS.iter().any(|known| name == *known) {
            return Err(occupied(format!("it holds `{}`; give the repository a folder of its own", name.display())));
        }
    }
    for part in ["data", "index", "snapshots"] {
        if let Some(found) = walk_files(&folder.join(part)).first() {
            return Err(occupied(format!(
                "it holds {} but no `config`; if a repository lost it, put it back from a copy",
                found.display()
            )));
        }
    }
    for key in walk_files(&folder.join("keys")) {
        std::fs::remove_file(&key).map_err(failed)?;
    }
    Ok(())
}

/// The same where there are no folders to look into, but only the files of a repository.
fn clear_remote(url: &str, backend: &Arc<dyn WriteBackend>) -> Result<(), RepositoryError> {
    let failed = |error: Box<rustic_core::RusticError>| RepositoryError::Failed {
        url: url.to_owned(),
        action: "it was made",
        message: message(&error),
    };
    for kind in [FileType::Snapshot, FileType::Index, FileType::Pack] {
        if !backend.list(kind).map_err(failed)?.is_empty() {
            let reason = format!(
                "it holds files in `{}` but no `config`; if a repository lost it, put it back from a copy",
                kind.dirname()
            );
            return Err(RepositoryError::Occupied { url: url.to_owned(), reason });
        }
    }
    for key in backend.list(FileType::Key).map_err(failed)? {
        backend.remove(FileType::Key, &key, false).map_err(failed)?;
    }
    Ok(())
}

/// The files of a folder and of the folders in it.
fn walk_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => files.push(entry.path()),
            }
        }
    }
    files
}
