//! What a run is to remove, before and after its plugin planned: files in the state directory, and perhaps a plan that it
//! was given to carry out instead of making its own.

use crate::capability::Run;
use crate::outcome::{Failure, Outcome};
use crate::record::{Step, StepPhase};
use crate::removal::RemovalError;
use crate::removal::carry_out::check;
use crate::removal::document::{self, Origin, PlannedStep};
use crate::removal::plan::Plan;
use crate::root::Root;

/// The steps of the plan that the run was given, when it was given one and all of it still holds; else what an attempt
/// that was cut off left behind is dropped.
pub(super) fn prepare(run: &Run, this: &Origin) -> Result<Option<Vec<Step>>, Outcome> {
    let Some(folder) = run.removals.folder() else { return Ok(None) };
    let Some(given) = document::adopted(folder).map_err(failed)? else {
        run.removals.start_over().map_err(failed)?;
        return Ok(None);
    };
    let stale = |why: String| Outcome::Failed {
        failure: Failure::Permanent,
        message: format!(
            "the plan is stale, nothing was done: {why}; make a new one with `upkeep run {} --dry-run`",
            this.task
        ),
    };
    if given.host != this.host || given.task != this.task {
        return Err(stale(format!("it was made for the task `{}` on {}", given.task, given.host)));
    }
    if given.fingerprint != this.fingerprint {
        return Err(stale("the task's plugin, config, grants or limits are not what they were".to_owned()));
    }
    for plan in Plan::all(folder).map_err(failed)? {
        check_root(run, &plan).map_err(|error| match error {
            RemovalError::Stale(why) => stale(why),
            other => failed(other),
        })?;
    }
    Ok(Some(given.steps.into_iter().zip(0..).map(|(step, ordinal)| pending(step, ordinal)).collect()))
}

/// Whether the plan of a root can be carried out as it is.
fn check_root(run: &Run, plan: &Plan) -> Result<(), RemovalError> {
    let (name, then) = (&plan.head.root, &plan.head.path);
    let Some(grant) = run.grants.files.get(name) else {
        return Err(RemovalError::Stale(format!("the task file has no `grant.files.{name}` any more")));
    };
    let root = Root::open(&grant.path).map_err(|error| RemovalError::Root(error.to_string()))?;
    if root.path() != then {
        let (then, now) = (then.display(), root.path().display());
        return Err(RemovalError::Stale(format!("the folder `{name}` was {then}, and is {now} now")));
    }
    // One that was begun was checked before it was.
    if plan.is_begun() { Ok(()) } else { check(plan, &root) }
}

/// Makes durable what the plugin proposed.
pub(super) fn complete(run: &Run, origin: &Origin, dry_run: bool) -> Result<(), Outcome> {
    let Some(folder) = run.removals.folder() else { return Ok(()) };
    run.removals.seal().map_err(failed)?;
    if dry_run || folder.exists() {
        document::keep(origin, folder).map_err(failed)?;
    }
    Ok(())
}

fn pending(step: PlannedStep, ordinal: u32) -> Step {
    let PlannedStep { id, title, weight, input } = step;
    let phase = StepPhase::Pending;
    Step { ordinal, id, title, weight, input, phase, started: None, ended: None, output: None, error: None }
}

/// The state directory cannot be written now, which may pass.
fn failed(error: RemovalError) -> Outcome {
    Outcome::Failed { failure: Failure::Transient, message: format!("the plan of what is to be removed: {error}") }
}
