//! Messages that were in a digest which the provider refused: which of them it does not take is not known, so each goes by itself
//! until something has become of it. That is remembered beyond the run, in the task's state.

use std::collections::BTreeMap;

use upkeep_plugin::outbox::Claimed;
use upkeep_plugin::{HostResult, state};

/// How long it is remembered, milliseconds; what is dropped or expires meanwhile is not heard of here.
const KEPT: i64 = 2 * 86_400_000;
/// Of how many it is remembered. More are merged once more, until there is room.
const MOST: usize = 2_000;

/// The messages of one channel that may not be merged.
#[derive(Debug)]
pub(crate) struct Apart {
    key: String,
    /// By identifier, when they were refused, milliseconds since 1970.
    messages: BTreeMap<String, i64>,
    /// Whether the state has something else.
    changed: bool,
}

impl Apart {
    /// Those that earlier runs know of.
    pub(crate) fn open(channel: &str, now: i64) -> HostResult<Self> {
        let key = format!("apart/{channel}");
        let mut messages: BTreeMap<String, i64> = state::get(&key)?.unwrap_or_default();
        let count = messages.len();
        messages.retain(|_, at| *at > now.saturating_sub(KEPT));
        Ok(Self { changed: messages.len() < count, key, messages })
    }

    /// Whether the message goes by itself.
    pub(crate) fn has(&self, message: &Claimed) -> bool {
        self.messages.contains_key(&message.id)
    }

    /// They were refused as one; durable on return.
    pub(crate) fn part(&mut self, messages: &[Claimed], now: i64) -> HostResult<()> {
        for message in messages {
            if self.messages.len() < MOST {
                self.messages.insert(message.id.clone(), now);
                self.changed = true;
            }
        }
        self.keep()
    }

    /// Something has become of it.
    pub(crate) fn forget(&mut self, message: &Claimed) {
        self.changed |= self.messages.remove(&message.id).is_some();
    }

    /// Writes down what there is, if that has changed.
    pub(crate) fn keep(&mut self) -> HostResult<()> {
        match std::mem::take(&mut self.changed) {
            false => Ok(()),
            true if self.messages.is_empty() => state::remove(&self.key),
            true => state::put(&self.key, &self.messages),
        }
    }
}
