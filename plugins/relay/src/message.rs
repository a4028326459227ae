//! What a row says: a message, as `POST /v1/push` takes it.

use std::collections::BTreeMap;

use serde::Deserialize;
use upkeep_plugin::outbox::{Level, Message, Priority};

/// A message in JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    channels: Option<Vec<String>>,
    #[serde(default)]
    priority: Urgency,
    not_before: Option<i64>,
    expires: Option<i64>,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    title: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    level: Weight,
    to: Option<String>,
    template: Option<String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    group: Option<String>,
    link: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Urgency {
    Urgent,
    High,
    #[default]
    Normal,
    Low,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Weight {
    #[default]
    Info,
    Warn,
    Error,
    Critical,
}

/// The message that a row's text says, under its key; or why it is none. `channels` are those of messages that name none.
pub(crate) fn read(text: &str, key: String, channels: &[String]) -> Result<Message, String> {
    let row: Row = serde_json::from_str(text).map_err(|error| format!("`message` is no message: {error}"))?;
    let channels = row.channels.unwrap_or_else(|| channels.to_vec());
    if channels.is_empty() {
        return Err("it names no channel, and [[config.tables]] has no `channels` for such".to_owned());
    }
    let Content { title, text, level, to, template, fields, group, link } = row.content;
    let mut message = Message::to(channels).title(title).text(text).key(key);
    message = message.level(match level {
        Weight::Info => Level::Info,
        Weight::Warn => Level::Warn,
        Weight::Error => Level::Error,
        Weight::Critical => Level::Critical,
    });
    message = message.priority(match row.priority {
        Urgency::Urgent => Priority::Urgent,
        Urgency::High => Priority::High,
        Urgency::Normal => Priority::Normal,
        Urgency::Low => Priority::Low,
    });
    message = fields.into_iter().fold(message, |message, (name, value)| message.field(name, value));
    message = to.into_iter().fold(message, |message, to| message.recipient(to));
    message = template.into_iter().fold(message, |message, name| message.template(name));
    message = group.into_iter().fold(message, |message, group| message.group(group));
    message = link.into_iter().fold(message, |message, link| message.link(link));
    message = row.not_before.into_iter().fold(message, Message::not_before);
    Ok(row.expires.into_iter().fold(message, Message::expires))
}
