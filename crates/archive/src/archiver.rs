//! The flow of a backup: who walks, who reads, who writes, and in which order it comes together again.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::Sender;
use rustic_core::jiff::{Unit, Zoned};
use rustic_core::repofile::{ConfigFile, SnapshotFile, SnapshotSummary};
use rustic_core::{FileType, Id, TreeId, WriteBackend};

use crate::chunker::Cuts;
use crate::id::Sha;
use crate::index::Known;
use crate::open::Cipher;
use crate::parent::Parent;
use crate::seal::Sealer;
use crate::store::{Store, unwritable};
use crate::tree::Trees;
use crate::walk::Walk;
use crate::worker::{Pool, Worker, Workshop};
use crate::{ArchiveError, Entry};

/// Threads that write packs: while one waits for the disk, the other one does not.
const WRITERS: usize = 2;

/// Entries that are handed over at a time, and how often that may be ahead: to hand over each would cost more than the
/// rest of it.
const BATCH: usize = 32;
const BATCHES: usize = 3;

/// Where to and how a backup goes.
pub struct Request<'a> {
    /// The storage of the repository.
    pub backend: Arc<dyn WriteBackend>,
    /// Its key.
    pub cipher: &'a Cipher,
    /// Its settings.
    pub config: &'a ConfigFile,
    /// The snapshot of the same source before this one.
    pub parent: Option<&'a SnapshotFile>,
    /// Is called with the bytes of each piece that is done.
    pub tell: &'a (dyn Fn(u64) + Sync),
}

/// Lets those who write packs end, also where something broke.
struct Closing<'a>(&'a Store);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Saves entries as the snapshot, of which everything but tree, parent and summary is set. It is written last: when it
/// is there, everything else is.
///
/// # Errors
///
/// When the repository cannot be read or written. Then there is no snapshot; what was written already is found again by
/// the next backup, or taken away by `prune`.
pub fn archive(
    request: &Request<'_>,
    entries: &mut (dyn Iterator<Item = Entry> + Send),
    mut snapshot: SnapshotFile,
) -> Result<SnapshotFile, ArchiveError> {
    // Two at least, since one may have to wait for the disk.
    let threads = thread::available_parallelism().map_or(2, |it| it.get().max(2));
    let cuts = Cuts::new(request.config)?;
    let level = request.config.zstd()?;
    let sealer = || Sealer::new(request.cipher, level, request.config.extra_verify());
    let known = Known::read(&*request.backend, request.cipher, threads)?;
    let mut summary = snapshot.summary.take().unwrap_or_default();
    summary.backup_start = Zoned::now();
    let before = request.parent.map(|parent| Sha::from(*parent.tree));
    snapshot.parent = request.parent.map(|parent| parent.id);
    snapshot.parents = snapshot.parent.into_iter().collect();

    // Of no length: a pack that waits is memory.
    let (full, packs) = crossbeam_channel::bounded(0);
    let store = Store::new(Arc::clone(&request.backend), request.config, known, full);
    let (jobs_in, jobs) = crossbeam_channel::unbounded();
    let (aside, offered) = crossbeam_channel::bounded(threads);
    let (done_in, done) = crossbeam_channel::unbounded();
    let idle = AtomicUsize::new(0);
    let shop = Workshop {
        store: &store,
        cuts: &cuts,
        tell: request.tell,
        jobs,
        offered,
        done: done_in,
        idle,
        pool: Pool::new(2 * threads),
        zeros: Mutex::default(),
    };
    let sealers = (0..threads + WRITERS).map(|_| sealer()).collect::<Result<Vec<_>, _>>()?;
    let parent = Parent::new(&store, request.cipher.clone(), before);
    let walk = Walk::new(&store, request.tell, parent, Trees::new(&store, sealer()?, summary), jobs_in, done);

    let mut trees = thread::scope(|scope| {
        let closing = Closing(&store);
        let mut sealers = sealers.into_iter();
        let store = &store;
        let write = |sealer| {
            let packs = packs.clone();
            scope.spawn(move || store.write_packs(&packs, sealer))
        };
        let writers: Vec<_> = sealers.by_ref().take(WRITERS).map(write).collect();
        let shop = &shop;
        let work = |sealer| {
            let worker = Worker::new(shop, aside.clone(), sealer);
            scope.spawn(move || worker.work())
        };
        let workers: Vec<_> = sealers.map(work).collect();
        drop((aside, packs));
        let (seen, coming) = crossbeam_channel::bounded(BATCHES);
        let looking = scope.spawn(move || look(store, entries, &seen));
        let walked = walk.all(coming.into_iter().flatten());
        looking.join().unwrap_or_else(|panic| resume_unwind(panic));
        for worker in workers {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        let finished = walked.and_then(|mut trees| {
            let top = trees.finish(before)?;
            store.flush()?;
            Ok((trees, top))
        });
        drop(closing);
        for writer in writers {
            writer.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        // The first failure is the reason for all others.
        store.take_failure().map_or(finished, Err)
    })?;

    store.finish_index(trees.0.sealer())?;
    snapshot.tree = TreeId::from(Id::from(trees.1));
    snapshot.summary = Some(sum_up(std::mem::take(&mut trees.0.summary), &store, &snapshot.time));
    let json = serde_json::to_vec(&snapshot).map_err(unwritable)?;
    snapshot.id = store.write_file(FileType::Snapshot, &json, trees.0.sealer())?.into();
    Ok(snapshot)
}

/// Gathers entries while others are compared: both take about as long, and together they are all that a backup without
/// changes does.
fn look(store: &Store, entries: &mut (dyn Iterator<Item = Entry> + Send), seen: &Sender<Vec<Entry>>) {
    loop {
        let batch: Vec<_> = entries.take(BATCH).collect();
        // Nobody listens any more after a failure.
        if batch.is_empty() || store.has_failed() || seen.send(batch).is_err() {
            return;
        }
    }
}

fn sum_up(mut summary: SnapshotSummary, store: &Store, begun: &Zoned) -> SnapshotSummary {
    let get = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Acquire);
    let (data, trees) = (&store.added_data, &store.added_trees);
    summary.data_blobs = get(&data.blobs);
    summary.tree_blobs = get(&trees.blobs);
    summary.data_added_files = get(&data.bytes);
    summary.data_added_files_packed = get(&data.packed);
    summary.data_added_trees = get(&trees.bytes);
    summary.data_added_trees_packed = get(&trees.packed);
    summary.data_added = summary.data_added_files + summary.data_added_trees;
    summary.data_added_packed = summary.data_added_files_packed + summary.data_added_trees_packed;
    let now = Zoned::now();
    let since = |begin: &Zoned| now.since(begin).and_then(|span| span.total(Unit::Second)).unwrap_or_default();
    summary.backup_duration = since(&summary.backup_start);
    summary.total_duration = since(begun);
    summary.backup_end = now;
    summary
}
