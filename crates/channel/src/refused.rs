//! Why a message cannot be sent by a channel, known before anything is sent.

/// What is wrong with a message or with the channel's settings. It is permanent: the same message is refused again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A field without which nothing can be sent.
    #[error("{field} is empty: write something into it")]
    Empty {
        /// Its name.
        field: String,
    },
    /// A field that the provider would refuse, and that may not be cut.
    #[error("{field} is too long: {has} {unit}, and the limit is {limit}; shorten it")]
    TooLong {
        /// Its name.
        field: String,
        /// The provider's limit.
        limit: usize,
        /// What is counted.
        unit: &'static str,
        /// How much there is.
        has: usize,
    },
    /// A field that is not as the provider wants it.
    #[error("{field} must be {rule}")]
    Rule {
        /// Its name.
        field: String,
        /// What it must be.
        rule: String,
    },
    /// Nobody to tell.
    #[error("{channel} needs {what}: name it in the message's recipients")]
    NoRecipient {
        /// The channel.
        channel: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// A template that the settings of the channel do not have.
    #[error("there is no template {name:?} in the channel's settings, only {known}; add it or use one of these")]
    NoTemplate {
        /// As the message has it.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A message without a template, for a channel that knows nothing else.
    #[error("{channel} is a template that is filled in: name one (`--template`), the channel has {known}")]
    NoForm {
        /// The channel.
        channel: &'static str,
        /// Those that there are.
        known: String,
    },
    /// An address of a server that cannot be one.
    #[error("{url:?} is no address of a server: {why}")]
    Address {
        /// As the settings have it.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl Refused {
    /// A field that is not as the provider wants it.
    pub(crate) fn rule(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Rule { field: field.into(), rule: rule.into() }
    }
}
