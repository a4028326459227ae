//! SQL databases that the task file names, and one that belongs to the task alone.
//!
//! Each call takes a connection of its own from a small pool, so that rows which are being read do not stand in the way of
//! the next statement; a transaction is therefore one call, `batch`. Rows are streamed: the host holds a few, whatever
//! the query gives. What the kinds of database do differently is in [`crate::sql`].

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;
use wasmtime::component::Resource;

use crate::abi::sql as abi;
use crate::capability::{Host, HostError, blocking};
use crate::config::sql::{PRIVATE, SqlAccess, SqlGrant};
use crate::sql::{Answer, Meaning, Pool, Refusal, mariadb, postgresql, sqlite};

/// A granted database.
pub struct Connection {
    name: Arc<str>,
    may_write: bool,
    pool: Pool,
}

/// Rows of a query.
pub struct Rows {
    name: Arc<str>,
    columns: Vec<String>,
    rows: mpsc::Receiver<Result<Vec<abi::Value>, Refusal>>,
    /// A row that did not fit into the last call.
    carried: Option<Vec<abi::Value>>,
    /// Rows that the query may still give.
    left: u64,
    /// Ends the query when the guest drops the rows.
    _stop: DropGuard,
}

fn size(row: &[abi::Value]) -> usize {
    row.iter()
        .map(|value| match value {
            abi::Value::Text(text) => 16 + text.len(),
            abi::Value::Blob(blob) => 16 + blob.len(),
            _ => 16,
        })
        .sum()
}

/// Where a task's own database is; its folder is made.
fn private_file(folder: Option<PathBuf>, task: &str) -> Result<PathBuf, String> {
    let folder = folder.ok_or("`private`: there is no state directory to keep it in")?;
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder) {
        Ok(()) => Ok(folder.join(format!("{task}.sqlite"))),
        Err(error) => Err(format!("`private`: {}: {error}", folder.display())),
    }
}

impl Host {
    fn refuse_sql<T>(&mut self, name: &str, refusal: Refusal) -> Result<T, HostError> {
        let message = format!("`{name}`: {refusal}");
        let meaning = match refusal {
            Refusal::Parameters { .. } | Refusal::OpenTransaction | Refusal::Type { .. } => Meaning::Invalid,
            Refusal::AllOpen => Meaning::Unavailable,
            Refusal::Failed { meaning, .. } => meaning,
        };
        match meaning {
            Meaning::ReadOnly => {
                self.deny(format!("write to the database `{name}` (`grant.sql.{name}.access` does not hold \"write\")"))
            }
            Meaning::Outside => self.deny(format!(
                "a statement that reaches out of the database `{name}` or changes how it is opened; \
                 `grant.sql.{name}` grants only what is in it"
            )),
            Meaning::TooLong => {
                let most = self.run.limits.call;
                self.exceed("call", format!("`{name}`: a value of more than {most} (limits.call)"))
            }
            Meaning::Conflict => Err(HostError::conflict(message)),
            Meaning::Interrupted => Err(HostError::unavailable(format!("`{name}`: the run was ended"))),
            Meaning::Invalid => Err(HostError::invalid(message)),
            Meaning::Unavailable => Err(HostError::unavailable(message)),
        }
    }

    /// The database of a handle, to write to.
    fn writable(&mut self, handle: &Resource<Connection>) -> Result<(Arc<str>, Pool), HostError> {
        let Connection { name, may_write, pool } = self.table.get(handle)?;
        match may_write {
            true => Ok((Arc::clone(name), pool.clone())),
            false => {
                let name = Arc::clone(name);
                self.deny(format!("write to the database `{name}` (`grant.sql.{name}.access` does not hold \"write\")"))
            }
        }
    }

    /// Opens the file of SQLite that is granted.
    async fn open_sqlite(&mut self, name: &str, grant: SqlGrant, may_write: bool) -> Result<Pool, HostError> {
        let (file, how) = if name == PRIVATE {
            let (folder, task) = (self.run.private.clone(), Arc::clone(&self.run.task));
            let file = blocking(move || private_file(folder, &task)).await?.map_err(HostError::unavailable)?;
            (file, sqlite::Open::Private)
        } else {
            let file = grant.sqlite.unwrap_or_default();
            let looked_for = file.clone();
            if !blocking(move || looked_for.try_exists()).await?.is_ok_and(|found| found) {
                return Err(HostError::not_found(format!(
                    "`grant.sql.{name}.sqlite`: {} does not exist",
                    file.display()
                )));
            }
            (file, if may_write { sqlite::Open::Write } else { sqlite::Open::Read })
        };
        let opened = sqlite::open(&file, how, self.run.limits.call).await;
        opened.or_else(|refusal| self.refuse_sql(name, refusal))
    }
}

impl abi::Host for Host {}

