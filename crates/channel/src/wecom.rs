//! WeCom's robots.
//!
//! `POST https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=`, twenty a minute; 4096 bytes of Markdown or 2048 of text. Source:
//! developer.work.weixin.qq.com, document 91770.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::answer::{Answer, integer, text};
use crate::cut::{bytes, cut};
use crate::message::{EVERYBODY, Message};
use crate::moment::MINUTE;
use crate::outcome::{Fault, Outcome, Reason};
use crate::part::Part;
use crate::rate::{Limit, Rate};
use crate::refused::Refused;
use crate::request::Request;
use crate::robot;

/// Settings of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeCom {
    /// The name of the secret that stands behind `key=` in the robot's address.
    #[schemars(extend("format" = "upkeep-secret"))]
    pub key: String,
    /// Where the API is.
    #[serde(default = "base")]
    #[schemars(extend("format" = "upkeep-requested"))]
    pub base: String,
}

fn base() -> String {
    "https://qyapi.weixin.qq.com".to_owned()
}

/// Bytes of Markdown.
pub const MOST_MARKDOWN: usize = 4096;
/// Bytes of text.
pub const MOST_TEXT: usize = 2048;

/// Twenty a minute. The documentation knows no punishment.
pub const RATE: Rate = Rate { limits: &[Limit { count: 20, window: MINUTE }], punishment: 0 };

/// The request of a message: Markdown; if somebody is called by name, a text, which alone can do that.
pub fn request(message: &Message, settings: &WeCom) -> Result<Request, Refused> {
    message.check()?;
    let (content, limit) = content(message);
    let content = cut(&content, limit, bytes);
    let body = if message.to.mention.is_empty() {
        json!({ "msgtype": "markdown", "markdown": { "content": content } })
    } else {
        let is_phone =
            |it: &&String| it.as_str() == EVERYBODY || it.bytes().all(|it| it.is_ascii_digit() || it == b'+');
        let (phones, users): (Vec<&String>, Vec<&String>) = message.to.mention.iter().partition(is_phone);
        json!({
            "msgtype": "text",
            "text": {
                "content": content,
                "mentioned_list": users,
                "mentioned_mobile_list": phones,
            },
        })
    };
    let request = Request::new(&settings.base, "/cgi-bin/webhook/send")?;
    Ok(request.query("key", vec![Part::Secret(settings.key.clone())]).json(&body))
}

/// All that there is to say, and how much of it WeCom takes.
pub(crate) fn content(message: &Message) -> (String, usize) {
    if message.to.mention.is_empty() {
        // `<@user>` calls somebody; who is called is said by the recipients and by nothing that a text contains.
        (robot::markdown(message).replace("<@", "< @"), MOST_MARKDOWN)
    } else {
        (robot::text(message), MOST_TEXT)
    }
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
    match code {
        -1 => Outcome::Transient { wait: None, reason: reason("WeCom is busy") },
        45009 | 45033 => Outcome::Throttled {
            until: now.saturating_add(MINUTE),
            reason: reason("more than twenty messages in a minute"),
        },
        93000 => {
            let remedy =
                "set the secret to what stands behind key= in the robot's address; the robot may have been removed";
            Outcome::permanent(Fault::Channel, reason("WeCom knows no robot of this key").remedy(remedy))
        }
        _ => {
            let remedy = "look the code up in WeCom's documentation";
            Outcome::permanent(Fault::Message, reason("WeCom does not take the message").remedy(remedy))
        }
    }
}
