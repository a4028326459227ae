//! What a server answered, read without trust: it may be a proxy's page, cut off, huge, or made to mislead.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::message::one_line;
use crate::moment::{MINUTE, retry_after};
use crate::outcome::{Fault, Outcome, Reason};

/// An answer. Where it had values of secrets, the host has put placeholders.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The status of HTTP.
    pub status: u16,
    /// Headers, with names in any case.
    pub headers: &'a [(String, String)],
    /// The body, or as much of it as the host takes.
    pub body: &'a [u8],
}

/// Bytes of a body that are looked at; a provider's answer has some hundred.
const MOST: usize = 64 * 1024;
/// Characters of a body that are shown.
const SHOWN: usize = 200;

impl<'a> Answer<'a> {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as an object of JSON, if it is one of a size that makes sense.
    pub(crate) fn object(&self) -> Option<Map<String, Value>> {
        if self.body.len() > MOST {
            return None;
        }
        let body = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(self.body);
        serde_json::from_slice(body).ok()
    }

    /// The first words of the body, in one line; of a page of HTML, its title.
    pub(crate) fn excerpt(&self) -> String {
        let head = &self.body[..self.body.len().min(4096)];
        let text = String::from_utf8_lossy(head);
        let lower = text.to_ascii_lowercase();
        let title = lower.find("<title>").map(|at| at + "<title>".len());
        let title = title.and_then(|from| Some(&text[from..from + lower[from..].find("</title>")?]));
        let shown: Cow<'_, str> = match title {
            Some(title) => format!("a page titled {:?}", one_line(title)).into(),
            None => one_line(&text).into(),
        };
        shown.chars().take(SHOWN).collect()
    }

    /// What the status alone says; nothing of success. For providers whose body says more, if it is readable, this comes last.
    pub(crate) fn by_status(&self, now: i64) -> Option<Outcome> {
        let status = self.status;
        let reason = |text: &str| Reason::new(Some(status.into()), text, &self.excerpt());
        let wait = retry_after(self, now);
        Some(match status {
            200..300 => return None,
            300..400 => {
                let to = self.header("location").map(one_line).unwrap_or_default();
                let remedy = format!("set the channel's address to where it moved ({to:.200}), if that is right");
                let text = "the server redirects, which is not followed, since secrets go to the host alone that they are bound to";
                Outcome::permanent(Fault::Channel, Reason::new(Some(status.into()), text, "").remedy(remedy))
            }
            429 => {
                let until = now.saturating_add(wait.unwrap_or(MINUTE));
                Outcome::Throttled { until, reason: reason("too many requests") }
            }
            // Of 409: the same key is being seen to, as the draft of `Idempotency-Key` has it.
            408 | 409 | 425 => {
                Outcome::Transient { wait, reason: reason("the server did not take the request in time") }
            }
            401 | 403 | 407 => {
                let remedy = "check the channel's secret and what it is allowed to do";
                Outcome::permanent(Fault::Channel, reason("the server does not let this channel in").remedy(remedy))
            }
            404 | 405 | 410 | 501 | 505 => {
                let remedy = "check the channel's address";
                Outcome::permanent(
                    Fault::Channel,
                    reason("the server has nothing there that takes messages").remedy(remedy),
                )
            }
            400..500 => Outcome::permanent(Fault::Message, reason("the server does not take this message")),
            500..600 => Outcome::Transient { wait, reason: reason("the server has trouble") },
            _ => Outcome::Transient { wait, reason: reason("the status is none that HTTP has for answers") },
        })
    }

    /// An answer of success whose body is not what this provider sends: it came from something in between, and nobody knows
    /// whether the message arrived.
    pub(crate) fn unreadable(&self, now: i64) -> Outcome {
        let text = match self.body.len() {
            0 => "the answer is empty".to_owned(),
            length if length > MOST => format!("the answer is far too large for this provider, {length} bytes"),
            _ => "the answer is not this provider's, a proxy may stand in between".to_owned(),
        };
        let theirs = if self.body.is_empty() { String::new() } else { self.excerpt() };
        Outcome::Transient {
            wait: retry_after(self, now),
            reason: Reason::new(Some(self.status.into()), &text, &theirs),
        }
    }
}

/// An integer, also as a string, as some servers and proxies write codes. Nothing if it is there and cannot be read.
pub(crate) fn integer(object: &Map<String, Value>, key: &str) -> Option<Option<i64>> {
    match object.get(key) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => text.trim().parse().ok().map(Some),
        #[expect(clippy::cast_possible_truncation, reason = "it is an integer within the bounds of one that is exact")]
        Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(code), _) => Some(Some(code)),
            (None, Some(code)) if code.fract() == 0.0 && code.abs() < 9e15 => Some(Some(code as i64)),
            _ => None,
        },
        Some(_) => None,
    }
}

/// A text, also of a number; empty if there is none.
pub(crate) fn text(object: &Map<String, Value>, key: &str) -> String {
    match object.get(key) {
        Some(Value::String(text)) => one_line(text),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &[u8]) -> Answer<'_> {
        Answer { status, headers: &[], body }
    }

    #[test]
    fn shows_the_title_of_a_page() {
        let page = b"<!DOCTYPE html><HTML><head><TITLE>502 Bad\n Gateway</TITLE></head><body>nginx".as_slice();
        assert_eq!(answer(502, page).excerpt(), "a page titled \"502 Bad Gateway\"");
        assert_eq!(answer(502, b"<title>cut off").excerpt(), "<title>cut off");
        assert_eq!(answer(502, b"a\r\n\x1b[31mb\xff").excerpt(), "a [31mb\u{fffd}");
        assert_eq!(answer(502, "日".repeat(9999).as_bytes()).excerpt().chars().count(), SHOWN);
    }

    #[test]
    fn reads_codes_however_they_are_written() {
        let code = |text: &str| integer(&serde_json::from_str(text).unwrap(), "errcode");
        assert_eq!(code(r#"{"errcode":40001}"#), Some(Some(40001)));
        assert_eq!(code(r#"{"errcode":"40001"}"#), Some(Some(40001)));
        assert_eq!(code(r#"{"errcode":-1.0}"#), Some(Some(-1)));
        assert_eq!(code(r#"{}"#), Some(None));
        assert_eq!(code(r#"{"errcode":null}"#), Some(None));
        for text in [
            r#"{"errcode":"no"}"#,
            r#"{"errcode":1.5}"#,
            r#"{"errcode":1e300}"#,
            r#"{"errcode":{}}"#,
            r#"{"errcode":true}"#,
        ] {
            assert_eq!(code(text), None, "{text}");
        }
    }

    #[test]
    fn every_status_means_something() {
        for status in 0..1000 {
            assert_eq!(answer(status, b"").by_status(0).is_none(), (200..300).contains(&status), "{status}");
        }
    }

    #[test]
    fn a_redirect_says_where_to() {
        let headers = [("Location".to_owned(), "https://new.example/\r\nx".to_owned())];
        let outcome = Answer { status: 301, headers: &headers, body: b"" }.by_status(0).unwrap();
        assert_eq!(
            outcome.reason().unwrap().to_string(),
            "the server redirects, which is not followed, since secrets go to the host alone that they are bound to (301): \
             set the channel's address to where it moved (https://new.example/ x), if that is right"
        );
    }
}
