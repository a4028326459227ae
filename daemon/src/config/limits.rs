//! `[limits]` of a task file: what one run may use. Every limit has a default that is safe on a small server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::size::Size;

/// The limits of a task. Sizes are written as `64 MiB`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory of one instance, summed over all of its linear memories. At most 1 GiB.
    pub memory: Size,
    /// Elements of one instance, summed over all of its tables.
    pub table_elements: u32,
    /// Core instances in one component instance.
    pub instances: u32,
    /// Stack of the guest.
    pub stack: Size,
    /// Handles that one instance may hold open.
    pub handles: u32,
    /// Bytes that one host call may hand over, in either direction.
    pub call: Size,
    /// Bytes that a run may log; what is beyond is dropped and counted, and the run goes on.
    pub log: Size,
    /// Log records per second; what is beyond is dropped and counted.
    pub log_rate: u32,
    /// Bytes of keys and values that the task may keep as state.
    pub state: Size,
    /// Series of metrics in one run.
    pub metrics: u32,
    /// Steps that a plan may have.
    pub steps: u32,
    /// Rows that one query may give.
    pub rows: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: Size::mebibytes(128),
            table_elements: 100_000,
            instances: 64,
            stack: Size::mebibytes(1),
            handles: 1_000,
            call: Size::mebibytes(16),
            log: Size::mebibytes(4),
            log_rate: 1_000,
            state: Size::mebibytes(16),
            metrics: 1_000,
            steps: 10_000,
            rows: 10_000_000,
        }
    }
}
