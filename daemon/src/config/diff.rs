//! What a reload has to change: pure, so that it can be tested and shown before anything happens.

use std::sync::Arc;

use crate::config::load::{Config, Task};

/// The difference between two configurations; names are sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Tasks that are new.
    pub added: Vec<Arc<str>>,
    /// Tasks that are gone.
    pub removed: Vec<Arc<str>>,
    /// Tasks that are not as before: their file or their plugin changed.
    pub changed: Vec<Arc<str>>,
    /// Whether `upkeep.toml` says something else.
    pub settings_changed: bool,
}

impl Diff {
    /// Whether nothing has to be done.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares two configurations.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let only_in = |one: &Config, other: &Config| {
        one.tasks.keys().filter(|name| !other.tasks.contains_key(*name)).cloned().collect()
    };
    let changed = |(name, task): (&Arc<str>, &Arc<Task>)| {
        old.tasks.get(name).filter(|before| before.digest != task.digest).map(|_| name.clone())
    };
    Diff {
        added: only_in(new, old),
        removed: only_in(old, new),
        changed: new.tasks.iter().filter_map(changed).collect(),
        settings_changed: old.settings != new.settings,
    }
}
