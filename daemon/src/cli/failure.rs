//! Exit codes, and errors as the operator reads them: one line that says what went wrong and one that says what to do.
//! Whatever no line here knows is a bug, and says so.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use crate::api::ErrorCode;
use crate::cli::screen::plain;
use crate::client::ClientError;
use crate::daemon::DaemonError;
use crate::removal::RemovalError;

/// How the process ends. `docs/cli.md` and `upkeep --help` list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done; a run that was waited for succeeded.
    Done = 0,
    /// The run did not succeed, or was not waited for to its end.
    Unsuccessful = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// No daemon listens.
    NoDaemon = 3,
    /// What was named does not exist.
    NotFound = 4,
    /// Something else went wrong.
    Internal = 5,
}

/// For `upkeep --help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; a run that was waited for succeeded
  1  the run did not succeed, or was not waited for to its end
  2  wrong usage or configuration
  3  no daemon listens on the socket
  4  what was named does not exist
  5  something else went wrong; the message says what

Environment:
  UPKEEP_CONFIG  configuration folder, where --config is not given
  UPKEEP_LOG     what is logged: error, warn, info, debug, trace
  NO_COLOR       set it to anything to get no colours";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

const CHECK_AGAIN: &str = "`upkeep check` checks it again without running anything";

/// An error that the operator can do something about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What went wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Failure {
    /// A failure with a remedy.
    pub fn new(exit: Exit, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: Some(help.into()) }
    }

    /// What a command found wrong with what it was given. That it cannot write is another matter, and stays as it is.
    pub fn found(exit: Exit, error: anyhow::Error) -> anyhow::Error {
        match error.downcast::<io::Error>() {
            Ok(error) => error.into(),
            Err(wrong) => Self::split(exit, format!("{wrong:#}")).into(),
        }
    }

    /// A failure whose message holds the remedy already, behind a semicolon: it gets a line of its own.
    pub(crate) fn split(exit: Exit, message: String) -> Self {
        match message.split_once("; ") {
            Some((message, help)) => Self::new(exit, message, help),
            None => Self { exit, message, help: None },
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::NoDaemon { .. } => Self::new(
                Exit::NoDaemon,
                message,
                "is upkeep running? `systemctl status upkeep` tells; `upkeep run TASK --standalone` works without it",
            ),
            ClientError::Forbidden { .. } => Self::new(
                Exit::NoDaemon,
                message,
                "use sudo, or join the group that `socket_group` in upkeep.toml names",
            ),
            ClientError::Refused(body) => {
                let exit = match body.error {
                    // Diagnostics are of several lines, and each has its own remedy.
                    ErrorCode::Config => return Self::new(Exit::Usage, message, CHECK_AGAIN),
                    ErrorCode::BadRequest
                    | ErrorCode::AmbiguousRun
                    | ErrorCode::AmbiguousFinding
                    | ErrorCode::AmbiguousMessage
                    | ErrorCode::AmbiguousAlert
                    | ErrorCode::KeyTaken
                    | ErrorCode::MessageState => Exit::Usage,
                    ErrorCode::NoTask
                    | ErrorCode::NoRun
                    | ErrorCode::NoFinding
                    | ErrorCode::NoMessage
                    | ErrorCode::NoAlert
                    | ErrorCode::NoDocument
                    | ErrorCode::RunOver
                    | ErrorCode::RunNotOver
                    | ErrorCode::NoPlan
                    | ErrorCode::NothingAside
                    | ErrorCode::NoFigures => Exit::NotFound,
                    ErrorCode::Stopping => Exit::NoDaemon,
                    ErrorCode::NoPath
                    | ErrorCode::Method
                    | ErrorCode::Unauthorized
                    | ErrorCode::Forbidden
                    | ErrorCode::Timeout
                    | ErrorCode::TooLarge
                    | ErrorCode::TooMany
                    | ErrorCode::TooManyFollowers
                    | ErrorCode::Busy
                    | ErrorCode::Journal
                    | ErrorCode::Removal
                    | ErrorCode::Figures
                    | ErrorCode::Unknown => Exit::Internal,
                };
                Self::split(exit, message)
            }
            ClientError::Unwritten(_) => {
                Self::new(Exit::Usage, message, "is there room, and may this user write there?")
            }
            ClientError::Broken(_) => Self::new(
                Exit::Internal,
                message,
                "if it was restarted, ask again; `journalctl -u upkeep` tells what happened",
            ),
            ClientError::Nonsense(_) => Self::new(
                Exit::Internal,
                message,
                "are `upkeep` and the daemon of the same version? `upkeep --version` and `upkeep status` tell",
            ),
        }
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        let exit = match &error {
            DaemonError::Config(_) | DaemonError::Plan { .. } => Exit::Usage,
            DaemonError::NoTask(_) => Exit::NotFound,
            DaemonError::Store(_)
            | DaemonError::Sandbox(_)
            | DaemonError::Socket(_)
            | DaemonError::Listen(_)
            | DaemonError::Kernel { .. } => Exit::Internal,
        };
        match &error {
            DaemonError::Config(diagnostics) => {
                Self::new(exit, format!("the configuration is not valid\n{}", diagnostics.trim_end()), CHECK_AGAIN)
            }
            DaemonError::Kernel { .. } => Self { exit, message: error.to_string(), help: None },
            _ => Self::split(exit, error.to_string()),
        }
    }
}

