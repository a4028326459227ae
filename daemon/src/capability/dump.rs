//! Consistent dumps of databases, straight into a repository. How a database is dumped stands in [`crate::database`]; here
//! stand the grant and the way into the snapshot.

use wasmtime::component::Resource;

use crate::abi::dump as abi;
use crate::capability::repository::Repo;
use crate::capability::{Host, HostError, blocking};
use crate::config::dump::DumpGrant;
use crate::config::grant::RepositoryAccess;
use crate::database::{self, DatabaseError, sqlite};
use crate::repository::source::FileSource;
use crate::repository::stream::StreamSource;

impl From<DatabaseError> for HostError {
    fn from(error: DatabaseError) -> Self {
        let message = error.to_string();
        match error {
            DatabaseError::Missing(_) => Self::not_found(message),
            DatabaseError::Damaged { .. } | DatabaseError::Invalid(_) => Self::invalid(message),
            _ => Self::unavailable(message),
        }
    }
}

impl abi::Host for Host {
    async fn to_repository(
        &mut self,
        name: String,
        repository: Resource<Repo>,
        tags: Vec<String>,
    ) -> Result<abi::Saved, HostError> {
        let repository = self.repository_for(&repository, RepositoryAccess::Append)?;
        let Some(grant) = self.run.grants.dump.get(&name) else {
            return self.deny(format!("the database `{name}` (the task file has no `grant.dump.{name}`)"));
        };
        let DumpGrant::Sqlite(database) = grant else {
            let (grant, cancel) = (grant.clone(), self.run.cancel.clone());
            let dump = blocking(move || database::dump(&name, &grant, &cancel)).await??;
            let empty = dump.empty.clone();
            let source = StreamSource::of(dump, self.watch());
            let summary = self.archive(repository, source, tags).await?.into();
            return Ok(abi::Saved { summary, empty });
        };
        let (database, scratch) = (database.clone(), self.run.scratch.clone());
        let cancel = self.run.cancel.clone();
        let copied = blocking(move || {
            let copy = sqlite::copy(&database, &scratch, &cancel)?;
            let is_empty = sqlite::is_empty(&copy)?;
            // The name in the snapshot is the real one, as it is for folders.
            let database = std::fs::canonicalize(&database).unwrap_or(database);
            Ok::<_, DatabaseError>((copy, database, is_empty))
        });
        let (copy, database, is_empty) = copied.await??;
        let source = FileSource::new(copy.path().to_owned(), database, self.watch());
        let summary = self.archive(repository, source, tags).await;
        // Not before the archiver has read it.
        drop(copy);
        let empty = if is_empty { vec![name] } else { Vec::new() };
        Ok(abi::Saved { summary: summary?.into(), empty })
    }
}
