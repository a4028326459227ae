//! Holds: what must stay in backup repositories until the operator says otherwise. They are here and not in the
//! repository, so that whoever can write there cannot end one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Store;
use super::error::StoreError;
use super::read::Reader;
use super::row::get;
use super::rows::Statement;
use crate::clock::Timestamp;

/// A mark on what a task has in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hold {
    /// Identifier in the repository's config.
    pub repository: String,
    /// The task that placed it.
    pub task: String,
    /// Where the repository was.
    pub url: String,
    /// What looked wrong.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

impl Store {
    /// Places a hold, durable on return. False when the task held the repository already: then the first reason stays.
    pub async fn hold(&self, hold: &Hold) -> Result<bool, StoreError> {
        const INSERT: &str = "\
            INSERT INTO holds (repository, task, url, reason, since) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL ON CONFLICT (repository, task) DO NOTHING";
        let Hold { repository, task, url, reason, since } = hold.clone();
        let row = [repository.into(), task.into(), url.into(), reason.into(), since.into()];
        Ok(self.remove(Statement::new(INSERT, [row].into_iter())).await? > 0)
    }

    /// Ends holds. Returns how many there were.
    pub async fn release(&self, holds: &[Hold]) -> Result<u64, StoreError> {
        const DELETE: &str = "DELETE FROM holds WHERE (repository, task) IN (VALUES {rows})";
        let rows = holds.iter().map(|hold| [hold.repository.clone().into(), hold.task.clone().into()]);
        self.remove(Statement::new(DELETE, rows)).await
    }
}

impl Reader {
    /// All holds, of one repository or of all, the oldest first.
    pub async fn holds(&self, repository: Option<&str>) -> Result<Vec<Hold>, StoreError> {
        let query = sqlx::query(
            "SELECT repository, task, url, reason, since FROM holds \
             WHERE ?1 IS NULL OR repository = ?1 ORDER BY since, repository, task",
        );
        self.all(query.bind(repository), |row| {
            Ok(Hold {
                repository: get(row, "repository")?,
                task: get(row, "task")?,
                url: get(row, "url")?,
                reason: get(row, "reason")?,
                since: Timestamp(get(row, "since")?),
            })
        })
        .await
    }
}
