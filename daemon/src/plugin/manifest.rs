//! The manifest of a plugin: what it says of itself, readable without executing it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Name of the plugin.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line.
    pub summary: String,
    /// Who made it.
    pub author: String,
    /// Its licence.
    pub license: String,
    /// Version of the host API.
    pub api: String,
    /// What it asks for, by capability.
    pub capabilities: BTreeMap<String, Request>,
    /// JSON Schema of its config.
    pub config_schema: Option<serde_json::Value>,
}

/// What a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Why.
    pub reason: String,
    /// Whether it does without.
    #[serde(default)]
    pub optional: bool,
    /// Rights.
    #[serde(default)]
    pub access: Vec<String>,
}
