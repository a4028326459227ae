//! The journal of everything that happens, in SQLite: a transition is durable before anything acts on it.
//!
//! Flow: a caller hands [`Transition`]s to [`Store::commit`] and waits. One writer task takes everything that waits at
//! that moment, puts it into one transaction and answers all callers after the disk has it, so that a thousand
//! concurrent runs share a few syncs instead of paying one each. Log records alone do not wait: they ride on the next
//! commit, or on one of their own 200 ms later. Reading goes past the writer, over read-only connections.
//!
//! | module         | holds                                                               |
//! |----------------|---------------------------------------------------------------------|
//! | [`transition`] | what can be recorded                                                |
//! | `lock`         | one upkeep per state directory                                      |
//! | `database`     | the file, its settings and its format                               |
//! | `writer`       | the task that commits                                               |
//! | `wave`         | which transitions can share a statement                             |
//! | `apply`        | the statements                                                      |
//! | `rows`         | how many rows go with one statement                                 |
//! | `row`          | how values are written in columns                                   |
//! | `log_buffer`   | log records that wait for a commit                                  |
//! | `state`        | the tasks' keys and values                                          |
//! | `hold`         | what must stay in backup repositories                               |
//! | `egress`       | requests to other servers                                           |
//! | `outbox`       | messages that are to be delivered                                   |
//! | `alert`        | what upkeep itself reports, together with the messages about it     |
//! | `digest`       | what the daily digest asks                                          |
//! | `finding`      | findings beyond one run                                             |
//! | `consent`      | users' consents to messages                                         |
//! | `read`         | the questions that can be asked                                     |
//! | [`retention`]  | what is forgotten, and when                                         |

mod alert;
mod apply;
mod consent;
mod database;
mod digest;
mod egress;
mod error;
mod finding;
mod hold;
mod lock;
mod log_buffer;
mod outbox;
mod read;
pub mod retention;
mod row;
mod rows;
mod state;
pub mod transition;
mod wave;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};

use crate::record::LogRecord;

pub use self::alert::{AlertRecord, Dead};
pub use self::consent::ConsentFilter;
pub use self::database::{FORMAT, path};
pub use self::digest::{Runs, SentDigest};
pub use self::egress::EgressFilter;
pub use self::error::{StateError, StoreError};
pub use self::hold::Hold;
pub use self::lock::StateLock;
pub use self::outbox::{Claimed, MOST_CLAIMED, MessageFilter, Next, Outcome as DeliveryOutcome, Resend, Settlement};
pub use self::read::{Reader, RunFilter};
pub use self::retention::{Pruned, Retention};
pub use self::state::{StateValue, StateWrite};
pub use self::transition::Transition;

use self::log_buffer::LogBuffer;
use self::rows::Statement;
use self::writer::{Request, Writer};

/// Requests that may wait for the writer before callers wait for a place.
const WAITING: usize = 4_096;

/// The journal, open for writing. Clones share one writer.
#[derive(Debug, Clone)]
pub struct Store {
    requests: mpsc::Sender<Request>,
    logs: Arc<LogBuffer>,
    commits: Arc<AtomicU64>,
    outbox: watch::Receiver<u64>,
    trouble: Trouble,
    reader: Reader,
}

/// Why the last commit failed, while the one after it has not gone well.
type Trouble = Arc<Mutex<Option<String>>>;

impl Store {
    /// Opens the journal of the directory that is locked, creating or converting it where needed, and starts the
    /// writer on the current runtime. The lock is held until the writer has ended.
    pub async fn open(lock: StateLock) -> Result<Self, StoreError> {
        let path = database::path(lock.state_dir());
        let connection = database::open(&path).await?;
        let reader = Reader::open(lock.state_dir()).await?;
        let (requests, receiver) = mpsc::channel(WAITING);
        let logs = Arc::new(LogBuffer::default());
        let commits = Arc::default();
        let (changed, outbox) = watch::channel(0);
        let trouble = Trouble::default();
        let writer =
            Writer::new(connection, path, Arc::clone(&logs), Arc::clone(&commits), changed, Arc::clone(&trouble), lock);
        tokio::spawn(writer.run(receiver));
        Ok(Self { requests, logs, commits, outbox, trouble, reader })
    }

    /// Opens the journal of a directory: locks it, then [`Store::open`].
    pub async fn open_dir(state_dir: &Path) -> Result<Self, StoreError> {
        Self::open(StateLock::acquire(state_dir)?).await
    }

    /// What can be asked. It can be cloned and handed to whoever must not write.
    pub fn read(&self) -> &Reader {
        &self.reader
    }

    /// Records transitions, all or none, and returns when they are durable. Dropping the future does not take them back.
    pub async fn commit(&self, transitions: Vec<Transition>) -> Result<(), StoreError> {
        self.ask(|answer| Request::Commit { transitions, answer }).await?
    }

    /// Hands over log records without waiting. They are durable with the next commit, at the latest 200 ms from now
    /// or when the store is closed. Past a bound they are dropped, and the run's log says how many.
    pub fn log(&self, records: Vec<LogRecord>) {
        self.logs.push(records);
    }

    /// Changes a task's state: all writes or none, durable on return. Keys and values of the task may take
    /// `limit_bytes` together; what shrinks the state is always allowed.
    pub async fn state_apply(&self, task: &str, writes: Vec<StateWrite>, limit_bytes: u64) -> Result<(), StateError> {
        let task = task.to_owned();
        self.ask(|answer| Request::State { task, writes, limit_bytes, answer }).await?
    }

    /// How many transactions were committed since the journal was opened; callers share them.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Why nothing can be recorded at this time.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the writer after everything that waits is durable, and with it the lock.
    pub async fn close(self) {
        // The last connection to go empties the write-ahead log, and a reader cannot.
        self.reader.close().await;
        let (answer, closed) = oneshot::channel();
        if self.requests.send(Request::Close { answer }).await.is_ok() {
            // The writer answers by dropping the sender when it has gone.
            let _gone = closed.await;
        }
    }

    /// Removes or changes rows, in a commit that it shares with others. Returns how many there were.
    async fn remove(&self, statement: Statement<'static>) -> Result<u64, StoreError> {
        self.ask(|answer| Request::Remove { statement, answer }).await?
    }

    /// Writes rows, in a commit and a statement that it shares with others.
    async fn write(&self, statement: Statement<'static>) -> Result<(), StoreError> {
        self.ask(|answer| Request::Write { statement, answer }).await?
    }

    /// Runs SQL on the writer's connection.
    #[cfg(test)]
    pub(crate) async fn sql(&self, sql: &'static str) -> Result<u64, StoreError> {
        self.ask(|answer| Request::Sql { sql, answer }).await?
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)
    }
}
