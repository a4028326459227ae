//! Reads `upkeep.toml` and `tasks.d/*.toml`, and validates them as a whole.
//!
//! [`examine`] looks at every file and gives the tasks that are right beside all that is wrong: `upkeep check` shows
//! both. [`load`] gives a configuration only when nothing is wrong: the daemon takes all of it or none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::config::check::chain::Link;
use crate::config::check::{self, Site, Surroundings, TaskFile};
use crate::config::daemon::DaemonSettings;
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::config::digest::Digest;
use crate::config::files::{self, TaskPath};
use crate::config::grant::Grants;
use crate::config::limits::Limits;
use crate::config::plugin::{Plugin, Plugins, Unusable};
use crate::config::schedule::ScheduleSettings;
use crate::config::shape::Shape;
use crate::config::source::{Document, KeyPath, Source};
use crate::config::task::{Retry, TaskSettings};
use crate::schedule::Schedule;

/// A configuration in which nothing is wrong.
#[derive(Debug)]
pub struct Config {
    /// The folder of `upkeep.toml`.
    pub dir: PathBuf,
    /// What concerns the daemon as a whole; all paths are absolute.
    pub settings: DaemonSettings,
    /// The tasks, by name.
    pub tasks: BTreeMap<Arc<str>, Arc<Task>>,
    /// SHA-256 of all that the configuration consists of, plugins too.
    pub digest: Digest,
    /// What is allowed, but likely not meant.
    pub warnings: Diagnostics,
}

/// A task: small, since there may be many. What several tasks say in the same words they share.
#[derive(Debug)]
pub struct Task {
    /// Its name: the stem of its file.
    pub name: Arc<str>,
    /// What it is for, one line.
    pub description: Box<str>,
    /// Whether the schedule is followed.
    pub enabled: bool,
    /// When a clock makes it due.
    pub schedule: Arc<Schedule>,
    /// The `[schedule]` as it is written: events, and what happens when runs overlap.
    pub triggers: Arc<ScheduleSettings>,
    /// A run that takes longer is ended.
    pub timeout: Duration,
    /// What happens after a failure that may pass.
    pub retry: Retry,
    /// Tasks of one group never run at the same time.
    pub group: Option<Arc<str>>,
    /// Steps of one run that are executed at the same time; 0 for as many as there are cores.
    pub parallel: u32,
    /// What does it.
    pub plugin: Arc<Plugin>,
    /// The `[config]` for the plugin, as JSON that is valid against the plugin's schema.
    pub config_json: Arc<str>,
    /// What it may touch. The plugin asks for all of it: these are the effective rights.
    pub grants: Arc<Grants>,
    /// What it may use.
    pub limits: Arc<Limits>,
    /// Over plugin, config, grants and limits: a crashed run is resumed only by the same.
    pub fingerprint: Digest,
    /// Over all that the task consists of, the schedule too: a reload compares it.
    pub digest: Digest,
}

impl Task {
    /// The file of the task, below the configuration's folder.
    pub fn file(&self, config_dir: &Path) -> PathBuf {
        config_dir.join(files::TASKS_DIR).join(format!("{}.toml", self.name))
    }
}

/// What [`examine`] found.
#[derive(Debug)]
pub struct Examined {
    /// The tasks in which nothing is wrong; not to be run unless there are no errors at all.
    pub config: Config,
    /// All that is wrong, errors and warnings.
    pub diagnostics: Diagnostics,
    /// Number of task files.
    pub files: usize,
}

/// Loads the configuration in the folder `dir`.
///
/// # Errors
///
/// All that is wrong, when at least one of it is an error.
pub fn load(dir: &Path, surroundings: &Surroundings<'_>) -> Result<Config, Diagnostics> {
    let Examined { mut config, diagnostics, .. } = examine(dir, surroundings);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    config.warnings = diagnostics;
    Ok(config)
}

