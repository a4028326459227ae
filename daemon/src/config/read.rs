//! From a document to settings: compared with the schema first, then read as far as it fits.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::check::{self, Surroundings};
use crate::config::daemon::DaemonSettings;
use crate::config::diagnostic::Diagnostic;
use crate::config::files;
use crate::config::shape::{SchemaError, Shape};
use crate::config::source::{Document, KeyPath, Source};
use crate::config::task::TaskSettings;

/// What a file says, without the sections that are wrong.
pub(crate) struct Read<T> {
    /// None when what is left is not enough.
    pub(crate) settings: Option<T>,
    /// The sections that are wrong.
    pub(crate) broken: BTreeSet<String>,
    /// What is left, as JSON.
    pub(crate) json: Value,
}

/// Compares a document with a schema and reads it. A section that does not fit is told and left out, so that the others
/// can be looked at all the same.
pub(crate) fn document<T: DeserializeOwned + JsonSchema>(
    document: &Document<'_>,
    shape: &Result<Shape, SchemaError>,
    problems: &mut Vec<Diagnostic>,
) -> Read<T> {
    let source = document.source();
    let help = "docs/configuration.md and `upkeep schema` describe every key";
    let mut json = document.json();
    let mut broken = BTreeSet::new();
    let misfits = match shape {
        Ok(shape) => shape.problems(&json),
        Err(error) => {
            let message = format!("the schema that is built into this upkeep {error}");
            problems
                .push(Diagnostic::error(source, KeyPath::default(), message).help("report this to upkeep's authors"));
            return Read { settings: None, broken, json };
        }
    };
    for misfit in misfits {
        broken.extend(misfit.path.section().map(str::to_owned));
        let span = if misfit.at_key { document.key_span(&misfit.path) } else { document.value_span(&misfit.path) };
        // What is missing on top has no place: the file's first line stands for it.
        let span = span.or(Some(0..0));
        problems.push(Diagnostic::error(source, misfit.path, misfit.message).at(span).help(misfit.help));
    }
    if let Value::Object(table) = &mut json {
        table.retain(|section, _| !broken.contains(section));
    }
    match T::deserialize(&json) {
        Ok(settings) => Read { settings: Some(settings), broken, json },
        Err(error) => {
            // Where the schema was content, this names what the schema cannot say.
            if broken.is_empty() {
                problems
                    .push(Diagnostic::error(source, KeyPath::default(), error.to_string()).at(Some(0..0)).help(help));
            }
            Read { settings: None, broken, json }
        }
    }
}

/// What `upkeep.toml` says.
pub(crate) struct Daemon {
    /// The settings; defaults where it is wrong.
    pub(crate) settings: DaemonSettings,
    /// Whether it is known where plugins are.
    pub(crate) knows_plugins: bool,
    /// Its text, when it can be read.
    pub(crate) document: Option<Arc<Source>>,
}

/// Reads `upkeep.toml`.
pub(crate) fn daemon(dir: &Path, surroundings: &Surroundings<'_>, problems: &mut Vec<Diagnostic>) -> Daemon {
    let unknown = || Daemon { settings: DaemonSettings::default().absolute(dir), knows_plugins: false, document: None };
    let file = dir.join(files::DAEMON_FILE);
    if !dir.is_dir() {
        let help = "name the folder that holds upkeep.toml and tasks.d: `--config DIR`";
        problems.push(files::whole(dir, "there is no such folder").help(help));
        return unknown();
    }
    if !file.exists() && !file.is_symlink() {
        let help = "create it; it may be empty, every key has a default";
        problems.push(files::whole(&file, "the file does not exist").help(help));
        return unknown();
    }
    let Some(source) = files::read(&file, problems) else { return unknown() };
    let parsed = match Document::parse(&source) {
        Ok(parsed) => parsed,
        Err(syntax) => {
            problems.extend(syntax);
            return unknown();
        }
    };
    let before = problems.len();
    let read = document::<DaemonSettings>(&parsed, &Shape::of_settings::<DaemonSettings>(), problems);
    point_to_task_files(&mut problems[before..]);
    let knows_plugins = read.settings.is_some() && !read.broken.contains("plugin_dir");
    let settings = read.settings.unwrap_or_default().absolute(dir);
    check::settings::check(&parsed, &settings, &read.broken, surroundings, problems);
    if !read.broken.contains("alerts") {
        check::alerts::settings(&parsed, &settings.alerts, problems);
    }
    Daemon { settings, knows_plugins, document: Some(Arc::clone(&source)) }
}

/// A key that no `upkeep.toml` has, and every task file may have, stands in the wrong file.
fn point_to_task_files(problems: &mut [Diagnostic]) {
    let (Ok(daemon), Ok(task)) = (Shape::of_settings::<DaemonSettings>(), Shape::of_settings::<TaskSettings>()) else {
        return;
    };
    for problem in problems.iter_mut().filter(|problem| problem.key.0.len() == 1) {
        if problem.key.section().is_some_and(|key| task.knows(key) && !daemon.knows(key)) {
            problem.help = "this belongs into the file of a task: tasks.d/NAME.toml".to_owned();
        }
    }
}
