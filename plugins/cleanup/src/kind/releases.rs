//! Releases of an app, each a folder: the newest stay, and the one that runs.
//!
//! A release goes as a whole. That the link does not lead to it is asked when the plan is made, and once more by the host when
//! it removes: somebody may have gone back to an old release in between.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::files::{Kind, Root};
use upkeep_plugin::{HostError, Result};

use crate::kind::{Act, Idle, Now, Policy, Seen, Survey, Verdict, grouped};
use crate::pattern::beneath;

/// Of the folders right beneath `path` the newest stay, and the one that a link leads to. They are in order of the dates in
/// their names, if each has one, else of their times of change. Whatever stands in the others goes with them. `match` and
/// `exclude` are about the names of the folders.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleasesSettings {
    /// How many stay.
    #[schemars(range(min = 1))]
    keep: u32,
    /// The link to the release that runs, relative to the root, such as `current`: that release stays whatever its age. When
    /// the link is not there or leads nowhere, all stay.
    #[schemars(length(min = 1))]
    current: String,
}

impl ReleasesSettings {
    pub(crate) fn policy(&self) -> Result<Box<dyn Policy>, String> {
        if self.keep == 0 {
            return Err("`releases.keep` has to be at least 1".to_owned());
        }
        if self.current.is_empty() {
            return Err("`releases.current` is the path of the link to the release that runs".to_owned());
        }
        Ok(Box::new(Releases {
            keep: self.keep as usize,
            current: self.current.trim_end_matches('/').to_owned(),
            runs: Runs::All,
            found: Vec::new(),
            going: HashSet::new(),
        }))
    }
}

#[derive(Debug)]
struct Releases {
    keep: usize,
    current: String,
    runs: Runs,
    found: Vec<Release>,
    going: HashSet<String>,
}

/// What the link leads to.
#[derive(Debug)]
enum Runs {
    /// Something that holds all releases.
    All,
    /// Something in this one.
    Release(String),
    /// Something elsewhere beneath the root.
    Other,
}

#[derive(Debug)]
struct Release {
    name: String,
    modified: i64,
    dated: Option<i64>,
}

impl Policy for Releases {
    fn survey(&self) -> Survey {
        Survey::Top
    }

    fn prepare(&mut self, root: &Root, path: &str, _: &Now) -> Result<Option<Idle>> {
        let leads = match root.resolve(&self.current) {
            Ok(leads) => leads,
            Err(HostError::NotFound(_)) => {
                let why = format!(
                    "`releases.current`: the link `{}` is not there, or leads to nothing beneath the root",
                    self.current
                );
                return Ok(Some(Idle::Wrong(why)));
            }
            Err(error) => return Err(error.into()),
        };
        self.runs = match beneath(&leads, path) {
            Some("") => Runs::All,
            Some(inside) => Runs::Release(inside.split('/').next().unwrap_or(inside).to_owned()),
            None if leads.is_empty() || leads == path || beneath(path, &leads).is_some() => Runs::All,
            None => Runs::Other,
        };
        Ok(None)
    }

    fn look(&mut self, seen: &Seen<'_>, now: &Now, _: &Root) -> Result<()> {
        let (modified, dated) = (seen.entry.id.modified_ns, now.calendar.latest(seen.name()));
        self.found.push(Release { name: seen.path.to_owned(), modified, dated });
        Ok(())
    }

    fn surveyed(&mut self, _: &Now) -> bool {
        let mut found = std::mem::take(&mut self.found);
        let all_dated = found.iter().all(|it| it.dated.is_some());
        let time = |it: &Release| it.dated.filter(|_| all_dated).unwrap_or(it.modified);
        found.sort_by(|one, other| (time(other), &other.name).cmp(&(time(one), &one.name)));
        let runs = |name: &str| match &self.runs {
            Runs::All => true,
            Runs::Release(running) => name == running,
            Runs::Other => false,
        };
        self.going = found.into_iter().skip(self.keep).map(|it| it.name).filter(|it| !runs(it)).collect();
        false
    }

    fn judge(&self, seen: &Seen<'_>, _: &Now) -> Option<Verdict> {
        let (release, is_top) = seen.path.split_once('/').map_or((seen.path, true), |(first, _)| (first, false));
        if !self.going.contains(release) || (is_top && seen.entry.kind != Kind::Directory) {
            return None;
        }
        let reason = format!("of the release {release}, not among the {} newest", grouped(self.keep as u64));
        Some(Verdict { act: Act::RemoveUnlessLinked(self.current.clone()), reason: reason.into() })
    }

    /// Survey: folders; then whatever is in them.
    fn concerns(&self, kind: Kind) -> bool {
        kind == Kind::Directory || !self.going.is_empty()
    }

    fn needs_all(&self) -> bool {
        true
    }

    fn filters_survey_only(&self) -> bool {
        true
    }
}
