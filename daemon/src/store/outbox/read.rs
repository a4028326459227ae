//! The questions that can be asked of the outbox.

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteRow;

use crate::clock::Timestamp;
use crate::record::outbox::{Attempt, ChannelCounts, DeliveryReport, Message, MessageState, Priority};
use crate::store::error::StoreError;
use crate::store::read::Reader;
use crate::store::row::{self, get};

/// Which messages [`Reader::messages`] lists. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageFilter {
    /// Only those that stand there.
    pub state: Option<MessageState>,
    /// Only those whose turn it is, or was last, with this channel.
    pub channel: Option<String>,
    /// Only those that came before this one, for the next page.
    pub before: Option<String>,
}

/// When there is something to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Next {
    /// From then on something can be claimed.
    pub claimable: Option<Timestamp>,
    /// Then something more can be claimed; after the moment of the question.
    pub later: Option<Timestamp>,
    /// Then the time of a message is over.
    pub expiring: Option<Timestamp>,
}

pub(super) const MESSAGE: &str = "id, origin, key, channels, position, priority, state, created, not_before, expires, due, \
     attempts, ended, reason, content, \
     CASE attempts WHEN 0 THEN 0 ELSE \
         (SELECT count(*) FROM outbox_attempt WHERE message = number AND channel = outbox_message.channel AND at >= ifnull(since, 0) \
                                                    AND outcome <> 'throttled') \
     END AS tries, \
     ifnull(CASE attempts WHEN 0 THEN NULL ELSE \
         (SELECT min(at) FROM outbox_attempt WHERE message = number AND channel = outbox_message.channel AND at >= ifnull(since, 0) \
                                                   AND outcome <> 'throttled') \
     END, max(ifnull(since, created), ifnull(not_before, 0))) AS begun";

pub(super) fn read_message(row: &SqliteRow) -> Result<Message, StoreError> {
    let time = |column| get::<Option<i64>>(row, column).map(|at| at.map(Timestamp));
    let place: u32 = get(row, "priority")?;
    let priority = Priority::ALL.into_iter().find(|priority| priority.place() == place);
    Ok(Message {
        id: get(row, "id")?,
        origin: get(row, "origin")?,
        key: get(row, "key")?,
        channels: row::from_json(get(row, "channels")?)?,
        position: get(row, "position")?,
        priority: priority.ok_or_else(|| StoreError::Nonsense(format!("the priority {place}")))?,
        state: row::name(get(row, "state")?)?,
        created: Timestamp(get(row, "created")?),
        since: Timestamp(get(row, "begun")?),
        not_before: time("not_before")?,
        expires: time("expires")?,
        due: Timestamp(get(row, "due")?),
        attempts: get(row, "attempts")?,
        tries: get(row, "tries")?,
        ended: time("ended")?,
        reason: get(row, "reason")?,
        content: row::from_json(get(row, "content")?)?,
    })
}

impl Reader {
    /// Messages, newest first.
    pub async fn messages(&self, filter: &MessageFilter, limit: u32) -> Result<Vec<Message>, StoreError> {
        let MessageFilter { state, channel, before } = filter;
        // Literals, so that SQLite sees which of the partial indexes will do.
        let conditions = [
            state.map(|state| format!("state = '{}'", state.name())),
            state
                .filter(|state| matches!(state, MessageState::Waiting | MessageState::Claimed))
                .map(|_| "ended IS NULL".to_owned()),
            channel.as_ref().map(|_| "channel = ?1".to_owned()),
            before.as_ref().map(|_| "id < ?2".to_owned()),
        ];
        let conditions: Vec<String> = conditions.into_iter().flatten().collect();
        let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let sql = format!("SELECT {MESSAGE} FROM outbox_message WHERE {conditions} ORDER BY id DESC LIMIT ?3");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(channel.as_deref()).bind(before.as_deref()).bind(limit);
        self.all(query, read_message).await
    }

