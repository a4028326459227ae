//! Runs: start one, cancel one, list them, show one.

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::ServerState;
use super::peer::Peer;
use super::reply::{ApiError, Asked, Named, Reply, Told};
use crate::api::{Cancelling, ErrorCode, Queued, RunDetail, RunRequest, Runs};
use crate::command::Command;
use crate::outcome::Outcome;
use crate::record::{Run, RunId};
use crate::store::{RunFilter, StoreError};

/// Runs that are given when the question names no number, and the most that one answer holds.
const RUNS: (u32, u32) = (50, 1_000);

impl ServerState {
    /// The run that a path names, by its identifier or by the beginning of it.
    pub(super) async fn find(&self, name: &str) -> Result<Run, ApiError> {
        let none = || ApiError::new(ErrorCode::NoRun, format!("there is no run `{name}`; `upkeep history` lists them"));
        let id = match self.journal.find(name).await {
            Err(error @ StoreError::Ambiguous { .. }) => {
                return Err(ApiError::new(ErrorCode::AmbiguousRun, error.to_string()));
            }
            found => found?.ok_or_else(none)?,
        };
        self.journal.run(&id).await?.ok_or_else(none)
    }
}

/// `POST /v1/tasks/{task}/run`
pub(super) async fn run(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Named(task): Named,
    Told(RunRequest { dry_run }): Told<RunRequest>,
) -> Result<(StatusCode, Json<Queued>), ApiError> {
    let by = peer.by();
    let run = state.ask(|reply| Command::Run { task, dry_run, plan: None, by, reply }).await??;
    Ok((StatusCode::ACCEPTED, Json(Queued { run })))
}

/// `POST /v1/runs/{id}/cancel`
pub(super) async fn cancel(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Named(name): Named,
) -> Result<(StatusCode, Json<Cancelling>), ApiError> {
    let Run { id: run, outcome, .. } = state.find(&name).await?;
    if let Some(outcome) = outcome {
        let message = format!("run {run} is over already: {outcome}");
        return Err(ApiError::new(ErrorCode::RunOver, message));
    }
    let by = peer.by();
    state.ask(|reply| Command::Cancel { run: run.clone(), by, reply }).await??;
    Ok((StatusCode::ACCEPTED, Json(Cancelling { run })))
}

/// Which runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RunQuery {
    task: Option<String>,
    outcome: Option<String>,
    limit: Option<u32>,
    before: Option<String>,
}

/// `GET /v1/runs?task=&outcome=&limit=&before=`
pub(super) async fn list(State(state): State<ServerState>, Asked(query): Asked<RunQuery>) -> Reply<Runs> {
    let limit = query.limit.unwrap_or(RUNS.0).min(RUNS.1);
    if let Some(outcome) = &query.outcome
        && !Outcome::NAMES.contains(&outcome.as_str())
    {
        let message = format!("`{outcome}` is no outcome; there are: {}", Outcome::NAMES.join(", "));
        return Err(ApiError::new(ErrorCode::BadRequest, message));
    }
    // A page may begin behind a run that has been forgotten since, so it need not be there.
    let before = query.before.map(|id| RunId(id.to_ascii_uppercase().into()));
    let filter = RunFilter { task: query.task, outcome: query.outcome, phase: None, before };
    // One more than asked for tells whether there are more.
    let mut runs = state.journal.runs(&filter, limit.saturating_add(1)).await?;
    let more = runs.len() > limit as usize;
    runs.truncate(limit as usize);
    let next = runs.last().filter(|_| more).map(|run| run.id.clone());
    Ok(Json(Runs { runs, next }))
}

/// `GET /v1/runs/{id}`
pub(super) async fn show(State(state): State<ServerState>, Named(name): Named) -> Reply<RunDetail> {
    let run = state.find(&name).await?;
    Ok(Json(RunDetail::read(&state.journal, run).await?))
}

/// `GET /v1/runs/{id}/documents/{name}`
pub(super) async fn document(
    State(state): State<ServerState>,
    Path((run, name)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let run = state.find(&run).await?;
    let Some(document) = state.journal.document(&run.id, &name).await? else {
        let message = format!("run {} has no document `{name}`; `upkeep show {}` names those it has", run.id, run.id);
        return Err(ApiError::new(ErrorCode::NoDocument, message));
    };
    Ok(([(CONTENT_TYPE, document.media_type)], document.content).into_response())
}
