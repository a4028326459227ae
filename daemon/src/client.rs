//! The other end of the control API: what the command line asks the daemon.
//!
//! Each request is a connection of its own; on a Unix socket that costs a tenth of a millisecond, and there is nothing
//! to keep alive.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::{
    AckRequest, Cancelling, Consents, ErrorBody, ErrorCode, Findings, HeedRequest, Holds, IgnoreRequest, KeptTokens,
    LogLine, MessageDetail, Messages, PushRequest, Queued, ReleaseRequest, Requests, ResendRequest, Resent,
    ResumeRequest, Resumed, RunDetail, RunRequest, Runs, Slots, Tasks, TestedAlerts, VERSION,
};
use crate::command::{Acknowledged, OpenAlerts, Reloaded, Status, WrittenDigest};
use crate::event::Event;
use crate::record::RunId;
use crate::record::finding::Life;
use crate::record::outbox::{Enqueued, Message, MessageState};
use crate::removal::aside::Undone;
use crate::stats::{Question, Stats};

/// Bytes of a piece of a large body.
const PIECE: usize = 64 * 1024;

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon.
    #[error("no daemon listens on {}", socket.display())]
    NoDaemon {
        /// Where it was looked for.
        socket: PathBuf,
    },
    /// The socket is there, but not for this user.
    #[error("this user may not use {}", socket.display())]
    Forbidden {
        /// The socket.
        socket: PathBuf,
    },
    /// The daemon says no.
    #[error("{}", .0.message)]
    Refused(ErrorBody),
    /// The connection broke.
    #[error("the daemon went away while it was answering: {0}")]
    Broken(String),
    /// The answer cannot be written where it should be.
    #[error("the answer cannot be written: {0}")]
    Unwritten(io::Error),
    /// The answer is not of this API.
    #[error("the answer of the daemon cannot be read: {0}")]
    Nonsense(String),
}

/// Which runs [`Client::runs`] asks for. The default is the newest of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Only of this task.
    pub task: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
    /// Only those before this one.
    pub before: Option<String>,
}

/// Which requests [`Client::egress`] asks for. The default is the newest of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressQuery {
    /// Only those of this task.
    pub task: Option<String>,
    /// Only those of this run; the beginning of an identifier will do.
    pub run: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
    /// Only those before this one.
    pub before: Option<String>,
}

/// Which messages [`Client::messages`] asks for. The default is the newest of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageQuery {
    /// Only those that stand there.
    pub state: Option<MessageState>,
    /// Only those whose turn it is, or was last, with this channel.
    pub channel: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
    /// Only those before this one.
    pub before: Option<String>,
}

