//! Reads `upkeep.toml` and `tasks.d/*.toml`, and validates them as a whole.
//!
//! [`examine`] looks at every file and gives the tasks that are right beside all that is wrong: `upkeep check` shows
//! both. [`load`] gives a configuration only when nothing is wrong: the daemon takes all of it or none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::config::alerts::TaskAlerts;
use crate::config::check::chain::Link;
use crate::config::check::removal::Requirement;
use crate::config::check::{self, Site, Surroundings, TaskFile};
use crate::config::daemon::DaemonSettings;
use crate::config::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::config::digest::Digest;
use crate::config::files::{self, TaskPath};
use crate::config::findings::FindingsSettings;
use crate::config::grant::Grants;
use crate::config::limits::Limits;
use crate::config::plugin::{Plugin, Plugins, Unusable};
use crate::config::read::{self, Read};
use crate::config::safeguards::Safeguards;
use crate::config::schedule::ScheduleSettings;
use crate::config::shape::{SchemaError, Shape};
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
    pub retry: Arc<Retry>,
    /// Tasks of one group never run at the same time.
    pub group: Option<Arc<str>>,
    /// Steps of one run that are executed at the same time; 0 for as many as there are cores.
    pub parallel: u32,
    /// What does it.
    pub plugin: Arc<Plugin>,
    /// The `[config]` for the plugin, as JSON that is valid against the plugin's schema.
    pub config_json: Arc<str>,
    /// Which findings fail a run, and which are left alone.
    pub findings: Arc<FindingsSettings>,
    /// Who is told of it.
    pub alerts: Arc<TaskAlerts>,
    /// What it may touch. The plugin asks for all of it: these are the effective rights.
    pub grants: Arc<Grants>,
    /// What it may use.
    pub limits: Arc<Limits>,
    /// What the other tasks need, and prove.
    pub safeguards: Arc<Safeguards>,
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
    let read::Daemon { settings, knows_plugins, document: upkeep } = read::daemon(&dir, surroundings, &mut problems);
    let paths = if dir.is_dir() { files::tasks(&dir, &mut problems) } else { Vec::new() };
    let names: BTreeSet<Arc<str>> = paths.iter().map(|path| path.name.clone()).collect();

    let mut reader = Reader {
        site: Site::new(&dir, &settings, surroundings),
        plugins: Plugins::new(settings.plugin_dir.clone(), surroundings.read_manifest),
        knows_plugins,
        shape: Shape::of_settings::<TaskSettings>(),
        shared: Shared::default(),
        links: Vec::new(),
        requirements: Vec::new(),
        tokens: Vec::new(),
        deliverers: Vec::new(),
        audiences: Vec::new(),
    };
    let mut tasks = BTreeMap::new();
    for path in &paths {
        let Some(source) = files::read(&path.file, &mut problems) else { continue };
        let before = problems.len();
        let task = reader.task(path, &source, &mut problems);
        let fine = problems[before..].iter().all(|problem| problem.severity == Severity::Warning);
        if let Some(task) = task.filter(|_| fine) {
            tasks.insert(path.name.clone(), task);
        }
    }
    problems.extend(upkeep.iter().flat_map(|source| check::alerts::tasks(source, &settings, &names, &tasks)));
    let own = reader.site.own.iter().map(|(_, path)| path.clone());
    let safeguards = Arc::new(Safeguards::of(tasks.values(), own));
    let chain = check::chain::problems(&reader.links, &names);
    let removal = check::removal::problems(&reader.requirements, &names, &tasks, &safeguards);
    let tokens = check::tokens::problems(&reader.tokens);
    let deliverers = check::outbox::problems(&reader.deliverers);
    let audiences = check::alerts::audiences(&reader.audiences, &tasks);
    for (name, problem) in chain.into_iter().chain(removal).chain(tokens).chain(deliverers).chain(audiences) {
        if problem.severity == Severity::Error {
            tasks.remove(&name);
        }
        problems.push(problem);
    }
    let guarded = |(name, mut task): (Arc<str>, Task)| {
        task.safeguards = Arc::clone(&safeguards);
        (name, Arc::new(task))
    };
    let tasks: BTreeMap<_, _> = tasks.into_iter().map(guarded).collect();

    let written = serde_json::to_vec(&settings).unwrap_or_default();
    let parts = tasks.values().map(|task| task.digest.0.as_slice());
    let digest = Digest::of(std::iter::once(written.as_slice()).chain(parts));
    let mut diagnostics = Diagnostics(problems);
    diagnostics.sort();
    let config = Config { dir, settings, tasks, digest, warnings: Diagnostics::default() };
    Examined { config, diagnostics, files: paths.len() }
}

/// Reads task files one after the other.
struct Reader<'a> {
    site: Site<'a>,
    plugins: Plugins<'a>,
    /// Whether `upkeep.toml` could be read so far that it is known where plugins are.
    knows_plugins: bool,
    shape: Result<Shape, SchemaError>,
    shared: Shared,
    links: Vec<Link>,
    requirements: Vec<Requirement>,
    tokens: Vec<check::tokens::Named>,
    deliverers: Vec<check::outbox::Deliverer>,
    audiences: Vec<check::alerts::Audience>,
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
        let Read { settings, broken, json } = read::document::<TaskSettings>(&document, &self.shape, problems);
        let settings = settings?;
        let mut file = TaskFile::new(&path.name, &document, &settings, &broken, problems);
        let plugin = match self.plugins.find(&settings.plugin) {
            Ok(plugin) => Some(plugin),
            // While it is not known where plugins are, that one is not found says nothing.
            Err(_) if !self.knows_plugins && !settings.plugin.starts_with('/') => None,
            Err(Unusable { message, help }) => {
                file.error(KeyPath::of(["plugin"]), message, help);
                None
            }
        };
        let schedule = check::task(&mut file, plugin.as_deref(), &self.site);
        self.links.extend(check::chain::links(&file));
        if file.is_sound("alerts") {
            self.audiences.extend(check::alerts::audience(&file));
        }
        if file.is_sound("grant") {
            self.requirements.extend(check::removal::check(&mut file));
            self.tokens.extend(check::tokens::named(&file));
            self.deliverers.extend(check::outbox::deliverer(&file));
        }
        Some(self.shared.task(path.name.clone(), settings, plugin?, schedule?, &json, self.site.settings))
    }
}

/// What several tasks say in the same words is kept once.
#[derive(Default)]
struct Shared {
    texts: BTreeSet<Arc<str>>,
    triggers: BTreeMap<String, Arc<ScheduleSettings>>,
    retries: BTreeMap<String, Arc<Retry>>,
    findings: BTreeMap<String, Arc<FindingsSettings>>,
    alerts: BTreeMap<String, Arc<TaskAlerts>>,
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
        let zone = if settings.schedule.timezone.is_none() { daemon.timezone.as_str() } else { "" };
        let digest = of([&name, &written.to_string(), zone]);
        Task {
            name,
            description: settings.description.into(),
            enabled: settings.enabled,
            schedule,
            triggers: one(&mut self.triggers, settings.schedule),
            timeout: settings.timeout,
            retry: one(&mut self.retries, settings.retry),
            group: settings.group.map(|group| self.text(group)),
            parallel: settings.parallel,
            plugin,
            config_json: self.text(config),
            findings: one(&mut self.findings, settings.findings),
            alerts: one(&mut self.alerts, settings.alerts),
            grants: one(&mut self.grants, settings.grant),
            limits: one(&mut self.limits, settings.limits),
            safeguards: Arc::default(),
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