    /// One message.
    pub async fn message(&self, id: &str) -> Result<Option<Message>, StoreError> {
        let sql = format!("SELECT {MESSAGE} FROM outbox_message WHERE id = ?1");
        Ok(self.all(sqlx::query(AssertSqlSafe(sql)).bind(id), read_message).await?.pop())
    }

    /// The message whose identifier begins so, in upper or lower case. None when there is none; more than one is an error that
    /// lists them.
    pub async fn find_message(&self, prefix: &str) -> Result<Option<Message>, StoreError> {
        // `~` sorts behind all characters of an identifier.
        let query = sqlx::query("SELECT id FROM outbox_message WHERE id >= ?1 AND id < ?1 || '~' ORDER BY id LIMIT 10")
            .bind(prefix.to_ascii_uppercase());
        let mut ids = self.all(query, |row| get::<String>(row, "id")).await?;
        if ids.len() > 1 {
            return Err(StoreError::Ambiguous { prefix: prefix.to_owned(), runs: ids });
        }
        match ids.pop() {
            Some(id) => self.message(&id).await,
            None => Ok(None),
        }
    }

    /// How it was tried to deliver a message, in order.
    pub async fn attempts(&self, id: &str) -> Result<Vec<Attempt>, StoreError> {
        let query = sqlx::query(
            "SELECT attempt, a.at, channel, outcome, a.code, reason, provider_id, took, \
                    d.at AS reported, d.code AS report_code, d.status AS report \
             FROM outbox_attempt a \
             LEFT JOIN consent_delivery d ON d.message = provider_id AND d.account IN (SELECT account FROM consent_template) \
             WHERE a.message = (SELECT number FROM outbox_message WHERE id = ?1) GROUP BY attempt ORDER BY attempt",
        );
        self.all(query.bind(id), |row| {
            Ok(Attempt {
                attempt: get(row, "attempt")?,
                at: Timestamp(get(row, "at")?),
                channel: get(row, "channel")?,
                outcome: row::name(get(row, "outcome")?)?,
                code: get(row, "code")?,
                reason: get(row, "reason")?,
                provider_id: get(row, "provider_id")?,
                took_ms: get::<Option<i64>>(row, "took")?.map(row::unsigned),
                report: match get::<Option<i64>>(row, "reported")? {
                    Some(at) => Some(DeliveryReport {
                        at: Timestamp(at),
                        code: get(row, "report_code")?,
                        status: get(row, "report")?,
                    }),
                    None => None,
                },
            })
        })
        .await
    }

    /// How many messages are open in each channel that has any or is paused, by name.
    pub async fn outbox_counts(&self, now: Timestamp) -> Result<Vec<ChannelCounts>, StoreError> {
        let query = sqlx::query(
            "WITH open AS ( \
                 SELECT channel, sum(due <= ?1) AS due, sum(due > ?1 AND state = 'waiting') AS later, \
                        sum(due > ?1 AND state = 'claimed') AS claimed \
                 FROM outbox_message WHERE ended IS NULL GROUP BY channel), \
             paused AS (SELECT name, paused_until, reason FROM outbox_channel WHERE paused_until > ?1) \
             SELECT ifnull(channel, name) AS channel, ifnull(due, 0) AS due, ifnull(later, 0) AS later, \
                    ifnull(claimed, 0) AS claimed, paused_until, reason \
             FROM open FULL JOIN paused ON name = channel ORDER BY 1",
        );
        self.all(query.bind(now.0), |row| {
            let count = |column| get(row, column).map(row::unsigned);
            Ok(ChannelCounts {
                channel: get(row, "channel")?,
                due: count("due")?,
                later: count("later")?,
                claimed: count("claimed")?,
                paused_until: get::<Option<i64>>(row, "paused_until")?.map(Timestamp),
                reason: get(row, "reason")?,
            })
        })
        .await
    }

