//! A task file, `tasks.d/NAME.toml`: which plugin, when, with which config, grants and limits. The file's stem is the
//! task's name.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::alerts::TaskAlerts;
use crate::config::findings::FindingsSettings;
use crate::config::grant::Grants;
use crate::config::limits::Limits;
use crate::config::schedule::ScheduleSettings;

/// A task file as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskSettings {
    /// Name of the plugin: `NAME.wasm` in the plugin folder, or an absolute path.
    pub plugin: String,
    /// What the task is for, one line.
    #[serde(default)]
    pub description: String,
    /// Whether the schedule is followed; by hand the task runs all the same.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// When it is due.
    #[serde(default)]
    pub schedule: ScheduleSettings,
    /// A run that takes longer is ended.
    #[serde(default = "one_hour", with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub timeout: Duration,
    /// What happens after a failure that may pass.
    #[serde(default)]
    pub retry: Retry,
    /// Tasks of one group never run at the same time.
    #[serde(default)]
    pub group: Option<String>,
    /// Steps of one run that are executed at the same time; 0 for as many as there are cores.
    #[serde(default)]
    #[schemars(range(max = 1024))]
    pub parallel: u32,
    /// What the plugin needs to know; the plugin's own schema says which keys there are.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Which findings fail a run, and which are left alone.
    #[serde(default)]
    pub findings: FindingsSettings,
    /// Who is told of it, where that is not as `upkeep.toml` says.
    #[serde(default)]
    pub alerts: TaskAlerts,
    /// What it may touch.
    #[serde(default)]
    pub grant: Grants,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
}

fn yes() -> bool {
    true
}

fn one_hour() -> Duration {
    Duration::from_secs(3600)
}

/// Retries after a transient failure, a timeout or an interruption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Further attempts after the first.
    #[schemars(range(max = 100))]
    pub attempts: u32,
    /// Wait before the second attempt; doubles each time.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub backoff: Duration,
    /// The longest wait.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub max_backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 0, backoff: Duration::from_secs(30), max_backoff: Duration::from_secs(3600) }
    }
}
