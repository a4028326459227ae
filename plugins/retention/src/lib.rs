//! Removes old snapshots from a backup repository by rules, and the data that no other snapshot needs.
//!
//! Which snapshots go is decided once, in the plan: each group of snapshots is a step that removes what the plan says,
//! and pruning is one more. Steps run side by side and in any order, so pruning first removes whatever of the plan is
//! still there.
//!
//! Three guards beside the rules: a group is never left without a snapshot, no run removes more than a share of one, and
//! the host removes nothing while the repository is held, nor what the grant does not let go.

use serde::{Deserialize, Serialize};
use upkeep_plugin::repository::{PruneSummary, Repository};
use upkeep_plugin::{Context, Error, HostError, Outcome, Report, Result, Step, Task, info};

use crate::config::Retention;
use crate::policy::{Fate, Group, Snapshot};

mod config;
mod policy;
mod report;

/// How often a removal is tried again that met another one.
const TRIES: usize = 3;

/// What one step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Work {
    /// Removes snapshots of one group.
    Forget(Decided),
    /// Frees data.
    Prune {
        /// Snapshots that have to be gone before.
        after: Vec<String>,
    },
}

/// What the plan decided for a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Decided {
    /// What its snapshots have in common, for people.
    group: String,
    snapshots: Vec<Line>,
    /// Why nothing of it is removed although the rules say so.
    refused: Option<String>,
}

/// A snapshot and its fate, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    id: String,
    time: String,
    host: String,
    paths: String,
    /// None: it goes.
    kept_by: Option<String>,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Done {
    /// So many snapshots are gone.
    Forgotten(usize),
    /// Data was freed.
    Pruned(PruneSummary),
}

impl Decided {
    fn going(&self) -> Vec<String> {
        self.snapshots.iter().filter(|it| it.kept_by.is_none()).map(|it| it.id.clone()).collect()
    }

    /// As the plan shows it.
    fn title(&self) -> String {
        match (self.going().len(), self.snapshots.len()) {
            (0, all) => format!("{}: all {all} stay", self.group),
            (going, all) => format!("{}: remove {going} of {all} snapshots", self.group),
        }
    }
}

impl Line {
    fn new(fate: &Fate) -> Self {
        let Fate { snapshot, kept_by } = fate;
        Self {
            id: snapshot.id.clone(),
            time: report::time(snapshot),
            host: snapshot.host.clone(),
            paths: snapshot.paths.join(" "),
            kept_by: (!kept_by.is_empty()).then(|| kept_by.join(", ")),
        }
    }

    fn fate(&self) -> String {
        match &self.kept_by {
            Some(rules) => format!("keep: {rules}"),
            None => "remove".to_owned(),
        }
    }

    /// One line of a dry run.
    fn title(&self) -> String {
        let id = self.id.get(..8).unwrap_or(&self.id);
        format!("{id}  {}  {}  {}  {}", self.time, self.host, self.paths, self.fate())
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tags = self.tags.as_ref().map(|it| format!("[{}]", it.join(",")));
        let parts = [self.host.clone(), self.paths.as_ref().map(|it| it.join(" ")), tags];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "all" } else { "" })?;
        f.write_str(&parts.join(" "))
    }
}

fn seen(snapshot: upkeep_plugin::repository::Snapshot) -> Snapshot {
    let upkeep_plugin::repository::Snapshot { id, time, utc_offset, host, paths, tags, .. } = snapshot;
    Snapshot { id, time, utc_offset, host, paths, tags }
}

impl Retention {
    /// What becomes of each snapshot, by groups.
    fn decide(&self, snapshots: Vec<Snapshot>, now: i64) -> Result<Vec<Decided>> {
        let Some(keep) = self.keep()? else { return Ok(Vec::new()) };
        let snapshots = snapshots.into_iter().filter(|it| self.concerns(it)).collect();
        let groups = policy::group(snapshots, self.group_by()).into_iter();
        Ok(groups.map(|(group, snapshots)| self.guard(&group, &policy::decide(snapshots, &keep, now))).collect())
    }

