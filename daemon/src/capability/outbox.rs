//! The outbox: tasks enqueue messages, and one delivers them. The messages are in the journal, and whoever delivers has them
//! for a time only.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::abi::outbox as abi;
use crate::capability::{Host, HostError};
use crate::clock::{self, Timestamp};
use crate::config::grant::Grants;
use crate::config::outbox::{OutboxAccess, OutboxGrant};
use crate::record::outbox::{Content, EnqueueOutcome, Meanwhile, MessageLevel, NewMessage, Priority, is_channel};
use crate::store::{DeliveryOutcome, MOST_CLAIMED, Settlement, Store};

/// Longest code or reason of an attempt that is kept, in bytes.
const LONGEST_REASON: usize = 1_024;

/// How long a lease may last, milliseconds.
const LEASE_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;

/// What one run has to do with the outbox so far.
#[derive(Debug, Default)]
pub struct Share {
    /// Messages that it has enqueued.
    enqueued: AtomicU32,
    /// Messages that are lent to it, by their leases.
    lent: Mutex<BTreeMap<String, usize>>,
}

impl Share {
    /// Takes so many; what is left when there are not as many.
    fn take(&self, count: u32, most: u32) -> Result<(), u32> {
        let sum = |taken: u32| taken.checked_add(count).filter(|sum| *sum <= most);
        let taken = self.enqueued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
        taken.map(drop).map_err(|taken| most.saturating_sub(taken))
    }

    /// What is left of so many.
    fn left(&self, most: u32) -> u32 {
        most.saturating_sub(self.enqueued.load(Ordering::Relaxed))
    }

    fn lent(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self, lease: &str) {
        let mut lent = self.lent();
        if let Some(count) = lent.get_mut(lease) {
            *count -= 1;
            if *count == 0 {
                lent.remove(lease);
            }
        }
    }

    /// The run is over: what it did not settle, the next one gets at once instead of at the end of the lease.
    pub async fn release(&self, store: &Store) {
        let leases: Vec<String> = std::mem::take(&mut *self.lent()).into_keys().collect();
        if leases.is_empty() {
            return;
        }
        if let Err(error) = store.outbox_release(Some(leases), clock::now()).await {
            tracing::warn!(%error, "messages that a run did not settle wait for the end of their leases");
        }
    }
}

