//! Taking over what a table has, batch after batch.
//!
//! A batch is so many rows that are claimed at once; a portion is so many bytes of it that are read and enqueued at once, so that no
//! call hands over more than it may. The ids go up: a row that this run has seen does not come again in it.

use std::collections::BTreeSet;

use upkeep_plugin::outbox::{self, EnqueueOutcome, Message, Room};
use upkeep_plugin::{HostError, HostResult, clock, info, warn};

use crate::Taken;
use crate::config::Table;
use crate::message::{self, Read};
use crate::rows::{Claim, Rows, SHOWN, is_forbidden};

/// Bytes of rows that are read at once at the most.
const PORTION: u64 = 2 << 20;

/// How many times longer a message may be than what it says, with its escapes: one letter is `\u0061` at the worst.
const ESCAPED: u64 = 6;

/// What a message may take besides its content.
const AROUND: u64 = 4 << 10;

/// Bytes of a key that is read: 200 characters, and some more, which are counted then.
const LONGEST_KEY: u64 = 1_000;

/// Rows that fail one after the other, and none goes: then it is not the rows.
const HOPELESS: usize = 10;

/// A row that is a message.
struct Good {
    id: i64,
    message: Message,
    /// From then on it is too late for it.
    expires: Option<i64>,
}

/// One run over one table.
pub(crate) struct Take<'a> {
    table: &'a Table,
    rows: &'a Rows<'a>,
    pub(crate) taken: Taken,
    /// Rows that this run has claimed and that the outbox cannot have: they are given back when it does not get to them.
    fresh: BTreeSet<i64>,
}

impl<'a> Take<'a> {
    pub(crate) fn new(table: &'a Table, rows: &'a Rows<'a>) -> Self {
        Self { table, rows, taken: Taken::default(), fresh: BTreeSet::new() }
    }

    /// Until none is left, or the grant lets no more in.
    pub(crate) fn all(&mut self) -> HostResult<()> {
        let taken = self.batches();
        if !self.fresh.is_empty() {
            let fresh: Vec<i64> = self.fresh.iter().copied().collect();
            // What cannot be given back now is free when its lease is over.
            let _ = self.rows.release(&fresh);
        }
        taken?;
        self.look_back()
    }

    fn batches(&mut self) -> HostResult<()> {
        let mut after = None;
        loop {
            let room = outbox::room()?;
            let most = self.table.batch.min(room.messages);
            let longest = markable(&room);
            if most == 0 {
                self.taken.more = self.rows.any_free(after, longest)?;
                return Ok(());
            }
            // What this server had claimed before, the outbox may have.
            let before: BTreeSet<i64> = self.rows.own(after, most)?.iter().map(|it| it.id).collect();
            self.rows.claim(after, most, longest)?;
            let claims = self.rows.own(after, most)?;
            self.fresh.extend(claims.iter().map(|it| it.id).filter(|id| !before.contains(id)));
            let Some(last) = claims.last() else { return Ok(()) };
            after = Some(last.id);
            let count = claims.len();
            if !self.batch(claims, &room)? {
                self.taken.more = true;
                return Ok(());
            }
            if count < most as usize {
                return Ok(());
            }
        }
    }

    /// One batch; false when the run may enqueue no more.
    fn batch(&mut self, claims: Vec<Claim>, room: &Room) -> HostResult<bool> {
        let longest = longest(room);
        let portion = PORTION.min(room.call / 8);
        let (mut ids, mut bytes) = (Vec::new(), 0);
        for Claim { id, message, key } in claims {
            if message > longest || key > LONGEST_KEY {
                let why = match message > longest {
                    true => too_long(message, room),
                    false => format!("`idempotency_key` takes {key} bytes, and 200 characters are allowed"),
                };
                self.refuse(id, &why)?;
                continue;
            }
            if bytes + message + key > portion && !ids.is_empty() {
                if !self.portion(&std::mem::take(&mut ids))? {
                    return Ok(false);
                }
                bytes = 0;
            }
            bytes += message + key;
            ids.push(id);
        }
        self.portion(&ids)
    }

    /// Reads rows, and enqueues what they say.
    fn portion(&mut self, ids: &[i64]) -> HostResult<bool> {
        if ids.is_empty() {
            return Ok(true);
        }
        let (place, now) = (self.table.place(), clock::now());
        let (mut messages, mut expired) = (Vec::new(), Vec::new());
        for row in self.rows.read(ids)? {
            match message::read(&row, &place, &self.table.channels, now) {
                Ok(Read::Message(message, expires)) => messages.push(Good { id: row.id, message: *message, expires }),
                Ok(Read::Expired) => expired.push(row.id),
                Err(why) => self.refuse(row.id, &why)?,
            }
        }
        self.expire(&expired)?;
        self.enqueue(messages)
    }

    /// Nobody has to see to a message whose time is over.
    fn expire(&mut self, ids: &[i64]) -> HostResult<()> {
        for id in ids {
            info!(table = self.table.place(), id = id, "a message expired before it was taken over");
            self.fresh.remove(id);
        }
        self.taken.expired += ids.len() as u64;
        self.remove(ids)
    }

