//! What WeChat answers when it is asked for a token.

use serde::Deserialize;
use upkeep_channel::{Answer, Outcome, Reason, wechat};
use zeroize::Zeroizing;

use super::state::Asked;
use crate::clock::Timestamp;
use crate::config::secret::SecretValue;

/// Characters of a token. WeChat asks for room for 512.
const LONGEST: usize = 2_048;
/// How long a token lasts when WeChat does not say so, in seconds, and the longest that is believed.
const USUAL: i64 = 7_200;
const LONGEST_LIFE: i64 = 86_400;

/// What the answer gives.
#[derive(Debug)]
pub(super) enum Given {
    /// A token, for so many milliseconds.
    Token(SecretValue, i64),
    /// None.
    None(Refusal),
}

/// Why it gives none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// Until when it is of no use to ask again, where WeChat's rules tell.
    pub(super) until: Option<Timestamp>,
    /// Whether nothing changes until somebody does something about it.
    pub(super) is_lasting: bool,
}

#[derive(Deserialize)]
struct Fields {
    access_token: Option<String>,
    expires_in: Option<i64>,
}

/// Reads an answer.
pub(super) fn read(asked: &Asked, now: Timestamp) -> Given {
    let answer = Answer { status: asked.status, headers: &[], body: &asked.body };
    let (reason, until, is_lasting) = match wechat::outcome(&answer, now.0) {
        Outcome::Accepted { .. } => match token(&asked.body) {
            Some((token, life)) => return Given::Token(token, life),
            None => (unreadable(), None, false),
        },
        Outcome::Throttled { until, reason } => (reason, Some(Timestamp(until)), false),
        Outcome::Transient { wait, reason } => (reason, wait.map(|wait| Timestamp(now.0.saturating_add(wait))), false),
        // The secret is what is refused here, since there is no token in the question.
        Outcome::Permanent { reason, .. } | Outcome::Credential { reason } => (reason, None, true),
    };
    Given::None(Refusal { reason, until, is_lasting })
}

fn token(body: &[u8]) -> Option<(SecretValue, i64)> {
    let Fields { access_token, expires_in } = serde_json::from_slice(body).ok()?;
    let token = Zeroizing::new(access_token?);
    let is_token = (8..=LONGEST).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    let life = expires_in.unwrap_or(USUAL).clamp(1, LONGEST_LIFE);
    is_token.then(|| (SecretValue::new(token), life * 1_000))
}

fn unreadable() -> Reason {
    Reason { text: "the answer has no token in it; a proxy may stand in between".to_owned(), ..Reason::default() }
}
