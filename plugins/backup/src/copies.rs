//! Copies of what was saved in further repositories. A source whose copy fails counts as failed, so that the run does and
//! is tried again; what the first repository has, it keeps.

use upkeep_plugin::repository::Repository;
use upkeep_plugin::{Error, Result, info};

use crate::{Saved, Source};

/// How the failure of a copy begins, behind the snapshot. The report tells by it that the source itself was saved.
const SAVED: &str = "it is saved as ";

/// Copies a snapshot to each of the repositories; one that fails does not keep the others from theirs. What is unusual
/// holds the copies as well.
pub(crate) fn make(original: &Repository, names: &[String], source: &Source, saved: &Saved) -> Result<()> {
    let mut failures = Vec::new();
    for name in names {
        let snapshots = [saved.snapshot.clone()];
        let copied = Repository::open_copy(name, original).and_then(|copy| {
            if let Some(reason) = saved.reason(source) {
                copy.hold(&reason)?;
            }
            original.copy(&copy, &snapshots)
        });
        match copied {
            Ok(done) => info!(repository = name, added = done.bytes_added, copied = done.copied, "copied"),
            Err(error) => failures.push(format!("`{name}`: {error}")),
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let snapshot: String = saved.snapshot.chars().take(8).collect();
    Err(Error::transient(format!("{SAVED}{snapshot}, but not copied to {}", failures.join("; "))))
}

/// Whether only a copy failed: then the short name of the snapshot that there is.
pub(crate) fn saved_all_the_same(why: &str) -> Option<&str> {
    // The host may put something before what the step said.
    let (_, rest) = why.split_once(SAVED)?;
    rest.split_once(", but not copied to ").map(|(snapshot, _)| snapshot)
}
