//! Holds on backup repositories: list them, end them.

use axum::Json;
use axum::extract::{ConnectInfo, State};

use super::ServerState;
use super::peer::Peer;
use super::reply::{ApiError, Reply, Told};
use crate::api::{ErrorCode, Holds, ReleaseRequest};
use crate::command::Command;

/// `GET /v1/holds`
pub(super) async fn list(State(state): State<ServerState>) -> Reply<Holds> {
    Ok(Json(Holds { holds: state.journal.holds(None).await? }))
}

/// `POST /v1/holds/release`
pub(super) async fn release(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Told(ReleaseRequest { task, url }): Told<ReleaseRequest>,
) -> Reply<Holds> {
    if task.is_empty() {
        return Err(ApiError::new(ErrorCode::BadRequest, "the body names no task: {\"task\": \"NAME\"}"));
    }
    let by = peer.by();
    let holds = state.ask(|reply| Command::Release { task, url, by, reply }).await??;
    Ok(Json(Holds { holds }))
}
