//! The round of a run: claim, send, hear, settle.
//!
//! Nothing in it waits for one channel: requests of all are under way at the same time, and each goes round as soon as one of its
//! own is over. What became of messages is written down in batches; what a run has heard and not written down when it is killed is
//! sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use upkeep_channel::{Answer, Fault, Outcome, outcome};
use upkeep_plugin::http::{self, InFlight};
use upkeep_plugin::outbox::Meanwhile::{self, PassOn, Wait};
use upkeep_plugin::outbox::{self, Claimed, Outcome as Became, Settlement};
use upkeep_plugin::{HostError, HostResult, Result, clock, info, warn};

use crate::config::{Channel, Kind, Push};
use crate::consent::Consents;
use crate::lane::Lane;
use crate::letter::{Letter, Unwritten};
use crate::outage;
use crate::report;
use crate::{Tallies, Work};

mod mails;

/// Bytes of an answer that are looked at.
const MOST_OF_ANSWER: usize = 64 * 1024;
/// Requests of all channels at the same time: an instance has a limit of handles, and each takes five.
const MOST_FLYING: usize = 128;
/// Outcomes that are written down in one commit.
const MOST_SETTLED: usize = 256;
/// How long an outcome waits for others, to be written down with them: while nothing else is heard, and at the most.
const SETTLE_WITHIN: (Duration, i64) = (Duration::from_millis(20), 100);
/// How long nothing is looked at while requests are under way.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a run waits for the next token, milliseconds. For longer the channel is paused, and the run can end.
const SHORT_WAIT: i64 = 2_000;
/// Failures in a row after which a server is taken to be down, and how long it is left alone then.
const DOWN: (u32, i64) = (10, 30_000);
/// Tries of a message from which on it is not taken to be in doubt any more.
const MOST_DOUBTED: u32 = 3;
/// Messages that are held while what is older is refused.
const MOST_LEFT: usize = 5_000;
/// How much longer than the run a lease lasts, beside the time for an answer.
const LEASE_BEYOND: Duration = Duration::from_secs(60);

/// A run on its way.
#[derive(Debug)]
pub(crate) struct Delivery {
    lanes: Vec<Lane>,
    /// Channels that others deliver.
    others: Vec<String>,
    /// Channels that there are not in this run's configuration, and may be in the next one's.
    left: BTreeSet<String>,
    /// When the run began, milliseconds since 1970.
    began: i64,
    flying: InFlight<Flying>,
    settled: Vec<Settlement>,
    /// Consents of users.
    consents: Consents,
    /// When outcomes were written down last, milliseconds since 1970.
    settled_at: i64,
    lease: Duration,
    /// Nothing is claimed from then on, milliseconds since 1970.
    until: i64,
}

/// What is under way.
#[derive(Debug)]
struct Flying {
    lane: usize,
    letter: Letter,
    /// The identifier of the one message that all of it is.
    id: String,
}

impl Delivery {
    /// The part of the channels that this work is about.
    pub(crate) fn new(push: &Push, work: &Work, began: i64) -> Result<Self> {
        let now = clock::now();
        let is_part = |channel: &Channel| match (work, &channel.kind) {
            (Work::Requests, kind) => matches!(kind, Kind::Requests(_)),
            (Work::Mails(name), _) => channel.name == *name,
        };
        let (channels, others): (Vec<Channel>, Vec<Channel>) = push.channels()?.into_iter().partition(is_part);
        let slowest = channels.iter().map(|it| it.timeout).max().unwrap_or_default();
        let lanes = channels.into_iter().map(|it| Lane::open(it, now)).collect::<HostResult<Vec<_>>>()?;
        let span = Duration::from_millis(push.longest_run.0.unsigned_abs());
        Ok(Self {
            lanes,
            others: others.into_iter().map(|it| it.name).collect(),
            left: BTreeSet::new(),
            began,
            flying: InFlight::new(MOST_OF_ANSWER),
            settled: Vec::new(),
            consents: Consents::default(),
            settled_at: now,
            lease: span + slowest + LEASE_BEYOND,
            until: now.saturating_add(push.longest_run.0),
        })
    }

