//! Secrets that the task file grants. A plugin never sees one: it names it, and the host puts the value where it belongs.
//!
//! Into a request goes a [`placeholder`], or for `Authorization: Basic` a [`basic`] one: in the path or the query of its address,
//! or the value of a header; in its body where
//! the task file says so (`places`). The host fills it in toward the servers that the secret is bound to, and denies the request
//! to any other. An answer that holds the value holds the placeholder instead. So whatever a plugin logs, keeps or reports has
//! no secret in it.
//!
//! What others wrote may be written to look like a placeholder, to have the secret sent where they read it: put it into bodies only,
//! and ask for a secret that is filled into headers or addresses.
//!
//! ```
//! use upkeep_plugin::http::{Request, Response};
//! use upkeep_plugin::secrets::{self, Algorithm, Part, placeholder};
//! use upkeep_plugin::test::Host;
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! let _host = Host::new().secret("ntfy", "tk_AgQdq7mVBoFD37").secret("hook", "0123456789abcdef").http(|request| {
//!     assert_eq!(request.header_value("authorization"), Some("Bearer {{secret:ntfy}}"));
//!     Ok(Response::new(200, ""))
//! });
//! let body = r#"{"text": "the disk is full"}"#;
//! let signature = secrets::hmac_of(Algorithm::Sha256, &[Part::secret("hook")], &[Part::bytes(body)])?;
//! Request::post("https://ntfy.example.com/alerts", body)
//!     .header("authorization", format!("Bearer {}", placeholder("ntfy")))
//!     .header("x-signature", signature.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
//!     .send()?;
//! # Ok(())
//! # }
//! ```

pub use crate::bindings::upkeep::plugin::secrets::{Algorithm, Part};
use crate::host::{HostResult, secrets as host};

/// How a placeholder begins.
const START: &[u8] = b"{{secret:";
/// How it ends.
const END: &[u8] = b"}}";

impl Part {
    /// What is written as it is.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// The value of the secret `name`.
    pub fn secret(name: impl Into<String>) -> Self {
        Self::Secret(name.into())
    }

    /// The bytes that the value of the secret `name` is the base64 of, as keys of Standard Webhooks (`whsec_...`) are.
    pub fn decoded(name: impl Into<String>) -> Self {
        Self::Decoded(name.into())
    }
}

/// What stands for the secret `name` in a request: `{{secret:NAME}}`.
pub fn placeholder(name: &str) -> String {
    format!("{{{{secret:{name}}}}}")
}

/// What stands for the secret `name`, a login `user:password`, in a header `authorization: Basic ...`: `{{basic:NAME}}`.
///
/// ```
/// # use upkeep_plugin::http::Request;
/// use upkeep_plugin::secrets::basic;
///
/// let request = Request::get("https://ntfy.example.com/").header("authorization", format!("Basic {}", basic("ntfy")));
/// # assert_eq!(request.header_value("authorization"), Some("Basic {{basic:ntfy}}"));
/// ```
pub fn basic(name: &str) -> String {
    format!("{{{{basic:{name}}}}}")
}

/// Signs: the HMAC of `message` under `key`, in both of which placeholders stand for secrets. For a message that holds what others
/// wrote, there is [`hmac_of`].
///
/// ```
/// use upkeep_plugin::secrets::{Algorithm, hmac};
/// # use upkeep_plugin::test::Host;
///
/// # fn main() -> upkeep_plugin::Result<()> {
/// # let _host = Host::new().secret("robot", "this is secret");
/// // As DingTalk wants it: the key is the secret, and the message ends with it.
/// let signature = hmac(Algorithm::Sha256, "{{secret:robot}}", "1577262236757\n{{secret:robot}}")?;
/// assert_eq!(signature[..4], [0x86, 0x63, 0xd6, 0xc1]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As for [`hmac_of`].
pub fn hmac(algorithm: Algorithm, key: &str, message: impl AsRef<[u8]>) -> HostResult<Vec<u8>> {
    hmac_of(algorithm, &parts(key.as_bytes()), &parts(message.as_ref()))
}

/// Signs: the HMAC of a message under a key, each made of its parts.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) when the task file does not grant the right `sign` on a secret,
/// [`HostError::Invalid`](crate::HostError::Invalid) when no secret is in it,
/// [`HostError::Unavailable`](crate::HostError::Unavailable) when the host cannot read one.
pub fn hmac_of(algorithm: Algorithm, key: &[Part], message: &[Part]) -> HostResult<Vec<u8>> {
    host::hmac(algorithm, key, message)
}

/// A text cut at its placeholders.
fn parts(text: &[u8]) -> Vec<Part> {
    let (mut parts, mut plain, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        let Some((name, length)) = placeholder_at(&text[at..]) else {
            at += 1;
            continue;
        };
        if plain < at {
            parts.push(Part::bytes(&text[plain..at]));
        }
        parts.push(Part::secret(name));
        at += length;
        plain = at;
    }
    if plain < text.len() {
        parts.push(Part::bytes(&text[plain..]));
    }
    parts
}

/// The name in a placeholder with which the text begins, and how long that is.
fn placeholder_at(text: &[u8]) -> Option<(&str, usize)> {
    let rest = text.strip_prefix(START)?;
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let length = rest.iter().take_while(|byte| is_in_name(byte)).count();
    let (name, rest) = rest.split_at(length);
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    rest.starts_with(END).then_some((name, START.len() + length + END.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostError;
    use crate::test::Host;

    #[test]
    fn a_template_is_cut_at_its_placeholders() {
        let (bytes, secret) = (|it: &str| Part::bytes(it), |it: &str| Part::secret(it));
        for (text, cut) in [
            ("", vec![]),
            (
                "plain {{secret:}} {{secret:a b}} {{secret:a}",
                vec![bytes("plain {{secret:}} {{secret:a b}} {{secret:a}")],
            ),
            ("{{secret:a}}", vec![secret("a")]),
            ("1\n{{secret:a.b}}{{secret:c}}!", vec![bytes("1\n"), secret("a.b"), secret("c"), bytes("!")]),
            ("{{{secret:a}}}", vec![bytes("{"), secret("a"), bytes("}")]),
        ] {
            assert_eq!(parts(text.as_bytes()), cut, "{text}");
        }
        assert_eq!(parts(placeholder("a-1").as_bytes()), [secret("a-1")]);
    }

    #[test]
    fn the_test_host_signs_with_what_the_test_gives() {
        let host = Host::new().secret("feishu", "demo").secret("rfc", "Jefe");
        let _host = host.secret("robot", "this is secret").secret("webhook", "whsec_SmVmZQ==");
        // Feishu's own example: the key is time and secret, the message is empty.
        let signature = hmac(Algorithm::Sha256, "1599360473\n{{secret:feishu}}", "").unwrap();
        assert_eq!(signature[..6], [0x97, 0x53, 0x74, 0x80, 0x07, 0x01]);
        // RFC 2202, test case 2.
        let signature = hmac(Algorithm::Sha1, "{{secret:rfc}}", "what do ya want for nothing?").unwrap();
        assert_eq!(signature[..4], [0xef, 0xfc, 0xdf, 0x6a]);
        assert!(matches!(hmac(Algorithm::Sha1, "{{secret:other}}", ""), Err(HostError::Denied(_))));
        // What the key is the base64 of.
        let message = [Part::bytes("what do ya want for nothing?")];
        let signature = hmac_of(Algorithm::Sha1, &[Part::decoded("webhook")], &message).unwrap();
        assert_eq!(signature[..4], [0xef, 0xfc, 0xdf, 0x6a]);
        let wrong = hmac_of(Algorithm::Sha1, &[Part::decoded("robot")], &message);
        assert!(matches!(wrong, Err(HostError::Unavailable(_))), "{wrong:?}");
        assert!(matches!(hmac(Algorithm::Sha1, "key", "message"), Err(HostError::Invalid(_))));
        // What others wrote signs as it is.
        let key = [Part::secret("rfc")];
        let literal = hmac_of(Algorithm::Sha1, &key, &[Part::bytes("{{secret:other}}")]).unwrap();
        assert_ne!(literal, hmac_of(Algorithm::Sha1, &key, &[]).unwrap());
    }
}
