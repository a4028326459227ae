//! Messages that are to be delivered: durable in the host, through channels that the operator has set up.
//!
//! A task that has something to say enqueues it and is done; the plugin `push` delivers it, tries again, and goes on to the next
//! channel of the chain when one refuses for good.
//!
//! ```
//! use upkeep_plugin::outbox::{self, EnqueueOutcome, Level, Message};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! # let _host = upkeep_plugin::test::Host::new().outbox();
//! let message = Message::to(["wecom", "mail"])
//!     .title("The certificate of shop.example ends in 5 days")
//!     .level(Level::Warn)
//!     .key("certificate/shop.example/2026-11-28");
//! assert_eq!(outbox::enqueue([message.clone()])?[0].outcome, EnqueueOutcome::New);
//! // The next run says the same, and nobody hears it twice.
//! assert_eq!(outbox::enqueue([message])?[0].outcome, EnqueueOutcome::Known);
//! # Ok(())
//! # }
//! ```
//!
//! Whoever delivers claims messages for a time, its lease, and says what became of each:
//!
//! ```
//! use std::time::Duration;
//! use upkeep_plugin::outbox::{self, Message, Outcome};
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! # let host = upkeep_plugin::test::Host::new().outbox();
//! # outbox::enqueue([Message::to(["webhook"]).title("hello")])?;
//! let settled: Vec<_> = outbox::claim("webhook", 100, Duration::from_secs(60))?
//!     .iter()
//!     .map(|message| message.settle(Outcome::Sent(None)))
//!     .collect();
//! assert_eq!(outbox::settle(settled)?, [true]);
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use crate::bindings::upkeep::plugin::outbox::Message as Wire;
pub use crate::bindings::upkeep::plugin::outbox::{
    Claimed, Content, Counts, EnqueueOutcome, Enqueued, Level, Meanwhile, Outcome, Priority, Room, Settlement,
};
use crate::host::{HostResult, outbox as host};

/// A message to be delivered.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "it goes nowhere before `enqueue`"]
pub struct Message(Wire);

impl Message {
    /// A message for a chain of channels: each is tried after the one before has refused for good.
    pub fn to<C: Into<String>>(channels: impl IntoIterator<Item = C>) -> Self {
        let content = Content {
            title: String::new(),
            text: String::new(),
            level: Level::Info,
            to: None,
            template: None,
            fields: Vec::new(),
            group: None,
            link: None,
        };
        let channels = channels.into_iter().map(Into::into).collect();
        let priority = Priority::Normal;
        Self(Wire { key: None, channels, priority, not_before: None, expires: None, content })
    }

    /// One line above the text.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.0.content.title = title.into();
        self
    }

    /// The text, in Markdown.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.0.content.text = text.into();
        self
    }

    /// How much it matters to whoever reads it.
    pub fn level(mut self, level: Level) -> Self {
        self.0.content.level = level;
        self
    }

    /// Whom it is for, as the channels name people.
    pub fn recipient(mut self, recipient: impl Into<String>) -> Self {
        self.0.content.to = Some(recipient.into());
        self
    }

    /// The template that the channel fills in.
    pub fn template(mut self, template: impl Into<String>) -> Self {
        self.0.content.template = Some(template.into());
        self
    }

    /// A field of the template.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.content.fields.push((name.into(), value.into()));
        self
    }

    /// What it is about: messages of one group may be shown together.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.0.content.group = Some(group.into());
        self
    }

    /// Where there is more.
    pub fn link(mut self, link: impl Into<String>) -> Self {
        self.0.content.link = Some(link.into());
        self
    }

    /// Idempotency key: of this task, only the first message with it is kept.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    /// Which messages go first.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.0.priority = priority;
        self
    }

    /// It is not delivered before then, milliseconds since the Unix epoch.
    pub fn not_before(mut self, at: i64) -> Self {
        self.0.not_before = Some(at);
        self
    }

    /// It is not delivered from then on, milliseconds since the Unix epoch.
    pub fn expires(mut self, at: i64) -> Self {
        self.0.expires = Some(at);
        self
    }
}

impl Claimed {
    /// What became of the message.
    pub fn settle(&self, outcome: Outcome) -> Settlement {
        let (id, lease) = (self.id.clone(), self.lease.clone());
        Settlement { id, lease, outcome, code: None, reason: None, took_ms: None }
    }

    /// What a receiver that honours idempotency keys is to be given: the same for each attempt, another for each message.
    pub fn idempotency_key(&self) -> &str {
        &self.id
    }
}

impl Settlement {
    /// The code that the provider answered.
    #[must_use]
    pub fn code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// Why it did not go through, in words, without any secret.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// How long it took.
    #[must_use]
    pub fn took(self, took: Duration) -> Self {
        Self { took_ms: Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)), ..self }
    }
}

/// Puts messages into the outbox; durable on return, and answered in the order given. Not while planning. The right `enqueue`
/// is needed.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the grant, [`HostError::Invalid`](crate::HostError::Invalid) when a
/// message cannot be delivered by anyone, [`HostError::Limit`](crate::HostError::Limit) when the run has enqueued as many as it may.
/// In each case none of them is kept.
pub fn enqueue(messages: impl IntoIterator<Item = Message>) -> HostResult<Vec<Enqueued>> {
    let messages: Vec<Wire> = messages.into_iter().map(|message| message.0).collect();
    host::enqueue(&messages)
}

/// What this run may still enqueue. The right `enqueue` is needed.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the grant.
pub fn room() -> HostResult<Room> {
    host::remaining()
}

/// At most `max` messages (1,000) of a channel that are due, the most urgent first. They are the caller's for the time of the
/// lease, a second to an hour; after that they can be claimed again. Not while planning. The right `deliver` is needed.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the grant.
pub fn claim(channel: &str, max: u32, lease: Duration) -> HostResult<Vec<Claimed>> {
    host::claim(channel, max, u64::try_from(lease.as_millis()).unwrap_or(u64::MAX))
}

/// Says what became of messages, in one commit. For each: whether it was still the caller's. The right `deliver` is needed.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the grant.
pub fn settle(settlements: impl IntoIterator<Item = Settlement>) -> HostResult<Vec<bool>> {
    let settlements: Vec<Settlement> = settlements.into_iter().collect();
    host::settle(&settlements)
}

/// Lets nobody claim from a channel until then, milliseconds since the Unix epoch; a time that has passed ends it. `meanwhile`
/// says what those do that are due before. The right `deliver` is needed.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the grant.
pub fn pause(channel: &str, until: i64, reason: &str, meanwhile: Meanwhile) -> HostResult<()> {
    host::pause(channel, until, reason, meanwhile)
}

/// All channels that have messages or are paused, by name. The right `deliver` is needed.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) without the grant.
pub fn count() -> HostResult<Vec<Counts>> {
    host::count()
}
