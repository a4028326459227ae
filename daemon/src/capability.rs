//! What a guest may ask of the host. One capability is one module: its interface of the host API, its check of the
//! grant, its state and its tests. This file is the composition root; it alone knows them all.
//!
//! A call goes through three gates: the manifest asks for the capability (checked when the configuration is loaded),
//! the task file grants it (checked by the capability at each call), and the limits leave room for it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use wasmtime::component::{HasSelf, Linker, ResourceTable, ResourceTableError};

use crate::abi;
use crate::config::grant::Grants;
use crate::config::limits::Limits;
use crate::config::safeguards::Safeguards;
use crate::event::Events;
use crate::record::{Level, LogRecord, RunId};
use crate::store::Store;
use crate::tokens::Keepers;

pub mod consents;
pub mod drill;
pub mod dump;
pub mod egress;
pub mod files;
pub mod http;
pub mod journal;
pub mod limiter;
pub mod log;
pub mod metrics;
pub mod outbox;
pub mod purge;
pub mod removal;
pub mod repository;
pub mod secrets;
pub mod smtp;
pub mod sql;
pub mod state;
pub mod system;

/// Links all capabilities. Each answers only what the task grants.
///
/// # Errors
///
/// When two capabilities claim the same name, which is a bug.
pub fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type Own = HasSelf<Host>;
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    abi::types::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::log::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::state::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::files::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::removal::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::repository::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::dump::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::drill::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::secrets::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::smtp::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::sql::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::purge::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::system::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::journal::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::outbox::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::consents::add_to_linker::<_, Own>(linker, |host| host)?;
    abi::metrics::add_to_linker::<_, Own>(linker, |host| host)?;
    Ok(())
}

/// Different denials of one run that are remembered and logged.
const MOST_DENIALS: usize = 20;

/// What all instances of one run share: what the run may do, and where its words go.
pub struct Run {
    /// Its identifier.
    pub id: RunId,
    /// Name of its task.
    pub task: Arc<str>,
    /// What the task file grants.
    pub grants: Arc<Grants>,
    /// What the run may use.
    pub limits: Arc<Limits>,
    /// The journal; holds the task's state too.
    pub store: Store,
    /// Folder for files that the host needs while the run lasts, such as the copy of a database.
    pub scratch: std::path::PathBuf,
    /// Folder for the tasks' private databases; none where there is no state directory.
    pub private: Option<std::path::PathBuf>,
    /// What is to be removed, and what was moved aside.
    pub removals: removal::Removals,
    /// What stays because another task needs it, and who verifies backups.
    pub safeguards: Arc<Safeguards>,
    /// Ends the run. Host calls that take long look at it.
    pub cancel: CancellationToken,
    /// Who is told of progress.
    pub events: Events,
    /// Budget of the log.
    pub log: log::Budget,
    /// Requests to other servers.
    pub outgoing: http::Outgoing,
    /// What left and how it ended.
    pub ledger: egress::Ledger,
    /// Secrets to be filled in and signed with.
    pub secrets: secrets::Secrets,
    /// Mail servers that were sent by.
    pub smtp: smtp::Servers,
    /// Access tokens that are kept for all runs.
    pub keepers: Keepers,
    /// Messages that it enqueued so far.
    pub outbox: outbox::Share,
    /// Metrics so far.
    pub metrics: Mutex<metrics::Registry>,
    /// What was denied so far: a run that fails after it is `denied`.
    denials: Mutex<Vec<String>>,
}