    /// Enqueues messages, and removes their rows; false when the run may enqueue no more.
    fn enqueue(&mut self, mut messages: Vec<Good>) -> HostResult<bool> {
        if messages.is_empty() {
            return Ok(true);
        }
        // Whatever becomes of the call, the outbox may have them, unless it says that it has not.
        let fresh: Vec<i64> = messages.iter().map(|it| it.id).filter(|id| self.fresh.remove(id)).collect();
        let enqueued = match outbox::enqueue(messages.iter().map(|it| it.message.clone())) {
            Ok(enqueued) => enqueued,
            Err(error) => {
                if !matches!(error, HostError::Unavailable(_)) {
                    self.fresh.extend(fresh);
                }
                return match error {
                    HostError::Invalid(why) if messages.len() == 1 => {
                        let Good { id, expires, .. } = messages.remove(0);
                        match expires.is_some_and(|at| at <= clock::now()) {
                            true => self.expire(&[id])?,
                            false => self.refuse(id, &why)?,
                        }
                        Ok(true)
                    }
                    // One of them is wrong, and none was kept: one by one.
                    HostError::Invalid(_) => {
                        for message in messages {
                            if !self.enqueue(vec![message])? {
                                return Ok(false);
                            }
                        }
                        Ok(true)
                    }
                    HostError::Limit(why) => {
                        // Another step was faster.
                        let left = outbox::room()?.messages as usize;
                        if left >= messages.len() {
                            return Err(HostError::Limit(why));
                        }
                        messages.truncate(left);
                        warn!(table = self.table.place(), "the rest waits for the next run: {why}");
                        self.enqueue(messages).map(|_| false)
                    }
                    error => Err(error),
                };
            }
        };
        let mut done = Vec::with_capacity(messages.len());
        for (Good { id, .. }, enqueued) in messages.iter().zip(enqueued) {
            match enqueued.outcome {
                EnqueueOutcome::Different => {
                    let why =
                        format!("another message with this idempotency key was taken over before: {}", enqueued.id);
                    self.refuse(*id, &why)?;
                    continue;
                }
                EnqueueOutcome::Known => self.taken.known += 1,
                EnqueueOutcome::New => self.taken.taken += 1,
            }
            done.push(*id);
        }
        self.remove(&done)?;
        Ok(true)
    }

    /// Removes rows; one that cannot be removed keeps no other.
    fn remove(&mut self, ids: &[i64]) -> HostResult<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let whole = match self.rows.done(ids) {
            // Those that the application has locked meet their known keys in the next run.
            Ok(_locked) => return Ok(()),
            Err(error) => error,
        };
        let (mut stuck, mut is_hopeless, mut failed) = (Vec::new(), hopeless(&whole), 0);
        for id in ids {
            if is_hopeless {
                break;
            }
            match self.rows.done(&[*id]) {
                Ok(_locked) => failed = 0,
                // The row itself is held by another.
                Err(error @ HostError::Conflict(_)) => stuck.push((*id, error)),
                Err(error) => {
                    stuck.push((*id, error));
                    failed += 1;
                    is_hopeless = failed == HOPELESS;
                }
            }
        }
        // As long as they are there, no other server may take them for new ones.
        let _ = self.rows.hold(&if is_hopeless { ids.to_vec() } else { stuck.iter().map(|(id, _)| *id).collect() });
        if is_hopeless {
            return Err(after("the rows that the outbox has cannot be removed", whole));
        }
        for (id, error) in stuck {
            warn!(table = self.table.place(), id = id, "a row cannot be removed: {error}");
            self.taken.stuck += 1;
            if self.taken.stuck_reasons.len() < SHOWN {
                self.taken.stuck_reasons.push((id, error.to_string()));
            }
        }
        Ok(())
    }

    fn refuse(&mut self, id: i64, why: &str) -> HostResult<()> {
        warn!(table = self.table.place(), id = id, "a row is no message: {why}");
        self.rows.refuse(id, why)?;
        self.fresh.remove(&id);
        Ok(())
    }

    /// What lies there and waits for people.
    fn look_back(&mut self) -> HostResult<()> {
        let room = outbox::room()?;
        let (unmarkable, first) = self.rows.unmarkable(markable(&room))?;
        let (refused, marked) = self.rows.refused()?;
        self.taken.refused = unmarkable + refused;
        self.taken.reasons = first.into_iter().map(|(id, bytes)| (id, too_long(bytes, &room))).chain(marked).collect();
        self.taken.reasons.truncate(SHOWN);
        Ok(())
    }
}

/// The longest message that is read, in bytes.
fn longest(room: &Room) -> u64 {
    (room.largest.saturating_mul(ESCAPED).saturating_add(AROUND)).min(room.call / 4)
}

/// The longest row of SQLite that can be marked: more is not handed over.
fn markable(room: &Room) -> u64 {
    room.call / 2
}

fn too_long(bytes: u64, room: &Room) -> String {
    match room.largest > room.call / 4 {
        true => format!("`message` takes {bytes} bytes, and {} are read (a quarter of limits.call)", longest(room)),
        false => format!("`message` takes {bytes} bytes, and {} are allowed (grant.outbox.max_message)", room.largest),
    }
}

/// Whether no row could be removed: the account may not, or the server is away.
fn hopeless(error: &HostError) -> bool {
    matches!(error, HostError::Unavailable(why) if is_forbidden(why) || why.contains("cannot be reached"))
}

fn after(before: &str, error: HostError) -> HostError {
    let joined = |why: String| format!("{before}: {why}");
    match error {
        HostError::Denied(why) => HostError::Denied(joined(why)),
        HostError::Invalid(why) => HostError::Invalid(joined(why)),
        HostError::NotFound(why) => HostError::NotFound(joined(why)),
        HostError::Conflict(why) => HostError::Conflict(joined(why)),
        HostError::Limit(why) => HostError::Limit(joined(why)),
        HostError::Unavailable(why) => HostError::Unavailable(joined(why)),
    }
}
