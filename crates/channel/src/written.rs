//! A request written out: with the host's placeholders where secrets belong, and signatures made.
//!
//! The host reads placeholders in addresses and headers, and nowhere else. So no text that stands there may look like one
//! without being one: a message's words go into bodies, or are [encoded](in_header).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::part::{Content, Part, Signature};
use crate::request::{Request, in_json};

/// A request as it is handed to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `POST`.
    pub method: &'static str,
    /// The whole URL.
    pub url: String,
    /// Headers; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a request could not be written out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError<E> {
    /// Whoever signs said no.
    #[error("{0}")]
    Unsigned(E),
    /// A text that the host would take for a placeholder.
    #[error(
        "the {place} has what looks like a placeholder of a secret: leave `{{{{` out, or name the secret by its key"
    )]
    Placeholder {
        /// Where it stands.
        place: &'static str,
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
}

/// Where a part stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

impl Request {
    /// Writes it out. `sign` is asked for each signature, by what it is made from and the body, and gives the code.
    ///
    /// # Errors
    /// What `sign` fails with, and what a server could take for something else.
    pub fn write<E>(
        &self,
        mut sign: impl FnMut(&Signature, &[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Written, WriteError<E>> {
        let mut encoded = |signature: &Signature, body: &[u8]| match sign(signature, body) {
            Ok(code) => Ok(STANDARD.encode(code)),
            Err(error) => Err(WriteError::Unsigned(error)),
        };
        let mut body = String::new();
        for part in &self.body {
            match part {
                Content::Text(text) => body.push_str(text),
                Content::Signature(signature) => body.push_str(&in_json(&encoded(signature, &[])?)),
            }
        }
        let mut join = |parts: &[Part], place: Place| {
            let mut joined = String::new();
            for part in parts {
                match part {
                    Part::Text(text) if is_like_placeholder(text) => {
                        return Err(WriteError::Placeholder { place: place.name() });
                    }
                    Part::Text(text) if place == Place::Query => joined.push_str(&percent(text)),
                    Part::Text(text) => joined.push_str(text),
                    Part::Secret(name) => joined.push_str(&format!("{{{{secret:{name}}}}}")),
                    Part::Basic(name) => joined.push_str(&format!("{{{{basic:{name}}}}}")),
                    Part::Signature(signature) => {
                        let code = encoded(signature, body.as_bytes())?;
                        joined.push_str(&if place == Place::Header { code } else { percent(&code) });
                    }
                }
            }
            Ok(joined)
        };
        let path = join(&self.path, Place::Path)?;
        if !is_path(&path) {
            return Err(WriteError::Path);
        }
        let mut url = format!("{}{path}", self.origin);
        for (at, (name, value)) in self.query.iter().enumerate() {
            url.push(if at == 0 && !path.contains('?') { '?' } else { '&' });
            url.push_str(&percent(name));
            url.push('=');
            url.push_str(&join(value, Place::Query)?);
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let value = join(value, Place::Header)?;
            if !is_header(name, &value) {
                return Err(WriteError::Header { name: name.clone() });
            }
            headers.push((name.clone(), value));
        }
        Ok(Written { method: self.method.name(), url, headers, body: body.into_bytes() })
    }
}

/// Whether the host could take it for the beginning of a placeholder, percent-encoded or not.
fn is_like_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.replace("%7b", "{").contains("{{")
}

/// A text for a header, whatever it says (RFC 2047): in words of base64, so that it is ASCII and looks like nothing else.
pub(crate) fn in_header(text: &str) -> String {
    /// Bytes of a word; what is longer than 75 characters encoded, some programs do not read.
    const MOST: usize = 45;
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(MOST));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join(" ")
}

/// Percent-encoded (RFC 3986, 2.1), all but unreserved characters.
fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
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
mod tests {
    use super::*;
    use crate::part::Piece;

    fn request() -> Request {
        Request::new("https://a.example/base", "/x/").unwrap()
    }

    fn written(request: &Request) -> Result<Written, WriteError<String>> {
        request.write(|signature, body| Ok(format!("{}{}", signature.key.len(), body.len()).into_bytes()))
    }

    #[test]
    fn secrets_are_the_hosts_placeholders() {
        let mut asked = request()
            .query("key", vec![Part::Secret("ops".into())])
            .query("text", vec!["a b&c=ü".into()])
            .header("authorization", vec!["Basic ".into(), Part::Basic("login".into())]);
        asked.path.push(Part::Secret("hook".into()));
        let written = written(&asked).unwrap();
        assert_eq!(written.url, "https://a.example/base/x/{{secret:hook}}?key={{secret:ops}}&text=a%20b%26c%3D%C3%BC");
        assert_eq!(written.headers, [("authorization".to_owned(), "Basic {{basic:login}}".to_owned())]);
    }

    #[test]
    fn signatures_are_asked_for_with_the_body() {
        let signature = Signature { key: vec![Piece::Secret("s".into())], message: vec![Piece::Body] };
        let asked = request()
            .json(&serde_json::json!({}))
            .query("sign", vec![Part::Signature(signature.clone())])
            .header("sign", vec!["v1,".into(), Part::Signature(signature)]);
        let written = written(&asked).unwrap();
        // The code is `12`: one piece of the key, two bytes of the body.
        assert_eq!(written.url, "https://a.example/base/x/?sign=MTI%3D");
        assert_eq!(written.headers[1].1, "v1,MTI=");
        let refused = asked.write(|_, _| Err("no secret"));
        assert_eq!(refused, Err(WriteError::Unsigned("no secret")));
    }

    #[test]
    fn no_text_is_taken_for_a_placeholder() {
        for text in ["{{secret:ops}}", "%7B%7bsecret:ops}}", "{%7Bbasic:ops}}"] {
            for asked in [
                request().header("x", vec![text.into()]),
                request().query("x", vec![text.into()]),
                Request { path: vec!["/".into(), text.into()], ..request() },
            ] {
                assert!(matches!(written(&asked), Err(WriteError::Placeholder { .. })), "{text}");
            }
        }
        let body = request().json(&serde_json::json!({ "text": "{{secret:ops}}" }));
        assert_eq!(written(&body).unwrap().body, br#"{"text":"{{secret:ops}}"}"#, "bodies are sent as they are");
    }

    #[test]
    fn words_for_headers_are_encoded() {
        assert_eq!(in_header(""), "");
        assert_eq!(in_header("{{secret:a}}"), "=?UTF-8?B?e3tzZWNyZXQ6YX19?=");
        let long = in_header(&"日".repeat(40));
        assert!(long.split(' ').all(|it| it.len() <= 75) && long.split(' ').count() == 3, "{long}");
        assert!(is_header("title", &long));
    }

    #[test]
    fn paths_and_headers_that_mean_something_else_are_refused() {
        for path in ["x", "/a b", "/a/../b", "/a/%2E%2e/b", "/a#b", "/a\\b", "/\u{e4}"] {
            assert_eq!(written(&Request { path: vec![path.into()], ..request() }), Err(WriteError::Path), "{path}");
        }
        for (name, value) in [("", "x"), ("a b", "x"), ("x", "a\r\nb"), ("x", "ü")] {
            let asked = request().header(name, vec![value.into()]);
            assert!(matches!(written(&asked), Err(WriteError::Header { .. })), "{name} {value:?}");
        }
    }
}
