//! What the steps counted, merged into the figures.
//!
//! Some steps at a time, so that little is in memory at once; each time the cursors go on over just what is merged. Of a file, a
//! part counts only when all parts before it do: what failed or was put off is counted by the next run, with what follows.

use std::collections::{BTreeMap, BTreeSet};

use upkeep_plugin::sql::Value;
use upkeep_plugin::{Context, Error, HostError, Outcome, Result, parameters};
use upkeep_rollup::{Calendar, Options, Piece, ledger};

use crate::config::{Origin, Stats};
use crate::cursor::{Cursor, State};
use crate::gone::Lost;
use crate::store::{Known, Store, advance, take_turn};
use crate::{Done, Share};

/// Steps whose pieces are merged in one transaction: each has to be named in statements.
const TOGETHER: usize = 500;

/// What a run did for a source.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) lines: u64,
    pub(crate) late: u64,
    pub(crate) malformed: u64,
    /// Path, reason and the line.
    pub(crate) samples: Vec<(String, String, String)>,
    pub(crate) files: BTreeSet<String>,
    /// Path, and why its lines wait for the next run.
    pub(crate) put_off: Vec<(String, String)>,
    /// Path, and what is wrong with it.
    pub(crate) damage: Vec<(String, String)>,
    /// Files that are gone, maybe with lines that nobody counted.
    pub(crate) lost: Vec<Lost>,
}

/// A step whose lines are to be merged.
struct Ready<'a> {
    step: &'a str,
    share: &'a Share,
    done: &'a Done,
}

/// How often a merge is tried again that another run was ahead of.
const TRIES: u32 = 8;

/// Merges what the steps of a source counted.
pub(crate) fn source<'a>(
    stats: &'a Stats,
    ctx: &Context,
    store: &Store,
    source: Origin<'_>,
    outcomes: impl Iterator<Item = &'a Outcome<Stats>>,
) -> Result<Merged> {
    let mut merged = Merged::default();
    let mut files: BTreeMap<&str, Vec<&Outcome<Stats>>> = BTreeMap::new();
    for outcome in outcomes {
        files.entry(&outcome.step.input.file).or_default().push(outcome);
    }
    for outcomes in files.values_mut() {
        outcomes.sort_by_key(|it| it.step.input.from);
    }
    // Those of a run that was ended before it came to them.
    store.write_rows(source.name(), &ctx.timezone, &stats.funnels)?;
    let mut tries = 0;
    loop {
        let mut ready = Vec::new();
        let mut known = store.known(source.name())?;
        let kept = store.kept(&ctx.run)?;
        let cursors: BTreeMap<String, u64> =
            store.cursors(source.name())?.into_iter().map(|it| (it.id, it.offset)).collect();
        (merged.put_off, merged.damage) = Default::default();
        for outcomes in files.values() {
            contiguous(outcomes, &kept, &cursors, &mut ready, &mut merged);
        }
        // In the order of time, so that sessions are joined as they went on.
        ready.sort_by_key(|it| it.done.newest);
        let last = ready.len().div_ceil(TOGETHER).saturating_sub(1);
        let mut is_overtaken = false;
        for (number, wave) in ready.chunks(TOGETHER).enumerate() {
            let newest = wave.iter().map(|it| it.done.newest).fold(known.newest, i64::max);
            // Until all is merged, sessions may go on in what is not.
            let watermark = if number == last { newest - SLACK } else { i64::MIN };
            match together(stats, ctx, store, source, wave, watermark, known) {
                Ok(next) => known = next,
                Err(Refused::Overtaken) => {
                    is_overtaken = true;
                    break;
                }
                Err(Refused::Failed(error)) => return Err(error),
            }
            for Ready { share, done, .. } in wave {
                merged.lines += done.lines;
                merged.late += done.late;
                merged.malformed += done.malformed;
                merged.files.insert(share.path.clone());
                let samples = done.samples.iter().cloned();
                merged.samples.extend(samples.map(|(reason, line)| (share.path.clone(), reason, line)));
            }
        }
        if !is_overtaken {
            return Ok(merged);
        }
        tries += 1;
        if tries == TRIES {
            let put_off = ready.iter().map(|it| (it.share.path.clone(), "other runs were ahead of it".to_owned()));
            merged.put_off.extend(put_off);
            return Ok(merged);
        }
    }
}

/// Seconds by which lines may be out of order.
const SLACK: i64 = 120;

