//! A channel of mail: the same round, with a call of the host that waits for the server.
//!
//! A call takes several mails; the host sends them at the same time. The first takes one, and each that goes well lets the next take
//! twice as many.

use upkeep_channel::mail::{Stage, outcome};
use upkeep_channel::{Fault, Outcome};
use upkeep_plugin::outbox::{self, Meanwhile, Outcome as Became};
use upkeep_plugin::smtp::{self, Answer, Stage as Refusing};
use upkeep_plugin::{HostError, HostResult, Result, clock, info};

use super::Delivery;
use crate::Tallies;
use crate::config::{Kind, Post};
use crate::letter::Letter;

impl Delivery {
    /// Delivers what is due in the one channel that this is about, and says what it did.
    pub(crate) fn run_mails(mut self) -> Result<Tallies> {
        let post = self.lanes.first().and_then(|lane| match &lane.channel.kind {
            Kind::Mails(post) => Some(post.clone()),
            Kind::Requests(_) => None,
        });
        while let Some(post) = &post {
            let now = clock::now();
            if now >= self.until {
                self.put_back(0, now);
                break;
            }
            let lane = &mut self.lanes[0];
            // Whatever the last claim gave: nothing else is waited for here.
            lane.look = 0;
            lane.claim(now, self.lease)?;
            if lane.queue.is_empty() {
                break;
            }
            self.post(post, now)?;
            self.settle()?;
        }
        self.wait_for_tokens(clock::now())?;
        self.settle()?;
        self.tallies()
    }

    /// Where messages wait for nothing but the rate, the channel is paused until there is room.
    fn wait_for_tokens(&mut self, now: i64) -> Result<()> {
        let Some(lane) = self.lanes.first_mut() else { return Ok(()) };
        if lane.closed.is_some() || lane.allowance.free(now, 1) > 0 {
            return Ok(());
        }
        let (from, name) = (lane.allowance.next(now), lane.channel.name.clone());
        if !lane.queue.is_empty() || outbox::count()?.iter().any(|it| it.channel == name && it.due > 0) {
            self.close(0, from, "as often used as may be, for now", Meanwhile::Wait)?;
        }
        Ok(())
    }

    /// Sends some of what was claimed.
    fn post(&mut self, post: &Post, now: i64) -> Result<()> {
        let lane = &mut self.lanes[0];
        let most = lane.width.min(lane.queue.len());
        let (mut written, mut unwritten) = (Vec::with_capacity(most), Vec::new());
        for mut letter in lane.queue.drain(..most) {
            unwritten.extend(letter.sift(&lane.channel, now));
            if letter.messages.is_empty() {
                continue;
            }
            match letter.mail(post) {
                Ok(mail) => written.push((mail, Letter { left: now, ..letter })),
                Err(refused) => unwritten.push((letter, refused)),
            }
        }
        // Durable before anything leaves.
        let count = if written.is_empty() { 0 } else { lane.allowance.depart(now, written.len())? };
        let is_stuck = count == 0 && !written.is_empty();
        for (_, letter) in written.drain(count..).rev() {
            lane.queue.push_front(letter);
        }
        for (letter, refused) in unwritten {
            self.refuse(0, &letter, None, &refused.to_string(), now)?;
        }
        if is_stuck {
            let from = self.lanes[0].allowance.next(now);
            return self.close(0, from, "as often used as may be, for now", Meanwhile::Wait);
        }
        if written.is_empty() {
            return Ok(());
        }
        let (mails, letters): (Vec<_>, Vec<_>) = written.into_iter().unzip();
        let answers = match smtp::send(&post.server, mails) {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); letters.len()],
        };
        for (letter, answer) in letters.iter().zip(answers) {
            self.hear_mail(letter, answer)?;
        }
        Ok(())
    }

    /// Takes in what became of a mail.
    fn hear_mail(&mut self, letter: &Letter, answer: HostResult<Answer>) -> Result<()> {
        let now = clock::now();
        let lane = &mut self.lanes[0];
        lane.allowance.arrive(now);
        let answer = match answer {
            Ok(answer) => answer,
            Err(HostError::Limit(why)) => {
                // The next run may send more.
                info!("{why}");
                self.until = now;
                self.settled.extend(letter.messages.iter().map(|it| it.settle(Became::Untried(now))));
                return Ok(());
            }
            // Whom the message names is its own fault, and all else (the sender, the password) that of the channel.
            Err(HostError::Denied(why)) if letter.is_addressed() && is_of_recipient(&why) => {
                return self.refuse(0, letter, None, &why, now);
            }
            Err(HostError::Denied(why)) => return self.fail(0, letter, None, &why, now),
            Err(HostError::Invalid(why)) => {
                return self.refuse(0, letter, None, &why, now);
            }
            Err(HostError::Unavailable(why) | HostError::NotFound(why) | HostError::Conflict(why)) => {
                return self.put_off(0, letter, None, None, &why, now);
            }
        };
        let code = answer.reply.code;
        if answer.accepted {
            lane.widen()?;
            let count = letter.messages.len() as u64;
            lane.tally.sent += count;
            lane.tally.digests += u64::from(count > 1);
            let refused = answer.refused.iter().map(|it| format!("not to {}: {}", it.recipient, it.reply));
            let refused = refused.collect::<Vec<_>>().join(", ");
            let refused = (!refused.is_empty()).then_some(refused);
            self.became(0, letter, &Became::Sent(None), Some(code.into()), refused.as_deref(), now);
            return Ok(());
        }
        let stage = match answer.stage {
            Refusing::Connection => Stage::Connection,
            Refusing::Login => Stage::Login,
            Refusing::Sender => Stage::Sender,
            Refusing::Recipients => Stage::Recipients,
            Refusing::Content => Stage::Content,
        };
        match outcome(stage, code, &answer.reply.text) {
            Outcome::Permanent { fault: Fault::Channel, reason } => {
                self.doubt(0, letter, reason.code, &reason.to_string(), now)
            }
            Outcome::Permanent { reason, .. } => {
                lane.works()?;
                self.refuse(0, letter, reason.code, &reason.to_string(), now)
            }
            Outcome::Transient { wait, reason } => self.put_off(0, letter, wait, reason.code, &reason.to_string(), now),
            Outcome::Accepted { .. } | Outcome::Throttled { .. } | Outcome::Credential { .. } => {
                self.put_off(0, letter, None, Some(code.into()), &answer.reply.to_string(), now)
            }
        }
    }
}

/// Whether the host lets a mail not go to somebody, rather than not at all.
fn is_of_recipient(why: &str) -> bool {
    why.starts_with("not to ") || why.contains(": not to ")
}
