//! Where a secret comes from. Its value is never in a configuration file, a log or an error.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The source of a secret; exactly one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "file": "/etc/upkeep/secrets/main" }]))]
pub enum Secret {
    /// A file that only its owner can read. A newline at the end is not part of the secret.
    File(PathBuf),
    /// An environment variable of the daemon.
    Env(String),
    /// A credential of systemd (`LoadCredential=`), by its name.
    Credential(String),
}
