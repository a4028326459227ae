//! Folders that hold nothing, or nothing more once the other rules are through.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::config::Span;
use upkeep_plugin::files::Kind;

use crate::kind::{Now, Policy, Seen, Verdict, positive};

/// Folders with nothing in them go, and those that this run empties.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyFoldersSettings {
    /// Only those in which nothing was added, renamed or removed for so long before the run.
    #[serde(default)]
    older_than: Option<Span>,
}

#[derive(Debug)]
struct EmptyFolders {
    most: Option<i64>,
}

impl EmptyFoldersSettings {
    pub(crate) fn policy(&self) -> Result<Box<dyn Policy>, String> {
        let most = self.older_than.map(|it| positive("empty_folders.older_than", it)).transpose()?;
        Ok(Box::new(EmptyFolders { most }))
    }
}

impl Policy for EmptyFolders {
    fn judge(&self, _: &Seen<'_>, _: &Now) -> Option<Verdict> {
        None
    }

    fn judge_empty(&self, seen: &Seen<'_>, now: &Now) -> Option<Cow<'static, str>> {
        let age = now.since(seen.entry.id.modified_ns);
        self.most.is_none_or(|most| age >= most).then_some("empty folder".into())
    }

    fn concerns(&self, kind: Kind) -> bool {
        kind == Kind::Directory
    }

    fn needs_all(&self) -> bool {
        true
    }
}
