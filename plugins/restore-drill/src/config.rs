//! What the operator writes under `[config]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::config::{Size, Span};
use upkeep_plugin::{Error, Result};

/// What to restore on trial, and what has to be true of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreDrill {
    /// The repository, as in `[grant.repository.NAME]`.
    pub(crate) repository: String,
    /// The backup task whose snapshots are restored.
    pub(crate) task: String,
    /// The newest snapshot of each source must not be older.
    #[serde(default)]
    pub(crate) max_age: Option<Span>,
    /// No source may take longer until it is back.
    #[serde(default)]
    pub(crate) max_time: Option<Span>,
    /// Folders.
    #[serde(default)]
    pub(crate) files: Vec<Files>,
    /// Databases.
    #[serde(default)]
    pub(crate) databases: Vec<Database>,
}

/// A folder that is restored, and what has to be true of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    /// The folder as it was saved; absolute.
    pub(crate) path: String,
    /// Count only files that one of these patterns matches, as in a .gitignore file.
    #[serde(default)]
    pub(crate) only: Vec<String>,
    /// At least so many files.
    #[serde(default)]
    pub(crate) min_files: Option<u64>,
    /// At least so many bytes in all.
    #[serde(default)]
    pub(crate) min_bytes: Option<Size>,
    /// The newest file was modified at most so long before the backup.
    #[serde(default)]
    pub(crate) newest: Option<Span>,
    /// Files that have to be there; absolute.
    #[serde(default)]
    pub(crate) exists: Vec<String>,
    /// Files with the SHA-256 of their content: `"/srv/app/VERSION" = "9f86d0..."`.
    #[serde(default)]
    pub(crate) checksums: BTreeMap<String, String>,
}

/// A database that is restored into a server of its own, and what has to be true of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// The SQLite file as it was saved; absolute.
    #[serde(default)]
    pub(crate) sqlite: Option<String>,
    /// The name of a server's dump: that of `[grant.dump.NAME]` in the backup task.
    #[serde(default)]
    pub(crate) dump: Option<String>,
    /// The database in the server; may be left out where the dump has only one.
    #[serde(default)]
    pub(crate) database: Option<String>,
    /// Every row that refers to another one finds it.
    #[serde(default = "yes")]
    pub(crate) foreign_keys: bool,
    /// SQLite: the file is whole by the database's own check.
    #[serde(default = "yes")]
    pub(crate) integrity: bool,
    /// Questions, and what their answers have to be.
    #[serde(default)]
    pub(crate) queries: Vec<Query>,
}

fn yes() -> bool {
    true
}

/// A statement that only reads, and what has to be true of its first value.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// The statement.
    pub(crate) sql: String,
    /// It gives at least so many rows.
    #[serde(default)]
    pub(crate) min_rows: Option<u64>,
    /// The first value is at least this number.
    #[serde(default)]
    pub(crate) at_least: Option<f64>,
    /// The first value is exactly this.
    #[serde(default)]
    pub(crate) equals: Option<Value>,
    /// The first value is a time, at most so long before the backup: seconds or milliseconds since 1970, or a text such as
    /// `2026-11-23 03:30:00`, in UTC unless it says otherwise.
    #[serde(default)]
    pub(crate) newest: Option<Span>,
}

/// A value that an answer is compared with.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Value {
    /// A number.
    Number(serde_number::Number),
    /// A truth.
    Bool(bool),
    /// A text.
    Text(String),
}

/// Numbers without a crate for JSON: whole ones are compared as they are written.
mod serde_number {
    use super::{Deserialize, JsonSchema};

    #[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
    #[serde(untagged)]
    pub(crate) enum Number {
        Whole(i64),
        Real(f64),
    }

    impl std::fmt::Display for Number {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match self {
                Self::Whole(number) => number.fmt(f),
                Self::Real(number) => number.fmt(f),
            }
        }
    }
}

