//! Changes in folders: the configuration's, the plugins', and those that tasks watch.
//!
//! Folders are watched, not files, because editors put a new file in the place of the old one. The watcher only says what
//! changed; what it means and when it has settled is the dispatcher's business.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// A watched folder or file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Watched {
    /// Where.
    pub path: PathBuf,
    /// Whether also in the folders below.
    pub recursive: bool,
}

/// Watches folders and sends the paths that changed.
pub struct Watcher {
    inner: RecommendedWatcher,
    watched: HashSet<Watched>,
}

impl Watcher {
    /// Watches nothing yet; sends to `changes`.
    ///
    /// # Errors
    ///
    /// When the kernel gives no more inotify instances; the text names the setting.
    pub fn new(changes: mpsc::UnboundedSender<PathBuf>) -> Result<Self, String> {
        let inner = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) if matters(event.kind) => event.paths.into_iter().for_each(|path| {
                // The dispatcher is gone only when the daemon stops.
                let _ = changes.send(path);
            }),
            Ok(_) => {}
            Err(error) => tracing::warn!("a watched folder cannot be read: {error}"),
        })
        .map_err(|error| format!("failed to watch folders: {error}; see /proc/sys/fs/inotify/max_user_instances"))?;
        Ok(Self { inner, watched: HashSet::new() })
    }

    /// Watches exactly `wanted` from now on, and gives what could not be watched, with the reason.
    pub fn watch(&mut self, wanted: HashSet<Watched>) -> HashMap<PathBuf, String> {
        let gone: Vec<_> = self.watched.difference(&wanted).cloned().collect();
        for watched in gone {
            // A folder that was removed is not watched any more anyway.
            let _ = self.inner.unwatch(&watched.path);
            self.watched.remove(&watched);
        }
        let mut failed = HashMap::new();
        for watched in wanted {
            let mode = if watched.recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            // Also what is watched already: the folder may be another one by the same name.
            match self.inner.watch(&watched.path, mode) {
                Ok(()) => {
                    self.watched.insert(watched);
                }
                Err(error) => {
                    self.watched.remove(&watched);
                    failed.insert(watched.path, error.to_string());
                }
            }
        }
        failed
    }
}

/// Reading is no change.
fn matters(kind: EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// Whether a path that changed lies at or below one that is watched.
pub fn concerns(watched: &Path, changed: &Path) -> bool {
    changed.starts_with(watched)
}