/// Looks at all files of the folder `dir`.
pub fn examine(dir: &Path, surroundings: &Surroundings<'_>) -> Examined {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let mut problems = Vec::new();
    let settings = read_settings(&dir, &mut problems);
    let paths = if dir.is_dir() { files::tasks(&dir, &mut problems) } else { Vec::new() };
    let names: BTreeSet<Arc<str>> = paths.iter().map(|path| path.name.clone()).collect();

    let mut reader = Reader {
        site: Site { dir: &dir, settings: &settings, surroundings },
        plugins: Plugins::new(settings.plugin_dir.clone(), surroundings.read_manifest),
        shape: Shape::of_settings::<TaskSettings>().map_err(|error| error.to_string()),
        shared: Shared::default(),
        links: Vec::new(),
    };
    let mut tasks = BTreeMap::new();
    for path in &paths {
        let Some(source) = files::read(&path.file, &mut problems) else { continue };
        let before = problems.len();
        let task = reader.task(path, &source, &mut problems);
        let fine = problems[before..].iter().all(|problem| problem.severity == Severity::Warning);
        if let Some(task) = task.filter(|_| fine) {
            tasks.insert(path.name.clone(), Arc::new(task));
        }
    }
    for (name, problem) in check::chain::problems(&reader.links, &names) {
        if problem.severity == Severity::Error {
            tasks.remove(&name);
        }
        problems.push(problem);
    }

    let written = serde_json::to_vec(&settings).unwrap_or_default();
    let parts = tasks.values().map(|task| task.digest.0.as_slice());
    let digest = Digest::of(std::iter::once(written.as_slice()).chain(parts));
    let mut diagnostics = Diagnostics(problems);
    diagnostics.sort();
    let config = Config { dir, settings, tasks, digest, warnings: Diagnostics::default() };
    Examined { config, diagnostics, files: paths.len() }
}

/// `upkeep.toml`, or the defaults where it is wrong.
fn read_settings(dir: &Path, problems: &mut Vec<Diagnostic>) -> DaemonSettings {
    let file = dir.join(files::DAEMON_FILE);
    if !file.exists() && !file.is_symlink() {
        let (message, help) = if dir.is_dir() {
            ("the file does not exist", "create it; it may be empty, every key has a default")
        } else {
            ("there is no such folder", "name the folder that holds upkeep.toml and tasks.d: `--config DIR`")
        };
        problems.push(files::whole(if dir.is_dir() { &file } else { dir }, message).help(help));
        return DaemonSettings::default().absolute(dir);
    }
    let Some(source) = files::read(&file, problems) else { return DaemonSettings::default().absolute(dir) };
    let document = match Document::parse(&source) {
        Ok(document) => document,
        Err(syntax) => {
            problems.extend(syntax);
            return DaemonSettings::default().absolute(dir);
        }
    };
    let shape = Shape::of_settings::<DaemonSettings>().map_err(|error| error.to_string());
    let before = problems.len();
    let read = read_as::<DaemonSettings>(&document, &shape, problems);
    if let Ok(task) = Shape::of_settings::<TaskSettings>() {
        for problem in &mut problems[before..] {
            if problem.key.0.len() == 1
                && problem.key.section().is_some_and(|key| task.knows(key))
                && problem.message.starts_with("there is no key")
            {
                problem.help = "this belongs into the file of a task: tasks.d/NAME.toml".to_owned();
            }
        }
    }
    let settings = read.settings.unwrap_or_default().absolute(dir);
    check::settings::check(&document, &settings, &read.broken, problems);
    settings
}

/// What a file says, without the sections that are wrong.
struct ReadAs<T> {
    settings: Option<T>,
    broken: BTreeSet<String>,
    json: Value,
}

