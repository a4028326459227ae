//! The journal of everything that happens, in SQLite.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::run::record::LogRecord;

pub mod transition;

/// A value and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "placeholder of the store's own")]
pub struct StateValue {
    pub value: Vec<u8>,
    pub version: u64,
}

/// One change of a task's state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "placeholder of the store's own")]
pub struct StateWrite {
    pub key: String,
    pub value: Option<Vec<u8>>,
    pub expected: Option<u64>,
}

/// Why task state was not changed.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "placeholder of the store's own")]
pub enum StateError {
    #[error("the key `{key}` has changed: it has version {found}")]
    Conflict { key: String, found: u64 },
    #[error("the state would take {needed} bytes, and {limit} are allowed")]
    Limit { needed: u64, limit: u64 },
    #[error("{0}")]
    Store(String),
}

/// The journal, held in memory.
#[derive(Debug, Clone, Default)]
pub struct Store {
    state: Arc<Mutex<BTreeMap<(String, String), StateValue>>>,
}

#[expect(missing_docs, clippy::unused_async, reason = "placeholder of the store's own")]
impl Store {
    pub fn read(&self) -> &Self {
        self
    }
    pub fn log(&self, _: Vec<LogRecord>) {}
    pub async fn state_get(&self, task: &str, key: &str) -> Result<Option<StateValue>, StateError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(state.get(&(task.to_owned(), key.to_owned())).cloned())
    }
    pub async fn state_keys(
        &self,
        task: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StateError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = state.keys().filter(|(of, key)| {
            of == task && key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
        });
        Ok(keys.take(limit as usize).map(|(_, key)| key.clone()).collect())
    }
    pub async fn state_apply(&self, task: &str, writes: Vec<StateWrite>, limit: u64) -> Result<(), StateError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = writes
            .iter()
            .map(|write| write.value.as_ref().map_or(0, |value| write.key.len() + value.len()) as u64)
            .sum();
        if needed > limit {
            return Err(StateError::Limit { needed, limit });
        }
        for write in writes {
            let key = (task.to_owned(), write.key);
            let found = state.get(&key).map_or(0, |value| value.version);
            if write.expected.is_some_and(|expected| expected != found) {
                return Err(StateError::Conflict { key: key.1, found });
            }
            match write.value {
                Some(value) => state.insert(key, StateValue { value, version: found + 1 }),
                None => state.remove(&key),
            };
        }
        Ok(())
    }
}