impl Host {
    fn outbox(&self, right: OutboxAccess) -> Result<OutboxGrant, HostError> {
        let name = match right {
            OutboxAccess::Enqueue => "enqueue",
            OutboxAccess::Deliver => "deliver",
        };
        let Grants { outbox, .. } = &*self.run.grants;
        match outbox {
            Some(grant) if grant.access.contains(&right) => Ok(grant.clone()),
            Some(_) => self.deny(format!("outbox ({name} is not in `grant.outbox.access`)")),
            None => self.deny("outbox (the task file has no `grant.outbox`)"),
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> HostError {
    HostError::unavailable(error.to_string())
}

impl abi::Host for Host {
    async fn enqueue(&mut self, messages: Vec<abi::Message>) -> Result<Vec<abi::Enqueued>, HostError> {
        let grant = self.outbox(OutboxAccess::Enqueue)?;
        self.not_planning("outbox.enqueue")?;
        let now = clock::now();
        let messages: Vec<NewMessage> = messages.into_iter().map(new_message).collect();
        for (place, message) in messages.iter().enumerate() {
            let size = message.size();
            let wrong = match size > grant.max_message.0 {
                true => {
                    let largest = grant.max_message.0;
                    Some(format!("it takes {size} bytes, and {largest} are allowed (grant.outbox.max_message)"))
                }
                false => message.wrong(grant.max_message.0, now),
            };
            if let Some(wrong) = wrong {
                // Of a single one everybody knows which it is.
                let which = if messages.len() == 1 { String::new() } else { format!("message {place} of the batch: ") };
                return Err(HostError::invalid(format!("{which}{wrong}")));
            }
        }
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        if let Err(left) = self.run.outbox.take(count, grant.max_messages) {
            let most = grant.max_messages;
            return Err(HostError::Guest(crate::abi::types::Error::Limit(format!(
                "{count} messages, and this run may enqueue {left} more of {most} (grant.outbox.max_messages)"
            ))));
        }
        let enqueued = self.run.store.outbox_enqueue(&self.run.task, messages, now).await.map_err(unavailable)?;
        let outcome = |outcome| match outcome {
            EnqueueOutcome::New => abi::EnqueueOutcome::New,
            EnqueueOutcome::Known => abi::EnqueueOutcome::Known,
            EnqueueOutcome::Different => abi::EnqueueOutcome::Different,
        };
        Ok(enqueued.into_iter().map(|it| abi::Enqueued { id: it.id, outcome: outcome(it.outcome) }).collect())
    }

    async fn remaining(&mut self) -> Result<abi::Room, HostError> {
        let grant = self.outbox(OutboxAccess::Enqueue)?;
        let messages = self.run.outbox.left(grant.max_messages);
        Ok(abi::Room { messages, largest: grant.max_message.0, call: self.run.limits.call.0 })
    }

    async fn claim(&mut self, channel: String, max: u32, lease_ms: u64) -> Result<Vec<abi::Claimed>, HostError> {
        self.outbox(OutboxAccess::Deliver)?;
        self.not_planning("outbox.claim")?;
        if !LEASE_MS.contains(&lease_ms) {
            let (least, most) = LEASE_MS.into_inner();
            return Err(HostError::invalid(format!("a lease of {lease_ms} ms; it lasts {least} to {most} ms")));
        }
        let now = clock::now();
        let until = Timestamp(now.0.saturating_add_unsigned(lease_ms));
        let claimed = self.run.store.outbox_claim(&channel, max.min(MOST_CLAIMED), until, now).await;
        let claimed = claimed.map_err(unavailable)?;
        let lease = claimed.lease;
        if !claimed.messages.is_empty() {
            self.run.outbox.lent().insert(lease.clone(), claimed.messages.len());
        }
        let message = |message: crate::record::outbox::Message| abi::Claimed {
            last: message.position as usize + 1 >= message.channels.len(),
            channel: message.channel().to_owned(),
            id: message.id,
            lease: lease.clone(),
            origin: message.origin,
            key: message.key,
            priority: given_priority(message.priority),
            created: message.created.0,
            expires: message.expires.map(|at| at.0),
            attempts: message.attempts,
            tries: message.tries,
            since: message.since.0,
            content: given_content(message.content),
        };
        Ok(claimed.messages.into_iter().map(message).collect())
    }

    async fn settle(&mut self, settlements: Vec<abi::Settlement>) -> Result<Vec<bool>, HostError> {
        self.outbox(OutboxAccess::Deliver)?;
        self.not_planning("outbox.settle")?;
        let settlements: Vec<Settlement> = settlements.into_iter().map(settlement).collect();
        let leases: Vec<String> = settlements.iter().map(|it| it.lease.clone()).collect();
        let own = self.run.store.outbox_settle(settlements, clock::now()).await.map_err(unavailable)?;
        for (lease, _) in leases.iter().zip(&own).filter(|(_, own)| **own) {
            self.run.outbox.settled(lease);
        }
        Ok(own)
    }

    async fn pause(
        &mut self,
        channel: String,
        until: i64,
        reason: String,
        meanwhile: abi::Meanwhile,
    ) -> Result<(), HostError> {
        self.outbox(OutboxAccess::Deliver)?;
        self.not_planning("outbox.pause")?;
        if !is_channel(&channel) {
            return Err(HostError::invalid("`outbox.pause`: this cannot be the name of a channel"));
        }
        let reason = short(reason);
        let meanwhile = match meanwhile {
            abi::Meanwhile::Wait => Meanwhile::Wait,
            abi::Meanwhile::PassOn => Meanwhile::PassOn,
        };
        let paused = self.run.store.outbox_pause(&channel, Timestamp(until), &reason, meanwhile, clock::now());
        paused.await.map_err(unavailable)
    }

    async fn count(&mut self) -> Result<Vec<abi::Counts>, HostError> {
        self.outbox(OutboxAccess::Deliver)?;
        let counts = self.run.store.read().outbox_counts(clock::now()).await.map_err(unavailable)?;
        let counts = counts.into_iter().map(|it| abi::Counts {
            channel: it.channel,
            due: it.due,
            later: it.later,
            claimed: it.claimed,
            paused_until: it.paused_until.map(|at| at.0),
        });
        Ok(counts.collect())
    }
}

fn new_message(message: abi::Message) -> NewMessage {
    let abi::Message { key, channels, priority, not_before, expires, content } = message;
    let abi::Content { title, text, level, to, template, fields, group, link } = content;
    let level = match level {
        abi::Level::Info => MessageLevel::Info,
        abi::Level::Warn => MessageLevel::Warn,
        abi::Level::Error => MessageLevel::Error,
        abi::Level::Critical => MessageLevel::Critical,
    };
    let priority = match priority {
        abi::Priority::Urgent => Priority::Urgent,
        abi::Priority::High => Priority::High,
        abi::Priority::Normal => Priority::Normal,
        abi::Priority::Low => Priority::Low,
    };
    let fields = fields.into_iter().collect();
    let content = Content { title, text, level, to, template, fields, group, link };
    let (not_before, expires) = (not_before.map(Timestamp), expires.map(Timestamp));
    NewMessage { key, channels, priority, not_before, expires, content }
}

fn given_priority(priority: Priority) -> abi::Priority {
    match priority {
        Priority::Urgent => abi::Priority::Urgent,
        Priority::High => abi::Priority::High,
        Priority::Normal => abi::Priority::Normal,
        Priority::Low => abi::Priority::Low,
    }
}

fn given_content(content: Content) -> abi::Content {
    let Content { title, text, level, to, template, fields, group, link } = content;
    let level = match level {
        MessageLevel::Info => abi::Level::Info,
        MessageLevel::Warn => abi::Level::Warn,
        MessageLevel::Error => abi::Level::Error,
        MessageLevel::Critical => abi::Level::Critical,
    };
    abi::Content { title, text, level, to, template, fields: fields.into_iter().collect(), group, link }
}

fn settlement(settlement: abi::Settlement) -> Settlement {
    let abi::Settlement { id, lease, outcome, code, reason, took_ms } = settlement;
    let outcome = match outcome {
        abi::Outcome::Sent(provider_id) => DeliveryOutcome::Sent { provider_id: provider_id.map(short) },
        abi::Outcome::Retry(at) => DeliveryOutcome::Retry(Timestamp(at)),
        abi::Outcome::Throttled(at) => DeliveryOutcome::Throttled(Timestamp(at)),
        abi::Outcome::Untried(at) => DeliveryOutcome::Untried(Timestamp(at)),
        abi::Outcome::Refused => DeliveryOutcome::Refused,
        abi::Outcome::Dead => DeliveryOutcome::Dead,
    };
    let took = took_ms.map(Duration::from_millis);
    Settlement { id, lease, outcome, code: code.map(short), reason: reason.map(short), took }
}

/// What providers answer may be of any length.
fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_REASON));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::types::Error;
    use crate::capability::Call;
    use crate::config::limits::Limits;
    use crate::config::size::Size;
    use crate::record::outbox::MessageState;

