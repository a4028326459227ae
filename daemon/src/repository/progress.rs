//! How far a piece of work is: one function that is called with bytes done and bytes in all, a few times a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustic_core::{ProgressBars, ProgressType, RusticProgress};

/// Who is told of bytes done, and of bytes in all once they are known.
pub type Tell = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

/// Time between two calls.
const PAUSE: Duration = Duration::from_millis(100);

/// Counts towards a total that is known beforehand. Any thread may add to it.
pub(crate) struct Counter {
    tell: Tell,
    total: u64,
    done: AtomicU64,
    told: Mutex<Instant>,
}

impl Counter {
    pub(crate) fn new(tell: Tell, total: u64) -> Self {
        Self { tell, total, done: AtomicU64::new(0), told: Mutex::new(Instant::now()) }
    }

    pub(crate) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= PAUSE || done >= self.total {
            *told = Instant::now();
            drop(told);
            (self.tell)(done, Some(self.total.max(done)));
        }
    }

    /// Tells once more, also when not all was done.
    pub(crate) fn finish(&self) {
        let done = self.done.load(Ordering::Relaxed);
        (self.tell)(done, Some(self.total.max(done)));
    }
}

/// The progress bars of rustic_core.
#[derive(Clone)]
pub(super) struct Bars(Option<Tell>);

impl Bars {
    pub(super) fn silent() -> Self {
        Self(None)
    }

    pub(super) fn telling(tell: Tell) -> Self {
        Self(Some(tell))
    }
}

impl std::fmt::Debug for Bars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bars")
    }
}

impl ProgressBars for Bars {
    fn progress(&self, kind: ProgressType, _: &str) -> rustic_core::Progress {
        match (kind, &self.0) {
            (ProgressType::Bytes, Some(tell)) => rustic_core::Progress::new(Bar::new(Arc::clone(tell))),
            _ => rustic_core::Progress::hidden(),
        }
    }
}

struct Bar {
    tell: Tell,
    done: AtomicU64,
    total: AtomicU64,
    told: Mutex<Instant>,
}

impl std::fmt::Debug for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bar")
    }
}

impl Bar {
    fn new(tell: Tell) -> Self {
        // The total is zero while it is not known.
        Self { tell, done: AtomicU64::new(0), total: AtomicU64::new(0), told: Mutex::new(Instant::now()) }
    }

    fn say(&self) {
        let done = self.done.load(Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed);
        // A file that grows while it is counted must not make more than all of it.
        (self.tell)(done, (total > 0).then_some(total.max(done)));
    }
}

impl RusticProgress for Bar {
    fn is_hidden(&self) -> bool {
        false
    }

    fn set_length(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    fn set_title(&self, _: &str) {}

    fn inc(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= PAUSE {
            *told = Instant::now();
            drop(told);
            self.say();
        }
    }

    fn finish(&self) {
        self.say();
    }
}
