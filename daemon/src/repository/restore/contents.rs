//! Writing the content of files. The walk hands in files ([`Contents::add`]); their blobs are sorted by where they are in
//! the repository, and workers read stretches of packs and put each blob wherever it belongs.
//!
//! A file is written beside its name. Each blob is compared with its checksum when it was read and once more with what
//! the file then holds; the file gets its attributes and its name when the last blob is in its place. So whatever has
//! its real name is whole, whenever a restore is interrupted. Runs of zeros become holes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustic_core::repofile::Node;
use rustic_core::{DataId, Id};
use rustix::io::Errno;
use upkeep_archive::Opener;

use crate::repository::browse::{Place, Reader};
use crate::repository::restore::attributes::{Owners, What, give};
use crate::repository::restore::blob;
use crate::repository::restore::target::Folder;
use crate::repository::{Counter, Tell};

/// Content that is sorted at once.
const BATCH_BYTES: u64 = 64 << 20;

/// Files that are sorted at once: each may be open.
const BATCH_FILES: usize = 200;

/// What is read of a pack at once.
const STRETCH: u32 = 4 << 20;

/// Bytes between two blobs that are read along rather than read around.
const GAP: u32 = 64 << 10;

/// Stretches that wait for a worker.
const WAITING: usize = 16;

/// Bytes that are read back at once: few enough to stay in the processor's cache.
const BACK: usize = 128 << 10;

/// A file to write.
pub(super) struct Job {
    pub(super) folder: Arc<Folder>,
    pub(super) name: OsString,
    pub(super) part: OsString,
    /// For messages.
    pub(super) path: PathBuf,
    pub(super) node: Node,
    /// Whether something of its name may be replaced.
    pub(super) replace: bool,
    /// Whether the journals of an SQLite database of its name have to go: they are of another state.
    pub(super) is_dump: bool,
    left: AtomicUsize,
    state: Mutex<JobState>,
}

#[derive(Default)]
struct JobState {
    file: Option<Arc<File>>,
    failure: Option<String>,
}

impl Job {
    pub(super) fn new(folder: Arc<Folder>, name: OsString, part: OsString, path: PathBuf, node: Node) -> Self {
        Self {
            folder,
            name,
            part,
            path,
            node,
            replace: false,
            is_dump: false,
            left: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, JobState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, made when it is first needed; none when it failed before.
    fn file(&self) -> Result<Option<Arc<File>>, Errno> {
        let mut state = self.state();
        if state.failure.is_some() {
            return Ok(None);
        }
        if let Some(file) = &state.file {
            return Ok(Some(Arc::clone(file)));
        }
        let file = Arc::new(self.folder.make_part(&self.part)?);
        // Most files are one blob, and as long as that when it is written.
        if self.node.content.as_ref().is_some_and(|blobs| blobs.len() > 1) || self.node.meta.size >= blob::HOLE as u64 {
            rustix::fs::ftruncate(&*file, self.node.meta.size)?;
        }
        state.file = Some(Arc::clone(&file));
        Ok(Some(file))
    }

    fn fail(&self, reason: String) {
        self.state().failure.get_or_insert(reason);
    }
}

/// Where a blob goes to.
type Goal = (Arc<Job>, u64);

/// A stretch of a pack with the blobs in it.
struct Stretch {
    pack: Id,
    start: u32,
    end: u32,
    blobs: Vec<(DataId, Place, Vec<Goal>)>,
}

/// What a worker uses again and again.
struct Hands {
    opener: Opener,
    /// What is read back.
    back: Vec<u8>,
}

/// What the workers share.
struct Shared<'a> {
    reader: &'a Reader,
    owners: &'a Owners,
    counter: Counter,
    files: AtomicU64,
    /// Set when nothing more can be written.
    stopped: AtomicBool,
    reason: Mutex<Option<String>>,
    failures: Mutex<Vec<(PathBuf, String)>>,
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Files that got their names.
    pub(super) files: u64,
    /// Files that could not be written, and why.
    pub(super) failures: Vec<(PathBuf, String)>,
    /// Why it ended early.
    pub(super) stopped: Option<String>,
}

/// Files on their way.
pub(super) struct Contents<'a, 'b> {
    shared: &'b Shared<'a>,
    stretches: SyncSender<Stretch>,
    batch: Vec<Arc<Job>>,
    bytes: u64,
}

/// Writes the files that `walk` hands in; `total` is what all of them hold, for the progress.
pub(super) fn write<E>(
    reader: &Reader,
    owners: &Owners,
    total: u64,
    tell: &Tell,
    walk: impl FnOnce(&mut Contents<'_, '_>) -> Result<(), E>,
) -> Result<Written, E> {
    let shared = Shared {
        reader,
        owners,
        counter: Counter::new(Arc::clone(tell), total),
        files: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
        reason: Mutex::default(),
        failures: Mutex::default(),
    };
    let workers = std::thread::available_parallelism().map_or(4, |count| (count.get() * 2).clamp(2, 8));
    let (stretches, waiting) = sync_channel(WAITING);
    let waiting = Mutex::new(waiting);
    let walked = std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| shared.work(&waiting));
        }
        let mut contents = Contents { shared: &shared, stretches, batch: Vec::new(), bytes: 0 };
        let walked = walk(&mut contents);
        contents.flush();
        // The workers end when nothing can come any more.
        drop(contents);
        walked
    });
    walked?;
    shared.counter.finish();
    let into = |mutex: Mutex<Vec<_>>| mutex.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Written {
        files: shared.files.into_inner(),
        failures: into(shared.failures),
        stopped: shared.reason.into_inner().unwrap_or_else(PoisonError::into_inner),
    })
}

