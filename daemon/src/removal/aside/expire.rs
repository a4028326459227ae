//! Removing for good what was moved aside, when its time has passed.

use std::path::Path;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::ledger::{Header, Ledger, Line, ledgers};
use super::{Shards, inode_of, kept_folder, kept_name, open_run, remove_empty};
use crate::clock::Timestamp;
use crate::removal::{ASIDE, RemovalError, Total, folder};
use crate::root::{NO_FOLLOW, Root, path};

/// How long, in milliseconds after its time has passed, a ledger waits for a folder that is not there: its disk may not be
/// mounted.
const WAITS: i64 = 30 * 24 * 3_600_000;

/// Removes for good what runs moved aside from this root and promised to keep until a time before `now`. What one run left
/// does not keep that of the others from going.
///
/// # Errors
///
/// The first that cannot be read or removed.
pub fn expire(state_dir: &Path, root: &Root, now: Timestamp, go_on: impl Fn() -> bool) -> Result<Total, RemovalError> {
    let mut expired = Total::default();
    let mut failed = None;
    for run in std::fs::read_dir(folder(state_dir)).into_iter().flatten().flatten() {
        for file in ledgers(&run.path()) {
            match expire_one(&file, root, now, &go_on, &mut expired) {
                Ok(()) | Err(RemovalError::Busy { .. }) => {}
                Err(RemovalError::Cancelled) => return Err(RemovalError::Cancelled),
                Err(error) => {
                    tracing::warn!("what was moved aside is kept although its time has passed: {error}");
                    failed.get_or_insert(error);
                }
            }
        }
    }
    failed.map_or(Ok(expired), Err)
}

fn expire_one(
    file: &Path,
    root: &Root,
    now: Timestamp,
    go_on: &impl Fn() -> bool,
    expired: &mut Total,
) -> Result<(), RemovalError> {
    let Some(mut ledger) = Ledger::open(file)? else { return Ok(()) };
    // Most are not due: they are not locked, which would turn away whoever wants to undo at this moment.
    let header = ledger.header()?;
    let is_due = |header: &Header| header.until <= now && header.root_path().is_ok_and(|path| path == root.path());
    if header.is_some_and(|header| !is_due(&header)) || !ledger.lock()? {
        return Ok(());
    }
    // Only now nobody adds to it.
    if let Some(header) = ledger.header()? {
        if !is_due(&header) {
            return Ok(());
        }
        let run = kept_folder(file.parent().unwrap_or(file), &header.root);
        match open_run(root, &run)? {
            Some(folder) => {
                remove(&mut ledger, Shards::new(&folder), &root.path().join(ASIDE).join(&run), go_on, expired)?
            }
            None if header.inode == inode_of(root)? || now.0.saturating_sub(header.until.0) > WAITS => {}
            None => return Ok(()),
        }
        if !remove_empty(root, &run)? {
            let shown = root.path().join(ASIDE).join(run);
            let message = "something stands in it that upkeep did not put there; remove it by hand";
            return Err(RemovalError::Root(format!("{}: {message}", shown.display())));
        }
    }
    std::fs::remove_file(file).map_err(RemovalError::state(file))
}

/// Removes what a ledger tells of.
fn remove(
    ledger: &mut Ledger,
    mut shards: Shards<'_>,
    shown: &Path,
    go_on: &impl Fn() -> bool,
    expired: &mut Total,
) -> Result<(), RemovalError> {
    let file = ledger.file.clone();
    let mut failed = None;
    ledger.each(|line| {
        let Line::Moved { number, path } = line else { return Ok(()) };
        if !go_on() {
            return Err(RemovalError::Cancelled);
        }
        let path = path::parse(&path).map_err(|error| RemovalError::broken(&file, error))?;
        let name = kept_name(number, &path);
        let gone = shards.of(number).and_then(|shard| {
            let Some(shard) = shard else { return Ok(None) };
            let stat = rustix::fs::statat(shard, &name, NO_FOLLOW)?;
            rustix::fs::unlinkat(shard, &name, AtFlags::empty())?;
            Ok(Some(u64::try_from(stat.st_size).unwrap_or(0)))
        });
        match gone {
            Ok(Some(size)) => expired.add(size),
            // It was never moved, or is back.
            Ok(None) | Err(Errno::NOENT) => {}
            Err(errno) => {
                failed.get_or_insert((name, errno));
            }
        }
        Ok(())
    })?;
    match failed {
        None => Ok(()),
        Some((name, errno)) => {
            let error = std::io::Error::from(errno);
            Err(RemovalError::Root(format!("{}: `{}`: {error}", shown.display(), name.display())))
        }
    }
}
