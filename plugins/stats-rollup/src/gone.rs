//! Which files are gone, and whether lines may have gone with them.
//!
//! A log that is rotated away between two runs takes the lines with it that came after the first. When a file is not there any
//! more, nobody can look whether there were any: it has to be known from before. So each run notes of each file how it is, and
//! whether more is to be expected of it ([`State`]). Gone while more was expected is lost; all others may go.
//!
//! A file is at rest, so that nothing more is expected, when it is counted to its end, and
//!
//! - nobody wrote to it for some minutes, and a younger file has its name without number or date: it was rotated; or
//! - nobody wrote to it for an hour, and it was the same in the run before: whoever wrote to it has gone.

use std::collections::BTreeMap;

use upkeep_plugin::{Context, Error, Result};

use crate::There;
use crate::config::{Source, Stats};
use crate::cursor::{Candidate, Cursor, Seen, State, assign};
use crate::lines::LONGEST;
use crate::store::Store;

/// Milliseconds for which whoever wrote a file may go on after it was rotated.
const GOES_ON: i64 = 5 * 60_000;
/// Milliseconds after which a file may be at rest that was not rotated.
const QUIET: i64 = 3_600_000;

/// A file that is gone though more was expected of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Where it was seen last, and when, in Unix milliseconds.
    pub(crate) path: String,
    pub(crate) seen_ms: i64,
    /// Bytes that are counted, and those that it had then.
    pub(crate) counted: u64,
    pub(crate) size: u64,
}

/// Notes how the files of a source are at the end of a run, and tells which are lost. `before` is what was known of them at
/// its beginning.
pub(crate) fn settle(
    stats: &Stats,
    ctx: &Context,
    store: &Store,
    source: &Source,
    before: &[Cursor],
) -> Result<Vec<Lost>> {
    let stored = store.cursors(&source.name)?;
    let by = stats.by(ctx);
    let look = || Ok::<_, Error>(Looked::new(ctx.now, &by, source, &There::look(source, &stored)?, &stored, before));
    let mut looked = look()?;
    if !looked.lost.is_empty() {
        // A file that is renamed while the folder is read may be missed.
        looked = look()?;
    }
    let times = (ctx.now, ctx.now - stats.keep.days.0);
    store.sighted(&ctx.run, &source.name, &looked, times)?;
    let mut lost = BTreeMap::new();
    for it in store.lost(&ctx.run, &source.name)? {
        let told = Lost { path: it.path, seen_ms: it.seen_ms, counted: it.offset, size: it.seen.size };
        // Of several that had the same name, the last one.
        let last = lost.entry(told.path.clone()).or_insert_with(|| told.clone());
        if last.seen_ms < told.seen_ms {
            *last = told;
        }
    }
    Ok(lost.into_values().collect())
}

/// What became of the files of which something is counted.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Those that are there, as they were in the run before, by what they are known by.
    pub(crate) same: Vec<String>,
    /// Those that are there, and are not as they were.
    pub(crate) changed: Vec<Cursor>,
    /// Those that are not there though more was expected of them.
    pub(crate) lost: Vec<String>,
}

impl Looked {
    fn new(now_ms: i64, by: &str, source: &Source, there: &There, stored: &[Cursor], before: &[Cursor]) -> Self {
        let before: BTreeMap<&str, Seen> = before.iter().map(|it| (it.id.as_str(), it.seen)).collect();
        let assigned = assign(stored, &there.candidates);
        let found: BTreeMap<&str, &Candidate> =
            assigned.iter().filter_map(|it| Some((it.cursor?.id.as_str(), it.candidate))).collect();
        let mut looked = Self::default();
        for cursor in stored {
            let now = if let Some(candidate) = found.get(cursor.id.as_str()) {
                let is_counted =
                    candidate.compressed || candidate.seen.size.saturating_sub(cursor.offset) <= LONGEST as u64;
                let now =
                    Cursor { path: candidate.path.clone(), seen: candidate.seen, by: by.to_owned(), ..cursor.clone() };
                let before = before.get(cursor.id.as_str()).copied();
                let state = match cursor.state {
                    State::Complete => State::Complete,
                    _ if is_counted && is_at_rest(now_ms, &now, before, &there.files) => State::AtRest,
                    _ => State::Open,
                };
                Cursor { state, ..now }
            } else if let Some((path, _)) = there.complete.iter().find(|it| it.1 == cursor.seen) {
                Cursor { path: path.clone(), ..cursor.clone() }
            } else if there.closed.iter().any(|it| it.is_same_file(&cursor.seen)) {
                cursor.clone()
            } else {
                // What nobody could look at, and what is not asked for any more, may well be there; what is another server's is.
                let is_ours = cursor.by == by && source.has(&cursor.path);
                if cursor.state == State::Open && !there.is_partial && is_ours {
                    looked.lost.push(cursor.id.clone());
                }
                continue;
            };
            match now == *cursor {
                true => looked.same.push(now.id),
                false => looked.changed.push(now),
            }
        }
        looked
    }
}

