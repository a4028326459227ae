//! What a plugin says about itself: who made it, what it asks for and why, what configuration it takes.
//!
//! The author writes `plugin.toml` ([`Manifest::from_toml`]); the build adds the schema of the configuration and stores
//! the whole as JSON inside the component ([`Manifest::to_json`], [`Manifest::from_json`]). Both ways in are validated,
//! since a component may come from any tool.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the stored form. A reader refuses a newer one.
pub const FORMAT: u32 = 1;

/// The versions of the host API that this host offers, oldest first.
pub const API_VERSIONS: &[&str] = &["0.1"];

/// Each capability that a plugin can ask for, with the rights it knows. `log` is always there and not asked for.
pub const CAPABILITIES: &[(&str, &[&str])] = &[
    ("consents", &[]),
    ("drill", &[]),
    ("dump", &[]),
    ("files", &["read", "write", "remove"]),
    ("http", &[]),
    ("journal", &[]),
    ("metrics", &[]),
    ("outbox", &["enqueue", "deliver"]),
    ("repository", &["append", "list", "prune", "check", "restore"]),
    ("secrets", &["fill", "sign"]),
    ("smtp", &[]),
    ("sql", &["read", "write", "remove", "maintain"]),
    ("state", &[]),
    (
        "system",
        &["os", "disks", "memory", "load", "packages", "sockets", "services", "accounts", "kernel", "sshd", "updates"],
    ),
];

/// Interfaces that are a right of a capability instead of one of their own.
pub const RIGHTS: &[(&str, &str)] = &[("purge", "sql"), ("removal", "files")];

/// What the names of the interfaces of WASI begin with that are a capability. The rest of WASI is there, and empty.
pub const WASI: &[(&str, &str)] = &[("wasi:http/", "http")];

/// A plugin's manifest, as it is stored in the component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form.
    pub format: u32,
    /// Name of the plugin: small letters, digits and hyphens.
    pub name: String,
    /// Version of the plugin, `MAJOR.MINOR.PATCH`.
    pub version: String,
    /// One line on what it does.
    pub summary: String,
    /// Who answers for it.
    pub author: String,
    /// SPDX expression.
    pub license: String,
    /// Version of the host API that it was built for.
    pub api: String,
    /// What it asks for, by the name of the capability.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<String, Request>,
    /// JSON Schema of its configuration; none when it takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<serde_json::Value>,
}

/// That a plugin asks for a capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What the plugin needs it for, for the operator who decides.
    pub reason: String,
    /// Whether the plugin also works without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The rights it needs, where the capability knows rights; see [`CAPABILITIES`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub access: BTreeSet<String>,
}

/// `plugin.toml`: the manifest without what the build adds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    name: String,
    version: String,
    summary: String,
    author: String,
    license: String,
    api: String,
    #[serde(default)]
    capabilities: BTreeMap<String, Request>,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; every plugin has a plugin.toml beside its Cargo.toml", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The text is no TOML or JSON, or a key is unknown or missing.
    #[error("{}:{line}: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The parser's words.
        message: String,
    },
    /// A value cannot stand.
    #[error("{}: {key}: {message}", file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// The dotted key.
        key: String,
        /// What is wrong, and what would be right.
        message: String,
    },
}

impl Manifest {
    /// Reads and validates `plugin.toml`.
    ///
    /// # Errors
    /// When the file cannot be read or does not hold a valid manifest.
    pub fn read(file: &Path) -> Result<Self, ManifestError> {
        let text =
            std::fs::read_to_string(file).map_err(|source| ManifestError::Read { file: file.to_owned(), source })?;
        Self::from_toml(&text, file)
    }

    /// Validates the text of a `plugin.toml`; `file` is only for messages.
    ///
    /// # Errors
    /// When the text is no valid manifest.
    pub fn from_toml(text: &str, file: &Path) -> Result<Self, ManifestError> {
        let Source { name, version, summary, author, license, api, capabilities } =
            toml::from_str(text).map_err(|error| ManifestError::Syntax {
                file: file.to_owned(),
                line: error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count()),
                message: error.message().to_owned(),
            })?;
        let manifest =
            Self { format: FORMAT, name, version, summary, author, license, api, capabilities, config_schema: None };
        manifest.validated(file)
    }

    /// Validates the stored form; `file` is only for messages.
    ///
    /// # Errors
    /// When the text is no valid manifest, or one of a newer format.
    pub fn from_json(json: &[u8], file: &Path) -> Result<Self, ManifestError> {
        let syntax = |error: serde_json::Error| ManifestError::Syntax {
            file: file.to_owned(),
            line: error.line().max(1),
            message: format!("the manifest in it does not fit: {error}"),
        };
        // The format first: a newer one may have keys that are unknown here.
        let value: serde_json::Value = serde_json::from_slice(json).map_err(syntax)?;
        if value.get("format").and_then(serde_json::Value::as_u64).is_some_and(|it| it > u64::from(FORMAT)) {
            let message = format!("this upkeep reads manifests up to format {FORMAT}; a newer upkeep is needed");
            return Err(ManifestError::Value { file: file.to_owned(), key: "format".to_owned(), message });
        }
        serde_json::from_value::<Self>(value).map_err(syntax)?.validated(file)
    }

    /// The stored form.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn validated(self, file: &Path) -> Result<Self, ManifestError> {
        let wrong = |key: String, message: String| ManifestError::Value { file: file.to_owned(), key, message };
        if !is_name(&self.name) {
            let message = format!("`{}` is no name: small letters, digits and hyphens, a letter first", self.name);
            return Err(wrong("name".to_owned(), message));
        }
        if !is_version(&self.version) {
            return Err(wrong("version".to_owned(), format!("`{}` is no version like `1.2.0`", self.version)));
        }
        for (key, value) in [("summary", &self.summary), ("author", &self.author), ("license", &self.license)] {
            if value.trim().is_empty() || value.contains('\n') {
                return Err(wrong(key.to_owned(), "one line of text is needed".to_owned()));
            }
        }
        if !API_VERSIONS.contains(&self.api.as_str()) {
            let offered = API_VERSIONS.join(", ");
            let message = format!("`{}` is no version of the host API that this upkeep has: {offered}", self.api);
            return Err(wrong("api".to_owned(), message));
        }
        for (name, request) in &self.capabilities {
            request.validate(name).map_err(|(key, message)| wrong(key, message))?;
        }
        Ok(self)
    }
}

