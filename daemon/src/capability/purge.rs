//! Rows that have passed their time. The engine is [`crate::rows`]; here stand the grant, the ceilings, the events and the
//! order: count, compare with the ceilings, save, remove.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::Resource;

use crate::abi::purge as abi;
use crate::abi::sql::Value as AbiValue;
use crate::abi::types::{Block, Cause};
use crate::capability::removal::backup;
use crate::capability::repository::Repo;
use crate::capability::{Host, HostError, blocking};
use crate::clock;
use crate::config::check::timezone_help;
use crate::config::grant::RepositoryAccess;
use crate::config::sql::{RowRemoval, SqlAccess, SqlGrant};
use crate::database::names;
use crate::event::Event;
use crate::repository::Repository;
use crate::repository::stream::{Open, StreamSource};
use crate::rows::purge::{Options, Removed, above, limit, remove, remove_saved};
use crate::rows::save::{Ledger, Place, RowReader, take};
use crate::rows::{self, Clock, Count, Maintenance, RowsError, Selection, Table, Value, Way};

impl From<RowsError> for HostError {
    fn from(error: RowsError) -> Self {
        let message = error.to_string();
        match error {
            RowsError::Missing(_) => Self::not_found(message),
            RowsError::Invalid(_) => Self::invalid(message),
            RowsError::Beyond(_) => Self::Guest(crate::abi::types::Error::Denied(message)),
            RowsError::Refused(_) => Self::conflict(message),
            RowsError::Secret { .. } | RowsError::Busy(_) | RowsError::Failed(_) | RowsError::Ended => {
                Self::unavailable(message)
            }
        }
    }
}

/// The folder by which a snapshot names the rows of the grant `name`.
fn folder(name: &str) -> PathBuf {
    Path::new("/upkeep-rows").join(names::file(name, ""))
}

fn selection(asked: abi::Selection) -> Result<Selection, HostError> {
    let abi::Selection { database: _, table, column, clock, timezone, before, equal } = asked;
    let timezone = timezone
        .parse()
        .map_err(|_| HostError::invalid(format!("`{timezone}` is no time zone; {}", timezone_help(&timezone))))?;
    let clock = clock.map(|clock| match clock {
        abi::Clock::UnixSeconds => Clock::UnixSeconds,
        abi::Clock::UnixMilliseconds => Clock::UnixMilliseconds,
        abi::Clock::UnixMicroseconds => Clock::UnixMicroseconds,
        abi::Clock::IsoText => Clock::IsoText,
    });
    let value = |value| match value {
        AbiValue::Null => Value::Null,
        AbiValue::Integer(number) => Value::Integer(number),
        AbiValue::Real(number) => Value::Real(number),
        AbiValue::Text(text) => Value::Text(text),
        AbiValue::Blob(blob) => Value::Blob(blob),
    };
    let equal = equal.into_iter().map(|(column, it)| (column, value(it))).collect();
    Ok(Selection { table, column, clock, timezone, before, equal })
}

fn options(asked: abi::Options) -> Result<Options, HostError> {
    let abi::Options { chunk_ms, chunk_rows, pause_ms } = asked;
    if !(1..=10_000).contains(&chunk_ms) || !(1..=1_000_000).contains(&chunk_rows) || pause_ms > 60_000 {
        return Err(HostError::invalid(
            "`chunk-ms` is from 1 to 10,000, `chunk-rows` from 1 to 1,000,000, `pause-ms` at most 60,000",
        ));
    }
    let milliseconds = |count: u32| Duration::from_millis(count.into());
    Ok(Options { chunk: milliseconds(chunk_ms), rows: chunk_rows.into(), pause: milliseconds(pause_ms) })
}

