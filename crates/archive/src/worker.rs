//! Reading files: cut, hashed, and sealed where their data is new.
//!
//! Each worker does a file from its first byte to its last, which needs no handing over. Only a worker that finds others
//! idle gives them chunks to seal, so that a single large file keeps all processors busy as well.

use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use rustic_core::DataId;
use rustic_core::repofile::BlobType;

use crate::chunker::Cuts;
use crate::id::Sha;
use crate::seal::Sealer;
use crate::store::Store;
use crate::{ArchiveError, Open};

/// Bytes that are read at a time.
const READ: usize = 256 << 10;

/// The largest buffer that is kept: most chunks fit into it, and few are much larger.
pub(crate) const KEPT: usize = 2 << 20;

/// Something to do.
pub(crate) enum Job {
    /// Read the file of the entry `number`.
    File { number: u64, size: u64, open: Open },
    /// Seal this data, which was claimed.
    Seal { id: Sha, chunk: Vec<u8> },
}

/// What has become of a file.
pub(crate) struct Done {
    pub(crate) number: u64,
    /// Its content and its size; none where it could not be read.
    pub(crate) content: Option<(Vec<DataId>, u64)>,
}

/// What all workers share.
pub(crate) struct Workshop<'a> {
    pub(crate) store: &'a Store,
    pub(crate) cuts: &'a Cuts,
    pub(crate) tell: &'a (dyn Fn(u64) + Sync),
    pub(crate) jobs: Receiver<Job>,
    /// Chunks that somebody else gave away.
    pub(crate) offered: Receiver<Job>,
    pub(crate) done: Sender<Done>,
    pub(crate) idle: AtomicUsize,
    pub(crate) pool: Pool,
    /// Chunks of zeros have one identifier for each length, and mostly there is one length.
    pub(crate) zeros: Mutex<Option<(usize, Sha)>>,
}

/// Buffers for chunks that are used again and again: to get memory from the system and give it back takes longer than to
/// fill it.
#[derive(Debug)]
pub(crate) struct Pool {
    buffers: Mutex<Vec<Vec<u8>>>,
    most: usize,
}

impl Pool {
    /// Keeps so many buffers.
    pub(crate) fn new(most: usize) -> Self {
        Self { buffers: Mutex::default(), most }
    }

    fn get(&self) -> Vec<u8> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < self.most && buffer.capacity() <= KEPT {
            buffers.push(buffer);
        }
    }
}

