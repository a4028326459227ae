//! The statements of each step, within the transaction that is open.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::read::{MESSAGE, read_message};
use super::{Claimed, LARGEST_CLAIM, Outcome, Resend, Settlement};
use crate::clock::Timestamp;
use crate::record::RunId;
use crate::record::outbox::{AttemptOutcome, EnqueueOutcome, Enqueued, Meanwhile, MessageState, NewMessage, Priority};
use crate::store::error::StoreError;
use crate::store::row::{self, get};
use crate::store::rows::{Statement, Value};

/// Messages that one sweep ends, so that no commit takes long.
const MOST_EXPIRED: u32 = 5_000;

/// Why an attempt has no outcome.
const LOST: &str = "the run that tried was gone before it could tell; it may have arrived";

/// A message with the key, as far as it is compared.
struct First {
    id: String,
    channels: String,
    content: String,
}

pub(super) async fn enqueue(
    connection: &mut SqliteConnection,
    origin: &str,
    messages: &[NewMessage],
    now: Timestamp,
) -> Result<Vec<Enqueued>, sqlx::Error> {
    const INSERT: &str = "\
        INSERT INTO outbox_message \
            (id, origin, key, channels, position, channel, priority, content, state, created, not_before, expires, due) \
        SELECT column1, column2, column3, column4, 0, column5, column6, column7, 'waiting', column8, column9, column10, \
               max(column8, ifnull(column9, 0)) \
        FROM (VALUES {rows}) WHERE column1 IS NOT NULL";
    let mut known = known(connection, origin, messages).await?;
    let mut enqueued = Vec::with_capacity(messages.len());
    let mut rows: Vec<[Value<'_>; 10]> = Vec::with_capacity(messages.len());
    for message in messages {
        let NewMessage { key, channels, priority, not_before, expires, content } = message;
        let (chain, content) = (row::json(channels), row::json(content));
        if let Some(first) = key.as_deref().and_then(|key| known.get(key)) {
            let same = first.channels == chain && first.content == content;
            let outcome = if same { EnqueueOutcome::Known } else { EnqueueOutcome::Different };
            enqueued.push(Enqueued { id: first.id.clone(), outcome });
            continue;
        }
        let id = RunId::new(now).to_string();
        if let Some(key) = key {
            let first = First { id: id.clone(), channels: chain.clone(), content: content.clone() };
            known.insert(key.clone(), first);
        }
        rows.push([
            id.clone().into(),
            origin.into(),
            key.as_ref().into(),
            chain.into(),
            channels.first().map(String::as_str).unwrap_or_default().into(),
            priority.place().into(),
            content.into(),
            now.into(),
            (*not_before).into(),
            (*expires).into(),
        ]);
        enqueued.push(Enqueued { id, outcome: EnqueueOutcome::New });
    }
    execute(connection, &Statement::new(INSERT, rows.into_iter())).await?;
    pass_on(connection, now).await?;
    Ok(enqueued)
}

/// The messages of this origin that have one of the keys already.
async fn known(
    connection: &mut SqliteConnection,
    origin: &str,
    messages: &[NewMessage],
) -> Result<HashMap<String, First>, sqlx::Error> {
    let keys: Vec<&str> = messages.iter().filter_map(|message| message.key.as_deref()).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "SELECT key, id, channels, content FROM outbox_message \
         WHERE origin = ?1 AND key IS NOT NULL AND key IN (SELECT value FROM json_each(?2))",
    )
    .bind(origin)
    .bind(row::json(&keys))
    .fetch_all(connection)
    .await?;
    let first = |row: &SqliteRow| {
        Ok((row.try_get(0)?, First { id: row.try_get(1)?, channels: row.try_get(2)?, content: row.try_get(3)? }))
    };
    rows.iter().map(first).collect()
}

