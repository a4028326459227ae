//! restic's locks: files that say who works on the repository, so that nobody removes what another one needs.
//!
//! Who adds, reads or copies holds a shared lock; who removes holds one alone. A lock is written first and the others are
//! looked at after that: of two that come at the same moment at least one sees the other. Its time is renewed as long as
//! it is held; one that was not renewed for half an hour is taken for dead by restic as well. rustic_core knows no locks.
//!
//! The locks of processes of this machine that are no more are removed here, with a word in the log. Those of others are
//! left for a person to judge, since this machine cannot see whether they live.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use upkeep_archive::Cipher;

use crate::clock::{self, Timestamp};
use crate::repository::{Repository, RepositoryError, node};
use crate::storage::{Fault, Storage, StorageError};

/// How often a lock is renewed.
const RENEWAL: Duration = Duration::from_secs(5 * 60);
/// The age at which a lock is taken for dead, in milliseconds. That of restic.
const STALE: i64 = 30 * 60 * 1000;
/// Pause between two looks at a lock that is waited for.
const PAUSE: Duration = Duration::from_secs(2);
/// How much earlier than its lock a process may seem to have started at the latest, in milliseconds: the system tells the
/// start of a process in whole seconds of a clock of its own.
const SLACK: i64 = 5_000;
/// A lock is some 200 bytes; what is larger is none.
const LARGEST: u64 = 64 * 1024;

/// Whom a lock keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Those that remove. For adding, reading, copying.
    Shared,
    /// Everybody. For forgetting and pruning.
    Exclusive,
}

/// A lock that is held. It is removed when this is dropped.
#[derive(Debug)]
#[must_use = "the lock is removed when this is dropped"]
pub struct LockGuard {
    held: Arc<Held>,
    stop: Option<Sender<()>>,
    renewal: Option<JoinHandle<()>>,
}

/// Tells whether a lock is still held. It does not hold it.
#[derive(Debug, Clone)]
pub struct LockWatch(Arc<Held>);

#[derive(Debug)]
struct Held {
    url: String,
    storage: Storage,
    cipher: Cipher,
    kind: LockKind,
    /// The name of the file, which changes with each renewal.
    name: Mutex<String>,
    lost: AtomicBool,
}

/// The names of the locks that this process holds.
static OURS: LazyLock<Mutex<BTreeSet<String>>> = LazyLock::new(Mutex::default);

fn ours() -> std::sync::MutexGuard<'static, BTreeSet<String>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What stands in a lock file, in the words of restic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LockFile {
    time: String,
    #[serde(default)]
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    uid: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    gid: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What is known of the holder of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// It runs, or may run, and renews its lock.
    Alive,
    /// A process of this machine that is no more.
    Dead,
    /// A process elsewhere that has not renewed its lock.
    Silent,
}

impl LockFile {
    fn now(kind: LockKind) -> Self {
        let uid = rustix::process::getuid().as_raw();
        Self {
            time: in_text(clock::now()),
            exclusive: kind == LockKind::Exclusive,
            hostname: host(),
            username: node::user_name(uid).unwrap_or_default(),
            pid: std::process::id(),
            uid,
            gid: rustix::process::getgid().as_raw(),
        }
    }

    /// When it was last renewed; a lock whose time cannot be read is as old as can be.
    fn renewed(&self) -> Timestamp {
        Timestamp(chrono::DateTime::parse_from_rfc3339(&self.time).map_or(0, |time| time.timestamp_millis()))
    }

    fn life(&self, name: &str) -> Life {
        if self.hostname == host() {
            let is_ours = self.pid == std::process::id();
            return if is_ours && ours().contains(name) || !is_ours && runs_since(self.pid, self.renewed()) {
                Life::Alive
            } else {
                Life::Dead
            };
        }
        if clock::now().0 - self.renewed().0 > STALE { Life::Silent } else { Life::Alive }
    }

    /// Who holds it, for people.
    fn holder(&self) -> String {
        let kind = if self.exclusive { "an exclusive lock" } else { "a lock" };
        let user = if self.username.is_empty() { String::new() } else { format!(" of {}", self.username) };
        let process = if self.pid == std::process::id() && self.hostname == host() {
            format!("this upkeep itself (process {})", self.pid)
        } else {
            format!("process {}{user} on {}", self.pid, self.hostname)
        };
        let age = Duration::from_millis(u64::try_from(clock::now().0 - self.renewed().0).unwrap_or(0) / 1000 * 1000);
        format!("{process} holds {kind}, renewed {} ago", humantime::format_duration(age))
    }
}

