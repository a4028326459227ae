//! Feishu's robots, and Lark's, which are the same elsewhere.
//!
//! `POST https://open.feishu.cn/open-apis/bot/v2/hook/<id>`, with seconds, and the signature as base64 of HMAC-SHA256 over nothing
//! with the key `timestamp\nsecret`. Five a second and a hundred a minute; 20 KB. Source: open.feishu.cn, "custom bots".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::{Answer, integer, text};
use crate::cut::{cut, json_bytes};
use crate::message::{EVERYBODY, Message};
use crate::moment::{DAY, MINUTE, SECOND};
use crate::outcome::{Fault, Outcome, Reason};
use crate::part::{Content, Part, Piece, Signature, sign};
use crate::rate::{Limit, Rate};
use crate::refused::Refused;
use crate::request::{Request, in_json};
use crate::robot;

/// Settings of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feishu {
    /// The name of the secret that is the last part of the robot's address.
    #[schemars(extend("format" = "upkeep-secret"))]
    pub hook: String,
    /// The name of the secret that the robot's requests are signed with, if it asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "upkeep-secret-to-sign"))]
    pub signed_with: Option<String>,
    /// Where the API is; Lark's is `https://open.larksuite.com`.
    #[serde(default = "base")]
    #[schemars(extend("format" = "upkeep-requested"))]
    pub base: String,
}

fn base() -> String {
    "https://open.feishu.cn".to_owned()
}

/// Bytes of a whole body. Whether a KB has 1000 bytes or 1024 is not said.
pub const MOST: usize = 20_000;
/// Bytes of a body that are not the text: names, timestamp and signature.
const AROUND: usize = 256;

/// Five a second and a hundred a minute.
pub const RATE: Rate =
    Rate { limits: &[Limit { count: 5, window: SECOND }, Limit { count: 100, window: MINUTE }], punishment: 0 };

/// The signature of a request at this time, for who has the secret.
pub fn signature(secret: &str, now: i64) -> String {
    let key = format!("{}\n{secret}", now.div_euclid(SECOND));
    sign(key.as_bytes(), b"")
}

/// The request of a message.
pub fn request(message: &Message, settings: &Feishu, now: i64) -> Result<Request, Refused> {
    message.check()?;
    let called: String = message.to.mention.iter().map(|it| mention(it)).collect::<Result<_, _>>()?;
    let (content, limit) = content(message);
    let room = limit.saturating_sub(called.chars().map(json_bytes).sum());
    let content = format!("{}{called}", cut(&content, room, json_bytes));
    let rest = json!({ "msg_type": "text", "content": { "text": content } });
    let mut request = Request::new(&settings.base, "/open-apis/bot/v2/hook/")?;
    request.path.push(Part::Secret(settings.hook.clone()));
    Ok(match &settings.signed_with {
        Some(secret) => request.body(signed(secret, now, &rest)),
        None => request.json(&rest),
    })
}

/// All that there is to say, and how much of it Feishu takes, measured as JSON.
pub(crate) fn content(message: &Message) -> (String, usize) {
    // `<at ...>` calls somebody; who is called is said by the recipients and by nothing that a text contains.
    (robot::text(message).replace("<at", "< at").replace("</at", "< /at"), MOST - AROUND)
}

/// The body with timestamp and signature in front.
fn signed(secret: &str, now: i64, rest: &Value) -> Vec<Content> {
    let seconds = now.div_euclid(SECOND).to_string();
    let sign = Signature {
        key: vec![Piece::Text(format!("{seconds}\n")), Piece::Secret(secret.to_owned())],
        message: Vec::new(),
    };
    let rest = rest.to_string();
    vec![
        format!("{{\"timestamp\":\"{}\",\"sign\":\"", in_json(&seconds)).into(),
        Content::Signature(sign),
        format!("\",{}", rest.trim_start_matches('{')).into(),
    ]
}

fn mention(name: &str) -> Result<String, Refused> {
    if name == EVERYBODY {
        return Ok(" <at user_id=\"all\"></at>".to_owned());
    }
    if name.is_empty() || !name.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it)) {
        return Err(Refused::rule("mention", "open ids of Feishu, which are letters, digits, - and _"));
    }
    Ok(format!(" <at user_id=\"{name}\"></at>"))
}

/// What an answer means. Errors come with status 200 or 400; a success as `code` or, from older versions, as `StatusCode`.
pub fn outcome(answer: &Answer<'_>, now: i64) -> Outcome {
    let Some(object) = answer.object() else {
        return answer.by_status(now).unwrap_or_else(|| answer.unreadable(now));
    };
    let code = match integer(&object, "code") {
        Some(None) => integer(&object, "StatusCode"),
        code => code,
    };
    let words = [text(&object, "msg"), text(&object, "StatusMessage")].into_iter().find(|it| !it.is_empty());
    match code {
        Some(Some(code)) if code != 0 => meaning(code, &words.unwrap_or_default(), answer, now),
        Some(Some(_)) => answer.by_status(now).unwrap_or(Outcome::Accepted { id: None }),
        _ => answer.by_status(now).unwrap_or_else(|| answer.unreadable(now)),
    }
}

fn meaning(code: i64, message: &str, answer: &Answer<'_>, now: i64) -> Outcome {
    let reason = |text: &str| Reason::new(Some(code), text, message);
    let channel = |text: &str, remedy: &str| Outcome::permanent(Fault::Channel, reason(text).remedy(remedy));
    // Seconds until the limit begins anew, which the gateway says beside or instead of `Retry-After`.
    let reset = answer.header("x-ogw-ratelimit-reset").and_then(|it| it.trim().parse::<i64>().ok());
    let reset = reset.filter(|it| *it >= 0).map(|it| it.saturating_mul(SECOND).min(DAY));
    let wait = crate::moment::retry_after(answer, now).or(reset);
    let throttled = |usual: i64, text: &str| Outcome::Throttled {
        until: now.saturating_add(wait.unwrap_or(usual)),
        reason: reason(text),
    };
    match code {
        11232 => throttled(MINUTE, "more messages than Feishu takes of one robot or one group"),
        // One code for a body that is wrong and for too many requests. Size and form have been checked, so the latter is likelier;
        // unless Feishu says so, it counts as a try, and tries end.
        9499 if says_too_many(message) => throttled(MINUTE, "more messages than Feishu takes"),
        9499 => Outcome::Transient {
            wait: Some(wait.unwrap_or(MINUTE)),
            reason: reason("Feishu takes no message, or not this one"),
        },
        19001 => channel(
            "Feishu knows no robot of this address",
            "set the secret to the last part of the robot's address; the robot may have been removed",
        ),
        19021 => channel(
            "the signature is wrong or more than an hour old",
            "set the robot's secret anew, and this machine's clock",
        ),
        19022 => {
            channel("the robot takes nothing from this machine's address", "add it to the robot's security settings")
        }
        19024 => Outcome::permanent(
            Fault::Message,
            reason("the message has none of the words that the robot asks for")
                .remedy("write one of them, or change them in the robot's security settings"),
        ),
        _ => {
            let remedy = "look the code up in Feishu's documentation";
            Outcome::permanent(Fault::Message, reason("Feishu does not take the message").remedy(remedy))
        }
    }
}

fn says_too_many(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    ["too many", "frequen", "limit"].iter().any(|it| lower.contains(it))
}
