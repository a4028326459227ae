//! Requests to other servers.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::ServerState;
use super::reply::{Asked, Reply};
use crate::api::Requests;
use crate::record::Run;
use crate::store::EgressFilter;

/// Requests that are given when the question names no number, and the most that one answer holds.
const REQUESTS: (u32, u32) = (50, 1_000);

/// Which requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EgressQuery {
    task: Option<String>,
    run: Option<String>,
    limit: Option<u32>,
    before: Option<String>,
}

/// `GET /v1/egress?task=&run=&limit=&before=`
pub(super) async fn list(State(state): State<ServerState>, Asked(query): Asked<EgressQuery>) -> Reply<Requests> {
    let limit = query.limit.unwrap_or(REQUESTS.0).min(REQUESTS.1);
    let run = match query.run {
        Some(name) => {
            let Run { id, .. } = state.find(&name).await?;
            Some(id)
        }
        None => None,
    };
    let filter = EgressFilter { task: query.task, run, before: query.before };
    // One more than asked for tells whether there are more.
    let mut requests = state.journal.egress(&filter, limit.saturating_add(1)).await?;
    let more = requests.len() > limit as usize;
    requests.truncate(limit as usize);
    let next = requests.last().filter(|_| more).map(|request| request.id.clone());
    Ok(Json(Requests { requests, next }))
}
