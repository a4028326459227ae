//! Puts secrets into a request: the host's part, the only one that has values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::part::{Algorithm, Encoding, Part, Piece, Signature};
use crate::request::{Origin, Request};

mod conceal;
mod percent;

use percent::percent;

/// Whoever has the secrets. It gives a value only for an origin that the secret is bound to.
pub trait Vault {
    /// The value of a secret.
    fn secret(&self, name: &str, to: &Origin) -> Result<String, Denied>;
    /// The access token that is kept for an appid.
    fn token(&self, appid: &str, to: &Origin) -> Result<String, Denied>;
}

/// Why a vault gives no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// There is none of this name.
    Unknown,
    /// There is one, but it does not go to this origin.
    Unbound,
}

/// Why a request could not be filled in. Says names, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// There is no such secret.
    #[error("there is no secret {name:?}: add it, or correct its name in the channel's settings")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// The secret is not for this server.
    #[error("the secret {name:?} is not bound to {origin}: bind it to that, or correct the channel's address")]
    Unbound {
        /// Its name.
        name: String,
        /// Where it should have gone.
        origin: Origin,
    },
    /// The secret could be read on its way.
    #[error("the secret {name:?} would go to {origin} unencrypted: use https")]
    Plain {
        /// Its name.
        name: String,
        /// Where it should have gone.
        origin: Origin,
    },
    /// The secret is so short that it could not be told from other text when it comes back.
    #[error("the secret {name:?} has fewer than 4 characters: set it")]
    Short {
        /// Its name.
        name: String,
    },
    /// The secret should have been a key in base64.
    #[error("the secret {name:?} is no base64: a key of Standard Webhooks is written as whsec_ and base64")]
    NoKey {
        /// Its name.
        name: String,
    },
    /// A header that HTTP does not allow.
    #[error(
        "the header {name:?} has a name or a value that HTTP does not allow: no control characters, nothing beyond ASCII"
    )]
    Header {
        /// Its name.
        name: String,
    },
    /// A path that a server could take for another one.
    #[error("the path of the request is not allowed: it must begin with / and have no segments . and .., spaces and #")]
    Path,
    /// The body cannot be signed by something that stands in it.
    #[error("a signature within the body cannot be made from the body")]
    Circular,
}

/// A request with its values. What can be printed of it has none of them.
pub struct Filled {
    /// `POST`.
    pub method: &'static str,
    /// The whole URL.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What was put in.
    values: Vec<Value>,
}

/// A value that was put into a request, and what it is to be called.
struct Value {
    name: String,
    value: String,
    is_token: bool,
}

impl std::fmt::Debug for Filled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.values.iter().map(|it| it.name.as_str()).collect();
        f.debug_struct("Filled").field("method", &self.method).field("values", &names).finish_non_exhaustive()
    }
}

impl Filled {
    /// What came back, without the values that went out: a server that repeats what it was sent does not bring them into logs.
    /// They are found as they are, percent-encoded, in JSON and in base64; instead of them stands what they are.
    pub fn conceal(&self, answer: &[u8]) -> Vec<u8> {
        conceal::conceal(answer, self.values.iter().map(|it| (it.name.as_str(), it.value.as_str())))
    }

    /// The same for texts: headers, and what an HTTP client says of a request that failed, which may name its URL.
    pub fn conceal_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.conceal(text.as_bytes())).into_owned()
    }

    /// The access token that went out, for an answer that does not accept it: only if it is still the one that is kept, a new one is
    /// fetched.
    pub fn token(&self) -> Option<&str> {
        self.values.iter().find(|it| it.is_token).map(|it| it.value.as_str())
    }
}

/// Where a value is put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
    Body,
}

/// Fills a request in.
pub fn fill(request: &Request, vault: &dyn Vault) -> Result<Filled, FillError> {
    let mut filling = Filling { origin: &request.origin, vault, body: None, values: Vec::new() };
    let body = filling.join(&request.body, Place::Body)?.into_bytes();
    filling.body = Some(body);
    let path = filling.join(&request.path, Place::Path)?;
    if !is_path(&path) {
        return Err(FillError::Path);
    }
    let mut url = format!("{}{path}", request.origin);
    for (at, (name, value)) in request.query.iter().enumerate() {
        url.push(if at == 0 && !path.contains('?') { '?' } else { '&' });
        url.push_str(&percent(name, ""));
        url.push('=');
        url.push_str(&filling.join(value, Place::Query)?);
    }
    let mut headers = Vec::with_capacity(request.headers.len());
    for (name, value) in &request.headers {
        let value = filling.join(value, Place::Header)?;
        if !is_header(name, &value) {
            return Err(FillError::Header { name: name.clone() });
        }
        headers.push((name.clone(), value));
    }
    let Filling { body, values, .. } = filling;
    Ok(Filled { method: request.method.name(), url, headers, body: body.unwrap_or_default(), values })
}

