//! Removes what a server piles up: old files, logs, releases, caches, the journal of systemd and rows of databases, by the
//! rules of the task file.
//!
//! It only decides. `plan` walks through the folders and proposes what is to go; the host writes that down, which is all
//! that a dry run does. `execute` has the host carry it out, root by root: what has changed since stays, and so does what
//! is protected, beyond a ceiling, or without the backup that the task file wants. None of that is decided here.
//!
//! [`files`] brings rules and walks together; each rule is of one kind, and each kind a module of [`kind`]. [`journal`] and
//! [`rows`] stand beside them. [`report`] tells of all three.

use serde::{Deserialize, Serialize};
use upkeep_plugin::journal::Vacuumed;
use upkeep_plugin::{Context, Outcome, Report, Result, Step, Task};

use crate::config::Cleanup;
use crate::date::Calendar;
use crate::kind::Now;

mod config;
mod date;
mod files;
mod journal;
mod kind;
mod pattern;
mod report;
mod rows;

/// What a step is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Work {
    Files(files::Planned),
    Journal(journal::Planned),
    Rows(rows::Planned),
}

/// What it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Done {
    Files(files::Done),
    Journal(Vacuumed),
    Rows(rows::Done),
}

impl Task for Cleanup {
    type Input = Work;
    type Output = Done;

    fn plan(&self, ctx: &Context) -> Result<Vec<Step<Work>>> {
        self.check()?;
        let now = Now { ns: ctx.now.saturating_mul(1_000_000), calendar: Calendar::new(&ctx.timezone)? };
        let mut steps = Vec::new();
        for (root, rules) in self.roots()? {
            let planned = files::plan(&root, rules, &now)?;
            let (title, weight) = (report::files::title(&planned), planned.total().items());
            // Also where nothing is to go: what was moved aside earlier may have to.
            steps.push(Step::new(root, Work::Files(planned)).title(title).weight(weight.max(1)));
        }
        if let Some(planned) = self.journal.as_ref().map(|it| it.plan(ctx.now)).transpose()?.flatten() {
            let (title, weight) = (report::journal::title(&planned), planned.going.files);
            steps.push(Step::new("journal/vacuum", Work::Journal(planned)).title(title).weight(weight));
        }
        for planned in rows::plan(&self.rows, ctx)? {
            let (title, weight) = (report::rows::title(&planned), planned.weight());
            let id = format!("rows/{}", planned.database);
            steps.push(Step::new(id, Work::Rows(planned)).title(title).weight(weight.max(1)));
        }
        Ok(steps)
    }

    fn execute(&self, _: &Context, step: Step<Work>) -> Result<Done> {
        match &step.input {
            Work::Files(planned) => files::carry_out(planned).map(Done::Files),
            Work::Journal(planned) => planned.vacuum().map(Done::Journal),
            Work::Rows(planned) => rows::carry_out(planned).map(Done::Rows),
        }
    }

    fn finish(&self, ctx: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        report::sum_up(&ctx.run, &outcomes)
    }
}

upkeep_plugin::export!(Cleanup);

#[cfg(test)]
mod tests;
