//! Which files a check looks at.

use std::io::Read;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::files::{Entry, Kind, Root};
use upkeep_plugin::{HostResult, Result};

use crate::contents::{Batch, Contents};
use crate::share::Share;

/// A root, or a folder of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scope {
    /// The name of a `[grant.files.NAME]`.
    pub(crate) root: String,
    /// A folder beneath it; by default all of it.
    #[serde(default)]
    pub(crate) path: String,
    /// What is left out, in the patterns of a .gitignore file, relative to the root.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
}

impl Scope {
    pub(crate) fn open(&self) -> HostResult<Root> {
        Root::open(&self.root)
    }

    /// Calls `each` for each regular file; gives what could not be looked into, as `path: reason`.
    pub(crate) fn files(&self, root: &Root, mut each: impl FnMut(&Entry) -> Result<()>) -> Result<Vec<String>> {
        let walk = root.walk().path(self.path.as_str());
        let walk = self.exclude.iter().fold(walk, |walk, pattern| walk.exclude(pattern.as_str()));
        let mut entries = walk.entries()?;
        for entry in entries.by_ref() {
            let entry = entry?;
            if entry.kind == Kind::File {
                each(&entry)?;
            }
        }
        Ok(entries.problems())
    }

    /// Calls `each` for each regular file of a share, with what is in it; gives what could not be looked into, as
    /// `path: reason`.
    pub(crate) fn contents(
        &self,
        root: &Root,
        share: Share,
        mut each: impl FnMut(&Entry, HostResult<Contents>) -> Result<()>,
    ) -> Result<Vec<String>> {
        let mut batch = Batch::default();
        let problems = self.files(root, |entry| match share.takes(&entry.path) {
            true => batch.take(root, entry, &mut each),
            false => Ok(()),
        })?;
        batch.give(root, &mut each)?;
        Ok(problems)
    }

    /// How a file is called in findings: with the root in front.
    pub(crate) fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }
}

/// The whole of a file of at most `most` bytes; none when it is larger.
pub(crate) fn read(root: &Root, entry: &Entry, most: u64) -> Result<Option<Vec<u8>>> {
    if entry.id.size > most {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(entry.id.size).unwrap_or(0));
    let read = root.read(&entry.path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok((read as u64 <= most).then_some(bytes))
}
