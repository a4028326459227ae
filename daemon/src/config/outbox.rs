//! `[grant.outbox]` of a task file: messages that a task may enqueue, or deliver.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::size::Size;

/// The outbox of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutboxGrant {
    /// Rights; enqueuing by default.
    pub access: Vec<OutboxAccess>,
    /// Messages that one run may enqueue at the most.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_messages: u32,
    /// The largest message, with all its texts.
    pub max_message: Size,
}

impl Default for OutboxGrant {
    fn default() -> Self {
        Self { access: vec![OutboxAccess::Enqueue], max_messages: 1_000, max_message: Size(64 << 10) }
    }
}

/// A right on the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutboxAccess {
    /// Put messages in.
    Enqueue,
    /// Take all messages out, whoever put them in, and say what became of them.
    Deliver,
}
