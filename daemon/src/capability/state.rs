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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::types::Error;
    use crate::config::grant::Grants;
    use crate::config::limits::Limits;
    use crate::config::size::Size;

    fn write(key: &str, value: &[u8], expected: Option<u64>) -> abi::Write {
        abi::Write { key: key.to_owned(), value: Some(value.to_vec()), expected }
    }

    #[tokio::test]
    async fn keys_are_kept_and_compared() {
        use abi::Host as _;
        let folder = tempfile::tempdir().unwrap();
        let grants = Grants { state: true, ..Grants::default() };
        let limits = Limits { state: Size(64), ..Limits::default() };
        let mut host = Host::of(folder.path(), grants, limits).await;
        host.apply(vec![write("a/1", b"one", Some(0)), write("a/2", b"two", None)]).await.unwrap();
        let found = host.get("a/1".into()).await.unwrap().unwrap();
        assert_eq!(found.value, b"one");
        assert_eq!(host.keys("a/".into(), Some("a/1".into())).await.unwrap(), ["a/2"]);
        let conflict = host.apply(vec![write("a/3", b"", None), write("a/1", b"", Some(found.version + 1))]).await;
        assert!(matches!(conflict, Err(HostError::Guest(Error::Conflict(message))) if message.contains("a/1")));
        assert!(host.get("a/3".into()).await.unwrap().is_none(), "all or none");
        let full = host.apply(vec![write("a/4", &[0; 100], None)]).await;
        assert!(matches!(full, Err(HostError::Guest(Error::Limit(message))) if message.contains("limits.state")));
        assert_eq!(host.limiter.exceeded().map(|(limit, _)| *limit), Some("state"));
        for key in ["", "a\0b", &"x".repeat(2_000)] {
            assert!(matches!(host.apply(vec![write(key, b"", None)]).await, Err(HostError::Guest(Error::Invalid(_)))));
        }
    }

    #[tokio::test]
    async fn without_the_grant_there_is_none() {
        use abi::Host as _;
        let folder = tempfile::tempdir().unwrap();
        let mut host = Host::of(folder.path(), Grants::default(), Limits::default()).await;
        let denied = host.get("a".into()).await;
        host.expect_denied(denied, "grant.state");
        let denied = host.apply(vec![]).await;
        host.expect_denied(denied, "grant.state");
    }
}
