//! Since when a channel's server is down, beyond one run: in the task's state until it works again.
//!
//! A server that is down for a moment is waited for. One that stays down would hold up messages that have another channel, each until
//! its tries are used up.

use upkeep_plugin::{HostResult, state};

/// For how long messages wait for a server that is down, milliseconds; from then on those with another channel go on to that.
pub(crate) const PATIENCE: i64 = 600_000;

/// Since when a server is down.
#[derive(Debug)]
pub(crate) struct Outage {
    key: String,
    /// Milliseconds since 1970.
    since: Option<i64>,
}

impl Outage {
    /// What earlier runs know.
    pub(crate) fn open(channel: &str) -> HostResult<Self> {
        let key = format!("down/{channel}");
        Ok(Self { since: state::get(&key)?, key })
    }

    /// Whether it was down when it was asked last. Then one failure shows that it still is.
    pub(crate) fn is_known(&self) -> bool {
        self.since.is_some()
    }

    /// It is down now. Whether it has been for so long that nobody is to wait for it.
    pub(crate) fn is_long(&mut self, now: i64) -> HostResult<bool> {
        // A time to come is from a clock that was set back since.
        match self.since {
            Some(since) if since <= now => Ok(now - since >= PATIENCE),
            _ => {
                self.since = Some(now);
                state::put(&self.key, &now)?;
                Ok(false)
            }
        }
    }

    /// It works.
    pub(crate) fn over(&mut self) -> HostResult<()> {
        match self.since.take() {
            Some(_) => state::remove(&self.key),
            None => Ok(()),
        }
    }
}