    /// Delivers what is due, and says what it did.
    pub(crate) fn run(mut self) -> Result<Tallies> {
        self.refuse_unknown()?;
        loop {
            let now = clock::now();
            let is_open = now < self.until;
            for lane in 0..self.lanes.len() {
                if is_open {
                    self.lanes[lane].claim(now, self.lease)?;
                } else {
                    self.put_back(lane, now);
                }
                self.send(lane, now)?;
            }
            let mut patience = if self.settled.is_empty() { PATIENCE } else { SETTLE_WITHIN.0 };
            if self.flying.is_empty() {
                self.settle()?;
                let next = if now < self.until { self.next(now)? } else { None };
                let Some(next) = next else { break };
                patience = Duration::from_millis(next.saturating_sub(now).unsigned_abs());
            }
            let heard = self.flying.wait(patience);
            let is_quiet = heard.is_empty();
            let now = clock::now();
            for (flying, answer) in heard {
                self.hear(flying, answer, now)?;
            }
            if is_quiet || self.settled.len() >= MOST_SETTLED || now > self.settled_at + SETTLE_WITHIN.1 {
                self.settle()?;
                self.settled_at = now;
            }
        }
        self.tallies()
    }

    /// What was done, when it is over.
    fn tallies(self) -> Result<Tallies> {
        let mut tallies = BTreeMap::new();
        for mut lane in self.lanes {
            lane.allowance.close()?;
            lane.apart.keep()?;
            report::measure(&lane.channel.name, &lane.tally)?;
            tallies.insert(lane.channel.name, lane.tally);
        }
        Ok(tallies)
    }

    /// When there is more to do; nothing when the run can end. Nothing is under way.
    fn next(&mut self, now: i64) -> Result<Option<i64>> {
        let mut next: Option<i64> = None;
        let mut strangers = false;
        for counts in outbox::count()?.into_iter().filter(|it| it.due > 0 && it.paused_until.is_none()) {
            let Some(at) = self.lanes.iter().position(|it| it.channel.name == counts.channel) else {
                strangers |= !self.others.contains(&counts.channel) && !self.left.contains(&counts.channel);
                continue;
            };
            let lane = &mut self.lanes[at];
            if lane.closed.is_some() {
                continue;
            }
            let from = match lane.allowance.free(now, 1) {
                0 => lane.allowance.next(now),
                _ => now,
            };
            if from > now + SHORT_WAIT || from >= self.until {
                self.close(at, from, "as often used as may be, for now", Wait)?;
                continue;
            }
            self.lanes[at].look = from;
            next = Some(next.map_or(from, |it| it.min(from)));
        }
        if strangers {
            self.refuse_unknown()?;
            return Ok(Some(now));
        }
        Ok(next)
    }

    /// Messages for channels that there are not go down their chains. What came when this run had begun may be for a channel
    /// that was added since: it is left to the next one.
    fn refuse_unknown(&mut self) -> Result<()> {
        let own = self.lanes.iter().map(|it| &it.channel.name);
        let mut known: Vec<&str> = own.chain(&self.others).map(String::as_str).collect();
        known.sort_unstable();
        let is_unknown = |name: &String| !known.contains(&name.as_str()) && !self.left.contains(name);
        let mut left = Vec::new();
        for counts in outbox::count()?.into_iter().filter(|it| it.due > 0 && is_unknown(&it.channel)) {
            let reason = format!("there is no channel `{}`; there is {}", counts.channel, known.join(", "));
            let (mut later, mut refused): (Vec<Settlement>, usize) = (Vec::new(), 0);
            // The new ones are put back in the end: before that, they would be claimed again.
            while later.len() < MOST_LEFT {
                let claimed = outbox::claim(&counts.channel, 1_000, self.lease)?;
                if claimed.is_empty() {
                    break;
                }
                let (new, old): (Vec<Claimed>, Vec<Claimed>) =
                    claimed.into_iter().partition(|it| it.since > self.began);
                refused += old.len();
                outbox::settle(old.iter().map(|it| it.settle(Became::Refused).reason(reason.as_str())))?;
                later.extend(new.iter().map(|it| it.settle(Became::Untried(it.since))));
            }
            if refused > 0 {
                warn!(channel = counts.channel, "{reason}");
            }
            if !later.is_empty() {
                outbox::settle(later)?;
                left.push(counts.channel);
            }
        }
        self.left.extend(left);
        Ok(())
    }