/// Compares a document with a schema and reads it. A section that does not fit is told and left out, so that the others
/// can be looked at all the same.
fn read_as<T: serde::de::DeserializeOwned>(
    document: &Document<'_>,
    shape: &Result<Shape, String>,
    problems: &mut Vec<Diagnostic>,
) -> ReadAs<T> {
    let source = document.source();
    let mut json = document.json();
    let mut broken = BTreeSet::new();
    let misfits = match shape {
        Ok(shape) => shape.problems(&json),
        Err(error) => {
            problems.push(Diagnostic::error(source, KeyPath::default(), format!("the daemon's own schema {error}")));
            return ReadAs { settings: None, broken, json };
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
        Ok(settings) => ReadAs { settings: Some(settings), broken, json },
        Err(error) => {
            // Where the schema was content, this names what the schema cannot say.
            if broken.is_empty() && !problems.iter().any(|problem| problem.source == *source) {
                let help = "see `upkeep schema` and docs/configuration.md";
                problems.push(Diagnostic::error(source, KeyPath::default(), error.to_string()).help(help));
            }
            ReadAs { settings: None, broken, json }
        }
    }
}

/// Reads task files one after the other.
struct Reader<'a> {
    site: Site<'a>,
    plugins: Plugins<'a>,
    shape: Result<Shape, String>,
    shared: Shared,
    links: Vec<Link>,
}

impl Reader<'_> {
    fn task(&mut self, path: &TaskPath, source: &Arc<Source>, problems: &mut Vec<Diagnostic>) -> Option<Task> {
        let document = match Document::parse(source) {
            Ok(document) => document,
            Err(syntax) => {
                problems.extend(syntax);
                return None;
            }
        };
        let ReadAs { settings, broken, json } = read_as::<TaskSettings>(&document, &self.shape, problems);
        let settings = settings?;
        let mut file = TaskFile::new(&path.name, &document, &settings, &broken, problems);
        let plugin = match self.plugins.find(&settings.plugin) {
            Ok(plugin) => Some(plugin),
            Err(Unusable { message, help }) => {
                file.error(KeyPath::of(["plugin"]), message, help);
                None
            }
        };
        let schedule = check::task(&mut file, plugin.as_deref(), &self.site);
        self.links.extend(check::chain::links(&file));
        Some(self.shared.task(path.name.clone(), settings, plugin?, schedule?, &json, self.site.settings))
    }
}

/// What several tasks say in the same words is kept once.
#[derive(Default)]
struct Shared {
    texts: BTreeSet<Arc<str>>,
    triggers: BTreeMap<String, Arc<ScheduleSettings>>,
    grants: BTreeMap<String, Arc<Grants>>,
    limits: BTreeMap<String, Arc<Limits>>,
}

impl Shared {
    fn task(
        &mut self,
        name: Arc<str>,
        settings: TaskSettings,
        plugin: Arc<Plugin>,
        schedule: Arc<Schedule>,
        written: &Value,
        daemon: &DaemonSettings,
    ) -> Task {
        let config = Value::Object(settings.config).to_string();
        let grants = serde_json::to_string(&settings.grant).unwrap_or_default();
        let limits = serde_json::to_string(&settings.limits).unwrap_or_default();
        let of =
            |parts: [&str; 3]| Digest::of(std::iter::once(plugin.digest.0.as_slice()).chain(parts.map(str::as_bytes)));
        let fingerprint = of([&config, &grants, &limits]);
        // The daemon's time zone counts where it is used.
        let zone = settings.schedule.timezone.is_none().then_some(daemon.timezone.as_str()).unwrap_or_default();
        let digest = of([&name, &written.to_string(), zone]);
        Task {
            name,
            description: settings.description.into(),
            enabled: settings.enabled,
            schedule,
            triggers: one(&mut self.triggers, settings.schedule),
            timeout: settings.timeout,
            retry: settings.retry,
            group: settings.group.map(|group| self.text(group)),
            parallel: settings.parallel,
            plugin,
            config_json: self.text(config),
            grants: one(&mut self.grants, settings.grant),
            limits: one(&mut self.limits, settings.limits),
            fingerprint,
            digest,
        }
    }

    fn text(&mut self, text: String) -> Arc<str> {
        if let Some(known) = self.texts.get(text.as_str()) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.texts.insert(text.clone());
        text
    }
}

fn one<T: serde::Serialize>(known: &mut BTreeMap<String, Arc<T>>, value: T) -> Arc<T> {
    let written = serde_json::to_string(&value).unwrap_or_default();
    known.entry(written).or_insert_with(|| Arc::new(value)).clone()
}
