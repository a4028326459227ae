//! What became of a message, as far as an answer tells.

use serde::{Deserialize, Serialize};

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The provider has it.
    Accepted {
        /// What the provider calls it, if it says so.
        id: Option<String>,
    },
    /// It will not be accepted by this channel, however often it is sent: the next channel's turn.
    Permanent {
        /// Whose fault it is.
        fault: Fault,
        /// Why.
        reason: Reason,
    },
    /// It may be accepted when it is sent again. The provider may have it already.
    Transient {
        /// Milliseconds that the provider asks to wait for, at least.
        wait: Option<i64>,
        /// Why.
        reason: Reason,
    },
    /// Nothing of the channel is accepted until then; the message has not failed.
    Throttled {
        /// Milliseconds since 1970.
        until: i64,
        /// Why.
        reason: Reason,
    },
    /// The access token is not accepted. The host renews it, unless another request already did, and the message is sent once
    /// more; if that ends here again, it is transient.
    Credential {
        /// Why.
        reason: Reason,
    },
}

/// What a permanent failure tells about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// This message: another one may be accepted.
    Message,
    /// This recipient: another one may be reached. The user has no consent left, or is not known.
    Recipient,
    /// The channel: no message is accepted until somebody changes its settings, here or at the provider.
    Channel,
}

/// Why, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The provider's code, or the status of HTTP or SMTP.
    pub code: Option<i64>,
    /// What is wrong, with the provider's own words behind it; 400 characters at most, one line.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// WeChat's name for the request, for `/cgi-bin/openapi/rid/get` and its support.
    pub rid: Option<String>,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        if let Some(code) = self.code {
            write!(f, " ({code})")?;
        }
        if let Some(rid) = &self.rid {
            write!(f, ", rid {rid}")?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

/// Characters of a reason.
const MOST: usize = 400;

impl Reason {
    /// What is wrong, and the provider's words for it.
    pub(crate) fn new(code: Option<i64>, text: &str, theirs: &str) -> Self {
        // `Too Many Requests` says no more than what is said already.
        let says_more = !theirs.trim_end_matches(['.', '!']).eq_ignore_ascii_case(text) && !theirs.is_empty();
        let text = if says_more { format!("{text}: {theirs}") } else { text.to_owned() };
        Self { code, text: crate::message::one_line(&text).chars().take(MOST).collect(), remedy: None, rid: None }
    }

    /// With what to do about it.
    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

impl Outcome {
    /// Why, unless it was accepted.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Accepted { .. } => None,
            Self::Permanent { reason, .. }
            | Self::Transient { reason, .. }
            | Self::Throttled { reason, .. }
            | Self::Credential { reason } => Some(reason),
        }
    }

    pub(crate) fn permanent(fault: Fault, reason: Reason) -> Self {
        Self::Permanent { fault, reason }
    }
}
