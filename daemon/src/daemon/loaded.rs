//! A configuration that is ready to be used: validated, its plugins compiled, its schedules compiled. It is built whole
//! before anything of the old one is let go.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{self, Timestamp};
use crate::config::check::Surroundings;
use crate::config::diagnostic::Style;
use crate::config::load::{Config, Task, load};
use crate::sandbox::{Plugin, Sandbox};

/// Compiled plugins, by file.
pub(super) type Plugins = HashMap<PathBuf, Arc<Plugin>>;

/// Reads and validates the folder `dir`. Blocks. The error is what the operator reads.
pub(super) fn validate(dir: &Path) -> Result<Config, String> {
    let variable = |name: &str| std::env::var(name).ok();
    let surroundings = Surroundings::of_process(&variable, true);
    let config = load(dir, &surroundings).map_err(|diagnostics| diagnostics.render(Style::Plain))?;
    for warning in &config.warnings.0 {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// See the module.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) at: Timestamp,
    /// Enabled tasks that events start: the few that are looked through at each event, such as the end of a run.
    pub(super) eventful: Vec<Arc<Task>>,
    plugins: Plugins,
}

impl Loaded {
    /// Compiles what a configuration needs. Compiled plugins that are the same are taken over from `before`. Blocks.
    ///
    /// The error is what the operator reads.
    pub(super) fn compile(config: Config, sandbox: &Sandbox, before: &Plugins) -> Result<Self, String> {
        let mut plugins = Plugins::new();
        for task in config.tasks.values() {
            let wanted = &task.plugin;
            if plugins.contains_key(&wanted.path) {
                continue;
            }
            let digest = wanted.digest;
            let plugin = match before.get(&wanted.path) {
                Some(plugin) if plugin.digest == digest => Arc::clone(plugin),
                _ => Arc::new(sandbox.load(&wanted.path).map_err(|error| error.to_string())?),
            };
            if plugin.digest != digest {
                return Err(format!("{} changed while it was being loaded; it is tried again", wanted.path.display()));
            }
            plugins.insert(wanted.path.clone(), plugin);
        }
        let by_event = |task: &&Arc<Task>| {
            let triggers = &task.triggers;
            let by_outcome = !triggers.watch.is_empty() || !triggers.after.is_empty();
            task.enabled && (triggers.startup || triggers.outbox || by_outcome)
        };
        let eventful = config.tasks.values().filter(by_event).cloned().collect();
        Ok(Self { config, at: clock::now(), eventful, plugins })
    }

    /// The compiled plugins, by file.
    pub(super) fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    pub(super) fn task(&self, name: &str) -> Option<&Arc<Task>> {
        self.config.tasks.get(name)
    }

    /// The compiled plugin of a task of this configuration.
    pub(super) fn plugin(&self, task: &Task) -> Option<&Arc<Plugin>> {
        self.plugins.get(&task.plugin.path)
    }
}
