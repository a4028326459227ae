//! Status, tasks, slots and reload.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::ServerState;
use super::reply::{Asked, Reply};
use crate::api::{Slots, Tasks};
use crate::command::{Command, Reloaded, Status};

/// Slots that are given when the question names no number, and the most that one answer holds.
const SLOTS: (u32, u32) = (50, 1_000);

/// `GET /v1/status`
pub(super) async fn status(State(state): State<ServerState>) -> Reply<Status> {
    Ok(Json(state.ask(Command::Status).await?))
}

/// `GET /v1/tasks`
pub(super) async fn list(State(state): State<ServerState>) -> Reply<Tasks> {
    let mut tasks = state.ask(Command::List).await?;
    tasks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Tasks { tasks }))
}

/// `POST /v1/reload`
pub(super) async fn reload(State(state): State<ServerState>) -> Reply<Reloaded> {
    Ok(Json(state.ask(Command::Reload).await??))
}

/// Which slots.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SlotQuery {
    task: Option<String>,
    limit: Option<u32>,
}

/// `GET /v1/slots?task=&limit=`
pub(super) async fn slots(State(state): State<ServerState>, Asked(query): Asked<SlotQuery>) -> Reply<Slots> {
    let limit = query.limit.unwrap_or(SLOTS.0).min(SLOTS.1);
    let slots = state.journal.slots(query.task.as_deref(), limit).await?;
    Ok(Json(Slots { slots }))
}
