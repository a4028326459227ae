//! What is known of a message that is to be delivered.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Longest name of a channel, in bytes.
const LONGEST_NAME: usize = 64;

/// Longest idempotency key, in bytes.
const LONGEST_KEY: usize = 255;

/// Channels that one message may name.
const MOST_CHANNELS: usize = 16;

/// What a message says. Channels make of it what they can show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// One line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Markdown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// How much it matters.
    #[serde(default)]
    pub level: MessageLevel,
    /// Whom it is for, as its channels name people; none: whoever the channel reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Name of the template that the channel fills in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What goes into the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// What it is about: messages of one group may be shown together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where there is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// How much a message matters to whoever reads it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum MessageLevel {
    /// It is good to know.
    #[default]
    Info,
    /// It needs a look.
    Warn,
    /// Something went wrong.
    Error,
    /// Somebody has to act now.
    Critical,
}

/// Which messages go first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Before all others.
    Urgent,
    /// Before most.
    High,
    /// As they come.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// All, the first first.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::High, Self::Normal, Self::Low];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Its place in the order, from 0.
    pub fn place(self) -> u32 {
        match self {
            Self::Urgent => 0,
            Self::High => 1,
            Self::Normal => 2,
            Self::Low => 3,
        }
    }
}

/// Where a message stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum MessageState {
    /// It waits to be claimed.
    Waiting,
    /// A run delivers it.
    Claimed,
    /// A channel took it.
    Sent,
    /// No channel of its chain takes it. It can be sent again by hand.
    Dead,
    /// Its time was over before a channel took it.
    Expired,
}

impl MessageState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Claimed, Self::Sent, Self::Dead, Self::Expired];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Claimed => "claimed",
            Self::Sent => "sent",
            Self::Dead => "dead",
            Self::Expired => "expired",
        }
    }
}

/// A message as it is given to the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Idempotency key: of its origin, only the first message with it is kept.
    pub key: Option<String>,
    /// The chain: each channel is tried after the one before has refused for good. Not empty.
    pub channels: Vec<String>,
    /// Which go first.
    pub priority: Priority,
    /// It is not delivered before.
    pub not_before: Option<Timestamp>,
    /// It is not delivered from then on.
    pub expires: Option<Timestamp>,
    /// What it says.
    pub content: Content,
}

impl NewMessage {
    /// A message that goes to one channel, now.
    pub fn new(channel: impl Into<String>, content: Content) -> Self {
        let channels = vec![channel.into()];
        Self { key: None, channels, priority: Priority::Normal, not_before: None, expires: None, content }
    }

    /// Bytes of its content as JSON.
    pub fn size(&self) -> u64 {
        serde_json::to_vec(&self.content).map_or(u64::MAX, |text| text.len() as u64)
    }

    /// What is wrong with it, wherever it comes from; none when it can be taken in. Its content may take `largest` bytes as JSON,
    /// and at `now` it must not be too late for it.
    pub fn wrong(&self, largest: u64, now: Timestamp) -> Option<String> {
        let NewMessage { key, channels, content, expires, not_before, .. } = self;
        if channels.is_empty() || channels.len() > MOST_CHANNELS {
            return Some(format!("{} channels are named; name 1 to {MOST_CHANNELS}", channels.len()));
        }
        if let Some(name) = channels.iter().find(|name| !is_channel(name)) {
            let begin: String = name.chars().take(40).collect();
            return Some(format!(
                "`{begin}` cannot be the name of a channel; it takes 1 to {LONGEST_NAME} letters a-z, digits, `-` and `_`"
            ));
        }
        if let Some(name) =
            channels.iter().enumerate().find_map(|(at, name)| channels[..at].contains(name).then_some(name))
        {
            return Some(format!("the channel `{name}` is named twice; once is enough"));
        }
        if key
            .as_ref()
            .is_some_and(|key| key.is_empty() || key.len() > LONGEST_KEY || key.chars().any(char::is_control))
        {
            return Some(format!(
                "the idempotency key takes 1 to {LONGEST_KEY} bytes, none of them a control character"
            ));
        }
        if content.title.trim().is_empty() && content.text.trim().is_empty() && content.template.is_none() {
            return Some("it says nothing; give a title, a text or a template".to_owned());
        }
        if expires.is_some_and(|expires| expires <= now || not_before.is_some_and(|at| expires <= at)) {
            return Some("it would expire before it may be delivered; write a later `expires`".to_owned());
        }
        let size = self.size();
        (size > largest)
            .then(|| format!("it takes {size} bytes, and {largest} are allowed; shorten it, or send a link"))
    }
}

