//! `[listen]` of `upkeep.toml`: what the daemon listens to over TCP, and who may ask for what there. Without the section it listens
//! to nothing but the control socket.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::http::{Network, as_text};
use crate::config::schema::LISTEN;
use crate::config::secret::Secret;
use crate::config::size::Size;
use crate::record::outbox::Priority;

/// What is listened to over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenSettings {
    /// Address and port.
    pub address: ListenAddress,
    /// Whether the address may be one that other machines reach, without TLS: tokens and messages can then be read on the way.
    #[serde(default)]
    pub insecure: bool,
    /// Proxies in front, by address or network: what they say in `X-Forwarded-For` is whom a request is from.
    #[serde(default)]
    pub proxies: Vec<Network>,
    /// Programs that may give messages.
    #[serde(default)]
    pub client: BTreeMap<String, ClientSettings>,
    /// WeChat applications whose events come here ("message push").
    #[serde(default)]
    pub wechat: BTreeMap<String, WechatSettings>,
}

/// A program that may give messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// What it proves with that it is who it says; at least 16 bytes.
    pub token: Secret,
    /// Channels that its messages may name; `*` for all.
    pub channels: Vec<String>,
    /// Messages a minute.
    #[serde(default = "rate")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rate: u32,
    /// The largest message, with all its texts.
    #[serde(default = "max_message")]
    pub max_message: Size,
    /// The highest priority that its messages may have.
    #[serde(default)]
    pub priority: Priority,
}

/// A WeChat application whose events come here ("message push"), as its console says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WechatSettings {
    /// The application.
    pub appid: String,
    /// The token of message push.
    pub token: Secret,
    /// The EncodingAESKey of message push, for safe mode.
    pub encoding_aes_key: Option<Secret>,
    /// Whether events may come in plain mode, where the signature does not cover what they say; then without `encoding_aes_key`.
    #[serde(default)]
    pub plain: bool,
    /// Where they come to; `/wechat/NAME` unless given.
    pub path: Option<String>,
    /// Ids of the templates whose consents are not used up by a message.
    #[serde(default)]
    pub long_term: Vec<String>,
}

impl WechatSettings {
    /// Where its events come to.
    pub fn path(&self, name: &str) -> String {
        self.path.clone().unwrap_or_else(|| format!("/wechat/{name}"))
    }
}

fn rate() -> u32 {
    600
}

fn max_message() -> Size {
    Size(48 << 10)
}

impl ClientSettings {
    /// The shortest token, in bytes: what is shorter is found by trying.
    pub const SHORTEST_TOKEN: usize = 16;
    /// The longest token, in bytes.
    pub const LONGEST_TOKEN: usize = 1024;
    /// The largest message that can be allowed, in bytes.
    pub const LARGEST_MESSAGE: u64 = 256 << 10;
    /// Stands for all channels.
    pub const ALL: &str = "*";

    /// Whether a message of it may name this channel.
    pub fn may_use(&self, channel: &str) -> bool {
        self.channels.iter().any(|allowed| allowed == Self::ALL || allowed == channel)
    }

    /// Whether a message of it may have this priority.
    pub fn may_have(&self, priority: Priority) -> bool {
        priority.place() >= self.priority.place()
    }

    /// Whether a client can be called so: it becomes part of the origin of its messages.
    pub fn is_name(name: &str) -> bool {
        crate::config::files::is_task_name(name)
    }
}

/// An address with its port, as numbers: a name could lead elsewhere tomorrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenAddress(pub SocketAddr);

impl ListenAddress {
    /// Whether only this machine reaches it.
    pub fn is_this_machine(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write the address in numbers with its port: `127.0.0.1:8473` or `[::1]:8473`";
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(format!("the port 0 would be another one at each start; {FORM}")),
                _ => Ok(Self(address)),
            };
        }
        Err(match text.parse::<IpAddr>() {
            Ok(_) => format!("`{text}` has no port; {FORM}"),
            Err(_) => format!("`{text}` is no address with a port; {FORM}"),
        })
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

as_text!(ListenAddress, "ListenAddress", LISTEN, ["127.0.0.1:8473", "[::1]:8473"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numbers_with_a_port() {
        for (text, this_machine) in [
            ("127.0.0.1:8473", true),
            ("127.8.8.8:1", true),
            ("[::1]:8473", true),
            ("[::ffff:127.0.0.1]:8473", true),
            ("0.0.0.0:8473", false),
            ("[::]:8473", false),
            ("10.0.0.5:8473", false),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().is_this_machine(), this_machine, "{text}");
        }
        for wrong in ["127.0.0.1", "::1", "localhost:8473", "127.0.0.1:0", ":8473", "8473", "127.0.0.1:70000", ""] {
            assert!(wrong.parse::<ListenAddress>().unwrap_err().contains("; write the address"), "{wrong}");
        }
    }

    #[test]
    fn a_client_may_what_is_named() {
        let client = |channels: &[&str], priority| ClientSettings {
            token: Secret::Env("X".into()),
            channels: channels.iter().map(|it| (*it).to_owned()).collect(),
            rate: 1,
            max_message: Size(1),
            priority,
        };
        for (channels, channel, may) in [
            (&["mail"][..], "mail", true),
            (&["mail", "wecom"], "wecom", true),
            (&["mail"], "mail2", false),
            (&["mail"], "mai", false),
            (&["*"], "anything", true),
            (&["mail-*"], "mail-1", false),
            (&[], "mail", false),
        ] {
            assert_eq!(client(channels, Priority::Low).may_use(channel), may, "{channels:?} {channel}");
        }
        for (highest, may) in [
            (Priority::Urgent, [true, true, true, true]),
            (Priority::High, [false, true, true, true]),
            (Priority::Normal, [false, false, true, true]),
            (Priority::Low, [false, false, false, true]),
        ] {
            assert_eq!(Priority::ALL.map(|it| client(&[], highest).may_have(it)), may, "{highest:?}");
        }
    }
}
