//! What a schema cannot say: whether that which was read fits the machine, the plugin and the other tasks.
//!
//! Each file below this one looks at one part of a task file and tells all that it finds. A section whose shape was
//! already wrong is passed over: its defaults stand in for it, and what would be said about those would mislead.

pub(crate) mod alerts;
pub(crate) mod chain;
pub(crate) mod consents;
pub(crate) mod databases;
pub(crate) mod findings;
pub(crate) mod grants;
pub(crate) mod http;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod outbox;
pub(crate) mod places;
pub(crate) mod plugin_config;
pub(crate) mod removal;
pub(crate) mod repositories;
pub(crate) mod secrets;
pub(crate) mod settings;
pub(crate) mod smtp;
pub(crate) mod sql;
pub(crate) mod timing;
pub(crate) mod tokens;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::config::daemon::DaemonSettings;
use crate::config::diagnostic::Diagnostic;
use crate::config::plugin::{Plugin, ReadManifest, read_manifest};
use crate::config::source::{Document, KeyPath};
use crate::config::task::TaskSettings;
use crate::schedule::Schedule;

/// What validation has to know beside the files.
pub struct Surroundings<'a> {
    /// How a manifest is read from the bytes of a component.
    pub read_manifest: ReadManifest<'a>,
    /// Reads an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whether this is the daemon (or a run without one): its environment and its rights are those that count. Anywhere
    /// else what cannot be seen is only a warning.
    pub daemon: bool,
    /// The time, for schedules that never come again.
    pub now: Timestamp,
}

impl<'a> Surroundings<'a> {
    /// This process, now. `daemon` as in the field.
    pub fn of_process(variable: &'a dyn Fn(&str) -> Option<String>, daemon: bool) -> Self {
        Self { read_manifest: &read_manifest, variable, daemon, now: crate::clock::now() }
    }
}

/// Where a task file stands.
pub(crate) struct Site<'a> {
    /// The daemon's settings.
    pub(crate) settings: &'a DaemonSettings,
    /// The rest.
    pub(crate) surroundings: &'a Surroundings<'a>,
    /// The daemon's own folders, without links, each with what it holds.
    pub(crate) own: [(&'static str, PathBuf); 3],
}

impl<'a> Site<'a> {
    /// The site of the task files of the configuration in `dir`.
    pub(crate) fn new(dir: &Path, settings: &'a DaemonSettings, surroundings: &'a Surroundings<'a>) -> Self {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let own = [
            (STATE, real(&settings.state_dir)),
            ("the configuration", real(dir)),
            ("the plugins", real(&settings.plugin_dir)),
        ];
        Self { settings, surroundings, own }
    }
}

/// How the folder of the state is called in messages.
pub(crate) const STATE: &str = "the daemon's state";

/// A task file under examination.
pub(crate) struct TaskFile<'a> {
    /// Name of the task.
    pub(crate) name: &'a Arc<str>,
    /// The text and its tree.
    pub(crate) document: &'a Document<'a>,
    /// What it says.
    pub(crate) settings: &'a TaskSettings,
    broken: &'a BTreeSet<String>,
    problems: &'a mut Vec<Diagnostic>,
}

impl<'a> TaskFile<'a> {
    /// A file that has the right shape, but for the sections `broken`.
    pub(crate) fn new(
        name: &'a Arc<str>,
        document: &'a Document<'a>,
        settings: &'a TaskSettings,
        broken: &'a BTreeSet<String>,
        problems: &'a mut Vec<Diagnostic>,
    ) -> Self {
        Self { name, document, settings, broken, problems }
    }

    /// Whether a section can be looked at.
    pub(crate) fn is_sound(&self, section: &str) -> bool {
        !self.broken.contains(section)
    }

