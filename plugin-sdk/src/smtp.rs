//! E-mail by the servers that the task file names. Sender and recipients are those that it allows; the login is the host's.
//!
//! ```
//! use upkeep_plugin::smtp::{Answer, Mail};
//! use upkeep_plugin::test::Host;
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! let host = Host::new().smtp("main", |_| Ok(Answer::accepted()));
//! let answer = Mail::new("disk-web-1-2026-11-30", "upkeep@example.org")
//!     .to("ops@example.org")
//!     .subject("The disk of web-1 is full")
//!     .text("3 % of /var are left.\n")
//!     .send("main")?;
//! assert!(answer.accepted);
//! assert_eq!(host.mails()[0].recipients(), ["ops@example.org"]);
//! # Ok(())
//! # }
//! ```
//!
//! An [`Answer`] is what the server said, also when it said no: whether another attempt makes sense follows from the code of its
//! reply ([`Reply::is_transient`]). Of several recipients some may be refused, and the others get the mail.

pub use crate::bindings::upkeep::plugin::smtp::{Answer, Refusal, Reply, Stage};
use crate::bindings::upkeep::plugin::smtp::{Mail as Wire, Mailbox};
use crate::host::{HostError, HostResult, smtp as host};

/// A mail that is not sent yet.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "nothing leaves before `send`"]
pub struct Mail(Wire);

impl Mail {
    /// A mail from an address that the task file allows. The `id` is the same for each attempt at this mail, and for no other:
    /// letters, digits, `-`, `_` and `.`, at most 128.
    pub fn new(id: impl Into<String>, from: impl Into<String>) -> Self {
        let wire = Wire {
            id: id.into(),
            from: Mailbox { name: None, address: from.into() },
            to: Vec::new(),
            subject: String::new(),
            text: String::new(),
            html: None,
            together: false,
        };
        Self(wire)
    }

    /// What is shown with the sender's address.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.0.from.name = Some(name.into());
        self
    }

    /// Adds a recipient, as `local@domain`; 100 at the most.
    pub fn to(mut self, recipient: impl Into<String>) -> Self {
        self.0.to.push(recipient.into());
        self
    }

    /// One line.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = subject.into();
        self
    }

    /// What programs show that show text.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.0.text = text.into();
        self
    }

    /// What programs show that show HTML.
    pub fn html(mut self, html: impl Into<String>) -> Self {
        self.0.html = Some(html.into());
        self
    }

    /// Lets nobody have it while one of the recipients is refused for now: all of them get it with another attempt, and each
    /// once.
    pub fn together(mut self) -> Self {
        self.0.together = true;
        self
    }

    /// The recipients.
    pub fn recipients(&self) -> &[String] {
        &self.0.to
    }

    /// Whether all recipients get it or none.
    pub fn is_together(&self) -> bool {
        self.0.together
    }

    /// What identifies it.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The sender's address.
    pub fn sender(&self) -> &str {
        &self.0.from.address
    }

    /// The subject.
    pub fn subject_line(&self) -> &str {
        &self.0.subject
    }

    /// The text, and the HTML if there is any.
    pub fn bodies(&self) -> (&str, Option<&str>) {
        (&self.0.text, self.0.html.as_deref())
    }

    /// Sends it by the server that the task file calls so, and waits for what that says. Not while planning; for many there is
    /// [`send`].
    ///
    /// # Errors
    /// [`HostError::Denied`] when the task file grants no such server, or not this sender or recipient,
    /// [`HostError::Invalid`] when it can never be sent: an address that is none, a line break in the
    /// subject, too large,
    /// [`HostError::Limit`] when the run has sent as many as it may,
    /// [`HostError::Unavailable`] when there is no connection, no TLS or no answer; the server may
    /// have taken it all the same.
    pub fn send(self, server: &str) -> HostResult<Answer> {
        let answer = send(server, [self])?.pop();
        answer.unwrap_or_else(|| Err(HostError::Unavailable(format!("`{server}`: the host gave no answer"))))
    }
}

/// Sends mails (at most 1,000), several at the same time, and gives what became of each, in the order given. Not while planning.
///
/// # Errors
/// [`HostError::Denied`] when the task file grants no such server. What is wrong with one mail is in its own result, as
/// [`Mail::send`] tells.
pub fn send(server: &str, mails: impl IntoIterator<Item = Mail>) -> HostResult<Vec<HostResult<Answer>>> {
    let mails: Vec<Wire> = mails.into_iter().map(|mail| mail.0).collect();
    host::send(server, &mails)
}

impl Reply {
    /// Whether it may be different later: a code of 4xx.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

#[cfg(not(target_family = "wasm"))]
impl Mail {
    /// As it came to the test host.
    pub(crate) fn of(wire: Wire) -> Self {
        Self(wire)
    }
}

#[cfg(not(target_family = "wasm"))]
impl Answer {
    /// A server that takes the mail, for the test host.
    pub fn accepted() -> Self {
        let reply = Reply { code: 250, enhanced: Some("2.0.0".to_owned()), text: "2.0.0 Ok".to_owned() };
        Self { accepted: true, stage: Stage::Content, reply, refused: Vec::new() }
    }

    /// A server that refuses at this stage, for the test host. An enhanced code may stand in front of the words.
    pub fn refused(stage: Stage, code: u16, text: &str) -> Self {
        let enhanced = text.split(' ').next().filter(|word| word.split('.').count() == 3).map(str::to_owned);
        let reply = Reply { code, enhanced, text: text.to_owned() };
        Self { accepted: false, stage, reply, refused: Vec::new() }
    }
}
