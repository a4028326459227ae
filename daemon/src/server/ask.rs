//! One command to the loop that owns the daemon's state, and its answer.

use std::time::Duration;

use tokio::sync::oneshot;

use super::ServerState;
use super::reply::ApiError;
use crate::api::ErrorCode;
use crate::command::{Command, CommandError};

/// How long an answer is waited for. The loop answers in microseconds; this is for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reload may compile plugins.
const PATIENCE_FOR_RELOAD: Duration = Duration::from_secs(300);

impl ServerState {
    /// Sends what `command` makes of the place for the answer, and waits for the answer.
    pub(super) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let command = command(reply);
        let patience = if matches!(command, Command::Reload(_)) { PATIENCE_FOR_RELOAD } else { PATIENCE };
        let asked = async {
            self.commands.send(command).await.map_err(|_| CommandError::Stopping)?;
            // The loop drops what it no longer answers.
            answer.await.map_err(|_| CommandError::Stopping)
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(answer) => Ok(answer?),
            Err(_) => {
                let message = format!("the daemon did not answer within {} s; its log may say why", patience.as_secs());
                Err(ApiError::new(ErrorCode::Busy, message))
            }
        }
    }
}
