//! The questions that can be asked of the journal.
//!
//! Two read-only connections, beside the writer: an answer shows what is durable, and never waits for a commit.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, SqlitePool};

use super::database;
use super::error::StoreError;
use super::finding;
use super::retention::Sweep;
use super::row::{self, get};
use super::state::StateValue;
use crate::clock::Timestamp;
use crate::record::finding::FindingState;
use crate::record::{Document, Finding, LogRecord, Metric, Phase, Report, Run, RunId, Slot, Step};

/// The journal, open for reading. Works beside a running daemon and without one; clones share the connections.
#[derive(Debug, Clone)]
pub struct Reader {
    pool: SqlitePool,
    path: Arc<PathBuf>,
}

/// Which runs [`Reader::runs`] lists. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only of this task.
    pub task: Option<String>,
    /// Only those that ended so: a name as [`Outcome::name`](crate::outcome::Outcome::name) gives it.
    pub outcome: Option<String>,
    /// Only in this phase.
    pub phase: Option<Phase>,
    /// Only those queued before this one, for the next page.
    pub before: Option<RunId>,
}

impl Reader {
    /// Opens the journal of a state directory, which has to be there. It needs no lock.
    pub async fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = database::path(state_dir);
        let pool = database::open_readers(&path).await?;
        Ok(Self { pool, path: Arc::new(path) })
    }

    /// One run.
    pub async fn run(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        let sql = format!("SELECT {} FROM runs WHERE id = ?1", row::RUN);
        let row = sqlx::query(AssertSqlSafe(sql)).bind(&*id.0).fetch_optional(&self.pool).await;
        row.map_err(|error| self.failed(error))?.as_ref().map(row::read_run).transpose()
    }

    /// The run whose identifier begins so, in upper or lower case. None when there is none; more than one is an error
    /// that lists them.
    pub async fn find(&self, prefix: &str) -> Result<Option<RunId>, StoreError> {
        // `~` sorts behind all characters of an identifier.
        let query = sqlx::query("SELECT id FROM runs WHERE id >= ?1 AND id < ?1 || '~' ORDER BY id LIMIT 10")
            .bind(prefix.to_ascii_uppercase());
        let mut ids = self.all(query, |row| row::read_id(row, "id")).await?;
        match ids.len() {
            0 | 1 => Ok(ids.pop()),
            _ => Err(StoreError::Ambiguous {
                prefix: prefix.to_owned(),
                runs: ids.into_iter().map(|id| id.0.into()).collect(),
            }),
        }
    }

    /// Runs, newest first.
    pub async fn runs(&self, filter: &RunFilter, limit: u32) -> Result<Vec<Run>, StoreError> {
        let RunFilter { task, outcome, phase, before } = filter;
        let conditions = [
            task.as_ref().map(|_| "task = ?1"),
            outcome.as_ref().map(|_| "outcome = ?2"),
            phase.map(|_| "phase = ?3"),
            // Tells SQLite that the small index of open runs will do.
            phase.filter(|phase| *phase != Phase::Done).map(|_| "ended IS NULL"),
            before.as_ref().map(|_| "id < ?4"),
        ];
        let conditions: Vec<&str> = conditions.into_iter().flatten().collect();
        let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let sql = format!("SELECT {} FROM runs WHERE {conditions} ORDER BY id DESC LIMIT ?5", row::RUN);
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(task.as_deref())
            .bind(outcome.as_deref())
            .bind(phase.map(|phase| row::name_of(&phase)))
            .bind(before.as_ref().map(|run| &*run.0))
            .bind(limit);
        self.all(query, row::read_run).await
    }

    /// Runs that are not over, oldest first: with their steps, all that a resumption needs.
    pub async fn unfinished(&self) -> Result<Vec<Run>, StoreError> {
        let sql = format!("SELECT {} FROM runs WHERE ended IS NULL ORDER BY id", row::RUN);
        self.all(sqlx::query(AssertSqlSafe(sql)), row::read_run).await
    }

    /// The newest run of each task that has any, by task.
    pub async fn last_run_per_task(&self) -> Result<Vec<Run>, StoreError> {
        // Jumps through the index from task to task instead of reading all of it.
        let sql = format!(
            "WITH RECURSIVE names (name) AS ( \
                 SELECT min(task) FROM runs \
                 UNION ALL SELECT (SELECT min(task) FROM runs WHERE task > name) FROM names WHERE name IS NOT NULL) \
             SELECT {} FROM names JOIN runs ON id = (SELECT max(id) FROM runs WHERE task = name) \
             ORDER BY task",
            row::RUN
        );
        self.all(sqlx::query(AssertSqlSafe(sql)), row::read_run).await
    }

    /// How many runs stand in each phase.
    pub async fn count_by_phase(&self) -> Result<BTreeMap<Phase, u64>, StoreError> {
        let query = sqlx::query(
            "SELECT phase, count(*) AS runs FROM runs WHERE ended IS NULL GROUP BY phase \
             UNION ALL SELECT 'done', (SELECT count(*) FROM runs) - (SELECT count(*) FROM runs WHERE ended IS NULL)",
        );
        let rows =
            self.all(query, |row| Ok((row::name(get(row, "phase")?)?, row::unsigned(get(row, "runs")?)))).await?;
        Ok(rows.into_iter().filter(|(_, runs)| *runs > 0).collect())
    }

    /// The steps of a run in the order of its plan.
    pub async fn steps(&self, run: &RunId) -> Result<Vec<Step>, StoreError> {
        let sql = format!("SELECT {} FROM steps WHERE run = ?1 ORDER BY ordinal", row::STEP);
        self.all(sqlx::query(AssertSqlSafe(sql)).bind(&*run.0), row::read_step).await
    }

    /// The newest slots, of one task or of all.
    pub async fn slots(&self, task: Option<&str>, limit: u32) -> Result<Vec<Slot>, StoreError> {
        let condition = if task.is_some() { "task = ?1" } else { "true" };
        let sql = format!(
            "SELECT task, due, decision, reason, run FROM slots WHERE {condition} ORDER BY due DESC, task LIMIT ?2"
        );
        self.all(sqlx::query(AssertSqlSafe(sql)).bind(task).bind(limit), row::read_slot).await
    }

    /// Up to when each task's slots are decided.
    pub async fn cursors(&self) -> Result<HashMap<String, Timestamp>, StoreError> {
        let query = sqlx::query("SELECT task, at FROM cursors");
        let rows = self.all(query, |row| Ok((get(row, "task")?, Timestamp(get(row, "at")?)))).await?;
        Ok(rows.into_iter().collect())
    }

    /// Log records of a run in the order in which they came, each with its number; only those behind the number
    /// `after`, so that a log can be followed. 0 is before the first.
    pub async fn logs(&self, run: &RunId, after: i64, limit: u32) -> Result<Vec<(i64, LogRecord)>, StoreError> {
        let query = sqlx::query(
            "SELECT id, run, at, step, level, message, fields FROM logs WHERE run = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        )
        .bind(&*run.0)
        .bind(after)
        .bind(limit);
        self.all(query, |row| Ok((get(row, "id")?, row::read_log(row)?))).await
    }

    /// What the plugin summed up, when it got that far.
    pub async fn report(&self, run: &RunId) -> Result<Option<Report>, StoreError> {
        let query = sqlx::query("SELECT summary, text, tables FROM reports WHERE run = ?1").bind(&*run.0);
        let report = self.all(query, |row| {
            Ok(Report {
                summary: get(row, "summary")?,
                text: get(row, "text")?,
                tables: row::from_json(get(row, "tables")?)?,
                ..Report::default()
            })
        });
        let Some(mut report) = report.await?.pop() else {
            return Ok(None);
        };
        let sql = format!("SELECT {} FROM findings WHERE run = ?1 ORDER BY ordinal", finding::FINDING);
        let query = sqlx::query(AssertSqlSafe(sql)).bind(&*run.0);
        let found = self.all(query, finding::read_finding).await?;
        let is_there = |it: &Finding| it.state != Some(FindingState::Fixed);
        (report.findings, report.fixed) = found.into_iter().partition(is_there);
        Ok(Some(report))
    }

    /// The documents of a run without their content: names and sizes in bytes.
    pub async fn documents(&self, run: &RunId) -> Result<Vec<(String, u64)>, StoreError> {
        let query =
            sqlx::query("SELECT name, octet_length(content) AS size FROM documents WHERE run = ?1 ORDER BY name");
        self.all(query.bind(&*run.0), |row| Ok((get(row, "name")?, row::unsigned(get(row, "size")?)))).await
    }

    /// One document of a run.
    pub async fn document(&self, run: &RunId, name: &str) -> Result<Option<Document>, StoreError> {
        let query = sqlx::query("SELECT name, media_type, content FROM documents WHERE run = ?1 AND name = ?2");
        let mut found = self
            .all(query.bind(&*run.0).bind(name), |row| {
                let (name, media_type) = (get(row, "name")?, get(row, "media_type")?);
                Ok(Document { name, media_type, content: get(row, "content")? })
            })
            .await?;
        Ok(found.pop())
    }

    /// The metrics of a run, by name and labels.
    pub async fn metrics(&self, run: &RunId) -> Result<Vec<Metric>, StoreError> {
        let query = sqlx::query(
            "SELECT name, labels, kind, value, count, min, max FROM metrics WHERE run = ?1 ORDER BY name, labels",
        )
        .bind(&*run.0);
        self.all(query, |row| {
            Ok(Metric {
                name: get(row, "name")?,
                labels: row::from_json(get(row, "labels")?)?,
                value: row::read_metric(row)?,
            })
        })
        .await
    }

    /// One key of a task's state.
    pub async fn state_get(&self, task: &str, key: &str) -> Result<Option<StateValue>, StoreError> {
        let query = sqlx::query("SELECT value, version FROM state WHERE task = ?1 AND key = ?2").bind(task).bind(key);
        let value = self
            .all(query, |row| {
                Ok(StateValue { value: get(row, "value")?, version: row::unsigned(get(row, "version")?) })
            })
            .await?;
        Ok(value.into_iter().next())
    }

    /// The keys of a task that begin with `prefix` and sort behind `after`, in order.
    pub async fn state_keys(
        &self,
        task: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        // All that begins with the prefix sorts before the prefix with the last of all characters behind it.
        let query = sqlx::query(
            "SELECT key FROM state \
             WHERE task = ?1 AND key >= max(?2, ifnull(?3, '')) AND key IS NOT ?3 AND key < ?2 || char(0x10ffff) \
             ORDER BY key LIMIT ?4",
        );
        let query = query.bind(task).bind(prefix).bind(after).bind(limit);
        self.all(query, |row| get(row, "key")).await
    }

    /// The runs that a sweep lets go.
    pub(super) async fn expired_runs(&self, mut sweep: Sweep) -> Result<Vec<RunId>, StoreError> {
        let query = sqlx::query("SELECT task, id, ended FROM runs ORDER BY task DESC, id DESC");
        let mut rows = query.fetch(&self.pool);
        let mut expired = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(|error| self.failed(error))? {
            if sweep.goes(get(&row, "task")?, get::<Option<i64>>(&row, "ended")?.map(Timestamp)) {
                expired.push(row::read_id(&row, "id")?);
            }
        }
        Ok(expired)
    }

    /// Task and time of slots that were due before `cutoff`.
    pub(super) async fn expired_slots(&self, cutoff: Timestamp, limit: u32) -> Result<Vec<(String, i64)>, StoreError> {
        let query = sqlx::query("SELECT task, due FROM slots WHERE due < ?1 LIMIT ?2").bind(cutoff.0).bind(limit);
        self.all(query, |row| Ok((get(row, "task")?, get(row, "due")?))).await
    }

    /// Numbers of log records of some runs.
    pub(super) async fn log_numbers(&self, runs: &[RunId], limit: u32) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT id FROM logs WHERE run IN (SELECT value FROM json_each(?1)) LIMIT ?2";
        self.all(sqlx::query(sql).bind(row::json(runs)).bind(limit), |row| get(row, "id")).await
    }

    /// Steps of some runs: run and place.
    pub(super) async fn step_numbers(&self, runs: &[RunId], limit: u32) -> Result<Vec<(String, i64)>, StoreError> {
        let sql = "SELECT run, ordinal FROM steps WHERE run IN (SELECT value FROM json_each(?1)) LIMIT ?2";
        let query = sqlx::query(sql).bind(row::json(runs)).bind(limit);
        self.all(query, |row| Ok((get(row, "run")?, get(row, "ordinal")?))).await
    }

    /// Closes the connections, after which every question fails.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) async fn all<T>(
        &self,
        query: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
        read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = query.fetch_all(&self.pool).await.map_err(|error| self.failed(error))?;
        rows.iter().map(read).collect()
    }

    fn failed(&self, error: sqlx::Error) -> StoreError {
        StoreError::sqlite(&self.path, error)
    }
}
