//! What is stored of a source and what is new of it, while both are merged.

use std::collections::{BTreeMap, BTreeSet};

use upkeep_plugin::sql::Value;
use upkeep_plugin::{Error, HostError, Result, parameters};
use upkeep_rollup::ledger::Ledger;
use upkeep_rollup::{Calendar, Damaged, Funnel, Key, PARTITIONS, Section};

use super::{END, MERGED, Statements, Store, damaged, rows, tables};
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
        let places = vec!["?"; steps.len()].join(", ");
        let statement =
            format!("SELECT \"key\", value FROM @piece WHERE run = ? AND \"key\" <> ? AND step IN ({places})");
        let values: Vec<Value> =
            [run, END].into_iter().chain(steps.iter().map(String::as_str)).map(Value::from).collect();
        let mut pieces: BTreeMap<Key, Vec<Vec<u8>>> = BTreeMap::new();
        for row in self.query(&statement, values)? {
            let row = row?;
            let key = row.get::<String>("key")?.parse().map_err(damaged)?;
            pieces.entry(key).or_default().push(row.get("value")?);
        }
        let mut merging = Merging { run, steps, pieces, ..Merging::of_stored(self, source, zone)? };
        merging.fetch(funnels)?;
        Ok(merging)
    }
}

/// What is stored of a source, and what is new: read while it is merged, and written at once at the end.
#[derive(Debug)]
pub(crate) struct Merging<'a> {
    pub(super) store: &'a Store,
    pub(super) source: &'a str,
    run: &'a str,
    steps: &'a [String],
    pub(super) calendar: Calendar,
    /// What is new.
    pieces: BTreeMap<Key, Vec<Vec<u8>>>,
    /// What is stored of all that is going to be asked for; none for what is not there.
    stored: BTreeMap<Key, Option<Vec<u8>>>,
    /// What is to be stored; none for what is to be removed.
    changed: BTreeMap<Key, Option<Vec<u8>>>,
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
            pieces: BTreeMap::new(),
            stored: BTreeMap::new(),
            changed: BTreeMap::new(),
        })
    }
}

impl Merging<'_> {
    /// The keys of what is new.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.pieces.keys().copied().collect()
    }

    /// Reads what is stored of what is new, and what is open, at once.
    fn fetch(&mut self, funnels: &[Funnel]) -> Result<()> {
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
        let keys: BTreeSet<Key> = self.pieces.keys().map(visitors).chain(open).collect();
        let keys: Vec<Key> = keys.into_iter().collect();
        for keys in keys.chunks(1_000) {
            let places = vec!["?"; keys.len()].join(", ");
            let statement = format!("SELECT \"key\", value FROM @section WHERE source = ? AND \"key\" IN ({places})");
            let names = keys.iter().map(Key::to_string);
            let values: Vec<Value> = [self.source.to_owned()].into_iter().chain(names).map(Value::from).collect();
            self.stored.extend(keys.iter().map(|key| (*key, None)));
            for row in self.store.query(&statement, values)? {
                let row = row?;
                let key = row.get::<String>("key")?.parse().map_err(damaged)?;
                self.stored.insert(key, Some(row.get("value")?));
            }
        }
        Ok(())
    }

    /// What is to be written, with the tables for people.
    pub(crate) fn finish(mut self, funnels: &[FunnelOf]) -> Result<Statements> {
        let keys: Vec<Key> = self.changed.keys().copied().collect();
        let are_many = rows::are_many(&keys);
        let mut statements = if are_many { Statements::new() } else { tables::of(&mut self, &keys, funnels)? };
        // More than fits into one call: it is put beside, and moved by the transaction.
        let mut new = Vec::new();
        for (key, value) in self.changed {
            match value {
                Some(value) => new.push((key.to_string(), value)),
                None => statements.push((
                    "DELETE FROM @section WHERE source = ? AND \"key\" = ?".to_owned(),
                    parameters![self.source, key.to_string()].to_vec(),
                )),
            }
        }
        self.store.put(self.run, MERGED, new.into_iter())?;
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
        if let Some(stored) = self.stored.get_mut(&key) {
            // Asked for once; what is merged of it is in `changed`.
            return Ok(stored.take());
        }
        let values = parameters![self.source, key.to_string()];
        let statement = "SELECT value FROM @section WHERE source = ? AND \"key\" = ?";
        let mut rows = self.store.query(statement, values)?;
        Ok(rows.next().transpose()?.map(|row| row.get("value")).transpose()?)
    }

    fn save(&mut self, section: Section) -> std::result::Result<(), Failed> {
        self.changed.insert(section.key, Some(section.bytes));
        Ok(())
    }

    fn remove(&mut self, key: Key) -> std::result::Result<(), Failed> {
        self.changed.insert(key, None);
        Ok(())
    }

    fn pieces(&mut self, key: Key) -> std::result::Result<Vec<Vec<u8>>, Failed> {
        Ok(self.pieces.remove(&key).unwrap_or_default())
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
