//! Any server that takes JSON: the message as it is.
//!
//! Requests are signed as [Standard Webhooks](https://www.standardwebhooks.com) has it, for which there are libraries in most
//! languages: `webhook-id`, `webhook-timestamp` in seconds, and `webhook-signature: v1,` with base64 of HMAC-SHA256 over
//! `id.timestamp.body`, the key being what the secret, `whsec_` in front, is the base64 of. The id is the message's, the same at
//! each try, and stands in `idempotency-key` as well: a receiver that remembers it has each message once.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::answer::{Answer, text};
use crate::message::Message;
use crate::moment::SECOND;
use crate::outcome::Outcome;
use crate::part::{Part, Piece, Signature, Word, sign};
use crate::refused::Refused;
use crate::request::{Method, Request};

/// Settings of the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where requests go.
    #[schemars(extend("format" = "upkeep-requested"))]
    pub url: String,
    /// The name of the secret that the URL ends in, for servers that know their callers by nothing else. It is the last part of a
    /// path: a `/` in it is encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "upkeep-secret"))]
    pub secret_path: Option<String>,
    /// `POST` or `PUT`.
    #[serde(default)]
    pub method: Method,
    /// The name of the secret that requests are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "upkeep-secret-to-sign"))]
    pub signed_with: Option<String>,
    /// The name of the secret that is sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "upkeep-secret"))]
    pub bearer: Option<String>,
    /// The name of the secret `user:password` that is sent as `Authorization: Basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "upkeep-secret"))]
    pub login: Option<String>,
    /// More headers, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Word>,
}

/// The signature of a body at this time, for who has the key: the secret's bytes, base64 decoded.
pub fn signature(key: &[u8], id: &str, now: i64, body: &[u8]) -> String {
    let mut message = format!("{id}.{}.", now.div_euclid(SECOND)).into_bytes();
    message.extend_from_slice(body);
    format!("v1,{}", sign(key, &message))
}

/// The request of a message.
pub fn request(message: &Message, settings: &Webhook, now: i64) -> Result<Request, Refused> {
    message.check()?;
    let mut said = json!(message);
    if let (None, Some(said)) = (message.link(), said.as_object_mut()) {
        said.remove("link");
    }
    // Else what is signed could be taken apart elsewhere: `a.1` at 2, and `a` at 1 with a body that begins with `2.`.
    let id = message.id.replace('%', "%25").replace('.', "%2E");
    let mut request = Request::new(&settings.url, "")?;
    request.method = settings.method;
    if let Some(secret) = &settings.secret_path {
        request.path.push(Part::Secret(secret.clone()));
    }
    let seconds = now.div_euclid(SECOND).to_string();
    request = request
        .json(&said)
        .header("idempotency-key", vec![message.id.clone().into()])
        .header("webhook-id", vec![id.clone().into()])
        .header("webhook-timestamp", vec![seconds.clone().into()]);
    if let Some(secret) = &settings.signed_with {
        let signature = Signature {
            key: vec![Piece::Decoded(secret.clone())],
            message: vec![Piece::Text(format!("{id}.{seconds}.")), Piece::Body],
        };
        request = request.header("webhook-signature", vec!["v1,".into(), Part::Signature(signature)]);
    }
    if let Some(value) = authorization(settings.bearer.as_ref(), settings.login.as_ref(), "bearer")? {
        request = request.header("authorization", value);
    }
    for (name, value) in &settings.headers {
        let name = name.to_ascii_lowercase();
        if request.headers.iter().any(|(it, _)| *it == name) || RESERVED.contains(&name.as_str()) {
            return Err(Refused::rule(format!("headers.{name}"), "a header that upkeep does not set itself"));
        }
        request = request.header(&name, vec![Part::from(value)]);
    }
    Ok(request)
}

/// The header of a token, of a login or of neither; `key` is what the token is called in the settings.
pub(crate) fn authorization(
    token: Option<&String>,
    login: Option<&String>,
    key: &'static str,
) -> Result<Option<Vec<Part>>, Refused> {
    match (token, login) {
        (None, None) => Ok(None),
        (Some(token), None) => Ok(Some(vec!["Bearer ".into(), Part::Secret(token.clone())])),
        (None, Some(login)) => Ok(Some(vec!["Basic ".into(), Part::Basic(login.clone())])),
        (Some(_), Some(_)) => Err(Refused::rule("login", format!("left out where there is `{key}`"))),
    }
}

/// Headers that belong to the connection.
const RESERVED: &[&str] =
    &["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "keep-alive"];

/// What an answer means: the status says it. An id is told if the body is an object that has one.
pub fn outcome(answer: &Answer<'_>, now: i64) -> Outcome {
    answer.by_status(now).unwrap_or_else(|| {
        let id = answer.object().map(|it| text(&it, "id")).filter(|it| !it.is_empty() && it.len() <= 200);
        Outcome::Accepted { id }
    })
}
