//! Key-value state of one task, kept between runs in the store. The task's name is part of every question, so no task
//! sees another's.

use crate::abi::state as abi;
use crate::capability::{Host, HostError};
use crate::store::{StateError, StateWrite};

/// Longest key, in bytes.
const LONGEST_KEY: usize = 1_024;

/// Keys that one call gives.
const MOST_KEYS: u32 = 1_000;

impl Host {
    fn state_granted(&self) -> Result<(), HostError> {
        match self.run.grants.state {
            true => Ok(()),
            false => self.deny("state (the task file does not set `grant.state = true`)"),
        }
    }
}

impl abi::Host for Host {
    async fn get(&mut self, key: String) -> Result<Option<abi::Versioned>, HostError> {
        self.state_granted()?;
        let found = self.run.store.read().state_get(&self.run.task, &key).await;
        let found = found.map_err(|error| HostError::unavailable(error.to_string()))?;
        Ok(found.map(|found| abi::Versioned { value: found.value, version: found.version }))
    }

    async fn keys(&mut self, prefix: String, after: Option<String>) -> Result<Vec<String>, HostError> {
        self.state_granted()?;
        let keys = self.run.store.read().state_keys(&self.run.task, &prefix, after.as_deref(), MOST_KEYS).await;
        keys.map_err(|error| HostError::unavailable(error.to_string()))
    }

    async fn apply(&mut self, writes: Vec<abi::Write>) -> Result<(), HostError> {
        self.state_granted()?;
        for write in &writes {
            if write.key.is_empty() || write.key.len() > LONGEST_KEY || write.key.contains('\0') {
                let begin: String = write.key.chars().take(40).collect();
                return Err(HostError::invalid(format!(
                    "`{begin}` is not a key of the state: it takes 1 to {LONGEST_KEY} bytes, none of them zero"
                )));
            }
        }
        let writes =
            writes.into_iter().map(|abi::Write { key, value, expected }| StateWrite { key, value, expected }).collect();
        let limit = self.run.limits.state;
        match self.run.store.state_apply(&self.run.task, writes, limit.0).await {
            Ok(()) => Ok(()),
            Err(error @ StateError::Conflict { .. }) => Err(HostError::conflict(error.to_string())),
            Err(error @ StateError::Limit { .. }) => self.exceed("state", format!("{error} (limits.state)")),
            Err(error) => Err(HostError::unavailable(error.to_string())),
        }
    }
}
