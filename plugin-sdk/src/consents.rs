//! Users' consents to messages: how many more a user accepts, as the provider tells of them.
//!
//! Before a message goes to a user, it takes a consent; when it was not sent, it gives it back. It takes one, however often it asks:
//! a run that was killed in between and tries the message again has it still.
//!
//! ```
//! use upkeep_plugin::consents::{self, Ask, Taking};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! # let host = upkeep_plugin::test::Host::new().consents("wx1", "paid", "oA1", 1);
//! let ask = |message: &str| Ask::new(message, "wx1", "paid", "oA1");
//! assert_eq!(consents::remaining("wx1", "paid", "oA1")?, Some(1));
//! assert_eq!(consents::take([ask("m1"), ask("m2")])?, [Taking::Taken, Taking::Nothing]);
//! consents::give_back(["m1"])?;
//! assert_eq!(consents::take([ask("m2")])?, [Taking::Taken]);
//! # Ok(())
//! # }
//! ```

pub use crate::bindings::upkeep::plugin::consents::{Ask, Taking};
use crate::host::{HostResult, consents as host};

impl Ask {
    /// A message, by its identifier in the outbox, that is for a user of an account and made of a template.
    pub fn new(
        message: impl Into<String>,
        account: impl Into<String>,
        template: impl Into<String>,
        user: impl Into<String>,
    ) -> Self {
        Self { message: message.into(), account: account.into(), template: template.into(), user: user.into() }
    }
}

/// How many messages of a template a user still accepts; `u32::MAX` of a consent that is not used up. None when nothing is known of
/// the template.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without a grant for the account.
pub fn remaining(account: &str, template: &str, user: &str) -> HostResult<Option<u32>> {
    host::remaining(account, template, user)
}

/// Takes a consent for each message, in order; durable on return. At most 1,000 at once. Not while planning.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without a grant for an account; then none is taken.
pub fn take(asks: impl IntoIterator<Item = Ask>) -> HostResult<Vec<Taking>> {
    host::take(&asks.into_iter().collect::<Vec<_>>())
}

/// Gives back what was taken for messages that were not sent. Not while planning.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the grant.
pub fn give_back<M: Into<String>>(messages: impl IntoIterator<Item = M>) -> HostResult<()> {
    host::give_back(&messages.into_iter().map(Into::into).collect::<Vec<_>>())
}

/// The provider says that these users have none left, whatever was counted. Not while planning.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without a grant for an account.
pub fn used_up(asks: impl IntoIterator<Item = Ask>) -> HostResult<()> {
    host::used_up(&asks.into_iter().collect::<Vec<_>>())
}
