//! Caches of package managers: what was not used for a while and is fetched or made again when it is needed.
//!
//! Only what is known to be such goes; whatever else stands in the folder, such as indexes, settings, locks and downloads
//! under way, stays. Each layout was looked up in the program that writes it.
//!
//! *Used* is the later of the time of access and the time of change. Where the filesystem is mounted with `noatime`, what
//! is used all the time goes too once it is old enough, and is fetched again.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::config::Span;
use upkeep_plugin::files::{Kind, Root};
use upkeep_plugin::{HostError, Result};

use self::cargo::Cargo;
use self::npm::Npm;
use crate::kind::{HOUR, Idle, Now, Policy, Seen, Verdict, length, positive};

mod cargo;
mod npm;

/// What a package manager has cached and did not use for a while.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CacheSettings {
    /// Whose cache stands at `path`. `apt`: `/var/cache/apt`; `npm`: `~/.npm`; `pip`: `~/.cache/pip`; `cargo`: `~/.cargo`.
    manager: Manager,
    /// What was not used for so long goes.
    older_than: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Manager {
    /// Packages in `archives/`; nothing for an hour after the last one came, since an installation may be under way.
    Apt,
    /// `_cacache/` (content goes only when no entry of the index needs it) and `_logs/`.
    Npm,
    /// Responses and wheels.
    Pip,
    /// Crates, and sources that were unpacked or checked out, each folder as a whole.
    Cargo,
}

impl CacheSettings {
    pub(crate) fn policy(&self) -> Result<Box<dyn Policy>, String> {
        let most = positive("cache.older_than", self.older_than)?;
        Ok(match self.manager {
            Manager::Apt => Box::new(Apt { most }),
            Manager::Npm => Box::new(Npm::new(most)),
            Manager::Pip => Box::new(Pip { most }),
            Manager::Cargo => Box::new(Cargo::new(most)),
        })
    }
}

fn judge_used(seen: &Seen<'_>, now: &Now, most: i64) -> Option<Verdict> {
    let age = now.since(seen.used());
    (age >= most).then(|| Verdict::remove(unused(age)))
}

fn unused(age: i64) -> String {
    format!("cached, not used for {}", length(age))
}

/// A package has the time of its publication, so that it may be old the moment it was fetched.
#[derive(Debug)]
struct Apt {
    most: i64,
}

impl Policy for Apt {
    fn prepare(&mut self, root: &Root, path: &str, now: &Now) -> Result<Option<Idle>> {
        let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        for folder in [join("archives"), path.to_owned()] {
            match root.stat(&folder) {
                Ok(entry) if entry.kind == Kind::Directory => {
                    let is_still = now.since(entry.id.modified_ns) >= HOUR;
                    let why = || Idle::NotNow("apt has fetched packages within the last hour".to_owned());
                    return Ok((!is_still).then(why));
                }
                Ok(_) | Err(HostError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn judge(&self, seen: &Seen<'_>, now: &Now) -> Option<Verdict> {
        let file = seen.path.strip_prefix("archives/").unwrap_or(seen.path);
        if file.contains('/') || !file.ends_with(".deb") { None } else { judge_used(seen, now, self.most) }
    }
}

/// Both parts of a response have to be there, or pip takes it for missing.
#[derive(Debug)]
struct Pip {
    most: i64,
}

impl Policy for Pip {
    fn judge(&self, seen: &Seen<'_>, now: &Now) -> Option<Verdict> {
        let (folder, _) = seen.path.split_once('/')?;
        if ["http", "http-v2", "wheels", "selfcheck"].contains(&folder) {
            judge_used(seen, now, self.most)
        } else {
            None
        }
    }
}
