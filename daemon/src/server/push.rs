//! Messages: put one into the outbox, list them, show one, send dead ones again, drop one.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::ServerState;
use super::peer::Peer;
use super::reply::{ApiError, Asked, Named, Reply, Told};
use crate::api::{
    Consents, ErrorCode, MessageDetail, Messages, PushRequest, ResendRequest, Resent, ResumeRequest, Resumed,
};
use crate::clock;
use crate::command::Command;
use crate::record::outbox::{EnqueueOutcome, Enqueued, Message, MessageState, NewMessage, is_channel};
use crate::store::{ConsentFilter, MessageFilter, Resend, StoreError};

/// Messages that are given when the question names no number, and the most that one answer holds.
const MESSAGES: (u32, u32) = (50, 1_000);

/// The largest message, in bytes.
pub(super) const LARGEST: usize = 48 << 10;
/// The largest body of a request to give one: JSON may take [`ESCAPED`] bytes for one, and there is more than what counts as the
/// message. So what is too large is told its own size, unless it is far beyond.
pub(super) const LARGEST_BODY: usize = LARGEST * ESCAPED + AROUND;

/// Bytes in which JSON may write one byte of a message, as that is counted: a letter can be `\u0041`, whoever likes that. Characters
/// beyond ASCII are escaped by many; they take 3 for 1 at the most (12 for the 4 of an emoji), but `<` and `&` take all 6.
pub(super) const ESCAPED: usize = 6;
/// What a body may have beside the texts of the message: names, times, and what JSON makes of them.
pub(super) const AROUND: usize = 8 << 10;

/// Names the message: given again, it changes nothing.
const KEY: &str = "idempotency-key";

/// `POST /v1/push`
pub(super) async fn send(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    Told(request): Told<PushRequest>,
) -> Result<(StatusCode, Json<Enqueued>), ApiError> {
    let origin = request.origin.name().to_owned();
    let asked = Enqueuing { origin, by: peer.by(), key: key(&headers)?, largest: LARGEST as u64 };
    enqueue(&state, asked, request).await
}

/// Who gives a message, and what about it does not stand in the request.
pub(super) struct Enqueuing {
    /// Whose idempotency keys count.
    pub(super) origin: String,
    /// For the log.
    pub(super) by: String,
    /// The idempotency key.
    pub(super) key: Option<String>,
    /// The largest message, in bytes.
    pub(super) largest: u64,
}

/// The idempotency key that a request names.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let unreadable =
        |_| ApiError::new(ErrorCode::BadRequest, "the header Idempotency-Key takes visible ASCII characters only");
    headers.get(KEY).map(|key| key.to_str().map(str::to_owned)).transpose().map_err(unreadable)
}

/// Puts a message into the outbox, whoever gives it.
pub(super) async fn enqueue(
    state: &ServerState,
    asked: Enqueuing,
    request: PushRequest,
) -> Result<(StatusCode, Json<Enqueued>), ApiError> {
    let Enqueuing { origin, by, key, largest } = asked;
    let PushRequest { origin: _, channels, priority, not_before, expires, content } = request;
    let message = NewMessage { key, channels, priority, not_before, expires, content };
    if let Some(wrong) = message.wrong(largest, clock::now()) {
        return Err(ApiError::new(ErrorCode::BadRequest, format!("the message cannot be taken in: {wrong}")));
    }
    let message = Box::new(message);
    let enqueued = state.ask(|reply| Command::Enqueue { origin, message, by, reply }).await??;
    match enqueued.outcome {
        EnqueueOutcome::New => Ok((StatusCode::ACCEPTED, Json(enqueued))),
        EnqueueOutcome::Known => Ok((StatusCode::OK, Json(enqueued))),
        EnqueueOutcome::Different => {
            let first = enqueued.id;
            let message = format!(
                "another message has this idempotency key: {first}; give this one a key of its own, `upkeep push show {first}` \
                 shows the first"
            );
            Err(ApiError::new(ErrorCode::KeyTaken, message))
        }
    }
}

/// Which messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageQuery {
    state: Option<MessageState>,
    channel: Option<String>,
    limit: Option<u32>,
    before: Option<String>,
}

