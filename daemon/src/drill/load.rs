//! A database that comes back on trial: its dump is read from the snapshot straight into a server of its own, without a
//! file in between.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustic_core::repofile::Node;
use tokio_util::sync::CancellationToken;

use crate::config::grant::DrillGrant;
use crate::database::names::GLOBALS;
use crate::database::{DatabaseError, Engine, ForeignKeys, Rows, Scratch, ScratchOptions};
use crate::drill::folder::fits;
use crate::drill::{DrillError, Place};
use crate::repository::browse::Reader;
use crate::repository::{Counter, Repository, Snapshot, Tell};

/// A server needs room for its indexes, its log and its own tables beside the dump.
const ROOM: u64 = 3;
const SPARE: u64 = 256 << 20;

/// Rows that one question gives.
const MOST_ROWS: usize = 1_000;

/// A database that was loaded.
#[derive(Debug)]
pub struct Loaded {
    scratch: Scratch,
    /// The databases in it.
    pub databases: Vec<String>,
    /// Bytes of the dump.
    pub bytes: u64,
    /// Starting the server and loading the dump, in milliseconds.
    pub duration_ms: u64,
    /// What could not be done and does no harm to the data.
    pub remarks: Vec<String>,
    /// Dropped last: the server has its folder in it.
    _place: Place,
}

/// Rows, and whether there were more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The rows.
    pub rows: Rows,
    /// Whether there were more than these.
    pub more: bool,
}

impl Loaded {
    /// Loads what the snapshot has at `path`: an SQLite file, or the folder of a server's dump.
    ///
    /// # Errors
    ///
    /// When it does not fit, a program is missing, or the server does not take the dump.
    pub fn make(
        repository: &Repository,
        snapshot: &Snapshot,
        path: &Path,
        grant: &DrillGrant,
        state: &Path,
        cancel: &CancellationToken,
        tell: &Tell,
    ) -> Result<Self, DrillError> {
        let started = Instant::now();
        let reader = repository.reader()?;
        let top = reader.node(snapshot, path)?;
        let files = files(&reader, &top)?;
        let engine = engine(&top, &files, path)?;
        let bytes = files.iter().map(|file| file.meta.size).sum::<u64>();
        let room = if engine == Engine::Sqlite { 1 } else { ROOM };
        fits(bytes, bytes.saturating_mul(room).saturating_add(SPARE), grant)?;
        let place = Place::make(state, &grant.folder)?;
        let parent = place.folder().to_owned();
        let options = ScratchOptions { parent, tools: grant.tools.clone(), cancel: cancel.clone() };
        let mut scratch = Scratch::start(engine, &options)?;
        let counter = Counter::new(Arc::clone(tell), bytes);
        let mut remarks = Vec::new();
        for file in &files {
            if cancel.is_cancelled() {
                return Err(DrillError::Ended);
            }
            let name = file.name().to_string_lossy().into_owned();
            remarks.extend(load(&mut scratch, &reader, file, &name, &counter)?);
        }
        let databases = scratch.databases()?;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Self { scratch, databases, bytes, duration_ms, remarks, _place: place })
    }

    /// The kind of server.
    pub fn engine(&self) -> Engine {
        self.scratch.engine()
    }

    /// Runs one statement that only reads.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub fn query(&self, database: &str, statement: &str) -> Result<Answer, DrillError> {
        let mut rows = self.scratch.query(database, statement)?;
        let more = rows.rows.len() > MOST_ROWS;
        rows.rows.truncate(MOST_ROWS);
        Ok(Answer { rows, more })
    }

    /// Looks whether every foreign key finds its row.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub fn foreign_keys(&self, database: &str) -> Result<ForeignKeys, DrillError> {
        Ok(self.scratch.foreign_keys(database)?)
    }
}

/// The files of a dump, accounts first: owners and grants of the others refer to them.
fn files(reader: &Reader, top: &Node) -> Result<Vec<Node>, DrillError> {
    if top.is_file() {
        return Ok(vec![top.clone()]);
    }
    let mut files: Vec<Node> = reader.children(top)?.into_iter().filter(Node::is_file).collect();
    files.sort_by_key(|file| *file.name() != *GLOBALS);
    Ok(files)
}

/// The kind of server that a dump is of, by the names of its files.
fn engine(top: &Node, files: &[Node], path: &Path) -> Result<Engine, DrillError> {
    if top.is_file() {
        return Ok(Engine::Sqlite);
    }
    let has = |suffix: &str| {
        files.iter().any(|file| *file.name() != *GLOBALS && file.name().as_encoded_bytes().ends_with(suffix.as_bytes()))
    };
    match () {
        () if has(".pgdump") => Ok(Engine::Postgresql),
        () if has(".rdb") => Ok(Engine::Redis),
        () if has(".sql") => Ok(Engine::Mariadb),
        () => Err(DrillError::Invalid(format!(
            "{} holds no dump of a database; name an SQLite file, or the folder of a dump such as /upkeep-dump/NAME",
            path.display()
        ))),
    }
}

/// The way into a pipe, which tells how much went through.
struct Counted<'a> {
    into: std::io::PipeWriter,
    counter: &'a Counter,
}

impl std::io::Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.into.write(bytes)?;
        self.counter.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.into.flush()
    }
}

/// Loads one file while another thread reads it from the repository.
fn load(
    scratch: &mut Scratch,
    reader: &Reader,
    file: &Node,
    name: &str,
    counter: &Counter,
) -> Result<Vec<String>, DrillError> {
    let failed = |source| DatabaseError::Content { source };
    let (mut content, into) = std::io::pipe().map_err(failed)?;
    let mut into = Counted { into, counter };
    std::thread::scope(|scope| {
        let loading = scope.spawn(move || {
            let loaded = scratch.load(name, &mut content);
            // Whoever writes into the pipe gets an error when nobody reads any more.
            drop(content);
            loaded
        });
        let read = reader.dump(file, &mut into);
        drop(into);
        let loaded = match loading.join() {
            Ok(loaded) => loaded,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        // To the server, what was cut off looks like the end: one that took half of a dump is no proof. When it was the
        // server that gave up, its own words say why.
        match read? {
            Ok(()) => Ok(loaded?.remarks),
            Err(source) => Err(loaded.err().unwrap_or(DatabaseError::Content { source }).into()),
        }
    })
}
