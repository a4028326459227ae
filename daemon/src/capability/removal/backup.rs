//! Whether the backup is there without which nothing is removed: what the journal says of the task that makes it, and of
//! those that verify it.

use crate::capability::{HostError, Run};
use crate::clock::Timestamp;
use crate::config::duration;
use crate::config::removal::BackupRequirement;
use crate::record;
use crate::store::{RunFilter, StoreError};

/// Runs that are looked at, newest first.
const MOST: u32 = 200;

/// Why the backup that is wanted does not count; none when it does.
pub(in crate::capability) async fn missing(
    run: &Run,
    wanted: &BackupRequirement,
    now: Timestamp,
) -> Result<Option<String>, HostError> {
    let BackupRequirement { task, max_age, verified } = wanted;
    let failed = |error: StoreError| HostError::unavailable(error.to_string());
    let backups = succeeded(run, task, now).await.map_err(failed)?;
    let oldest = now.0.saturating_sub(i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX));
    let ago = |at: Timestamp| {
        let minutes = u64::try_from(now.0.saturating_sub(at.0)).unwrap_or(0) / 60_000;
        duration::format(std::time::Duration::from_secs(minutes * 60))
    };
    let max_age = duration::format(*max_age);
    // What it saved is as old as its beginning.
    let started = |run: &record::Run| run.started.unwrap_or(run.queued);
    let Some(last) = backups.first() else {
        return Ok(Some(format!("`{task}` has never succeeded; start it with `upkeep run {task}`")));
    };
    if started(last).0 < oldest {
        let ago = ago(started(last));
        return Ok(Some(format!(
            "the last backup by `{task}` is {ago} old, {max_age} is the most; start one with `upkeep run {task}`"
        )));
    }
    if !verified {
        return Ok(None);
    }
    let verifiers = run.safeguards.verifiers.get(task.as_str()).map(Vec::as_slice).unwrap_or_default();
    let mut proofs = Vec::new();
    for verifier in verifiers {
        proofs.extend(succeeded(run, verifier, now).await.map_err(failed)?.iter().map(started));
    }
    let fresh = backups.iter().take_while(|backup| started(backup).0 >= oldest);
    let is_verified = |backup: &record::Run| proofs.iter().any(|proof| Some(*proof) >= backup.ended);
    if fresh.into_iter().any(is_verified) {
        return Ok(None);
    }
    let names: Vec<_> = verifiers.iter().map(|name| format!("`upkeep run {name}`")).collect();
    Ok(Some(format!(
        "no backup by `{task}` of the last {max_age} has been verified since it was made; start {}",
        if names.is_empty() { "a check of its repository".to_owned() } else { names.join(" or ") }
    )))
}

/// The runs of a task that did their work and succeeded, newest first. One of the future proves that a clock was wrong, and
/// nothing else.
async fn succeeded(run: &Run, task: &str, now: Timestamp) -> Result<Vec<record::Run>, StoreError> {
    let filter =
        RunFilter { task: Some(task.to_owned()), outcome: Some("succeeded".to_owned()), ..RunFilter::default() };
    let mut runs = run.store.read().runs(&filter, MOST).await?;
    runs.retain(|run| !run.dry_run && run.ended.is_some_and(|ended| ended <= now));
    Ok(runs)
}
