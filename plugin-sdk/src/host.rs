//! The other side of the host API: upkeep itself in a plugin, the in-memory host of [`crate::test`] in a native test.
//!
//! Both have the same functions, so that the wrappers are written once. The types are always those of the WIT.

#[cfg(target_family = "wasm")]
pub(crate) mod clock;
#[cfg(target_family = "wasm")]
pub(crate) mod http;

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::upkeep::plugin::{
    consents, drill, dump, files, journal, log, metrics, outbox, purge, removal, repository, secrets, smtp, sql, state,
    system,
};

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::test::{
    clock, consents, drill, dump, files, http, journal, log, metrics, outbox, purge, removal, repository, secrets,
    smtp, sql, state, system,
};

pub use crate::bindings::upkeep::plugin::types::Error as HostError;

/// What a call of the host gives.
pub type HostResult<T> = Result<T, HostError>;