impl Value {
    /// Whether an answer says the same: numbers by their value, truths in the words of any server.
    pub(crate) fn is(&self, found: &str) -> bool {
        match self {
            Self::Number(number) => {
                let text = number.to_string();
                found == text || found.trim().parse::<f64>().is_ok_and(|found| text.parse() == Ok(found))
            }
            Self::Bool(true) => ["1", "t", "true", "TRUE"].contains(&found),
            Self::Bool(false) => ["0", "f", "false", "FALSE"].contains(&found),
            Self::Text(text) => found == text,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Bool(truth) => truth.fmt(f),
            Self::Text(text) => write!(f, "`{text}`"),
        }
    }
}

/// What one step restores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// A folder, by its place in the configuration, with its path.
    Files(usize, String),
    /// A database.
    Database {
        /// Its place in the configuration.
        place: usize,
        /// Where it is in the snapshot.
        path: String,
        /// What it is called.
        name: String,
    },
}

impl Source {
    /// What it is called in findings, metrics and the state: the same in each run.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Files(_, path) => format!("files{path}"),
            Self::Database { name, .. } => format!("database/{}", name.trim_start_matches('/')),
        }
    }

    /// Where it is in the snapshot.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Files(_, path) | Self::Database { path, .. } => path.clone(),
        }
    }

    /// What it is called for people.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Files(_, path) => path,
            Self::Database { name, .. } => name,
        }
    }

    pub(crate) fn title(&self) -> String {
        match self {
            Self::Files(_, path) => format!("restore {path} on trial"),
            Self::Database { name, .. } => format!("restore the database {name} on trial"),
        }
    }
}

impl RestoreDrill {
    /// What is restored.
    pub(crate) fn sources(&self) -> Result<Vec<Source>> {
        let mut sources: Vec<Source> = Vec::new();
        for (place, files) in self.files.iter().enumerate() {
            let path = absolute(&files.path, "path")?;
            for (file, sum) in &files.checksums {
                absolute(file, "checksums")?;
                if sum.len() != 64 || !sum.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    let message = format!("the checksum of {file} is no SHA-256; `sha256sum {file}` prints it");
                    return Err(Error::config(message));
                }
            }
            for file in &files.exists {
                absolute(file, "exists")?;
            }
            sources.push(Source::Files(place, path));
        }
        for (place, database) in self.databases.iter().enumerate() {
            let (path, name) = match (&database.sqlite, &database.dump) {
                (Some(file), None) => (absolute(file, "sqlite")?, file.clone()),
                (None, Some(name)) => (format!("/upkeep-dump/{name}"), name.clone()),
                _ => {
                    return Err(Error::config(
                        "each of [[config.databases]] names either `sqlite = \"/srv/app/app.db\"`, or `dump = \"NAME\"` as in the \
                         backup task",
                    ));
                }
            };
            for query in &database.queries {
                query.check()?;
            }
            let name = match &database.database {
                Some(database) if *database != name => format!("{name}/{database}"),
                _ => name,
            };
            sources.push(Source::Database { place, path, name });
        }
        if sources.is_empty() {
            return Err(Error::config(
                "there is nothing to restore; add `[[config.files]]` with `path = \"/srv/app\"`, or `[[config.databases]]` with \
                 `sqlite = \"/srv/app/app.db\"` or `dump = \"NAME\"`",
            ));
        }
        let mut keys: Vec<_> = sources.iter().map(Source::key).collect();
        keys.sort();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            let message =
                format!("`{}` is named twice under [config]; put all that is asserted of it into one", twice[0]);
            return Err(Error::config(message));
        }
        Ok(sources)
    }
}

impl Query {
    fn check(&self) -> Result<()> {
        let asserted = [self.min_rows.is_some(), self.at_least.is_some(), self.equals.is_some(), self.newest.is_some()];
        match asserted.contains(&true) {
            true => Ok(()),
            false => Err(Error::config(format!(
                "the query `{}` says not what its answer has to be; add `at_least = 1`, `equals = \"...\"`, `min_rows = 1` or \
                 `newest = \"26h\"`",
                self.sql
            ))),
        }
    }
}

fn absolute(path: &str, key: &str) -> Result<String> {
    match path.starts_with('/') && path.len() > 1 {
        true => Ok(path.trim_end_matches('/').to_owned()),
        false => {
            Err(Error::config(format!("`{key} = \"{path}\"` is not absolute; write it as it was saved: /srv/app")))
        }
    }
}
