//! `outbox` of the test host: a list of messages.

use super::{World, with};
use crate::bindings::upkeep::plugin::outbox::{
    Claimed, Counts, EnqueueOutcome, Enqueued, Meanwhile, Message, Outcome, Room, Settlement,
};
use crate::host::{HostError, HostResult};

/// All messages of the test, and what became of them.
#[derive(Default)]
pub(crate) struct Outbox {
    /// How many there may be; none: as many as come.
    most: Option<u32>,
    messages: Vec<Entry>,
    paused: Vec<Pause>,
    leases: u64,
}

/// A channel that is left alone.
struct Pause {
    channel: String,
    until: i64,
    meanwhile: Meanwhile,
}

impl Outbox {
    pub(crate) fn of(most: u32) -> Self {
        Self { most: Some(most), ..Self::default() }
    }

    /// The pause of a channel, as long as it lasts.
    fn pause(&self, channel: &str, now: i64) -> Option<&Pause> {
        self.paused.iter().find(|it| it.channel == channel && it.until > now)
    }

    /// What waits for a channel that lets it pass goes on to the next one.
    fn pass_on(&mut self, now: i64) {
        let passing = |it: &&Pause| it.until > now && it.meanwhile == Meanwhile::PassOn;
        let paused: Vec<&Pause> = self.paused.iter().filter(passing).collect();
        for entry in self.messages.iter_mut().filter(|it| it.state == "waiting") {
            while entry.position + 1 < entry.channels.len()
                && paused.iter().any(|it| it.channel == entry.channel() && entry.due <= it.until)
            {
                entry.next(entry.not_before.max(now));
            }
        }
    }
}

/// A message in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its identifier.
    pub id: String,
    /// As it was enqueued.
    pub channels: Vec<String>,
    /// Idempotency key.
    pub key: Option<String>,
    /// Place in the chain, from 0.
    pub position: usize,
    /// `waiting`, `claimed`, `sent`, `dead` or `expired`.
    pub state: &'static str,
    /// From when on it may be claimed.
    pub due: i64,
    /// How it was tried, in order.
    pub attempts: Vec<Settlement>,
    /// What it says.
    pub content: crate::outbox::Content,
    priority: crate::outbox::Priority,
    not_before: i64,
    expires: Option<i64>,
    created: i64,
    lease: String,
    /// Tries by the channel whose turn it is, and when the first was.
    tries: u32,
    begun: Option<i64>,
}

impl Entry {
    fn is_open(&self) -> bool {
        matches!(self.state, "waiting" | "claimed")
    }

    /// The next channel's turn.
    fn next(&mut self, due: i64) {
        (self.position, self.tries, self.begun) = (self.position + 1, 0, None);
        (self.state, self.due) = ("waiting", due);
    }

    fn channel(&self) -> &str {
        self.channels.get(self.position).map_or("", String::as_str)
    }
}

/// What is granted, or the answer that nothing is.
fn act<R>(act: impl FnOnce(&mut Outbox, i64) -> HostResult<R>) -> HostResult<R> {
    with(|World { outbox, now, .. }| match outbox {
        Some(outbox) => act(outbox, *now),
        None => {
            Err(HostError::Denied("the test host has no outbox: give it one with `Host::new().outbox()`".to_owned()))
        }
    })
}

pub(crate) fn entries() -> Vec<Entry> {
    with(|world| world.outbox.as_ref().map(|it| it.messages.clone()).unwrap_or_default())
}

/// As the grants are by default, but for the number.
pub(crate) fn remaining() -> HostResult<Room> {
    act(|outbox, _| {
        let taken = u32::try_from(outbox.messages.len()).unwrap_or(u32::MAX);
        let messages = outbox.most.map_or(u32::MAX, |most| most.saturating_sub(taken));
        Ok(Room { messages, largest: 64 << 10, call: 16 << 20 })
    })
}

