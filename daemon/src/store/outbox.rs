//! The outbox: messages that are to be delivered.
//!
//! ```text
//! enqueue ─► waiting ─claim─► claimed ─settle─► sent | dead
//!               ▲                │
//!               └── retry, the next channel, or the lease ran out
//! ```
//!
//! Each step is one commit for a batch of messages, which it shares with whatever else waits for the writer. A claim lends
//! messages for a time, its lease: a run that is killed loses nothing, since they can be claimed again when the lease is over.
//! While it lasts nobody else gets them. `due` says from when on a message may be claimed, whether it waits for its time, for
//! another try or for the end of a lease, so that one index serves all claims.
//!
//! A channel can be paused. Whoever pauses it says whether messages wait for that ([`Meanwhile`]), or go on down their chains: these
//! are moved by the commit that lets them wait for it, so that nobody who looks for work has to know of pauses.
//!
//! What a message says is not looked at here, and which failures are permanent is for whoever delivers to know.
//!
//! | module  | holds                                  |
//! |---------|----------------------------------------|
//! | `write` | the statements of each step            |
//! | `read`  | lists, counts, and when there is more  |

mod read;
mod write;

use std::time::Duration;

use sqlx::SqliteConnection;

use super::Store;
use super::alert::{self, AlertRecord};
use super::error::StoreError;
use super::rows::Statement;
use super::writer::Request;
use crate::alert::ORIGIN;
use crate::clock::Timestamp;
use crate::record::outbox::{Enqueued, Meanwhile, Message, NewMessage};

pub use self::read::{MessageFilter, Next};
#[cfg(test)]
pub(in crate::store) use self::write::PASS;

/// Messages of one claim.
pub const MOST_CLAIMED: u32 = 1_000;

/// Bytes of what the messages of one claim say, unless one alone says more: they have to fit into a guest.
const LARGEST_CLAIM: usize = 4 << 20;

/// Messages that one commit of the retention removes.
const ROWS: u32 = 2_000;

/// Messages that are lent until the lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// What an outcome has to come with.
    pub lease: String,
    /// The most urgent first, and of these those that have been due longest.
    pub messages: Vec<Message>,
}

/// What became of a message that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The message.
    pub id: String,
    /// That it was claimed under.
    pub lease: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The code that the provider answered.
    pub code: Option<String>,
    /// Why it did not go through, in words.
    pub reason: Option<String>,
    /// How long it took.
    pub took: Option<Duration>,
}

/// See [`Settlement`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The channel took it.
    Sent {
        /// What the provider calls it.
        provider_id: Option<String>,
    },
    /// It may be claimed again from then on.
    Retry(Timestamp),
    /// The same, since the channel has had enough for now: an attempt, and no try.
    Throttled(Timestamp),
    /// The same, and it was not tried at all: no attempt is written down.
    Untried(Timestamp),
    /// This channel will never take it: the next one of the chain, and without one it is dead.
    Refused,
    /// No channel will.
    Dead,
}

/// Which dead letters are sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resend {
    /// This message, which may have expired as well.
    One(String),
    /// All dead ones, or those whose last channel was this.
    Dead(Option<String>),
}

/// What the writer is asked to do with the outbox.
#[derive(Debug)]
pub(super) enum Ask {
    Enqueue {
        origin: String,
        messages: Vec<NewMessage>,
        now: Timestamp,
    },
    Claim {
        channel: String,
        most: u32,
        until: Timestamp,
        now: Timestamp,
    },
    Settle {
        settlements: Vec<Settlement>,
        now: Timestamp,
    },
    Pause {
        channel: String,
        until: Timestamp,
        reason: String,
        meanwhile: Meanwhile,
        now: Timestamp,
    },
    Resume {
        channel: String,
        now: Timestamp,
    },
    Resend {
        which: Resend,
        now: Timestamp,
    },
    Release {
        leases: Option<Vec<String>>,
        now: Timestamp,
    },
    Drop {
        id: String,
        now: Timestamp,
    },
    Expire {
        now: Timestamp,
    },
    /// What was told of alerts goes with the messages that tell it.
    Tell {
        record: AlertRecord,
        now: Timestamp,
    },
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Told {
    Enqueued(Vec<Enqueued>),
    Claimed(Claimed),
    Settled(Vec<bool>),
    Rows(u64),
}

impl Told {
    /// Whether anything was changed, so that something may be due at another time than before.
    pub(super) fn changed(&self) -> bool {
        match self {
            Self::Enqueued(all) => !all.is_empty(),
            Self::Claimed(claimed) => !claimed.messages.is_empty(),
            Self::Settled(all) => !all.is_empty(),
            Self::Rows(rows) => *rows > 0,
        }
    }
}

impl Ask {
    /// Does it within the transaction that is open.
    pub(super) async fn apply(&self, connection: &mut SqliteConnection) -> Result<Told, sqlx::Error> {
        match self {
            Self::Enqueue { origin, messages, now } => {
                write::enqueue(connection, origin, messages, *now).await.map(Told::Enqueued)
            }
            Self::Claim { channel, most, until, now } => {
                write::claim(connection, channel, *most, *until, *now).await.map(Told::Claimed)
            }
            Self::Settle { settlements, now } => write::settle(connection, settlements, *now).await.map(Told::Settled),
            Self::Pause { channel, until, reason, meanwhile, now } => {
                write::pause(connection, channel, *until, reason, *meanwhile, *now).await.map(Told::Rows)
            }
            Self::Resume { channel, now } => write::resume(connection, channel, *now).await.map(Told::Rows),
            Self::Resend { which, now } => write::resend(connection, which, *now).await.map(Told::Rows),
            Self::Release { leases, now } => write::release(connection, leases.as_deref(), *now).await.map(Told::Rows),
            Self::Drop { id, now } => write::drop_one(connection, id, *now).await.map(Told::Rows),
            Self::Expire { now } => write::expire(connection, *now).await.map(Told::Rows),
            Self::Tell { record, now } => {
                alert::record(connection, record).await?;
                write::enqueue(connection, ORIGIN, &record.messages, *now).await.map(Told::Enqueued)
            }
        }
    }
}

impl Store {
    /// Takes messages in; durable on return, and answered in the order given. Of one origin, a key that is known already gives
    /// the first message with it, and changes nothing.
    pub async fn outbox_enqueue(
        &self,
        origin: &str,
        messages: Vec<NewMessage>,
        now: Timestamp,
    ) -> Result<Vec<Enqueued>, StoreError> {
        let origin = origin.to_owned();
        match self.outbox(Ask::Enqueue { origin, messages, now }).await? {
            Told::Enqueued(enqueued) => Ok(enqueued),
            _ => Ok(Vec::new()),
        }
    }

