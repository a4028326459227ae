//! Findings: list them, ignore one, heed it again.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use serde::Deserialize;

use super::ServerState;
use super::peer::Peer;
use super::reply::{ApiError, Asked, Reply, Told};
use crate::api::{ErrorCode, Findings, HeedRequest, IgnoreRequest};
use crate::clock;
use crate::command::Command;
use crate::findings::SHORTEST;
use crate::record::finding::{IgnoredFinding, Life};

/// Which findings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindingQuery {
    task: Option<String>,
}

/// `GET /v1/findings?task=`
pub(super) async fn list(State(state): State<ServerState>, Asked(query): Asked<FindingQuery>) -> Reply<Findings> {
    Ok(Json(Findings { findings: state.journal.lives(query.task.as_deref()).await? }))
}

/// `POST /v1/findings/ignore`
pub(super) async fn ignore(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Told(IgnoreRequest { finding, reason, until }): Told<IgnoreRequest>,
) -> Reply<Life> {
    let life = find(&state, &finding).await?;
    let since = clock::now();
    if reason.trim().is_empty() {
        return Err(ApiError::new(ErrorCode::BadRequest, "say why the finding is ignored: `reason` is empty"));
    }
    if until < since.utc().date_naive() {
        let message = format!("{until} is over: nothing would be ignored; write a later day");
        return Err(ApiError::new(ErrorCode::BadRequest, message));
    }
    let (id, task) = (life.finding.id.clone(), life.task.clone());
    let entry = IgnoredFinding { id, task, reason, until, by: peer.by(), since };
    state.ask(|reply| Command::Ignore { entry, reply }).await??;
    Ok(Json(life))
}

/// `POST /v1/findings/heed`
pub(super) async fn heed(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Told(HeedRequest { finding }): Told<HeedRequest>,
) -> Reply<Life> {
    let life = find(&state, &finding).await?;
    let (id, by) = (life.finding.id.clone(), peer.by());
    if !state.ask(|reply| Command::Heed { id, by, reply }).await?? {
        let message =
            format!("no person ignores {}; if an entry of the task file does, remove it there", life.finding.id);
        return Err(ApiError::new(ErrorCode::NoFinding, message));
    }
    Ok(Json(life))
}

/// The finding whose identifier begins so.
async fn find(state: &ServerState, start: &str) -> Result<Life, ApiError> {
    let start = start.to_ascii_lowercase();
    if start.len() < SHORTEST {
        let message = format!("`{start}` is too short to tell findings apart: write at least {SHORTEST} digits");
        return Err(ApiError::new(ErrorCode::BadRequest, message));
    }
    let mut lives = state.journal.lives(None).await?;
    lives.retain(|life| life.finding.id.starts_with(&start));
    match (lives.pop(), lives.pop()) {
        (Some(life), None) => Ok(life),
        (None, _) => {
            let message = format!("no finding begins with `{start}`; `upkeep findings` shows those there are");
            Err(ApiError::new(ErrorCode::NoFinding, message))
        }
        (Some(one), Some(other)) => {
            let message = format!("several findings begin with `{start}`: {}, {}", one.finding.id, other.finding.id);
            Err(ApiError::new(ErrorCode::AmbiguousFinding, message))
        }
    }
}
