//! What is asked of WeChat, chat robots, webhooks and mail servers to tell somebody something, and what their answers mean.
//!
//! ```
//! use upkeep_channel::{Answer, Message, Outcome, Settings, outcome, request};
//!
//! let settings: Settings = serde_json::from_str(r#"{ "type": "wecom", "key": "ops-robot" }"#)?;
//! let message = Message { id: "m-7".into(), title: "Backup failed".into(), text: "of `/srv`".into(), ..Message::default() };
//! let now = 1_796_008_838_000;
//! let asked = request(&message, &settings, now)?;
//! assert_eq!(asked.shown(), "POST https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={secret ops-robot}");
//!
//! let answer = Answer { status: 200, headers: &[], body: br#"{"errcode":45009,"errmsg":"api freq out of limit"}"# };
//! assert!(matches!(outcome(&settings, &answer, now), Outcome::Throttled { until, .. } if until == now + 60_000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Message`] is told by a channel, of which there is a module each. [`request()`] checks it against the provider's limits
//! ([`Refused`]) and makes a [`Request`]; for mail, [`mail::mail`] makes a [`Mail`](mail::Mail). In a request, secrets are
//! [names](part): [written out](Request::write) it has the host's placeholders, and the host, which has the values, fills them
//! in. The [`outcome()`] says from the answer what became of it, and when to come again: with [`Retry`] for the one message, with
//! [`rate()`] and a [`Bucket`] for the channel. What comes too often for it is [`merged`].
//!
//! The other direction is [`wechat::callback`]: what WeChat tells by itself. That is the host's, since it needs keys.
//!
//! There are no threads, files, sockets or clocks, so that the crate runs in WebAssembly and tests are exact. Times are
//! milliseconds since 1970 unless it says otherwise. Where a protocol's fact comes from is said in its module.

mod answer;
mod cut;
mod digest;
pub mod dingtalk;
pub mod feishu;
pub mod mail;
pub mod markdown;
mod message;
pub mod moment;
pub mod ntfy;
mod outcome;
pub mod part;
mod rate;
mod refused;
mod request;
mod retry;
mod robot;
pub mod webhook;
pub mod wechat;
pub mod wecom;
mod written;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use answer::Answer;
pub use digest::digest;
pub use message::{EVERYBODY, Level, Message, Recipients, Template};
pub use outcome::{Fault, Outcome, Reason};
pub use rate::{Bucket, Limit, MARGIN, Rate};
pub use refused::Refused;
pub use request::{Method, Origin, Request};
pub use retry::Retry;
pub use written::{WriteError, Written};

/// A channel that is spoken to over HTTP, with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Settings {
    /// Subscribe messages of a mini-program.
    WechatSubscribe(wechat::subscribe::Subscribe),
    /// Customer-service messages of a mini-program.
    WechatService(wechat::service::Service),
    /// A robot of WeCom.
    #[serde(rename = "wecom")]
    WeCom(wecom::WeCom),
    /// A robot of DingTalk.
    #[serde(rename = "dingtalk")]
    DingTalk(dingtalk::DingTalk),
    /// A robot of Feishu or Lark.
    Feishu(feishu::Feishu),
    /// A topic of ntfy.
    Ntfy(ntfy::Ntfy),
    /// Any server that takes JSON.
    Webhook(webhook::Webhook),
}

/// The request that tells a message by a channel, or why there cannot be one. It is made when it is sent: signatures have the time
/// in them.
pub fn request(message: &Message, settings: &Settings, now: i64) -> Result<Request, Refused> {
    match settings {
        Settings::WechatSubscribe(it) => wechat::subscribe::request(message, it),
        Settings::WechatService(it) => wechat::service::request(message, it),
        Settings::WeCom(it) => wecom::request(message, it),
        Settings::DingTalk(it) => dingtalk::request(message, it, now),
        Settings::Feishu(it) => feishu::request(message, it, now),
        Settings::Ntfy(it) => ntfy::request(message, it),
        Settings::Webhook(it) => webhook::request(message, it, now),
    }
}

/// What an answer of the channel means. Whoever got none, because the connection failed, has a transient failure.
pub fn outcome(settings: &Settings, answer: &Answer<'_>, now: i64) -> Outcome {
    match settings {
        Settings::WechatSubscribe(_) | Settings::WechatService(_) => wechat::outcome(answer, now),
        Settings::WeCom(_) => wecom::outcome(answer, now),
        Settings::DingTalk(_) => dingtalk::outcome(answer, now),
        Settings::Feishu(_) => feishu::outcome(answer, now),
        Settings::Ntfy(_) => ntfy::outcome(answer, now),
        Settings::Webhook(_) => webhook::outcome(answer, now),
    }
}

/// How often the provider takes messages of one robot, application or server. WeChat tells its quotas by its answers alone.
pub fn rate(settings: &Settings) -> Rate {
    match settings {
        Settings::WechatSubscribe(_) | Settings::WechatService(_) | Settings::Webhook(_) => Rate::NONE,
        Settings::WeCom(_) => wecom::RATE,
        Settings::DingTalk(_) => dingtalk::RATE,
        Settings::Feishu(_) => feishu::RATE,
        Settings::Ntfy(_) => ntfy::RATE,
    }
}

/// Several messages as one that the channel takes uncut. Nothing for WeChat, whose messages are to one user each, in a form.
/// See [`digest()`] for what it says.
pub fn merged(messages: &[Message], settings: &Settings) -> Option<Message> {
    robot::merged(messages, settings)
}