    /// When something can be claimed, and when something expires. The same effort however many messages there are.
    pub async fn outbox_next(&self, now: Timestamp) -> Result<Next, StoreError> {
        // Jumps through the index from channel to channel instead of reading all of it.
        let query = sqlx::query(
            "WITH RECURSIVE names (name) AS ( \
                 SELECT min(channel) FROM outbox_message WHERE ended IS NULL \
                 UNION ALL \
                 SELECT (SELECT min(channel) FROM outbox_message WHERE ended IS NULL AND channel > name) \
                 FROM names WHERE name IS NOT NULL), \
             firsts (paused, due, later) AS ( \
                 SELECT ifnull((SELECT paused_until FROM outbox_channel c WHERE c.name = names.name), 0), \
                        (SELECT min(due) FROM outbox_message \
                         WHERE ended IS NULL AND channel = names.name AND priority = column1), \
                        (SELECT min(due) FROM outbox_message \
                         WHERE ended IS NULL AND channel = names.name AND priority = column1 AND due > ?1) \
                 FROM names, (VALUES (0), (1), (2), (3)) WHERE names.name IS NOT NULL) \
             SELECT (SELECT min(max(due, paused)) FROM firsts WHERE due IS NOT NULL) AS claimable, \
                    (SELECT min(CASE WHEN paused > ?1 THEN max(due, paused) ELSE later END) FROM firsts \
                     WHERE due IS NOT NULL) AS later, \
                    (SELECT min(expires) FROM outbox_message WHERE ended IS NULL AND expires IS NOT NULL AND expires > ?1) \
                        AS expiring",
        );
        let time = |row: &SqliteRow, column| get::<Option<i64>>(row, column).map(|at| at.map(Timestamp));
        let next = self.all(query.bind(now.0), |row| {
            let (claimable, later) = (time(row, "claimable")?, time(row, "later")?);
            Ok(Next { claimable, later, expiring: time(row, "expiring")? })
        });
        Ok(next.await?.pop().unwrap_or_default())
    }

    /// Whether the time of a message is over that nobody delivers.
    pub async fn outbox_has_expired(&self, now: Timestamp) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM outbox_message WHERE ended IS NULL AND expires IS NOT NULL AND expires <= ?1 \
                            AND (state = 'waiting' OR due <= ?1)) AS expired",
        );
        let found = self.all(query.bind(now.0), |row| get::<bool>(row, "expired")).await?;
        Ok(found.contains(&true))
    }

    /// Messages that ended before this go, dead ones or all others: those before `cutoff`, and beyond the newest `most`.
    pub(in crate::store) async fn outbox_cutoff(
        &self,
        dead: bool,
        cutoff: Timestamp,
        most: u32,
    ) -> Result<Timestamp, StoreError> {
        let which = which(dead);
        let sql = format!("SELECT ended FROM outbox_message WHERE {which} ORDER BY ended DESC LIMIT 1 OFFSET ?1");
        let beyond = self.all(sqlx::query(AssertSqlSafe(sql)).bind(most), |row| get::<i64>(row, "ended")).await?;
        // Those of the same millisecond go with the first that is too many.
        Ok(beyond.first().map_or(cutoff, |ended| cutoff.max(Timestamp(ended.saturating_add(1)))))
    }

    /// Messages that ended before then, dead ones or all others.
    pub(in crate::store) async fn outbox_over(
        &self,
        dead: bool,
        cutoff: Timestamp,
        limit: u32,
    ) -> Result<Vec<i64>, StoreError> {
        let which = which(dead);
        let sql = format!("SELECT number FROM outbox_message WHERE {which} AND ended < ?1 LIMIT ?2");
        self.all(sqlx::query(AssertSqlSafe(sql)).bind(cutoff.0).bind(limit), |row| get(row, "number")).await
    }
}

/// The condition of dead messages, or of all others that are over; each has an index.
fn which(dead: bool) -> &'static str {
    if dead { "state = 'dead'" } else { "ended IS NOT NULL AND state IN ('sent', 'expired')" }
}