/// Of a file's parts, those that follow each other from where the cursor stands.
fn contiguous<'a>(
    outcomes: &[&'a Outcome<Stats>],
    kept: &BTreeSet<String>,
    cursors: &BTreeMap<String, u64>,
    ready: &mut Vec<Ready<'a>>,
    merged: &mut Merged,
) {
    let mut at = None;
    for outcome in outcomes {
        let (share, Ok(done)) = (&outcome.step.input, &outcome.output) else { return };
        let cursor = cursors.get(&share.file).copied().unwrap_or(0);
        if let Some(why) = &done.damage {
            merged.damage.push((share.path.clone(), why.clone()));
        }
        if let Some(why) = &done.put_off {
            merged.put_off.push((share.path.clone(), why.clone()));
            return;
        }
        // Merged before a crash.
        if done.to <= cursor && share.cursor != cursor {
            continue;
        }
        // That a compressed file is counted to its end is worth to be known.
        if done.from == done.to && !done.complete {
            continue;
        }
        if done.from != *at.get_or_insert(cursor) || !kept.contains(&outcome.step.id) {
            merged.put_off.push((share.path.clone(), "what stands before it is not counted".to_owned()));
            return;
        }
        at = Some(done.to);
        ready.push(Ready { step: &outcome.step.id, share, done });
    }
}

enum Refused {
    /// Another run has committed something of the source meanwhile.
    Overtaken,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Merges some steps in one transaction.
fn together(
    stats: &Stats,
    ctx: &Context,
    store: &Store,
    source: Origin<'_>,
    wave: &[Ready<'_>],
    watermark: i64,
    known: Known,
) -> std::result::Result<Known, Refused> {
    let steps: Vec<String> = wave.iter().map(|it| it.step.to_owned()).collect();
    let funnels = stats.funnels(source.name())?;
    let mut merging = store.merging(source.name(), &ctx.run, &steps, &ctx.timezone, &funnels)?;
    let keys = merging.keys();
    let zone = |error: upkeep_rollup::UnknownZone| Error::config(error.to_string());
    if source.is_of_events() {
        let mut calendar = Calendar::new(&ctx.timezone).map_err(zone)?;
        ledger::merge_events(&mut merging, &keys, watermark, &funnels, &mut calendar).map_err(Error::from)?;
    } else {
        // Measured by the lines, so that old logs that are read for the first time know their visitors for as long.
        let oldest = known.newest - stats.keep.days.0 / 1_000;
        let since = Calendar::new(&ctx.timezone).map_err(zone)?.hour(oldest).map(|it| it.day);
        let rest = Piece::new(Options { since, ..stats.options(ctx) }).map_err(zone)?;
        ledger::merge(&mut merging, &keys, watermark, rest).map_err(Error::from)?;
    }
    let mut statements = take_turn(source.name(), known);
    for Ready { share, done, .. } in wave {
        let cursor = Cursor {
            id: share.file.clone(),
            head: share.head.clone(),
            offset: done.to,
            path: share.path.clone(),
            seen: share.seen,
            state: if done.complete { State::Complete } else { State::Open },
            seen_ms: ctx.now,
            by: stats.by(ctx),
        };
        statements.push(advance(store, source.name(), &cursor));
        for (reason, line) in &done.samples {
            statements.push((
                "INSERT INTO @malformed (source, path, reason, line, seen_ms) VALUES (?, ?, ?, ?, ?)".to_owned(),
                parameters![source.name(), share.path.as_str(), reason.as_str(), line.as_str(), ctx.now].to_vec(),
            ));
        }
    }
    let total = |of: fn(&Done) -> u64| Value::Integer(wave.iter().map(|it| of(it.done)).sum::<u64>().cast_signed());
    let next = Known {
        newest: wave.iter().map(|it| it.done.newest).fold(known.newest, i64::max),
        lines: known.lines + wave.iter().map(|it| it.done.lines).sum::<u64>(),
        turn: known.turn + 1,
    };
    let name = source.name();
    statements.push((
        store.insert_new("INTO @source (name, newest, \"lines\", late, malformed) VALUES (?, 0, 0, 0, 0)"),
        parameters![name].to_vec(),
    ));
    statements.push((
        "UPDATE @source SET newest = ?, \"lines\" = \"lines\" + ?, late = late + ?, malformed = malformed + ? WHERE name = ?"
            .to_owned(),
        vec![
            Value::Integer(next.newest),
            total(|it| it.lines),
            total(|it| it.late),
            total(|it| it.malformed),
            Value::from(name),
        ],
    ));
    statements.extend(merging.finish(&stats.funnels)?);
    match store.commit(statements) {
        Err(HostError::Conflict(_)) => return Err(Refused::Overtaken),
        done => done?,
    }
    match store.write_rows(source.name(), &ctx.timezone, &stats.funnels)? {
        0 => Ok(next),
        _ => Ok(store.known(source.name())?),
    }
}