/// Whether nothing more is to be expected of a file that is counted to its end.
fn is_at_rest(now_ms: i64, file: &Cursor, before: Option<Seen>, files: &[(String, Seen)]) -> bool {
    let quiet = now_ms.saturating_sub(file.seen.modified_ns / 1_000_000);
    let is_same = before.is_some_and(|it| (it.size, it.modified_ns) == (file.seen.size, file.seen.modified_ns));
    let mut others = files.iter().filter(|it| it.1.modified_ns > file.seen.modified_ns);
    quiet >= QUIET && is_same || quiet >= GOES_ON && others.any(|it| is_before_rotation(&it.0, &file.path))
}

/// Whether a log is called `name` that is called `rotated` when it is rotated: `access.log` and `access.log.1`, `access.log-20261123`,
/// `access-20261123.log`, `old/access.log.1`; or whether both have a date in the same name.
fn is_before_rotation(name: &str, rotated: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let (rotated_folder, rotated_file) = rotated.rsplit_once('/').unwrap_or(("", rotated));
    let (file, rotated_file) = (without_date(file), without_date(rotated_file));
    let is_above = folder.is_empty() || rotated_folder.strip_prefix(folder).is_some_and(|it| it.starts_with('/'));
    match folder == rotated_folder {
        true => rotated_file.starts_with(&file),
        false => is_above && rotated_file.len() > file.len() && rotated_file.starts_with(&file),
    }
}

/// A name without what separates its parts, and without numbers of six digits and more, which are dates.
fn without_date(name: &str) -> String {
    let is_between = |it: char| matches!(it, '.' | '-' | '_');
    let mut kept = String::new();
    let mut number = String::new();
    for it in name.chars().chain(['\0']) {
        match it {
            '0'..='9' => number.push(it),
            _ if is_between(it) => {}
            _ => {
                if number.len() < 6 {
                    kept.push_str(&number);
                }
                number.clear();
                kept.push(it);
            }
        }
    }
    kept.pop();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_before_and_after_rotation() {
        for (name, rotated) in [
            ("access.log", "access.log.1"),
            ("access.log", "access.log-20261123"),
            ("access.log", "access.log-1795400000"),
            ("access.log", "access-2026-11-23.log"),
            ("access.log", "old/access.log.1"),
            ("site/access.log", "site/old/access.log.1"),
            ("site/access.log", "site/access.log.old"),
            ("access.2026-11-24.log", "access.2026-11-23.log"),
            ("u_ex261124.log", "u_ex261123.log"),
            ("access.log", "access.log.2.gz"),
        ] {
            assert!(is_before_rotation(name, rotated), "{name} {rotated}");
        }
        for (name, other) in [
            ("access.log.1", "access.log"),
            ("shop.access.log", "blog.access.log"),
            ("worker-1.log", "worker-2.log"),
            ("blog/access.log", "shop/access.log"),
            ("blog/access.log", "shop/access.log.1"),
            ("blog/access.log", "blogs/access.log.1"),
            ("access.log", "shop/access.log"),
            ("access.log.2.gz", "access.log.1"),
            ("access.2026-11-23.log.gz", "access.2026-11-23.log"),
        ] {
            assert!(!is_before_rotation(name, other), "{name} {other}");
        }
    }
}
