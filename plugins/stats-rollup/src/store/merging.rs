//! What is stored of a source and what is new of it, while both are merged.

use std::collections::{BTreeMap, BTreeSet};

use upkeep_plugin::sql::Value;
use upkeep_plugin::{Error, HostError, HostResult, Result, parameters};
use upkeep_rollup::ledger::Ledger;
use upkeep_rollup::{Calendar, Damaged, Funnel, Key, PARTITIONS, Section};

use super::pieces::Pieces;
use super::{CALL, MERGED, Statements, Store, damaged, rows, tables};
use crate::config::FunnelOf;

impl Store {
    /// Begins to merge what some steps of a run counted of a source.
    pub(crate) fn merging<'a>(
        &'a self,
        source: &'a str,
        run: &'a str,
        steps: &'a [String],
        zone: &str,
        funnels: &[Funnel],
    ) -> Result<Merging<'a>> {
        // A run that was ended may have left some.
        self.clear(run, MERGED)?;
        let pieces = Pieces::of(self, run, steps)?;
        let mut merging = Merging { run, steps, pieces, ..Merging::of_stored(self, source, zone)? };
        merging.expect(funnels);
        Ok(merging)
    }
}

/// Sections that are read at once: those of visitors of a large site have half a megabyte each.
const TOGETHER: usize = 16;

/// Bytes of what is merged that wait to be put beside what is stored.
const WAITING: usize = CALL;

/// What is stored of a source, and what is new: read while it is merged, a little at a time. What is merged is put beside, and takes
/// the place of what is stored in the transaction at the end.
#[derive(Debug)]
pub(crate) struct Merging<'a> {
    pub(super) store: &'a Store,
    pub(super) source: &'a str,
    run: &'a str,
    steps: &'a [String],
    pub(super) calendar: Calendar,
    /// What is new.
    pieces: Pieces,
    /// What is going to be asked for, in this order.
    expected: BTreeSet<Key>,
    /// What is stored of that which is asked for next; none for what is not there.
    stored: BTreeMap<Key, Option<Vec<u8>>>,
    /// What is to be stored; none for what is to be removed.
    changed: BTreeMap<Key, Option<Vec<u8>>>,
    /// Bytes of it.
    waiting: usize,
    /// What is to be stored and was put beside already.
    put_beside: BTreeSet<Key>,
}

impl<'a> Merging<'a> {
    /// Of what is stored alone, to look at it.
    pub(super) fn of_stored(store: &'a Store, source: &'a str, zone: &str) -> Result<Self> {
        let calendar = Calendar::new(zone).map_err(|error| Error::config(error.to_string()))?;
        Ok(Self {
            store,
            source,
            run: "",
            steps: &[],
            calendar,
            pieces: Pieces::default(),
            expected: BTreeSet::new(),
            stored: BTreeMap::new(),
            changed: BTreeMap::new(),
            waiting: 0,
            put_beside: BTreeSet::new(),
        })
    }
}

