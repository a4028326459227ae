//! Messages to users.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::value::{self, Flaw};
use super::{App, Asked, Refusal, body};

/// For how long a user may be answered.
pub(super) const WINDOW: i64 = 48 * 3_600_000;
/// How often.
pub(super) const ANSWERS: u32 = 5;

/// A template of subscribe messages.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Template {
    /// What it is called.
    pub title: String,
    /// Its keys, such as `thing1`. A message has exactly these.
    pub keys: Vec<String>,
    /// The values of those keys that take listed ones only.
    pub listed: BTreeMap<String, Vec<String>>,
}

/// A message that was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// When.
    pub at: i64,
    /// To whom.
    pub openid: String,
    /// The template; none for an answer to what the user wrote.
    pub template: Option<String>,
    /// The values by their keys; of an answer, the whole message.
    pub data: Value,
}

/// A value is not as it has to be.
pub(super) fn invalid(key: &str, what: &str) -> Refusal {
    Refusal { code: 47003, words: format!("argument invalid! data.{key}.value {what}") }
}

fn openid(body: &Value) -> Result<&str, Refusal> {
    let is_openid = |it: &&str| {
        (8..=64).contains(&it.len())
            && it.starts_with('o')
            && it.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
    };
    body["touser"].as_str().filter(is_openid).ok_or_else(|| 40003.into())
}

/// `/cgi-bin/message/subscribe/send`
pub(super) fn subscribe(app: &mut App, asked: &Asked) -> Result<Value, Refusal> {
    let body = body(asked)?;
    let openid = openid(&body)?;
    let id = body["template_id"].as_str().filter(|id| !id.is_empty()).ok_or(40037)?;
    let template = match app.templates.get(id) {
        None if app.templates.is_empty() => None,
        None => return Err(40037.into()),
        known => known,
    };
    let Some(data) = body["data"].as_object() else {
        return Err(Refusal { code: 47003, words: "argument invalid! data".to_owned() });
    };
    for key in template.iter().flat_map(|it| &it.keys) {
        if !data.contains_key(key) {
            return Err(invalid(key, "is emtpy"));
        }
    }
    for (key, value) in data {
        if template.is_some_and(|it| !it.keys.contains(key)) {
            return Err(invalid(key, "invalid"));
        }
        let text = value["value"].as_str().unwrap_or_default();
        let listed = template.and_then(|it| it.listed.get(key)).map(Vec::as_slice);
        match value::flaw(key, text, listed) {
            Some(Flaw::Empty) => return Err(invalid(key, "is emtpy")),
            Some(Flaw::Wrong) => return Err(invalid(key, "invalid")),
            None => {}
        }
    }
    for (key, known) in
        [("miniprogram_state", &["developer", "trial", "formal"][..]), ("lang", &["zh_CN", "en_US", "zh_HK", "zh_TW"])]
    {
        if body.get(key).is_some_and(|it| it.as_str().is_none_or(|it| !known.contains(&it))) {
            return Err(Refusal { code: 47003, words: format!("argument invalid! {key}") });
        }
    }
    if let Some(consents) = &mut app.consents {
        let left = consents.get_mut(&(openid.to_owned(), id.to_owned())).filter(|left| **left > 0).ok_or(43101)?;
        *left -= 1;
    }
    app.accepted.push(Accepted {
        at: asked.at,
        openid: openid.to_owned(),
        template: Some(id.to_owned()),
        data: body["data"].clone(),
    });
    Ok(json!({ "errcode": 0, "errmsg": "ok", "msgid": app.accepted.len() }))
}

/// `/cgi-bin/message/custom/send`
pub(super) fn custom(app: &mut App, asked: &Asked) -> Result<Value, Refusal> {
    let body = body(asked)?;
    let openid = openid(&body)?;
    let kind = body["msgtype"].as_str().unwrap_or_default();
    let wanted: &[&str] = match kind {
        "text" => &["content"],
        "image" => &["media_id"],
        "link" => &["title", "description", "url", "thumb_url"],
        "miniprogrampage" => &["title", "pagepath", "thumb_media_id"],
        _ => return Err(Refusal { code: 40008, words: "invalid message type".to_owned() }),
    };
    let message = &body[kind];
    if wanted.iter().any(|key| message[key].as_str().is_none_or(str::is_empty)) {
        return Err(Refusal { code: 40035, words: "invalid parameter".to_owned() });
    }
    if message["content"].as_str().is_some_and(|text| text.len() > 2048) {
        return Err(Refusal { code: 45002, words: "content size out of limit".to_owned() });
    }
    match app.conversations.get_mut(openid) {
        Some((until, left)) if asked.at < *until => *left = left.checked_sub(1).ok_or(45047)?,
        _ => return Err(45015.into()),
    }
    app.accepted.push(Accepted { at: asked.at, openid: openid.to_owned(), template: None, data: body.clone() });
    Ok(json!({ "errcode": 0, "errmsg": "ok" }))
}

/// `/wxaapi/newtmpl/gettemplate`
pub(super) fn templates(app: &App) -> Value {
    let told = app.templates.iter().map(|(id, template)| {
        let lines = template.keys.iter().map(|key| format!("{key}:{{{{{key}.DATA}}}}\n"));
        let listed = template.listed.iter().map(|(key, values)| json!({ "keywordCode": key, "enumValueList": values }));
        json!({
            "priTmplId": id,
            "title": template.title,
            "content": lines.collect::<String>(),
            "example": "",
            "type": 2,
            "keywordEnumValueList": listed.collect::<Vec<_>>(),
        })
    });
    json!({ "errcode": 0, "errmsg": "ok", "data": told.collect::<Vec<_>>() })
}
