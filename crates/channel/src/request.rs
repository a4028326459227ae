//! A request that is to be sent over HTTP, with placeholders where secrets belong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::part::{Content, Part, shown};
use crate::refused::Refused;

/// A request. It is sent as it is: redirects are not followed, since a secret goes to the host that it is bound to and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `POST` of most.
    pub method: Method,
    /// To whom. There are no placeholders in it: who gets a secret must be known before it is filled in.
    pub origin: Origin,
    /// The path, and what the settings have of a query. Texts are parts of a URL already.
    pub path: Vec<Part>,
    /// What is added to the query. Texts are not percent-encoded yet.
    pub query: Vec<(String, Vec<Part>)>,
    /// Headers; names in lower case.
    pub headers: Vec<(String, Vec<Part>)>,
    /// Texts are parts of a document already; signatures stand within a string of JSON.
    pub body: Vec<Content>,
}

/// The method of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the protocol's")]
pub enum Method {
    #[default]
    Post,
    Put,
}

impl Method {
    /// As it is sent.
    pub fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// Scheme, host and port of a server (RFC 6454), written as `https://example.org` or `http://localhost:8080`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Takes a URL apart: the origin, and the rest from its first `/` or `?`.
    pub(crate) fn split(url: &str) -> Result<(Self, &str), Refused> {
        let refused = |why| Refused::Address { url: url.to_owned(), why };
        let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(refused("it begins with neither https:// nor http://")),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(refused("a user's name does not belong into it; use a header"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            // Within brackets, colons belong to the address.
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse().ok().filter(|it| *it > 0 && !port.starts_with('+'));
                (host, port.ok_or(refused("its port is no number from 1 to 65535"))?)
            }
            _ => (authority, if secure { 443 } else { 80 }),
        };
        let named = |it: &str| {
            !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-' | b'_'))
        };
        let bracketed = |it: &str| {
            let inner = it.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            inner.is_some_and(|it| it.parse::<std::net::Ipv6Addr>().is_ok())
        };
        if !named(host) && !bracketed(host) {
            return Err(refused("its host is neither a name (write it in punycode) nor an address"));
        }
        Ok((Self { secure, host: host.to_ascii_lowercase(), port }, path))
    }

    /// Whether it is reached by TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host in lower case; an address of IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is this machine, by an address or a name that means nothing else.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, usual) = if self.secure { ("https", 443) } else { ("http", 80) };
        match self.port == usual {
            true => write!(f, "{scheme}://{}", self.host),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = Refused;

    fn try_from(url: String) -> Result<Self, Refused> {
        match Self::split(&url)? {
            (origin, "") => Ok(origin),
            _ => Err(Refused::Address { why: "an origin ends behind host and port", url }),
        }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

impl Request {
    /// A request to a URL of the settings. The path that follows is appended.
    pub(crate) fn new(url: &str, path: &str) -> Result<Self, Refused> {
        let (origin, base) = Origin::split(url)?;
        if !base.bytes().all(|it| it.is_ascii_graphic() && !matches!(it, b'#' | b'\\' | b'"' | b'<' | b'>')) {
            return Err(Refused::Address {
                url: url.to_owned(),
                why: "behind the host there is what must be percent-encoded",
            });
        }
        let base = if path.is_empty() { base } else { base.trim_end_matches('/') };
        Ok(Self {
            method: Method::Post,
            origin,
            path: vec![format!("{base}{path}").into()],
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
        })
    }

    /// With a document as its body.
    pub(crate) fn json(self, document: &serde_json::Value) -> Self {
        self.body(vec![document.to_string().into()])
    }

    /// With a text as its body.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.body = vec![text.to_owned().into()];
        self.header("content-type", vec!["text/plain; charset=utf-8".into()])
    }

    /// With parts of a document as its body.
    pub(crate) fn body(mut self, parts: Vec<Content>) -> Self {
        self.body = parts;
        self.header("content-type", vec!["application/json; charset=utf-8".into()])
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: Vec<Part>) -> Self {
        self.headers.push((name.to_owned(), value));
        self
    }

    /// With one more parameter of the query.
    pub(crate) fn query(mut self, name: &str, value: Vec<Part>) -> Self {
        self.query.push((name.to_owned(), value));
        self
    }

    /// Method and URL as they may be shown, in logs and the ledger of what went out: of secrets only the names.
    pub fn shown(&self) -> String {
        let mut text = format!("{} {}{}", self.method.name(), self.origin, shown(&self.path));
        for (at, (name, value)) in self.query.iter().enumerate() {
            text.push(if at == 0 && !text.contains('?') { '?' } else { '&' });
            text.push_str(&format!("{name}={}", shown(value)));
        }
        text
    }
}

/// A string of JSON, without its quotes.
pub(crate) fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        let (origin, rest) = Origin::split("https://Hooks.Example.org/a/b?c=d").unwrap();
        assert_eq!(
            (origin.host(), origin.port(), origin.is_secure(), rest),
            ("hooks.example.org", 443, true, "/a/b?c=d")
        );
        let (origin, rest) = Origin::split("http://[::1]:8080").unwrap();
        assert_eq!((origin.to_string().as_str(), rest), ("http://[::1]:8080", ""));
        assert_eq!(Origin::split("http://[::1]/").unwrap().0.to_string(), "http://[::1]");
        assert_eq!(Origin::split("https://a:443").unwrap().0.to_string(), "https://a");
    }

    #[test]
    fn refuses_what_hides_the_host() {
        for url in [
            "https://good.example@evil.example/",
            "https://good.example\\.evil.example/",
            "https://good.example%2eevil/",
            "https:///path",
            "https://:80/",
            "https://a:0/",
            "https://a:+8/",
            "https://a:99999/",
            "https://bücher.example/",
            "https://a b/",
            "https://[::1/",
            "https://[a.b]/",
            "//a/",
            "file:///etc/passwd",
            "",
        ] {
            assert!(Origin::split(url).is_err(), "{url:?}");
        }
        for url in ["https://a/b c", "https://a/b#c", "https://a/ä", "https://a/\r\nx"] {
            assert!(Request::new(url, "").is_err(), "{url:?}");
        }
    }

    #[test]
    fn an_origin_from_a_guest_is_checked_too() {
        assert!(serde_json::from_str::<Origin>(r#""https://a.example""#).is_ok());
        for text in [r#""https://a.example/""#, r#""https://a@b""#, r#""""#] {
            assert!(serde_json::from_str::<Origin>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn knows_this_machine() {
        let is = |url: &str| Origin::split(url).unwrap().0.is_loopback();
        assert!(is("http://localhost:1") && is("http://127.0.0.9") && is("http://[::1]"));
        assert!(!is("http://localhost.evil.example") && !is("http://127.0.0.1.evil.example") && !is("http://10.0.0.1"));
    }

    #[test]
    fn shows_names_of_secrets() {
        let request = Request::new("https://a.example/base/", "/send")
            .unwrap()
            .query("key", vec![Part::Secret("ops".into())])
            .query("t", vec![Part::Basic("wx1".into())]);
        assert_eq!(request.shown(), "POST https://a.example/base/send?key={secret ops}&t={secret wx1}");
    }
}
