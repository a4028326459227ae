//! Access tokens that are kept. Never the tokens.

use axum::Json;
use axum::extract::State;

use super::ServerState;
use crate::api::KeptTokens;

/// `GET /v1/tokens`
pub(super) async fn list(State(state): State<ServerState>) -> Json<KeptTokens> {
    Json(KeptTokens { tokens: state.keepers.kept() })
}