impl Request {
    /// The key and the message of what is wrong.
    fn validate(&self, name: &str) -> Result<(), (String, String)> {
        let key = format!("capabilities.{name}");
        if name == "log" {
            return Err((key, "every plugin has the log: remove this table".to_owned()));
        }
        let Some((_, rights)) = CAPABILITIES.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = CAPABILITIES.iter().map(|(known, _)| *known).collect();
            return Err((key, format!("there is no such capability; there are {}", known.join(", "))));
        };
        if self.reason.trim().is_empty() {
            let message = "say what the plugin needs it for: the operator who grants it reads this".to_owned();
            return Err((format!("{key}.reason"), message));
        }
        if rights.is_empty() && !self.access.is_empty() {
            return Err((format!("{key}.access"), format!("`{name}` knows no rights: remove this key")));
        }
        if let Some(unknown) = self.access.iter().find(|it| !rights.contains(&it.as_str())) {
            let message = format!("`{unknown}` is no right of `{name}`; there are {}", rights.join(", "));
            return Err((format!("{key}.access"), message));
        }
        if !rights.is_empty() && self.access.is_empty() {
            let message = format!("say which rights the plugin needs, of {}", rights.join(", "));
            return Err((format!("{key}.access"), message));
        }
        Ok(())
    }
}

/// Whether `text` can be the name of a plugin.
pub fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_version(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|it| it.parse::<u64>().is_ok_and(|n| n.to_string() == *it))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
name = "sweep"
version = "1.2.0-rc.1"
summary = "Removes old files"
author = "Example"
license = "MIT"
api = "0.1"

[capabilities.files]
reason = "finds old files and removes them"
access = ["read", "remove"]

[capabilities.state]
reason = "remembers where it stopped"
optional = true
"#;

    fn message(text: &str) -> String {
        match Manifest::from_toml(text, Path::new("plugin.toml")) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_whole_manifest_survives_storage() {
        let mut manifest = Manifest::from_toml(WHOLE, Path::new("plugin.toml")).unwrap();
        manifest.config_schema = Some(serde_json::json!({ "type": "object" }));
        let back = Manifest::from_json(&manifest.to_json(), Path::new("sweep.wasm")).unwrap();
        assert_eq!(back, manifest);
        assert!(back.capabilities["state"].optional && !back.capabilities["files"].optional);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let error = Manifest::from_json(br#"{"format": 2, "news": true}"#, Path::new("x.wasm")).unwrap_err();
        insta::assert_snapshot!(
            error,
            @"x.wasm: format: this upkeep reads manifests up to format 1; a newer upkeep is needed"
        );
    }

    /// Each line: what is changed in a manifest that is right, and what the author reads.
    #[test]
    fn each_mistake_has_a_message() {
        let cases = [
            ("name = \"sweep\"", "name = \"Sweep it\""),
            ("name = \"sweep\"\n", ""),
            ("version = \"1.2.0-rc.1\"", "version = \"1.2\""),
            ("version = \"1.2.0-rc.1\"", "version = \"01.2.0\""),
            ("summary = \"Removes old files\"", "summary = \" \""),
            ("license = \"MIT\"", "license = \"MIT\"\nlicence = \"MIT\""),
            ("api = \"0.1\"", "api = \"0.9\""),
            ("api = \"0.1\"", "api = 0.1"),
            ("reason = \"finds old files and removes them\"", "reason = \"\""),
            ("reason = \"finds old files and removes them\"\n", ""),
            ("access = [\"read\", \"remove\"]", "access = [\"read\", \"delete\"]"),
            ("access = [\"read\", \"remove\"]\n", ""),
            ("optional = true", "access = [\"read\"]"),
            ("optional = true", "optional = \"yes\""),
            ("[capabilities.state]", "[capabilities.log]"),
            ("[capabilities.state]", "[capabilities.network]"),
            ("[capabilities.state]", "[capability.state]"),
        ];
        let all: Vec<_> = cases
            .iter()
            .map(|(right, wrong)| {
                assert!(WHOLE.contains(right), "{right}");
                format!("--- {wrong:?}\n{}", message(&WHOLE.replacen(right, wrong, 1)))
            })
            .collect();
        insta::assert_snapshot!(all.join("\n"));
    }
}
