//! `[grant]` of a task file: what the task may touch. What is not named here is denied.
//!
//! The effective right is what the plugin's manifest asks for and this grants; the two are compared when the
//! configuration is loaded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::consents::ConsentsGrant;
use crate::config::dump::DumpGrant;
use crate::config::http::HttpGrant;
use crate::config::outbox::OutboxGrant;
use crate::config::rate::Rate;
use crate::config::removal::RemovalGrant;
use crate::config::secret::Secret;
use crate::config::secrets::SecretGrant;
use crate::config::size::Size;
use crate::config::smtp::SmtpGrant;
use crate::config::sql::SqlGrant;

/// All that a task may touch, by capability and name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// Key-value state of this task.
    pub state: bool,
    /// Counters, gauges and histograms.
    pub metrics: bool,
    /// Groups of read-only facts about the server.
    pub system: Vec<SystemGroup>,
    /// Folders, by the name that the plugin's config uses.
    pub files: BTreeMap<String, FilesGrant>,
    /// Backup repositories, by name.
    pub repository: BTreeMap<String, RepositoryGrant>,
    /// Databases to dump, by name.
    pub dump: BTreeMap<String, DumpGrant>,
    /// Requests to other servers.
    pub http: Option<Arc<HttpGrant>>,
    /// Secrets that the daemon fills into requests, or signs with, by the name that placeholders use.
    pub secrets: BTreeMap<String, SecretGrant>,
    /// Mail servers to send by, by name.
    pub smtp: BTreeMap<String, Arc<SmtpGrant>>,
    /// Where snapshots are restored on trial.
    pub drill: Option<DrillGrant>,
    /// The journal of systemd.
    pub journal: Option<JournalGrant>,
    /// Messages that are to be delivered.
    pub outbox: Option<OutboxGrant>,
    /// Users' consents to messages.
    pub consents: Option<ConsentsGrant>,
    /// Databases to query, by name. `private` is reserved for the task's own.
    pub sql: BTreeMap<String, SqlGrant>,
}

/// A group of facts. Only `accounts` names people: who may log in, and who may become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are those of the host API")]
pub enum SystemGroup {
    Os,
    Disks,
    Memory,
    Load,
    Packages,
    Sockets,
    Services,
    Accounts,
    Kernel,
    Sshd,
    Updates,
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesGrant {
    /// The folder; absolute.
    pub path: PathBuf,
    /// Rights; reading by default.
    #[serde(default = "read_files")]
    pub access: Vec<FilesAccess>,
    /// What the right `remove` is worth.
    #[serde(default)]
    pub removal: RemovalGrant,
}

impl FilesGrant {
    /// A folder with these rights.
    pub fn new(path: impl Into<PathBuf>, access: Vec<FilesAccess>) -> Self {
        Self { path: path.into(), access, removal: RemovalGrant::default() }
    }
}

/// A right on a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FilesAccess {
    /// Walk and read.
    Read,
    /// Make and replace files.
    Write,
    /// Remove files and empty folders, within what `removal` says.
    Remove,
}

fn read_files() -> Vec<FilesAccess> {
    vec![FilesAccess::Read]
}

/// A backup repository in restic's format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryGrant {
    /// Where it is: an absolute path, `sftp://USER@HOST:PORT/PATH`, `s3://BUCKET/PREFIX`, or `webdavs://HOST/PATH`.
    pub url: String,
    /// Where the password is. Never the password itself.
    pub password: Secret,
    /// What else there is to know to reach it; which names there are depends on the kind of the address.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Where the credentials of the server are, by name. Never the credentials themselves.
    #[serde(default)]
    pub secrets: BTreeMap<String, Secret>,
    /// How fast it is written to at the most.
    #[serde(default)]
    pub upload: Option<Rate>,
    /// How fast it is read from at the most.
    #[serde(default)]
    pub download: Option<Rate>,
    /// Rights; appending by default.
    #[serde(default = "append_repository")]
    pub access: Vec<RepositoryAccess>,
    /// Which snapshots may be removed by the right `prune`: those that carry one of these tags. `upkeep:NAME` is on those
    /// of the task NAME, a `*` at the end stands for anything, and `*` alone is any snapshot. By default those of all
    /// tasks of upkeep.
    #[serde(default = "forget_own")]
    pub forget: Vec<String>,
}

