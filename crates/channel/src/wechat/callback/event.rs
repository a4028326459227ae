//! What message push tells, out of its several shapes.
//!
//! In JSON, `List` is an array, or the object itself if there is only one; numbers are numbers or strings. In XML it stands
//! within an element that is named after the event. The shapes are read alike, whichever comes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::CallbackError;
use crate::answer::{integer, text};

/// Something that WeChat told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The same for the same thing: WeChat tells again what was not answered in time.
    pub id: String,
    /// The application, by its original id (`gh_...`).
    pub to: String,
    /// The user's openid.
    pub openid: String,
    /// When it happened, seconds since 1970.
    pub created: i64,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The user was asked: each template that was accepted may be used once more.
    Popup(Vec<Choice>),
    /// The user changed settings: what was rejected may not be used any more.
    Change(Vec<Choice>),
    /// What became of messages that were accepted from us.
    Sent(Vec<Sent>),
    /// The user wrote, or opened the conversation: customer-service messages may be sent for 48 hours.
    Wrote {
        /// WeChat's id of what was written, if it has one.
        id: Option<String>,
    },
    /// Anything else, by its name.
    Other(String),
}

/// A user's choice for a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The id of the template.
    pub template: String,
    /// What was chosen.
    pub status: Status,
}

/// What a user chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Messages are welcome.
    Accept,
    /// They are not.
    Reject,
    /// A word that is not documented; it is no consent.
    Other(String),
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The id of the template.
    pub template: String,
    /// WeChat's id of the message.
    pub message: String,
    /// 0 if it arrived; nothing if it is no number.
    pub code: Option<i64>,
    /// In words: `success`.
    pub status: String,
}

/// Entries of a list; a user can be asked about three templates at once.
const MOST: usize = 1000;

/// Reads a document.
pub(super) fn read(document: &Map<String, Value>) -> Result<Push, CallbackError> {
    let openid = text(document, "FromUserName");
    if openid.is_empty() {
        return Err(CallbackError::Body("it has no FromUserName"));
    }
    let Some(Some(created)) = integer(document, "CreateTime") else {
        return Err(CallbackError::Body("it has no CreateTime"));
    };
    let event = event(document)?;
    Ok(Push { id: id(document), to: text(document, "ToUserName"), openid, created, event })
}

fn event(document: &Map<String, Value>) -> Result<Event, CallbackError> {
    let kind = text(document, "MsgType");
    if kind.is_empty() {
        return Err(CallbackError::Body("it has no MsgType"));
    }
    if !kind.eq_ignore_ascii_case("event") {
        return Ok(Event::Wrote { id: Some(text(document, "MsgId")).filter(|it| !it.is_empty()) });
    }
    let name = text(document, "Event");
    Ok(match name.as_str() {
        "subscribe_msg_popup_event" => Event::Popup(list(document, "SubscribeMsgPopupEvent", choice)?),
        "subscribe_msg_change_event" => Event::Change(list(document, "SubscribeMsgChangeEvent", choice)?),
        "subscribe_msg_sent_event" => Event::Sent(list(document, "SubscribeMsgSentEvent", sent)?),
        "user_enter_tempsession" => Event::Wrote { id: None },
        _ => Event::Other(name),
    })
}

/// The entries of `List`, wherever it stands. An entry without a template says nothing.
fn list<T>(
    document: &Map<String, Value>,
    nested: &str,
    read: fn(&Map<String, Value>) -> T,
) -> Result<Vec<T>, CallbackError> {
    let inner = document.get(nested).and_then(Value::as_object).unwrap_or(document);
    let entries = match inner.get("List") {
        Some(Value::Array(list)) if list.len() > MOST => {
            return Err(CallbackError::Body("its list is longer than any of WeChat's"));
        }
        Some(Value::Array(list)) => list.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => return Err(CallbackError::Body("it has no List")),
    };
    let entries: Vec<&Map<String, Value>> = entries.iter().filter_map(Value::as_object).collect();
    if entries.is_empty() || entries.iter().any(|it| text(it, "TemplateId").is_empty()) {
        return Err(CallbackError::Body("its List names no templates"));
    }
    Ok(entries.into_iter().map(read).collect())
}

fn choice(entry: &Map<String, Value>) -> Choice {
    let status = text(entry, "SubscribeStatusString");
    let status = match status.as_str() {
        "accept" => Status::Accept,
        "reject" => Status::Reject,
        _ => Status::Other(status),
    };
    Choice { template: text(entry, "TemplateId"), status }
}

fn sent(entry: &Map<String, Value>) -> Sent {
    let message = ["MsgID", "MsgId"].into_iter().map(|it| text(entry, it)).find(|it| !it.is_empty());
    Sent {
        template: text(entry, "TemplateId"),
        message: message.unwrap_or_default(),
        code: integer(entry, "ErrorCode").flatten(),
        status: text(entry, "ErrorStatus"),
    }
}

/// What WeChat calls it, or else a hash of all that it says.
fn id(document: &Map<String, Value>) -> String {
    let given = text(document, "MsgId");
    if !given.is_empty() {
        return given;
    }
    let said = Value::Object(document.clone()).to_string();
    Sha256::digest(said.as_bytes()).iter().take(16).map(|it| format!("{it:02x}")).collect()
}
