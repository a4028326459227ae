//! The language of placeholders: texts in which some of it is known to the host alone.
//!
//! A plugin has no secrets; it has their names. What it wants to send is a list of [parts](Part), and where a secret belongs, or
//! something that is computed from one, stands what it is instead of its value. They are values of types, not marks within a
//! text, so that nothing a message says can be taken for one. How a value is escaped follows from the place where it stands, and
//! is not the plugin's choice. The host [fills](crate::fill()) them in, when it knows where the request goes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// As it is.
    Text(String),
    /// The value of a secret, by its name.
    Secret(String),
    /// The access token that the host keeps for an application of WeChat, by its appid.
    Token(String),
    /// What the pieces give together, in base64: `Authorization: Basic`.
    Base64(Vec<Piece>),
    /// A signature.
    Signature(Signature),
}

/// A piece of what a signature or an encoding is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The value of a secret, by its name.
    Secret(String),
    /// The bytes that the secret's value is the base64 of, without `whsec_` in front: keys of Standard Webhooks.
    Decoded(String),
    /// The body of the request, as it is sent. Not in the body itself.
    Body,
}

/// A signature that only somebody who knows the secret can make: what the key is, what is signed, and how it is written. Some
/// protocols have the secret in the key, some in what is signed, hence pieces in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// How it is computed.
    pub algorithm: Algorithm,
    /// The key.
    pub key: Vec<Piece>,
    /// What is signed; may be nothing.
    pub message: Vec<Piece>,
    /// How it is written.
    pub encoding: Encoding,
}

/// How a signature is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// RFC 2104 with SHA-256.
    HmacSha256,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// RFC 4648, 4: with `+`, `/` and padding.
    Base64,
    /// Lower-case hexadecimal digits.
    Hex,
}

/// A text in the settings that may be secret: written as it is, or `{ secret = "NAME" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Word {
    /// As it is.
    Plain(String),
    /// Known to the host.
    Named(Named),
}

/// The name of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name.
    pub secret: String,
}

impl Part {
    /// What may be shown of it, in logs and ledgers.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Secret(name) => format!("{{secret {name}}}"),
            Self::Token(appid) => format!("{{token {appid}}}"),
            Self::Base64(pieces) => format!("{{base64 of {}}}", names(pieces)),
            Self::Signature(signature) => format!("{{signature by {}}}", names(&signature.key)),
        }
    }
}

/// What may be shown of parts, in logs and ledgers: texts, and of all else what it is.
pub(crate) fn shown(parts: &[Part]) -> String {
    parts.iter().map(Part::shown).collect()
}

fn names(pieces: &[Piece]) -> String {
    let names: Vec<&str> = pieces
        .iter()
        .filter_map(|it| match it {
            Piece::Secret(name) | Piece::Decoded(name) => Some(name.as_str()),
            Piece::Text(_) | Piece::Body => None,
        })
        .collect();
    if names.is_empty() { "nothing secret".to_owned() } else { names.join(" and ") }
}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Part {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&Word> for Part {
    fn from(word: &Word) -> Self {
        match word {
            Word::Plain(text) => Self::Text(text.clone()),
            Word::Named(named) => Self::Secret(named.secret.clone()),
        }
    }
}