/// `GET /v1/push?state=&channel=&limit=&before=`
pub(super) async fn list(State(state): State<ServerState>, Asked(query): Asked<MessageQuery>) -> Reply<Messages> {
    let limit = query.limit.unwrap_or(MESSAGES.0).min(MESSAGES.1);
    let before = query.before.map(|id| id.to_ascii_uppercase());
    let filter = MessageFilter { state: query.state, channel: query.channel, before };
    // One more than asked for tells whether there are more.
    let mut messages = state.journal.messages(&filter, limit.saturating_add(1)).await?;
    let more = messages.len() > limit as usize;
    messages.truncate(limit as usize);
    let next = messages.last().filter(|_| more).map(|message| message.id.clone());
    let channels = state.journal.outbox_counts(clock::now()).await?;
    Ok(Json(Messages { messages, channels, next }))
}

/// Whose consents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentQuery {
    account: Option<String>,
    user: Option<String>,
    template: Option<String>,
    limit: Option<u32>,
}

/// `GET /v1/push/consents?account=&user=&template=&limit=`
pub(super) async fn consents(State(state): State<ServerState>, Asked(query): Asked<ConsentQuery>) -> Reply<Consents> {
    let ConsentQuery { account, user, template, limit } = query;
    let limit = limit.unwrap_or(MESSAGES.0).min(MESSAGES.1);
    let filter = ConsentFilter { account, user, template };
    let mut consents = state.journal.consents(&filter, limit.saturating_add(1)).await?;
    let more = consents.len() > limit as usize;
    consents.truncate(limit as usize);
    let templates = state.journal.consent_templates(&filter).await?;
    Ok(Json(Consents { consents, templates, more }))
}

/// `GET /v1/push/{id}`
pub(super) async fn show(State(state): State<ServerState>, Named(name): Named) -> Reply<MessageDetail> {
    let message = find(&state, &name).await?;
    let attempts = state.journal.attempts(&message.id).await?;
    Ok(Json(MessageDetail { message, attempts }))
}

/// `POST /v1/push/{id}/resend`
pub(super) async fn resend(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Named(name): Named,
) -> Reply<Message> {
    let message = find(&state, &name).await?;
    let (which, by) = (Resend::One(message.id.clone()), peer.by());
    if state.ask(|reply| Command::Resend { which, by, reply }).await?? == 0 {
        return Err(stands(&message, "only dead and expired ones can be sent again"));
    }
    Ok(Json(message))
}

/// `POST /v1/push/resend`
pub(super) async fn resend_dead(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Told(ResendRequest { channel }): Told<ResendRequest>,
) -> Reply<Resent> {
    let (which, by) = (Resend::Dead(channel), peer.by());
    let messages = state.ask(|reply| Command::Resend { which, by, reply }).await??;
    Ok(Json(Resent { messages }))
}

/// `POST /v1/push/resume`
pub(super) async fn resume(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Told(ResumeRequest { channel }): Told<ResumeRequest>,
) -> Reply<Resumed> {
    if !is_channel(&channel) {
        let message = format!("`{channel}` is no channel; `upkeep push list` shows what waits in each");
        return Err(ApiError::new(ErrorCode::BadRequest, message));
    }
    // Of what stands in the way, a token that WeChat did not give may be the one.
    state.keepers.try_again();
    let by = peer.by();
    let was_paused = state.ask(|reply| Command::ResumeChannel { channel, by, reply }).await??;
    Ok(Json(Resumed { was_paused }))
}

/// `POST /v1/push/{id}/drop`
pub(super) async fn remove(
    State(state): State<ServerState>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Named(name): Named,
) -> Reply<Message> {
    let message = find(&state, &name).await?;
    let (id, by) = (message.id.clone(), peer.by());
    if !state.ask(|reply| Command::DropMessage { id, by, reply }).await?? {
        return Err(stands(&message, &format!("it can be dropped when it was not settled by {}", message.due)));
    }
    Ok(Json(message))
}

fn stands(message: &Message, help: &str) -> ApiError {
    let state = message.state.name();
    ApiError::new(ErrorCode::MessageState, format!("message {} is {state}; {help}", message.id))
}

/// The message that a path names, by its identifier or by the beginning of it.
async fn find(state: &ServerState, name: &str) -> Result<Message, ApiError> {
    match state.journal.find_message(name).await {
        Err(error @ StoreError::Ambiguous { .. }) => Err(ApiError::new(ErrorCode::AmbiguousMessage, error.to_string())),
        found => found?.ok_or_else(|| {
            let message = format!("there is no message `{name}`; `upkeep push list` lists them");
            ApiError::new(ErrorCode::NoMessage, message)
        }),
    }
}
