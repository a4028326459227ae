//! The clock of the engine's epochs, on a thread of its own: guests that keep all workers busy cannot hold it up. It ticks
//! only while a guest runs, so that an idle daemon sleeps.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

/// Ticks while a [`Ticking`] is held. The thread is joined on drop.
pub(super) struct Ticker {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    running: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
    mutex: Mutex<()>,
    wake: Condvar,
}

/// A guest runs as long as this is held.
pub(super) struct Ticking<'a>(&'a State);

impl Ticker {
    pub(super) fn new(engine: Engine, period: Duration) -> Self {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("epoch".into())
            .spawn(move || shared.tick(&engine, period))
            .inspect_err(
                |error| tracing::error!(%error, "failed to start the epoch thread: guests cannot be interrupted"),
            )
            .ok();
        Self { state, thread }
    }

    pub(super) fn start(&self) -> Ticking<'_> {
        // Both sides write their own flag before they read the other's, in one total order: no start goes unseen.
        self.state.running.fetch_add(1, Ordering::SeqCst);
        if self.state.asleep.load(Ordering::SeqCst) {
            self.state.notify();
        }
        Ticking(&self.state)
    }
}

impl State {
    fn tick(&self, engine: &Engine, period: Duration) {
        while !self.stop.load(Ordering::SeqCst) {
            if self.running.load(Ordering::SeqCst) > 0 {
                std::thread::sleep(period);
                engine.increment_epoch();
                continue;
            }
            let mut guard = self.mutex.lock().unwrap_or_else(PoisonError::into_inner);
            self.asleep.store(true, Ordering::SeqCst);
            while self.running.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
                guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            self.asleep.store(false, Ordering::SeqCst);
        }
    }

    fn notify(&self) {
        let _guard = self.mutex.lock().unwrap_or_else(PoisonError::into_inner);
        self.wake.notify_one();
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        self.state.notify();
        if let Some(thread) = self.thread.take() {
            // It can only have ended by a panic, which is told already.
            let _ = thread.join();
        }
    }
}