impl Run {
    /// A run that has not called anything yet.
    #[expect(clippy::too_many_arguments, reason = "each is of a type of its own, and nobody has half of them")]
    pub fn new(
        id: RunId,
        task: Arc<str>,
        grants: Arc<Grants>,
        limits: Arc<Limits>,
        store: Store,
        scratch: std::path::PathBuf,
        cancel: CancellationToken,
        events: Events,
    ) -> Self {
        Self {
            id,
            task,
            grants,
            log: log::Budget::new(&limits),
            outgoing: http::Outgoing::default(),
            ledger: egress::Ledger::default(),
            secrets: secrets::Secrets::default(),
            smtp: smtp::Servers::default(),
            keepers: Keepers::default(),
            outbox: outbox::Share::default(),
            metrics: Mutex::new(metrics::Registry::new(limits.metrics)),
            limits,
            store,
            scratch,
            private: None,
            removals: removal::Removals::default(),
            safeguards: Arc::default(),
            cancel,
            events,
            denials: Mutex::default(),
        }
    }

    /// Keeps the private databases of the tasks in this folder, which need not exist yet.
    pub fn with_private(mut self, folder: std::path::PathBuf) -> Self {
        self.private = Some(folder);
        self
    }

    /// Keeps plans of removals in this state directory, and heeds what the configuration as a whole says about removing.
    pub fn with_removals(mut self, state_dir: &std::path::Path, safeguards: Arc<Safeguards>) -> Self {
        self.removals = removal::Removals::new(state_dir, &self.id.0);
        self.safeguards = safeguards;
        self
    }

    /// Shares the access tokens that are kept.
    pub fn with_keepers(mut self, keepers: Keepers) -> Self {
        self.keepers = keepers;
        self
    }

    /// What was denied so far, in order.
    pub fn denials(&self) -> Vec<String> {
        self.denials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers that something was denied, and logs it.
    pub fn deny(&self, what: &str) {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        // A guest that asks the same thing for ever is told each time, and written down once.
        if denials.len() < MOST_DENIALS && !denials.iter().any(|known| known == what) {
            denials.push(what.to_owned());
            drop(denials);
            self.say(crate::clock::now(), Level::Warn, format!("denied: {what}"));
        }
    }

    /// Answers `denied` since a secret cannot be used, which the plugin is not to blame for: the log says why, and that is all.
    pub(crate) fn unusable(&self, reason: String) -> HostError {
        self.secrets.tell_unusable(self, &reason);
        HostError::Guest(abi::types::Error::Denied(reason))
    }

    /// Writes to the run's log in the name of the host.
    pub fn say(&self, at: crate::clock::Timestamp, level: Level, message: String) {
        let record = LogRecord { run: self.id.clone(), at, step: None, level, message, fields: Vec::new() };
        self.events.log(&record);
        self.store.log(vec![record]);
    }
}

/// What an instance was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// To plan.
    Plan,
    /// To execute this step.
    Step(u32),
    /// To sum up.
    Finish,
}

impl Call {
    /// The step that is executed.
    pub fn step(self) -> Option<u32> {
        match self {
            Self::Step(step) => Some(step),
            Self::Plan | Self::Finish => None,
        }
    }
}

/// What one instance sees: the data of its wasmtime store.
pub struct Host {
    /// The run that it belongs to.
    pub run: Arc<Run>,
    /// What it was made for.
    pub call: Call,
    /// Its handles.
    pub table: ResourceTable,
    /// Its memory and tables.
    pub limiter: crate::capability::limiter::Limiter,
    wasi: Option<wasmtime_wasi::WasiCtx>,
    http: Option<http::Http>,
}

