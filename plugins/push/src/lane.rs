//! One channel in a run: what was claimed for it, what is under way, and whether it works.

use std::collections::VecDeque;
use std::time::Duration;

use upkeep_plugin::HostResult;
use upkeep_plugin::outbox::{self, Claimed};

use crate::allowance::Allowance;
use crate::apart::Apart;
use crate::config::{Channel, Kind};
use crate::letter::Letter;
use crate::outage::Outage;
use crate::report::Tally;
use crate::trust::Trust;

/// How long after there was nothing to claim it is looked again, milliseconds.
const LOOK_AGAIN: i64 = 1_000;

/// A channel, and what is done with it in this run.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) channel: Channel,
    pub(crate) allowance: Allowance,
    /// What may not be merged.
    pub(crate) apart: Apart,
    /// Since when its server is down.
    pub(crate) outage: Outage,
    /// What is to be sent.
    pub(crate) queue: VecDeque<Letter>,
    /// Requests at the same time: one, until the channel has shown that it works.
    pub(crate) width: usize,
    /// Requests that are under way.
    pub(crate) flying: usize,
    /// Nothing is claimed before.
    pub(crate) look: i64,
    /// It is left alone until then, and by this run for good.
    pub(crate) closed: Option<i64>,
    /// Requests in a row that were not answered, or by an error that passes.
    pub(crate) failures: u32,
    /// Whether it has shown that it works.
    pub(crate) trust: Trust,
    pub(crate) tally: Tally,
}

impl Lane {
    pub(crate) fn open(channel: Channel, now: i64) -> HostResult<Self> {
        let allowance = Allowance::open(&channel.name, &channel.limits, now)?;
        let (apart, outage) = (Apart::open(&channel.name, now)?, Outage::open(&channel.name)?);
        let trust = Trust::open(&channel.name)?;
        let (queue, tally) = (VecDeque::new(), Tally::default());
        Ok(Self {
            channel,
            allowance,
            apart,
            outage,
            queue,
            width: 1,
            flying: 0,
            look: 0,
            closed: None,
            failures: 0,
            trust,
            tally,
        })
    }

    /// Claims as much as can be sent now; with a digest, more.
    pub(crate) fn claim(&mut self, now: i64, lease: Duration) -> HostResult<()> {
        if self.closed.is_some() || !self.queue.is_empty() || self.look > now {
            return Ok(());
        }
        let batch = self.channel.batch;
        let free = self.allowance.free(now, usize::try_from(batch).unwrap_or(usize::MAX));
        if free == 0 {
            self.look = self.allowance.next(now);
            return Ok(());
        }
        let most = if self.channel.digest { batch } else { batch.min(u32::try_from(free).unwrap_or(u32::MAX)) };
        let claimed = outbox::claim(&self.channel.name, most, lease)?;
        if claimed.len() < usize::try_from(most).unwrap_or(usize::MAX) {
            self.look = now + LOOK_AGAIN;
        }
        self.queue = match &self.channel.kind {
            // What goes to one address does not go to others.
            Kind::Mails(_) if self.channel.digest => {
                let (addressed, rest): (Vec<Claimed>, Vec<Claimed>) =
                    claimed.into_iter().partition(|it| it.content.to.is_some());
                let left = free.saturating_sub(addressed.len()).max(1);
                let addressed = addressed.into_iter().map(|message| Letter::new(vec![message]));
                addressed.chain(arranged(rest, left, true, &mut self.apart)).collect()
            }
            _ => arranged(claimed, free, self.channel.digest, &mut self.apart),
        };
        Ok(())
    }

    /// It works: more at the same time.
    pub(crate) fn widen(&mut self) -> HostResult<()> {
        self.width = (self.width * 2).min(self.channel.concurrency);
        self.works()
    }

    /// Its server answers as one does that works.
    pub(crate) fn works(&mut self) -> HostResult<()> {
        self.failures = 0;
        self.trust.works()?;
        self.outage.over()
    }

    /// It may not work: fewer at the same time.
    pub(crate) fn narrow(&mut self) {
        self.failures += 1;
        self.width = (self.width / 2).max(1);
    }
}