/// A signature from values: what [`fill`] does with what it got from the vault.
pub fn sign(algorithm: Algorithm, key: &[u8], message: &[u8], encoding: Encoding) -> String {
    let code = match algorithm {
        Algorithm::HmacSha256 => {
            // HMAC takes keys of any length (RFC 2104, 2), so the error that the trait knows does not occur.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
            mac.update(message);
            mac.finalize().into_bytes()
        }
    };
    match encoding {
        Encoding::Base64 => STANDARD.encode(code),
        Encoding::Hex => code.iter().map(|it| format!("{it:02x}")).collect(),
    }
}

struct Filling<'a> {
    origin: &'a Origin,
    vault: &'a dyn Vault,
    /// Once it is known.
    body: Option<Vec<u8>>,
    values: Vec<Value>,
}

impl Filling<'_> {
    fn join(&mut self, parts: &[Part], place: Place) -> Result<String, FillError> {
        let mut text = String::new();
        for part in parts {
            let value = match part {
                Part::Text(it) if place == Place::Query => percent(it, ""),
                Part::Text(it) => it.clone(),
                Part::Secret(name) => escape(&self.secret(name)?, place),
                Part::Token(appid) => {
                    let token = self.vault.token(appid, self.origin);
                    escape(&self.keep(appid, "token", token)?, place)
                }
                Part::Base64(pieces) => {
                    let encoded = STANDARD.encode(self.bytes(pieces)?);
                    self.values.push(Value { name: "{base64}".to_owned(), value: encoded.clone(), is_token: false });
                    escape(&encoded, place)
                }
                Part::Signature(signature) => escape(&self.signature(signature)?, place),
            };
            text.push_str(&value);
        }
        Ok(text)
    }

    fn signature(&mut self, signature: &Signature) -> Result<String, FillError> {
        let key = self.bytes(&signature.key)?;
        let message = self.bytes(&signature.message)?;
        Ok(sign(signature.algorithm, &key, &message, signature.encoding))
    }

    fn bytes(&mut self, pieces: &[Piece]) -> Result<Vec<u8>, FillError> {
        let mut bytes = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Piece::Secret(name) => bytes.extend_from_slice(self.secret(name)?.as_bytes()),
                Piece::Decoded(name) => {
                    let value = self.secret(name)?;
                    let key = STANDARD.decode(value.strip_prefix("whsec_").unwrap_or(&value));
                    bytes.extend_from_slice(&key.map_err(|_| FillError::NoKey { name: name.clone() })?);
                }
                Piece::Body => bytes.extend_from_slice(self.body.as_deref().ok_or(FillError::Circular)?),
            }
        }
        Ok(bytes)
    }

    fn secret(&mut self, name: &str) -> Result<String, FillError> {
        let value = self.vault.secret(name, self.origin);
        self.keep(name, "secret", value)
    }

    fn keep(&mut self, name: &str, what: &str, value: Result<String, Denied>) -> Result<String, FillError> {
        let name = name.to_owned();
        let origin = self.origin.clone();
        let value = match value {
            Ok(value) if value.len() < conceal::SHORTEST => return Err(FillError::Short { name }),
            Ok(_) if !origin.is_secure() && !origin.is_loopback() => return Err(FillError::Plain { name, origin }),
            Ok(value) => value,
            Err(Denied::Unknown) => return Err(FillError::Unknown { name }),
            Err(Denied::Unbound) => return Err(FillError::Unbound { name, origin }),
        };
        self.values.push(Value { name: format!("{{{what} {name}}}"), value: value.clone(), is_token: what == "token" });
        Ok(value)
    }
}

fn escape(value: &str, place: Place) -> String {
    match place {
        Place::Path => percent(value, "/"),
        Place::Query => percent(value, ""),
        Place::Header => value.to_owned(),
        Place::Body => crate::request::in_json(value),
    }
}

/// Whether a path, with or without a query, is one that servers and proxies agree on.
fn is_path(path: &str) -> bool {
    let (segments, _) = path.split_once('?').unwrap_or((path, ""));
    (path.is_empty() || path.starts_with(['/', '?']))
        && path.bytes().all(|it| it.is_ascii_graphic() && it != b'#' && it != b'\\')
        && !segments.split('/').any(|it| matches!(it.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | ".."))
}

/// RFC 9110, 5.1 and 5.5, without what is obsolete there.
fn is_header(name: &str, value: &str) -> bool {
    let token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    !name.is_empty()
        && name.bytes().all(token)
        && value.bytes().all(|it| it.is_ascii_graphic() || matches!(it, b' ' | b'\t'))
}

#[cfg(test)]
mod tests;
