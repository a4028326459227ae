//! The key of a repository: made with it, and had back by the password.
//!
//! To make a password into a key is slow on purpose. A run with several sources, and the daemon night after night, do it
//! once: the key is kept in memory under the address, a checksum of the password and the name of the key file. When one of
//! these is another, or the key file was taken away, it is done again; so a password that was changed or revoked holds
//! from the next opening on. A password that does not open is never kept.

use std::sync::{Arc, Mutex, PoisonError};

use rustic_core::repofile::{KeyId, MasterKey};
use rustic_core::{Credentials, FileType, Id, RusticResult, WriteBackend};
use sha2::{Digest, Sha256};

use crate::config::secret::SecretValue;
use crate::repository::open::raw;

/// Repositories whose keys are kept.
const KEPT: usize = 64;

/// What was found out about a repository.
struct Opened {
    password: [u8; 32],
    file: KeyId,
    key: MasterKey,
}

/// Those who open the same repository at the same time wait for the first one.
type Shelf = Vec<(String, Arc<Mutex<Option<Opened>>>)>;

static SHELF: Mutex<Shelf> = Mutex::new(Vec::new());

fn place(url: &str) -> Arc<Mutex<Option<Opened>>> {
    let mut shelf = SHELF.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, place)) = shelf.iter().find(|(known, _)| known == url) {
        return Arc::clone(place);
    }
    if shelf.len() >= KEPT {
        shelf.remove(0);
    }
    let place = Arc::default();
    shelf.push((url.to_owned(), Arc::clone(&place)));
    place
}

/// The key that the password opens.
pub(super) fn open(url: &str, backend: &Arc<dyn WriteBackend>, password: &SecretValue) -> RusticResult<MasterKey> {
    let checksum = Sha256::digest(password.reveal().as_bytes()).into();
    let place = place(url);
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(opened) = place.as_ref()
        && opened.password == checksum
        && backend.list(FileType::Key)?.contains(&*opened.file)
    {
        let key = opened.key.clone();
        // A repository that was exchanged for another has another key.
        if raw(backend).and_then(|repository| repository.open(&Credentials::Masterkey(key.clone()))).is_ok() {
            return Ok(key);
        }
    }
    *place = None;
    let opened = raw(backend).and_then(|repository| repository.open(&Credentials::password(password.reveal())))?;
    let key = opened.key();
    if let Some(file) = *opened.key_id() {
        *place = Some(Opened { password: checksum, file, key: key.clone() });
    }
    Ok(key)
}

/// A new key, and a file in the repository by which the password opens it.
pub(super) fn make(backend: &Arc<dyn WriteBackend>, password: &SecretValue) -> Result<MasterKey, String> {
    let key = MasterKey::new();
    let file = upkeep_archive::key_file(&key, password.reveal()).map_err(|error| error.to_string())?;
    let id = Id::new(Sha256::digest(&file).into());
    let written = backend.create().and_then(|()| backend.write_bytes(FileType::Key, &id, false, file.into()));
    written.map(|()| key).map_err(|error| super::message(&error))
}