impl abi::HostConnection for Host {
    async fn open(&mut self, name: String) -> Result<Resource<Connection>, HostError> {
        let Some(grant) = self.run.grants.sql.get(&name).cloned() else {
            return self.deny(format!("the database `{name}` (the task file has no `grant.sql.{name}`)"));
        };
        let may_write = name == PRIVATE || grant.access.contains(&SqlAccess::Write);
        let secret = |error: crate::config::secret::SecretError| {
            HostError::unavailable(format!("the password of the database `{name}`: {error}"))
        };
        let pool = match (&grant.postgresql, &grant.mariadb) {
            (Some(server), _) => {
                let server = server.clone();
                let options = blocking(move || postgresql::options(&server)).await?.map_err(secret)?;
                postgresql::open(options).await
            }
            (_, Some(server)) => {
                let server = server.clone();
                let options = blocking(move || mariadb::options(&server)).await?.map_err(secret)?;
                mariadb::open(options).await
            }
            (None, None) => Ok(self.open_sqlite(&name, grant, may_write).await?),
        };
        match pool {
            Ok(pool) => self.push(Connection { name: name.into(), may_write, pool }),
            Err(refusal) => self.refuse_sql(&format!("grant.sql.{name}"), refusal),
        }
    }

    async fn dialect(&mut self, handle: Resource<Connection>) -> wasmtime::Result<abi::Dialect> {
        Ok(self.table.get(&handle)?.pool.dialect())
    }

    async fn query(
        &mut self,
        handle: Resource<Connection>,
        statement: String,
        parameters: Vec<abi::Value>,
    ) -> Result<Resource<Rows>, HostError> {
        let Connection { name, may_write, pool } = self.table.get(&handle)?;
        let (name, may_write, pool) = (Arc::clone(name), *may_write, pool.clone());
        let stop = self.run.cancel.child_token();
        match pool.query((statement, parameters), may_write, stop.clone()).await {
            Ok(Answer { columns, rows }) => {
                let left = self.run.limits.rows;
                self.push(Rows { name, columns, rows, carried: None, left, _stop: stop.drop_guard() })
            }
            Err(refusal) => self.refuse_sql(&name, refusal),
        }
    }

    async fn execute(
        &mut self,
        handle: Resource<Connection>,
        statement: String,
        parameters: Vec<abi::Value>,
    ) -> Result<u64, HostError> {
        let (name, pool) = self.writable(&handle)?;
        let changed = pool.execute((statement, parameters), &self.run.cancel.child_token()).await;
        changed.or_else(|refusal| self.refuse_sql(&name, refusal))
    }

    async fn batch(
        &mut self,
        handle: Resource<Connection>,
        statements: Vec<(String, Vec<abi::Value>)>,
    ) -> Result<Vec<u64>, HostError> {
        let (name, pool) = self.writable(&handle)?;
        let changed = pool.batch(statements, &self.run.cancel.child_token()).await;
        changed.or_else(|refusal| self.refuse_sql(&name, refusal))
    }

    async fn drop(&mut self, handle: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl abi::HostRows for Host {
    async fn columns(&mut self, handle: Resource<Rows>) -> wasmtime::Result<Vec<String>> {
        Ok(self.table.get(&handle)?.columns.clone())
    }

    async fn next(&mut self, handle: Resource<Rows>, max: u32) -> Result<Vec<Vec<abi::Value>>, HostError> {
        if max == 0 {
            return Err(HostError::invalid("`next` of rows: `max` is at least 1"));
        }
        let (most, most_rows) = (self.run.limits.call, self.run.limits.rows);
        let rows = self.table.get_mut(&handle)?;
        let mut given = Vec::new();
        let mut bytes = 0;
        while given.len() < max as usize {
            let row = match rows.carried.take() {
                Some(row) => row,
                None => match rows.rows.recv().await {
                    None => break,
                    Some(Ok(row)) => row,
                    Some(Err(error)) => {
                        let name = Arc::clone(&rows.name);
                        return self.refuse_sql(&name, error);
                    }
                },
            };
            let name = Arc::clone(&rows.name);
            if rows.left == 0 {
                return self.exceed("rows", format!("`{name}`: a query of more than {most_rows} rows (limits.rows)"));
            }
            let size = size(&row);
            if size > most.bytes() {
                return self.exceed("call", format!("`{name}`: a row of {size} bytes, {most} allowed (limits.call)"));
            }
            if bytes + size > most.bytes() {
                rows.carried = Some(row);
                break;
            }
            bytes += size;
            rows.left -= 1;
            given.push(row);
        }
        // An empty list would say that the query is complete.
        match given.is_empty() && self.run.cancel.is_cancelled() {
            true => Err(HostError::unavailable("the run was ended")),
            false => Ok(given),
        }
    }

    async fn drop(&mut self, handle: Resource<Rows>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
