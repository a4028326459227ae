//! The tasks' keys and values, with compare-and-set.
//!
//! Versions come from one counter per task, which outlives the keys: a version is never given twice, so a key that was
//! removed and written again is not mistaken for the old one.

use std::collections::BTreeMap;

use sqlx::{Row, SqliteConnection};

use super::error::StateError;
use super::row;

/// A value and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateValue {
    /// What the task wrote.
    pub value: Vec<u8>,
    /// Grows with every write of the key.
    pub version: u64,
}

/// One change of a task's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// The key.
    pub key: String,
    /// None removes the key.
    pub value: Option<Vec<u8>>,
    /// When given, the write is done only while the key has this version (0: while it does not exist).
    pub expected: Option<u64>,
}

/// What is known of a task's state, as far as a change needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    /// The highest version ever given.
    version: u64,
    /// Keys and values together.
    bytes: u64,
    /// The keys of the change that exist.
    keys: BTreeMap<String, Key>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    version: u64,
    bytes: u64,
}

impl Known {
    /// Follows the writes in their order, a later one seeing the earlier, or says why they cannot be done.
    fn follow(&mut self, writes: &[StateWrite], limit: u64) -> Result<(), StateError> {
        let before = self.bytes;
        for StateWrite { key, value, expected } in writes {
            let found = self.keys.get(key).map_or(0, |key| key.version);
            if expected.is_some_and(|expected| expected != found) {
                return Err(StateError::Conflict { key: key.clone(), found });
            }
            if let Some(old) = self.keys.remove(key) {
                self.bytes = self.bytes.saturating_sub(old.bytes);
            }
            if let Some(value) = value {
                self.version += 1;
                let bytes = (key.len() + value.len()) as u64;
                self.bytes += bytes;
                self.keys.insert(key.clone(), Key { version: self.version, bytes });
            }
        }
        if self.bytes > limit && self.bytes > before {
            return Err(StateError::Limit { needed: self.bytes, limit });
        }
        Ok(())
    }
}

/// Does the change within the transaction that is open. Nothing is written when it is refused.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    task: &str,
    writes: &[StateWrite],
    limit: u64,
) -> Result<Result<(), StateError>, sqlx::Error> {
    let mut known = read(connection, task, writes).await?;
    if let Err(refusal) = known.follow(writes, limit) {
        return Ok(Err(refusal));
    }
    let last: BTreeMap<&str, Option<&[u8]>> =
        writes.iter().map(|write| (write.key.as_str(), write.value.as_deref())).collect();
    for (key, value) in last {
        match (value, known.keys.get(key)) {
            (Some(value), Some(Key { version, .. })) => {
                sqlx::query(
                    "INSERT INTO state (task, key, value, version) VALUES (?1, ?2, ?3, ?4) \
                     ON CONFLICT (task, key) DO UPDATE SET value = excluded.value, version = excluded.version",
                )
                .bind(task)
                .bind(key)
                .bind(value)
                .bind(row::integer(*version))
                .execute(&mut *connection)
                .await?;
            }
            _ => {
                sqlx::query("DELETE FROM state WHERE task = ?1 AND key = ?2")
                    .bind(task)
                    .bind(key)
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    sqlx::query(
        "INSERT INTO state_usage (task, version, bytes) VALUES (?1, ?2, ?3) \
         ON CONFLICT (task) DO UPDATE SET version = excluded.version, bytes = excluded.bytes",
    )
    .bind(task)
    .bind(row::integer(known.version))
    .bind(row::integer(known.bytes))
    .execute(&mut *connection)
    .await?;
    Ok(Ok(()))
}

async fn read(connection: &mut SqliteConnection, task: &str, writes: &[StateWrite]) -> Result<Known, sqlx::Error> {
    let mut known = Known::default();
    let usage = sqlx::query("SELECT version, bytes FROM state_usage WHERE task = ?1")
        .bind(task)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(usage) = usage {
        known.version = row::unsigned(usage.try_get(0)?);
        known.bytes = row::unsigned(usage.try_get(1)?);
    }
    let keys: Vec<&str> = writes.iter().map(|write| write.key.as_str()).collect();
    let rows = sqlx::query(
        "SELECT key, version, octet_length(key) + octet_length(value) FROM state \
         WHERE task = ?1 AND key IN (SELECT value FROM json_each(?2))",
    )
    .bind(task)
    .bind(row::json(&keys))
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let key = Key { version: row::unsigned(row.try_get(1)?), bytes: row::unsigned(row.try_get(2)?) };
        known.keys.insert(row.try_get(0)?, key);
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn writes() -> impl Strategy<Value = Vec<StateWrite>> {
        let write = ("[a-c]", prop::option::of(prop::collection::vec(any::<u8>(), 0..8)), prop::option::of(0u64..6));
        prop::collection::vec(write.prop_map(|(key, value, expected)| StateWrite { key, value, expected }), 0..6)
    }

    proptest! {
        /// Over any history: the size is the sum of what is there, versions only grow and come once, and nothing is
        /// done past the limit or against an expectation.
        #[test]
        fn follows_the_rules(history in prop::collection::vec(writes(), 0..12), limit in 0u64..30) {
            let mut known = Known::default();
            for writes in history {
                let before = known.clone();
                let mut after = known.clone();
                match after.follow(&writes, limit) {
                    Ok(()) => known = after,
                    Err(StateError::Conflict { key, .. }) => {
                        prop_assert!(writes.iter().any(|write| write.key == key && write.expected.is_some()));
                    }
                    Err(StateError::Limit { needed, .. }) => prop_assert!(needed > limit && needed > before.bytes),
                    Err(StateError::Store(error)) => panic!("{error}"),
                }
                prop_assert_eq!(known.bytes, known.keys.values().map(|key| key.bytes).sum::<u64>());
                prop_assert!(known.bytes <= limit);
                prop_assert!(known.version >= before.version);
                for (name, key) in &known.keys {
                    let changed = before.keys.get(name) != Some(key);
                    prop_assert!(!changed || key.version > before.version, "{} kept or reused a version", name);
                }
                let mut versions: Vec<u64> = known.keys.values().map(|key| key.version).collect();
                versions.sort_unstable();
                versions.dedup();
                prop_assert_eq!(versions.len(), known.keys.len());
            }
        }
    }
}
