//! What the steps of a run counted, read while it is merged: what is small together, what is large some steps at a time.

use std::collections::BTreeMap;

use upkeep_plugin::sql::Value;
use upkeep_plugin::{HostResult, Result};
use upkeep_rollup::Key;

use super::{END, Store, damaged};

/// Bytes that are read together, about.
const TOGETHER: u64 = 4 << 20;

/// Pieces of some steps of a run.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// What is still to be read, and how much it is.
    pub(super) sizes: BTreeMap<Key, Size>,
    /// What was read beside something else.
    read: BTreeMap<Key, Vec<Vec<u8>>>,
}

/// How much there is under a key.
#[derive(Debug, Default)]
pub(super) struct Size {
    bytes: u64,
    count: u64,
    /// The last step that was read.
    last: String,
}

impl Pieces {
    pub(super) fn of(store: &Store, run: &str, steps: &[String]) -> Result<Self> {
        let statement = format!(
            "SELECT \"key\", length(value) AS size FROM @piece WHERE run = ? AND \"key\" <> ? AND step IN ({})",
            places(steps.len())
        );
        let values: Vec<Value> =
            [run, END].into_iter().chain(steps.iter().map(String::as_str)).map(Value::from).collect();
        let mut sizes: BTreeMap<Key, Size> = BTreeMap::new();
        for row in store.query(&statement, values)? {
            let row = row?;
            let size = sizes.entry(row.get::<String>("key")?.parse().map_err(damaged)?).or_default();
            size.bytes += row.get::<i64>("size")?.cast_unsigned();
            size.count += 1;
        }
        Ok(Self { sizes, read: BTreeMap::new() })
    }

    /// The next ones under a key; none when all of them were read.
    pub(super) fn next(&mut self, store: &Store, run: &str, steps: &[String], key: Key) -> Result<Vec<Vec<u8>>> {
        if let Some(read) = self.read.remove(&key) {
            return Ok(read);
        }
        match self.sizes.get(&key) {
            None => Ok(Vec::new()),
            Some(size) if size.bytes > TOGETHER => Ok(self.some_steps(store, run, steps, key)?),
            Some(_) => {
                self.some_keys(store, run, steps, key)?;
                Ok(self.read.remove(&key).unwrap_or_default())
            }
        }
    }

    fn some_steps(&mut self, store: &Store, run: &str, steps: &[String], key: Key) -> HostResult<Vec<Vec<u8>>> {
        let Some(size) = self.sizes.get_mut(&key) else { return Ok(Vec::new()) };
        let most = (TOGETHER * size.count / size.bytes).max(1);
        let statement = format!(
            "SELECT step, value FROM @piece WHERE run = ? AND \"key\" = ? AND step > ? AND step IN ({})
             ORDER BY step LIMIT {most}",
            places(steps.len())
        );
        let values = [run.to_owned(), key.to_string(), size.last.clone()];
        let values = values.into_iter().chain(steps.iter().cloned()).map(Value::from).collect::<Vec<_>>();
        let mut found = Vec::new();
        for row in store.query(&statement, values)? {
            let row = row?;
            size.last = row.get("step")?;
            found.push(row.get("value")?);
        }
        if found.is_empty() {
            self.sizes.remove(&key);
        }
        Ok(found)
    }

    /// Reads what is under a key, and what is small under those that follow.
    fn some_keys(&mut self, store: &Store, run: &str, steps: &[String], key: Key) -> Result<()> {
        let mut bytes = 0;
        let fit = self.sizes.range(key..).take_while(|(_, size)| {
            bytes += size.bytes;
            bytes <= TOGETHER
        });
        let keys: Vec<Key> = fit.map(|(key, _)| *key).take(500).collect();
        let statement = format!(
            "SELECT \"key\", value FROM @piece WHERE run = ? AND \"key\" IN ({}) AND step IN ({})",
            places(keys.len()),
            places(steps.len())
        );
        let names = keys.iter().map(Key::to_string).chain(steps.iter().cloned());
        let values = std::iter::once(run.to_owned()).chain(names).map(Value::from).collect::<Vec<_>>();
        for row in store.query(&statement, values)? {
            let row = row?;
            let key = row.get::<String>("key")?.parse().map_err(damaged)?;
            self.read.entry(key).or_default().push(row.get("value")?);
        }
        keys.iter().for_each(|key| drop(self.sizes.remove(key)));
        Ok(())
    }
}

fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}
