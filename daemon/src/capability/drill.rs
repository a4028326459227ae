//! Restoring on trial, with `[grant.drill]` and the right "restore". The work is in [`crate::drill`]; here stand the grants
//! and the narrow questions: a guest learns counts, checksums and rows, and never gets a file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::Resource;

use crate::abi::drill as abi;
use crate::capability::repository::Repo;
use crate::capability::{Host, HostError, blocking};
use crate::config::grant::{DrillGrant, RepositoryAccess};
use crate::database::DatabaseError;
use crate::drill::{self, DrillError};
use crate::repository::Repository;

/// A folder that was restored.
pub struct Restored(Arc<drill::Restored>);

/// A database that was loaded.
pub struct Database(Arc<Mutex<drill::Loaded>>);

impl From<DrillError> for HostError {
    fn from(error: DrillError) -> Self {
        match error {
            DrillError::Repository(error) => error.into(),
            DrillError::File(error) => Self::not_found(error.to_string()),
            DrillError::Database(error @ DatabaseError::Failed { .. }) => Self::invalid(error.to_string()),
            DrillError::Database(error) => error.into(),
            DrillError::TooLarge { .. } | DrillError::NoRoom { .. } => {
                Self::Guest(crate::abi::types::Error::Limit(error.to_string()))
            }
            DrillError::Invalid(message) => Self::invalid(message),
            DrillError::Place { .. } | DrillError::Ended => Self::unavailable(error.to_string()),
        }
    }
}

impl Host {
    /// What a trial needs: the repository, the grant, the state directory.
    fn trial(&self, handle: &Resource<Repo>) -> Result<(Repository, DrillGrant, PathBuf), HostError> {
        let repository = self.repository_for(handle, RepositoryAccess::Restore)?;
        let Some(grant) = self.run.grants.drill.clone() else {
            return self.deny("a drill (the task file has no `grant.drill`)");
        };
        let state = self.run.private.as_ref().and_then(|private| private.parent());
        let state = state.ok_or_else(|| HostError::unavailable("a drill needs a state directory to be noted in"))?;
        Ok((repository, grant, state.to_owned()))
    }
}

fn absolute(path: &str) -> Result<PathBuf, HostError> {
    match Path::new(path).is_absolute() {
        true => Ok(PathBuf::from(path)),
        false => Err(HostError::invalid(format!("`{path}` is not absolute; write it as the snapshot has it"))),
    }
}

fn held(loaded: &Mutex<drill::Loaded>) -> MutexGuard<'_, drill::Loaded> {
    loaded.lock().unwrap_or_else(PoisonError::into_inner)
}

impl abi::Host for Host {}

impl abi::HostRestored for Host {
    async fn restore(
        &mut self,
        repository: Resource<Repo>,
        snapshot: String,
        path: String,
    ) -> Result<Resource<Restored>, HostError> {
        let (repository, grant, state) = self.trial(&repository)?;
        let (path, tell) = (absolute(&path)?, self.teller());
        let restored = blocking(move || {
            let snapshot = repository.find(&snapshot, |_| true)?;
            drill::Restored::make(&repository, &snapshot, &path, &grant, &state, tell)
        });
        let restored = Restored(Arc::new(restored.await??));
        self.push(restored)
    }

    async fn facts(&mut self, handle: Resource<Restored>) -> wasmtime::Result<abi::Facts> {
        let Restored(restored) = self.table.get(&handle)?;
        let result = &restored.result;
        Ok(abi::Facts {
            files: result.files,
            folders: result.folders,
            bytes: result.bytes,
            duration_ms: restored.duration_ms,
            differences: result.differences.clone(),
        })
    }

    async fn count(&mut self, handle: Resource<Restored>, patterns: Vec<String>) -> Result<abi::Tally, HostError> {
        let restored = Arc::clone(&self.table.get(&handle)?.0);
        let tally = blocking(move || restored.count(&patterns)).await??;
        Ok(abi::Tally { files: tally.files, bytes: tally.bytes, newest: tally.newest.map(|newest| newest.0) })
    }

    async fn checksum(&mut self, handle: Resource<Restored>, path: String) -> Result<String, HostError> {
        let (restored, path) = (Arc::clone(&self.table.get(&handle)?.0), absolute(&path)?);
        Ok(blocking(move || restored.checksum(&path)).await??)
    }

    async fn drop(&mut self, handle: Resource<Restored>) -> wasmtime::Result<()> {
        let restored = self.table.delete(handle)?;
        // Removing a million files takes its time.
        let _ = tokio::task::spawn_blocking(move || drop(restored)).await;
        Ok(())
    }
}

impl abi::HostDatabase for Host {
    async fn load(
        &mut self,
        repository: Resource<Repo>,
        snapshot: String,
        path: String,
    ) -> Result<Resource<Database>, HostError> {
        let (repository, grant, state) = self.trial(&repository)?;
        let (path, tell, cancel) = (absolute(&path)?, self.teller(), self.run.cancel.clone());
        let loaded = blocking(move || {
            let snapshot = repository.find(&snapshot, |_| true)?;
            drill::Loaded::make(&repository, &snapshot, &path, &grant, &state, &cancel, &tell)
        });
        let loaded = Database(Arc::new(Mutex::new(loaded.await??)));
        self.push(loaded)
    }

    async fn facts(&mut self, handle: Resource<Database>) -> wasmtime::Result<abi::LoadFacts> {
        let Database(loaded) = self.table.get(&handle)?;
        let loaded = held(loaded);
        Ok(abi::LoadFacts {
            engine: loaded.engine().to_string(),
            databases: loaded.databases.clone(),
            bytes: loaded.bytes,
            duration_ms: loaded.duration_ms,
            remarks: loaded.remarks.clone(),
        })
    }

    async fn query(
        &mut self,
        handle: Resource<Database>,
        name: String,
        statement: String,
    ) -> Result<abi::Answer, HostError> {
        let loaded = Arc::clone(&self.table.get(&handle)?.0);
        let answer = blocking(move || held(&loaded).query(&name, &statement)).await??;
        let most = self.run.limits.call;
        let bytes: usize = answer.rows.rows.iter().flatten().map(|value| value.as_ref().map_or(0, String::len)).sum();
        if bytes > most.bytes() {
            return self.exceed("call", format!("an answer of {bytes} bytes, {most} allowed (limits.call)"));
        }
        Ok(abi::Answer { columns: answer.rows.columns, rows: answer.rows.rows, more: answer.more })
    }

    async fn foreign_keys(&mut self, handle: Resource<Database>, name: String) -> Result<abi::ForeignKeys, HostError> {
        let loaded = Arc::clone(&self.table.get(&handle)?.0);
        let found = blocking(move || held(&loaded).foreign_keys(&name)).await??;
        Ok(abi::ForeignKeys { checked: found.checked, broken: found.broken })
    }

    async fn drop(&mut self, handle: Resource<Database>) -> wasmtime::Result<()> {
        let loaded = self.table.delete(handle)?;
        // The server is given time to stop.
        let _ = tokio::task::spawn_blocking(move || drop(loaded)).await;
        Ok(())
    }
}