impl Merging<'_> {
    /// The keys of what is new.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.pieces.sizes.keys().copied().collect()
    }

    /// Notes what is going to be asked for: what is stored of what is new, and what is open.
    fn expect(&mut self, funnels: &[Funnel]) {
        let visitors = |key: &Key| match *key {
            Key::Seen(period, partition) => Key::Visitors(period, partition),
            key => key,
        };
        let attempts = |funnel: &Funnel| {
            let id = funnel.id();
            (0..PARTITIONS).map(move |it| Key::Attempts(id, it))
        };
        // What may end though nothing is new of it.
        let open = (0..PARTITIONS).map(Key::Sessions).chain(funnels.iter().flat_map(attempts));
        self.expected = self.pieces.sizes.keys().map(visitors).chain(open).collect();
    }

    /// Reads a section, and those that are going to be asked for after it.
    fn fetch(&mut self, key: Key) -> HostResult<()> {
        let keys: Vec<Key> = self.expected.range(key..).take(TOGETHER).copied().collect();
        let places = vec!["?"; keys.len()].join(", ");
        let statement = format!("SELECT \"key\", value FROM @section WHERE source = ? AND \"key\" IN ({places})");
        let names = keys.iter().map(Key::to_string);
        let values: Vec<Value> = [self.source.to_owned()].into_iter().chain(names).map(Value::from).collect();
        let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for row in self.store.query(&statement, values)? {
            let row = row?;
            found.insert(row.get("key")?, row.get("value")?);
        }
        for key in keys {
            self.expected.remove(&key);
            self.stored.insert(key, found.remove(&key.to_string()));
        }
        Ok(())
    }

    /// Puts what is merged so far beside what is stored.
    fn put_beside(&mut self) -> HostResult<()> {
        self.waiting = 0;
        let merged = self.changed.extract_if(.., |_, value| value.is_some());
        let merged = merged.filter_map(|(key, value)| Some((key, value?)));
        let put_beside = &mut self.put_beside;
        let named = merged.map(|(key, value)| {
            put_beside.insert(key);
            (key.to_string(), value)
        });
        self.store.append(self.run, MERGED, named)
    }

    /// What is to be written, with the tables for people.
    pub(crate) fn finish(mut self, funnels: &[FunnelOf]) -> Result<Statements> {
        let keys: BTreeSet<Key> = self.changed.keys().chain(&self.put_beside).copied().collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        let are_many = rows::are_many(&keys);
        let mut statements = if are_many { Statements::new() } else { tables::of(&mut self, &keys, funnels)? };
        self.put_beside()?;
        for key in self.changed.keys() {
            statements.push((
                "DELETE FROM @section WHERE source = ? AND \"key\" = ?".to_owned(),
                parameters![self.source, key.to_string()].to_vec(),
            ));
        }
        let replacing = self.store.sql.replacing(&["source", "key"], &["value"]);
        statements.push((
            format!(
                "INSERT INTO @section (source, \"key\", value)
                 SELECT ?, \"key\", value FROM @piece WHERE run = ? AND step = ?{replacing}"
            ),
            parameters![self.source, self.run, MERGED].to_vec(),
        ));
        if are_many {
            statements.push(rows::later(self.source, self.run));
        }
        let steps: Vec<Value> =
            [self.run, MERGED].into_iter().chain(self.steps.iter().map(String::as_str)).map(Value::from).collect();
        let places = vec!["?"; self.steps.len()].join(", ");
        statements.push((format!("DELETE FROM @piece WHERE run = ? AND step IN (?, {places})"), steps));
        Ok(statements)
    }
}

impl Ledger for Merging<'_> {
    type Error = Failed;

    fn load(&mut self, key: Key) -> std::result::Result<Option<Vec<u8>>, Failed> {
        if let Some(changed) = self.changed.get(&key) {
            return Ok(changed.clone());
        }
        if self.put_beside.contains(&key) {
            let values = parameters![self.run, MERGED, key.to_string()];
            let statement = "SELECT value FROM @piece WHERE run = ? AND step = ? AND \"key\" = ?";
            let mut rows = self.store.query(statement, values)?;
            return Ok(rows.next().transpose()?.map(|row| row.get("value")).transpose()?);
        }
        if self.expected.contains(&key) {
            self.fetch(key)?;
        }
        // Asked for once; what is merged of it is in `changed`.
        if let Some(stored) = self.stored.remove(&key) {
            return Ok(stored);
        }
        let values = parameters![self.source, key.to_string()];
        let statement = "SELECT value FROM @section WHERE source = ? AND \"key\" = ?";
        let mut rows = self.store.query(statement, values)?;
        Ok(rows.next().transpose()?.map(|row| row.get("value")).transpose()?)
    }

    fn save(&mut self, section: Section) -> std::result::Result<(), Failed> {
        self.waiting += section.bytes.len();
        self.changed.insert(section.key, Some(section.bytes));
        if self.waiting > WAITING {
            self.put_beside()?;
        }
        Ok(())
    }

    fn remove(&mut self, key: Key) -> std::result::Result<(), Failed> {
        self.changed.insert(key, None);
        if self.put_beside.remove(&key) {
            let values = parameters![self.run, MERGED, key.to_string()];
            self.store.execute("DELETE FROM @piece WHERE run = ? AND step = ? AND \"key\" = ?", values)?;
        }
        Ok(())
    }

    fn pieces(&mut self, key: Key) -> std::result::Result<Vec<Vec<u8>>, Failed> {
        self.pieces.next(self.store, self.run, self.steps, key).map_err(Failed)
    }
}

/// Why nothing was merged.
#[derive(Debug)]
pub(crate) struct Failed(Error);

impl From<Damaged> for Failed {
    fn from(error: Damaged) -> Self {
        Self(damaged(error))
    }
}

impl From<HostError> for Failed {
    fn from(error: HostError) -> Self {
        Self(error.into())
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.0
    }
}
