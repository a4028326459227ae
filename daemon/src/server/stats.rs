//! Figures of logs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::ServerState;
use super::reply::{ApiError, Asked, Named, Reply};
use crate::api::ErrorCode;
use crate::clock;
use crate::command::{Command, CommandError};
use crate::stats::{self, Keeping, Question, Stats, StatsError};

/// `GET /v1/stats?source=&from=&to=&by=&top=`
pub(super) async fn only(State(state): State<ServerState>, Asked(question): Asked<Question>) -> Reply<Stats> {
    answer(&state, None, question).await
}

/// `GET /v1/stats/{task}?source=&from=&to=&by=&top=`
pub(super) async fn of_task(
    State(state): State<ServerState>,
    Named(task): Named,
    Asked(question): Asked<Question>,
) -> Reply<Stats> {
    answer(&state, Some(task), question).await
}

async fn answer(state: &ServerState, task: Option<String>, question: Question) -> Reply<Stats> {
    let tasks: Vec<Keeping> = state.ask(Command::Figures).await?;
    if let Some(task) = task.as_ref().filter(|task| !tasks.iter().any(|it| it.task == **task)) {
        return Err(CommandError::NoTask { task: task.clone() }.into());
    }
    let state_dir = Arc::clone(&state.state_dir);
    let now = clock::now().utc();
    let read = move || {
        stats::answer(&state_dir, &tasks, task.as_deref(), &question, |zone| now.with_timezone(&zone).naive_local())
    };
    let answer = tokio::task::spawn_blocking(read).await;
    let answer =
        answer.map_err(|error| ApiError::new(ErrorCode::Figures, format!("the figures were not read: {error}")))?;
    Ok(Json(answer?))
}

impl From<StatsError> for ApiError {
    fn from(error: StatsError) -> Self {
        let code = match error {
            StatsError::Span(_) | StatsError::Which(_) => ErrorCode::BadRequest,
            StatsError::None { .. } | StatsError::NoSource { .. } => ErrorCode::NoFigures,
            StatsError::Unreadable { .. } => ErrorCode::Figures,
        };
        Self::new(code, error.to_string())
    }
}
