//! Whether a channel has shown that it works, beyond one run: in the task's state.
//!
//! "Nothing by this channel" may be true of one message alone, as where a firewall looks into it. Of a channel that has worked, one
//! message is not believed.

use serde::{Deserialize, Serialize};
use upkeep_plugin::{HostResult, state};

/// What the channel has shown.
#[derive(Debug)]
pub(crate) struct Trust {
    key: String,
    shown: Shown,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Shown {
    /// Whether a message got through since it was in doubt last.
    works: bool,
    /// The message that put it in doubt last.
    doubted: String,
}

impl Trust {
    /// What earlier runs know.
    pub(crate) fn open(channel: &str) -> HostResult<Self> {
        let key = format!("works/{channel}");
        Ok(Self { shown: state::get(&key)?.unwrap_or_default(), key })
    }

    /// Whether it worked when it was used last.
    pub(crate) fn is_there(&self) -> bool {
        self.shown.works
    }

    /// Whether it was this message that put it in doubt last.
    pub(crate) fn was_doubted_by(&self, message: &str) -> bool {
        self.shown.doubted == message
    }

    /// A message got through.
    pub(crate) fn works(&mut self) -> HostResult<()> {
        if self.shown.works {
            return Ok(());
        }
        self.shown.works = true;
        state::put(&self.key, &self.shown)
    }

    /// This message did not, and the channel says that none would.
    pub(crate) fn doubt(&mut self, message: &str) -> HostResult<()> {
        self.shown = Shown { works: false, doubted: message.to_owned() };
        state::put(&self.key, &self.shown)
    }
}
