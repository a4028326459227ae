//! Finding damage in a repository, and saying what is lost by it and what is not.
//!
//! rustic_core can check a repository, but stops at the first index or snapshot that it cannot read and tells the rest in
//! log lines. An operator asks something else: which of my files are gone, from which snapshots, and what do I do now? So
//! this is a walk of its own, and every kind of damage takes the same way through it:
//!
//! ```text
//! snapshots ─► indexes, packs, headers ─► packs read in full ─► trees of all snapshots ─► names of what is lost
//!              ([inventory])              ([packs])             ([trees])                 ([words])
//! ```
//!
//! The structure is looked at each time: every snapshot, every index, every folder of every snapshot, the length of every
//! pack. Of the packs' content a part is read, which the caller chooses by the first byte of their names; names are
//! hashes, so the 256 parts are about equal, and a part is covered for good by the time at which it was last read: what
//! was added to it since is newer than that.
//!
//! A check only reads, and works beside backups. What a prune takes away meanwhile is no damage: when indexes or
//! snapshots changed while something was found, it looks again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use rustic_core::repofile::SnapshotFile;
use rustic_core::{FileType, Id, ReadBackend, RusticError, WriteBackend};
use tokio_util::sync::CancellationToken;
use upkeep_archive::{Cipher, Flaw};

use crate::clock::Timestamp;
use crate::repository::check::header::hash;
use crate::repository::check::inventory::{BadFile, Inventory, PackNumber, read_file};
use crate::repository::check::packs::{Read, Reader};
use crate::repository::check::trees::{Cause, Losses, Trees, Walker};
use crate::repository::progress::Counter;
use crate::repository::{PATIENCE, Repository, RepositoryError, Tell, message};

pub use crate::repository::check::words::{Damage, DamageKind, Lost, Severity};

mod foreign;
mod header;
mod inventory;
mod packs;
mod trees;
mod words;

/// How often it is looked again because the repository changed meanwhile.
const MOST_ATTEMPTS: u32 = 3;

/// Which packs are read in full: those whose names begin with one of these bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading([bool; 256]);

impl Reading {
    /// Only the structure.
    pub fn nothing() -> Self {
        Self([false; 256])
    }

    /// All data.
    pub fn everything() -> Self {
        Self([true; 256])
    }

    /// Packs whose names begin with one of these bytes.
    pub fn beginning_with(bytes: impl IntoIterator<Item = u8>) -> Self {
        let mut reading = Self::nothing();
        bytes.into_iter().for_each(|byte| reading.0[usize::from(byte)] = true);
        reading
    }

    /// The part `number` of `count`, both from 1: all parts together are everything.
    pub fn part(number: u32, count: u32) -> Self {
        let is_in = |byte: &u8| u32::from(*byte) % count.max(1) == number.saturating_sub(1);
        Self::beginning_with((0..=255).filter(is_in))
    }

    fn has(&self, id: &Id) -> bool {
        self.0[usize::from(first_byte(id))]
    }
}