    fn message(channels: &[&str], title: &str, key: Option<&str>) -> abi::Message {
        let content = abi::Content {
            title: title.to_owned(),
            text: String::new(),
            level: abi::Level::Warn,
            to: None,
            template: None,
            fields: vec![("amount".to_owned(), "12".to_owned())],
            group: Some("orders".to_owned()),
            link: None,
        };
        abi::Message {
            key: key.map(str::to_owned),
            channels: channels.iter().map(|it| (*it).to_owned()).collect(),
            priority: abi::Priority::High,
            not_before: None,
            expires: None,
            content,
        }
    }

    async fn host(folder: &std::path::Path, access: Vec<OutboxAccess>) -> Host {
        let grant = OutboxGrant { access, max_messages: 3, max_message: Size(400) };
        Host::of(folder, Grants { outbox: Some(grant), ..Grants::default() }, Limits::default()).await
    }

    #[tokio::test]
    async fn what_is_enqueued_can_be_claimed_and_settled() {
        use abi::Host as _;
        let folder = tempfile::tempdir().unwrap();
        let mut host = host(folder.path(), vec![OutboxAccess::Enqueue, OutboxAccess::Deliver]).await;
        let enqueue = |title| vec![message(&["wecom", "mail"], title, Some("order-1"))];
        let first = host.enqueue(enqueue("paid")).await.unwrap().remove(0);
        assert_eq!(first.outcome, abi::EnqueueOutcome::New);
        let again = host.enqueue(enqueue("paid")).await.unwrap().remove(0);
        assert_eq!((again.outcome, &again.id), (abi::EnqueueOutcome::Known, &first.id));
        let other = host.enqueue(enqueue("sent")).await.unwrap().remove(0);
        assert_eq!((other.outcome, &other.id), (abi::EnqueueOutcome::Different, &first.id));

        assert!(host.claim("mail".into(), 10, 60_000).await.unwrap().is_empty(), "its turn comes later");
        let claimed = host.claim("wecom".into(), 10, 60_000).await.unwrap().remove(0);
        assert_eq!((&claimed.id, claimed.last, claimed.attempts), (&first.id, false, 0));
        assert_eq!((claimed.origin.as_str(), claimed.key.as_deref()), ("task", Some("order-1")));
        assert_eq!(claimed.content.fields, [("amount".to_owned(), "12".to_owned())]);
        assert!(host.claim("wecom".into(), 10, 60_000).await.unwrap().is_empty());
        let outcome = |claimed: &abi::Claimed, outcome| abi::Settlement {
            id: claimed.id.clone(),
            lease: claimed.lease.clone(),
            outcome,
            code: Some("93000".into()),
            reason: Some("é".repeat(2_000)),
            took_ms: Some(12),
        };
        assert_eq!(host.settle(vec![outcome(&claimed, abi::Outcome::Refused)]).await.unwrap(), [true]);
        let claimed = host.claim("mail".into(), 10, 60_000).await.unwrap().remove(0);
        assert_eq!((claimed.last, claimed.attempts), (true, 1));
        let counts = host.count().await.unwrap().remove(0);
        assert_eq!((counts.channel.as_str(), counts.due, counts.claimed), ("mail", 0, 1));
        assert_eq!(host.settle(vec![outcome(&claimed, abi::Outcome::Sent(None))]).await.unwrap(), [true]);
        let reader = host.run.store.read();
        assert_eq!(reader.message(&first.id).await.unwrap().unwrap().state, MessageState::Sent);
        let attempts = reader.attempts(&first.id).await.unwrap();
        assert_eq!(attempts[0].reason.as_ref().unwrap().len(), LONGEST_REASON);
        host.pause("mail".into(), i64::MAX, "45009".into(), abi::Meanwhile::Wait).await.unwrap();
        assert_eq!(host.count().await.unwrap()[0].paused_until, Some(i64::MAX));
    }

