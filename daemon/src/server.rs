//! The control API: HTTP and JSON over a Unix socket, so that the command line and other programs of this machine can
//! ask and tell the daemon. Who may is decided by the file's mode and group; who did is known from the kernel.
//!
//! Flow: [`Socket`] accepts a connection and asks the kernel for the [`Peer`]; the route calls a handler. A question
//! about the past is answered from the journal, here. Anything else becomes a [`Command`](crate::command::Command) to
//! the loop that owns the state, and its answer goes back. Nothing here touches the daemon's state, so that a slow
//! client cannot hold it up.
//!
//! | module    | holds                                                      |
//! |-----------|------------------------------------------------------------|
//! | `socket`  | the file: made safely, replaced when stale                 |
//! | `peer`    | who is at the other end                                    |
//! | `ask`     | one command and its answer                                 |
//! | `tasks`   | status, tasks, slots, reload                               |
//! | `egress`  | requests to other servers                                  |
//! | `holds`   | what must stay in backup repositories                      |
//! | [`listen`] | what is asked over TCP: messages alone, with a token       |
//! | `plans`   | what is to be removed, and what was moved aside            |
//! | `push`    | messages of the outbox                                     |
//! | `runs`    | runs: start, cancel, list, show                            |
//! | `findings` | what is wrong beyond single runs, and what is ignored      |
//! | `follow`  | streams of a run: its log and its events, until it is over |
//! | `stats`   | figures of logs                                            |
//! | `reply`   | answers: JSON, or an error with its status                 |

mod alerts;
mod ask;
mod egress;
mod findings;
mod follow;
mod holds;
pub mod listen;
mod peer;
mod plans;
mod push;
mod reply;
mod runs;
mod socket;
mod stats;
mod tasks;
mod tokens;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::api::ErrorCode;
use crate::command::Commands;
use crate::event::Events;
use crate::store::Reader;
use crate::tokens::Keepers;

pub use self::peer::Peer;
pub use self::socket::{Socket, SocketError};

/// Streams that may be open at the same time.
const FOLLOWERS: usize = 64;

/// The largest body of a request, in bytes; a message has [more room](push::LARGEST_BODY).
const LARGEST_BODY: usize = 64 * 1024;

/// What the handlers work with.
#[derive(Debug, Clone)]
pub struct ServerState {
    commands: Commands,
    journal: Reader,
    events: Events,
    followers: Arc<Semaphore>,
    state_dir: Arc<Path>,
    keepers: Keepers,
    /// Ends the streams, which would otherwise last as long as their runs.
    shutdown: CancellationToken,
}

impl ServerState {
    /// `commands` reach the loop that owns the daemon's state, `journal` knows the past, `events` tell of the present; plans are
    /// kept in `state_dir`.
    pub fn new(commands: Commands, journal: Reader, events: Events, state_dir: Arc<Path>) -> Self {
        let followers = Arc::new(Semaphore::new(FOLLOWERS));
        let (keepers, shutdown) = (Keepers::default(), CancellationToken::new());
        Self { commands, journal, events, followers, state_dir, keepers, shutdown }
    }

    /// Tells of the access tokens that are kept.
    pub fn with_keepers(self, keepers: Keepers) -> Self {
        Self { keepers, ..self }
    }
}

/// Serves until `shutdown`; then requests under way are answered, streams end, and the socket file goes.
///
/// # Errors
///
/// When the socket can no longer be listened to.
pub async fn serve(socket: Socket, state: ServerState, shutdown: CancellationToken) -> std::io::Result<()> {
    let state = ServerState { shutdown: shutdown.clone(), ..state };
    let service = router(state).into_make_service_with_connect_info::<Peer>();
    axum::serve(socket, service).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn router(state: ServerState) -> Router {
    let v1 = Router::new()
        .route("/status", get(tasks::status))
        .route("/tasks", get(tasks::list))
        .route("/tasks/{task}/run", post(runs::run))
        .route("/runs", get(runs::list))
        .route("/runs/{id}", get(runs::show))
        .route("/runs/{id}/cancel", post(runs::cancel))
        .route("/runs/{id}/plan", get(plans::show))
        .route("/runs/{id}/undo", post(plans::put_back))
        .route("/plans", post(plans::carry_out))
        .route("/runs/{id}/logs", get(follow::logs))
        .route("/runs/{id}/events", get(follow::events))
        .route("/slots", get(tasks::slots))
        .route("/runs/{id}/documents/{name}", get(runs::document))
        .route("/findings", get(findings::list))
        .route("/findings/ignore", post(findings::ignore))
        .route("/findings/heed", post(findings::heed))
        .route("/push", get(push::list).post(push::send).layer(DefaultBodyLimit::max(push::LARGEST_BODY)))
        .route("/push/consents", get(push::consents))
        .route("/push/resend", post(push::resend_dead))
        .route("/push/resume", post(push::resume))
        .route("/push/{id}", get(push::show))
        .route("/push/{id}/resend", post(push::resend))
        .route("/push/{id}/drop", post(push::remove))
        .route("/alerts", get(alerts::list))
        .route("/alerts/ack", post(alerts::acknowledge))
        .route("/alerts/test", post(alerts::test))
        .route("/digest", get(alerts::digest))
        .route("/egress", get(egress::list))
        .route("/tokens", get(tokens::list))
        .route("/stats", get(stats::only))
        .route("/stats/{task}", get(stats::of_task))
        .route("/holds", get(holds::list))
        .route("/holds/release", post(holds::release))
        .route("/reload", post(tasks::reload));
    Router::new()
        .nest("/v1", v1)
        .fallback(|uri: axum::http::Uri| async move {
            let message = format!("there is nothing at {}; docs/api.md lists the paths, all below /v1", uri.path());
            reply::ApiError::new(ErrorCode::NoPath, message)
        })
        .method_not_allowed_fallback(|method: axum::http::Method, uri: axum::http::Uri| async move {
            reply::ApiError::new(ErrorCode::Method, format!("{} does not answer to {method}", uri.path()))
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(state)
}

#[cfg(test)]
mod tests;
