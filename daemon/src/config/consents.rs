//! `[grant.consents]` of a task file: users' consents to messages that a task may see and take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Users' consents to messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentsGrant {
    /// The appids whose users they are.
    pub accounts: Vec<String>,
}

impl ConsentsGrant {
    /// Whether an account's users are among them.
    pub fn allows(&self, account: &str) -> bool {
        self.accounts.iter().any(|allowed| allowed == account)
    }
}
