//! Reading packs from their first byte to their last: every blob is decrypted, unpacked and compared with its name, and the
//! whole with the name of the pack.
//!
//! A pack is read in pieces of some megabytes, so that memory does not grow with its length, and to its end whatever is
//! found, so that what is whole in a damaged pack is known too.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustic_core::{FileType, Id, ReadBackend, WriteBackend};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use upkeep_archive::{Cipher, Flaw, Opener};

use crate::repository::check::header::Entry;
use crate::repository::check::inventory::{Inventory, Layout, Pack, PackNumber, read_header};
use crate::repository::progress::Counter;

/// Bytes that are read at once, unless a single blob is longer.
const PIECE: u32 = 8 << 20;

/// Packs that are read side by side.
const MOST_AT_ONCE: usize = 4;

/// What reading a pack showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Blobs that are lost with it, and why.
    pub(super) bad: Vec<(Entry, Flaw)>,
    /// Blobs in it.
    pub(super) blobs: usize,
    /// Whether the list of blobs at its end is not what it was.
    pub(super) is_header_bad: bool,
    /// Whether its bytes are others than those that were written.
    pub(super) is_changed: bool,
}

impl Read {
    pub(super) fn is_fine(&self) -> bool {
        self.bad.is_empty() && !self.is_header_bad && !self.is_changed
    }
}

/// Reads packs.
pub(super) struct Reader<'a> {
    pub(super) backend: &'a Arc<dyn WriteBackend>,
    pub(super) cipher: &'a Cipher,
    pub(super) cancel: &'a CancellationToken,
    pub(super) counter: &'a Counter,
}

impl Reader<'_> {
    /// Reads packs, some at a time. When the run is ended, what was not reached is left out.
    pub(super) fn read_all(
        &self,
        inventory: &Inventory,
        layout: &Layout,
        packs: &[PackNumber],
    ) -> Vec<(PackNumber, Read)> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Vec::new();
            while let Some(&number) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let read = self.read(inventory.pack(number), &inventory.blobs_of(number, layout));
                if self.cancel.is_cancelled() {
                    break;
                }
                found.push((number, read));
            }
            found
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_AT_ONCE).min(packs.len());
        let mut found = Vec::with_capacity(packs.len());
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                match worker.join() {
                    Ok(part) => found.extend(part),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        found.sort_unstable_by_key(|(number, _)| *number);
        found
    }

    /// Reads one pack, of which the indexes list `entries`.
    fn read(&self, pack: &Pack, entries: &[Entry]) -> Read {
        let mut found = Read { blobs: entries.len(), ..Read::default() };
        let length = pack.length.unwrap_or(0);
        let mut hasher = Sha256::new();
        let mut position = 0;
        let mut rest = entries;
        while !rest.is_empty() && !self.cancel.is_cancelled() {
            let (run, after) = rest.split_at(run(rest, position));
            rest = after;
            // What lies between the blobs belongs to the hash of the whole.
            let end = run.iter().map(end).max().unwrap_or(position);
            self.read_run(pack, run, position, end.min(length), &mut hasher, &mut found);
            position = end.min(length).max(position);
        }
        while position < length && !self.cancel.is_cancelled() {
            let end = length.min(position.saturating_add(PIECE));
            match self.bytes(&pack.id, position, end) {
                Some(bytes) => hasher.update(&bytes),
                None => found.is_changed = true,
            }
            self.counter.add(u64::from(end - position));
            position = end;
        }
        found.is_changed |= Id::new(hasher.finalize().into()) != pack.id;
        // The header is encrypted: whether it is right shows only after its code was compared.
        let listed = read_header(self.backend, self.cipher, &pack.id, length);
        let listed = listed.map(|listed| listed.into_iter().collect::<HashSet<_>>());
        found.is_header_bad = !listed.is_ok_and(|listed| entries.iter().all(|entry| listed.contains(entry)));
        found
    }

    /// Reads from `position` to `end`, in which the blobs of `run` lie as far as the file is long enough.
    fn read_run(&self, pack: &Pack, run: &[Entry], position: u32, end: u32, hasher: &mut Sha256, found: &mut Read) {
        let bytes = if end > position { self.bytes(&pack.id, position, end) } else { None };
        if let Some(bytes) = &bytes {
            hasher.update(bytes);
        }
        self.counter.add(u64::from(end.saturating_sub(position)));
        let mut opener = Opener::new(self.cipher);
        for entry in run {
            let flaw = match &bytes {
                _ if self::end(entry) > pack.length.unwrap_or(0) => Some(Flaw::CutOff),
                // One bad sector makes the whole piece unreadable; what lies beside it is read by itself.
                None => self.single(pack, entry).err(),
                Some(bytes) => {
                    let from = entry.offset.checked_sub(position).map(|from| from as usize);
                    let blob = from.and_then(|from| bytes.get(from..from + entry.length as usize));
                    blob.ok_or(Flaw::CutOff).and_then(|blob| opener.blob(blob, entry.raw, &entry.id)).err()
                }
            };
            found.bad.extend(flaw.map(|flaw| (*entry, flaw)));
        }
    }

    fn single(&self, pack: &Pack, entry: &Entry) -> Result<(), Flaw> {
        let bytes = self.bytes(&pack.id, entry.offset, end(entry)).ok_or(Flaw::Unreadable)?;
        self.cipher.open_blob(&bytes, entry.raw, &entry.id).map(|_| ())
    }

    fn bytes(&self, pack: &Id, from: u32, to: u32) -> Option<bytes::Bytes> {
        let bytes = self.backend.read_partial(FileType::Pack, pack, false, from, to - from).ok()?;
        (bytes.len() == (to - from) as usize).then_some(bytes)
    }
}

fn end(entry: &Entry) -> u32 {
    entry.offset.saturating_add(entry.length)
}

/// How many of the next blobs are read with one call.
fn run(entries: &[Entry], position: u32) -> usize {
    let fitting = entries.iter().take_while(|entry| end(entry).saturating_sub(position) <= PIECE).count();
    fitting.max(1)
}
