//! A mail: what a guest may put into one, and what is sent for it.
//!
//! Nothing that a guest writes gets into a header or a command as it is, but for addresses, which are of few characters
//! ([`Address`]). Lines of the text end as MIME wants it, so that no server sees an end of the mail where there is none.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, MultiPart};

use crate::abi::smtp as abi;
use crate::clock::Timestamp;
use crate::config::smtp::Address;

/// Characters of `id`.
const MOST_OF_ID: usize = 128;
/// Recipients of one mail; a server must take a hundred (RFC 5321, 4.5.3.1.8).
const MOST_RECIPIENTS: usize = 100;
/// Bytes of the subject, and of the sender's name.
const MOST_OF_SUBJECT: usize = 998;
const MOST_OF_NAME: usize = 200;

/// A mail that can be sent.
#[derive(Debug)]
pub(super) struct Mail {
    id: String,
    name: Option<String>,
    pub(super) from: Address,
    /// At least one, each once.
    pub(super) to: Vec<Address>,
    subject: String,
    text: String,
    html: Option<String>,
}

impl Mail {
    /// The mail, or what is wrong with it.
    pub(super) fn checked(mail: abi::Mail) -> Result<Self, String> {
        let abi::Mail { id, from, to, subject, text, html, together: _ } = mail;
        let is_id = id.len() <= MOST_OF_ID
            && id.split('.').all(|part| {
                !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
            });
        if !is_id {
            return Err(format!("`id`: at most {MOST_OF_ID} letters, digits, `-`, `_` and `.`"));
        }
        one_line("subject", &subject, MOST_OF_SUBJECT)?;
        if let Some(name) = &from.name {
            one_line("from.name", name, MOST_OF_NAME)?;
        }
        let address = |key: &str, text: &str| text.parse::<Address>().map_err(|wrong| format!("`{key}`: {wrong}"));
        let sender = address("from.address", &from.address)?;
        let mut recipients = Vec::with_capacity(to.len().min(MOST_RECIPIENTS));
        for recipient in to.iter().take(MOST_RECIPIENTS + 1) {
            let recipient = address("to", recipient)?;
            if !recipients.contains(&recipient) {
                recipients.push(recipient);
            }
        }
        match recipients.len() {
            0 => Err("`to`: there is no recipient".to_owned()),
            1..=MOST_RECIPIENTS => {
                let (text, html) = (lines(&text), html.as_deref().map(lines));
                Ok(Self { id, name: from.name, from: sender, to: recipients, subject, text, html })
            }
            _ => Err(format!("`to`: there are more than {MOST_RECIPIENTS} recipients")),
        }
    }

    /// Bytes of what was written, before any encoding.
    pub(super) fn length(&self) -> usize {
        self.subject.len() + self.text.len() + self.html.as_ref().map_or(0, String::len)
    }

    /// Whether an address is not in ASCII, which not every server takes.
    pub(super) fn is_international(&self) -> bool {
        self.to.iter().chain([&self.from]).any(|address| !address.local().is_ascii())
    }

    /// The mail in MIME.
    pub(super) fn formatted(&self, now: Timestamp) -> Result<Vec<u8>, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("the mail cannot be written: {error}");
        let from = Mailbox::new(self.name.clone(), to_lettre(&self.from)?);
        let mut builder = Message::builder()
            .message_id(Some(format!("<{}@{}>", self.id, self.from.domain())))
            .date(UNIX_EPOCH + Duration::from_millis(now.0.try_into().unwrap_or(0)))
            .from(from)
            .subject(self.subject.clone())
            // So that nobody's absence note answers (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for recipient in &self.to {
            builder = builder.to(Mailbox::new(None, to_lettre(recipient)?));
        }
        let message = match &self.html {
            Some(html) => builder.multipart(MultiPart::alternative_plain_html(self.text.clone(), html.clone())),
            // Not a part of its own, which would end with a line more than the text.
            None => builder.header(MIME_VERSION_1_0).header(ContentType::TEXT_PLAIN).body(self.text.clone()),
        };
        message.map(|message| message.formatted()).map_err(|error| wrong(&error))
    }
}

/// The address for commands and headers.
pub(super) fn to_lettre(address: &Address) -> Result<lettre::Address, String> {
    lettre::Address::new(address.local(), address.domain()).map_err(|error| format!("`{address}`: {error}"))
}

fn one_line(key: &str, text: &str, most: usize) -> Result<(), String> {
    if text.len() > most {
        return Err(format!("`{key}`: more than {most} bytes"));
    }
    match text.chars().find(|it| it.is_control()) {
        Some(control) => Err(format!("`{key}`: a control character ({})", control.escape_default())),
        None => Ok(()),
    }
}

