//! A new configuration in the place of the old one: noticed, loaded beside the loop, taken over when it is whole.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::dispatcher::{Dispatcher, Note};
use super::loaded::{Loaded, validate};
use crate::clock;
use crate::command::{CommandError, Reloaded};
use crate::config::diff::diff;
use crate::config::load::Task;
use crate::memory;
use crate::reload::Watched;
use crate::server::listen::{Prepared, prepare};

/// How long a folder has to be quiet before what changed in it is looked at: editors and package managers write in steps.
const SETTLE: Duration = Duration::from_millis(300);

/// Who waits for a reload.
pub(super) type Waiting = Vec<oneshot::Sender<Result<Reloaded, CommandError>>>;

impl Dispatcher {
    pub(super) fn path_changed(&mut self, path: PathBuf) {
        let settings = &self.loaded.config.settings;
        let at = Instant::now() + SETTLE;
        if path.starts_with(&self.config_dir) || path.starts_with(&settings.plugin_dir) {
            self.reload_at = Some(at);
        }
        let watched = |task: &Arc<Task>| task.triggers.watch.iter().find(|watched| path.starts_with(watched)).cloned();
        for watched in self.loaded.eventful.iter().filter_map(watched) {
            self.unsettled.insert(watched, at);
        }
    }

    pub(super) fn settled(&mut self) {
        let now = Instant::now();
        if self.reload_at.is_some_and(|at| at <= now) {
            self.reload(Vec::new());
        }
        let settled: Vec<_> =
            self.unsettled.iter().filter(|(_, at)| **at <= now).map(|(path, _)| path.clone()).collect();
        for path in settled {
            self.unsettled.remove(&path);
            self.changed(&path);
        }
    }

    /// Loads the configuration anew, beside the loop; it is taken over when it is whole.
    pub(super) fn reload(&mut self, replies: Waiting) {
        if self.loading {
            // What is being loaded may be older than what was written since.
            self.reload_at = Some(Instant::now() + SETTLE);
            self.reload_replies.extend(replies);
            return;
        }
        let mut replies = replies;
        replies.append(&mut self.reload_replies);
        self.reload_at = None;
        self.loading = true;
        if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading, now]);
        }
        let (dir, sandbox) = (self.config_dir.clone(), self.runner.sandbox.clone());
        let (plugins, notes) = (self.loaded.plugins().clone(), self.notes.clone());
        let listening = self.listener.address();
        tokio::task::spawn_blocking(move || {
            let load = || {
                let loaded = validate(&dir).and_then(|config| Loaded::compile(config, &sandbox, &plugins))?;
                let settings = loaded.config.settings.listen.as_ref();
                let prepared = prepare(settings, &dir, listening).map_err(|error| error.to_string())?;
                Ok(Box::new((loaded, prepared)))
            };
            let _ = notes.send(Note::Loaded(load(), replies));
        });
    }

    pub(super) fn take_over(&mut self, loaded: Result<Box<(Loaded, Prepared)>, String>, replies: Waiting) {
        self.loading = false;
        let result = loaded.and_then(|loaded| {
            let (loaded, prepared) = *loaded;
            self.listener.take_over(prepared).map_err(|error| format!("the address cannot be listened to: {error}"))?;
            Ok(self.swap(loaded))
        });
        match &result {
            Ok(Reloaded { added, removed, changed })
                if added.is_empty() && removed.is_empty() && changed.is_empty() => {}
            Ok(reloaded) => {
                tracing::info!(added = ?reloaded.added, removed = ?reloaded.removed, changed = ?reloaded.changed, "configuration reloaded")
            }
            Err(message) => tracing::error!("the configuration is not valid, the one before stays in use:\n{message}"),
        }
        self.config_error = result.as_ref().err().cloned();
        self.alert_of_config(self.config_error.clone().as_deref(), clock::now());
        memory::give_back();
        // Folders may have come or been replaced, also when what is in them is not valid.
        self.watch();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        for reply in replies {
            let _ = reply.send(result.clone().map_err(|message| CommandError::Config { message }));
        }
    }

    fn swap(&mut self, loaded: Loaded) -> Reloaded {
        let diff = diff(&self.loaded.config, &loaded.config);
        let (old, new) = (&self.loaded.config.settings, &loaded.config.settings);
        if (&old.state_dir, &old.socket, old.workers) != (&new.state_dir, &new.socket, new.workers) {
            tracing::warn!("state_dir, socket or workers changed in upkeep.toml: that takes effect at the next start");
        }
        let digest_changed = old.alerts.digest != new.alerts.digest || old.timezone != new.timezone;
        self.loaded = loaded;
        self.queue.set_permits(self.loaded.config.settings.max_running as usize);
        let secrets = self.loaded.config.tasks.values().flat_map(|task| task.grants.secrets.values());
        self.runner.keepers.retain(secrets.filter_map(|secret| secret.wechat.as_ref()));
        let now = clock::now();
        for name in diff.added.iter().chain(&diff.changed).chain(&diff.removed) {
            self.plan_task(name, now, now);
        }
        self.alerts_reconfigured(&diff, now);
        if digest_changed {
            self.plan_digest(now);
        }
        let names = |names: &[Arc<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        Reloaded { added: names(&diff.added), removed: names(&diff.removed), changed: names(&diff.changed) }
    }

    pub(super) fn watch(&mut self) {
        let folder = |path: &Path| Watched { path: path.to_owned(), recursive: false };
        let mut wanted = HashSet::from([
            folder(&self.config_dir),
            folder(&self.config_dir.join("tasks.d")),
            folder(&self.loaded.config.settings.plugin_dir),
        ]);
        for task in &self.loaded.eventful {
            wanted.extend(task.triggers.watch.iter().map(|path| Watched { path: path.clone(), recursive: true }));
        }
        for (path, reason) in self.watcher.watch(wanted) {
            tracing::warn!(path = %path.display(), "changes here go unnoticed: {reason}");
        }
    }
}
