//! What the server and the CLI ask of the daemon: messages to the one loop that owns its state, and the answers. Questions
//! about the past do not come here: they are read from the [`store`](crate::store).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Timestamp;
use crate::record::alert::{Acknowledgement, Alert};
use crate::record::consent::ConsentNews;
use crate::record::finding::IgnoredFinding;
use crate::record::outbox::{Enqueued, NewMessage};
use crate::record::{Run, RunId};
use crate::stats::Keeping;
use crate::store::{Hold, Resend};

/// A question to the daemon, with where the answer goes.
#[derive(Debug)]
pub enum Command {
    /// How is everything?
    Status(oneshot::Sender<Status>),
    /// Which tasks are there?
    List(oneshot::Sender<Vec<TaskStatus>>),
    /// Where would each task keep figures?
    Figures(oneshot::Sender<Vec<Keeping>>),
    /// Run a task now.
    Run {
        /// Its name.
        task: String,
        /// Only make the plan.
        dry_run: bool,
        /// Where the plan is that it is to carry out instead of making its own.
        plan: Option<PathBuf>,
        /// Who asks: `uid 0`.
        by: String,
        /// The run, which is queued and durable.
        reply: oneshot::Sender<Result<RunId, CommandError>>,
    },
    /// End a run.
    Cancel {
        /// The run.
        run: RunId,
        /// Who asks.
        by: String,
        /// Whether it was there.
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    /// End the holds of a task on backup repositories.
    Release {
        /// The task.
        task: String,
        /// Only in the repository at this address.
        url: Option<String>,
        /// Who asks.
        by: String,
        /// The holds that were ended.
        reply: oneshot::Sender<Result<Vec<Hold>, CommandError>>,
    },
    /// Ignore a finding.
    Ignore {
        /// Which, why, until when, who says so.
        entry: IgnoredFinding,
        /// When it is durable.
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    /// Heed a finding again.
    Heed {
        /// The finding.
        id: String,
        /// Who asks.
        by: String,
        /// Whether it was ignored.
        reply: oneshot::Sender<Result<bool, CommandError>>,
    },
    /// Put a message into the outbox.
    Enqueue {
        /// `api`, `cli`, or `api:` and the name of a client.
        origin: String,
        /// The message.
        message: Box<NewMessage>,
        /// Who asks.
        by: String,
        /// When it is durable.
        reply: oneshot::Sender<Result<Enqueued, CommandError>>,
    },
    /// Send dead messages again.
    Resend {
        /// Which.
        which: Resend,
        /// Who asks.
        by: String,
        /// How many there were.
        reply: oneshot::Sender<Result<u64, CommandError>>,
    },
    /// End the pause of a channel.
    ResumeChannel {
        /// The channel.
        channel: String,
        /// Who asks.
        by: String,
        /// Whether it was paused.
        reply: oneshot::Sender<Result<bool, CommandError>>,
    },
    /// Remove a message.
    DropMessage {
        /// The message.
        id: String,
        /// Who asks.
        by: String,
        /// Whether it could be removed.
        reply: oneshot::Sender<Result<bool, CommandError>>,
    },
    /// Which alerts are open?
    Alerts(oneshot::Sender<OpenAlerts>),
    /// Take on an alert, or all that are open.
    Acknowledge {
        /// Its key, or the beginning of it; none: all.
        key: Option<String>,
        /// Who, and until when.
        acknowledgement: Acknowledgement,
        /// When it is durable: those that were taken on.
        reply: oneshot::Sender<Result<Acknowledged, CommandError>>,
    },
    /// Send a message to all who would be told of an alert.
    TestAlert {
        /// Who asks.
        by: String,
        /// The messages, when they are durable.
        reply: oneshot::Sender<Result<Vec<Tested>, CommandError>>,
    },
    /// Write the digest of now.
    Digest {
        /// What happened in so many milliseconds; none: since the last digest.
        since_ms: Option<u64>,
        /// All of it, however long.
        all: bool,
        /// The digest.
        reply: oneshot::Sender<Result<WrittenDigest, CommandError>>,
    },
    /// Take in what a provider tells of users' consents.
    Consents {
        /// The appid.
        account: String,
        /// What it tells.
        news: Vec<ConsentNews>,
        /// How many of them had not been told before, when it is durable.
        reply: oneshot::Sender<Result<u64, CommandError>>,
    },
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<Reloaded, CommandError>>),
}

/// Where commands go.
pub type Commands = mpsc::Sender<Command>;

/// Why a command was not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(tag = "error", rename_all = "kebab-case")]
pub enum CommandError {
    /// No such task.
    #[error("there is no task `{task}`; `upkeep list` shows those there are")]
    NoTask {
        /// What was asked for.
        task: String,
    },
    /// The run is over, or never was.
    #[error("no run {run} is queued or running; `upkeep history` shows those that are over")]
    NoRun {
        /// What was asked for.
        run: RunId,
    },
    /// No such alert is open, or several are.
    #[error("{}", match keys.as_slice() {
        [] => format!("no alert `{key}` is open; `upkeep alerts` shows those that are"),
        keys => format!("several alerts begin with `{key}`: {}", keys.join(", ")),
    })]
    NoAlert {
        /// What was asked for.
        key: String,
        /// Those that begin so.
        keys: Vec<String>,
    },
    /// The configuration is broken; the old one stays.
    #[error("the configuration is not valid, the one before stays in use:\n{message}")]
    Config {
        /// The diagnostics.
        message: String,
    },
    /// The plan that was given cannot be kept.
    #[error("the plan cannot be kept: {message}")]
    Plan {
        /// Why.
        message: String,
    },
    /// The journal cannot be written.
    #[error("the journal cannot be written: {message}")]
    Journal {
        /// Why.
        message: String,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// How the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since when it is ready.
    pub since: Timestamp,
    /// The configuration folder.
    pub config_dir: String,
    /// When the configuration in use was loaded.
    pub config_loaded: Timestamp,
    /// Why a newer configuration is not in use.
    pub config_error: Option<String>,
    /// Why nothing can be recorded at this time: then nothing begins, and nobody is told of anything.
    pub journal_error: Option<String>,
    /// Number of tasks.
    pub tasks: usize,
    /// Number of tasks that are not enabled.
    pub disabled: usize,
    /// The next slot.
    pub next: Option<NextSlot>,
    /// Runs under way, oldest first.
    pub running: Vec<Running>,
    /// Runs that wait, in order; at most 100 of them.
    pub queued: Vec<Run>,
    /// Number of runs that wait.
    pub queue_length: usize,
    /// Tasks whose last run did not succeed.
    pub failing: Vec<Run>,
}

