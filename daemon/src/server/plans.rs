//! Plans of what is to be removed: given out as a run made them, taken back to be carried out, and what was moved aside
//! put back. A plan may be hundreds of megabytes, so it goes in and out as a stream.

use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::ServerState;
use super::peer::Peer;
use super::reply::{ApiError, Named, Reply};
use crate::api::{ErrorCode, Queued};
use crate::command::Command;
use crate::record::RunId;
use crate::removal::aside::{Undone, undo};
use crate::removal::document;
use crate::removal::plan::Plan;
use crate::removal::{self, RemovalError};

/// Pieces that wait for a slow reader.
const WAITING: usize = 16;

/// Bytes of a piece.
const PIECE: usize = 64 * 1024;

impl ServerState {
    /// Where the plans of a run are.
    fn plans_of(&self, run: &RunId) -> PathBuf {
        removal::folder(&self.state_dir).join(&*run.0)
    }
}

impl From<RemovalError> for ApiError {
    fn from(error: RemovalError) -> Self {
        Self::new(ErrorCode::Removal, error.to_string())
    }
}

/// Does work that waits for a disk.
async fn waiting<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let broke = |error| ApiError::new(ErrorCode::Removal, format!("upkeep itself broke, which is a bug: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(broke)
}

/// `GET /v1/runs/{id}/plan`
pub(super) async fn show(State(state): State<ServerState>, Named(name): Named) -> Result<Response, ApiError> {
    let run = state.find(&name).await?.id;
    let folder = state.plans_of(&run);
    let found = waiting(move || Ok::<_, RemovalError>((document::origin(&folder)?, Plan::all(&folder)?))).await??;
    let (Some(origin), plans) = found else {
        let message = format!("run {run} has no plan (any more): those of dry runs and of runs that remove are kept");
        return Err(ApiError::new(ErrorCode::NoPlan, message));
    };
    let (pieces, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PIECE, Pieces(pieces.clone()));
        let written =
            document::write(&origin, &plans, &mut out).map_err(|error| std::io::Error::other(error.to_string()));
        if let Err(error) = written.and_then(|()| out.flush()) {
            // Ends the answer without its end, so that nobody takes a part for the whole.
            let _left = pieces.blocking_send(Err(error));
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Where a body comes from.
struct Pieces(mpsc::Sender<std::io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let left = || std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the reader went away");
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(|_| left())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `POST /v1/plans`
pub(super) async fn carry_out(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Body,
) -> Result<(StatusCode, Json<Queued>), ApiError> {
    let folder = removal::incoming(&state.state_dir);
    let (sender, receiver) = mpsc::channel(WAITING);
    let into = folder.clone();
    let reading =
        tokio::task::spawn_blocking(move || document::read(Incoming { pieces: receiver, piece: Bytes::new() }, &into));
    let mut stream = body.into_data_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| std::io::Error::other(error.to_string()));
        // When it reads no further it says why, and the rest has to be taken all the same: an answer that comes while a client
        // still sends may not reach it.
        let _ = sender.send(piece).await;
    }
    drop(sender);
    let broke = |error| ApiError::new(ErrorCode::Removal, format!("upkeep itself broke, which is a bug: {error}"));
    let queued = match reading.await.map_err(broke)? {
        Ok(origin) => {
            let (task, plan, by) = (origin.task, Some(folder.clone()), peer.by());
            state.ask(|reply| Command::Run { task, dry_run: false, plan, by, reply }).await
        }
        Err(message) => Err(ApiError::new(ErrorCode::BadRequest, message)),
    };
    match queued.and_then(|queued| Ok(queued?)) {
        Ok(run) => Ok((StatusCode::ACCEPTED, Json(Queued { run }))),
        Err(error) => {
            // What is left there is nobody's; the next start removes what this does not.
            let _ = waiting(move || std::fs::remove_dir_all(folder)).await;
            Err(error)
        }
    }
}

/// The pieces of a body, read on a thread that may wait.
struct Incoming {
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = self.piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

/// `POST /v1/runs/{id}/undo`
pub(super) async fn put_back(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Named(name): Named,
) -> Reply<Undone> {
    let run = state.find(&name).await?;
    if run.outcome.is_none() {
        let message = format!("run {} is not over; end it with `upkeep cancel {}` first", run.id, run.id);
        return Err(ApiError::new(ErrorCode::RunNotOver, message));
    }
    let folder = state.plans_of(&run.id);
    let by = peer.by();
    match waiting(move || undo(&folder)).await?? {
        Some(undone) => {
            let Undone { restored, folders, left, .. } = &undone;
            tracing::info!(run = %run.id, %by, files = restored.items, folders, left, "undone");
            Ok(Json(undone))
        }
        None => Err(ApiError::new(ErrorCode::NothingAside, removal::nothing_aside(&run.id.0))),
    }
}
