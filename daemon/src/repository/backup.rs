//! Saving a source as one snapshot.
//!
//! `upkeep_archive` does the work; here stands what belongs to upkeep: the lock, the gate before the storage, the snapshot
//! that this one is compared with, the progress, and whether what came out can be relied on.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustic_core::repofile::SnapshotFile;
use rustic_core::{OpenStatus, ProgressBars, ProgressType, ReadSourceEntry, ReadSourceOpen};
use upkeep_archive::{ArchiveError, Entry, Request};

use crate::repository::gate::Gate;
use crate::repository::lock::LockKind;
use crate::repository::progress::Bars;
use crate::repository::{
    Label, PATIENCE, Repository, RepositoryError, Source, Summary, Tell, message, milliseconds, open,
};

/// How long a backup takes before it is counted how much there is to do: who is done sooner needs no total.
const COUNTS_AFTER: Duration = Duration::from_millis(500);

impl Repository {
    /// Saves a source as one snapshot. What cannot be read is left out and told in the summary. `tell` hears of bytes done
    /// and bytes in all, a few times a second.
    ///
    /// # Errors
    ///
    /// When the repository cannot be written, or the run was ended: then there is no snapshot.
    pub fn backup(&self, source: &impl Source, label: Label, tell: Tell) -> Result<Summary, RepositoryError> {
        let started = Instant::now();
        let watch = Arc::clone(source.watch());
        let lock = self.lock(LockKind::Shared, PATIENCE, &watch.cancel)?;
        let gate =
            Gate::new(Arc::clone(&self.backend), open::folder(&self.url), Arc::clone(&watch), Some(lock.watch()));
        let repository = self.session(Arc::clone(&self.backend), Bars::silent())?;
        let mut snapshot = self.label(label)?;
        snapshot.paths.add(self.path_of(source)?);
        let parent = self.parent(&repository, &snapshot)?;
        let opened = started.elapsed();
        let progress = Bars::telling(tell).progress(ProgressType::Bytes, "");
        let archived = std::thread::scope(|scope| {
            let (ended, end) = channel::<()>();
            let counted = &progress;
            scope.spawn(move || {
                if end.recv_timeout(COUNTS_AFTER) == Err(RecvTimeoutError::Timeout)
                    && let Ok(Some(total)) = source.size()
                {
                    counted.set_length(total);
                }
            });
            let request = Request {
                backend: Arc::new(gate),
                cipher: &self.cipher,
                config: repository.config(),
                parent: parent.as_ref(),
                tell: &|bytes| progress.inc(bytes),
            };
            let mut entries = source.entries().filter_map(Result::ok).map(entry);
            let archived = upkeep_archive::archive(&request, &mut entries, snapshot);
            drop(ended);
            archived
        });
        progress.finish();
        let read = watch.state().read.map_or(started.elapsed(), |read| read.saturating_duration_since(started));
        if watch.cancel.is_cancelled() {
            return Err(RepositoryError::Cancelled);
        }
        let failed =
            |message| RepositoryError::Failed { url: self.url.clone(), action: "a backup was written", message };
        if let Some(failure) = source.failure() {
            return Err(RepositoryError::Source(failure));
        }
        if let Some(failure) = watch.state().failure.take() {
            return Err(failed(failure));
        }
        let snapshot = archived.map_err(|error| match error {
            ArchiveError::Storage(error) => failed(message(&error)),
            error => failed(error.to_string()),
        })?;
        let Some(summary) = snapshot.summary.clone() else { return Err(failed("it gave no summary".to_owned())) };
        let (expected, found) = (watch.state().files, summary.total_files_processed);
        if expected != found {
            let id = snapshot.id.to_string();
            return Err(failed(format!(
                "the snapshot {id} holds {found} files instead of {expected}; do not rely on it"
            )));
        }
        let content = watch.state().content.clone();
        let had = parent.and_then(|parent| parent.summary).map(|summary| summary.total_files_processed);
        Ok(Summary {
            snapshot: snapshot.id.to_hex().as_str().to_owned(),
            parent: snapshot.parent.map(|parent| parent.to_hex().as_str().to_owned()),
            files: summary.total_files_processed,
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unmodified: summary.files_unmodified,
            files_removed: had.map(|had| had.saturating_sub(summary.files_changed + summary.files_unmodified)),
            bytes_read: content.bytes,
            content,
            bytes: summary.total_bytes_processed,
            bytes_added: summary.data_added_packed,
            duration_ms: milliseconds(started.elapsed()),
            opening_ms: milliseconds(opened),
            reading_ms: milliseconds(read.saturating_sub(opened)),
            problems: watch.take_problems(),
        })
    }

    fn path_of(&self, source: &impl Source) -> Result<String, RepositoryError> {
        source.path().into_os_string().into_string().map_err(|path| RepositoryError::Failed {
            url: self.url.clone(),
            action: "a snapshot was begun",
            message: format!("the path {} is not UTF-8, as the format wants it; give it another name", path.display()),
        })
    }

    /// The newest snapshot of the same paths by the same host. What is as it was then is not read again.
    fn parent(
        &self,
        repository: &rustic_core::Repository<OpenStatus>,
        snapshot: &SnapshotFile,
    ) -> Result<Option<SnapshotFile>, RepositoryError> {
        let is_of_same = |it: &SnapshotFile| {
            it.hostname == snapshot.hostname && it.paths == snapshot.paths && it.label == snapshot.label
        };
        let all = self.list_snapshots(repository)?;
        Ok(all.into_iter().filter(is_of_same).max_by(|one, other| one.time.cmp(&other.time)))
    }
}

/// An entry as the archiver takes it.
fn entry<O: ReadSourceOpen + Send + 'static>(entry: ReadSourceEntry<O>) -> Entry {
    let ReadSourceEntry { path, node, open } = entry;
    let open = open.map(|open| -> upkeep_archive::Open {
        Box::new(move || open.open().ok().map(|reader| Box::new(reader) as Box<dyn std::io::Read>))
    });
    Entry { path, node, open }
}