/// One of those who work, and its way to give chunks away as long as there are files to read.
pub(crate) struct Worker<'a> {
    shop: &'a Workshop<'a>,
    aside: Option<Sender<Job>>,
    sealer: Sealer,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(shop: &'a Workshop<'a>, aside: Sender<Job>, sealer: Sealer) -> Self {
        Self { shop, aside: Some(aside), sealer }
    }

    /// Works until no more files come and nobody gives chunks away any more.
    pub(crate) fn work(mut self) {
        while let Some(job) = self.next() {
            match job {
                Job::File { number, size, open } => {
                    let file =
                        AssertUnwindSafe(|| if self.shop.store.has_failed() { None } else { self.file(size, open) });
                    let content = catch_unwind(file).unwrap_or_else(|_| {
                        // Whoever waits for this file would wait for ever.
                        self.shop.store.fail(ArchiveError::Defect("a thread that reads files broke".to_owned()));
                        None
                    });
                    // Who asked is gone only after a failure.
                    let _ = self.shop.done.send(Done { number, content });
                }
                Job::Seal { id, chunk } => self.seal(id, chunk),
            }
        }
    }

    /// Chunks that were given away come first: they are in memory.
    fn next(&mut self) -> Option<Job> {
        if let Ok(job) = self.shop.offered.try_recv() {
            return Some(job);
        }
        self.shop.idle.fetch_add(1, Ordering::AcqRel);
        let file = match self.aside {
            None => None,
            Some(_) => crossbeam_channel::select! {
                recv(self.shop.offered) -> job => job.ok(),
                recv(self.shop.jobs) -> job => job.ok(),
            },
        };
        let job = file.or_else(|| {
            // No more files. When nobody has one, nobody holds the other end.
            self.aside = None;
            self.shop.offered.recv().ok()
        });
        self.shop.idle.fetch_sub(1, Ordering::AcqRel);
        job
    }

    fn seal(&mut self, id: Sha, chunk: Vec<u8>) {
        if let Err(error) = self.shop.store.add(&mut self.sealer, BlobType::Data, id, &chunk) {
            self.shop.store.fail(error);
        }
        self.shop.pool.put(chunk);
    }

    fn file(&mut self, size: u64, open: Open) -> Option<(Vec<DataId>, u64)> {
        let mut reader = open()?;
        let (mut content, mut bytes) = (Vec::new(), 0);
        let mut chunk = self.shop.pool.get();
        // Up to here it is known that no chunk ends.
        let mut seen = 0;
        loop {
            let missing = self.shop.cuts.least().saturating_sub(chunk.len());
            let want = wanted(size, bytes + chunk.len() as u64, READ.max(missing));
            match fill(&mut *reader, &mut chunk, want) {
                Err(_) => return None,
                Ok(0) => break,
                Ok(_) => {}
            }
            while let Some(cut) = self.shop.cuts.find(&chunk, seen + 1) {
                let mut rest = self.shop.pool.get();
                rest.extend_from_slice(&chunk[cut..]);
                chunk.truncate(cut);
                bytes += cut as u64;
                content.push(self.chunk(std::mem::replace(&mut chunk, rest)));
                seen = 0;
            }
            seen = chunk.len();
            if self.shop.store.has_failed() {
                return None;
            }
        }
        if chunk.is_empty() {
            self.shop.pool.put(chunk);
        } else {
            bytes += chunk.len() as u64;
            content.push(self.chunk(chunk));
        }
        Some((content, bytes))
    }

    fn chunk(&mut self, chunk: Vec<u8>) -> DataId {
        let length = chunk.len();
        let id = self.identify(&chunk);
        if !self.shop.store.known.claim(BlobType::Data, id) {
            self.shop.pool.put(chunk);
        } else if let Some(Job::Seal { id, chunk }) = self.give_away(Job::Seal { id, chunk }) {
            self.seal(id, chunk);
        }
        (self.shop.tell)(length as u64);
        DataId::from(rustic_core::Id::from(id))
    }

    /// Gives a large chunk to who is idle. Small ones are sealed faster than they are given away.
    fn give_away(&self, job: Job) -> Option<Job> {
        let is_large = matches!(&job, Job::Seal { chunk, .. } if chunk.len() > READ);
        match &self.aside {
            Some(aside) if is_large && self.shop.idle.load(Ordering::Acquire) > aside.len() => {
                aside.try_send(job).err().map(crossbeam_channel::TrySendError::into_inner)
            }
            _ => Some(job),
        }
    }

    /// Holes of files are read as zeros, and there may be a great many of them: to see that is faster than to hash them.
    fn identify(&self, chunk: &[u8]) -> Sha {
        if !is_zero(chunk) {
            return Sha::of(chunk);
        }
        let mut zeros = self.shop.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        match *zeros {
            Some((length, id)) if length == chunk.len() => id,
            _ => zeros.insert((chunk.len(), Sha::of(chunk))).1,
        }
    }
}

fn is_zero(chunk: &[u8]) -> bool {
    let (words, rest) = chunk.as_chunks::<64>();
    rest.iter().all(|byte| *byte == 0) && words.iter().all(|word| *word == [0; 64])
}

/// How much to read of a file of `size` bytes that should be, after `had` bytes.
fn wanted(size: u64, had: u64, most: usize) -> usize {
    match size.checked_sub(had) {
        // Another size than was said, or none was said.
        None => most,
        Some(0) if size == 0 => most.min(4_096),
        // One byte more than there should be, so that the end shows.
        Some(left) => usize::try_from(left).unwrap_or(most).saturating_add(1).min(most),
    }
}

/// Reads at most `want` bytes to the end of `chunk`, and says how many there were.
fn fill(reader: &mut dyn Read, chunk: &mut Vec<u8>, want: usize) -> std::io::Result<usize> {
    let begin = chunk.len();
    if chunk.capacity() < begin + want {
        // Most chunks are a little longer than the least, and are not to be copied as they grow.
        if begin > 0 || want > READ { chunk.reserve(want.max(READ * 4)) } else { chunk.reserve_exact(want) }
    }
    chunk.resize(begin + want, 0);
    let count = loop {
        match reader.read(&mut chunk[begin..]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => break result,
        }
    };
    chunk.truncate(begin + *count.as_ref().unwrap_or(&0));
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_there_is() {
        assert_eq!(wanted(5_000, 0, 1 << 18), 5_001);
        assert_eq!(wanted(5_000, 5_000, 1 << 18), 1);
        assert_eq!(wanted(5_000, 5_001, 1 << 18), 1 << 18, "it grows");
        assert_eq!(wanted(0, 0, 1 << 18), 4_096, "empty, or of unknown size");
        assert_eq!(wanted(u64::MAX, 0, 1 << 18), 1 << 18);
    }

    #[test]
    fn zeros_are_seen() {
        for length in [0, 1, 63, 64, 65, 1_000] {
            let mut chunk = vec![0; length];
            assert!(is_zero(&chunk));
            for place in 0..length {
                chunk[place] = 1;
                assert!(!is_zero(&chunk), "{place} of {length}");
                chunk[place] = 0;
            }
        }
    }
}
