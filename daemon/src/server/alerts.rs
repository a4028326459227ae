//! Alerts: list those that are open, take one on, and send a message on trial.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use serde::Deserialize;

use super::ServerState;
use super::peer::Peer;
use super::reply::{ApiError, Asked, Reply, Told};
use crate::api::{AckRequest, ErrorCode, TestedAlerts};
use crate::clock::{self, Timestamp};
use crate::command::{Acknowledged, Command, OpenAlerts, WrittenDigest};
use crate::record::alert::Acknowledgement;

/// The longest note, in bytes.
const LONGEST_NOTE: usize = 1_000;

/// `GET /v1/alerts`
pub(super) async fn list(State(state): State<ServerState>) -> Reply<OpenAlerts> {
    Ok(Json(state.ask(Command::Alerts).await?))
}

/// `POST /v1/alerts/ack`
pub(super) async fn acknowledge(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Told(AckRequest { key, for_ms, note }): Told<AckRequest>,
) -> Reply<Acknowledged> {
    let bad = |message: &str| ApiError::new(ErrorCode::BadRequest, message);
    if note.as_ref().is_some_and(|note| note.len() > LONGEST_NOTE) {
        return Err(bad("the note takes 1000 bytes at the most"));
    }
    let now = clock::now();
    let until = |ms: u64| i64::try_from(ms).ok().and_then(|ms| now.0.checked_add(ms)).map(Timestamp);
    let until = match for_ms {
        Some(0) => {
            return Err(bad("for no time at all nothing is acknowledged; leave `for_ms` out, or give a longer time"));
        }
        Some(ms) => Some(until(ms).ok_or_else(|| bad("`for_ms` is longer than there is time"))?),
        None => None,
    };
    let acknowledgement = Acknowledgement { by: peer.by(), at: now, until, note };
    Ok(Json(state.ask(|reply| Command::Acknowledge { key, acknowledgement, reply }).await??))
}

/// Of what time, and how much.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DigestQuery {
    since_ms: Option<u64>,
    #[serde(default)]
    all: bool,
}

/// `GET /v1/digest?since_ms=&all=`
pub(super) async fn digest(
    State(state): State<ServerState>,
    Asked(DigestQuery { since_ms, all }): Asked<DigestQuery>,
) -> Reply<WrittenDigest> {
    Ok(Json(state.ask(|reply| Command::Digest { since_ms, all, reply }).await??))
}

/// `POST /v1/alerts/test`
pub(super) async fn test(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
) -> Reply<TestedAlerts> {
    let by = peer.by();
    let messages = state.ask(|reply| Command::TestAlert { by, reply }).await??;
    Ok(Json(TestedAlerts { messages }))
}
