//! Streams of a run, one JSON object per line, until the run is over.
//!
//! The journal and the events tell the same story twice: the journal late but whole, the events at once but only to
//! those who listened. So both streams listen first and read the journal after. The log is then taken from the journal
//! alone, by the numbers of its rows, and an event only says that there is more to read: nothing can come twice or be
//! left out. The events are sent as they come; what the journal already told of is not told again, and when the daemon
//! was faster than the reader, the journal fills the gap.

mod events;
mod logs;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::ServerState;
use super::reply::{ApiError, Asked, Named};
use crate::api::{ErrorBody, ErrorCode, NDJSON};
use crate::store::StoreError;

/// Lines that wait for a slow reader.
const WAITING: usize = 64;

/// Which part of a log.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogQuery {
    after: i64,
    follow: bool,
}

/// `GET /v1/runs/{id}/logs?after=&follow=`
pub(super) async fn logs(
    State(state): State<ServerState>,
    Named(name): Named,
    Asked(query): Asked<LogQuery>,
) -> Result<Response, ApiError> {
    // Listens before it looks: what happens in between is then heard.
    let events = state.events.listen();
    let run = state.find(&name).await?;
    let journal = state.journal.clone();
    stream(&state, move |lines| async move {
        if query.follow {
            logs::follow(journal, events, run, query.after, &lines).await
        } else {
            logs::send_stored(&journal, &run.id, query.after, &lines).await.map(|_| ())
        }
    })
}

/// `GET /v1/runs/{id}/events`
pub(super) async fn events(State(state): State<ServerState>, Named(name): Named) -> Result<Response, ApiError> {
    let events = state.events.listen();
    let run = state.find(&name).await?;
    let journal = state.journal.clone();
    stream(&state, move |lines| async move { events::follow(journal, events, run.id, &lines).await })
}

/// Why a stream ends before its run.
#[derive(Debug, thiserror::Error)]
enum StreamEnd {
    /// The reader went away.
    #[error("the reader went away")]
    Left,
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] StoreError),
}

/// Where the lines of one stream go.
struct Lines(mpsc::Sender<Result<Bytes, std::convert::Infallible>>);

impl Lines {
    async fn send<T: Serialize>(&self, value: &T) -> Result<(), StreamEnd> {
        let mut line = serde_json::to_vec(value).unwrap_or_default();
        line.push(b'\n');
        self.0.send(Ok(line.into())).await.map_err(|_| StreamEnd::Left)
    }
}

/// Answers with what `work` sends. It is dropped when the reader leaves or the server stops, so it may wait for long.
fn stream<F>(state: &ServerState, work: impl FnOnce(Lines) -> F) -> Result<Response, ApiError>
where
    F: Future<Output = Result<(), StreamEnd>> + Send + 'static,
{
    let Ok(permit) = std::sync::Arc::clone(&state.followers).try_acquire_owned() else {
        let message = format!("{} streams are open, which is the most; close one", super::FOLLOWERS);
        return Err(ApiError::new(ErrorCode::TooManyFollowers, message));
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let shutdown: CancellationToken = state.shutdown.clone();
    let reader_left = sender.clone();
    let work = work(Lines(sender));
    tokio::spawn(async move {
        let _permit = permit;
        tokio::select! {
            ended = work => if let Err(StreamEnd::Journal(error)) = ended {
                tracing::warn!("a stream ended early: {error}");
                // The status is sent already, so the error comes as the last line.
                let body = ErrorBody { error: ErrorCode::Journal, message: error.to_string() };
                let _left = Lines(reader_left).send(&body).await;
            },
            () = reader_left.closed() => {}
            () = shutdown.cancelled() => {}
        }
    });
    Ok(([(CONTENT_TYPE, NDJSON)], Body::from_stream(ReceiverStream::new(receiver))).into_response())
}
