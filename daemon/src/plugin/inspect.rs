//! `upkeep plugin inspect`: what a plugin says about itself, for the person who decides whether to let it in.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::plugin::manifest::Manifest;
use crate::plugin::section::{self, Described, SectionError};

/// Why a file cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no plugin.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// Standard output is gone.
    #[error("cannot write to the terminal: {0}")]
    Terminal(#[from] std::io::Error),
}

/// All that can be known about a plugin without running it.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The interfaces that it imports.
    pub imports: BTreeSet<String>,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// Reads a plugin's file.
///
/// # Errors
/// When it cannot be read or is no plugin.
pub fn inspect(file: &Path) -> Result<Inspection, InspectError> {
    let bytes = std::fs::read(file).map_err(|source| InspectError::Read { file: file.to_owned(), source })?;
    let Described { manifest, imports } = section::read(&bytes, file)?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Inspection { file: file.to_owned(), size: bytes.len() as u64, sha256, imports, manifest })
}

/// Writes what is known about a plugin, for a person or as JSON.
///
/// # Errors
/// As for [`inspect`].
pub fn show(file: &Path, json: bool, out: &mut dyn Write) -> Result<(), InspectError> {
    let inspection = inspect(file)?;
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&inspection).map_err(std::io::Error::from)?)?;
    } else {
        write!(out, "{inspection}")?;
    }
    Ok(())
}

impl Display for Inspection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Manifest { name, version, summary, author, license, api, capabilities, config_schema, .. } = &self.manifest;
        writeln!(f, "{name} {version}: {summary}")?;
        writeln!(f, "by {author}, {license}, for host API {api}")?;
        writeln!(f, "{}, {} bytes", self.file.display(), self.size)?;
        writeln!(f, "sha256 {}", self.sha256)?;

        if capabilities.is_empty() {
            writeln!(f, "\nIt asks for nothing: it can only compute and write to the log.")?;
        } else {
            writeln!(f, "\nIt asks for")?;
        }
        for (capability, request) in capabilities {
            let access: Vec<_> = request.access.iter().map(String::as_str).collect();
            let rights = if access.is_empty() { String::new() } else { format!(" ({})", access.join(", ")) };
            let optional = if request.optional { ", optional" } else { "" };
            writeln!(f, "  {capability}{rights}{optional}\n      {}", request.reason)?;
        }

        match config_schema {
            None => writeln!(f, "\nIt takes no configuration.")?,
            Some(schema) => {
                writeln!(f, "\nConfiguration")?;
                Keys { schema, root: schema, indent: 2 }.fmt(f)?;
            }
        }

        writeln!(f, "\nIt imports{}", if self.imports.is_empty() { " nothing." } else { "" })?;
        self.imports.iter().try_for_each(|import| writeln!(f, "  {import}"))
    }
}

/// The keys that a schema of an object has, one to a line, nested ones indented.
struct Keys<'a> {
    schema: &'a Value,
    root: &'a Value,
    indent: usize,
}

/// Three levels of keys are shown: a schema may refer to itself, without end.
const DEEPEST: usize = 6;

impl Display for Keys<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let schema = resolve(self.schema, self.root);
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let described = resolve(value, self.root);
            let default = match value.get("default") {
                Some(default) => format!(" = {default}"),
                None if required.contains(&key.as_str()) => ", required".to_owned(),
                None => String::new(),
            };
            writeln!(f, "{:indent$}{key}: {}{default}", "", kind(described, self.root), indent = self.indent)?;
            let text = value.get("description").or_else(|| described.get("description")).and_then(Value::as_str);
            for line in text.into_iter().flat_map(str::lines) {
                writeln!(f, "{:indent$}{line}", "", indent = self.indent + 4)?;
            }
            if self.indent < DEEPEST {
                let inner = if described.get("items").is_some() { &described["items"] } else { described };
                Keys { schema: inner, root: self.root, indent: self.indent + 2 }.fmt(f)?;
            }
        }
        Ok(())
    }
}

/// What a `$ref` within the same schema stands for.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let pointer = schema.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix('#'));
    pointer.and_then(|it| root.pointer(it)).unwrap_or(schema)
}

/// The type in a word or two.
fn kind(schema: &Value, root: &Value) -> String {
    let schema = resolve(schema, root);
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        return choices.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    for group in ["oneOf", "anyOf"] {
        if let Some(parts) = schema.get(group).and_then(Value::as_array) {
            return parts.iter().map(|part| kind(part, root)).collect::<Vec<_>>().join(" | ");
        }
    }
    match (&schema["type"], schema.get("const")) {
        (_, Some(value)) => value.to_string(),
        (Value::String(name), _) if name == "array" => format!("list of {}", kind(&schema["items"], root)),
        (Value::String(name), _) if name == "object" => "table".to_owned(),
        (Value::String(name), _) => name.clone(),
        (Value::Array(names), _) => {
            let names: Vec<_> = names.iter().filter_map(Value::as_str).filter(|it| *it != "null").collect();
            names.join(" | ")
        }
        _ => "anything".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_can_read_it() {
        let toml = r#"
            name = "sweep"
            version = "1.2.0"
            summary = "Removes old files"
            author = "Example"
            license = "MIT"
            api = "0.1"
            [capabilities.files]
            reason = "finds old files and removes them"
            access = ["remove", "read"]
            [capabilities.state]
            reason = "remembers where it stopped"
            optional = true
        "#;
        let mut manifest = Manifest::from_toml(toml, Path::new("plugin.toml")).unwrap();
        let bare = Inspection {
            file: "sweep.wasm".into(),
            size: 20_480,
            sha256: "ab12".into(),
            imports: ["upkeep:plugin/log@0.1.0".to_owned()].into(),
            manifest: Manifest { capabilities: [].into(), ..manifest.clone() },
        };
        manifest.config_schema = Some(serde_json::json!({
            "type": "object",
            "properties": {
                "roots": { "type": "array", "items": { "$ref": "#/$defs/Root" }, "description": "What to sweep." },
                "mode": { "enum": ["remove", "report"], "default": "report" },
                "limit": { "type": ["integer", "null"], "description": "Stops after so many.\nLeft out: never." },
                "age": { "oneOf": [{ "type": "string" }, { "const": "never" }] },
            },
            "required": ["roots"],
            "$defs": { "Root": {
                "type": "object",
                "properties": { "name": { "type": "string" }, "children": { "type": "array", "items": { "$ref": "#/$defs/Root" } } },
                "required": ["name"],
            } },
        }));
        let whole = Inspection { manifest, ..bare.clone() };
        insta::assert_snapshot!(format!("{bare}\n-----\n\n{whole}"));
    }
}