impl RepositoryGrant {
    /// What stands in the folder of a repository beside its `config` (and may stand there without one, when the making of it
    /// was interrupted).
    pub const PARTS: [&str; 6] = ["data", "index", "keys", "snapshots", "locks", "lost+found"];

    /// A repository without options or limits, to which may be appended.
    pub fn new(url: impl Into<String>, password: Secret) -> Self {
        Self {
            url: url.into(),
            password,
            options: BTreeMap::new(),
            secrets: BTreeMap::new(),
            upload: None,
            download: None,
            access: append_repository(),
            forget: forget_own(),
        }
    }
}

/// A right on a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RepositoryAccess {
    /// Add snapshots.
    Append,
    /// See which snapshots there are.
    List,
    /// Remove snapshots, and the data that no snapshot needs.
    Prune,
    /// Look for damage. What is read is shown to nobody; the names of what is lost are.
    Check,
    /// Restore into scratch folders and scratch servers of the host, for drills.
    Restore,
}

/// Whether snapshots with these tags may be removed where `forget` stands in the grant.
pub fn may_forget(forget: &[String], tags: &[String]) -> bool {
    forget.iter().any(|pattern| match pattern.strip_suffix('*') {
        // Also a snapshot without any tag.
        Some("") => true,
        Some(start) => tags.iter().any(|tag| tag.starts_with(start)),
        None => tags.contains(pattern),
    })
}

fn forget_own() -> Vec<String> {
    vec!["upkeep:*".to_owned()]
}

fn append_repository() -> Vec<RepositoryAccess> {
    vec![RepositoryAccess::Append]
}

/// Where snapshots are restored on trial, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DrillGrant {
    /// The folder in which the host makes a folder for each trial, and removes it afterwards; absolute. A scratch server of
    /// a database runs as another user, who has to be able to enter it.
    pub folder: PathBuf,
    /// What is larger is not restored.
    pub max_size: Size,
    /// The folder of the programs of database servers, where they are not in the usual places.
    pub tools: Option<PathBuf>,
}

impl Default for DrillGrant {
    fn default() -> Self {
        Self { folder: PathBuf::from("/var/tmp"), max_size: Size(100 << 30), tools: None }
    }
}

/// The journal of systemd, and how much of it stays at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalGrant {
    /// The folder of the journal; absolute. Left out: where systemd keeps it.
    pub folder: Option<PathBuf>,
    /// It is never vacuumed to less than this.
    pub keep: Size,
    /// Nothing younger than this is vacuumed for its age.
    #[serde(with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub keep_time: Duration,
}

impl Default for JournalGrant {
    fn default() -> Self {
        Self { folder: None, keep: Size(100 << 20), keep_time: Duration::from_secs(2 * 86_400) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_may_be_removed() {
        let list = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        for (forget, tags, may) in [
            (&["upkeep:*"][..], &["upkeep:app"][..], true),
            (&["upkeep:*"], &["nightly", "upkeep:"], true),
            (&["upkeep:*"], &[], false),
            (&["upkeep:*"], &["upkeep", "my upkeep:app"], false),
            (&["upkeep:app"], &["upkeep:app"], true),
            (&["upkeep:app"], &["upkeep:app2", "nightly"], false),
            (&["upkeep:app", "nightly"], &["nightly"], true),
            (&["*"], &[], true),
            (&["*"], &["anything"], true),
            (&[""], &["anything"], false),
            (&[], &["upkeep:app"], false),
        ] {
            assert_eq!(may_forget(&list(forget), &list(tags)), may, "{forget:?} {tags:?}");
        }
        assert!(may_forget(&forget_own(), &list(&["upkeep:app"])));
    }
}
