//! The daemon: everything is brought up in order, then one loop owns all state.
//!
//! ```text
//! configuration ─► state directory ─► sandbox, plugins ─► journal: what was left ─► control socket ─► READY
//! ```
//!
//! The [`dispatcher`] is the only one that decides. The timer, the watcher, the server and the runs send it messages.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::event::Events;
use crate::memory;
use crate::record::{Run, RunId, Trigger};
use crate::removal;
use crate::run::cancel::Cancel;
use crate::run::execute::{Job, Runner, Tally};
use crate::sandbox::Sandbox;
use crate::server::listen::{self, ListenError, Listener};
use crate::server::{self, ServerState, Socket, SocketError};
use crate::store::{Store, StoreError, Transition};
use crate::tokens::Keepers;

mod alerts;
mod answer;
mod digest;
mod dispatcher;
mod loaded;
mod outbox;
mod queue;
mod reconfigure;
mod recover;
mod signals;
mod trigger;

pub use self::answer::release;

use dispatcher::Dispatcher;
use loaded::Loaded;
use signals::Signals;

/// Why the daemon does not come up, or a run cannot be started without it.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is not valid; the text is the diagnostics.
    #[error("{0}")]
    Config(String),
    /// The journal cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sandbox cannot be made.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::LoadError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// What `[listen]` names cannot be listened to.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The kernel does not give what is needed: signals, timers, watches.
    #[error("failed to set up {what}: {error}")]
    Kernel {
        /// What.
        what: &'static str,
        /// Why.
        error: String,
    },
    /// The plan cannot be carried out.
    #[error("{}: {message}", file.display())]
    Plan {
        /// The file.
        file: PathBuf,
        /// Why.
        message: String,
    },
    /// There is no such task.
    #[error("there is no task `{0}`; `upkeep check` shows those there are")]
    NoTask(String),
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// When it does not come up. Once it is up, it ends only by a signal.
pub async fn serve(config_dir: &Path, socket: Option<PathBuf>) -> Result<(), DaemonError> {
    let signals = Signals::new()?;
    let (loaded, runner) = bring_up(config_dir, Events::default()).await?;
    let settings = loaded.config.settings.clone();
    let (commands, commands_in) = mpsc::channel(256);
    let socket = Socket::bind(&socket.unwrap_or(settings.socket), settings.socket_group.as_deref())?;
    let (journal, events) = (runner.store.read().clone(), runner.events.clone());
    let state = ServerState::new(commands, journal, events, Arc::clone(&runner.state_dir));
    let state = state.with_keepers(runner.keepers.clone());
    let mut listener = Listener::new(state.clone());
    let listening = listen::prepare(settings.listen.as_ref(), config_dir, None)?;
    let stop_serving = CancellationToken::new();
    let server = tokio::spawn(server::serve(socket, state, stop_serving.clone()));

    let store = runner.store.clone();
    let sockets = |error: std::io::Error| DaemonError::Kernel { what: "the socket", error: error.to_string() };
    listener.take_over(listening).map_err(sockets)?;
    let dispatcher = Dispatcher::new(config_dir, loaded, runner, commands_in, listener).await?;
    memory::give_back();
    // A notification that systemd cannot take must not keep the daemon from its work.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(config = %config_dir.display(), "ready");
    let listener = dispatcher.run(signals).await;

    stop_serving.cancel();
    listener.stop().await;
    let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// What a run without a daemon is to do.
#[derive(Debug, Clone)]
pub enum Order {
    /// This task.
    Task(String),
    /// Only its plan.
    DryRun(String),
    /// A plan that was made, in this file.
    Plan(PathBuf),
}

/// A run without a daemon that is over.
#[derive(Debug)]
pub struct Standalone {
    /// The run.
    pub run: RunId,
    /// The journal that has it.
    pub store: Store,
    /// Where its plans are.
    pub plans: PathBuf,
}

/// Runs a task once, without a daemon. The run is journaled like any other.
///
/// # Errors
///
/// When the configuration is not valid, there is no such task, or a daemon has the state directory.
pub async fn standalone(
    config_dir: &Path,
    order: Order,
    events: Events,
    cancel: Cancel,
) -> Result<Standalone, DaemonError> {
    let (loaded, runner) = bring_up(config_dir, events).await?;
    let mut incoming = None;
    let (task, dry_run) = match &order {
        Order::Task(task) => (task.clone(), false),
        Order::DryRun(task) => (task.clone(), true),
        Order::Plan(file) => {
            let (file, folder) = (file.clone(), removal::incoming(&runner.state_dir));
            let into = folder.clone();
            let read = tokio::task::spawn_blocking(move || {
                let failed = |message| DaemonError::Plan { file: file.clone(), message };
                let open = std::fs::File::open(&file).map_err(|error| failed(error.to_string()))?;
                removal::document::read(open, &into).map_err(failed)
            });
            let origin =
                read.await.map_err(|error| DaemonError::Kernel { what: "a thread", error: error.to_string() })??;
            incoming = Some(folder);
            (origin.task, false)
        }
    };
    let task = task.as_str();
    let unknown = || DaemonError::NoTask(task.to_owned());
    let task = Arc::clone(loaded.task(task).ok_or_else(unknown)?);
    let plugin = Arc::clone(loaded.plugin(&task).ok_or_else(unknown)?);
    let by = format!("uid {}", rustix::process::getuid().as_raw());
    let run = new_run(&task.name, Trigger::Manual { by }, clock::now(), dry_run);
    if let Some(incoming) = incoming {
        let failed = |error: removal::RemovalError| DaemonError::Kernel { what: "the plan", error: error.to_string() };
        removal::assign(&incoming, &runner.state_dir, &run.id.0).map_err(failed)?;
    }
    runner.store.commit(vec![Transition::Queue(vec![run.clone()])]).await?;
    let job = Job {
        run: run.clone(),
        timezone: task.schedule.timezone(),
        task,
        plugin,
        cancel: cancel.clone(),
        resumed: None,
        tally: Arc::new(Tally::default()),
    };
    let store = runner.store.clone();
    let plans = removal::folder(&runner.state_dir).join(&*run.id.0);
    let handle = runner.sandbox.handle().clone();
    let ended = handle.spawn(async move { runner.run(job).await }).await;
    if let Err(error) = ended {
        let outcome = crate::run::execute::host_bug(&*error.into_panic());
        tracing::error!("{outcome}");
    }
    Ok(Standalone { plans, run: run.id, store })
}

/// Loads the configuration, locks the state directory, opens what is in it, and compiles the plugins.
async fn bring_up(config_dir: &Path, events: Events) -> Result<(Loaded, Runner), DaemonError> {
    let config = loaded::validate(config_dir).map_err(DaemonError::Config)?;
    let settings = config.settings.clone();
    let store = Store::open_dir(&settings.state_dir).await?;
    let (sandbox, loaded) = tokio::task::spawn_blocking(move || {
        let sandbox = Sandbox::new(&config.settings.state_dir.join("cache"), config.settings.workers)?;
        let loaded = Loaded::compile(config, &sandbox, &HashMap::new()).map_err(DaemonError::Config)?;
        Ok::<_, DaemonError>((sandbox, loaded))
    })
    .await
    .map_err(|error| DaemonError::Kernel { what: "the sandbox", error: error.to_string() })??;
    // Whoever had messages is gone with the daemon before; what it did not settle need not wait for the end of its lease.
    if let Err(error) = store.outbox_release(None, clock::now()).await {
        tracing::warn!(%error, "messages that were being delivered wait for the end of their leases");
    }
    // What a crashed daemon left of its runs' files is of no use to anyone.
    let _ = std::fs::remove_dir_all(settings.state_dir.join("scratch"));
    crate::drill::clear(&settings.state_dir);
    removal::clear_incoming(&settings.state_dir);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (host, state_dir, keepers) = (host.into(), settings.state_dir.into(), Keepers::default());
    Ok((loaded, Runner { sandbox, store, events, host, state_dir, keepers }))
}

fn new_run(task: &str, trigger: Trigger, due: clock::Timestamp, dry_run: bool) -> Run {
    let queued = clock::now();
    Run { dry_run, ..Run::queued(RunId::new(queued), task, trigger, due, queued) }
}
