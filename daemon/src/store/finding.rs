//! Findings beyond one run: their lives, and which are ignored.

use sqlx::sqlite::SqliteRow;

use super::Store;
use super::error::StoreError;
use super::read::Reader;
use super::row::{self, get};
use super::rows::{Statement, Value};
use crate::clock::Timestamp;
use crate::record::finding::{Finding, IgnoredFinding, Life, Place};

/// Columns of a finding, in tables of lives and of runs alike.
pub(super) const FINDING: &str = "id, key, severity, title, detail, rule, path, line, fix, state, ignored";

/// The values of [`FINDING`].
pub(super) fn columns(finding: &Finding) -> [Value<'_>; 11] {
    let Finding { key, severity, title, detail, rule, place, fix, id, state, ignored } = finding;
    let (path, line) = place.as_ref().map(|place| (&place.path, place.line)).unzip();
    [
        id.into(),
        key.into(),
        Value::name(severity),
        title.into(),
        detail.into(),
        rule.as_ref().into(),
        path.into(),
        line.flatten().into(),
        fix.as_ref().into(),
        state.as_ref().map(row::name_of).into(),
        ignored.as_ref().map(row::json).into(),
    ]
}

pub(super) fn read_finding(row: &SqliteRow) -> Result<Finding, StoreError> {
    let line: Option<u32> = get(row, "line")?;
    let path: Option<String> = get(row, "path")?;
    Ok(Finding {
        key: get(row, "key")?,
        severity: row::name(get(row, "severity")?)?,
        title: get(row, "title")?,
        detail: get(row, "detail")?,
        rule: get(row, "rule")?,
        place: path.map(|path| Place { path, line }),
        fix: get(row, "fix")?,
        id: get::<Option<String>>(row, "id")?.unwrap_or_default(),
        state: get::<Option<&str>>(row, "state")?.map(row::name).transpose()?,
        ignored: get::<Option<&str>>(row, "ignored")?.map(row::from_json).transpose()?,
    })
}

impl Store {
    /// Ignores a finding; a later entry replaces an earlier one. Durable on return.
    pub async fn ignore(&self, entry: &IgnoredFinding) -> Result<(), StoreError> {
        const INSERT: &str = "\
            INSERT INTO ignores (id, task, reason, until, \"by\", since) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL \
            ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, until = excluded.until, \"by\" = excluded.\"by\", \
            since = excluded.since";
        let IgnoredFinding { id, task, reason, until, by, since } = entry.clone();
        let row = [id.into(), task.into(), reason.into(), until.to_string().into(), by.into(), since.into()];
        self.remove(Statement::new(INSERT, [row].into_iter())).await.map(|_| ())
    }

    /// Heeds a finding again. Whether it was ignored.
    pub async fn heed(&self, id: &str) -> Result<bool, StoreError> {
        const DELETE: &str = "DELETE FROM ignores WHERE id IN (VALUES {rows})";
        Ok(self.remove(Statement::new(DELETE, [[id.to_owned().into()]].into_iter())).await? > 0)
    }
}

impl Reader {
    /// The lives of findings, of one task or of all; the worst first.
    pub async fn lives(&self, task: Option<&str>) -> Result<Vec<Life>, StoreError> {
        let query = sqlx::query(
            "SELECT task, id, key, severity, title, detail, rule, path, line, fix, state, ignored, \
                    first_seen, last_seen, changed, run \
             FROM lives WHERE ?1 IS NULL OR task = ?1 ORDER BY task, id",
        );
        let mut lives = self.all(query.bind(task), read_life).await?;
        lives.sort_by(|a, b| (a.finding.rank(), b.finding.severity).cmp(&(b.finding.rank(), a.finding.severity)));
        Ok(lives)
    }

    /// The lives of findings of some severities, of all tasks.
    pub(super) async fn lives_of(&self, severities: &[&str]) -> Result<Vec<Life>, StoreError> {
        let query = sqlx::query(
            "SELECT task, id, key, severity, title, detail, rule, path, line, fix, state, ignored, \
                    first_seen, last_seen, changed, run \
             FROM lives WHERE severity IN (SELECT value FROM json_each(?1)) ORDER BY task, id LIMIT 10000",
        );
        self.all(query.bind(row::json(severities)), read_life).await
    }

    /// Findings that a person ignores, of one task or of all.
    pub async fn ignores(&self, task: Option<&str>) -> Result<Vec<IgnoredFinding>, StoreError> {
        let query = sqlx::query(
            "SELECT id, task, reason, until, \"by\", since FROM ignores WHERE ?1 IS NULL OR task = ?1 ORDER BY since, id",
        );
        self.all(query.bind(task), |row| {
            Ok(IgnoredFinding {
                id: get(row, "id")?,
                task: get(row, "task")?,
                reason: get(row, "reason")?,
                until: row::name(get(row, "until")?)?,
                by: get(row, "by")?,
                since: Timestamp(get(row, "since")?),
            })
        })
        .await
    }
}

fn read_life(row: &SqliteRow) -> Result<Life, StoreError> {
    Ok(Life {
        task: get(row, "task")?,
        finding: read_finding(row)?,
        first_seen: Timestamp(get(row, "first_seen")?),
        last_seen: Timestamp(get(row, "last_seen")?),
        changed: Timestamp(get(row, "changed")?),
        run: row::read_id(row, "run")?,
    })
}