pub(super) async fn claim(
    connection: &mut SqliteConnection,
    channel: &str,
    most: u32,
    until: Timestamp,
    now: Timestamp,
) -> Result<Claimed, sqlx::Error> {
    let mut claimed = Claimed { lease: RunId::new(now).to_string(), messages: Vec::new() };
    let paused = sqlx::query("SELECT 1 FROM outbox_channel WHERE name = ?1 AND paused_until > ?2")
        .bind(channel)
        .bind(now.0)
        .fetch_optional(&mut *connection)
        .await?;
    if paused.is_some() || most == 0 {
        return Ok(claimed);
    }
    expire(connection, now).await?;
    // A stretch of the index for each priority: what is not due yet is never looked at, however much of it there is.
    let due = Priority::ALL.map(|priority| {
        format!(
            "SELECT * FROM (SELECT number FROM outbox_message \
             WHERE ended IS NULL AND channel = ?1 AND priority = {} AND due <= ?2 AND (expires IS NULL OR expires > ?2) \
             ORDER BY due, state, number LIMIT ?3)",
            priority.place()
        )
    });
    let sql = format!(
        "SELECT number, {MESSAGE} FROM outbox_message WHERE number IN (SELECT number FROM ({}) LIMIT ?3) \
         ORDER BY priority, due, number",
        due.join(" UNION ALL ")
    );
    let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(channel).bind(now.0).bind(most).fetch(&mut *connection);
    let mut numbers = Vec::new();
    let (mut lost, mut bytes) = (false, 0);
    while let Some(row) = rows.try_next().await? {
        bytes += row.try_get::<&str, _>("content")?.len();
        if bytes > LARGEST_CLAIM && !numbers.is_empty() {
            break;
        }
        let mut message = read_message(&row).map_err(nonsense)?;
        numbers.push(row.try_get::<i64, _>(0)?);
        if message.state == MessageState::Claimed {
            lost = true;
            message.attempts += 1;
            message.tries += 1;
        }
        (message.state, message.due) = (MessageState::Claimed, until);
        claimed.messages.push(message);
    }
    drop(rows);
    let numbers = row::json(&numbers);
    if lost {
        write_lost(connection, &numbers).await?;
    }
    sqlx::query(
        "UPDATE outbox_message SET state = 'claimed', lease = ?1, claimed = ?2, due = ?3, \
                                   attempts = attempts + (state = 'claimed') \
         WHERE number IN (SELECT value FROM json_each(?4))",
    )
    .bind(&claimed.lease)
    .bind(now.0)
    .bind(until.0)
    .bind(numbers)
    .execute(connection)
    .await?;
    Ok(claimed)
}

/// Writes an attempt down for those of the messages that were claimed and never settled.
async fn write_lost(connection: &mut SqliteConnection, numbers: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO outbox_attempt (message, attempt, at, channel, outcome, reason) \
         SELECT number, attempts + 1, claimed, channel, ?2, ?3 FROM outbox_message \
         WHERE number IN (SELECT value FROM json_each(?1)) AND state = 'claimed'",
    )
    .bind(numbers)
    .bind(row::name_of(&AttemptOutcome::Lost))
    .bind(LOST)
    .execute(connection)
    .await
    .map(drop)
}

/// A message while outcomes are taken in.
struct Standing {
    number: i64,
    channels: Vec<String>,
    lease: Option<String>,
    claimed: i64,
    state: MessageState,
    position: u32,
    due: Timestamp,
    attempts: u32,
    ended: Option<Timestamp>,
    reason: Option<String>,
}