/// A text of which each line ends with a line feed alone; a carriage return elsewhere is one too.
fn lines(text: &str) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> abi::Mail {
        abi::Mail {
            id: "01KBB5Z0V7Q8M2J4K6N9P3R5TD".into(),
            from: abi::Mailbox { name: None, address: "upkeep@example.org".into() },
            to: vec!["ops@example.org".into()],
            subject: "hello".into(),
            text: "how are you\n".into(),
            html: None,
            together: false,
        }
    }

    fn formatted(mail: abi::Mail) -> String {
        let bytes = Mail::checked(mail).unwrap().formatted(Timestamp(1_796_025_476_000)).unwrap();
        assert!(!bytes.windows(2).any(|it| it[0] != b'\r' && it[1] == b'\n'), "a bare line feed");
        assert!(!bytes.windows(2).any(|it| it[0] == b'\r' && it[1] != b'\n'), "a bare carriage return");
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_mail_of_text_is_short() {
        insta::assert_snapshot!(formatted(mail()).replace("\r\n", "\n"));
    }

    #[test]
    fn texts_of_any_language_are_encoded() {
        let text = formatted(abi::Mail {
            from: abi::Mailbox { name: Some("维护 <web-1>".into()), address: "upkeep@例子.公司".into() },
            to: vec!["ops@example.org".into(), "值班@example.org".into(), "ops@EXAMPLE.org".into()],
            subject: "磁盘快满了：/var 只剩 3 %，请尽快处理，否则今晚的备份会失败，备份失败三次以后会发短信".into(),
            text: "磁盘\r\n快满了\r.\n".into(),
            html: Some("<p>磁盘快满了</p>\n".into()),
            ..mail()
        });
        let boundary = text.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        insta::assert_snapshot!(text.replace(boundary, "BOUNDARY").replace("\r\n", "\n"));
    }

    #[test]
    fn nothing_gets_into_a_header() {
        let from = |name: &str, address: &str| abi::Mailbox { name: Some(name.into()), address: address.into() };
        let ops = "ops@example.org";
        for (wrong, mail) in [
            ("`id`", abi::Mail { id: String::new(), ..mail() }),
            ("`id`", abi::Mail { id: "x".repeat(129), ..mail() }),
            ("`id`", abi::Mail { id: "a>\r\nBcc: evil@evil.test".into(), ..mail() }),
            ("`id`", abi::Mail { id: "a..b".into(), ..mail() }),
            ("`subject`", abi::Mail { subject: "a\r\nBcc: evil@evil.test".into(), ..mail() }),
            ("`subject`", abi::Mail { subject: "a\nb".into(), ..mail() }),
            ("`subject`", abi::Mail { subject: "a\rb".into(), ..mail() }),
            ("`subject`", abi::Mail { subject: "a\0b".into(), ..mail() }),
            ("`subject`", abi::Mail { subject: "x".repeat(999), ..mail() }),
            ("`from.name`", abi::Mail { from: from("a\r\nBcc: evil@evil.test", ops), ..mail() }),
            ("`from.name`", abi::Mail { from: from(&"x".repeat(201), ops), ..mail() }),
            ("`from.address`", abi::Mail { from: from("a", "ops@example.org\r\nBcc: evil@evil.test"), ..mail() }),
            ("`from.address`", abi::Mail { from: from("a", "ops@example.org> SIZE=1"), ..mail() }),
            ("`to`", abi::Mail { to: vec![ops.into(), "a@b.c\r\nDATA".into()], ..mail() }),
            ("`to`", abi::Mail { to: vec!["a@example.org, evil@evil.test".into()], ..mail() }),
            ("`to`", abi::Mail { to: Vec::new(), ..mail() }),
            ("`to`", abi::Mail { to: (0..101).map(|it| format!("a{it}@example.org")).collect(), ..mail() }),
        ] {
            let refused = Mail::checked(mail).unwrap_err();
            assert!(refused.starts_with(wrong) && !refused.contains(['\r', '\n', '\0']), "{wrong}: {refused:?}");
        }
        // A name is a name, whatever it looks like.
        let mail = abi::Mail { from: from("x\" <evil@evil.test>, \"", "upkeep@example.org"), ..mail() };
        let text = formatted(mail);
        assert!(text.contains("From: =?utf-8?b?eCIgPGV2aWxAZXZpbC50ZXN0PiwgIg==?= <upkeep@example.org>\r\n"), "{text}");
    }
}