pub(crate) fn enqueue(messages: &[Message]) -> HostResult<Vec<Enqueued>> {
    if messages.iter().any(|message| message.channels.is_empty()) {
        return Err(HostError::Invalid("a message names no channel".to_owned()));
    }
    act(|outbox, now| {
        if outbox.most.is_some_and(|most| outbox.messages.len() + messages.len() > most as usize) {
            return Err(HostError::Limit("the outbox of the test takes no more".to_owned()));
        }
        let take = |message: &Message| {
            let first = outbox.messages.iter().find(|it| message.key.is_some() && it.key == message.key);
            if let Some(first) = first {
                let same = first.channels == message.channels && first.content == message.content;
                let outcome = if same { EnqueueOutcome::Known } else { EnqueueOutcome::Different };
                return Enqueued { id: first.id.clone(), outcome };
            }
            let Message { key, channels, priority, not_before, expires, content } = message.clone();
            let id = format!("{:026}", outbox.messages.len());
            outbox.messages.push(Entry {
                id: id.clone(),
                channels,
                key,
                position: 0,
                state: "waiting",
                due: not_before.unwrap_or(now),
                attempts: Vec::new(),
                content,
                priority,
                not_before: not_before.unwrap_or(now),
                expires,
                created: now,
                lease: String::new(),
                tries: 0,
                begun: None,
            });
            Enqueued { id, outcome: EnqueueOutcome::New }
        };
        let enqueued = messages.iter().map(take).collect();
        outbox.pass_on(now);
        Ok(enqueued)
    })
}

pub(crate) fn claim(channel: &str, max: u32, lease_ms: u64) -> HostResult<Vec<Claimed>> {
    act(|outbox, now| {
        if outbox.pause(channel, now).is_some() {
            return Ok(Vec::new());
        }
        for entry in outbox.messages.iter_mut().filter(|it| it.is_open() && it.expires.is_some_and(|at| at <= now)) {
            entry.state = "expired";
        }
        outbox.leases += 1;
        let lease = outbox.leases.to_string();
        let due = |it: &&mut Entry| it.is_open() && it.channel() == channel && it.due <= now;
        let mut due: Vec<&mut Entry> = outbox.messages.iter_mut().filter(due).collect();
        due.sort_by_key(|it| (it.priority as u8, it.due));
        let claimed = due.into_iter().take(usize::try_from(max).unwrap_or(usize::MAX)).map(|entry| {
            entry.state = "claimed";
            entry.lease.clone_from(&lease);
            entry.due = now.saturating_add_unsigned(lease_ms);
            Claimed {
                id: entry.id.clone(),
                lease: lease.clone(),
                origin: "test".to_owned(),
                key: entry.key.clone(),
                channel: channel.to_owned(),
                last: entry.position + 1 == entry.channels.len(),
                priority: entry.priority,
                created: entry.created,
                expires: entry.expires,
                attempts: u32::try_from(entry.attempts.len()).unwrap_or(u32::MAX),
                tries: entry.tries,
                since: entry.begun.unwrap_or(entry.created.max(entry.not_before)),
                content: entry.content.clone(),
            }
        });
        Ok(claimed.collect())
    })
}

pub(crate) fn settle(settlements: &[Settlement]) -> HostResult<Vec<bool>> {
    act(|outbox, now| {
        let take = |settlement: &Settlement| {
            let Some(entry) = outbox.messages.iter_mut().find(|it| it.id == settlement.id) else { return false };
            let own = entry.state == "claimed" && entry.lease == settlement.lease;
            if let Outcome::Untried(at) = settlement.outcome {
                if own {
                    (entry.state, entry.due) = ("waiting", at);
                }
                return own;
            }
            entry.attempts.push(settlement.clone());
            if !matches!(settlement.outcome, Outcome::Throttled(_)) {
                entry.tries += 1;
                entry.begun.get_or_insert(now);
            }
            match settlement.outcome {
                Outcome::Sent(_) => entry.state = "sent",
                _ if !own => {}
                Outcome::Retry(at) | Outcome::Throttled(at) | Outcome::Untried(at) => {
                    (entry.state, entry.due) = ("waiting", at);
                }
                Outcome::Refused if entry.position + 1 < entry.channels.len() => {
                    entry.next(now);
                }
                Outcome::Refused | Outcome::Dead => entry.state = "dead",
            }
            own
        };
        let settled = settlements.iter().map(take).collect();
        outbox.pass_on(now);
        Ok(settled)
    })
}

