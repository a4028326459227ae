//! What became of a run: a type, so that nothing that can happen goes without a name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// All steps and the summing up went well.
    Succeeded,
    /// The plugin said that it failed.
    Failed {
        /// Whose fault, and whether a retry can help.
        failure: Failure,
        /// The plugin's words.
        message: String,
    },
    /// The plugin broke: a panic, an out-of-bounds access, a stack overflow.
    Trapped {
        /// The trap, with the guest's frames where known.
        message: String,
    },
    /// The run took longer than the task's `timeout`.
    TimedOut {
        /// The timeout in milliseconds.
        after_ms: u64,
    },
    /// The run reached one of the task's limits.
    LimitExceeded {
        /// The key of the limit in the task file: `memory`, `log`, `handles`, ...
        limit: String,
        /// What was asked for, and what is allowed.
        message: String,
    },
    /// The plugin failed after it asked for what the task file does not grant.
    Denied {
        /// What it asked for.
        message: String,
    },
    /// A person, a shutdown deadline or the task's `overlap = "cancel-running"` ended it.
    Cancelled {
        /// Who.
        by: String,
    },
    /// The daemon died while it ran, and it could not be resumed.
    Interrupted {
        /// Why it could not be resumed.
        message: String,
    },
    /// It was not started.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// Why a plugin says that it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The task's configuration is wrong.
    Config,
    /// It may work later.
    Transient,
    /// It will not work later.
    Permanent,
}

impl Outcome {
    /// All names, in the order of the variants.
    pub const NAMES: [&'static str; 9] = [
        "succeeded",
        "failed",
        "trapped",
        "timed-out",
        "limit-exceeded",
        "denied",
        "cancelled",
        "interrupted",
        "skipped",
    ];

    /// The name of the variant, as in the database, the API and the documentation.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Trapped { .. } => "trapped",
            Self::TimedOut { .. } => "timed-out",
            Self::LimitExceeded { .. } => "limit-exceeded",
            Self::Denied { .. } => "denied",
            Self::Cancelled { .. } => "cancelled",
            Self::Interrupted { .. } => "interrupted",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// Whether a later attempt may end differently.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Failed { failure: Failure::Transient, .. } | Self::TimedOut { .. } | Self::Interrupted { .. }
        )
    }
}

impl std::fmt::Display for Outcome {
    /// One line for people: the name, and why.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name();
        match self {
            Self::Succeeded => f.write_str(name),
            Self::Failed { message, .. }
            | Self::Trapped { message }
            | Self::Denied { message }
            | Self::Interrupted { message } => write!(f, "{name}: {message}"),
            Self::TimedOut { after_ms } => {
                write!(f, "{name} after {}", humantime::format_duration(std::time::Duration::from_millis(*after_ms)))
            }
            Self::LimitExceeded { limit, message } => write!(f, "{name} ({limit}): {message}"),
            Self::Cancelled { by } => write!(f, "{name} by {by}"),
            Self::Skipped { reason } => write!(f, "{name}: {reason}"),
        }
    }
}
