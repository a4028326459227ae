//! Log files that have been rotated: compressed first, removed later.
//!
//! Which file is which its name says ([`name`]). A survey puts the rotated files of each log in order while the walk is in
//! their folder, and remembers what becomes of those for which something does. It is held to the very file: logs are
//! rotated at night, when this runs too, and a name may be another file a moment later.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::Result;
use upkeep_plugin::config::Span;
use upkeep_plugin::files::{Identity, Root};
use upkeep_plugin::removal;

use self::name::Rotated;
use crate::kind::folders::Folders;
use crate::kind::{Act, Now, Policy, Seen, Survey, Verdict, grouped, length, positive};

mod name;

/// Rotated log files, by the names that logrotate gives: `access.log.1`, `access.log.2.gz`, `access.log-20261123`. The log
/// itself is never touched; where there is none, because its names have dates from the start, the newest one is not.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogsSettings {
    /// Files to which nothing was written for so long are compressed.
    #[serde(default)]
    compress_after: Option<Span>,
    /// How they are compressed.
    #[serde(default)]
    compression: Compression,
    /// Whether the newest rotated file of each log stays as it is, since a process may still write to it.
    #[serde(default = "yes")]
    delaycompress: bool,
    /// Files to which nothing was written for so long go.
    #[serde(default)]
    remove_after: Option<Span>,
    /// So many rotated files of each log stay, the newest.
    #[serde(default)]
    #[schemars(range(min = 1))]
    keep: Option<u32>,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Compression {
    /// `NAME.gz`.
    #[default]
    Gzip,
    /// `NAME.zst`.
    Zstd,
}

fn yes() -> bool {
    true
}

impl LogsSettings {
    pub(crate) fn policy(&self) -> Result<Box<dyn Policy>, String> {
        let compress_after = self.compress_after.map(|it| positive("logs.compress_after", it)).transpose()?;
        let remove_after = self.remove_after.map(|it| positive("logs.remove_after", it)).transpose()?;
        let keep = self.keep.map(|it| it as usize);
        if keep == Some(0) {
            return Err("`logs.keep` has to be at least 1".to_owned());
        }
        if (compress_after, remove_after, keep) == (None, None, None) {
            return Err("`logs` needs `compress_after`, `remove_after` or `keep`".to_owned());
        }
        let compression = match self.compression {
            Compression::Gzip => removal::Compression::Gzip,
            Compression::Zstd => removal::Compression::Zstd,
        };
        let rule = Settings { compress_after, compression, delaycompress: self.delaycompress, remove_after, keep };
        Ok(Box::new(Logs { settings: rule, open: Folders::default(), fates: HashMap::new() }))
    }
}

#[derive(Debug)]
struct Settings {
    compress_after: Option<i64>,
    compression: removal::Compression,
    delaycompress: bool,
    remove_after: Option<i64>,
    keep: Option<usize>,
}

#[derive(Debug)]
struct Logs {
    settings: Settings,
    open: Folders<Folder>,
    fates: HashMap<String, (Identity, Verdict)>,
}

/// What stands in one folder.
#[derive(Debug, Default)]
struct Folder {
    /// Files that are not rotated.
    others: HashSet<String>,
    /// The rotated files of each log.
    logs: HashMap<String, Vec<File>>,
}

#[derive(Debug)]
struct File {
    path: String,
    id: Identity,
    rotated: Rotated,
}

impl Settings {
    /// What becomes of the files of a folder.
    fn decide(&self, folder: Folder, now: i64, fates: &mut HashMap<String, (Identity, Verdict)>) {
        for (log, mut files) in folder.logs {
            let has_log = folder.others.contains(&log);
            files.retain(|it| has_log || !it.rotated.needs_log);
            // The newest first.
            files.sort_by(|one, other| {
                let key = |it: &File| (it.id.modified_ns, it.rotated.order);
                key(other).cmp(&key(one)).then_with(|| one.path.cmp(&other.path))
            });
            for (place, file) in files.into_iter().skip(usize::from(!has_log)).enumerate() {
                if let Some(verdict) = self.fate(&file, place, now) {
                    fates.insert(file.path, (file.id, verdict));
                }
            }
        }
    }

    fn fate(&self, file: &File, place: usize, now: i64) -> Option<Verdict> {
        let age = now.saturating_sub(file.id.modified_ns);
        if self.remove_after.is_some_and(|most| age >= most) {
            return Some(Verdict::remove(format!("rotated log, last written to {} ago", length(age))));
        }
        if let Some(keep) = self.keep
            && place >= keep
        {
            return Some(Verdict::remove(format!("rotated log, not among the {} newest", grouped(keep as u64))));
        }
        let is_ready = !file.rotated.is_compressed && file.id.size > 0 && !(self.delaycompress && place == 0);
        let compress = self.compress_after.is_some_and(|most| age >= most) && is_ready;
        compress.then(|| Verdict {
            act: Act::Compress(self.compression),
            reason: format!("rotated log, last written to {} ago", length(age)).into(),
        })
    }
}

impl Policy for Logs {
    fn survey(&self) -> Survey {
        Survey::All
    }

    fn look(&mut self, seen: &Seen<'_>, now: &Now, _: &Root) -> Result<()> {
        let Self { settings, open, fates } = self;
        let folder = open.at(seen.folder(), |_, folder| settings.decide(folder, now.ns, fates));
        match name::parse(seen.name()) {
            None => {
                folder.others.insert(seen.name().to_owned());
            }
            Some((log, rotated)) => {
                let file = File { path: seen.path.to_owned(), id: seen.entry.id, rotated };
                folder.logs.entry(log).or_default().push(file);
            }
        }
        Ok(())
    }

    fn surveyed(&mut self, now: &Now) -> bool {
        let Self { settings, open, fates } = self;
        open.end(|_, folder| settings.decide(folder, now.ns, fates));
        false
    }

    fn judge(&self, seen: &Seen<'_>, _: &Now) -> Option<Verdict> {
        let (id, verdict) = self.fates.get(seen.path)?;
        (*id == seen.entry.id).then(|| verdict.clone())
    }
}

#[cfg(test)]
mod tests {
    use upkeep_plugin::files::{Entry, Kind};
    use upkeep_plugin::test::Host;

    use super::*;
    use crate::date::Calendar;

    /// logrotate has been at work between the survey and the walk that decides.
    #[test]
    fn a_name_that_is_another_file_by_then_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let _host = Host::new().root("logs", folder.path());
        let root = Root::open("logs").unwrap();
        let now = Now { ns: i64::MAX, calendar: Calendar::new("UTC").unwrap() };
        let entry = |path: &str, inode| Entry {
            path: path.to_owned(),
            kind: Kind::File,
            id: Identity { device: 1, inode, size: 9, modified_ns: 0 },
            mode: 0o644,
            uid: 0,
            gid: 0,
            accessed_ns: 0,
        };
        let settings: LogsSettings = serde_json::from_str(r#"{ "remove_after": "1d" }"#).unwrap();
        let mut logs = settings.policy().unwrap();
        for (path, inode) in [("a.log", 1), ("a.log.1", 2), ("a.log.2", 3)] {
            logs.look(&Seen { entry: &entry(path, inode), path }, &now, &root).unwrap();
        }
        assert!(!logs.surveyed(&now));
        let goes = |path: &str, inode| logs.judge(&Seen { entry: &entry(path, inode), path }, &now).is_some();
        assert!(goes("a.log.1", 2) && goes("a.log.2", 3));
        assert!(!goes("a.log.1", 1) && !goes("a.log.2", 2) && !goes("a.log.3", 3));
    }
}