impl From<Way> for abi::Way {
    fn from(way: Way) -> Self {
        match way {
            Way::TimeIndex => Self::TimeIndex,
            Way::WholeTable => Self::WholeTable,
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A database that rows may go from, and the table.
struct Granted {
    name: String,
    grant: SqlGrant,
    removal: RowRemoval,
    selection: Selection,
}

impl Granted {
    /// Opens the table; with `alone` nothing may go along with its rows.
    fn open(&self, alone: bool) -> Result<Box<dyn Table>, RowsError> {
        rows::open(&self.name, &self.grant, &self.selection, &self.removal.tables, alone)
    }
}

impl Host {
    fn sql_grant(&self, name: &str, right: SqlAccess, word: &str) -> Result<SqlGrant, HostError> {
        let Some(grant) = self.run.grants.sql.get(name) else {
            return self.deny(format!("the database `{name}` (the task file has no `grant.sql.{name}`)"));
        };
        if !grant.access.contains(&right) {
            return self
                .deny(format!("{word} in the database `{name}` (`grant.sql.{name}.access` does not hold \"{word}\")"));
        }
        Ok(grant.clone())
    }

    fn rows_grant(&self, asked: abi::Selection) -> Result<Granted, HostError> {
        let name = asked.database.clone();
        let grant = self.sql_grant(&name, SqlAccess::Remove, "remove")?;
        let table = &asked.table;
        let Some(removal) = grant.removal.clone().filter(|removal| removal.tables.contains(table)) else {
            return self.deny(format!(
                "remove rows of the table `{table}` (`grant.sql.{name}.removal.tables` does not name it)"
            ));
        };
        Ok(Granted { name, grant, removal, selection: selection(asked)? })
    }

    /// Remembers a denial that the engine gave.
    fn rows_error(&self, error: RowsError) -> HostError {
        match error {
            RowsError::Beyond(what) => match self.deny::<()>(what) {
                Err(error) => error,
                Ok(()) => HostError::invalid("denied"),
            },
            error => error.into(),
        }
    }

    /// Opens the table and counts.
    async fn count_rows(&mut self, granted: &Arc<Granted>, alone: bool) -> Result<(Box<dyn Table>, Count), HostError> {
        let (granted, cancel) = (Arc::clone(granted), self.run.cancel.clone());
        let counted = blocking(move || {
            let mut table = granted.open(alone)?;
            let count = table.count(&cancel)?;
            Ok((table, count))
        });
        counted.await?.map_err(|error| self.rows_error(error))
    }

    /// Why so many rows would not be removed. All that can stand in the way is found here, for the plan and for the step.
    async fn row_blocks(&mut self, granted: &Granted, count: &Count) -> Result<Vec<Block>, HostError> {
        let Granted { name, removal, selection, .. } = granted;
        let ceilings = above(name, &selection.table, removal, count).into_iter();
        let mut blocks: Vec<_> = ceilings.map(|message| Block { cause: Cause::Ceiling, message }).collect();
        let run = Arc::clone(&self.run);
        if count.rows > 0
            && let Some(wanted) = &removal.require_backup
            && let Some(missing) = backup::missing(&run, wanted, clock::now()).await?
        {
            let table = &selection.table;
            let message = format!("no row goes from `{table}`: {missing} (`grant.sql.{name}.removal.require_backup`)");
            blocks.push(Block { cause: Cause::Backup, message });
        }
        Ok(blocks)
    }

    fn row_teller(&self, total: u64) -> impl Fn(u64) + Send + 'static {
        let (run, step) = (Arc::clone(&self.run), self.call.step());
        move |done| {
            if let Some(ordinal) = step
                && run.events.heard()
            {
                let (run_id, unit, total) = (run.id.clone(), "rows".to_owned(), Some(total));
                run.events.send(Event::Progress { run: run_id, ordinal, done, total, unit });
            }
        }
    }

    /// Saves the rows as one snapshot; the ledger says which they are.
    async fn save_rows(
        &mut self,
        granted: &Granted,
        table: Box<dyn Table>,
        limit: u64,
        repository: Repository,
        tags: Vec<String>,
    ) -> Result<(abi::Saved, Ledger), HostError> {
        let place = Place::default();
        let folder = folder(&granted.name);
        let file = names::file(&granted.selection.table, ".jsonl");
        let path = folder.join(&file).display().to_string();
        let (scratch, noted) = (self.run.scratch.clone(), Arc::clone(&place));
        let open: Open = Box::new(move |_| {
            let reader = RowReader::new(table, limit, &scratch, noted);
            Ok(Box::new(reader.map_err(|error| std::io::Error::other(error.to_string()))?))
        });
        let source = StreamSource::new(folder, vec![(file, open)], self.watch());
        let summary = self.archive(repository, source, tags).await?;
        // A snapshot that is there without all rows read would be a bug; then nothing may go.
        let ledger = take(&place).ok_or_else(|| HostError::unavailable("the rows were not saved to their end"))?;
        Ok((abi::Saved { summary: summary.into(), path, rows: ledger.count }, ledger))
    }
}

impl abi::Host for Host {
    async fn count(&mut self, asked: abi::Selection) -> Result<abi::Estimate, HostError> {
        let granted = Arc::new(self.rows_grant(asked)?);
        let (table, count) = self.count_rows(&granted, false).await?;
        let way = table.way(&count).into();
        // A connection that is closed may wait for its server.
        blocking(move || drop(table)).await?;
        let blocks = self.row_blocks(&granted, &count).await?;
        let Count { rows, rows_counted, total, total_counted, oldest, bytes } = count;
        Ok(abi::Estimate { rows, rows_counted, total, total_counted, oldest, way, bytes, blocks })
    }

    async fn carry_out(
        &mut self,
        asked: abi::Selection,
        asked_options: abi::Options,
        save: Option<Resource<Repo>>,
        tags: Vec<String>,
    ) -> Result<abi::Outcome, HostError> {
        if self.call.step().is_none() {
            return Err(HostError::invalid("rows are removed only while a step executes"));
        }
        let began = Instant::now();
        let options = options(asked_options)?;
        let repository = save.map(|handle| self.repository_for(&handle, RepositoryAccess::Append)).transpose()?;
        let granted = Arc::new(self.rows_grant(asked)?);
        let (mut table, count) = self.count_rows(&granted, repository.is_some()).await?;
        let blocks = self.row_blocks(&granted, &count).await?;
        if !blocks.is_empty() {
            return Ok(abi::Outcome::Blocked(blocks));
        }
        let (mut way, limit) = (table.way(&count), limit(&granted.removal, &count));
        let (cancel, tell) = (self.run.cancel.clone(), self.row_teller(limit));
        let mut saved = None;
        let removed = match repository {
            Some(repository) if limit > 0 => {
                way = Way::WholeTable;
                let (done, ledger) = self.save_rows(&granted, table, limit, repository, tags).await?;
                saved = Some(done);
                let granted = Arc::clone(&granted);
                blocking(move || {
                    let mut table = granted.open(true)?;
                    remove_saved(&mut *table, &ledger, options, &cancel, &tell)
                })
                .await?
            }
            _ => blocking(move || remove(&mut *table, way, limit, options, &cancel, &tell)).await?,
        };
        let Removed { removed, chunks, longest, kept, stopped } = removed.map_err(|error| self.rows_error(error))?;
        Ok(abi::Outcome::Done(abi::Done {
            removed,
            chunks,
            longest_ms: milliseconds(longest),
            duration_ms: milliseconds(began.elapsed()),
            way: way.into(),
            saved,
            kept,
            stopped,
        }))
    }

    async fn maintain(
        &mut self,
        database: String,
        kind: abi::Maintenance,
        table: Option<String>,
    ) -> Result<abi::Maintained, HostError> {
        if self.call.step().is_none() {
            return Err(HostError::invalid("a database is looked after only while a step executes"));
        }
        let grant = self.sql_grant(&database, SqlAccess::Maintain, "maintain")?;
        let kind = match kind {
            abi::Maintenance::Vacuum => Maintenance::Vacuum,
            abi::Maintenance::Optimize => Maintenance::Optimize,
        };
        let (began, cancel) = (Instant::now(), self.run.cancel.clone());
        let done = blocking(move || rows::maintain(&database, &grant, kind, table.as_deref(), &cancel)).await?;
        let rows::Maintained { bytes_before, bytes_after } = done.map_err(|error| self.rows_error(error))?;
        Ok(abi::Maintained { bytes_before, bytes_after, duration_ms: milliseconds(began.elapsed()) })
    }
}

#[cfg(test)]
mod tests;
