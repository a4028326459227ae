//! Backup repositories in restic's format: opened or made, filled, listed and restored from. rustic_core does the
//! format, `upkeep_archive` the way in; what is read ([`source`]), what is written ([`gate`]) and what comes back
//! ([`restore`]) is kept in hand here.
//!
//! Everything in here waits for disks: call it on a thread made for waiting. Two backups into one repository may run at
//! the same time, in this process or another.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustic_core::jiff;
use rustic_core::repofile::{MasterKey, SnapshotFile};
use rustic_core::{
    Credentials, FileType, Id, Open, OpenStatus, ReadSource, ReadSourceOpen, RepositoryBackends, RepositoryOptions,
    RusticError, SnapshotOptions, WriteBackend,
};
use tokio_util::sync::CancellationToken;
use upkeep_archive::Cipher;

use crate::clock::Timestamp;
use crate::config::secret::SecretError;
use crate::repository::progress::Bars;
use crate::storage::Storage;
use crate::storage::throttle::Bucket;

pub use crate::repository::entropy::Content;
pub(crate) use crate::repository::progress::Counter;
pub use crate::repository::progress::Tell;

mod backup;
pub mod browse;
pub mod check;
pub mod copy;
mod entropy;
mod gate;
mod key;
pub mod lock;
mod node;
mod open;
mod progress;
pub mod prune;
pub mod restore;
pub mod source;
pub mod stream;

/// How long a backup waits for one that forgets or prunes, and those for it.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Problems that a summary names; further ones are counted.
const MOST_PROBLEMS: usize = 1_000;

/// Why a repository does not do what was asked. The text names the repository and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The address, an option or what an option names has no meaning.
    #[error("`{url}` cannot be used as a repository: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The password cannot be had.
    #[error("the repository {url}: {source}")]
    Secret {
        /// The address.
        url: String,
        /// Why.
        source: SecretError,
    },
    /// Nothing is there.
    #[error(
        "there is no repository at {0}; the first backup makes it. Where there was one: is its disk mounted, is the address right?"
    )]
    Missing(String),
    /// The password does not open it.
    #[error("the password does not open the repository {0}; `restic -r {0} key list` shows which keys it has")]
    Password(String),
    /// Something is there that is neither a repository nor an empty place.
    #[error("{url} is no repository, and not empty either: {reason}")]
    Occupied {
        /// The address.
        url: String,
        /// What is there.
        reason: String,
    },
    /// No snapshot, or several, answer to the name.
    #[error("the repository {url} has no single snapshot `{name}`: {reason}")]
    Snapshot {
        /// The address.
        url: String,
        /// What was asked for.
        name: String,
        /// What there is instead.
        reason: String,
    },
    /// A restore would meet what it must not, or did not give back what was saved.
    #[error("{0}")]
    Restore(String),
    /// What was to be removed is not there, or must stay.
    #[error("{0}")]
    Removal(String),
    /// What was to be saved failed while it was made; there is no snapshot.
    #[error("nothing was saved: {0}")]
    Source(String),
    /// Another one works on it, and would be disturbed.
    #[error("the repository {url} is locked: {holder}; {remedy}")]
    Locked {
        /// The address.
        url: String,
        /// Who holds which lock since when.
        holder: String,
        /// What to do.
        remedy: String,
    },
    /// Nobody may write there.
    #[error("the repository {url} cannot be locked: {message}")]
    ReadOnly {
        /// The address.
        url: String,
        /// Why not.
        message: String,
    },
    /// The work was ended from outside.
    #[error("the run was ended before the snapshot was complete; nothing of it is shown")]
    Cancelled,
    /// Work that only looks was ended from outside.
    #[error("the run was ended before it was done")]
    Ended,
    /// A file without which nothing can be opened is not what it was.
    #[error("the repository {url} cannot be opened: {reason}")]
    Damaged {
        /// The address.
        url: String,
        /// The file, below the repository.
        file: String,
        /// What is lost, what is not, and what to do.
        reason: String,
    },
    /// The repository or its disk fails.
    #[error("the repository {url} failed while {action}: {message}")]
    Failed {
        /// The address.
        url: String,
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        message: String,
    },
}

