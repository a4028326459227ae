//! What is known of a request that a task made to another server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::record::RunId;

/// A request that left, or was not let out. Queries, headers and bodies are not kept: secrets may be in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Egress {
    /// Its identifier, a ULID: requests sort by the time they were made.
    pub id: String,
    /// The run.
    pub run: RunId,
    /// Name of the task.
    pub task: String,
    /// The step, by ordinal; none while the run plans or finishes.
    pub step: Option<u32>,
    /// When.
    pub at: Timestamp,
    /// The method: `GET`.
    pub method: String,
    /// Scheme, host, port and path.
    pub url: String,
    /// The address and port that were connected to.
    pub address: Option<String>,
    /// How it ended.
    pub result: EgressResult,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Bytes of the body that was sent.
    pub sent: u64,
    /// Bytes of the body that came.
    pub received: u64,
    /// How long it took until the last byte, milliseconds.
    pub took_ms: Option<u64>,
    /// Why it was denied or failed.
    pub reason: Option<String>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EgressResult {
    /// It is under way, or the daemon was gone before its end.
    Open,
    /// There was an answer, whatever its status.
    Answered,
    /// It was not let out.
    Denied,
    /// There was no answer, or not all of it.
    Failed,
}
