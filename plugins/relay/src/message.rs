//! What a row says: a message, as `POST /v1/push` takes it, and the key that it has in the outbox.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use upkeep_plugin::outbox::{Level, Message, Priority};
use upkeep_plugin::sql::Value;

use crate::rows;

/// Longest key of the outbox, in bytes.
const LONGEST_KEY: usize = 255;

/// Longest key of an application, in characters.
const LONGEST_OWN: usize = 200;

/// What an object of JSON says; a list with the same values in order is none.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

/// A message in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    channels: Option<Vec<String>>,
    #[serde(default)]
    priority: Urgency,
    not_before: Option<i64>,
    expires: Option<i64>,
    content: Object<Content>,
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

/// What a row comes to.
#[derive(Debug)]
pub(crate) enum Read {
    /// A message, and from when on it is too late for it.
    Message(Box<Message>, Option<i64>),
    /// Its time was over at `now`.
    Expired,
}

/// The message that a row says; or why it says none. `place` is the table's, and `channels` are those of messages that name none.
pub(crate) fn read(row: &rows::Row, place: &str, channels: &[String], now: i64) -> Result<Read, String> {
    let text = text("message", &row.message)?.ok_or("`message` is NULL")?;
    let key = key(row, text, place)?;
    let Object(row) =
        serde_json::from_str::<Object<Row>>(text).map_err(|error| format!("`message` is no message: {error}"))?;
    if row.expires.is_some_and(|at| at <= now) {
        return Ok(Read::Expired);
    }
    let channels = row.channels.unwrap_or_else(|| channels.to_vec());
    if channels.is_empty() {
        return Err("it names no channel, and [[config.tables]] has no `channels` for such".to_owned());
    }
    let Object(Content { title, text, level, to, template, fields, group, link }) = row.content;
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
    message = row.expires.into_iter().fold(message, Message::expires);
    Ok(Read::Message(Box::new(message), row.expires))
}

/// The text of a column, none for NULL.
fn text<'a>(column: &str, value: &'a Value) -> Result<Option<&'a str>, String> {
    let other = match value {
        Value::Text(text) => return Ok(Some(text)),
        Value::Null => return Ok(None),
        Value::Blob(_) => "bytes that are no text",
        Value::Integer(_) | Value::Real(_) => "a number",
    };
    Err(format!("`{column}` holds {other}"))
}

/// The key in the outbox: the application's own, or what distinguishes this row from one that has its number later, once the numbers
/// have begun anew.
fn key(row: &rows::Row, message: &str, place: &str) -> Result<String, String> {
    let own = text("idempotency_key", &row.key)?.filter(|key| !key.is_empty());
    let key = match own {
        Some(own) if own.chars().count() > LONGEST_OWN => {
            let length = own.chars().count();
            return Err(format!("`idempotency_key` takes {length} characters, and {LONGEST_OWN} are allowed"));
        }
        Some(own) if own.chars().any(char::is_control) => {
            return Err("`idempotency_key` holds a control character".to_owned());
        }
        Some(own) => format!("{place}:{own}"),
        None => {
            let created = row.created.as_deref().unwrap_or_default();
            format!("{place}/{}/{}", row.id, short_hash(&[created, message]))
        }
    };
    if key.len() <= LONGEST_KEY {
        return Ok(key);
    }
    let hash = short_hash(&[&key]);
    Ok(format!("{}~{hash}", &key[..key.floor_char_boundary(LONGEST_KEY - 1 - hash.len())]))
}

/// 96 bits of BLAKE3, in hexadecimal digits.
pub(crate) fn short_hash(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..24].to_owned()
}