/// An open repository. It holds the key and shows it to nobody.
#[derive(Clone)]
pub struct Repository {
    url: String,
    backend: Arc<dyn WriteBackend>,
    storage: Storage,
    key: MasterKey,
    cipher: Cipher,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A snapshot, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Snapshot {
    /// 64 hexadecimal digits.
    pub id: String,
    /// When its backup began.
    pub time: Timestamp,
    /// What to add to UTC for the time of the clock where it was made, in seconds.
    pub utc_offset: i32,
    /// Name of the host.
    pub host: String,
    /// What was saved: absolute paths.
    pub paths: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Files, where the program that made it noted that.
    pub files: Option<u64>,
    /// Bytes of the files, where the program that made it noted that.
    pub bytes: Option<u64>,
    /// What its backup did, where the program that made it noted that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
}

/// What a snapshot says of its backup.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Changes {
    /// Files that the snapshot before did not have.
    pub files_new: u64,
    /// Files that were different there.
    pub files_changed: u64,
    /// Files that were the same there.
    pub files_unmodified: u64,
    /// Bytes that the repository grew by.
    pub bytes_added: u64,
}

impl Snapshot {
    /// The first digits of its identifier, by which people call it.
    pub fn short(&self) -> &str {
        self.id.get(..8).unwrap_or(&self.id)
    }
}

/// What is noted with a snapshot.
#[derive(Debug, Clone)]
pub struct Label {
    /// Name of the host.
    pub host: String,
    /// Tags.
    pub tags: Vec<String>,
    /// When the backup began.
    pub time: Timestamp,
}

/// What a backup did.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Identifier of the snapshot, 64 hexadecimal digits.
    pub snapshot: String,
    /// The snapshot before, with which it was compared.
    pub parent: Option<String>,
    /// Files, links and devices in it.
    pub files: u64,
    /// Those that the snapshot before did not have.
    pub files_new: u64,
    /// Those that were different there.
    pub files_changed: u64,
    /// Those that were the same there.
    pub files_unmodified: u64,
    /// Those that are there and not here; none where there is no snapshot before, or where it does not tell.
    pub files_removed: Option<u64>,
    /// Bytes read from the source.
    pub bytes_read: u64,
    /// What the content that was read looks like.
    pub content: Content,
    /// Bytes read, or taken over from the snapshot before.
    pub bytes: u64,
    /// Bytes that the repository grew by.
    pub bytes_added: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Of that: until the index of the repository was read.
    pub opening_ms: u64,
    /// Of that: while the source was read. The rest was writing what was left, and the index.
    pub reading_ms: u64,
    /// What could not be read, as `path: reason`.
    pub problems: Vec<String>,
}

/// What the parts of one backup share: whether it goes on, and what went wrong.
#[derive(Debug, Default)]
pub struct Watch {
    cancel: CancellationToken,
    /// How fast the source is read at the most.
    rate: Option<Arc<Bucket>>,
    /// Bytes that were given to the repository's storage.
    written: std::sync::atomic::AtomicU64,
    state: Mutex<WatchState>,
}

#[derive(Debug, Default)]
struct WatchState {
    problems: Vec<String>,
    untold: u64,
    /// What was given to the archiver that is not a folder, less what could not be read.
    files: u64,
    /// What was read.
    content: Content,
    /// When the source had no further entry.
    read: Option<std::time::Instant>,
    /// Why the repository could not be written, the first time.
    failure: Option<String>,
}

impl Watch {
    /// A backup that `cancel` ends.
    pub fn new(cancel: CancellationToken) -> Arc<Self> {
        Arc::new(Self { cancel, ..Self::default() })
    }