    /// Lends messages of a channel that are due, at most [`MOST_CLAIMED`], until a time. None while the channel is paused.
    pub async fn outbox_claim(
        &self,
        channel: &str,
        most: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        let (channel, most) = (channel.to_owned(), most.min(MOST_CLAIMED));
        match self.outbox(Ask::Claim { channel, most, until, now }).await? {
            Told::Claimed(claimed) => Ok(claimed),
            _ => Ok(Claimed { lease: String::new(), messages: Vec::new() }),
        }
    }

    /// Records what became of messages. For each, whether it was still lent to the caller: if not, the attempt is written down,
    /// and only that it was sent counts.
    pub async fn outbox_settle(&self, settlements: Vec<Settlement>, now: Timestamp) -> Result<Vec<bool>, StoreError> {
        match self.outbox(Ask::Settle { settlements, now }).await? {
            Told::Settled(settled) => Ok(settled),
            _ => Ok(Vec::new()),
        }
    }

    /// Lets nobody claim from a channel until then; a time that has passed ends it.
    pub async fn outbox_pause(
        &self,
        channel: &str,
        until: Timestamp,
        reason: &str,
        meanwhile: Meanwhile,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (channel, reason) = (channel.to_owned(), reason.to_owned());
        self.outbox(Ask::Pause { channel, until, reason, meanwhile, now }).await.map(drop)
    }

    /// Ends the pause of a channel; what waits for its end, or for another try before it, is due. Whether there was one.
    pub async fn outbox_resume(&self, channel: &str, now: Timestamp) -> Result<bool, StoreError> {
        let channel = channel.to_owned();
        Ok(self.outbox_rows(Ask::Resume { channel, now }).await? > 0)
    }

    /// Puts messages back to the beginning of their chain. Returns how many there were.
    pub async fn outbox_resend(&self, which: Resend, now: Timestamp) -> Result<u64, StoreError> {
        self.outbox_rows(Ask::Resend { which, now }).await
    }

    /// Ends leases before their time, since whoever had them is gone; without a list, all that there are. Returns how many messages
    /// may be claimed again.
    pub async fn outbox_release(&self, leases: Option<Vec<String>>, now: Timestamp) -> Result<u64, StoreError> {
        self.outbox_rows(Ask::Release { leases, now }).await
    }

    /// Removes a message with its attempts, unless it is being delivered. Returns whether it did.
    pub async fn outbox_drop(&self, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        let id = id.to_owned();
        Ok(self.outbox_rows(Ask::Drop { id, now }).await? > 0)
    }

    /// Ends messages whose time is over, some thousands at most. Returns how many there were.
    pub async fn outbox_expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.outbox_rows(Ask::Expire { now }).await
    }

    /// Forgets messages that ended before `cutoff`, and beyond the newest `most` of those that ended. Returns how many.
    pub async fn outbox_prune(&self, cutoff: Timestamp, most: u32) -> Result<u64, StoreError> {
        const DELETE: &str = "DELETE FROM outbox_message WHERE number IN (VALUES {rows}) AND ended IS NOT NULL";
        let mut pruned = 0;
        // However many are sent, what is dead is to be seen to.
        for dead in [false, true] {
            let cutoff = self.read().outbox_cutoff(dead, cutoff, most).await?;
            loop {
                let numbers = self.read().outbox_over(dead, cutoff, ROWS).await?;
                if numbers.is_empty() {
                    break;
                }
                pruned += self.remove(Statement::new(DELETE, numbers.into_iter().map(|it| [it.into()]))).await?;
            }
        }
        Ok(pruned)
    }

    /// Counts the commits that changed the outbox; whoever waits for a change of the number learns of each.
    pub fn outbox_changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.outbox.clone()
    }

    /// How many there were so far.
    pub fn outbox_change_count(&self) -> u64 {
        *self.outbox.borrow()
    }

    /// Records alerts together with the messages that tell them: all of it or nothing. Messages that were told before are not taken
    /// in again, by their keys.
    pub async fn tell(&self, record: AlertRecord, now: Timestamp) -> Result<(), StoreError> {
        self.outbox(Ask::Tell { record, now }).await.map(drop)
    }

    async fn outbox_rows(&self, ask: Ask) -> Result<u64, StoreError> {
        match self.outbox(ask).await? {
            Told::Rows(rows) => Ok(rows),
            _ => Ok(0),
        }
    }

    async fn outbox(&self, ask: Ask) -> Result<Told, StoreError> {
        self.ask(|answer| Request::Outbox { ask, answer }).await?
    }
}