impl Contents<'_, '_> {
    /// Whether nothing more can be written.
    pub(super) fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Relaxed)
    }

    /// A file that cannot be written.
    pub(super) fn fail(&self, path: PathBuf, reason: String) {
        self.shared.fail(path, reason);
    }

    /// What the system says when something is made: some answers hold for all that would follow.
    pub(super) fn refused(&self, path: PathBuf, error: Errno) {
        self.shared.refused(path, error);
    }

    /// Takes a file.
    pub(super) fn add(&mut self, job: Job) {
        self.bytes += job.node.meta.size;
        self.batch.push(Arc::new(job));
        if self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH_FILES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.bytes = 0;
        let mut wanted: HashMap<DataId, (Place, Vec<Goal>)> = HashMap::new();
        for job in std::mem::take(&mut self.batch) {
            if !self.is_stopped() {
                self.shared.sort(&job, &mut wanted);
            }
        }
        let mut wanted: Vec<_> = wanted.into_iter().map(|(blob, (place, goals))| (blob, place, goals)).collect();
        wanted.sort_by_key(|(_, place, _)| *place);
        let mut stretch: Option<Stretch> = None;
        for (blob, place, goals) in wanted {
            match &mut stretch {
                Some(open)
                    if open.pack == place.pack
                        && place.start >= open.end
                        && place.start - open.end <= GAP
                        && place.end - open.start <= STRETCH =>
                {
                    open.end = place.end;
                    open.blobs.push((blob, place, goals));
                }
                _ => {
                    let next = Stretch {
                        pack: place.pack,
                        start: place.start,
                        end: place.end,
                        blobs: vec![(blob, place, goals)],
                    };
                    self.send(stretch.replace(next));
                }
            }
        }
        self.send(stretch);
    }

    fn send(&self, stretch: Option<Stretch>) {
        if let Some(stretch) = stretch {
            // The workers take all that comes until we hang up.
            let _ = self.stretches.send(stretch);
        }
    }
}

