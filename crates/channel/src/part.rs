//! What a request is made of: texts, in which some of it is known to the host alone.
//!
//! A plugin has no secrets; it has their names. What it wants to send is a list of [parts](Part), and where a secret belongs, or
//! something that is computed from one, stands what it is instead of its value. They are values of types, not marks within a
//! text, so that nothing a message says can be taken for one. [Written out](crate::Request::write), a secret is a placeholder of the host,
//! `{{secret:NAME}}`, and a signature has been asked for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// A part of an address or a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// As it is.
    Text(String),
    /// The value of a secret, by its name.
    Secret(String),
    /// A secret that is `user:password`, as `Authorization: Basic` has it. In headers only.
    Basic(String),
    /// A signature.
    Signature(Signature),
}

/// A part of a body. Secrets do not belong into one: it holds what others wrote, and is shown to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// As it is.
    Text(String),
    /// A signature, of which the body is no piece.
    Signature(Signature),
}

/// A piece of what a signature is made from.
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
/// protocols have the secret in the key, some in what is signed, hence pieces in both. It is HMAC (RFC 2104) with SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The key.
    pub key: Vec<Piece>,
    /// What is signed; may be nothing.
    pub message: Vec<Piece>,
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
    #[schemars(extend("format" = "upkeep-secret"))]
    pub secret: String,
}

/// A signature from values, as each of the protocols writes it: base64 (RFC 4648, 4) of HMAC with SHA-256.
pub fn sign(key: &[u8], message: &[u8]) -> String {
    // HMAC takes keys of any length (RFC 2104, 2), so the error that the trait knows does not occur.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(message);
    STANDARD.encode(mac.finalize().into_bytes())
}

impl Part {
    /// What may be shown of it, in logs and ledgers.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Secret(name) | Self::Basic(name) => format!("{{secret {name}}}"),
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

impl From<String> for Content {
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
