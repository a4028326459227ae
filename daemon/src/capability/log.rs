//! The run's log and progress. Always granted: a plugin that cannot speak cannot be understood. What goes beyond the
//! task's `limits.log` and `limits.log_rate` is dropped and counted, and the run goes on.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use crate::abi;
use crate::capability::{Host, Run};
use crate::clock::Timestamp;
use crate::config::limits::Limits;
use crate::event::Event;
use crate::record::{Level, LogRecord};

/// What one run may still log.
#[derive(Debug)]
pub struct Budget {
    rate: u32,
    state: Mutex<BudgetState>,
}

#[derive(Debug)]
struct BudgetState {
    bytes: u64,
    second: i64,
    records: u32,
    dropped: u64,
}

impl Budget {
    /// The budget of a fresh run.
    pub fn new(limits: &Limits) -> Self {
        let state = BudgetState { bytes: limits.log.0, second: i64::MIN, records: 0, dropped: 0 };
        Self { rate: limits.log_rate, state: Mutex::new(state) }
    }

    /// Whether a record of so many bytes still fits at `at`; what does not fit is counted.
    fn take(&self, at: Timestamp, bytes: usize) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let second = at.0.div_euclid(1000);
        if state.second != second {
            state.second = second;
            state.records = 0;
        }
        let bytes = bytes as u64;
        if state.records >= self.rate || state.bytes < bytes {
            state.dropped += 1;
            return false;
        }
        state.records += 1;
        state.bytes -= bytes;
        true
    }

    /// Number of records that were dropped.
    pub fn dropped(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }
}

impl Run {
    /// Takes a record of the guest, as far as the budget allows.
    pub(crate) fn log(&self, step: Option<u32>, level: Level, message: String, fields: Vec<(String, String)>) {
        let at = crate::clock::now();
        let bytes = message.len() + fields.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        if self.log.take(at, bytes) {
            let record = LogRecord { run: self.id.clone(), at, step, level, message, fields };
            self.events.log(&record);
            self.store.log(vec![record]);
        }
    }
}

impl abi::log::Host for Host {
    async fn write(
        &mut self,
        level: abi::log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let level = match level {
            abi::log::Level::Error => Level::Error,
            abi::log::Level::Warn => Level::Warn,
            abi::log::Level::Info => Level::Info,
            abi::log::Level::Debug => Level::Debug,
            abi::log::Level::Trace => Level::Trace,
        };
        self.run.log(self.call.step(), level, message, fields);
        Ok(())
    }

    async fn progress(&mut self, done: u64, total: Option<u64>, unit: String) -> wasmtime::Result<()> {
        if let Some(ordinal) = self.call.step()
            && self.run.events.heard()
        {
            self.run.events.send(Event::Progress { run: self.run.id.clone(), ordinal, done, total, unit });
        }
        Ok(())
    }
}

/// Standard output or error of a guest: each line is one record.
pub(crate) struct Output {
    run: Arc<Run>,
    step: Option<u32>,
    level: Level,
}

impl Output {
    pub(crate) fn new(run: &Arc<Run>, step: Option<u32>, level: Level) -> Self {
        Self { run: Arc::clone(run), step, level }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Lines { run: Arc::clone(&self.run), step: self.step, level: self.level, line: Vec::new() })
    }
}

/// The longest line that becomes one record, in bytes; a longer one is cut into several.
const LONGEST_LINE: usize = 8192;

struct Lines {
    run: Arc<Run>,
    step: Option<u32>,
    level: Level,
    line: Vec<u8>,
}

impl Lines {
    fn end_line(&mut self) {
        if !self.line.is_empty() {
            let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
            self.line.clear();
            self.run.log(self.step, self.level, line, Vec::new());
        }
    }
}

impl AsyncWrite for Lines {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        for &byte in bytes {
            if byte == b'\n' || self.line.len() >= LONGEST_LINE {
                self.end_line();
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end_line();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_counts_what_it_drops() {
        let limits = Limits { log: crate::config::size::Size(25), log_rate: 2, ..Limits::default() };
        let budget = Budget::new(&limits);
        assert!(budget.take(Timestamp(0), 10));
        assert!(budget.take(Timestamp(999), 10));
        assert!(!budget.take(Timestamp(999), 1), "the second record of this second was the last");
        assert!(budget.take(Timestamp(1000), 5));
        assert!(!budget.take(Timestamp(2000), 1), "all bytes are spent");
        assert_eq!(budget.dropped(), 2);
    }
}