impl Shared<'_> {
    fn work(&self, waiting: &Mutex<Receiver<Stretch>>) {
        let mut hands = Hands { opener: self.reader.opener(), back: vec![0; BACK] };
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match next {
                Ok(stretch) if !self.stopped.load(Ordering::Relaxed) => self.put(stretch, &mut hands),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// Notes where the blobs of a file go to. What an interrupted restore put there is not written again.
    fn sort(&self, job: &Arc<Job>, wanted: &mut HashMap<DataId, (Place, Vec<Goal>)>) {
        let mut goals: Vec<(DataId, Place, u64)> = Vec::new();
        let mut offset = 0;
        for blob in job.node.content.iter().flatten() {
            let Some(place) = self.reader.place(blob) else {
                let reason =
                    format!("its blob {blob} is not in the repository; `upkeep backup check` tells what is lost");
                return self.fail(job.path.clone(), reason);
            };
            goals.push((*blob, place, offset));
            offset += u64::from(place.length);
        }
        if offset != job.node.meta.size {
            let reason = format!("the snapshot has {offset} of its {} bytes", job.node.meta.size);
            return self.fail(job.path.clone(), reason);
        }
        if !job.folder.is_new()
            && let Some(file) = job.folder.reopen_part(&job.part)
            && file.metadata().is_ok_and(|found| found.len() == job.node.meta.size)
        {
            goals.retain(|(blob, place, offset)| {
                let is_there = blob::holds(&file, *offset, place.length, blob);
                if is_there {
                    self.counter.add(u64::from(place.length));
                }
                !is_there
            });
            job.state().file = Some(Arc::new(file));
        }
        job.left.store(goals.len(), Ordering::Release);
        if goals.is_empty() {
            // A file without content is made here.
            match job.file() {
                Ok(_) => self.complete(job),
                Err(error) => self.refused(job.path.clone(), error),
            }
        }
        for (blob, place, offset) in goals {
            wanted.entry(blob).or_insert_with(|| (place, Vec::new())).1.push((Arc::clone(job), offset));
        }
    }

    fn put(&self, stretch: Stretch, hands: &mut Hands) {
        let read = self.reader.read(stretch.pack, stretch.start, stretch.end);
        for (blob, place, goals) in stretch.blobs {
            // What cannot be read as a whole is tried blob by blob: mostly one place of a pack is damaged.
            let sealed = match &read {
                Ok(bytes) => {
                    let from = place.start - stretch.start;
                    Ok(bytes.slice(from as usize..(from + place.end - place.start) as usize))
                }
                Err(_) => self.reader.read(place.pack, place.start, place.end),
            };
            let content = match &sealed {
                Ok(sealed) => hands.opener.blob(sealed, place.raw, &blob),
                Err(flaw) => Err(*flaw),
            };
            for (job, offset) in goals {
                if self.stopped.load(Ordering::Relaxed) {
                    return;
                }
                match content {
                    Ok(content) => {
                        if let Err(error) = put_blob(&job, offset, content, &mut hands.back) {
                            self.refused(job.path.clone(), error);
                            job.fail(Errno::to_string(&error));
                        }
                        self.counter.add(content.len() as u64);
                    }
                    Err(flaw) => {
                        job.fail(format!(
                            "the pack {} is damaged: the blob {blob}: {flaw}",
                            stretch.pack.to_hex().as_str()
                        ));
                    }
                }
                if job.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.complete(&job);
                }
            }
        }
    }

    /// All blobs of a file are in their places, or could not be had.
    fn complete(&self, job: &Job) {
        let (file, failure) = {
            let mut state = job.state();
            (state.file.take(), state.failure.take())
        };
        if self.stopped.load(Ordering::Relaxed) {
            return;
        }
        if let Some(reason) = failure {
            drop(file);
            // It cannot become whole.
            let _ = job.folder.remove(&job.part);
            return self.fail(job.path.clone(), reason);
        }
        let Some(file) = file else { return };
        give(What::Open(file.as_fd()), &job.node, self.owners);
        let named = job.remove_journals(&file).and_then(|()| job.folder.complete(&job.part, &job.name, job.replace));
        match named {
            Ok(()) => drop(self.files.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                let _ = job.folder.remove(&job.part);
                self.refused(job.path.clone(), error);
            }
        }
    }

    fn fail(&self, path: PathBuf, reason: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.iter().any(|(known, _)| *known == path) {
            failures.push((path, reason));
        }
    }

    fn refused(&self, path: PathBuf, error: Errno) {
        let remedy = match error {
            Errno::NOSPC | Errno::DQUOT => "the disk is full, make room",
            Errno::ROFS => "the filesystem is read-only, mount it for writing",
            Errno::IO => "the disk fails, choose another target",
            Errno::MFILE | Errno::NFILE => "too many open files, raise `ulimit -n`",
            _ => return self.fail(path, Errno::to_string(&error)),
        };
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.get_or_insert(format!("{}: {remedy} ({error})", path.display()));
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl Job {
    /// SQLite would play a journal of another state into the database that comes.
    fn remove_journals(&self, file: &File) -> Result<(), Errno> {
        let mut start = [0; 16];
        if !self.is_dump || file.read_exact_at(&mut start, 0).is_err() || start != *b"SQLite format 3\0" {
            return Ok(());
        }
        for suffix in JOURNALS {
            let mut journal = self.name.clone();
            journal.push(suffix);
            self.folder.remove(&journal)?;
        }
        Ok(())
    }
}

fn put_blob(job: &Job, offset: u64, content: &[u8], back: &mut [u8]) -> Result<(), Errno> {
    match job.file()? {
        Some(file) => blob::write(&file, offset, content, back),
        None => Ok(()),
    }
}

/// What SQLite puts beside a database.
pub(super) const JOURNALS: [&str; 3] = ["-wal", "-shm", "-journal"];
