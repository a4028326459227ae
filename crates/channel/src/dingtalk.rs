//! DingTalk's robots.
//!
//! `POST https://oapi.dingtalk.com/robot/send?access_token=&timestamp=&sign=`, with milliseconds, and the signature as base64 of
//! HMAC-SHA256 over `timestamp\nsecret` with the secret as its key. Twenty a minute; who comes more often is not served for ten
//! minutes. Source: open.dingtalk.com, "custom robots".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::answer::{Answer, integer, text};
use crate::cut::{bytes, cut};
use crate::message::{EVERYBODY, Message};
use crate::moment::MINUTE;
use crate::outcome::{Fault, Outcome, Reason};
use crate::part::{Part, Piece, Signature, sign};
use crate::rate::{Limit, Rate};
use crate::refused::Refused;
use crate::request::Request;
use crate::robot;

/// Settings of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DingTalk {
    /// The name of the secret that stands behind `access_token=` in the robot's address.
    #[schemars(extend("format" = "upkeep-secret"))]
    pub access_token: String,
    /// The name of the secret that the robot's requests are signed with (`SEC...`), if it asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "upkeep-secret-to-sign"))]
    pub signed_with: Option<String>,
    /// Where the API is.
    #[serde(default = "base")]
    #[schemars(extend("format" = "upkeep-requested"))]
    pub base: String,
}

fn base() -> String {
    "https://oapi.dingtalk.com".to_owned()
}

/// Bytes of Markdown. DingTalk's documentation has no number; its clients are known to take 20,000 bytes for a whole message.
pub const MOST: usize = 18_000;

/// How long a robot that came too often is not served.
pub const PUNISHMENT: i64 = 10 * MINUTE;

/// Twenty a minute, then ten minutes nothing.
pub const RATE: Rate = Rate { limits: &[Limit { count: 20, window: MINUTE }], punishment: PUNISHMENT };

/// The signature of a request at this time, for who has the secret: base64, not yet percent-encoded.
pub fn signature(secret: &str, now: i64) -> String {
    sign(secret.as_bytes(), format!("{now}\n{secret}").as_bytes())
}

/// The request of a message.
pub fn request(message: &Message, settings: &DingTalk, now: i64) -> Result<Request, Refused> {
    message.check()?;
    if message.to.mention.iter().any(|it| it != EVERYBODY && !is_phone(it)) {
        return Err(Refused::rule("mention", "phone numbers for DingTalk, or @all"));
    }
    let everybody = message.to.mention.iter().any(|it| it == EVERYBODY);
    let phones: Vec<&String> = message.to.mention.iter().filter(|it| *it != EVERYBODY).collect();
    let called = called(message);
    let (content, limit) = content(message);
    let body = json!({
        "msgtype": "markdown",
        "markdown": { "title": message.marked(), "text": format!("{}{called}", cut(&content, limit, bytes)) },
        "at": { "atMobiles": phones, "isAtAll": everybody },
    });
    let request = Request::new(&settings.base, "/robot/send")?;
    let request = request.query("access_token", vec![Part::Secret(settings.access_token.clone())]);
    let request = match &settings.signed_with {
        Some(secret) => {
            let sign = Signature {
                key: vec![Piece::Secret(secret.clone())],
                message: vec![Piece::Text(format!("{now}\n")), Piece::Secret(secret.clone())],
            };
            request.query("timestamp", vec![now.to_string().into()]).query("sign", vec![Part::Signature(sign)])
        }
        None => request,
    };
    Ok(request.json(&body))
}

fn is_phone(text: &str) -> bool {
    (5..=20).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit() || matches!(it, b'+' | b'-'))
}

/// Who is called must stand in the text, too.
fn called(message: &Message) -> String {
    message.to.mention.iter().filter(|it| *it != EVERYBODY).map(|it| format!(" @{it}")).collect()
}

/// All that there is to say, and how much of it fits.
pub(crate) fn content(message: &Message) -> (String, usize) {
    (robot::markdown(message), MOST.saturating_sub(called(message).len()))
}

/// What an answer means.
pub fn outcome(answer: &Answer<'_>, now: i64) -> Outcome {
    let object = answer.object();
    let code = object.as_ref().and_then(|it| integer(it, "errcode"));
    match (object, code) {
        (Some(object), Some(Some(code))) if code != 0 => meaning(code, &text(&object, "errmsg"), now),
        (Some(_), Some(Some(_))) => answer.by_status(now).unwrap_or(Outcome::Accepted { id: None }),
        _ => answer.by_status(now).unwrap_or_else(|| answer.unreadable(now)),
    }
}

fn meaning(code: i64, message: &str, now: i64) -> Outcome {
    let reason = |text: &str| Reason::new(Some(code), text, message);
    let channel = |text: &str, remedy: &str| Outcome::permanent(Fault::Channel, reason(text).remedy(remedy));
    match code {
        -1 => Outcome::Transient { wait: None, reason: reason("DingTalk is busy") },
        130101 | 410100 => {
            let text = "more than twenty messages in a minute, for which DingTalk takes none for ten";
            Outcome::Throttled { until: now.saturating_add(PUNISHMENT), reason: reason(text) }
        }
        310000 if message.to_ascii_lowercase().contains("keyword") => Outcome::permanent(
            Fault::Message,
            reason("the message has none of the words that the robot asks for")
                .remedy("write one of them, or change them in the robot's security settings"),
        ),
        310000 => {
            let remedy = "compare the robot's security settings: the secret it signs with, this machine's clock (an hour is the limit) \
                          and address, and the words it asks for";
            channel("DingTalk does not trust the message", remedy)
        }
        300001 | 400101 | 400106 => channel(
            "DingTalk knows no robot of this access token",
            "set the secret to what stands behind access_token= in the robot's address; the robot may have been removed",
        ),
        400013 => channel("the group does not exist any more", "set the secret to another robot's access token"),
        400102 => channel("the robot is switched off", "switch it on in the group's settings"),
        _ => {
            let remedy = "look the code up in DingTalk's documentation";
            Outcome::permanent(Fault::Message, reason("DingTalk does not take the message").remedy(remedy))
        }
    }
}
