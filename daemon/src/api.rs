//! The words of the control API: what goes over the socket in both directions. The server writes them, the client of
//! the command line reads them; `docs/api.md` shows each with an example.
//!
//! Objects may gain keys within one version of the API; a reader ignores those that it does not know. What is sent to
//! the daemon is checked: an unknown key is an error, since it is most likely a misspelt one.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::command::{CommandError, TaskStatus, Tested};
use crate::record::consent::{Consent, ConsentTemplate};
use crate::record::egress::Egress;
use crate::record::finding::Life;
use crate::record::outbox::{self, Attempt, ChannelCounts, Content, Message, Priority};
use crate::record::token::KeptToken;
use crate::record::{LogRecord, Metric, Report, Run, RunId, Slot, Step};
use crate::store::{Hold, Reader, StoreError};

/// The version that stands first in every path.
pub const VERSION: &str = "v1";

/// Media type of the answers that are one JSON object per line.
pub const NDJSON: &str = "application/x-ndjson";

/// `POST /v1/tasks/{task}/run`. The body may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunRequest {
    /// Only make the plan.
    pub dry_run: bool,
}

/// Answer to `POST /v1/tasks/{task}/run`: the run is durable and waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queued {
    /// The run.
    pub run: RunId,
}

/// Answer to `POST /v1/runs/{id}/cancel`: the run was told to end; its outcome comes when it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancelling {
    /// The run.
    pub run: RunId,
}

/// Answer to `GET /v1/tasks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tasks {
    /// All tasks, by name.
    pub tasks: Vec<TaskStatus>,
}

/// Answer to `GET /v1/runs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Runs {
    /// Runs, newest first.
    pub runs: Vec<Run>,
    /// What to give as `before` to go on; none at the end.
    pub next: Option<RunId>,
}

/// Answer to `GET /v1/runs/{id}`: all that is known of a run but its log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// Its steps, in the order of the plan.
    pub steps: Vec<Step>,
    /// What the plugin summed up, when it got that far.
    pub report: Option<Report>,
    /// Its metrics; present when it is over.
    pub metrics: Vec<Metric>,
    /// Its documents, each with its name and its size in bytes.
    pub documents: Vec<(String, u64)>,
}

impl RunDetail {
    /// Reads from the journal what it knows of a run.
    ///
    /// # Errors
    ///
    /// When the journal cannot be read.
    pub async fn read(journal: &Reader, run: Run) -> Result<Self, StoreError> {
        let steps = journal.steps(&run.id).await?;
        let report = journal.report(&run.id).await?;
        let metrics = journal.metrics(&run.id).await?;
        let documents = journal.documents(&run.id).await?;
        Ok(Self { run, steps, report, metrics, documents })
    }
}

/// Answer to `GET /v1/holds`, and to `POST /v1/holds/release`: those that were ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holds {
    /// Holds on backup repositories, the oldest first.
    pub holds: Vec<Hold>,
}

/// `POST /v1/holds/release`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// The task that placed them.
    pub task: String,
    /// Only in the repository at this address.
    #[serde(default)]
    pub url: Option<String>,
}

/// A line of `GET /v1/runs/{id}/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// What to give as `after` to go on behind this record. Grows.
    pub id: i64,
    /// The record.
    #[serde(flatten)]
    pub record: LogRecord,
}

/// Answer to `GET /v1/slots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Slots {
    /// Slots, latest first.
    pub slots: Vec<Slot>,
}

/// Answer to `GET /v1/findings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// What is known of findings, what changed last first; those that are fixed too.
    pub findings: Vec<Life>,
}

/// `POST /v1/findings/ignore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IgnoreRequest {
    /// The finding, or the beginning of its identifier.
    pub finding: String,
    /// Why.
    pub reason: String,
    /// The last day: `2027-03-31`.
    #[schemars(with = "String")]
    pub until: NaiveDate,
}

/// `POST /v1/findings/heed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeedRequest {
    /// The finding, or the beginning of its identifier.
    pub finding: String,
}

/// Answer to `GET /v1/egress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requests {
    /// Requests to other servers, newest first.
    pub requests: Vec<Egress>,
    /// What to give as `before` to go on; none at the end.
    pub next: Option<String>,
}

/// `POST /v1/push`: a message for the outbox. Its idempotency key is in the header `Idempotency-Key`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// Who gives it.
    #[serde(default)]
    pub origin: PushOrigin,
    /// The chain of channels: each is tried after the one before has refused for good.
    pub channels: Vec<String>,
    /// Which messages go first.
    #[serde(default)]
    pub priority: Priority,
    /// It is not delivered before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// It is not delivered from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What it says.
    pub content: Content,
}

/// Who gives a message. Idempotency keys of one are unknown to the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PushOrigin {
    /// A program.
    #[default]
    Api,
    /// The command line.
    Cli,
}

impl PushOrigin {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => outbox::API,
            Self::Cli => outbox::CLI,
        }
    }
}

/// Answer to `GET /v1/push`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Messages {
    /// Messages, newest first.
    pub messages: Vec<Message>,
    /// All channels that have messages which are not over, or are paused.
    pub channels: Vec<ChannelCounts>,
    /// What to give as `before` to go on; none at the end.
    pub next: Option<String>,
}

