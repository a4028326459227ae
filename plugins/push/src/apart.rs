//! Messages that were in a digest which the provider refused: which of them it does not take is not known, so each goes by itself
//! until something has become of it. That is remembered beyond the run, in the task's state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use upkeep_plugin::outbox::Claimed;
use upkeep_plugin::{HostResult, state};

/// How long it is remembered, milliseconds; what is dropped or expires meanwhile is not heard of here.
const KEPT: i64 = 2 * 86_400_000;
/// Of how many it is remembered. More are merged once more, until there is room.
const MOST: usize = 2_000;

/// What the state has of a channel.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// By identifier, when they were refused, milliseconds since 1970.
    messages: BTreeMap<String, i64>,
    /// Whether others had the last turn where there was one request for all.
    turn: bool,
}

/// The messages of one channel that may not be merged.
#[derive(Debug)]
pub(crate) struct Apart {
    key: String,
    kept: Kept,
    /// Whether the state has something else.
    changed: bool,
}

impl Apart {
    /// Those that earlier runs know of.
    pub(crate) fn open(channel: &str, now: i64) -> HostResult<Self> {
        let key = format!("apart/{channel}");
        let mut kept: Kept = state::get(&key)?.unwrap_or_default();
        let count = kept.messages.len();
        kept.messages.retain(|_, at| *at > now.saturating_sub(KEPT));
        Ok(Self { changed: kept.messages.len() < count, key, kept })
    }

    /// Whether the message goes by itself.
    pub(crate) fn has(&self, message: &Claimed) -> bool {
        self.kept.messages.contains_key(&message.id)
    }

    /// Whether it is their turn, where there is one request for them and all others: one time it is, and the other it is not.
    pub(crate) fn take_turn(&mut self) -> bool {
        self.changed = true;
        self.kept.turn = !self.kept.turn;
        self.kept.turn
    }

    /// They were refused as one; durable on return.
    pub(crate) fn part(&mut self, messages: &[Claimed], now: i64) -> HostResult<()> {
        for message in messages {
            if self.kept.messages.len() < MOST {
                self.kept.messages.insert(message.id.clone(), now);
                self.changed = true;
            }
        }
        self.keep()
    }

    /// Something has become of it.
    pub(crate) fn forget(&mut self, message: &Claimed) {
        self.changed |= self.kept.messages.remove(&message.id).is_some();
    }

    /// Writes down what there is, if that has changed.
    pub(crate) fn keep(&mut self) -> HostResult<()> {
        match std::mem::take(&mut self.changed) {
            false => Ok(()),
            true if self.kept.messages.is_empty() => state::remove(&self.key),
            true => state::put(&self.key, &self.kept),
        }
    }
}
