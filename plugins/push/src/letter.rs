//! What goes to a provider in one request: a message, or several as one.

use upkeep_channel::part::{Piece, Signature};
use upkeep_channel::{Message, Recipients, Refused, Template, WriteError, Written, digest, mail, merged, request};
use upkeep_plugin::http::Request;
use upkeep_plugin::outbox::{Claimed, Level};
use upkeep_plugin::secrets::{Algorithm, Part, hmac_of};
use upkeep_plugin::smtp::Mail;
use upkeep_plugin::{HostError, HostResult};

use crate::config::{Channel, Kind, Post};

/// Messages that go in one request.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) messages: Vec<Claimed>,
    /// When it left, milliseconds since 1970.
    pub(crate) left: i64,
}

/// Why there is no request.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// The message cannot be sent by this channel.
    Refused(Refused),
    /// The user does not accept it.
    Unwanted(String),
    /// The host does not sign, or the settings make no request.
    Channel(String),
    /// Not now.
    Later(String),
    /// Not in this run, which may do no more.
    Spent(String),
}

impl Letter {
    pub(crate) fn new(messages: Vec<Claimed>) -> Self {
        Self { messages, left: 0 }
    }

    /// Without the messages that the channel cannot send: one of them would keep back all that are merged with it. One message
    /// by itself is seen to as it is written.
    pub(crate) fn sift(&mut self, channel: &Channel, now: i64) -> Vec<(Self, Refused)> {
        if self.messages.len() < 2 {
            return Vec::new();
        }
        let why_not = |claimed: &Claimed| {
            let message = message(claimed)?;
            match &channel.kind {
                Kind::Requests(settings) => request(&message, settings, now).map(drop),
                Kind::Mails(post) => mail::mail(&message, &post.settings()).map(drop),
            }
        };
        let mut refused = Vec::new();
        for claimed in std::mem::take(&mut self.messages) {
            match why_not(&claimed) {
                Ok(()) => self.messages.push(claimed),
                Err(why) => refused.push((Self::new(vec![claimed]), why)),
            }
        }
        refused
    }

    /// The request, and what the one message is called that all of them are.
    pub(crate) fn write(&self, channel: &Channel, now: i64) -> Result<(Request, String), Unwritten> {
        let Kind::Requests(settings) = &channel.kind else {
            return Err(Unwritten::Channel("there are no requests to a mail server".to_owned()));
        };
        let messages = self.messages.iter().map(message).collect::<Result<Vec<_>, _>>().map_err(Unwritten::Refused)?;
        let message = match &messages[..] {
            [one] => one.clone(),
            // A lane merges for channels alone that can.
            several => merged(several, settings)
                .ok_or_else(|| Unwritten::Channel("messages of this channel cannot be merged".to_owned()))?,
        };
        let asked = request(&message, settings, now).map_err(Unwritten::Refused)?;
        let Written { method, url, headers, body } = asked.write(sign).map_err(|error| match error {
            WriteError::Unsigned(HostError::Unavailable(why)) => Unwritten::Later(why),
            WriteError::Unsigned(HostError::Limit(why)) => Unwritten::Spent(why),
            WriteError::Unsigned(
                HostError::Denied(why) | HostError::Invalid(why) | HostError::NotFound(why) | HostError::Conflict(why),
            ) => Unwritten::Channel(why),
            error => Unwritten::Channel(error.to_string()),
        })?;
        let mut request = Request::new(method, url).with_body(body).timeout(channel.timeout);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        Ok((request, message.id))
    }
}

/// Bytes of a digest that goes by mail.
const MOST_OF_DIGEST: usize = 64 * 1024;
/// Tries of a message from which on a recipient that is refused for now does not keep it from the others.
const TOGETHER: u32 = 3;

impl Letter {
    /// The mail, by a channel of mail.
    pub(crate) fn mail(&self, post: &Post) -> Result<Mail, Refused> {
        let messages = self.messages.iter().map(message).collect::<Result<Vec<_>, _>>()?;
        let written = mail::mail(&digest(&messages, MOST_OF_DIGEST), &post.settings())?;
        let mail::Mail { id, to, subject, text, html } = written;
        let mut mail = Mail::new(id, &post.from).subject(subject).text(text).html(html);
        if let Some(name) = &post.name {
            mail = mail.name(name);
        }
        for recipient in to {
            mail = mail.to(recipient);
        }
        let is_new = self.messages.iter().all(|it| it.tries < TOGETHER);
        Ok(if is_new { mail.together() } else { mail })
    }

    /// Whether it says itself whom it is for.
    pub(crate) fn is_addressed(&self) -> bool {
        self.messages.iter().any(|it| it.content.to.is_some())
    }
}

/// The code that a signature is written from.
fn sign(signature: &Signature, body: &[u8]) -> HostResult<Vec<u8>> {
    let parts = |pieces: &[Piece]| {
        let part = |piece: &Piece| match piece {
            Piece::Text(text) => Part::bytes(text.as_bytes()),
            Piece::Secret(name) => Part::secret(name.as_str()),
            Piece::Decoded(name) => Part::decoded(name.as_str()),
            Piece::Body => Part::bytes(body),
        };
        pieces.iter().map(part).collect::<Vec<_>>()
    };
    hmac_of(Algorithm::Sha256, &parts(&signature.key), &parts(&signature.message))
}

/// A message of the outbox as channels know it.
fn message(claimed: &Claimed) -> Result<Message, Refused> {
    let content = &claimed.content;
    let template = (content.template.is_some() || !content.fields.is_empty()).then(|| Template {
        name: content.template.clone().unwrap_or_default(),
        fields: content.fields.iter().cloned().collect(),
        page: None,
    });
    Ok(Message {
        id: claimed.idempotency_key().to_owned(),
        group: content.group.clone().unwrap_or_default(),
        level: match content.level {
            Level::Info => upkeep_channel::Level::Info,
            Level::Warn => upkeep_channel::Level::Warn,
            Level::Error => upkeep_channel::Level::Error,
            Level::Critical => upkeep_channel::Level::Critical,
        },
        title: content.title.clone(),
        text: content.text.clone(),
        link: content.link.clone(),
        to: content.to.as_deref().map(Recipients::parse).transpose()?.unwrap_or_default(),
        template,
        at: claimed.created,
    })
}
