//! Removing what a plan names, and nothing else.
//!
//! Flow: while a run plans, what is to go is written down ([`plan`]). Later the plan of a root is carried out
//! ([`carry_out`]): what stands in its way as a whole is asked first ([`ceiling`]), then each item is looked at once more
//! through the open folder that holds it, and goes, or moves aside ([`aside`]), or is compressed ([`compress`]) only if it is
//! what was seen, is not protected ([`protect`]), and nobody writes to it ([`writers`]).
//!
//! It knows neither guests nor grants; the capability `removal` and the command line stand on it.

use std::path::{Path, PathBuf};

use crate::clock;
use crate::record::RunId;

pub mod aside;
mod attributes;
pub mod carry_out;
pub mod ceiling;
mod compress;
pub mod document;
pub mod plan;
pub mod protect;
mod writers;

/// The name of the folder in which a root keeps what was moved aside.
pub const ASIDE: &str = ".upkeep-undo";

/// Why a plan cannot be written, read or carried out. The text names the place.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// A file of the state directory cannot be read or written.
    #[error("{}: {source}", file.display())]
    State {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A plan or a ledger does not hold what it should.
    #[error("{}: {what}", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Somebody else is at work with it.
    #[error("{}: something else works with what this run moved aside; try again when it is done", file.display())]
    Busy {
        /// The ledger.
        file: PathBuf,
    },
    /// The root, or something in it, is not as it was.
    #[error("{0}")]
    Stale(String),
    /// Something in the root cannot be done at all.
    #[error("{0}")]
    Root(String),
    /// The run was ended.
    #[error("the run was ended")]
    Cancelled,
}

impl RemovalError {
    fn state(file: &Path) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::State { file: file.to_owned(), source }
    }

    fn broken(file: &Path, what: impl std::fmt::Display) -> Self {
        Self::Broken { file: file.to_owned(), what: what.to_string() }
    }
}

/// So many things, and their size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Total {
    /// Number of things.
    pub items: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Total {
    /// One more.
    pub fn add(&mut self, bytes: u64) {
        self.items += 1;
        self.bytes += bytes;
    }
}

/// Where the removals of all runs are kept: a folder for each run.
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("removal")
}

/// A place for a plan that comes in, before it is known which run carries it out.
pub fn incoming(state_dir: &Path) -> PathBuf {
    folder(state_dir).join(format!("{INCOMING}{}", RunId::new(clock::now())))
}

/// How the names of such places begin.
const INCOMING: &str = "incoming-";

/// Gives a plan that came in to a run.
///
/// # Errors
///
/// When it cannot be moved.
pub fn assign(incoming: &Path, state_dir: &Path, run: &str) -> Result<(), RemovalError> {
    let to = folder(state_dir).join(run);
    std::fs::rename(incoming, &to).map_err(RemovalError::state(&to))?;
    sync_folder(&to)
}

/// Removes plans that came in and never reached a run. Only while nobody sends one.
pub fn clear_incoming(state_dir: &Path) {
    for entry in std::fs::read_dir(folder(state_dir)).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(INCOMING) {
            // What cannot be removed takes up room and does no harm.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// How long a run may take, in milliseconds, from its plan to its entry in the journal.
const SETTLES: u64 = 3_600_000;

/// The runs of which something is kept, but nothing that could be had back. Not those of the last hour: a run is given its plan
/// before the journal knows of it, and who does not find it there must not take the plan away.
pub fn kept_runs(state_dir: &Path) -> Vec<String> {
    let now = u64::try_from(clock::now().0).unwrap_or(0);
    let is_settled = |name: &String| {
        let queued = ulid::Ulid::from_string(name).map(|id| id.timestamp_ms());
        queued.is_ok_and(|queued| queued.saturating_add(SETTLES) <= now)
    };
    let entries = std::fs::read_dir(folder(state_dir)).into_iter().flatten().flatten();
    let names = entries.filter(|entry| !aside::has_ledger(&entry.path())).map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).filter(is_settled).collect()
}

/// Forgets the plans of a run.
pub fn forget(state_dir: &Path, run: &str) {
    let folder = folder(state_dir).join(run);
    if !aside::has_ledger(&folder)
        && let Err(error) = std::fs::remove_dir_all(&folder)
    {
        tracing::warn!("{} could not be removed: {error}", folder.display());
    }
}

/// What is told when a run has moved nothing aside.
pub fn nothing_aside(run: &str) -> String {
    format!(
        "nothing that run {run} removed can be had back: it removed nothing, the folder's grant has no `undo` in its \
         `removal`, or its time has passed"
    )
}

/// The name of a file for the root of this name.
fn file_name(root: &str, ending: &str) -> String {
    format!("{}.{ending}", file_stem(root))
}

/// The same without an ending.
fn file_stem(root: &str) -> String {
    let mut name = String::with_capacity(root.len());
    for byte in root.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    name
}

/// Replaces a file of the state directory, durably.
fn replace(file: &Path, bytes: &[u8]) -> Result<(), RemovalError> {
    use std::io::Write as _;
    let failed = RemovalError::state(file);
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut written = std::fs::File::create(&new).map_err(&failed)?;
    written.write_all(bytes).and_then(|()| written.sync_all()).map_err(&failed)?;
    std::fs::rename(&new, file).map_err(&failed)?;
    sync_folder(file)
}

/// Makes the names in the folder of `file` durable.
fn sync_folder(file: &Path) -> Result<(), RemovalError> {
    let folder = file.parent().unwrap_or(file);
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(RemovalError::state(folder))
}

#[cfg(test)]
mod tests;
