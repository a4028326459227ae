//! What is known of an access token that the host keeps. Never the token.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// One application's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptToken {
    /// The application.
    pub appid: String,
    /// Where its API is.
    pub api: String,
    /// When the token was given; none while there is none.
    pub got: Option<Timestamp>,
    /// Until when it works, as far as WeChat said.
    pub expires: Option<Timestamp>,
    /// When it was last asked for, with or without success.
    pub asked: Option<Timestamp>,
    /// How many different ones there were since the daemon started.
    pub tokens: u64,
    /// How many of today, in Beijing, were forced; WeChat allows 20.
    pub forced_today: u32,
    /// Why there is no newer one.
    pub trouble: Option<TokenTrouble>,
}

/// Why a token is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenTrouble {
    /// WeChat's code; none when it could not be reached.
    pub code: Option<i64>,
    /// What is wrong, and what helps.
    pub reason: String,
    /// Nobody asks again before.
    pub until: Timestamp,
}