    #[tokio::test]
    async fn limits_hold_and_nothing_of_a_batch_beyond_them_is_kept() {
        use abi::Host as _;
        let folder = tempfile::tempdir().unwrap();
        let mut host = host(folder.path(), vec![OutboxAccess::Enqueue, OutboxAccess::Deliver]).await;
        let room = host.remaining().await.unwrap();
        assert_eq!((room.messages, room.largest, room.call), (3, 400, 16 << 20));
        let large = host.enqueue(vec![message(&["mail"], &"x".repeat(401), None)]).await;
        assert!(
            matches!(&large, Err(HostError::Guest(Error::Invalid(text)))
                if text.starts_with("it takes ") && text.ends_with("400 are allowed (grant.outbox.max_message)")),
            "{large:?}"
        );
        let four = (0..4).map(|_| message(&["mail"], "hello", None)).collect();
        let over = host.enqueue(four).await;
        assert!(
            matches!(over, Err(HostError::Guest(Error::Limit(text))) if text.contains("grant.outbox.max_messages"))
        );
        for (wrong, says) in [
            (message(&[], "hello", None), "0 channels"),
            (message(&["We Com"], "hello", None), "`We Com`"),
            (message(&["mail", "mail"], "hello", None), "twice"),
            (message(&["mail"], " ", None), "says nothing"),
            (message(&["mail"], "hello", Some("")), "idempotency key"),
            (message(&["mail"], &"x".repeat(401), None), "400 are allowed"),
            (abi::Message { expires: Some(1), ..message(&["mail"], "hello", None) }, "`expires`"),
        ] {
            match host.enqueue(vec![message(&["mail"], "fine", None), wrong]).await {
                Err(HostError::Guest(Error::Invalid(text))) => assert!(text.contains(says), "{text}"),
                other => panic!("{says}: {other:?}"),
            }
        }
        assert!(matches!(host.claim("mail".into(), 1, 0).await, Err(HostError::Guest(Error::Invalid(_)))));
        assert!(host.count().await.unwrap().is_empty(), "nothing of all this was kept");
        host.call = Call::Plan;
        for refused in [
            host.enqueue(vec![message(&["mail"], "hello", None)]).await.map(drop),
            host.claim("mail".into(), 1, 60_000).await.map(drop),
        ] {
            assert!(matches!(refused, Err(HostError::Guest(Error::Invalid(text))) if text.contains("plan")));
        }
    }

    #[tokio::test]
    async fn each_right_is_granted_apart() {
        use abi::Host as _;
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut sender = host(folders[0].path(), vec![OutboxAccess::Enqueue]).await;
        let denied = sender.claim("mail".into(), 1, 60_000).await;
        sender.expect_denied(denied, "grant.outbox.access");
        let denied = sender.count().await;
        sender.expect_denied(denied, "grant.outbox.access");
        let denied = sender.settle(vec![]).await;
        sender.expect_denied(denied, "grant.outbox.access");
        let denied = sender.pause("mail".into(), i64::MAX, String::new(), abi::Meanwhile::PassOn).await;
        sender.expect_denied(denied, "grant.outbox.access");
        let mut deliverer = host(folders[1].path(), vec![OutboxAccess::Deliver]).await;
        let denied = deliverer.enqueue(vec![]).await;
        deliverer.expect_denied(denied, "grant.outbox.access");
        let mut neither = Host::of(folders[2].path(), Grants::default(), Limits::default()).await;
        let denied = neither.enqueue(vec![]).await;
        neither.expect_denied(denied, "grant.outbox");
    }
}