/// Whether a process of this machine runs that is not younger than its lock.
fn runs_since(pid: u32, renewed: Timestamp) -> bool {
    let Some(number) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    if rustix::process::test_kill_process(number) == Err(rustix::io::Errno::SRCH) {
        return false;
    }
    let Ok(mut system) = sysinfo::System::new() else { return true };
    let pid = sysinfo::Pid::from_u32(pid);
    let what = sysinfo::ProcessRefreshKind::nothing();
    system.refresh_processes_specifics(sysinfo::ProcessesToUpdate::Some(&[pid]), true, what);
    let started = system.process(pid).map(|process| i64::try_from(process.start_time()).unwrap_or(0) * 1000);
    // What cannot be looked at may be alive.
    started.is_none_or(|started| started <= renewed.0 + SLACK)
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn in_text(time: Timestamp) -> String {
    chrono::DateTime::from_timestamp_millis(time.0).unwrap_or_default().to_rfc3339()
}

impl Repository {
    /// Takes a lock, waiting up to `patience` for others to give theirs back.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Locked`] when another one holds a lock that keeps this one out, with who it is;
    /// [`RepositoryError::Cancelled`]; otherwise when the storage fails.
    pub fn lock(
        &self,
        kind: LockKind,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Result<LockGuard, RepositoryError> {
        let until = Instant::now() + patience;
        let mut told = false;
        loop {
            if cancel.is_cancelled() {
                return Err(RepositoryError::Cancelled);
            }
            match self.try_lock(kind) {
                Err(RepositoryError::Locked { holder, .. }) if Instant::now() < until => {
                    if !told {
                        tracing::info!(repository = self.url, holder, "waiting for a lock");
                        told = true;
                    }
                    let rest = until.saturating_duration_since(Instant::now());
                    std::thread::sleep(PAUSE.min(rest));
                }
                done => return done,
            }
        }
    }

    /// A shared lock for what changes nothing, or none where the storage lets nobody write: from a repository that is
    /// mounted read-only must be restored all the same.
    ///
    /// # Errors
    ///
    /// As [`Repository::lock`].
    pub fn lock_to_read(
        &self,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Result<Option<LockGuard>, RepositoryError> {
        match self.lock(LockKind::Shared, patience, cancel) {
            Err(RepositoryError::ReadOnly { message, .. }) => {
                tracing::warn!(repository = self.url, reason = message, "reading without a lock");
                Ok(None)
            }
            locked => locked.map(Some),
        }
    }

    fn try_lock(&self, kind: LockKind) -> Result<LockGuard, RepositoryError> {
        let held = Held {
            url: self.url.clone(),
            storage: self.storage.clone(),
            cipher: self.cipher.clone(),
            kind,
            name: Mutex::default(),
            lost: AtomicBool::new(false),
        };
        // Before anything is written, so that nobody is kept out by one that has to give way itself.
        held.look_for_others("")?;
        let name = held.write().map_err(|error| match error.fault {
            Fault::Refused => RepositoryError::ReadOnly { url: self.url.clone(), message: error.message },
            _ => self.lock_failed(error.message),
        })?;
        held.set_name(&name);
        if let Err(error) = held.look_for_others(&name) {
            held.remove();
            return Err(error);
        }
        Ok(LockGuard::renewing(held))
    }

    fn lock_failed(&self, message: String) -> RepositoryError {
        RepositoryError::Failed { url: self.url.clone(), action: "it was locked", message }
    }
}

impl Held {
    fn name(&self) -> String {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_name(&self, name: &str) {
        name.clone_into(&mut self.name.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes a lock file of now; its name.
    fn write(&self) -> Result<String, StorageError> {
        let defect = || StorageError { fault: Fault::Other, message: "a lock cannot be encrypted".to_owned() };
        let content = serde_json::to_vec(&LockFile::now(self.kind)).map_err(|_| defect())?;
        let file = self.cipher.seal(&content).map_err(|_| defect())?;
        let name: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        // First: it must not be taken for one of a dead process in the moment in which it is written.
        ours().insert(name.clone());
        if let Err(error) = self.storage.write_lock(&name, file) {
            ours().remove(&name);
            return Err(error);
        }
        Ok(name)
    }

    fn remove(&self) {
        let name = self.name();
        if let Err(error) = self.storage.remove_lock(&name) {
            tracing::warn!(
                repository = self.url,
                reason = %error,
                "the lock {} could not be removed; `restic unlock` removes it in half an hour",
                &name[..8.min(name.len())]
            );
        }
        ours().remove(&name);
    }

    /// Whether a lock keeps this one out. Those of dead processes of this machine are removed.
    fn look_for_others(&self, own: &str) -> Result<(), RepositoryError> {
        let failed = |error: StorageError| RepositoryError::Failed {
            url: self.url.clone(),
            action: "its locks were read",
            message: error.message,
        };
        for entry in self.storage.locks().map_err(failed)? {
            if entry.name == own || entry.name.len() != 64 || entry.size > LARGEST {
                continue;
            }
            let file = match self.storage.read_lock(&entry.name) {
                // Given back meanwhile.
                Err(error) if error.fault == Fault::Missing => continue,
                read => read.map_err(failed)?,
            };
            // restic passes over what it cannot read, too: a write that broke off.
            let lock =
                self.cipher.open_file(&file).ok().and_then(|text| serde_json::from_slice::<LockFile>(&text).ok());
            let Some(lock) = lock else {
                tracing::warn!(repository = self.url, lock = entry.name, "this is not a lock; it is passed over");
                continue;
            };
            let life = lock.life(&entry.name);
            if life == Life::Dead {
                tracing::warn!(
                    repository = self.url,
                    "removing the lock of the process {} of this machine, which is no more (locked at {})",
                    lock.pid,
                    lock.time
                );
                // Where that is refused, the lock is passed over all the same.
                if let Err(error) = self.storage.remove_lock(&entry.name) {
                    tracing::warn!(repository = self.url, reason = %error, "it stays");
                }
                continue;
            }
            if lock.exclusive || self.kind == LockKind::Exclusive {
                let remedy = match life {
                    Life::Silent => {
                        "it looks dead: it should have been renewed within five minutes. When nothing works on the \
                         repository from there, remove it with `restic unlock`"
                    }
                    _ => "wait until it is done",
                };
                return Err(RepositoryError::Locked {
                    url: self.url.clone(),
                    holder: lock.holder(),
                    remedy: remedy.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Writes the lock anew and removes the old one. A lock that somebody has removed is lost: who removed it may be
    /// removing other things.
    fn renew(&self) -> Result<(), StorageError> {
        let old = self.name();
        if !self.storage.has_lock(&old)? {
            self.lost.store(true, Ordering::Release);
            tracing::error!(repository = self.url, "the lock was removed by another program; the work is ended");
            return Ok(());
        }
        let new = self.write()?;
        self.set_name(&new);
        let removed = self.storage.remove_lock(&old);
        ours().remove(&old);
        removed
    }
}

impl LockGuard {
    fn renewing(held: Held) -> Self {
        let held = Arc::new(held);
        let (stop, stopped) = channel::<()>();
        let renewed = Arc::clone(&held);
        let renewal = std::thread::Builder::new().name("upkeep-lock".to_owned()).spawn(move || {
            let mut last = Instant::now();
            let mut pause = RENEWAL;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = match renewed.renew() {
                    Ok(()) => {
                        last = Instant::now();
                        RENEWAL
                    }
                    Err(error) => {
                        tracing::warn!(repository = renewed.url, reason = %error, "the lock could not be renewed");
                        // Others may do as if it were not there.
                        if last.elapsed().as_millis() > u128::from(STALE.unsigned_abs()) {
                            renewed.lost.store(true, Ordering::Release);
                        }
                        RENEWAL / 5
                    }
                };
            }
        });
        Self { held, stop: Some(stop), renewal: renewal.ok() }
    }

    /// For those that work under the lock, to ask whether it is still there.
    pub fn watch(&self) -> LockWatch {
        LockWatch(Arc::clone(&self.held))
    }
}

impl LockWatch {
    /// Whether nobody else has reason to think that nothing is going on: to be asked before anything is removed, and
    /// before a snapshot is written.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::Failed`] when the lock was removed, or could not be renewed for half an hour.
    pub fn still_held(&self) -> Result<(), RepositoryError> {
        if !self.0.lost.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(RepositoryError::Failed {
            url: self.0.url.clone(),
            action: "its lock was renewed",
            message: "the lock is lost, so another program may be removing what is needed; run it again".to_owned(),
        })
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(renewal) = self.renewal.take() {
            let _ = renewal.join();
        }
        self.held.remove();
    }
}

#[cfg(test)]
mod tests;
