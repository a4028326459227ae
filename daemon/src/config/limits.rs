//! `[limits]` of a task file: what one run may use. Every limit has a default that is safe on a small server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::rate::Rate;
use crate::config::size::Size;

/// The limits of a task. Sizes are written as `64 MiB`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory of one instance, summed over all of its linear memories. 1 MiB to 1 GiB.
    pub memory: Size,
    /// Elements of one instance, summed over all of its tables.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub table_elements: u32,
    /// Core instances in one component instance.
    #[schemars(range(min = 1, max = 1_000))]
    pub instances: u32,
    /// Handles that one instance may hold open.
    #[schemars(range(min = 1, max = 100_000))]
    pub handles: u32,
    /// Bytes that one host call may hand over, in either direction. 64 KiB to 256 MiB.
    pub call: Size,
    /// Bytes that a run may log; what is beyond is dropped and counted, and the run goes on. 1 KiB to 1 GiB.
    pub log: Size,
    /// Log records per second; what is beyond is dropped and counted.
    #[schemars(range(min = 1, max = 100_000))]
    pub log_rate: u32,
    /// Bytes of keys and values that the task may keep as state. 1 KiB to 1 GiB.
    pub state: Size,
    /// Series of metrics in one run.
    #[schemars(range(min = 1, max = 100_000))]
    pub metrics: u32,
    /// Steps that a plan may have.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub steps: u32,
    /// Bytes that the plan of what is removed from one folder may have, as text. 64 KiB to 64 GiB.
    pub plan: Size,
    /// Rows that one query may give.
    #[schemars(range(min = 1, max = 10_000_000_000_u64))]
    pub rows: u64,
    /// How fast a backup reads its sources at the most, all steps together.
    pub read: Option<Rate>,
    /// How far backups give way to other work on the processors; 19 is the farthest.
    #[schemars(range(max = 19))]
    pub nice: Option<u32>,
    /// How far backups give way to other work on the disks.
    pub ionice: Option<IoClass>,
}

/// A class of disk access. Schedulers other than BFQ take no notice of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IoClass {
    /// When nobody else wants the disk.
    Idle,
    /// Beside the others, and last among them.
    BestEffort,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: Size::mebibytes(128),
            table_elements: 100_000,
            instances: 64,
            handles: 1_000,
            call: Size::mebibytes(16),
            log: Size::mebibytes(4),
            log_rate: 1_000,
            state: Size::mebibytes(16),
            metrics: 1_000,
            steps: 10_000,
            plan: Size::mebibytes(2048),
            rows: 10_000_000,
            read: None,
            nice: None,
            ionice: None,
        }
    }
}
