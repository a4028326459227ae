//! What can be asked: give a message, what became of one, and whether anybody is there. Everything else is not found, whether the
//! control API knows it or not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::json;
use tokio::time::Instant;

use super::accept::Remote;
use super::access::{Access, Caller, bearer};
use super::{Shared, body, wechat};
use crate::api::{ErrorCode, MessageDetail, PushOrigin, PushRequest};
use crate::command::CommandError;
use crate::server::push::{self, Enqueuing};
use crate::server::reply::{ApiError, Reply};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/push", post(give))
        .route("/v1/push/{id}", get(show))
        .route("/healthz", get(health))
        .fallback(other)
        .method_not_allowed_fallback(nothing)
        .with_state(shared)
}

/// What WeChat tells, and what is nowhere.
async fn other(
    State(shared): State<Arc<Shared>>,
    Extension(Remote(remote)): Extension<Remote>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let access = shared.access();
    match access.endpoint(request.uri().path()) {
        Some(endpoint) => {
            let address = access.address(remote, request.headers());
            wechat::answer(&shared, &endpoint, address, request).await
        }
        None => Err(nothing(request.uri().clone()).await),
    }
}

pub(super) async fn nothing(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(100).collect();
    ApiError::new(ErrorCode::NoPath, format!("there is nothing at {path}; docs/api.md says what is asked over TCP"))
}

/// `GET /healthz`
async fn health(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    if shared.state.commands.is_closed() {
        return Err(CommandError::Stopping.into());
    }
    Ok(Json(json!({ "status": "ok" })).into_response())
}

/// `POST /v1/push`
async fn give(
    State(shared): State<Arc<Shared>>,
    Extension(Remote(remote)): Extension<Remote>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let access = shared.access();
    let address = access.address(remote, &head.headers);
    let caller = who(&shared, &access, address, &head.headers)?;
    let Caller { name, origin, may, .. } = &*caller;
    if let Err(wait) = shared.pace(name, may.rate, Instant::now()) {
        let message = format!("{} messages a minute are allowed (listen.client.{name}.rate)", may.rate);
        return Err(ApiError::new(ErrorCode::TooMany, message).after(seconds(wait)));
    }
    let most = usize::try_from(may.max_message.0).unwrap_or(0) * push::ESCAPED + push::AROUND;
    let bytes = body::read(&head.headers, body, most).await?;
    let request: PushRequest = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::new(ErrorCode::BadRequest, format!("the body cannot be used: {error}")))?;
    check(name, &caller, &request)?;
    let by = format!("{origin} at {address}");
    let asked = Enqueuing { origin: origin.clone(), by, key: push::key(&head.headers)?, largest: may.max_message.0 };
    Ok(push::enqueue(&shared.state, asked, request).await?.into_response())
}

/// Whether the client may give this.
fn check(name: &str, caller: &Caller, request: &PushRequest) -> Result<(), ApiError> {
    let forbidden = |message: String| Err(ApiError::new(ErrorCode::Forbidden, message));
    if request.origin != PushOrigin::default() {
        return forbidden(format!("the messages of this client come from `{}`; leave `origin` out", caller.origin));
    }
    if let Some(channel) = request.channels.iter().find(|channel| !caller.may.may_use(channel)) {
        let begin: String = channel.chars().take(64).collect();
        return forbidden(format!("this client may not use the channel `{begin}` (listen.client.{name}.channels)"));
    }
    if !caller.may.may_have(request.priority) {
        let most = caller.may.priority.name();
        return forbidden(format!(
            "this client may give the priority `{most}` at the most (listen.client.{name}.priority)"
        ));
    }
    Ok(())
}

/// `GET /v1/push/{id}`
async fn show(
    State(shared): State<Arc<Shared>>,
    Extension(Remote(remote)): Extension<Remote>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Reply<MessageDetail> {
    let access = shared.access();
    let caller = who(&shared, &access, access.address(remote, &headers), &headers)?;
    // The beginning of an identifier would tell whether others have given messages.
    let found = if id.len() == 26 { shared.state.journal.find_message(&id).await? } else { None };
    let Some(message) = found.filter(|message| message.origin == caller.origin) else {
        return Err(ApiError::new(ErrorCode::NoMessage, "this client has given no message with this identifier"));
    };
    let attempts = shared.state.journal.attempts(&message.id).await?;
    Ok(Json(MessageDetail { message, attempts }))
}

/// Who is asking. An address that came with too many wrong tokens is not listened to, right or wrong; on this machine, where one
/// address stands for all programs, a right token is heard all the same.
fn who(shared: &Shared, access: &Access, address: IpAddr, headers: &HeaderMap) -> Result<Arc<Caller>, ApiError> {
    let now = Instant::now();
    let closed = shared.attempts().closed_for(address, now);
    let too_many = |wait: Duration| {
        let message = format!("too many wrong tokens came from {address}");
        ApiError::new(ErrorCode::TooMany, message).after(seconds(wait))
    };
    if let Some(wait) = closed.filter(|_| !address.is_loopback()) {
        return Err(too_many(wait));
    }
    let Some(token) = bearer(headers) else {
        let message = "a token is needed: `Authorization: Bearer TOKEN`, one of those in listen.client of upkeep.toml";
        return Err(ApiError::new(ErrorCode::Unauthorized, message));
    };
    if let Some(caller) = access.of(token) {
        return Ok(caller);
    }
    if shared.attempts().wrong(address, now) {
        tracing::warn!(%address, "somebody came with a token that nobody has");
    }
    match closed {
        Some(wait) => Err(too_many(wait)),
        None => Err(ApiError::new(
            ErrorCode::Unauthorized,
            "no client of upkeep has this token (listen.client in upkeep.toml)",
        )),
    }
}

/// Whole seconds, rounded up: a client that waits as long finds what it waits for.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