pub(crate) fn pause(channel: &str, until: i64, _reason: &str, meanwhile: Meanwhile) -> HostResult<()> {
    act(|outbox, now| {
        outbox.paused.retain(|it| it.channel != channel);
        outbox.paused.push(Pause { channel: channel.to_owned(), until, meanwhile });
        outbox.pass_on(now);
        Ok(())
    })
}

pub(crate) fn count() -> HostResult<Vec<Counts>> {
    act(|outbox, now| {
        let mut channels: Vec<&str> = outbox.messages.iter().filter(|it| it.is_open()).map(Entry::channel).collect();
        channels.extend(outbox.paused.iter().filter(|it| it.until > now).map(|it| it.channel.as_str()));
        channels.sort_unstable();
        channels.dedup();
        let count = |channel: &str, counts: &dyn Fn(&Entry) -> bool| {
            let of = outbox.messages.iter().filter(|it| it.is_open() && it.channel() == channel && counts(it));
            of.count() as u64
        };
        let counts = channels.iter().map(|channel| Counts {
            channel: (*channel).to_owned(),
            due: count(channel, &|it| it.due <= now),
            later: count(channel, &|it| it.due > now && it.state == "waiting"),
            claimed: count(channel, &|it| it.due > now && it.state == "claimed"),
            paused_until: outbox.pause(channel, now).map(|it| it.until),
        });
        Ok(counts.collect())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::outbox::{Meanwhile, Message, Outcome, claim, count, enqueue, pause, settle};
    use crate::test::Host;
    use crate::{Context, function};

    #[test]
    fn a_message_goes_along_its_chain() {
        let host = Host::new().outbox();
        enqueue([
            Message::to(["wecom", "mail"]).title("one"),
            Message::to(["wecom"]).title("two").priority(crate::outbox::Priority::Urgent),
            Message::to(["wecom"]).title("later").not_before(5_000),
            Message::to(["wecom"]).title("too late").expires(0),
        ])
        .unwrap();
        let claimed = claim("wecom", 10, Duration::from_secs(1)).unwrap();
        assert_eq!(claimed.iter().map(|it| it.content.title.as_str()).collect::<Vec<_>>(), ["two", "one"]);
        let refused = claimed.iter().map(|it| it.settle(Outcome::Refused).code("93000").reason("no such robot"));
        assert_eq!(settle(refused).unwrap(), [true, true]);
        let states = |host: &Host| host.messages().iter().map(|it| it.state).collect::<Vec<_>>();
        assert_eq!(states(&host), ["waiting", "dead", "waiting", "expired"]);
        let by_mail = claim("mail", 10, Duration::from_secs(1)).unwrap();
        assert!(by_mail[0].last && by_mail[0].attempts == 1);
        assert_eq!((count().unwrap()[0].claimed, count().unwrap()[1].later), (1, 1));
        // At five seconds the lease is over, and what was to wait is due.
        let at = Context { now: 5_000, ..host.context() };
        let again = |_: &Context| -> crate::Result<()> {
            assert_eq!(claim("mail", 10, Duration::from_secs(1))?.len(), 1);
            pause("wecom", 6_000, "45011", Meanwhile::Wait)?;
            assert!(claim("wecom", 10, Duration::from_secs(1))?.is_empty());
            pause("wecom", 0, "", Meanwhile::Wait)?;
            assert_eq!(claim("wecom", 10, Duration::from_secs(1))?[0].content.title, "later");
            Ok(())
        };
        host.run_in(&at, function(again), "{}").unwrap();
        assert_eq!(settle([by_mail[0].settle(Outcome::Retry(9_000))]).unwrap(), [false], "another has it");
        assert_eq!(settle([by_mail[0].settle(Outcome::Sent(None))]).unwrap(), [false]);
        assert_eq!(states(&host)[0], "sent", "but it has arrived");
    }
}
