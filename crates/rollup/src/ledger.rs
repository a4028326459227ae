//! What pieces say, merged into what is stored, with little of it in memory at once.
//!
//! Partition by partition, visitors take in who was seen, and sessions are joined and closed. What follows of it for hours and
//! days is a piece of its own. Then the hours, days and rankings of all pieces are merged, one by one.

use std::collections::{BTreeMap, BTreeSet};

use crate::calendar::{Calendar, Day};
use crate::codec::Damaged;
use crate::funnel::{Attempts, Funnel, Steps};
use crate::piece::Piece;
use crate::section::{Key, Section};
use crate::session::OpenSessions;
use crate::visitor::{PARTITIONS, Seen, Visitors};

/// Where sections are. All that [`merge`] does with one belongs into a single transaction.
pub trait Ledger {
    /// What can go wrong.
    type Error: From<Damaged>;

    /// What is stored under a key.
    fn load(&mut self, key: Key) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Stores a section in place of what is stored under its key.
    fn save(&mut self, section: Section) -> Result<(), Self::Error>;

    /// Removes what is stored under a key.
    fn remove(&mut self, key: Key) -> Result<(), Self::Error>;

    /// Sections of new pieces under a key, some at a time: as many as fit into memory together. None when there are no more.
    fn pieces(&mut self, key: Key) -> Result<Vec<Vec<u8>>, Self::Error>;
}

/// Gives all sections of new pieces under a key to `take`, some at a time.
fn each_of<L: Ledger>(
    ledger: &mut L,
    key: Key,
    mut take: impl FnMut(Vec<Vec<u8>>) -> Result<(), Damaged>,
) -> Result<bool, L::Error> {
    let mut is_any = false;
    loop {
        let pieces = ledger.pieces(key)?;
        if pieces.is_empty() {
            return Ok(is_any);
        }
        is_any = true;
        take(pieces)?;
    }
}

/// Merges new pieces, which have sections under `keys`, into what is stored. Sessions that no request from `watermark` (Unix
/// seconds) on belongs to are counted. `rest` is an empty piece that is made with the options of the others.
pub fn merge<L: Ledger>(ledger: &mut L, keys: &BTreeSet<Key>, watermark: i64, mut rest: Piece) -> Result<(), L::Error> {
    for &key in keys {
        if let Key::Seen(period, partition) = key {
            let mut seen = Seen::default();
            each_of(ledger, key, |pieces| {
                seen.merge(&pieces.iter().map(|it| Seen::decode(it)).collect::<Result<Vec<_>, _>>()?);
                Ok(())
            })?;
            let key = Key::Visitors(period, partition);
            let mut visitors = ledger.load(key)?.map_or(Ok(Visitors::default()), |it| Visitors::decode(&it))?;
            let forgotten = rest.since().map_or(0, |day| visitors.expire(day));
            if visitors.admit(&seen, &mut rest) || forgotten > 0 {
                ledger.save(Section { key, bytes: visitors.encode() })?;
            }
        }
    }
    for key in (0..PARTITIONS).map(Key::Sessions) {
        let stored = ledger.load(key)?;
        let mut sessions = OpenSessions::new();
        let mut waiting = stored.clone();
        let mut take = |pieces: Vec<Vec<u8>>| {
            let all = waiting.take().into_iter().chain(pieces).map(|it| OpenSessions::decode(&it));
            sessions.merge(&all.collect::<Result<Vec<_>, _>>()?);
            Ok(())
        };
        let is_new = keys.contains(&key) && each_of(ledger, key, &mut take)?;
        take(Vec::new())?;
        let closed = sessions.close(watermark, &mut rest);
        match (sessions.is_empty(), stored.is_some()) {
            (true, true) => ledger.remove(key)?,
            (false, _) if closed > 0 || is_new => ledger.save(Section { key, bytes: sessions.encode() })?,
            _ => (),
        }
    }
    let counted = keys.iter().filter(|it| matches!(it, Key::Hour(_) | Key::Day(_) | Key::Chart(..)));
    merge_counted(ledger, counted.copied().collect(), keys, rest.into_sections())
}

/// Merges new pieces of event logs, as [`merge`] does those of access logs. Days of funnels that are over when nothing from
/// before `watermark` comes any more are counted. The time zone is that of the pieces.
pub fn merge_events<L: Ledger>(
    ledger: &mut L,
    keys: &BTreeSet<Key>,
    watermark: i64,
    funnels: &[Funnel],
    calendar: &mut Calendar,
) -> Result<(), L::Error> {
    let mut rest = Vec::new();
    for funnel in funnels {
        let mut days = BTreeMap::<Day, Steps>::new();
        for key in (0..PARTITIONS).map(|it| Key::Attempts(funnel.id(), it)) {
            let stored = ledger.load(key)?;
            let mut attempts = Attempts::default();
            let mut waiting = stored.clone();
            let mut take = |pieces: Vec<Vec<u8>>| {
                let all = waiting.take().into_iter().chain(pieces).map(|it| Attempts::decode(&it));
                attempts.merge(&all.collect::<Result<Vec<_>, _>>()?, calendar);
                Ok(())
            };
            let is_new = keys.contains(&key) && each_of(ledger, key, &mut take)?;
            if stored.is_none() && !is_new {
                continue;
            }
            take(Vec::new())?;
            for (day, steps) in attempts.close(watermark, funnel, calendar) {
                days.entry(day).or_default().merge(&steps);
            }
            let bytes = attempts.encode();
            if stored.as_ref() != Some(&bytes) {
                ledger.save(Section { key, bytes })?;
            }
        }
        rest.extend(
            days.into_iter().map(|(day, it)| Section { key: Key::Steps(funnel.id(), day), bytes: it.encode() }),
        );
    }
    let counted = keys.iter().filter(|it| matches!(it, Key::Events(_) | Key::Users(_)));
    merge_counted(ledger, counted.copied().collect(), keys, rest)
}

/// Merges what is stored, what pieces say and the rest, one key after the other.
fn merge_counted<L: Ledger>(
    ledger: &mut L,
    mut counted: BTreeSet<Key>,
    keys: &BTreeSet<Key>,
    rest: Vec<Section>,
) -> Result<(), L::Error> {
    let mut rest: BTreeMap<Key, Section> = rest.into_iter().map(|it| (it.key, it)).collect();
    counted.extend(rest.keys());
    for key in counted {
        let section = |bytes| Section { key, bytes };
        let stored = ledger.load(key)?.map(section);
        let mut merged = Section::merged(stored.into_iter().chain(rest.remove(&key)))?;
        if keys.contains(&key) {
            each_of(ledger, key, |pieces| {
                merged = Section::merged(merged.take().into_iter().chain(pieces.into_iter().map(section)))?;
                Ok(())
            })?;
        }
        if let Some(section) = merged {
            ledger.save(section)?;
        }
    }
    Ok(())
}
