//! What the daily digest asks of the journal: counts of a span of time.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;
use ulid::Ulid;

use super::error::StoreError;
use super::read::Reader;
use super::row::{self, get};
use crate::clock::Timestamp;
use crate::record::outbox::MessageState;
use crate::record::{Run, RunId};

/// Digests that were sent are known for so long: growth is measured against them.
const KEEP_MS: i64 = 60 * 24 * 3600 * 1000;

/// Runs that were queued so long before a span may have ended in it.
const LONGEST_RUN_MS: i64 = 2 * 24 * 3600 * 1000;

/// How the runs of a task ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runs {
    /// How many ended how, by the name of the outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// How long those that succeeded took on average, in milliseconds.
    pub took_ms: Option<f64>,
}

/// A digest that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentDigest {
    /// When; what happened before is in it.
    pub at: Timestamp,
    /// What was written down for later ones: JSON.
    pub facts: String,
}

/// Notes a digest, within the transaction that is open.
pub(super) async fn record(connection: &mut SqliteConnection, digest: &SentDigest) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR REPLACE INTO digests (at, facts) VALUES (?1, ?2)")
        .bind(digest.at.0)
        .bind(digest.facts.as_str())
        .execute(&mut *connection)
        .await?;
    let before = digest.at.0.saturating_sub(KEEP_MS);
    sqlx::query("DELETE FROM digests WHERE at < ?1").bind(before).execute(connection).await.map(drop)
}

impl Reader {
    /// The digests that were sent since then, oldest first.
    pub async fn digests(&self, since: Timestamp) -> Result<Vec<SentDigest>, StoreError> {
        let query = sqlx::query("SELECT at, facts FROM digests WHERE at >= ?1 ORDER BY at").bind(since.0);
        self.all(query, |row| Ok(SentDigest { at: Timestamp(get(row, "at")?), facts: get(row, "facts")? })).await
    }

    /// When the last digest was sent.
    pub async fn last_digest(&self) -> Result<Option<Timestamp>, StoreError> {
        let query = sqlx::query("SELECT max(at) AS at FROM digests");
        let last = self.all(query, |row| get::<Option<i64>>(row, "at")).await?;
        Ok(last.into_iter().flatten().next().map(Timestamp))
    }

    /// How the runs of each task ended in a span; dry runs are none.
    pub async fn runs_between(&self, from: Timestamp, to: Timestamp) -> Result<BTreeMap<String, Runs>, StoreError> {
        // Identifiers sort by the time at which runs were queued: the rest of the table is not read.
        let query = sqlx::query(
            "SELECT task, outcome, count(*) AS runs, avg(ended - started) AS took FROM runs \
             WHERE id >= ?1 AND ended >= ?2 AND ended < ?3 AND NOT dry_run GROUP BY task, outcome",
        );
        let first = first_id(Timestamp(from.0.saturating_sub(LONGEST_RUN_MS)));
        let mut tasks: BTreeMap<String, Runs> = BTreeMap::new();
        let rows = self.all(query.bind(&*first.0).bind(from.0).bind(to.0), |row| {
            let (task, outcome): (String, String) = (get(row, "task")?, get(row, "outcome")?);
            Ok((task, outcome, row::unsigned(get(row, "runs")?), get::<Option<f64>>(row, "took")?))
        });
        for (task, outcome, runs, took) in rows.await? {
            let entry = tasks.entry(task).or_default();
            if outcome == "succeeded" {
                entry.took_ms = took;
            }
            entry.outcomes.insert(outcome, runs);
        }
        Ok(tasks)
    }

    /// How many slots of each task were missed in a span, of those that are known.
    pub async fn missed_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        let query = sqlx::query(
            "SELECT task, count(*) AS slots FROM slots WHERE due >= ?1 AND due < ?2 AND decision = 'missed' \
             GROUP BY task ORDER BY task",
        );
        self.all(query.bind(from.0).bind(to.0), |row| Ok((get(row, "task")?, row::unsigned(get(row, "slots")?)))).await
    }

    /// The last run of a task that succeeded.
    pub async fn last_success(&self, task: &str) -> Result<Option<Run>, StoreError> {
        let sql = format!(
            "SELECT {} FROM runs WHERE task = ?1 AND outcome = 'succeeded' AND NOT dry_run ORDER BY id DESC LIMIT 1",
            row::RUN
        );
        Ok(self.all(sqlx::query(sqlx::AssertSqlSafe(sql)).bind(task), row::read_run).await?.pop())
    }

    /// How many messages ended how since then.
    pub async fn messages_since(&self, from: Timestamp) -> Result<BTreeMap<MessageState, u64>, StoreError> {
        let query = sqlx::query(
            "SELECT state, count(*) AS messages FROM outbox_message WHERE ended IS NOT NULL AND ended >= ?1 GROUP BY state",
        );
        let rows = self
            .all(query.bind(from.0), |row| Ok((row::name(get(row, "state")?)?, row::unsigned(get(row, "messages")?))));
        Ok(rows.await?.into_iter().collect())
    }
}

/// The least identifier that a run can have that was queued then.
fn first_id(at: Timestamp) -> RunId {
    RunId(Ulid::from_parts(u64::try_from(at.0).unwrap_or(0), 0).to_string().into())
}
