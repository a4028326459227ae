//! ntfy, at ntfy.sh or anywhere.
//!
//! `POST /` with the topic and all else in JSON. 4096 bytes of text, 1024 of a title (since 2.28); a server takes 60 requests at once
//! and then one each five seconds, as it comes. Source: docs.ntfy.sh, "publishing" and "configuration".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::answer::{Answer, integer, text};
use crate::cut::{bytes, cut};
use crate::message::{Message, Severity};
use crate::moment::MINUTE;
use crate::outcome::{Outcome, Reason};
use crate::part::{Part, Piece, Word};
use crate::rate::{Limit, Rate};
use crate::refused::Refused;
use crate::request::Request;

/// Settings of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ntfy {
    /// The topic. On a server that asks for no password, whoever knows it reads along: then it is a secret.
    pub topic: Word,
    /// The name of the secret that is an access token (`tk_...`), or the password if there is a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The user whose password the secret is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the server is.
    #[serde(default = "base")]
    pub base: String,
}

fn base() -> String {
    "https://ntfy.sh".to_owned()
}

/// Bytes of a text; a longer one would arrive as a file.
pub const MOST: usize = 4096;

/// 60 in five minutes: what a server gives that was just started, and what it gives in the long run. It may be configured otherwise.
pub const RATE: Rate = Rate { limits: &[Limit { count: 60, window: 5 * MINUTE }], punishment: 0 };

/// The request of a message.
pub fn request(message: &Message, settings: &Ntfy) -> Result<Request, Refused> {
    message.check()?;
    let (priority, tag) = match message.severity {
        Severity::Info => (3, None),
        Severity::Low => (2, None),
        Severity::Medium => (3, Some("warning")),
        Severity::High => (4, Some("warning")),
        Severity::Critical => (5, Some("rotating_light")),
    };
    // A message without words is shown as "triggered".
    let words = message.words();
    let words = if words.is_empty() { message.headline().into() } else { words };
    let mut rest = json!({
        "title": message.headline(),
        "message": cut(&words, MOST, bytes),
        "markdown": true,
        "priority": priority,
        "tags": tag.into_iter().collect::<Vec<_>>(),
    });
    if let Some(link) = &message.link {
        rest["click"] = json!(link);
    }
    let request = Request::new(&settings.base, "/")?;
    let request = match (&settings.user, &settings.secret) {
        (None, None) => request,
        (None, Some(secret)) => request.header("authorization", vec!["Bearer ".into(), Part::Secret(secret.clone())]),
        (Some(user), Some(_)) if user.contains(':') => return Err(Refused::rule("user", "a name without a colon")),
        (Some(user), Some(secret)) => {
            let login = vec![Piece::Text(format!("{user}:")), Piece::Secret(secret.clone())];
            request.header("authorization", vec!["Basic ".into(), Part::Base64(login)])
        }
        (Some(_), None) => return Err(Refused::Empty { field: "secret".into() }),
    };
    let topic = match &settings.topic {
        // A text of the body is a part of a document already.
        Word::Plain(topic) => crate::request::in_json(topic).into(),
        secret @ Word::Named(_) => Part::from(secret),
    };
    let rest = rest.to_string();
    Ok(request.body(vec!["{\"topic\":\"".into(), topic, format!("\",{}", rest.trim_start_matches('{')).into()]))
}

/// What an answer means. Statuses say it all; codes and words are in the body.
pub fn outcome(answer: &Answer<'_>, now: i64) -> Outcome {
    let object = answer.object();
    match (answer.by_status(now), object) {
        (None, Some(object)) if !text(&object, "id").is_empty() => Outcome::Accepted { id: Some(text(&object, "id")) },
        (None, _) => answer.unreadable(now),
        (Some(mut outcome), Some(object)) => {
            let code = integer(&object, "code").flatten();
            let error = text(&object, "error");
            if let (
                Outcome::Permanent { reason, .. }
                | Outcome::Transient { reason, .. }
                | Outcome::Throttled { reason, .. },
                Some(_),
            ) = (&mut outcome, code)
                && !error.is_empty()
            {
                *reason = Reason {
                    remedy: reason.remedy.take(),
                    ..Reason::new(code, "ntfy does not take the message", &error)
                };
            }
            outcome
        }
        (Some(outcome), None) => outcome,
    }
}
