//! Files by number: of each group the newest stay.
//!
//! A survey remembers the newest of each group and forgets a group that has no more; groups within one folder are
//! forgotten when the walk leaves it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::Result;
use upkeep_plugin::files::Root;

use self::group::GroupBy;
use crate::kind::folders::Folders;
use crate::kind::{By, Now, Policy, Seen, Survey, Verdict, grouped};

mod group;

/// Of each group the newest files stay, the others go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CountSettings {
    /// How many stay of each group.
    #[schemars(range(min = 1, max = 100_000))]
    keep: u32,
    /// What a group is. `folder`: the files of one folder; `all`: all files beneath `path`; or a pattern with `{name}` in it, such as
    /// `{name}-{date}.tar.gz`: files of which `{name}` is the same. `{date}` stands for a date, `*` and `?` for whatever there is.
    /// A pattern without a slash is about names, and groups are within one folder; one with a slash is about the whole path.
    /// Files that do not match it are left alone.
    #[serde(default)]
    group_by: GroupBy,
    /// Which time counts; files of the same time are in order of their paths.
    #[serde(default)]
    by: By,
}

impl CountSettings {
    pub(crate) fn policy(&self) -> Result<Box<dyn Policy>, String> {
        if self.keep == 0 {
            return Err("`count.keep` has to be at least 1; to remove all, write `all = true`".to_owned());
        }
        let (open, bounds) = (Folders::default(), HashMap::new());
        Ok(Box::new(Count { keep: self.keep as usize, group_by: self.group_by.clone(), by: self.by, open, bounds }))
    }
}

#[derive(Debug)]
struct Count {
    keep: usize,
    group_by: GroupBy,
    by: By,
    open: Folders<HashMap<String, Newest>>,
    /// The oldest that stays of each group, by folder and name; only of groups of which others go.
    bounds: HashMap<(String, String), (i64, String)>,
}

/// The newest of a group.
#[derive(Debug, Default)]
struct Newest {
    files: BinaryHeap<Reverse<(i64, String)>>,
    has_others: bool,
}

impl Newest {
    fn add(&mut self, most: usize, time: i64, path: &str) {
        if self.files.len() < most {
            self.files.push(Reverse((time, path.to_owned())));
            return;
        }
        self.has_others = true;
        if let Some(mut oldest) = self.files.peek_mut()
            && (oldest.0.0, oldest.0.1.as_str()) < (time, path)
        {
            *oldest = Reverse((time, path.to_owned()));
        }
    }

    fn bound(self) -> Option<(i64, String)> {
        self.files.into_iter().map(|Reverse(it)| it).min().filter(|_| self.has_others)
    }
}

type Bounds = HashMap<(String, String), (i64, String)>;

fn close(bounds: &mut Bounds) -> impl FnMut(String, HashMap<String, Newest>) {
    |folder, groups| {
        let found = groups.into_iter().filter_map(|(name, newest)| Some(((folder.clone(), name), newest.bound()?)));
        bounds.extend(found);
    }
}

impl Policy for Count {
    fn survey(&self) -> Survey {
        Survey::All
    }

    fn look(&mut self, seen: &Seen<'_>, now: &Now, _: &Root) -> Result<()> {
        let group = self.group_by.of(seen).zip(self.by.time(seen, now));
        let Some(((folder, name), time)) = group else { return Ok(()) };
        let groups = self.open.at(folder, close(&mut self.bounds));
        if !groups.contains_key(name) {
            groups.insert(name.to_owned(), Newest::default());
        }
        if let Some(newest) = groups.get_mut(name) {
            newest.add(self.keep, time, seen.path);
        }
        Ok(())
    }

    fn surveyed(&mut self, _: &Now) -> bool {
        self.open.end(close(&mut self.bounds));
        false
    }

    fn judge(&self, seen: &Seen<'_>, now: &Now) -> Option<Verdict> {
        if self.bounds.is_empty() {
            return None;
        }
        let (folder, name) = self.group_by.of(seen)?;
        let (time, path) = self.bounds.get(&(folder.to_owned(), name.to_owned()))?;
        let is_older = (self.by.time(seen, now)?, seen.path) < (*time, path.as_str());
        is_older.then(|| match (folder, name) {
            (_, "") => Verdict::remove(format!("not among the {} newest", grouped(self.keep as u64))),
            _ => Verdict::remove(format!("not among the {} newest of `{name}`", grouped(self.keep as u64))),
        })
    }
}
