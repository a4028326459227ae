//! What is known of users' consents to messages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// A user's consents to messages of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Consent {
    /// The appid.
    pub account: String,
    /// The provider's id of the template.
    pub template: String,
    /// The openid.
    pub user: String,
    /// Messages that the user still accepts; of a long-term consent 1, or 0.
    pub remaining: u32,
    /// Whether it is not used up.
    pub long_term: bool,
    /// Whether the user has turned messages off.
    pub refused: bool,
    /// What happened last.
    pub event: ConsentEvent,
    /// When.
    pub changed: Timestamp,
}

/// What happens to consents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConsentEvent {
    /// The user was asked and accepted: one more.
    Accepted,
    /// The user was asked and declined: as many as before.
    Declined,
    /// The user turned messages off: none.
    TurnedOff,
    /// The user turned messages on: a long-term consent is there again, others are not.
    TurnedOn,
    /// A message arrived: it was taken before.
    Delivered,
    /// A message that the provider took did not arrive.
    Failed,
    /// One was taken for a message.
    Taken,
    /// It was not needed.
    GivenBack,
    /// The provider says that there is none.
    UsedUp,
}

impl ConsentEvent {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::TurnedOff => "turned-off",
            Self::TurnedOn => "turned-on",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Taken => "taken",
            Self::GivenBack => "given-back",
            Self::UsedUp => "used-up",
        }
    }
}

/// A template of which there were events, so that there is something to be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsentTemplate {
    /// The appid.
    pub account: String,
    /// The provider's id of it.
    pub template: String,
    /// The first event. What was consented to before is not known.
    pub since: Timestamp,
    /// Users who accept a message.
    pub users: u64,
    /// Messages that they accept, without long-term consents.
    pub remaining: u64,
}

/// What a provider tells, about one user and one template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentNews {
    /// The same for the same thing told again.
    pub id: String,
    /// The provider's id of the template.
    pub template: String,
    /// The openid.
    pub user: String,
    /// What happened: not what is done to the ledger by itself.
    pub event: ConsentEvent,
    /// Whether the template is one of those whose consents are not used up.
    pub long_term: bool,
    /// Which message it is about.
    pub delivery: Option<Delivery>,
}

/// What became of a message that the provider took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The provider's id of it.
    pub message: String,
    /// 0 when it arrived.
    pub code: Option<i64>,
    /// In the provider's words.
    pub status: String,
}

/// A message that wants a consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentAsk {
    /// Its id in the outbox: it takes one, however often it asks.
    pub message: String,
    /// The appid.
    pub account: String,
    /// The provider's id of the template.
    pub template: String,
    /// The openid.
    pub user: String,
}

/// Whether a message got a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// One is its own now.
    Taken,
    /// There is one that is not used up.
    LongTerm,
    /// There is none.
    Nothing,
    /// Nothing is known of the template.
    Unknown,
}