/// Messages as what goes in one request each. With a digest, what is beyond so many requests goes in the last of them. What may not
/// be merged goes by itself and before others, as long as there is one request left for these; of a single request, they take
/// turns. What is too much for now is behind.
fn arranged(claimed: Vec<Claimed>, free: usize, digest: bool, aside: &mut Apart) -> VecDeque<Letter> {
    let alone = |message| Letter::new(vec![message]);
    if !digest || claimed.len() <= free {
        return claimed.into_iter().map(alone).collect();
    }
    let (mut apart, rest): (Vec<Claimed>, Vec<Claimed>) = claimed.into_iter().partition(|it| aside.has(it));
    let room = match free {
        _ if rest.is_empty() => free,
        _ if apart.is_empty() => 0,
        0 | 1 => usize::from(aside.take_turn()),
        _ => free - 1,
    };
    let behind = apart.split_off(room.min(apart.len()));
    let left = free.saturating_sub(apart.len());
    // What was tried before goes by itself if it can: it may be what a server fails at.
    let (tried, new): (Vec<Claimed>, Vec<Claimed>) = rest.into_iter().partition(|it| it.tries > 0);
    let mut single: Vec<Claimed> = tried.into_iter().chain(new).collect();
    let merged = if single.len() <= left { Vec::new() } else { single.split_off(left.saturating_sub(1)) };
    let mut letters: VecDeque<Letter> = apart.into_iter().chain(single).map(alone).collect();
    if !merged.is_empty() {
        letters.push_back(Letter::new(merged));
    }
    letters.extend(behind.into_iter().map(alone));
    letters
}

#[cfg(test)]
mod tests {
    use upkeep_plugin::outbox::Message;
    use upkeep_plugin::test::Host;

    use super::*;

    fn claimed(count: usize, tried: &[usize]) -> Vec<Claimed> {
        let _host = Host::new().outbox();
        outbox::enqueue((0..count).map(|at| Message::to(["ops"]).title(format!("{at}")))).unwrap();
        let mut claimed = outbox::claim("ops", 1_000, Duration::from_secs(1)).unwrap();
        tried.iter().for_each(|at| claimed[*at].tries = 1);
        claimed
    }

    fn titles(letters: &VecDeque<Letter>) -> Vec<String> {
        let title = |it: &Letter| it.messages.iter().map(|it| it.content.title.as_str()).collect::<Vec<_>>().join("+");
        letters.iter().map(title).collect()
    }

    #[test]
    fn what_is_beyond_the_rate_is_one() {
        for (count, tried, free, digest, expected) in [
            (3, &[][..], 3, true, &["0", "1", "2"][..]),
            (4, &[], 3, true, &["0", "1", "2+3"]),
            (4, &[], 1, true, &["0+1+2+3"]),
            (4, &[3], 3, true, &["3", "0", "1+2"]),
            (4, &[], 2, false, &["0", "1", "2", "3"]),
            (0, &[], 2, true, &[]),
        ] {
            let claimed = claimed(count, tried);
            let _host = Host::new();
            let mut aside = Apart::open("ops", 0).unwrap();
            assert_eq!(titles(&arranged(claimed, free, digest, &mut aside)), expected);
        }
    }

    #[test]
    fn what_is_apart_is_never_merged() {
        for (count, apart, free, expected) in [
            (4, &[0, 1][..], 3, &["0", "1", "2+3"][..]),
            (4, &[0, 1], 4, &["0", "1", "2", "3"]),
            (4, &[0, 1, 2], 2, &["0", "3", "1", "2"]),
            (3, &[0, 1, 2], 2, &["0", "1", "2"]),
            (3, &[0, 1, 2], 1, &["0", "1", "2"]),
            (4, &[2], 1, &["2", "0+1+3"]),
        ] {
            let claimed = claimed(count, &[]);
            let _host = Host::new();
            let mut aside = Apart::open("ops", 0).unwrap();
            let those: Vec<Claimed> = apart.iter().map(|at| claimed[*at].clone()).collect();
            aside.part(&those, 0).unwrap();
            assert_eq!(titles(&arranged(claimed.clone(), free, true, &mut aside)), expected, "{apart:?} of {free}");
            if count == 4 && free == 1 {
                assert_eq!(titles(&arranged(claimed, free, true, &mut aside)), ["0+1+3", "2"], "they take turns");
            }
        }
    }
}
