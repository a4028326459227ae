//! Alerts: what upkeep itself reports. They change in one transaction with the messages that tell them.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::digest::{self, SentDigest};
use super::error::StoreError;
use super::read::Reader;
use super::row::{self, get};
use super::rows::{Statement, Value};
use crate::clock::Timestamp;
use crate::record::alert::Alert;
use crate::record::outbox::{MessageLevel, NewMessage};
use crate::record::{Run, Severity};

/// What becomes of alerts at one moment, and what is told of them.
#[derive(Debug, Clone, Default)]
pub struct AlertRecord {
    /// Alerts that are new or different.
    pub changed: Vec<Alert>,
    /// Keys of alerts that nobody has to know any more.
    pub forgotten: Vec<String>,
    /// The messages.
    pub messages: Vec<NewMessage>,
    /// The digest that is one of them.
    pub digest: Option<SentDigest>,
}

/// Messages that no channel took and that somebody should know of, of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// The channel that was last.
    pub channel: String,
    /// How many.
    pub messages: u64,
    /// How much the one matters that matters most.
    pub level: MessageLevel,
    /// Why the last of them died.
    pub reason: Option<String>,
}

/// Does it within the transaction that is open.
pub(super) async fn record(connection: &mut SqliteConnection, record: &AlertRecord) -> Result<(), sqlx::Error> {
    const UPSERT: &str = "\
        INSERT OR REPLACE INTO alerts (key, level, title, opened, closed, told, tellings, acknowledged, alert) \
        SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";
    const DELETE: &str = "DELETE FROM alerts WHERE key IN (VALUES {rows})";
    let rows = record.changed.iter().map(|alert| -> [Value<'_>; 9] {
        [
            (&alert.key).into(),
            Value::name(&alert.level),
            (&alert.title).into(),
            alert.opened.into(),
            alert.closed.into(),
            alert.told.into(),
            alert.tellings.into(),
            alert.acknowledged.as_ref().map(|it| &it.by).into(),
            row::json(alert).into(),
        ]
    });
    let forgotten = record.forgotten.iter().map(|key| [key.into()]);
    for statement in [Statement::new(UPSERT, rows), Statement::new(DELETE, forgotten)] {
        for query in statement.queries().filter(|_| statement.rows() > 0) {
            query.execute(&mut *connection).await?;
        }
    }
    match &record.digest {
        Some(sent) => digest::record(connection, sent).await,
        None => Ok(()),
    }
}

impl Reader {
    /// All alerts that are known, also those that are over; by key.
    pub async fn alerts(&self) -> Result<Vec<Alert>, StoreError> {
        let query = sqlx::query("SELECT alert FROM alerts ORDER BY key");
        self.all(query, |row| row::from_json(get(row, "alert")?)).await
    }

    /// Of each of these tasks, the last run that is over and says something of it, and when the last one ended that succeeded.
    pub async fn last_ends(&self, tasks: &[&str]) -> Result<Vec<(Option<Run>, Option<Timestamp>)>, StoreError> {
        let sql = format!(
            "WITH ends (name, last, good) AS ( \
                 SELECT value, \
                        (SELECT id FROM runs WHERE task = value AND phase = 'done' AND NOT dry_run \
                         AND outcome NOT IN ('cancelled', 'skipped') ORDER BY id DESC LIMIT 1), \
                        (SELECT ended FROM runs WHERE task = value AND outcome = 'succeeded' AND NOT dry_run \
                         ORDER BY id DESC LIMIT 1) \
                 FROM json_each(?1)) \
             SELECT {}, good FROM ends LEFT JOIN runs ON id = last",
            row::RUN
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(row::json(tasks));
        self.all(query, |row| {
            let run = match get::<Option<&str>>(row, "id")? {
                Some(_) => Some(row::read_run(row)?),
                None => None,
            };
            Ok((run, get::<Option<i64>>(row, "good")?.map(Timestamp)))
        })
        .await
    }

    /// Dead messages that matter, by their last channel; not those of upkeep itself.
    pub async fn dead_messages(&self) -> Result<Vec<Dead>, StoreError> {
        // SQLite takes the other columns from the row that has the one maximum.
        let query = sqlx::query(
            "SELECT channel, count(*) AS messages, max(ended) AS ended, reason, \
                    sum(content ->> 'level' = 'critical') AS critical, sum(content ->> 'level' = 'error') AS errors \
             FROM outbox_message \
             WHERE state = 'dead' AND origin <> 'upkeep' AND content ->> 'level' IN ('warn', 'error', 'critical') \
             GROUP BY channel",
        );
        self.all(query, read_dead).await
    }

    /// Findings at least as bad as this, whatever their state; as many as anybody would look at.
    pub async fn grave_lives(&self, least: Severity) -> Result<Vec<crate::record::finding::Life>, StoreError> {
        let all = [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        let names: Vec<&str> = all.into_iter().filter(|it| *it >= least).map(Severity::name).collect();
        self.lives_of(&names).await
    }
}

fn read_dead(row: &SqliteRow) -> Result<Dead, StoreError> {
    let level = match (get::<i64>(row, "critical")?, get::<i64>(row, "errors")?) {
        (0, 0) => MessageLevel::Warn,
        (0, _) => MessageLevel::Error,
        _ => MessageLevel::Critical,
    };
    let messages = row::unsigned(get(row, "messages")?);
    Ok(Dead { channel: get(row, "channel")?, messages, level, reason: get(row, "reason")? })
}