/// Whose consents [`Client::consents`] asks for. The default is what changed last of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsentQuery {
    /// Only of this account.
    pub account: Option<String>,
    /// Only of this user.
    pub user: Option<String>,
    /// Only to this template.
    pub template: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// Asks the daemon that listens on a socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client of the daemon at `socket`. Nothing is opened before the first question.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How the daemon is.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("status").await
    }

    /// All tasks, by name.
    pub async fn tasks(&self) -> Result<Tasks, ClientError> {
        self.get("tasks").await
    }

    /// Queues a run of a task.
    pub async fn run(&self, task: &str, dry_run: bool) -> Result<RunId, ClientError> {
        let path = format!("tasks/{}/run", escape(task));
        let Queued { run } = self.post(&path, &RunRequest { dry_run }).await?;
        Ok(run)
    }

    /// Has a plan carried out that a dry run wrote; `plan` is its content.
    pub async fn apply(&self, plan: tokio::fs::File) -> Result<RunId, ClientError> {
        let pieces = tokio_util::io::ReaderStream::with_capacity(plan, PIECE).map(|piece| piece.map(Frame::data));
        let body = BodyExt::boxed(StreamBody::new(pieces));
        let Queued { run } = read(self.send(Method::POST, "plans", body).await?).await?;
        Ok(run)
    }

    /// The plan that a run made, as it is written into a file.
    pub async fn plan(&self, run: &str, out: &mut (dyn io::Write + Send)) -> Result<(), ClientError> {
        let mut body = self.send(Method::GET, &format!("runs/{}/plan", escape(run)), empty()).await?.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ClientError::Broken(error.to_string()))?;
            out.write_all(&frame.into_data().unwrap_or_default()).map_err(ClientError::Unwritten)?;
        }
        out.flush().map_err(ClientError::Unwritten)
    }

    /// Puts back what a run moved aside.
    pub async fn undo(&self, run: &str) -> Result<Undone, ClientError> {
        self.post(&format!("runs/{}/undo", escape(run)), &()).await
    }

    /// Tells a run to end.
    pub async fn cancel(&self, run: &str) -> Result<RunId, ClientError> {
        let Cancelling { run } = self.post(&format!("runs/{}/cancel", escape(run)), &()).await?;
        Ok(run)
    }

    /// Runs, newest first.
    pub async fn runs(&self, query: &RunQuery) -> Result<Runs, ClientError> {
        let RunQuery { task, outcome, limit, before } = query;
        let limit = limit.map(|limit| limit.to_string());
        let pairs = [("task", task), ("outcome", outcome), ("limit", &limit), ("before", before)];
        self.get(&format!("runs?{}", query_string(&pairs))).await
    }

    /// Requests to other servers, newest first.
    pub async fn egress(&self, query: &EgressQuery) -> Result<Requests, ClientError> {
        let EgressQuery { task, run, limit, before } = query;
        let limit = limit.map(|limit| limit.to_string());
        let pairs = [("task", task), ("run", run), ("limit", &limit), ("before", before)];
        self.get(&format!("egress?{}", query_string(&pairs))).await
    }

    /// All that is known of a run but its log. `run` may be the beginning of an identifier.
    pub async fn show(&self, run: &str) -> Result<RunDetail, ClientError> {
        self.get(&format!("runs/{}", escape(run))).await
    }

    /// The log of a run from behind the row `after`; with `follow`, until the run is over.
    pub async fn logs(&self, run: &str, after: i64, follow: bool) -> Result<Lines<LogLine>, ClientError> {
        self.lines(&format!("runs/{}/logs?after={after}&follow={follow}", escape(run))).await
    }

    /// The events of a run until it is over.
    pub async fn events(&self, run: &str) -> Result<Lines<Event>, ClientError> {
        self.lines(&format!("runs/{}/events", escape(run))).await
    }

    /// The newest slots, of one task or of all.
    pub async fn slots(&self, task: Option<&str>, limit: u32) -> Result<Slots, ClientError> {
        let task = task.map(|task| format!("&task={}", escape(task))).unwrap_or_default();
        self.get(&format!("slots?limit={limit}{task}")).await
    }

    /// What is known of findings.
    pub async fn findings(&self) -> Result<Findings, ClientError> {
        self.get("findings").await
    }

    /// Ignores a finding; gives it.
    pub async fn ignore(&self, request: &IgnoreRequest) -> Result<Life, ClientError> {
        self.post("findings/ignore", request).await
    }

    /// Heeds a finding again; gives it.
    pub async fn heed(&self, finding: &str) -> Result<Life, ClientError> {
        self.post("findings/heed", &HeedRequest { finding: finding.to_owned() }).await
    }

    /// Access tokens that are kept.
    pub async fn tokens(&self) -> Result<KeptTokens, ClientError> {
        self.get("tokens").await
    }

    /// Puts a message into the outbox. With a key, the same message given again changes nothing.
    pub async fn push(&self, request: &PushRequest, key: Option<&str>) -> Result<Enqueued, ClientError> {
        let body = serde_json::to_vec(request).map_err(|error| ClientError::Nonsense(error.to_string()))?;
        let headers: Vec<_> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        read(self.send_with(Method::POST, "push", whole(body.into()), &headers).await?).await
    }

    /// Messages, newest first.
    pub async fn messages(&self, query: &MessageQuery) -> Result<Messages, ClientError> {
        let MessageQuery { state, channel, limit, before } = query;
        let (state, limit) = (state.map(|it| it.name().to_owned()), limit.map(|limit| limit.to_string()));
        let pairs = [("state", &state), ("channel", channel), ("limit", &limit), ("before", before)];
        self.get(&format!("push?{}", query_string(&pairs))).await
    }

    /// A message and its attempts. `message` may be the beginning of an identifier.
    pub async fn message(&self, message: &str) -> Result<MessageDetail, ClientError> {
        self.get(&format!("push/{}", escape(message))).await
    }

    /// Users' consents to messages, what changed last first.
    pub async fn consents(&self, query: &ConsentQuery) -> Result<Consents, ClientError> {
        let ConsentQuery { account, user, template, limit } = query;
        let limit = limit.map(|limit| limit.to_string());
        let pairs = [("account", account), ("user", user), ("template", template), ("limit", &limit)];
        self.get(&format!("push/consents?{}", query_string(&pairs))).await
    }

    /// Sends a message again that is dead or expired; gives it as it was.
    pub async fn resend(&self, message: &str) -> Result<Message, ClientError> {
        self.post(&format!("push/{}/resend", escape(message)), &()).await
    }

    /// Sends all dead messages again, or those whose last channel was this.
    pub async fn resend_dead(&self, channel: Option<&str>) -> Result<Resent, ClientError> {
        self.post("push/resend", &ResendRequest { channel: channel.map(str::to_owned) }).await
    }

    /// Ends the pause of a channel. Whether there was one.
    pub async fn resume_channel(&self, channel: &str) -> Result<Resumed, ClientError> {
        self.post("push/resume", &ResumeRequest { channel: channel.to_owned() }).await
    }

    /// Removes a message; gives it as it was.
    pub async fn drop_message(&self, message: &str) -> Result<Message, ClientError> {
        self.post(&format!("push/{}/drop", escape(message)), &()).await
    }

    /// Alerts that are open.
    pub async fn alerts(&self) -> Result<OpenAlerts, ClientError> {
        self.get("alerts").await
    }

    /// Takes on an alert, or all; gives those that were taken on.
    pub async fn acknowledge(&self, request: &AckRequest) -> Result<Acknowledged, ClientError> {
        self.post("alerts/ack", request).await
    }

    /// Sends a message to all who would be told of an alert.
    pub async fn test_alerts(&self) -> Result<TestedAlerts, ClientError> {
        self.post("alerts/test", &()).await
    }

    /// The digest of now, of what happened in so many milliseconds or since the last one.
    pub async fn digest(&self, since_ms: Option<u64>, all: bool) -> Result<WrittenDigest, ClientError> {
        let since = since_ms.map(|ms| ms.to_string());
        let all = Some(all.to_string());
        self.get(&format!("digest?{}", query_string(&[("since_ms", &since), ("all", &all)]))).await
    }

    /// A document of a run.
    pub async fn document(&self, run: &str, name: &str) -> Result<Bytes, ClientError> {
        collect(self.send(Method::GET, &format!("runs/{}/documents/{}", escape(run), escape(name)), empty()).await?)
            .await
    }

    /// Figures of logs, of a task or of the only one that keeps any.
    pub async fn stats(&self, task: Option<&str>, question: &Question) -> Result<Stats, ClientError> {
        let Question { source, from, to, by, top } = question;
        let (by, top) = (by.map(|it| it.name().to_owned()), top.map(|it| it.name().to_owned()));
        let pairs = [("source", source), ("from", from), ("to", to), ("by", &by), ("top", &top)];
        let task = task.map(|it| format!("/{}", escape(it))).unwrap_or_default();
        self.get(&format!("stats{task}?{}", query_string(&pairs))).await
    }

    /// The holds on backup repositories.
    pub async fn holds(&self) -> Result<Holds, ClientError> {
        self.get("holds").await
    }

    /// Ends the holds of a task, all of them or those in the repository at an address. Gives those that were ended.
    pub async fn release(&self, task: &str, url: Option<&str>) -> Result<Holds, ClientError> {
        let request = ReleaseRequest { task: task.to_owned(), url: url.map(str::to_owned) };
        self.post("holds/release", &request).await
    }

    /// Reads the configuration again.
    pub async fn reload(&self) -> Result<Reloaded, ClientError> {
        self.post("reload", &()).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        read(self.send(Method::GET, path, empty()).await?).await
    }

    /// `()` stands for no body.
    async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, ClientError> {
        let body = match serde_json::to_vec(body) {
            Ok(body) if body != b"null" => body.into(),
            _ => Bytes::new(),
        };
        read(self.send(Method::POST, path, whole(body)).await?).await
    }

    async fn lines<T>(&self, path: &str) -> Result<Lines<T>, ClientError> {
        let body = self.send(Method::GET, path, empty()).await?.into_body();
        Ok(Lines { body, bytes: Vec::new(), read: 0, of: std::marker::PhantomData })
    }

    /// Sends a request. An answer that is not 2xx is an error.
    async fn send(&self, method: Method, path: &str, body: Body) -> Result<Response<Incoming>, ClientError> {
        self.send_with(method, path, body, &[]).await
    }

    /// The same with further headers.
    async fn send_with(
        &self,
        method: Method,
        path: &str,
        body: Body,
        headers: &[(&str, &str)],
    ) -> Result<Response<Incoming>, ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Its errors come out of the request or of the body as well.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/{VERSION}/{path}"))
            .header(HOST, "upkeep")
            .header(CONTENT_TYPE, "application/json");
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value))
            .body(body)
            .map_err(|error| ClientError::Nonsense(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = collect(response).await?;
        Err(ClientError::Refused(serde_json::from_slice(&bytes).unwrap_or_else(|_| ErrorBody {
            error: ErrorCode::Unknown,
            message: format!("{status}: {}", String::from_utf8_lossy(&bytes)),
        })))
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NoDaemon { socket },
            ErrorKind::PermissionDenied => ClientError::Forbidden { socket },
            _ => ClientError::Broken(format!("{}: {error}", socket.display())),
        }
    }
}