/// What a repository holds of the packs whose names begin with one byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// The byte.
    pub first: u8,
    /// Packs.
    pub packs: u64,
    /// Their length.
    pub bytes: u64,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct CheckReport {
    /// Snapshots.
    pub snapshots: u64,
    /// Those of which nothing is known to be lost.
    pub snapshots_whole: u64,
    /// Folders in them, each counted once.
    pub trees: u64,
    /// Pieces of content that are known.
    pub blobs: u64,
    /// Packs.
    pub packs: u64,
    /// Their length.
    pub bytes: u64,
    /// Packs that were read in full.
    pub packs_read: u64,
    /// Their length.
    pub bytes_read: u64,
    /// Packs that nothing refers to, such as those of an interrupted backup; a prune removes them.
    pub packs_unused: u64,
    /// What is wrong, the worst first.
    pub damages: Vec<Damage>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// A snapshot that could be read.
#[derive(Debug, Clone)]
struct Whole {
    id: Id,
    time: Timestamp,
    root: Id,
    /// The tasks that made it, by its tags.
    tasks: Vec<String>,
}

/// Everything that one look at the repository gave.
struct Look {
    snapshots: Vec<Whole>,
    bad_snapshots: Vec<BadFile>,
    bad_keys: Vec<BadFile>,
    inventory: Inventory,
    reads: Vec<(PackNumber, Read)>,
    trees: Trees,
    losses: BTreeMap<Cause, Losses>,
    foreign: Vec<String>,
}

impl Look {
    /// The snapshots that lack something for good, by their numbers. What an index lost is not lost.
    fn hit(&self) -> BTreeSet<usize> {
        let lost = self.losses.iter().filter(|(cause, _)| **cause != Cause::Unlisted);
        lost.flat_map(|(_, losses)| losses.paths.values().flatten().copied()).collect()
    }

    fn is_fine(&self) -> bool {
        let unfit = |pack: &inventory::Pack| pack.is_indexed() && !pack.is_of_right_length();
        self.bad_snapshots.is_empty()
            && self.bad_keys.is_empty()
            && self.inventory.bad_indexes.is_empty()
            && self.losses.is_empty()
            && self.reads.iter().all(|(_, read)| read.is_fine())
            && !self.inventory.packs.iter().any(unfit)
    }
}

impl Repository {
    /// How the packs spread over the first bytes of their names; bytes without packs are left out.
    ///
    /// # Errors
    ///
    /// When the repository cannot be listed.
    pub fn parts(&self) -> Result<Vec<Part>, RepositoryError> {
        let mut parts = [Part::default(); 256];
        let packs = self.backend.list_with_size(FileType::Pack).map_err(failed(&self.url, "its packs were listed"))?;
        for (id, length) in packs {
            let part = &mut parts[usize::from(first_byte(&id))];
            part.packs += 1;
            part.bytes += u64::from(length);
        }
        let numbered = (0..=255).zip(parts).map(|(first, part)| Part { first, ..part });
        Ok(numbered.filter(|part| part.packs > 0).collect())
    }

    /// Looks at the whole structure and reads the packs that `reading` names. Damage is no error, but in the report.
    /// `tell` hears of bytes read and bytes to be read.
    ///
    /// # Errors
    ///
    /// When the repository cannot be listed, or `cancel` ended it.
    pub fn check(
        &self,
        reading: &Reading,
        cancel: &CancellationToken,
        tell: Tell,
    ) -> Result<CheckReport, RepositoryError> {
        let started = Instant::now();
        let _lock = self.lock_to_read(PATIENCE, cancel)?;
        let mut attempt = 1;
        let look = loop {
            let look = self.look(&self.cipher, reading, cancel, &tell)?;
            if cancel.is_cancelled() {
                return Err(RepositoryError::Ended);
            }
            if look.is_fine() || attempt == MOST_ATTEMPTS || !self.has_changed(&look)? {
                break look;
            }
            attempt += 1;
        };
        let sum = |packs: &mut dyn Iterator<Item = PackNumber>| -> u64 {
            packs.map(|number| u64::from(look.inventory.pack(number).length.unwrap_or(0))).sum()
        };
        let there = || (0..).zip(&look.inventory.packs).filter(|(_, pack)| pack.length.is_some());
        Ok(CheckReport {
            snapshots: (look.snapshots.len() + look.bad_snapshots.len()) as u64,
            snapshots_whole: self.whole(&look),
            trees: look.trees.count(),
            blobs: look.inventory.blob_count(),
            packs: there().count() as u64,
            bytes: sum(&mut there().map(|(number, _)| number)),
            packs_read: look.reads.len() as u64,
            bytes_read: sum(&mut look.reads.iter().map(|(number, _)| *number)),
            packs_unused: there().filter(|(_, pack)| !pack.is_indexed()).count() as u64,
            damages: words::damages(&self.url, &look),
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn whole(&self, look: &Look) -> u64 {
        (look.snapshots.len() - look.hit().len()) as u64
    }

    fn look(
        &self,
        cipher: &Cipher,
        reading: &Reading,
        cancel: &CancellationToken,
        tell: &Tell,
    ) -> Result<Look, RepositoryError> {
        let backend = &self.backend;
        let (snapshots, bad_snapshots) = self.read_snapshots(cipher)?;
        let inventory = Inventory::read(backend, cipher, &self.url)?;
        let layout = inventory.layout();
        let is_due = |pack: &inventory::Pack| {
            // What has another length than it was given is read at once, to know how much of it is left.
            pack.is_indexed() && pack.length.is_some() && (reading.has(&pack.id) || !pack.is_of_right_length())
        };
        let mut due: Vec<PackNumber> =
            (0..).zip(&inventory.packs).filter(|(_, pack)| is_due(pack)).map(|(number, _)| number).collect();
        let (mut reads, mut bad) = (Vec::new(), HashSet::new());
        let roots: Vec<Id> = snapshots.iter().map(|snapshot| snapshot.root).collect();
        let (trees, losses) = loop {
            let total = due.iter().map(|number| u64::from(inventory.pack(*number).length.unwrap_or(0))).sum();
            let counter = Counter::new(Arc::clone(tell), total);
            let reader = Reader { backend, cipher, cancel, counter: &counter };
            for (number, read) in reader.read_all(&inventory, &layout, &due) {
                bad.extend(read.bad.iter().map(|(entry, _)| (number, entry.id)));
                reads.push((number, read));
            }
            let walker = Walker { backend, cipher, inventory: &inventory, bad: &bad, cancel };
            let trees = walker.walk(roots.iter().copied());
            // A folder that does not read although its pack is there: the pack is read whole, to know what else is hit.
            let is_known = |number: &PackNumber| reads.iter().any(|(known, _)| known == number);
            due = trees.suspicious.iter().copied().filter(|number| !is_known(number)).collect();
            if due.is_empty() || cancel.is_cancelled() {
                let losses = walker.name(&trees, &roots);
                break (trees, losses);
            }
        };
        let foreign = foreign::list(&self.url);
        let bad_keys = self.bad_keys()?;
        Ok(Look { snapshots, bad_snapshots, bad_keys, inventory, reads, trees, losses, foreign })
    }

    fn read_snapshots(&self, cipher: &Cipher) -> Result<(Vec<Whole>, Vec<BadFile>), RepositoryError> {
        let (mut whole, mut bad) = (Vec::new(), Vec::new());
        let listed = self.backend.list_with_size(FileType::Snapshot);
        for (id, _) in listed.map_err(failed(&self.url, "its snapshots were listed"))? {
            let content = read_file(&self.backend, cipher, FileType::Snapshot, &id);
            let parsed =
                content.and_then(|content| serde_json::from_slice::<SnapshotFile>(&content).map_err(|_| Flaw::Garbled));
            match parsed {
                Ok(file) => {
                    let time = Timestamp(file.time.timestamp().as_millisecond());
                    let tasks = file.tags.iter().filter_map(|tag| tag.strip_prefix("upkeep:")).map(str::to_owned);
                    whole.push(Whole { id, time, root: *file.tree, tasks: tasks.collect() });
                }
                Err(flaw) => bad.push(BadFile { id, flaw }),
            }
        }
        whole.sort_by_key(|snapshot| (snapshot.time, snapshot.id));
        Ok((whole, bad))
    }

    fn bad_keys(&self) -> Result<Vec<BadFile>, RepositoryError> {
        bad_keys(&self.backend).map_err(failed(&self.url, "its keys were listed"))
    }

    /// Whether a backup, forget or prune changed the repository since it was looked at.
    fn has_changed(&self, look: &Look) -> Result<bool, RepositoryError> {
        let list = |kind, action| {
            let listed = self.backend.list_with_size(kind).map_err(failed(&self.url, action))?;
            Ok::<HashSet<Id>, RepositoryError>(listed.into_iter().map(|(id, _)| id).collect())
        };
        let seen: HashSet<Id> =
            look.snapshots.iter().map(|it| it.id).chain(look.bad_snapshots.iter().map(|it| it.id)).collect();
        Ok(list(FileType::Index, "its indexes were listed")? != look.inventory.indexes
            || list(FileType::Snapshot, "its snapshots were listed")? != seen)
    }
}

/// Key files whose content is not what their names say. They are not encrypted, so this needs no password.
fn bad_keys(backend: &Arc<dyn WriteBackend>) -> Result<Vec<BadFile>, Box<RusticError>> {
    let mut bad = Vec::new();
    for (id, _) in backend.list_with_size(FileType::Key)? {
        match backend.read_full(FileType::Key, &id) {
            Ok(bytes) if hash(&bytes) == id => {}
            Ok(_) => bad.push(BadFile { id, flaw: Flaw::Misnamed }),
            Err(_) => bad.push(BadFile { id, flaw: Flaw::Unreadable }),
        }
    }
    Ok(bad)
}

/// Why a repository does not open although its password is right: its `config` or its key is damaged. None when nothing
/// of that kind is to be seen.
pub(super) fn why_not_opened(
    url: &str,
    backend: &Arc<dyn WriteBackend>,
    is_wrong_password: bool,
) -> Option<RepositoryError> {
    let bad = bad_keys(backend).ok()?;
    if let Some(key) = bad.first() {
        let has_others = backend.list(FileType::Key).is_ok_and(|keys| keys.len() > bad.len());
        return Some(words::damaged_key(url, &key.id, key.flaw, has_others));
    }
    // The storage gives it, the key is right and the password fits, so its content is not what it was.
    let is_there = backend.read_full(FileType::Config, &Id::default()).is_ok();
    (is_there && !is_wrong_password).then(|| words::damaged_config(url))
}

/// What rustic_core says, with what was being done.
fn failed<'a>(url: &'a str, action: &'static str) -> impl Fn(Box<RusticError>) -> RepositoryError + use<'a> {
    move |error| RepositoryError::Failed { url: url.to_owned(), action, message: message(&error) }
}

fn first_byte(id: &Id) -> u8 {
    u8::from_str_radix(&id.to_hex().as_str()[..2], 16).unwrap_or_default()
}

#[cfg(test)]
mod tests;
