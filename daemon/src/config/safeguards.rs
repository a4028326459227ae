//! What the configuration as a whole says about removing: what no task may remove, since another one needs it, and whose
//! runs prove that a backup is good.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::dump::DumpGrant;
use crate::config::grant::{RepositoryAccess, RepositoryGrant};
use crate::config::load::Task;
use crate::removal::protect::Known;
use crate::storage::address::{Address, Place};

/// The same for all tasks of a configuration.
#[derive(Debug, Default)]
pub struct Safeguards {
    /// Repositories, databases and upkeep's own folders.
    pub known: Vec<Known>,
    /// The tasks that check or restore what a task saves, by its name.
    pub verifiers: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

impl Safeguards {
    /// What these tasks and the daemon's own folders amount to.
    pub(crate) fn of<'a>(tasks: impl Iterator<Item = &'a Task> + Clone, own: impl Iterator<Item = PathBuf>) -> Self {
        let mut known: Vec<_> = own.map(|path| Known { path, what: "upkeep's own folder" }).collect();
        let mut verifiers = BTreeMap::new();
        for task in tasks.clone() {
            for grant in task.grants.repository.values() {
                if let Ok(Address { place: Place::Folder(path) }) = Address::parse(&grant.url) {
                    known.push(Known { path, what: "the repository" });
                }
            }
            let dumped = task.grants.dump.values().filter_map(|dump| match dump {
                DumpGrant::Sqlite(path) => Some(path.clone()),
                _ => None,
            });
            let queried = task.grants.sql.values().filter_map(|sql| sql.sqlite.clone());
            known.extend(dumped.chain(queried).map(|path| Known { path, what: "the database" }));
            let proves = |other: &&Task| {
                let saved: Vec<_> = saved_to(task).collect();
                other.grants.repository.values().any(|grant| {
                    let rights = [RepositoryAccess::Check, RepositoryAccess::Restore];
                    saved.contains(&place(grant)) && grant.access.iter().any(|right| rights.contains(right))
                })
            };
            let provers: Vec<_> = tasks.clone().filter(proves).map(|task| Arc::clone(&task.name)).collect();
            if saved_to(task).next().is_some() {
                verifiers.insert(Arc::clone(&task.name), provers);
            }
        }
        known.sort_by(|one, other| one.path.cmp(&other.path));
        known.dedup_by(|one, other| one.path == other.path);
        Self { known, verifiers }
    }
}

/// Where a task adds snapshots.
fn saved_to(task: &Task) -> impl Iterator<Item = &str> {
    let repositories = task.grants.repository.values();
    repositories.filter(|grant| grant.access.contains(&RepositoryAccess::Append)).map(place)
}

/// The address, however its end is written.
fn place(grant: &RepositoryGrant) -> &str {
    grant.url.trim_end_matches('/')
}
