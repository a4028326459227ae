//! Restores the newest snapshot of each source of a task on trial, runs the operator's assertions on it, and measures how
//! long recovery takes and how old what comes back is.
//!
//! Each source is one step: a folder comes back into a scratch folder, a database into a scratch server of its own. The
//! host does that and takes it away again; here stands what is asked ([`config`], [`verify`]) and told ([`report`]). A
//! source that does not pass makes its step and so the run fail; what it showed goes to the report by the task's state.

use serde::{Deserialize, Serialize};
use upkeep_plugin::repository::{Repository, Snapshot};
use upkeep_plugin::{Context, Error, Outcome, Report, Result, Step, Task, drill, info, state};

use crate::config::{RestoreDrill, Source};
use crate::report::Past;
use crate::verify::Check;

mod config;
mod moment;
mod report;
mod verify;

/// What a drill of one source showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Drilled {
    run: String,
    /// First digits of the snapshot; empty when there is none.
    snapshot: String,
    /// How old it was, in milliseconds: what would be lost if the server were lost now.
    age: Option<i64>,
    files: u64,
    bytes: u64,
    /// How long it took until it was back, in milliseconds.
    duration: Option<i64>,
    /// What was asserted.
    checks: Vec<Check>,
}

impl Drilled {
    fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }
}

/// Where a step leaves what it showed, for the summing up: what a failed step returns does not get there.
fn shown_key(source: &Source) -> String {
    ["shown/", &source.key()].concat()
}

/// Where the trend is kept.
const TREND: &str = "trend";

/// Drills that are remembered.
const MOST_PAST: usize = 100;

impl RestoreDrill {
    /// The newest snapshot of the task that has the path: one of just that source before one of a folder above it.
    fn newest<'a>(&self, snapshots: &'a [Snapshot], path: &str) -> Option<&'a Snapshot> {
        let tag = ["upkeep:", &self.task].concat();
        let of_task = || snapshots.iter().rev().filter(|snapshot| snapshot.tags.contains(&tag));
        let holds =
            |saved: &String| path.strip_prefix(saved.trim_end_matches('/')).is_some_and(|it| it.starts_with('/'));
        let exact = of_task().find(|snapshot| snapshot.paths.iter().any(|saved| saved == path));
        exact.or_else(|| of_task().find(|snapshot| snapshot.paths.iter().any(holds)))
    }

    fn drill(&self, ctx: &Context, source: &Source) -> Result<Drilled> {
        let mut shown = Drilled {
            run: ctx.run.clone(),
            snapshot: String::new(),
            age: None,
            files: 0,
            bytes: 0,
            duration: None,
            checks: Vec::new(),
        };
        let repository = Repository::open(&self.repository)?;
        let snapshots = repository.snapshots()?;
        let path = source.path();
        let Some(snapshot) = self.newest(&snapshots, &path) else {
            let found = format!("the task `{}` has none in this repository", self.task);
            shown.checks.push(Check::new("snapshot", format!("a snapshot of {path}"), found, false));
            return Ok(shown);
        };
        let age = ctx.now - snapshot.time;
        shown.snapshot = snapshot.id.chars().take(8).collect();
        shown.age = Some(age);
        if let Some(most) = self.max_age {
            shown.checks.push(Check::at_most("age", "the snapshot is", age, most));
        }
        let restored = match source {
            Source::Files(place, _) => {
                let files = &self.files[*place];
                drill::Restored::restore(&repository, &snapshot.id, &files.path).map(|restored| {
                    let facts = restored.facts();
                    (shown.files, shown.bytes) = (facts.files, facts.bytes);
                    shown.duration = Some(facts.duration_ms as i64);
                    shown.checks.extend(verify::files(files, &restored, snapshot.time));
                })
            }
            Source::Database { place, .. } => {
                let database = &self.databases[*place];
                drill::Database::load(&repository, &snapshot.id, &path).map(|loaded| {
                    let facts = loaded.facts();
                    (shown.files, shown.bytes) = (facts.databases.len() as u64, facts.bytes);
                    shown.duration = Some(facts.duration_ms as i64);
                    shown.checks.extend(verify::database(database, &loaded, snapshot.time));
                })
            }
        };
        if let Err(why) = restored {
            shown.checks.push(Check::new("restore", "it can be restored", Error::from(why).message(), false));
        }
        if let (Some(most), Some(duration)) = (self.max_time, shown.duration) {
            shown.checks.push(Check::at_most("time", "recovery took", duration, most));
        }
        Ok(shown)
    }

    fn remember(&self, ctx: &Context, shown: &[(Source, Option<Drilled>)]) -> Result<Vec<Past>> {
        let mut trend = state::get::<Vec<Past>>(TREND)?.unwrap_or_default();
        trend.push(Past::of(ctx.now, shown));
        let superfluous = trend.len().saturating_sub(MOST_PAST);
        trend.drain(..superfluous);
        let mut batch = state::Batch::new().put(TREND, &trend)?;
        for key in state::keys("shown/")? {
            batch = batch.remove(&key);
        }
        batch.apply()?;
        Ok(trend)
    }
}

impl Task for RestoreDrill {
    type Input = Source;
    type Output = Drilled;

    fn plan(&self, _: &Context) -> Result<Vec<Step<Source>>> {
        let sources = self.sources()?;
        // Tells at once, and on a dry run too, when the repository is not granted or does not open.
        Repository::open(&self.repository)?;
        Ok(sources.into_iter().map(|source| Step::new(source.key(), source.clone()).title(source.title())).collect())
    }

    fn execute(&self, ctx: &Context, step: Step<Source>) -> Result<Drilled> {
        let source = &step.input;
        let shown = self.drill(ctx, source)?;
        let failed: Vec<_> = shown.failed().map(Check::sentence).collect();
        info!(
            snapshot = shown.snapshot,
            checks = shown.checks.len(),
            failed = failed.len(),
            "drilled {}",
            source.path()
        );
        if failed.is_empty() {
            return Ok(shown);
        }
        state::put(&shown_key(source), &shown)?;
        Err(Error::permanent(failed.join("; ")))
    }

    fn finish(&self, ctx: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let mut shown = Vec::new();
        for outcome in outcomes {
            let source = outcome.step.input;
            let left = state::get::<Drilled>(&shown_key(&source))?.filter(|left| left.run == ctx.run);
            match outcome.output {
                Ok(drilled) => shown.push((source, Ok(drilled))),
                Err(why) => shown.push((source, left.ok_or(why))),
            }
        }
        let known: Vec<_> = shown.iter().map(|(source, shown)| (source.clone(), shown.clone().ok())).collect();
        let trend = self.remember(ctx, &known)?;
        report::sum_up(&shown, &trend)
    }
}

upkeep_plugin::export!(RestoreDrill);

#[cfg(test)]
mod tests;