/// Answer to `GET /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptTokens {
    /// One for each application of WeChat that a task has needed since the daemon started, by appid.
    pub tokens: Vec<KeptToken>,
}

/// Answer to `GET /v1/push/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageDetail {
    /// The message.
    pub message: Message,
    /// How it was tried to deliver it, in order.
    pub attempts: Vec<Attempt>,
}

/// Answer to `GET /v1/push/consents`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Consents {
    /// Users' consents to messages, what changed last first.
    pub consents: Vec<Consent>,
    /// The templates of which there were events.
    pub templates: Vec<ConsentTemplate>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// `POST /v1/push/resend`. The body may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResendRequest {
    /// Only dead messages whose last channel was this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// Answer to `POST /v1/push/resend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resent {
    /// How many dead messages wait again.
    pub messages: u64,
}

/// `POST /v1/push/resume`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// The channel whose pause ends.
    pub channel: String,
}

/// Answer to `POST /v1/push/resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resumed {
    /// Whether it was paused.
    pub was_paused: bool,
}

/// `POST /v1/alerts/ack`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// The alert's key, or the beginning of it; left out: all that are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// For so many milliseconds; left out: until it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// What whoever takes it on wants to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Answer to `POST /v1/alerts/test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestedAlerts {
    /// The messages, one for each step; none when nobody is told.
    pub messages: Vec<Tested>,
}

/// Any answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// Which error, for programs.
    pub error: ErrorCode,
    /// What went wrong and what to do, for people.
    pub message: String,
}

/// Which error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// 400: the request has no meaning.
    BadRequest,
    /// 401: no token, or one that nobody has.
    Unauthorized,
    /// 403: the token is right, and does not allow this.
    Forbidden,
    /// 404: no such path.
    NoPath,
    /// 404: no such task.
    NoTask,
    /// 404: no such run.
    NoRun,
    /// 404: no such finding.
    NoFinding,
    /// 404: no such message.
    NoMessage,
    /// 404: no such alert is open.
    NoAlert,
    /// 404: the run has no such document.
    NoDocument,
    /// 404: the run has no plan, or none any more.
    NoPlan,
    /// 404: nothing that the run removed can be had back.
    NothingAside,
    /// 404: the task keeps no figures, or none of that source.
    NoFigures,
    /// 408: the request did not arrive in time.
    Timeout,
    /// 405: the path is there, but not for this method.
    Method,
    /// 409: several runs begin with the abbreviated identifier.
    AmbiguousRun,
    /// 409: several findings begin with the abbreviated identifier.
    AmbiguousFinding,
    /// 409: several messages begin with the abbreviated identifier.
    AmbiguousMessage,
    /// 409: the keys of several alerts begin so.
    AmbiguousAlert,
    /// 409: another message has this idempotency key.
    KeyTaken,
    /// 409: as the message stands, this cannot be done with it.
    MessageState,
    /// 409: the run is over already.
    RunOver,
    /// 409: the run is not over yet.
    RunNotOver,
    /// 413: the request is larger than it may be.
    TooLarge,
    /// 422: the configuration on disk is not valid; the one before stays in use.
    Config,
    /// 429: as many followers as there may be.
    TooManyFollowers,
    /// 429: more than is allowed; `Retry-After` says for how many seconds.
    TooMany,
    /// 503: the daemon is stopping.
    Stopping,
    /// 503: the daemon does not answer in time.
    Busy,
    /// 500: the journal cannot be read or written.
    Journal,
    /// 500: a plan cannot be read or written, or what was moved aside not be put back.
    Removal,
    /// 500: figures of a task cannot be read.
    Figures,
    /// One that this version does not know.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The HTTP status that it comes with.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NoPath
            | Self::NoTask
            | Self::NoRun
            | Self::NoFinding
            | Self::NoMessage
            | Self::NoAlert
            | Self::NoDocument
            | Self::NoPlan
            | Self::NothingAside
            | Self::NoFigures => 404,
            Self::Method => 405,
            Self::Timeout => 408,
            Self::TooLarge => 413,
            Self::AmbiguousRun
            | Self::AmbiguousFinding
            | Self::AmbiguousMessage
            | Self::AmbiguousAlert
            | Self::KeyTaken
            | Self::MessageState
            | Self::RunOver
            | Self::RunNotOver => 409,
            Self::Config => 422,
            Self::TooManyFollowers | Self::TooMany => 429,
            Self::Stopping | Self::Busy => 503,
            Self::Journal | Self::Removal | Self::Figures | Self::Unknown => 500,
        }
    }
}

impl From<&CommandError> for ErrorCode {
    fn from(error: &CommandError) -> Self {
        match error {
            CommandError::NoTask { .. } => Self::NoTask,
            CommandError::NoRun { .. } => Self::RunOver,
            CommandError::NoAlert { keys, .. } if keys.is_empty() => Self::NoAlert,
            CommandError::NoAlert { .. } => Self::AmbiguousAlert,
            CommandError::Config { .. } => Self::Config,
            CommandError::Plan { .. } => Self::Removal,
            CommandError::Journal { .. } => Self::Journal,
            CommandError::Stopping => Self::Stopping,
        }
    }
}
