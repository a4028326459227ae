//! What PostgreSQL and MariaDB have in common: a connection that waits on a thread made for waiting, and what errors mean.

use std::future::Future;
use std::time::Duration;

use sqlx::Error;
use tokio::runtime::Handle;

use crate::config::secret::SecretError;
use crate::config::sql::SqlServer;
use crate::rows::condition::Kind;
use crate::rows::{Clock, RowsError, Selection};

/// How long a server may take to answer a connection.
const CONNECTING: Duration = Duration::from_secs(30);

/// How long counting may take before the database's own estimate has to do, in seconds.
pub(super) const COUNTING: u32 = 30;

/// How long somebody else may keep a lock before a transaction of ours is given up, in seconds.
pub(super) const LOCKED: u32 = 1;

/// How long one statement may take at all, in seconds.
pub(super) const LONGEST: u32 = 120;

/// What keeps a password from being had.
pub(super) fn no_secret(name: &str) -> impl FnOnce(SecretError) -> RowsError {
    let name = name.to_owned();
    |source| RowsError::Secret { name, source }
}

/// A connection.
pub(super) struct Link<C> {
    runtime: Handle,
    /// How messages call the database.
    pub(super) place: String,
    pub(super) connection: C,
}

impl<C> Link<C> {
    /// Connects. `kind` is what the server is called.
    pub(super) fn open(
        kind: &str,
        name: &str,
        server: &SqlServer,
        connect: impl Future<Output = Result<C, Error>>,
    ) -> Result<Self, RowsError> {
        let place = format!("the {kind} database `{}` (`grant.sql.{name}`)", server.database);
        let runtime = Handle::current();
        let connected = runtime.block_on(async { tokio::time::timeout(CONNECTING, connect).await });
        match connected {
            Ok(Ok(connection)) => Ok(Self { runtime, place, connection }),
            Ok(Err(error)) => Err(RowsError::Failed(format!("{place} cannot be reached: {error}"))),
            Err(_) => Err(RowsError::Failed(format!("{place} cannot be reached: no answer for 30 seconds"))),
        }
    }

    /// Waits for what the connection does.
    pub(super) fn wait<'c, T, F: Future<Output = T> + 'c>(&'c mut self, work: impl FnOnce(&'c mut C) -> F) -> T {
        self.runtime.block_on(work(&mut self.connection))
    }
}

/// What a column holds by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Times, in this way.
    Time(Kind),
    Numbers,
    Text,
    NoTime,
}

/// How the column of the selection holds a time, which is of the type `kind`.
pub(super) fn kind_of(selection: &Selection, kind: &str, holds: Holds) -> Result<Kind, RowsError> {
    let Selection { table, column, clock, .. } = selection;
    let told = match (holds, clock) {
        (Holds::Time(kind), None) => return Ok(kind),
        (Holds::Text, Some(Clock::IsoText)) => return Ok(Kind::IsoText),
        (Holds::Numbers, Some(clock)) if *clock != Clock::IsoText => return Ok(Kind::Number(*clock)),
        (Holds::Time(_), Some(_)) => "which says how it holds a time; leave the clock out",
        (Holds::Numbers, None) => {
            "which does not say how it holds a time, so the clock has to be given: `unix-seconds`, `unix-milliseconds` or \
             `unix-microseconds`"
        }
        (Holds::Text, None) => "which does not say how it holds a time, so the clock has to be given: `iso-text`",
        (_, None) => "which holds no time",
        (_, Some(_)) => "which holds no time of this kind",
    };
    Err(RowsError::Invalid(format!("the column `{column}` of `{table}` is of the type {kind}, {told}")))
}

/// What an error is about, whichever server it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A lock, or a deadlock.
    Busy,
    /// It took too long.
    Slow,
    /// A foreign key or a trigger.
    Refused,
    /// The account may not.
    Right,
    /// A value does not fit its column.
    Value,
    Other,
}

/// The error in words.
pub(super) fn explain(place: &str, table: &str, meaning: Meaning, error: &Error) -> RowsError {
    let said = match error {
        Error::Database(error) => error.message().to_owned(),
        error => error.to_string(),
    };
    match meaning {
        Meaning::Busy => RowsError::Busy(format!("{place}: `{table}` is locked by others: {said}")),
        Meaning::Slow => RowsError::Failed(format!("{place}: a statement on `{table}` was given up: {said}")),
        Meaning::Refused => RowsError::Refused(format!(
            "{place} does not let rows of `{table}` go: {said}. Remove what refers to them first, in a rule of its own before \
             this one"
        )),
        Meaning::Right => RowsError::Failed(format!(
            "{place}: the account may not do this: {said}; it needs SELECT and DELETE on `{table}` (in PostgreSQL also UPDATE, \
             for locking rows), and to look after a table its ownership or MAINTAIN"
        )),
        Meaning::Value => RowsError::Invalid(format!("{place}: `{table}`: {said}")),
        Meaning::Other => RowsError::Failed(format!("{place}: {said}")),
    }
}
