//! Why a task failed, in the three ways that matter to the host: it retries only what is transient.

use crate::bindings::exports::upkeep::plugin::task::Failure;
use crate::host::HostError;

/// Why a task failed.
///
/// `?` turns every error into one. A [`HostError::Unavailable`], also inside a [`std::io::Error`], becomes
/// transient; everything else is permanent.
///
/// ```
/// use upkeep_plugin::{Error, HostError};
///
/// assert_eq!(Error::from(HostError::Unavailable("disk is away".into())), Error::transient("unavailable: disk is away"));
/// assert_eq!(Error::from("7x".parse::<u32>().unwrap_err()), Error::permanent("invalid digit found in string"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The task's configuration is wrong: a retry cannot help.
    Config(String),
    /// It may work later: the run is retried as the task file says.
    Transient(String),
    /// It will not work later.
    Permanent(String),
}

/// What the functions of a task return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The configuration is wrong. Say which key, and what would be right.
    pub fn config(message: impl Into<String>) -> Self {
        Self::Config(message.into())
    }

    /// It may work later.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::Transient(message.into())
    }

    /// It will not work later.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Permanent(message.into())
    }

    /// The text for people, without the kind.
    pub fn message(&self) -> &str {
        match self {
            Self::Config(message) | Self::Transient(message) | Self::Permanent(message) => message,
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(it) = cause {
            let host = match it.downcast_ref::<std::io::Error>() {
                Some(io) => io.get_ref().and_then(|inner| inner.downcast_ref::<HostError>()),
                None => it.downcast_ref::<HostError>(),
            };
            if let Some(host) = host {
                return Self::of_host(host);
            }
            cause = it.source();
        }
        Self::Permanent(error.to_string())
    }
}

impl Error {
    fn of_host(error: &HostError) -> Self {
        let (name, message) = describe(error);
        let text = [name, ": ", message].concat();
        if matches!(error, HostError::Unavailable(_)) { Self::Transient(text) } else { Self::Permanent(text) }
    }

    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Config(message) => Failure::Config(message),
            Self::Transient(message) => Failure::Transient(message),
            Self::Permanent(message) => Failure::Permanent(message),
        }
    }
}

fn describe(error: &HostError) -> (&'static str, &str) {
    match error {
        HostError::Denied(message) => ("denied", message),
        HostError::Invalid(message) => ("invalid", message),
        HostError::NotFound(message) => ("not found", message),
        HostError::Conflict(message) => ("conflict", message),
        HostError::Limit(message) => ("limit", message),
        HostError::Unavailable(message) => ("unavailable", message),
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message())
    }
}