impl Standing {
    /// Takes an outcome in. Whether the message was still lent to whoever says so, and the attempt as it is written down.
    fn take(&mut self, settlement: &Settlement, now: Timestamp) -> (bool, Option<[Value<'static>; 9]>) {
        let Settlement { lease, outcome, code, reason, took, .. } = settlement;
        let own = self.state == MessageState::Claimed && self.lease.as_deref() == Some(lease);
        if let Outcome::Untried(at) = outcome {
            if own {
                (self.state, self.due) = (MessageState::Waiting, *at);
            }
            return (own, None);
        }
        let channel = self.channels.get(self.position as usize).cloned().unwrap_or_default();
        let took = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        let began = match took {
            Some(took) => now.0.saturating_sub_unsigned(took),
            None if own => self.claimed,
            None => now.0,
        };
        self.attempts += 1;
        let (name, provider_id) = match outcome {
            Outcome::Sent { provider_id } => (AttemptOutcome::Sent, provider_id.clone()),
            Outcome::Retry(_) | Outcome::Untried(_) => (AttemptOutcome::Retry, None),
            Outcome::Throttled(_) => (AttemptOutcome::Throttled, None),
            Outcome::Refused | Outcome::Dead => (AttemptOutcome::Refused, None),
        };
        let attempt = [
            self.number.into(),
            self.attempts.into(),
            began.into(),
            channel.into(),
            Value::name(&name),
            code.clone().into(),
            reason.clone().into(),
            provider_id.into(),
            took.into(),
        ];
        match outcome {
            // What arrived has arrived, whoever says so.
            Outcome::Sent { .. } if self.state != MessageState::Sent => {
                (self.state, self.ended, self.reason) = (MessageState::Sent, Some(now), None);
            }
            _ if !own => {}
            Outcome::Sent { .. } => {}
            Outcome::Retry(at) | Outcome::Throttled(at) | Outcome::Untried(at) => {
                self.wait(self.position, *at, reason.as_ref())
            }
            Outcome::Refused if self.channels.len() > self.position as usize + 1 => {
                self.wait(self.position + 1, now, reason.as_ref());
            }
            Outcome::Refused | Outcome::Dead => {
                (self.state, self.ended, self.reason) = (MessageState::Dead, Some(now), reason.clone());
            }
        }
        (own, Some(attempt))
    }

    fn wait(&mut self, position: u32, due: Timestamp, reason: Option<&String>) {
        (self.state, self.position, self.due) = (MessageState::Waiting, position, due);
        self.reason = reason.cloned();
    }

    fn columns(&self) -> [Value<'static>; 9] {
        let lease = self.lease.clone().filter(|_| self.state == MessageState::Claimed);
        [
            self.number.into(),
            self.state.name().into(),
            self.position.into(),
            self.channels.get(self.position as usize).cloned().unwrap_or_default().into(),
            self.due.into(),
            lease.into(),
            self.attempts.into(),
            self.ended.into(),
            self.reason.clone().into(),
        ]
    }
}

pub(super) async fn settle(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
    now: Timestamp,
) -> Result<Vec<bool>, sqlx::Error> {
    const UPDATE: &str = "\
        UPDATE outbox_message SET state = v.column2, position = v.column3, channel = v.column4, due = v.column5, \
                                  lease = v.column6, attempts = v.column7, ended = v.column8, reason = v.column9 \
        FROM (VALUES {rows}) v WHERE outbox_message.number = v.column1";
    const INSERT: &str = "\
        INSERT INTO outbox_attempt (message, attempt, at, channel, outcome, code, reason, provider_id, took) \
        SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";
    let mut standing = standing(connection, settlements).await?;
    let mut attempts = Vec::with_capacity(settlements.len());
    let mut settled = Vec::with_capacity(settlements.len());
    for settlement in settlements {
        // One that was dropped in the meantime has no place for an attempt any more.
        let Some(message) = standing.get_mut(&settlement.id) else {
            settled.push(false);
            continue;
        };
        let (own, attempt) = message.take(settlement, now);
        attempts.extend(attempt);
        settled.push(own);
    }
    execute(connection, &Statement::new(UPDATE, standing.values().map(Standing::columns))).await?;
    execute(connection, &Statement::new(INSERT, attempts.into_iter())).await?;
    pass_on(connection, now).await?;
    Ok(settled)
}

async fn standing(
    connection: &mut SqliteConnection,
    settlements: &[Settlement],
) -> Result<HashMap<String, Standing>, sqlx::Error> {
    let ids: Vec<&str> = settlements.iter().map(|settlement| settlement.id.as_str()).collect();
    let rows = sqlx::query(
        "SELECT number, id, channels, lease, ifnull(claimed, created) AS claimed, state, position, due, attempts, ended, reason \
         FROM outbox_message WHERE id IN (SELECT value FROM json_each(?1))",
    )
    .bind(row::json(&ids))
    .fetch_all(connection)
    .await?;
    let read = |row: &SqliteRow| {
        let standing = Standing {
            number: get(row, "number")?,
            channels: row::from_json(get(row, "channels")?)?,
            lease: get(row, "lease")?,
            claimed: get(row, "claimed")?,
            state: row::name(get(row, "state")?)?,
            position: get(row, "position")?,
            due: Timestamp(get(row, "due")?),
            attempts: get(row, "attempts")?,
            ended: get::<Option<i64>>(row, "ended")?.map(Timestamp),
            reason: get(row, "reason")?,
        };
        Ok((get(row, "id")?, standing))
    };
    rows.iter().map(read).collect::<Result<_, StoreError>>().map_err(nonsense)
}

pub(super) async fn pause(
    connection: &mut SqliteConnection,
    channel: &str,
    until: Timestamp,
    reason: &str,
    meanwhile: Meanwhile,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    if until <= now {
        return end_pause(connection, channel).await;
    }
    let sql = "INSERT INTO outbox_channel (name, paused_until, reason, passes) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (name) DO UPDATE SET paused_until = excluded.paused_until, reason = excluded.reason, passes = excluded.passes";
    let passes = meanwhile == Meanwhile::PassOn;
    let query = sqlx::query(sql).bind(channel).bind(until.0).bind(reason).bind(passes);
    let done = query.execute(&mut *connection).await?;
    pass_on(connection, now).await?;
    Ok(done.rows_affected())
}

async fn end_pause(connection: &mut SqliteConnection, channel: &str) -> Result<u64, sqlx::Error> {
    let query = sqlx::query("DELETE FROM outbox_channel WHERE name = ?1").bind(channel);
    query.execute(connection).await.map(|done| done.rows_affected())
}

/// Ends a pause before its time: what was to be tried by its end is due.
pub(super) async fn resume(
    connection: &mut SqliteConnection,
    channel: &str,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let sql = "UPDATE outbox_message SET due = ?2 \
               WHERE ended IS NULL AND channel = ?1 AND priority IN (0, 1, 2, 3) AND state = 'waiting' AND due > ?2 \
                 AND due <= (SELECT paused_until FROM outbox_channel WHERE name = ?1) AND due > ifnull(not_before, 0)";
    sqlx::query(sql).bind(channel).bind(now.0).execute(&mut *connection).await?;
    let sql = "DELETE FROM outbox_channel WHERE name = ?1 AND paused_until > ?2";
    sqlx::query(sql).bind(channel).bind(now.0).execute(connection).await.map(|done| done.rows_affected())
}

/// Writes down that messages pass, and has them pass: those of a channel (1) that would be due by then (2). The conditions are those of
/// the index `outbox_passing`, so that each commit looks at these messages and at no others.
pub(in crate::store) const PASS: [&str; 2] = [
    "INSERT INTO outbox_attempt (message, attempt, at, channel, outcome, reason) \
     SELECT number, attempts + 1, ?3, channel, ?4, ?5 FROM outbox_message \
     WHERE ended IS NULL AND state = 'waiting' AND json_array_length(channels) > position + 1 AND channel = ?1 AND due <= ?2",
    "UPDATE outbox_message SET attempts = attempts + 1, position = position + 1, channel = channels ->> (position + 1), \
                               due = max(?3, ifnull(not_before, 0)), reason = ?4 \
     WHERE ended IS NULL AND state = 'waiting' AND json_array_length(channels) > position + 1 AND channel = ?1 AND due <= ?2",
];

/// Messages that would be due while their channel lets them pass go on to the next one of their chain, as far as that takes any.
async fn pass_on(connection: &mut SqliteConnection, now: Timestamp) -> Result<(), sqlx::Error> {
    let [attempts, messages] = PASS;
    let paused = "SELECT name, paused_until, reason FROM outbox_channel WHERE passes AND paused_until > ?1";
    let paused = sqlx::query(paused).bind(now.0).fetch_all(&mut *connection).await?;
    // Each round moves messages one place on.
    let mut moved = !paused.is_empty();
    while std::mem::take(&mut moved) {
        for channel in &paused {
            let (name, until, reason): (String, i64, String) =
                (channel.try_get(0)?, channel.try_get(1)?, channel.try_get(2)?);
            let reason = format!("{name} is paused: {reason}");
            let query = sqlx::query(attempts).bind(&name).bind(until).bind(now.0);
            let query = query.bind(row::name_of(&AttemptOutcome::Passed)).bind(&reason);
            if query.execute(&mut *connection).await?.rows_affected() == 0 {
                continue;
            }
            moved = true;
            let query = sqlx::query(messages).bind(&name).bind(until).bind(now.0).bind(reason);
            query.execute(&mut *connection).await?;
        }
    }
    Ok(())
}

pub(super) async fn resend(
    connection: &mut SqliteConnection,
    which: &Resend,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let (condition, value) = match which {
        Resend::One(id) => ("id = ?2 AND state IN ('dead', 'expired')", Some(id)),
        Resend::Dead(channel) => ("state = 'dead' AND (?2 IS NULL OR channel = ?2)", channel.as_ref()),
    };
    let sql = format!(
        "UPDATE outbox_message SET state = 'waiting', position = 0, channel = channels ->> 0, since = ?1, due = ?1, lease = NULL, \
                                   ended = NULL, reason = NULL, expires = CASE WHEN expires > ?1 THEN expires END \
         WHERE {condition}"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(now.0).bind(value);
    let done = query.execute(&mut *connection).await?;
    pass_on(connection, now).await?;
    Ok(done.rows_affected())
}

/// Ends leases before their time; without a list all that there are. Returns how many messages were lent under them.
pub(super) async fn release(
    connection: &mut SqliteConnection,
    leases: Option<&[String]>,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let sql = "UPDATE outbox_message SET due = ?1 WHERE ended IS NULL AND state = 'claimed' AND due > ?1 \
               AND (?2 IS NULL OR lease IN (SELECT value FROM json_each(?2)))";
    let query = sqlx::query(sql).bind(now.0).bind(leases.map(row::json));
    query.execute(connection).await.map(|done| done.rows_affected())
}

pub(super) async fn drop_one(connection: &mut SqliteConnection, id: &str, now: Timestamp) -> Result<u64, sqlx::Error> {
    let sql = "DELETE FROM outbox_message WHERE id = ?1 AND NOT (state = 'claimed' AND due > ?2)";
    sqlx::query(sql).bind(id).bind(now.0).execute(connection).await.map(|done| done.rows_affected())
}

/// Ends what has waited too long. What is being delivered may still arrive.
pub(super) async fn expire(connection: &mut SqliteConnection, now: Timestamp) -> Result<u64, sqlx::Error> {
    let sql = "SELECT number FROM outbox_message \
               WHERE ended IS NULL AND expires IS NOT NULL AND expires <= ?1 AND (state = 'waiting' OR due <= ?1) LIMIT ?2";
    let numbers: Vec<i64> = sqlx::query_scalar(sql).bind(now.0).bind(MOST_EXPIRED).fetch_all(&mut *connection).await?;
    if numbers.is_empty() {
        return Ok(0);
    }
    let numbers = row::json(&numbers);
    write_lost(connection, &numbers).await?;
    let done = sqlx::query(
        "UPDATE outbox_message SET attempts = attempts + (state = 'claimed'), state = 'expired', lease = NULL, ended = ?1, \
                reason = CASE WHEN reason IS NULL THEN 'its time was over' ELSE 'its time was over; before that: ' || reason END \
         WHERE number IN (SELECT value FROM json_each(?2))",
    )
    .bind(now.0)
    .bind(numbers)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn execute(connection: &mut SqliteConnection, statement: &Statement<'_>) -> Result<(), sqlx::Error> {
    for query in statement.queries() {
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// What a row holds that makes no sense, as an error of the database.
fn nonsense(error: StoreError) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