/// A slot to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextSlot {
    /// The task.
    pub task: String,
    /// When.
    pub due: Timestamp,
}

/// A run under way and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Running {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// Steps that are over.
    pub steps_done: u32,
    /// Steps in all; 0 while the plan is made.
    pub steps: u32,
}

/// A task and when it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStatus {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its plugin.
    pub plugin: String,
    /// Whether the schedule is followed.
    pub enabled: bool,
    /// Whether it is started by messages that wait to be delivered.
    pub delivers: bool,
    /// The triggers, for people: `cron 30 3 * * *`.
    pub schedule: String,
    /// Its time zone.
    pub timezone: String,
    /// The next slot.
    pub next: Option<Timestamp>,
    /// The last run.
    pub last: Option<Run>,
}

/// Answer to `GET /v1/alerts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenAlerts {
    /// Whether anybody is told: `channels` of `[alerts]` names somebody.
    pub told: bool,
    /// Why nothing can be recorded at this time: then nobody is told of anything.
    pub journal_error: Option<String>,
    /// Why nobody is told anything for now: `silence` of `[alerts]`.
    pub silenced: Option<Silenced>,
    /// Alerts that are open, those first that matter most.
    pub alerts: Vec<AlertStatus>,
}

/// Maintenance during which nobody is told anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Silenced {
    /// Its tasks that run now; none when all are over, and their effects may last.
    pub tasks: Vec<String>,
    /// When it ends; none while a task runs.
    pub until: Option<Timestamp>,
}

/// An alert, and what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertStatus {
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
    /// What is told next; none when nothing is, or when maintenance has to end first.
    pub next: Option<NextTelling>,
}

/// What is told next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextTelling {
    /// When.
    pub at: Timestamp,
    /// `told`, `reminded`, `escalated` or `resolved`.
    pub what: String,
}

/// Answer to `POST /v1/alerts/ack`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledged {
    /// The alerts that were taken on.
    pub alerts: Vec<Alert>,
}

/// A message of `POST /v1/alerts/test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tested {
    /// The message.
    pub message: String,
    /// The chain that it goes to.
    pub channels: Vec<String>,
}

/// Answer to `GET /v1/digest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WrittenDigest {
    /// What happened from then on is in it.
    pub from: Timestamp,
    /// Until then.
    pub to: Timestamp,
    /// The verdict: `All is well`.
    pub verdict: String,
    /// Markdown.
    pub text: String,
}

/// What a reload changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// New tasks.
    pub added: Vec<String>,
    /// Tasks that are gone.
    pub removed: Vec<String>,
    /// Tasks that are different now.
    pub changed: Vec<String>,
}