impl Host {
    /// A host for a fresh instance.
    pub fn new(run: Arc<Run>, call: Call) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(run.limits.handles).unwrap_or(usize::MAX));
        let limiter = crate::capability::limiter::Limiter::new(&run.limits);
        Self { run, call, table, limiter, wasi: None, http: None }
    }

    /// Answers `denied` and remembers it: what was asked for, and the key of the task file that would grant it.
    pub fn deny<T>(&self, what: impl Into<String>) -> Result<T, HostError> {
        let what = what.into();
        self.run.deny(&what);
        Err(HostError::Guest(abi::types::Error::Denied(what)))
    }

    /// Answers `limit` and remembers it. `limit` is the key in the task file's `[limits]`.
    pub fn exceed<T>(&mut self, limit: &'static str, message: impl Into<String>) -> Result<T, HostError> {
        let message = message.into();
        self.limiter.exceed(limit, message.clone());
        Err(HostError::Guest(abi::types::Error::Limit(message)))
    }

    /// A plan has no effect on the world: a dry run is a plan and nothing else. `what` is the call.
    fn not_planning(&self, what: &str) -> Result<(), HostError> {
        match self.call {
            Call::Plan => Err(HostError::invalid(format!("`{what}` is for a step or for finish, not for plan"))),
            Call::Step(_) | Call::Finish => Ok(()),
        }
    }

    /// Stores a resource, within the task's `handles`.
    pub fn push<T: Send + 'static>(&mut self, entry: T) -> Result<wasmtime::component::Resource<T>, HostError> {
        match self.table.push(entry) {
            Ok(resource) => Ok(resource),
            Err(ResourceTableError::Full) => {
                let most = self.run.limits.handles;
                self.exceed("handles", format!("more than {most} handles are open (limits.handles)"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Does work that waits for a disk or another program, on a thread made for waiting.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, HostError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) => Err(HostError::Trap(wasmtime::Error::msg(format!("the host failed in a call: {error}")))),
    }
}

impl wasmtime_wasi::WasiView for Host {
    /// WASI with nothing in it: no files, no sockets, no environment. Made at the first call, which most guests never make.
    fn ctx(&mut self) -> wasmtime_wasi::WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| {
            wasmtime_wasi::WasiCtxBuilder::new()
                .stdout(log::Output::new(&self.run, self.call.step(), Level::Info))
                .stderr(log::Output::new(&self.run, self.call.step(), Level::Warn))
                .build()
        });
        wasmtime_wasi::WasiCtxView { ctx, table: &mut self.table }
    }
}

/// Why a host call does not give what was asked for.
#[derive(Debug)]
pub enum HostError {
    /// The guest is told.
    Guest(abi::types::Error),
    /// The guest is ended.
    Trap(wasmtime::Error),
}

impl HostError {
    /// The guest asked for something that has no meaning.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Guest(abi::types::Error::Invalid(message.into()))
    }

    /// What was named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::Guest(abi::types::Error::NotFound(message.into()))
    }

    /// What was named has changed.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::Guest(abi::types::Error::Conflict(message.into()))
    }

    /// The host or a service cannot answer now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Guest(abi::types::Error::Unavailable(message.into()))
    }
}

impl From<ResourceTableError> for HostError {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<wasmtime::Error> for HostError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl abi::types::Host for Host {
    fn convert_error(&mut self, error: HostError) -> wasmtime::Result<abi::types::Error> {
        match error {
            HostError::Guest(error) => Ok(error),
            HostError::Trap(error) => Err(error),
        }
    }
}

#[cfg(test)]
impl Host {
    /// A host of its own with these grants; its journal and its files are in `folder`.
    async fn of(folder: &std::path::Path, grants: Grants, limits: Limits) -> Self {
        let state = folder.join("state");
        std::fs::create_dir_all(&state).expect("a folder for the test");
        let run = Run::new(
            RunId::new(crate::clock::Timestamp(0)),
            "task".into(),
            Arc::new(grants),
            Arc::new(limits),
            Store::open_dir(&state).await.expect("a store for the test"),
            folder.join("scratch"),
            CancellationToken::new(),
            Events::default(),
        );
        let run = run.with_private(folder.join("private")).with_removals(&folder.join("state"), Arc::default());
        Self::new(Arc::new(run), Call::Step(0))
    }

    /// The answer `denied`, which must also be remembered.
    fn expect_denied<T>(&self, result: Result<T, HostError>, key: &str) {
        match result {
            Err(HostError::Guest(abi::types::Error::Denied(message))) => {
                assert!(message.contains(key), "`{message}` does not name {key}");
                assert_eq!(self.run.denials().last(), Some(&message));
            }
            Err(error) => panic!("{key}: {error:?}"),
            Ok(_) => panic!("{key}: it was granted"),
        }
    }
}
