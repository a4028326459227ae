//! Mail: what is in it. How it is written (MIME) and sent (SMTP) is the host's part.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::markdown::{plain, to_html};
use crate::message::Message;
use crate::moment::MINUTE;
use crate::outcome::{Fault, Outcome, Reason};
use crate::refused::Refused;

/// Settings of the channel. The server and its login are the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MailSettings {
    /// Who gets messages that name nobody.
    pub to: Vec<String>,
    /// What subjects begin with, such as `[web-1]`.
    pub prefix: String,
}

/// A mail that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The message's id, for `Message-ID`: a server that sees it twice may drop one.
    pub id: String,
    /// Addresses, each as `local@domain`.
    pub to: Vec<String>,
    /// One line, not encoded.
    pub subject: String,
    /// For programs that show text.
    pub text: String,
    /// For those that show HTML: a whole document without anything from elsewhere.
    pub html: String,
}

/// Bytes of an address (RFC 5321, 4.5.3.1.3).
const MOST_OF_ADDRESS: usize = 254;
/// Addresses of one mail; a server must take a hundred (RFC 5321, 4.5.3.1.8).
const MOST_ADDRESSES: usize = 100;

/// The mail of a message.
pub fn mail(message: &Message, settings: &MailSettings) -> Result<Mail, Refused> {
    message.check()?;
    let to = if message.to.mail.is_empty() { &settings.to } else { &message.to.mail };
    if to.is_empty() {
        return Err(Refused::NoRecipient { channel: "a mail", what: "an address" });
    }
    if to.len() > MOST_ADDRESSES {
        return Err(Refused::TooLong {
            field: "to.mail".into(),
            limit: MOST_ADDRESSES,
            unit: "addresses",
            has: to.len(),
        });
    }
    if let Some(bad) = to.iter().find(|it| !is_address(it)) {
        return Err(Refused::rule(
            format!("to.mail ({bad:.80})"),
            "an address such as ops@example.org, without a name around it",
        ));
    }
    let subject = crate::message::one_line(&format!("{} {}", settings.prefix, message.marked()));
    let link = message.link();
    let text = match (plain(&message.words()), link) {
        (text, None) => text,
        (text, Some(link)) if text.is_empty() => link.to_owned(),
        (text, Some(link)) => format!("{text}\n\n{link}"),
    };
    // Links have been checked: nothing in them ends an attribute.
    let link = link.map(|it| format!("<p><a href=\"{0}\">{0}</a></p>\n", it.replace('&', "&amp;"))).unwrap_or_default();
    let html = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head>\n<body style=\"font-family: sans-serif\">\n{}{link}</body></html>\n",
        to_html(&message.words())
    );
    let text = if text.is_empty() { message.headline() } else { text };
    Ok(Mail { id: message.id.clone(), to: to.clone(), subject, text: text + "\n", html })
}

/// Whether it is an address that can stand in a command of SMTP as it is. Narrower than RFC 5321, which allows quotes.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let part = |it: &str, more: &str| {
        !it.is_empty()
            && !it.starts_with('.')
            && !it.ends_with('.')
            && !it.contains("..")
            && it.chars().all(|it| it.is_alphanumeric() || more.contains(it))
    };
    text.len() <= MOST_OF_ADDRESS
        && local.len() <= 64
        && part(local, ".!#$%&'*+-/=?^_`{|}~")
        && part(domain, ".-")
        && !domain.starts_with('-')
}

/// What a mail server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The connection itself.
    Connection,
    /// User and password.
    Login,
    /// The sender.
    Sender,
    /// A recipient, or all of them.
    Recipients,
    /// The mail.
    Content,
}

/// Whether a server that refuses a recipient means this machine or the sender, rather than the recipient: servers look at these late.
fn is_of_machine(code: u16, text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let of_machine = ["relay", "client host", "sender address", "helo command", "spamhaus", "blocklist", "blacklist"];
    let of_recipient = text.contains("5.1.") || text.contains("recipient");
    of_machine.iter().any(|it| text.contains(it)) || (matches!(code, 521 | 554) && !of_recipient)
}

/// What a reply of SMTP means (RFC 5321, 4.2.1): 4xx may be different later, 5xx will not.
pub fn outcome(stage: Stage, code: u16, text: &str) -> Outcome {
    let reason = |words: &str| Reason::new(Some(code.into()), words, text);
    let channel = |words: &str, remedy: &str| Outcome::permanent(Fault::Channel, reason(words).remedy(remedy));
    match code {
        200..300 => return Outcome::Accepted { id: None },
        // Greylisting: whoever comes again after a while is let in.
        450 | 451 => {
            let reason = reason("the mail server asks to try again later");
            return Outcome::Transient { wait: Some(5 * MINUTE), reason };
        }
        400..500 => return Outcome::Transient { wait: None, reason: reason("the mail server has trouble") },
        500..600 => {}
        _ => return Outcome::Transient { wait: None, reason: reason("the server does not speak SMTP") },
    }
    match (stage, code) {
        (Stage::Connection, _) => {
            let remedy = "ask its operator whether it takes mail from this machine";
            channel("the mail server does not let this machine in", remedy)
        }
        (Stage::Login, _) => {
            let remedy = "correct `user` and `password` of the server in the task file (`grant.smtp`)";
            channel("the mail server does not accept user or password", remedy)
        }
        (_, 530 | 534 | 535 | 538) => {
            let remedy = "give the server in the task file (`grant.smtp`) a `user` and a `password`";
            channel("the mail server wants a login", remedy)
        }
        (Stage::Sender, _) => {
            let remedy = "set `from` to an address from which its account may send";
            channel("the mail server does not take mail from this sender", remedy)
        }
        (Stage::Recipients, 521 | 550..=554) if is_of_machine(code, text) => {
            let remedy = "check the server's login, and whether it takes mail from this machine";
            channel("the mail server does not take mail for others from this machine", remedy)
        }
        (Stage::Recipients, 521 | 550 | 551 | 553 | 554) => Outcome::permanent(
            Fault::Recipient,
            reason("the mail server does not take mail for the address").remedy("correct the address"),
        ),
        _ => Outcome::permanent(Fault::Message, reason("the mail server does not take the mail")),
    }
}