/// The origin of what a program gives over the control socket.
pub const API: &str = "api";

/// The origin of what people give by the command line.
pub const CLI: &str = "cli";

/// The origin of what a client gives over TCP. No task can be called so.
pub fn client_origin(client: &str) -> String {
    format!("{API}:{client}")
}

/// Whether `name` can be that of a channel.
pub fn is_channel(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Its identifier, a ULID: messages sort by the time at which they came.
    pub id: String,
    /// Who gave it: the name of a task, `cli`, `api`, or `api:` and the name of a client.
    pub origin: String,
    /// Idempotency key.
    pub key: Option<String>,
    /// The chain of channels.
    pub channels: Vec<String>,
    /// The channel whose turn it is, or which was last: its place in the chain, from 0.
    pub position: u32,
    /// Which go first.
    pub priority: Priority,
    /// Where it stands.
    pub state: MessageState,
    /// When it came.
    pub created: Timestamp,
    /// From when on the tries of the channel count whose turn it is: the first of them; before that, when the message came, was sent
    /// again, or could be delivered for the first time.
    pub since: Timestamp,
    /// It is not delivered before.
    pub not_before: Option<Timestamp>,
    /// It is not delivered from then on.
    pub expires: Option<Timestamp>,
    /// From when on it may be claimed: when it waits the next try, when it is claimed the end of the lease.
    pub due: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// How often by the channel whose turn it is, since it came or was sent again, but for what was throttled.
    pub tries: u32,
    /// When it was sent, dead or expired.
    pub ended: Option<Timestamp>,
    /// Why it waits again, is dead, or has expired.
    pub reason: Option<String>,
    /// What it says.
    pub content: Content,
}

impl Message {
    /// The channel whose turn it is, or which was last.
    pub fn channel(&self) -> &str {
        self.channels.get(self.position as usize).map_or("", String::as_str)
    }
}

/// One try to deliver a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Counts from 1.
    pub attempt: u32,
    /// When it began.
    pub at: Timestamp,
    /// By which channel.
    pub channel: String,
    /// What came of it.
    pub outcome: AttemptOutcome,
    /// The code that the provider answered.
    pub code: Option<String>,
    /// Why it did not go through, in words.
    pub reason: Option<String>,
    /// What the provider calls the message.
    pub provider_id: Option<String>,
    /// How long it took.
    pub took_ms: Option<u64>,
    /// What the provider told later of what it had taken.
    pub report: Option<DeliveryReport>,
}

/// What a provider tells of a message some time after it took it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryReport {
    /// When it did.
    pub at: Timestamp,
    /// The provider's code; 0: it was delivered.
    pub code: Option<i64>,
    /// In the provider's words.
    pub status: String,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptOutcome {
    /// The channel took it.
    Sent,
    /// Not this time.
    Retry,
    /// Not this time, since the channel has had enough for now. It counts as no try.
    Throttled,
    /// The channel will never take it.
    Refused,
    /// Nobody knows: the run that tried was gone before it could tell.
    Lost,
    /// It was not tried: the channel took nothing at that time, and another was next.
    Passed,
}

/// What messages do that become due while their channel is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    /// They wait for the end of the pause.
    Wait,
    /// Those that have another channel in their chain go on to it; the others wait.
    PassOn,
}

/// How many messages of a channel stand where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChannelCounts {
    /// The channel.
    pub channel: String,
    /// May be claimed now, unless the channel is paused.
    pub due: u64,
    /// Wait for their time.
    pub later: u64,
    /// Are being delivered.
    pub claimed: u64,
    /// It is paused until then.
    pub paused_until: Option<Timestamp>,
    /// Why it is paused.
    pub reason: Option<String>,
}

/// What became of a message that was given to the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enqueued {
    /// The message; where the key was known already, the first one with it.
    pub id: String,
    /// Whether it is new.
    pub outcome: EnqueueOutcome,
}

/// Whether a message is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnqueueOutcome {
    /// It is, and it is durable.
    New,
    /// The same message has this key already: nothing was changed.
    Known,
    /// Another message has this key already: nothing was changed, and this one is not kept.
    Different,
}
