//! Subscribe messages: a template that the user has consented to, filled in. One consent is one message.
//!
//! `POST /cgi-bin/message/subscribe/send`. The data is an object of objects; values have [rules](super::value) by their key.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{call, openid, value};
use crate::message::Message;
use crate::refused::Refused;
use crate::request::Request;

/// Settings of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// The name of the secret that is the application's access token, which the host keeps.
    #[schemars(extend("format" = "upkeep-secret"))]
    pub token: String,
    /// Where the API is.
    #[serde(default = "super::base")]
    #[schemars(extend("format" = "upkeep-requested"))]
    pub base: String,
    /// Templates by the names that messages have for them.
    pub templates: BTreeMap<String, Form>,
    /// The version of the mini-program that opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The language of the words around the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
}

/// A template as it was chosen in the mini-program's console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// Its id.
    pub id: String,
    /// The page that opens if the message names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// Its keys, such as `thing1`; if they are given, a message must have exactly them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Of keys that take listed values only (`const`, `enum`), the values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub listed: BTreeMap<String, Vec<String>>,
}

/// A version of a mini-program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are WeChat's")]
pub enum State {
    Developer,
    Trial,
    Formal,
}

/// A language that WeChat has its own words in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are WeChat's")]
pub enum Language {
    #[serde(rename = "zh_CN")]
    ZhCn,
    #[serde(rename = "en_US")]
    EnUs,
    #[serde(rename = "zh_HK")]
    ZhHk,
    #[serde(rename = "zh_TW")]
    ZhTw,
}

/// What it is called where something is missing.
const CHANNEL: &str = "a WeChat subscribe message";

/// The request of a message.
pub fn request(message: &Message, settings: &Subscribe) -> Result<Request, Refused> {
    message.check()?;
    let to = openid(message, CHANNEL)?;
    let known = || match settings.templates.is_empty() {
        true => "none".to_owned(),
        false => settings.templates.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
    };
    let Some(template) = message.template.as_ref().filter(|it| !it.name.is_empty()) else {
        return Err(Refused::NoForm { channel: CHANNEL, known: known() });
    };
    let Some(form) = settings.templates.get(&template.name) else {
        return Err(Refused::NoTemplate { name: template.name.clone(), known: known() });
    };
    if template.fields.is_empty() {
        return Err(Refused::Empty { field: "template.fields".into() });
    }
    if let Some(missing) = form.fields.iter().find(|it| !template.fields.contains_key(*it)) {
        return Err(Refused::Empty { field: missing.clone() });
    }
    let mut data = serde_json::Map::new();
    for (key, text) in &template.fields {
        if !form.fields.is_empty() && !form.fields.contains(key) {
            return Err(Refused::rule(key, format!("left out: the template has {}", form.fields.join(", "))));
        }
        value::check(key, text, form.listed.get(key).map(Vec::as_slice))?;
        data.insert(key.clone(), json!({ "value": text }));
    }
    let mut body = json!({ "touser": to, "template_id": form.id, "data": data });
    if let Some(page) = template.page.as_ref().or(form.page.as_ref()) {
        if page.chars().any(|it| it.is_control() || it.is_whitespace()) {
            return Err(Refused::rule("page", "a path of the mini-program, without spaces"));
        }
        body["page"] = Value::from(page.as_str());
    }
    if let Some(state) = settings.state {
        body["miniprogram_state"] = json!(state);
    }
    if let Some(language) = settings.language {
        body["lang"] = json!(language);
    }
    Ok(call(&settings.base, "/cgi-bin/message/subscribe/send", &settings.token)?.json(&body))
}