/// Writes what went wrong to `err`, and gives how the process ends.
pub fn report(error: anyhow::Error, colour: bool, err: &mut dyn Write) -> Exit {
    // `upkeep history | head` closes the pipe: nothing went wrong.
    if error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)) {
        return Exit::Done;
    }
    let failure = error
        .downcast::<Failure>()
        .or_else(|error| error.downcast::<ClientError>().map(Failure::from))
        .or_else(|error| error.downcast::<DaemonError>().map(Failure::from))
        .or_else(|error| {
            error.downcast::<RemovalError>().map(|error| Failure::split(Exit::Internal, error.to_string()))
        });
    let failure = failure.unwrap_or_else(|bug| {
        Failure::new(
            Exit::Internal,
            format!("{bug:#}"),
            format!("this is a bug of upkeep {}; please report it with what you did", env!("CARGO_PKG_VERSION")),
        )
    });
    let (red, bold, reset) = if colour { ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    // An error that cannot be shown cannot be shown.
    let _ = writeln!(err, "{red}error:{reset} {}", plain(&failure.message));
    if let Some(help) = &failure.help {
        let _ = writeln!(err, "{bold}help:{reset} {}", plain(help));
    }
    failure.exit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ErrorBody;

    fn shown(error: anyhow::Error) -> (Exit, String) {
        let mut err = Vec::new();
        let exit = report(error, false, &mut err);
        (exit, String::from_utf8(err).unwrap())
    }

    #[test]
    fn tells_what_to_do() {
        let socket = "/run/upkeep/upkeep.sock".into();
        let (exit, text) = shown(ClientError::NoDaemon { socket }.into());
        assert_eq!(exit, Exit::NoDaemon);
        insta::assert_snapshot!(text, @"
        error: no daemon listens on /run/upkeep/upkeep.sock
        help: is upkeep running? `systemctl status upkeep` tells; `upkeep run TASK --standalone` works without it
        ");

        let message = "there is no task `bakup`; `upkeep list` shows those there are".to_owned();
        let (exit, text) = shown(ClientError::Refused(ErrorBody { error: ErrorCode::NoTask, message }).into());
        assert_eq!(exit, Exit::NotFound);
        insta::assert_snapshot!(text, @"
        error: there is no task `bakup`
        help: `upkeep list` shows those there are
        ");

        let (exit, text) = shown(anyhow::anyhow!("the cause").context("failed to think"));
        assert_eq!(exit, Exit::Internal);
        insta::assert_snapshot!(text, @"
        error: failed to think: the cause
        help: this is a bug of upkeep 0.1.0; please report it with what you did
        ");
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let closed = io::Error::from(ErrorKind::BrokenPipe);
        assert_eq!(shown(anyhow::Error::from(closed).context("failed to write")), (Exit::Done, String::new()));
    }
}
