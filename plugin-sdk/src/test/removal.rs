//! `removal` of the test host: what was proposed is kept in memory, and removed through the standard library.

use std::path::Path;
use std::{fs, io};

use super::files::{Root, identity};
use super::with;
use crate::host::HostResult;
use crate::removal::{Action, Block, Candidate, Done, Outcome, Total};

pub(crate) fn propose(root: &str, candidates: &[Candidate]) -> HostResult<Vec<Option<String>>> {
    let folder = Root::open(root)?;
    for candidate in candidates {
        folder.beneath(&candidate.path)?;
    }
    with(|world| world.plans.entry(root.to_owned()).or_default().extend_from_slice(candidates));
    Ok(vec![None; candidates.len()])
}

pub(crate) fn blocks(root: &str) -> HostResult<Vec<Block>> {
    Root::open(root)?;
    Ok(with(|world| world.blocks.clone()))
}

pub(crate) fn carry_out(root: &str) -> HostResult<Outcome> {
    let blocks = blocks(root)?;
    if !blocks.is_empty() {
        return Ok(Outcome::Blocked(blocks));
    }
    let folder = Root::open(root)?;
    let mut plan = with(|world| world.plans.remove(root).unwrap_or_default());
    // Folders come last, the deepest first.
    plan.sort_by_key(|it| {
        let is_folder = folder.beneath(&it.path).is_ok_and(|path| path.is_dir() && !path.is_symlink());
        (is_folder, std::cmp::Reverse(it.path.matches('/').count()))
    });
    let zero = Total::default();
    let mut done = Done {
        removed: zero,
        compressed: zero,
        aside: false,
        changed: zero,
        in_use: zero,
        filled: 0,
        gone: 0,
        failed: zero,
        problems: Vec::new(),
    };
    for candidate in plan {
        carry_out_one(&folder, &candidate, &mut done)?;
    }
    Ok(Outcome::Done(done))
}

fn carry_out_one(folder: &Root, candidate: &Candidate, done: &mut Done) -> HostResult<()> {
    let path = folder.beneath(&candidate.path)?;
    let now = fs::symlink_metadata(&path);
    // A folder takes no room worth counting.
    let bytes = if now.as_ref().is_ok_and(fs::Metadata::is_dir) { 0 } else { candidate.id.size };
    let add = |total: &mut Total| {
        total.items += 1;
        total.bytes += bytes;
    };
    if let Some(link) = &candidate.unless_linked
        && let Ok(end) = folder.resolve(link)
        && (Path::new(&candidate.path).starts_with(&end) || Path::new(&end).starts_with(&candidate.path))
    {
        add(&mut done.in_use);
        done.problems.push(format!("{}: `{link}` leads there", candidate.path));
        return Ok(());
    }
    // What is compressed is only renamed here: its bytes stay as they are.
    let renamed = |ending: &str| fs::rename(&path, format!("{}.{ending}", path.display()));
    let acted = match now {
        Ok(now) if now.is_dir() => fs::remove_dir(&path),
        Ok(now) if identity(&now) != candidate.id => {
            add(&mut done.changed);
            done.problems.push(format!("{}: it has changed", candidate.path));
            return Ok(());
        }
        Ok(_) => match candidate.action {
            Action::Remove => fs::remove_file(&path),
            Action::Gzip => renamed("gz"),
            Action::Zstd => renamed("zst"),
        },
        Err(error) => Err(error),
    };
    match acted.map_err(|error| (error.kind(), error)) {
        Ok(()) if candidate.action == Action::Remove => add(&mut done.removed),
        Ok(()) => add(&mut done.compressed),
        Err((io::ErrorKind::NotFound, _)) => done.gone += 1,
        Err((io::ErrorKind::DirectoryNotEmpty, _)) => done.filled += 1,
        Err((_, error)) => {
            add(&mut done.failed);
            done.problems.push(format!("{}: {error}", candidate.path));
        }
    }
    Ok(())
}

pub(crate) fn expire(root: &str) -> HostResult<Total> {
    Root::open(root)?;
    Ok(Total::default())
}