    fn guard(&self, group: &Group, fates: &[Fate]) -> Decided {
        let all = fates.len();
        let going = fates.iter().filter(|it| it.kept_by.is_empty()).count();
        let refused = if going == all {
            Some("the rules would remove every snapshot of it".to_owned())
        } else if going * 100 > all * self.max_removals.0 as usize {
            Some(format!(
                "the rules would remove {going} of {all} snapshots, more than {} % (`max_removals`)",
                self.max_removals.0
            ))
        } else {
            None
        };
        Decided { group: group.to_string(), snapshots: fates.iter().map(Line::new).collect(), refused }
    }

    /// Removes what is still there of some snapshots.
    fn forget(&self, repository: &Repository, ids: &[String]) -> Result<()> {
        for _ in 0..TRIES {
            let there = repository.snapshots()?;
            let left: Vec<_> = ids.iter().filter(|id| there.iter().any(|it| it.id == **id)).cloned().collect();
            if left.is_empty() {
                return Ok(());
            }
            match repository.forget(&left) {
                // The other step, or another program, was faster.
                Err(HostError::NotFound(_)) => {}
                done => return Ok(done?),
            }
        }
        Err(Error::transient("other programs remove snapshots of this repository at the same time"))
    }
}

/// A step that a dry run shows for each snapshot.
fn shown(decided: &Decided) -> impl Iterator<Item = Step<Work>> {
    decided.snapshots.iter().map(|line| {
        let work = Work::Forget(Decided { snapshots: Vec::new(), ..decided.clone() });
        let refused = decided.refused.as_ref().filter(|_| line.kept_by.is_none());
        let refused = refused.map(|why| format!(" (not done: {why})")).unwrap_or_default();
        Step::new(format!("snapshot/{}", line.id), work).title(line.title() + &refused)
    })
}

impl Task for Retention {
    type Input = Work;
    type Output = Done;

    fn plan(&self, ctx: &Context) -> Result<Vec<Step<Work>>> {
        self.keep()?;
        let snapshots = Repository::open(&self.repository)?.snapshots()?;
        let decided = self.decide(snapshots.into_iter().map(seen).collect(), ctx.now)?;
        let of_groups = |decided: &Decided| {
            let weight = decided.going().len() as u64 + 1;
            Step::new(format!("forget/{}", decided.group), Work::Forget(decided.clone()))
                .title(decided.title())
                .weight(weight)
        };
        let mut steps: Vec<_> = match ctx.dry_run {
            true => decided.iter().flat_map(shown).collect(),
            false => decided.iter().map(of_groups).collect(),
        };
        if self.prune.is_some() {
            let after = decided.iter().filter(|it| it.refused.is_none()).flat_map(Decided::going).collect();
            steps.push(Step::new("prune", Work::Prune { after }).title("free data that no snapshot needs").weight(10));
        }
        Ok(steps)
    }

    fn execute(&self, _: &Context, step: Step<Work>) -> Result<Done> {
        let repository = Repository::open(&self.repository)?;
        match step.input {
            Work::Forget(decided) => {
                let going = decided.going();
                if let Some(why) = decided.refused {
                    let told = format!(
                        "{}: {why}; look with `--dry-run`, and if it is meant, raise `max_removals` for one run",
                        decided.group
                    );
                    return Err(Error::permanent(told));
                }
                let there = repository.snapshots()?;
                let stays = |line: &Line| line.kept_by.is_some() && there.iter().any(|it| it.id == line.id);
                if !going.is_empty() && !decided.snapshots.iter().any(stays) {
                    let told = format!("{}: what was to be kept has gone meanwhile; nothing is removed", decided.group);
                    return Err(Error::permanent(told));
                }
                self.forget(&repository, &going)?;
                info!(removed = going.len(), group = decided.group, "removed snapshots");
                Ok(Done::Forgotten(going.len()))
            }
            Work::Prune { after } => {
                self.forget(&repository, &after)?;
                let settings = self.prune.as_ref();
                let settings = settings.ok_or_else(|| Error::config("[config.prune] is no longer there"))?;
                Ok(Done::Pruned(repository.prune(&settings.options())?))
            }
        }
    }

    fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        // What cannot be asked is not held, as far as anybody knows; the steps have failed then.
        let holds = Repository::open(&self.repository).and_then(|it| it.holds()).unwrap_or_default();
        report::sum_up(&self.repository, &outcomes, &holds)
    }
}

upkeep_plugin::export!(Retention);

#[cfg(test)]
#[path = "policy/tests.rs"]
mod policy_tests;

#[cfg(test)]
mod tests;