/// The body of a request.
type Body = BoxBody<Bytes, io::Error>;

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

fn empty() -> Body {
    whole(Bytes::new())
}

async fn read<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let bytes = collect(response).await?;
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Nonsense(error.to_string()))
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = response.into_body().collect().await.map_err(|error| ClientError::Broken(error.to_string()))?;
    Ok(body.to_bytes())
}

/// The pairs that have a value.
fn query_string(pairs: &[(&str, &Option<String>)]) -> String {
    let pairs = pairs.iter().filter_map(|(key, value)| Some(format!("{key}={}", escape(value.as_deref()?))));
    pairs.collect::<Vec<_>>().join("&")
}

/// Escapes what is not plain in a path segment or a value of a query.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// An answer of one JSON object per line, as it comes.
#[derive(Debug)]
pub struct Lines<T> {
    body: Incoming,
    bytes: Vec<u8>,
    /// How much of `bytes` was given already.
    read: usize,
    of: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next object; none when the answer is complete. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(length) = self.bytes[self.read..].iter().position(|byte| *byte == b'\n') {
                let line = &self.bytes[self.read..self.read + length];
                self.read += length + 1;
                return parse(line).map(Some);
            }
            self.bytes.drain(..self.read);
            self.read = 0;
            match self.body.frame().await {
                Some(Ok(frame)) => self.bytes.extend(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Err(ClientError::Broken(error.to_string())),
                None if self.bytes.is_empty() => return Ok(None),
                None => return Err(ClientError::Broken("the last line is not complete".to_owned())),
            }
        }
    }
}

/// A line is what was asked for, or the error that ends the answer early.
fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(line).map_err(|error| match serde_json::from_slice(line) {
        Ok(refused) => ClientError::Refused(refused),
        Err(_) => ClientError::Nonsense(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_a_path_would_take_apart() {
        assert_eq!(escape("backup-app_1.x"), "backup-app_1.x");
        assert_eq!(escape("a/b?c=%1 ä"), "a%2Fb%3Fc%3D%251%20%C3%A4");
    }

    #[tokio::test]
    async fn names_the_socket_when_nobody_listens() {
        let root = tempfile::tempdir().unwrap();
        let client = Client::new(root.path().join("none.sock"));
        assert!(matches!(client.status().await, Err(ClientError::NoDaemon { .. })));
        let stale = root.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let error = Client::new(&stale).status().await.unwrap_err();
        assert_eq!(error.to_string(), format!("no daemon listens on {}", stale.display()));
    }
}