    /// Lets requests of a channel go, as many as may be under way.
    fn send(&mut self, at: usize, now: i64) -> Result<()> {
        // What is refused before it leaves makes room for what is behind it.
        while self.send_some(at, now)? {}
        Ok(())
    }

    /// Whether nothing of it left, though something could.
    fn send_some(&mut self, at: usize, now: i64) -> Result<bool> {
        let room = MOST_FLYING.saturating_sub(self.flying.len());
        let lane = &mut self.lanes[at];
        let most = lane.width.saturating_sub(lane.flying).min(room).min(lane.queue.len());
        let mut written = Vec::with_capacity(most);
        let mut unwritten = Vec::new();
        for mut letter in lane.queue.drain(..most) {
            let sifted = letter.sift(&lane.channel, now);
            unwritten.extend(sifted.into_iter().map(|(letter, why)| (letter, Unwritten::Refused(why))));
            if letter.messages.is_empty() {
                continue;
            }
            match letter.write(&lane.channel, now) {
                Ok((request, id)) => written.push((request, letter, id)),
                Err(why) => unwritten.push((letter, why)),
            }
        }
        // Both are durable before anything leaves.
        let asking: Vec<&Claimed> =
            written.iter().flat_map(|(_, letter, _): &(_, Letter, _)| &letter.messages).collect();
        let consented = match self.consents.take(&lane.channel, &asking) {
            Ok(consented) => consented,
            Err(HostError::Denied(why)) => {
                unwritten.extend(written.drain(..).map(|(_, letter, _)| (letter, Unwritten::Channel(why.clone()))));
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        if consented.iter().any(Option::is_some) {
            // Each of these letters is one message: what is for one user is never merged.
            for (one, why) in std::mem::take(&mut written).into_iter().zip(consented) {
                match why {
                    None => written.push(one),
                    Some(why) => unwritten.push((one.1, Unwritten::Unwanted(why))),
                }
            }
        }
        let none_left = most > 0 && written.is_empty();
        let count = if written.is_empty() { 0 } else { lane.allowance.depart(now, written.len())? };
        for (_, letter, _) in written.drain(count..).rev() {
            lane.queue.push_front(letter);
        }
        lane.flying += count;
        for (request, letter, id) in written {
            self.flying.send(request, Flying { lane: at, letter: Letter { left: now, ..letter }, id });
        }
        for (letter, why) in unwritten {
            match why {
                Unwritten::Refused(refused) => self.refuse(at, &letter, None, &refused.to_string(), now)?,
                Unwritten::Unwanted(why) => self.refuse(at, &letter, None, &why, now)?,
                Unwritten::Channel(why) => self.fail(at, &letter, None, &why, now)?,
                Unwritten::Later(why) => self.put_off(at, &letter, None, None, &why, now)?,
                Unwritten::Spent(why) => self.spent(&letter, &why, now),
            }
        }
        let lane = &mut self.lanes[at];
        if none_left {
            return Ok(!lane.queue.is_empty());
        }
        if lane.flying == 0 && !lane.queue.is_empty() && most > 0 && count == 0 {
            // There is more than there are tokens, or the clock was set back: nothing leaves for a while.
            lane.look = lane.allowance.next(now);
            self.put_back(at, now);
        }
        Ok(false)
    }

    /// Takes in what became of a request.
    fn hear(&mut self, flying: Flying, answer: HostResult<http::Answer>, now: i64) -> Result<()> {
        let Flying { lane: at, letter, id } = flying;
        let lane = &mut self.lanes[at];
        lane.flying -= 1;
        lane.allowance.arrive(now);
        let answer = match answer {
            Ok(answer) => answer,
            Err(HostError::Denied(why)) => return self.fail(at, &letter, None, &why, now),
            Err(HostError::Limit(why)) => {
                self.spent(&letter, &why, now);
                return Ok(());
            }
            Err(HostError::Invalid(why)) => {
                return self.refuse(at, &letter, None, &why, now);
            }
            Err(HostError::Unavailable(why) | HostError::NotFound(why) | HostError::Conflict(why)) => {
                return self.put_off(at, &letter, None, None, &why, now);
            }
        };
        let headers: Vec<(String, String)> = answer
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
            .collect();
        let heard = Answer { status: answer.status, headers: &headers, body: &answer.body };
        let Kind::Requests(settings) = &lane.channel.kind else { return Ok(()) };
        match outcome(settings, &heard, now) {
            Outcome::Accepted { id: theirs } => {
                lane.widen()?;
                let count = letter.messages.len() as u64;
                lane.tally.sent += count;
                lane.tally.digests += u64::from(count > 1);
                let called = theirs.or((count > 1).then_some(id));
                self.became(at, &letter, &Became::Sent(called), None, None, now);
            }
            Outcome::Permanent { fault: Fault::Channel, reason } => {
                self.doubt(at, &letter, reason.code, &reason.to_string(), now)?;
            }
            Outcome::Permanent { reason, .. } => {
                lane.works()?;
                self.refuse(at, &letter, reason.code, &reason.to_string(), now)?;
            }
            Outcome::Transient { wait, reason } => {
                let reason_text = reason.to_string();
                // That is when the server is back, whatever the message was (RFC 9110, 15.6.4).
                let back = wait.filter(|it| answer.status == 503 && *it > 0);
                match back {
                    Some(back) => self.put_off_all(at, &letter, back, reason.code, &reason_text, now)?,
                    None => self.put_off(at, &letter, wait, reason.code, &reason_text, now)?,
                }
            }
            Outcome::Throttled { until, reason } => {
                // Who answers this and says that it is over already would be asked without end.
                let until = until.max(now.saturating_add(lane.channel.retry.first));
                let long = until.saturating_sub(now) > outage::PATIENCE;
                lane.tally.put_off += letter.messages.len() as u64;
                let reason_text = reason.to_string();
                letter.messages.iter().for_each(|it| self.consents.unsent(it));
                self.became(at, &letter, &Became::Throttled(until), reason.code, Some(&reason_text), now);
                self.close(at, until, &reason_text, if long { PassOn } else { Wait })?;
            }
            // The host has renewed it, and asked once more.
            Outcome::Credential { reason } => {
                self.put_off(at, &letter, None, reason.code, &reason.to_string(), now)?;
            }
        }
        Ok(())
    }

    /// The run may do no more; the next one may.
    fn spent(&mut self, letter: &Letter, why: &str, now: i64) {
        info!("{why}");
        self.until = now;
        self.settled.extend(letter.messages.iter().map(|it| it.settle(Became::Untried(now))));
        letter.messages.iter().for_each(|it| self.consents.unsent(it));
    }

    /// The channel takes nothing, as an answer has it. Where it has worked before, that may be one message's fault: it is tried
    /// again, and refused when it is not taken then either. What two messages meet with none between them that gets through is the
    /// channel's.
    fn doubt(&mut self, at: usize, letter: &Letter, code: Option<i64>, reason: &str, now: i64) -> Result<()> {
        let lane = &mut self.lanes[at];
        let Some(first) = letter.messages.first() else { return Ok(()) };
        let is_one = letter.messages.len() == 1;
        if is_one && lane.trust.was_doubted_by(&first.id) {
            return self.refuse(at, letter, code, reason, now);
        }
        if !lane.trust.is_there() {
            return self.fail(at, letter, code, reason, now);
        }
        lane.trust.doubt(&first.id)?;
        // Where several are in doubt, none is the last one that was.
        if !is_one || first.tries >= MOST_DOUBTED {
            return self.refuse(at, letter, code, reason, now);
        }
        lane.tally.put_off += 1;
        letter.messages.iter().for_each(|it| self.consents.unsent(it));
        let again = now.saturating_add(lane.channel.retry.first);
        self.became(at, letter, &Became::Retry(again), code, Some(reason), now);
        Ok(())
    }

    /// The channel will never take it. Of several it is not known which: they are tried again, each by itself, and what is good
    /// among them is not given up for what is not.
    fn refuse(&mut self, at: usize, letter: &Letter, code: Option<i64>, reason: &str, now: i64) -> Result<()> {
        let lane = &mut self.lanes[at];
        let count = letter.messages.len() as u64;
        if count > 1 {
            lane.apart.part(&letter.messages, now)?;
            lane.tally.put_off += count;
            let reason = in_digest(count, reason);
            let again = now.saturating_add(lane.channel.retry.first);
            self.became(at, letter, &Became::Retry(again), code, Some(&reason), now);
            return Ok(());
        }
        lane.tally.refused += count;
        letter.messages.iter().for_each(|it| self.consents.refused(&lane.channel, it, code));
        self.became(at, letter, &Became::Refused, code, Some(reason), now);
        Ok(())
    }

    /// The channel takes nothing until somebody changes something: messages go down their chains, and those without another channel
    /// wait, but for one that shows it for the second time.
    fn fail(&mut self, at: usize, letter: &Letter, code: Option<i64>, reason: &str, now: i64) -> Result<()> {
        let lane = &mut self.lanes[at];
        // Whoever has ten minutes to mend it loses nothing; and one that alone is not taken does not hold up the others for ever.
        let shows_it = lane.closed.is_none() && letter.messages.len() == 1;
        let until = lane.closed.unwrap_or_else(|| now.saturating_add(lane.channel.pause));
        // It may be one of them that is not let in, and then all others would wait for it.
        if letter.messages.len() > 1 {
            lane.apart.part(&letter.messages, now)?;
        }
        for message in &letter.messages {
            self.consents.unsent(message);
            let again = shows_it && message.tries > 0;
            let became = if message.last && !again { Became::Retry(until) } else { Became::Refused };
            match became {
                Became::Refused => {
                    lane.tally.refused += 1;
                    lane.apart.forget(message);
                }
                _ => lane.tally.put_off += 1,
            }
            self.settled.push(settlement(message, became, code, Some(reason), letter.left, now));
        }
        self.close(at, until, reason, PassOn)
    }

    /// Not this time.
    fn put_off(
        &mut self,
        at: usize,
        letter: &Letter,
        wait: Option<i64>,
        code: Option<i64>,
        reason: &str,
        now: i64,
    ) -> Result<()> {
        self.again_later(at, letter, wait, code, reason, now);
        let lane = &mut self.lanes[at];
        let (most, span) = DOWN;
        if lane.failures >= most || lane.outage.is_known() {
            let (reason, meanwhile) = match (lane.outage.is_known(), lane.outage.is_long(now)?) {
                (false, _) => (format!("{most} requests in a row failed, the last with: {reason}"), Wait),
                (true, false) => (format!("the server is still down: {reason}"), Wait),
                (true, true) => (format!("the server is down for ten minutes: {reason}"), PassOn),
            };
            self.close(at, now + span, &reason, meanwhile)?;
        }
        Ok(())
    }

    /// Nothing of the channel for so long.
    fn put_off_all(
        &mut self,
        at: usize,
        letter: &Letter,
        wait: i64,
        code: Option<i64>,
        reason: &str,
        now: i64,
    ) -> Result<()> {
        self.again_later(at, letter, Some(wait), code, reason, now);
        let long = self.lanes[at].outage.is_long(now)?;
        self.close(at, now.saturating_add(wait), reason, if long { PassOn } else { Wait })
    }

    /// Messages are tried again, those that were not tried too often.
    fn again_later(
        &mut self,
        at: usize,
        letter: &Letter,
        wait: Option<i64>,
        code: Option<i64>,
        reason: &str,
        now: i64,
    ) {
        let lane = &mut self.lanes[at];
        lane.narrow();
        for message in &letter.messages {
            let tried = message.tries + 1;
            let random = spread(&message.id, message.attempts);
            let retry = lane.channel.retry;
            let retry = if message.last { retry } else { retry.before_next() };
            let begun = if message.tries == 0 { now } else { message.since };
            match retry.next(tried, wait, begun, now, random) {
                Some(again) => {
                    lane.tally.put_off += 1;
                    self.settled.push(settlement(message, Became::Retry(again), code, Some(reason), letter.left, now));
                }
                None => {
                    lane.tally.refused += 1;
                    lane.apart.forget(message);
                    let reason = format!("given up after {}: {reason}", tries(tried));
                    self.settled.push(settlement(message, Became::Refused, code, Some(&reason), letter.left, now));
                }
            }
        }
    }

    /// The same for all messages of a letter.
    fn became(
        &mut self,
        at: usize,
        letter: &Letter,
        became: &Became,
        code: Option<i64>,
        reason: Option<&str>,
        now: i64,
    ) {
        if matches!(became, Became::Sent(_) | Became::Refused) {
            letter.messages.iter().for_each(|it| self.lanes[at].apart.forget(it));
        }
        let each = letter.messages.iter().map(|it| settlement(it, became.clone(), code, reason, letter.left, now));
        self.settled.extend(each);
    }

    /// Leaves a channel alone; the outbox passes messages on, or lets them wait.
    fn close(&mut self, at: usize, until: i64, reason: &str, meanwhile: Meanwhile) -> Result<()> {
        let lane = &mut self.lanes[at];
        if lane.closed.is_none_or(|it| it < until) {
            lane.closed = Some(until);
            lane.tally.paused = Some(reason.to_owned());
            info!(channel = lane.channel.name, "paused: {reason}");
            outbox::pause(&lane.channel.name, until, reason, meanwhile)?;
        }
        self.put_back(at, until);
        Ok(())
    }

    /// What was claimed and not sent may be claimed again from then on.
    fn put_back(&mut self, at: usize, from: i64) {
        let queue = std::mem::take(&mut self.lanes[at].queue);
        let messages = queue.iter().flat_map(|letter| &letter.messages);
        messages.clone().for_each(|it| self.consents.unsent(it));
        self.settled.extend(messages.map(|it| it.settle(Became::Untried(from))));
    }

    /// Writes down what became of messages.
    fn settle(&mut self) -> Result<()> {
        if self.settled.is_empty() {
            return Ok(());
        }
        self.consents.tell()?;
        let settled = std::mem::take(&mut self.settled);
        if settled.iter().any(|it| matches!(it.outcome, Became::Refused | Became::Untried(_))) {
            // There may be more for other channels now.
            self.lanes.iter_mut().for_each(|lane| lane.look = 0);
        }
        outbox::settle(settled)?;
        Ok(())
    }
}

fn settlement(
    message: &Claimed,
    became: Became,
    code: Option<i64>,
    reason: Option<&str>,
    left: i64,
    now: i64,
) -> Settlement {
    let mut settlement = message.settle(became);
    settlement.code = code.map(|it| it.to_string());
    settlement.reason = reason.map(str::to_owned);
    if left > 0 {
        settlement = settlement.took(Duration::from_millis(now.saturating_sub(left).max(0).unsigned_abs()));
    }
    settlement
}

/// A number that is another one for each try of each message: a guest has no random numbers, and needs none here.
fn spread(id: &str, attempt: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id, attempt).hash(&mut hasher);
    hasher.finish()
}

/// Why one of a digest is tried again.
fn in_digest(count: u64, reason: &str) -> String {
    format!("one of {count} messages in a digest: {reason}")
}

fn tries(count: u32) -> String {
    if count == 1 { "one try".to_owned() } else { format!("{count} tries") }
}