    /// The same, with what paces the reading of the source.
    pub fn paced(cancel: CancellationToken, rate: Option<Arc<Bucket>>) -> Arc<Self> {
        Arc::new(Self { cancel, rate, ..Self::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn problem(&self, problem: String) {
        let mut state = self.state();
        if state.problems.len() < MOST_PROBLEMS {
            state.problems.push(problem);
        } else {
            state.untold += 1;
        }
    }

    /// One file less than was given to the archiver.
    fn lose(&self) {
        let mut state = self.state();
        state.files = state.files.saturating_sub(1);
    }

    fn take_problems(&self) -> Vec<String> {
        let mut state = self.state();
        let mut problems = std::mem::take(&mut state.problems);
        if state.untold > 0 {
            problems.pop();
            problems.push(format!("and {} more", state.untold + 1));
        }
        problems
    }
}

/// What can be backed up.
pub trait Source: ReadSource<Open: ReadSourceOpen + Send + 'static, Iter: Send> + 'static {
    /// The absolute path that the snapshot names.
    fn path(&self) -> std::path::PathBuf;
    /// What its parts share.
    fn watch(&self) -> &Arc<Watch>;
    /// Why a stream failed.
    fn failure(&self) -> Option<String> {
        None
    }
}

impl Repository {
    /// All snapshots, oldest first.
    ///
    /// # Errors
    ///
    /// When the repository cannot be read.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, RepositoryError> {
        let repository = self.session(Arc::clone(&self.backend), Bars::silent())?;
        let snapshots = self.list_snapshots(&repository)?;
        let mut snapshots: Vec<_> = snapshots.iter().map(snapshot).collect();
        snapshots.sort_by(|one, other| (one.time, &one.id).cmp(&(other.time, &other.id)));
        Ok(snapshots)
    }

    /// Reads all snapshots. One that is removed between the listing and the reading is no error.
    fn list_snapshots<S: Open>(
        &self,
        repository: &rustic_core::Repository<S>,
    ) -> Result<Vec<SnapshotFile>, RepositoryError> {
        let listed = || self.backend.list(FileType::Snapshot).map(BTreeSet::from_iter);
        let mut before: Option<BTreeSet<Id>> = listed().ok();
        loop {
            let failed = match repository.get_all_snapshots() {
                Ok(snapshots) => return Ok(snapshots),
                Err(error) => self.failed("its snapshots were listed")(error),
            };
            match listed().ok() {
                now @ Some(_) if now != before => before = now,
                _ => return Err(failed),
            }
        }
    }

    fn label(&self, label: Label) -> Result<SnapshotFile, RepositoryError> {
        let time = jiff::Timestamp::from_millisecond(label.time.0).unwrap_or_default();
        let options = SnapshotOptions::default()
            .host(label.host)
            .time(time.to_zoned(jiff::tz::TimeZone::system()))
            .command(String::new());
        let mut snapshot = options.to_snapshot().map_err(self.failed("a snapshot was begun"))?;
        snapshot.program_version = concat!("upkeep ", env!("CARGO_PKG_VERSION")).to_owned();
        snapshot.uid = rustix::process::getuid().as_raw();
        snapshot.gid = rustix::process::getgid().as_raw();
        snapshot.username = node::user_name(snapshot.uid).unwrap_or_default();
        for tag in label.tags {
            snapshot.tags.add(tag);
        }
        Ok(snapshot)
    }

    /// Opens the repository once more, with the key that is known already, for one piece of work.
    fn session(
        &self,
        backend: Arc<dyn WriteBackend>,
        bars: Bars,
    ) -> Result<rustic_core::Repository<OpenStatus>, RepositoryError> {
        let options = RepositoryOptions::default().no_cache(true);
        rustic_core::Repository::new_with_progress(&options, &RepositoryBackends::new(backend, None), bars)
            .and_then(|repository| repository.open(&Credentials::Masterkey(self.key.clone())))
            .map_err(self.failed("it was opened"))
    }

    fn failed(&self, action: &'static str) -> impl Fn(Box<RusticError>) -> RepositoryError + use<'_> {
        move |error| RepositoryError::Failed { url: self.url.clone(), action, message: message(&error) }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What rustic_core says, as one line.
fn message(error: &RusticError) -> String {
    let text = error.display_log();
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    // Where RUST_BACKTRACE is set, it comes along; it is for nobody who runs upkeep.
    let text = text.split("Backtrace:").next().unwrap_or(text);
    // What it is related to is for the developers of rustic_core.
    let text = match text.split_once(" (kind: related to ") {
        Some((start, rest)) => format!("{start}{}", rest.split_once(')').map_or("", |(_, end)| end)),
        None => text.to_owned(),
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn snapshot(file: &SnapshotFile) -> Snapshot {
    Snapshot {
        id: file.id.to_hex().as_str().to_owned(),
        time: Timestamp(file.time.timestamp().as_millisecond()),
        utc_offset: file.time.offset().seconds(),
        host: file.hostname.clone(),
        paths: file.paths.iter().cloned().collect(),
        tags: file.tags.iter().filter(|tag| !tag.is_empty()).cloned().collect(),
        files: file.summary.as_ref().map(|summary| summary.total_files_processed),
        bytes: file.summary.as_ref().map(|summary| summary.total_bytes_processed),
        changes: file.summary.as_ref().map(|summary| Changes {
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unmodified: summary.files_unmodified,
            bytes_added: summary.data_added_packed,
        }),
    }
}
