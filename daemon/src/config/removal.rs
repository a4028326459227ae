//! `[grant.files.NAME.removal]` of a task file: what the right `remove` is worth.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::percent::Percent;
use crate::config::size::Size;

/// What may go from a folder in one run, and on what conditions. Above a ceiling nothing goes at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RemovalGrant {
    /// The largest share of the folder's files that may go in one run. Counts from 100 files on.
    pub max_share: Percent,
    /// The most files that may go in one run.
    pub max_files: Option<u64>,
    /// The most bytes that may go in one run.
    pub max_bytes: Option<Size>,
    /// For how long what is removed can be had back with `upkeep undo`. It takes up its room until then. Left out: it is gone
    /// at once.
    #[serde(with = "crate::config::duration::option")]
    #[schemars(schema_with = "crate::config::schema::optional_duration")]
    pub undo: Option<Duration>,
    /// What never goes: patterns as in a `.gitignore` file, relative to the folder.
    pub protect: Vec<String>,
    /// The backup without which nothing goes.
    pub require_backup: Option<BackupRequirement>,
}

impl Default for RemovalGrant {
    fn default() -> Self {
        Self {
            max_share: Percent(50),
            max_files: None,
            max_bytes: None,
            undo: None,
            protect: Vec::new(),
            require_backup: None,
        }
    }
}

/// A backup that has to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{ "task": "backup-app", "max_age": "26h", "verified": true }]))]
pub struct BackupRequirement {
    /// The task that makes it.
    pub task: String,
    /// How old its last successful run may be.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub max_age: Duration,
    /// Whether a check or a restore drill of its repository has to have succeeded since.
    #[serde(default = "yes")]
    pub verified: bool,
}

fn yes() -> bool {
    true
}
