//! `~/.cargo`: `registry/cache/INDEX/*.crate` by file; `registry/src/INDEX/CRATE` and `git/checkouts/REPOSITORY/COMMIT` each as
//! a whole, since cargo takes a folder that is there for complete. Clones (`git/db`), indexes, settings, credentials and
//! installed programs stay.

use std::collections::HashMap;

use upkeep_plugin::Result;
use upkeep_plugin::files::{Kind, Root};

use crate::kind::cache::{judge_used, unused};
use crate::kind::{Now, Policy, Seen, Survey, Verdict};

#[derive(Debug)]
pub(super) struct Cargo {
    most: i64,
    /// When something in a folder that goes as a whole was last used.
    used: HashMap<String, i64>,
}

impl Cargo {
    pub(super) fn new(most: i64) -> Self {
        Self { most, used: HashMap::new() }
    }
}

/// The folder that goes as a whole and holds `path`, or is it.
fn whole(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("registry/src/").or_else(|| path.strip_prefix("git/checkouts/"))?;
    let begin = path.len() - inner.len();
    let (first, rest) = inner.split_once('/')?;
    let second = rest.split('/').next()?;
    Some(&path[..begin + first.len() + 1 + second.len()])
}

impl Policy for Cargo {
    fn survey(&self) -> Survey {
        Survey::All
    }

    fn look(&mut self, seen: &Seen<'_>, _: &Now, _: &Root) -> Result<()> {
        let Some(folder) = whole(seen.path) else { return Ok(()) };
        // A walk reads folders, and may move their time of access.
        let is_folder = seen.entry.kind == Kind::Directory;
        let used = if is_folder { seen.entry.id.modified_ns } else { seen.used() };
        match self.used.get_mut(folder) {
            Some(last) => *last = used.max(*last),
            None => {
                self.used.insert(folder.to_owned(), used);
            }
        }
        Ok(())
    }

    fn surveyed(&mut self, now: &Now) -> bool {
        self.used.retain(|_, used| now.since(*used) >= self.most);
        false
    }

    fn judge(&self, seen: &Seen<'_>, now: &Now) -> Option<Verdict> {
        if let Some(folder) = whole(seen.path) {
            if folder == seen.path && seen.entry.kind != Kind::Directory {
                return None;
            }
            return self.used.get(folder).map(|used| Verdict::remove(unused(now.since(*used))));
        }
        let mut parts = seen.path.strip_prefix("registry/cache/")?.split('/');
        let is_crate = parts.by_ref().count() == 2 && seen.path.ends_with(".crate") && seen.entry.kind == Kind::File;
        if is_crate { judge_used(seen, now, self.most) } else { None }
    }

    fn concerns(&self, _: Kind) -> bool {
        true
    }

    fn needs_all(&self) -> bool {
        true
    }
}
