//! ntfy, at ntfy.sh or anywhere.
//!
//! `POST /TOPIC` with the text as the body, and all else in headers: title and link as RFC 2047 has it, since both may say
//! anything. 4096 bytes of text, 1024 of a title (since 2.28); a server takes 60 requests at once and then one each five
//! seconds, as it comes. What is published again under a `X-Sequence-ID` takes the place of what was there (since 2.16).
//! Source: docs.ntfy.sh, "publishing" and "configuration".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, integer, text};
use crate::cut::{bytes, cut};
use crate::message::{Level, Message};
use crate::moment::MINUTE;
use crate::outcome::{Outcome, Reason};
use crate::part::{Part, Word};
use crate::rate::{Limit, Rate};
use crate::refused::Refused;
use crate::request::Request;
use crate::webhook::authorization;
use crate::written::in_header;

/// Settings of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ntfy {
    /// The topic. On a server that asks for no password, whoever knows it reads along: then it is a secret.
    pub topic: Word,
    /// The name of the secret that is an access token (`tk_...`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "upkeep-secret"))]
    pub token: Option<String>,
    /// Instead of a token, the name of the secret `user:password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "upkeep-secret"))]
    pub login: Option<String>,
    /// Where the server is.
    #[serde(default = "base")]
    #[schemars(extend("format" = "upkeep-requested"))]
    pub base: String,
}

fn base() -> String {
    "https://ntfy.sh".to_owned()
}

/// Bytes of a text; a longer one would arrive as a file.
pub const MOST: usize = 4096;

/// 60 in five minutes: what a server gives that was just started, and what it gives in the long run. It may be configured otherwise.
pub const RATE: Rate = Rate { limits: &[Limit { count: 60, window: 5 * MINUTE }], punishment: 0 };

/// Bytes of a name of ntfy: a topic, a sequence.
const MOST_OF_NAME: usize = 64;

fn is_name(text: &str) -> bool {
    (1..=MOST_OF_NAME).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
}

/// The request of a message.
pub fn request(message: &Message, settings: &Ntfy) -> Result<Request, Refused> {
    message.check()?;
    let (priority, tag) = match message.level {
        Level::Info => ("3", None),
        Level::Warn => ("3", Some("warning")),
        Level::Error => ("4", Some("warning")),
        Level::Critical => ("5", Some("rotating_light")),
    };
    if let Word::Plain(topic) = &settings.topic
        && !is_name(topic)
    {
        return Err(Refused::rule("topic", "up to 64 letters, digits, - and _"));
    }
    // A message without words is shown as "triggered".
    let words = message.words();
    let words = if words.is_empty() { message.headline().into() } else { words };
    let mut request = Request::new(&settings.base, "/")?
        .text(&cut(&words, MOST, bytes))
        .header("x-title", vec![in_header(&message.headline()).into()])
        .header("x-markdown", vec!["1".into()])
        .header("x-priority", vec![priority.into()]);
    request.path.push(Part::from(&settings.topic));
    if let Some(tag) = tag {
        request = request.header("x-tags", vec![tag.into()]);
    }
    if let Some(link) = message.link() {
        request = request.header("x-click", vec![in_header(link).into()]);
    }
    if is_name(&message.id) {
        request = request.header("x-sequence-id", vec![message.id.as_str().into()]);
    }
    if let Some(value) = authorization(settings.token.as_ref(), settings.login.as_ref(), "token")? {
        request = request.header("authorization", value);
    }
    Ok(request)
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