    /// Where what is wrong with this file is told.
    pub(crate) fn telling(&mut self) -> Telling<'_> {
        Telling { document: self.document, problems: self.problems }
    }

    /// See [`Telling::error`].
    pub(crate) fn error(&mut self, key: KeyPath, message: impl Into<String>, help: impl Into<String>) {
        self.telling().error(key, message, help);
    }

    /// Tells an error about a part of the text at `key`: `part` counts bytes within the quotes.
    pub(crate) fn error_within(
        &mut self,
        key: KeyPath,
        part: std::ops::Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let span = self.document.value_span(&key).map(|span| {
            let start = (span.start + 1 + part.start).min(span.end);
            start..(span.start + 1 + part.end).clamp(start, span.end)
        });
        self.problems.push(Diagnostic::error(self.document.source(), key, message).at(span).help(help));
    }

    /// Tells an error about the value at `key`, which may be a secret.
    pub(crate) fn error_hidden(&mut self, key: KeyPath, message: impl Into<String>, help: impl Into<String>) {
        let span = self.document.value_span(&key);
        self.problems.push(Diagnostic::error(self.document.source(), key, message).at(span).help(help).hidden());
    }

    /// See [`Telling::error_at_key`].
    pub(crate) fn error_at_key(&mut self, key: KeyPath, message: impl Into<String>, help: impl Into<String>) {
        self.telling().error_at_key(key, message, help);
    }

    /// Tells an error that concerns `key`, shown at another place.
    pub(crate) fn error_at(
        &mut self,
        span: Option<std::ops::Range<usize>>,
        key: KeyPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Diagnostic::error(self.document.source(), key, message).at(span).help(help));
    }

    /// See [`Telling::warning`].
    pub(crate) fn warning(&mut self, key: KeyPath, message: impl Into<String>, help: impl Into<String>) {
        self.telling().warning(key, message, help);
    }

    /// See [`Telling::error_if`].
    pub(crate) fn error_if(
        &mut self,
        certain: bool,
        key: KeyPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.telling().error_if(certain, key, message, help);
    }
}

/// Where what is wrong with a file is told, whichever kind of file it is.
pub(crate) struct Telling<'a> {
    /// The text and its tree.
    pub(crate) document: &'a Document<'a>,
    /// All that was told.
    pub(crate) problems: &'a mut Vec<Diagnostic>,
}

impl Telling<'_> {
    /// Tells an error about the value at `key`.
    pub(crate) fn error(&mut self, key: KeyPath, message: impl Into<String>, help: impl Into<String>) {
        let span = self.document.value_span(&key);
        self.problems.push(Diagnostic::error(self.document.source(), key, message).at(span).help(help));
    }

    /// Tells an error about the key itself.
    pub(crate) fn error_at_key(&mut self, key: KeyPath, message: impl Into<String>, help: impl Into<String>) {
        let span = self.document.key_span(&key);
        self.problems.push(Diagnostic::error(self.document.source(), key, message).at(span).help(help));
    }

    /// Tells a warning about the value at `key`.
    pub(crate) fn warning(&mut self, key: KeyPath, message: impl Into<String>, help: impl Into<String>) {
        let span = self.document.value_span(&key);
        self.problems.push(Diagnostic::error(self.document.source(), key, message).at(span).help(help).warning());
    }

    /// An error where the daemon is asked, a warning elsewhere: `certain` says whether what was seen holds for both.
    pub(crate) fn error_if(
        &mut self,
        certain: bool,
        key: KeyPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if certain { self.error(key, message, help) } else { self.warning(key, message, help) }
    }
}

/// Looks at all parts of a task file; gives the schedule when that is right.
pub(crate) fn task(file: &mut TaskFile<'_>, plugin: Option<&Plugin>, site: &Site<'_>) -> Option<Arc<Schedule>> {
    let schedule = timing::check(file, site);
    limits::check(file);
    if let Some(plugin) = plugin {
        plugin_config::check(file, plugin);
        grants::check(file, plugin);
    }
    if file.is_sound("findings") {
        findings::check(file);
    }
    if file.is_sound("alerts") {
        alerts::task(file);
    }
    if file.is_sound("grant") {
        places::check(file, site);
        databases::check(file, site);
        sql::check(file, site);
        http::check(file);
        smtp::check(file);
        secrets::check(file, site);
        outbox::check(file);
        consents::check(file, site);
    }
    schedule
}

/// How to write a time zone that was written differently.
pub(crate) fn timezone_help(wrong: &str) -> String {
    let zones = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    let city = wrong.rsplit('/').next().unwrap_or(wrong).replace(' ', "_");
    let by_city = zones().find(|zone| zone.rsplit('/').next().is_some_and(|name| name.eq_ignore_ascii_case(&city)));
    if city.eq_ignore_ascii_case("beijing") {
        return "write `Asia/Shanghai`, which is the time of all of China".to_owned();
    }
    if wrong.eq_ignore_ascii_case("CST") {
        return "this means several zones: write `Asia/Shanghai` or `America/Chicago`".to_owned();
    }
    if wrong.contains(['+', '-']) && wrong.contains(|digit: char| digit.is_ascii_digit()) {
        return "write a place, so that changes of its clock are known: `Asia/Shanghai` is UTC+8".to_owned();
    }
    match by_city.or_else(|| crate::config::suggest::nearest(wrong, zones())) {
        Some(zone) => format!("did you mean `{zone}`?"),
        None => {
            "write a name such as `Asia/Shanghai`, `Europe/Berlin` or `UTC`; `timedatectl list-timezones` lists them"
                .to_owned()
        }
    }
}
