//! Removes what a server piles up: old files, logs, releases, caches, by the rules of the task file.
//!
//! It only decides. `plan` walks through the folders and proposes what is to go; the host writes that down, which is all
//! that a dry run does. `execute` has the host carry it out, root by root: what has changed since stays, and so does what
//! is protected, beyond a ceiling, or without the backup that the task file wants. None of that is decided here.
//!
//! Each rule is of one kind, and each kind a module of [`kind`]; [`plan`] brings rules and walks together.

use serde::{Deserialize, Serialize};
use upkeep_plugin::removal::{self, Outcome as Carried, Total};
use upkeep_plugin::{Context, Outcome, Report, Result, Step, Task, info, warn};

use crate::config::Cleanup;
use crate::date::Calendar;
use crate::kind::Now;
use crate::plan::Planned;

mod config;
mod date;
mod kind;
mod pattern;
mod plan;
mod report;

/// What a step did in its root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Done {
    carried: Carried,
    /// What earlier runs had moved aside and is gone for good now.
    expired: Total,
}

impl Task for Cleanup {
    type Input = Planned;
    type Output = Done;

    fn plan(&self, ctx: &Context) -> Result<Vec<Step<Planned>>> {
        let now = Now { ns: ctx.now.saturating_mul(1_000_000), calendar: Calendar::new(&ctx.timezone)? };
        let mut steps = Vec::new();
        for (root, rules) in self.rules()? {
            let planned = plan::plan(&root, rules, &now)?;
            let total = planned.total();
            let weight = total.files + total.folders + total.compressed;
            // Also where nothing is to go: what was moved aside earlier may have to.
            steps.push(Step::new(root, planned.clone()).title(report::title(&planned)).weight(weight.max(1)));
        }
        Ok(steps)
    }

    fn execute(&self, _: &Context, step: Step<Planned>) -> Result<Done> {
        let root = step.input.root.as_str();
        let carried = removal::carry_out(root)?;
        let expired = match &carried {
            Carried::Done(done) => {
                info!(root = root, removed = done.removed.items, compressed = done.compressed.items, "removed");
                removal::expire(root)?
            }
            // Where nothing may go, what can be had back stays too.
            Carried::Blocked(blocks) => {
                blocks.iter().for_each(|it| warn!(root = root, "nothing was removed: {}", it.message));
                Total::default()
            }
        };
        Ok(Done { carried, expired })
    }

    fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        report::sum_up(&outcomes)
    }
}

upkeep_plugin::export!(Cleanup);

#[cfg(test)]
mod tests;
