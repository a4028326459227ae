//! Looks for damage in a backup repository: at its whole structure each time, and at a part of its data, so that
//! everything is read once per `full_every`. What is damaged makes the run fail, with a finding for each damage that says
//! what is lost, what is not, and what to do.
//!
//! The host reads and judges; here is decided what is read ([`rotation`]), remembered and told ([`report`]).

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::config::{Size, Span};
use upkeep_plugin::repository::{CheckReport, Harm, Part, Repository};
use upkeep_plugin::{Context, Error, Outcome, Report, Result, Step, Task, info, state};

use crate::rotation::{Choice, Rotation};

mod report;
mod rotation;

/// Where the rotation is remembered.
const ROTATION: &str = "rotation";

/// Where a check leaves what it found, for the summing up: what a failed step returns does not get there.
const FOUND: &str = "found";

/// What to check, and how often all of it is read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RepositoryCheck {
    /// The repository, as in `[grant.repository.NAME]`.
    repository: String,
    /// Within this time, all data is read once. Each run reads the share of the time since the last one.
    #[serde(default = "thirty_days")]
    full_every: Span,
}

fn thirty_days() -> Span {
    Span(30 * rotation::DAY)
}

/// What a check leaves for the summing up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Found {
    run: String,
    report: CheckReport,
    /// The age of the part that was read longest ago, in milliseconds.
    oldest: Option<i64>,
    /// Packs that no check has read yet.
    never_read: u64,
}

/// The parts that a report says are damaged: packs are named by the file.
fn damaged_parts(report: &CheckReport) -> BTreeSet<u8> {
    let part = |file: &str| u8::from_str_radix(file.strip_prefix("data/")?.get(..2)?, 16).ok();
    report.damages.iter().filter(|damage| damage.harm != Harm::None).filter_map(|damage| part(&damage.file)).collect()
}

impl RepositoryCheck {
    fn remember(&self, ctx: &Context, choice: &Choice, parts: &[Part], report: CheckReport) -> Result<Found> {
        let rotation = state::get::<Rotation>(ROTATION)?.unwrap_or_default();
        let rotation = rotation.after(choice, &damaged_parts(&report), ctx.now);
        let (oldest, never_read) = (rotation.oldest(parts, ctx.now), rotation.never_read(parts));
        let found = Found { run: ctx.run.clone(), report, oldest, never_read };
        state::Batch::new().put(ROTATION, &rotation)?.put(FOUND, &found)?.apply()?;
        Ok(found)
    }
}

impl Task for RepositoryCheck {
    type Input = Choice;
    type Output = Found;

    fn plan(&self, ctx: &Context) -> Result<Vec<Step<Choice>>> {
        if self.full_every.0 <= 0 {
            return Err(Error::config("`full_every` under [config] is no time at all; write for example \"30d\""));
        }
        let parts = Repository::open(&self.repository)?.parts()?;
        let rotation = state::get::<Rotation>(ROTATION)?.unwrap_or_default();
        let choice = rotation.choose(&parts, ctx.now, self.full_every.0);
        let title = format!(
            "look at the structure, and read {} of {} packs ({} of {})",
            choice.packs,
            parts.iter().map(|part| part.packs).sum::<u64>(),
            Size(choice.bytes),
            Size(choice.total),
        );
        Ok(vec![Step::new("check", choice).title(title)])
    }

    fn execute(&self, ctx: &Context, step: Step<Choice>) -> Result<Found> {
        let repository = Repository::open(&self.repository)?;
        let parts = repository.parts()?;
        let report = repository.check(&step.input.parts)?;
        let found = self.remember(ctx, &step.input, &parts, report)?;
        let damages = found.report.damages.iter().filter(|damage| damage.harm != Harm::None).count();
        info!(packs = found.report.packs_read, bytes = found.report.bytes_read, damages = damages, "checked");
        match damages {
            0 => Ok(found),
            1 => Err(Error::permanent("the repository is damaged: see the finding")),
            more => Err(Error::permanent(format!("the repository is damaged in {more} places: see the findings"))),
        }
    }

    fn finish(&self, ctx: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let left = state::get::<Found>(FOUND)?.filter(|found| found.run == ctx.run);
        let found = outcomes.into_iter().next().and_then(|outcome| outcome.output.ok()).or(left);
        state::remove(FOUND)?;
        match found {
            Some(found) => report::sum_up(&found, self.full_every),
            // The repository could not be opened or read at all; the step says why, and so does the run.
            None => Ok(Report::new("nothing was checked")),
        }
    }
}

upkeep_plugin::export!(RepositoryCheck);

#[cfg(test)]
mod tests;
