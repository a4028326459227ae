//! `[config]`: the channels, and how each is used.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;
use upkeep_channel::dingtalk::DingTalk;
use upkeep_channel::feishu::Feishu;
use upkeep_channel::mail::MailSettings;
use upkeep_channel::ntfy::Ntfy;
use upkeep_channel::webhook::Webhook;
use upkeep_channel::wechat::{service, subscribe};
use upkeep_channel::wecom::WeCom;
use upkeep_channel::{Limit, Retry, Settings};
use upkeep_plugin::config::Span;
use upkeep_plugin::{Error, Result};

use crate::consent::Use;

/// Delivers messages.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Push {
    /// The channels by the names that messages have for them, each a `[config.channels.NAME]`.
    #[schemars(extend("minProperties" = 1))]
    pub(crate) channels: BTreeMap<String, ChannelSettings>,
    /// How long a run takes messages out; the next one goes on.
    #[serde(default = "a_minute")]
    pub(crate) longest_run: Span,
}

/// A channel: one key that says what it is, and how it is used.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = of_one_kind)]
pub(crate) struct ChannelSettings {
    /// A robot of WeCom.
    #[serde(default)]
    wecom: Option<WeCom>,
    /// A robot of DingTalk.
    #[serde(default)]
    dingtalk: Option<DingTalk>,
    /// A robot of Feishu or Lark.
    #[serde(default)]
    feishu: Option<Feishu>,
    /// A topic of ntfy.
    #[serde(default)]
    ntfy: Option<Ntfy>,
    /// Any server that takes JSON.
    #[serde(default)]
    webhook: Option<Webhook>,
    /// Subscribe messages of a mini-program of WeChat.
    #[serde(default)]
    wechat_subscribe: Option<subscribe::Subscribe>,
    /// Customer-service messages of a mini-program of WeChat.
    #[serde(default)]
    wechat_service: Option<service::Service>,
    /// Mail, by a server of `[grant.smtp]`.
    #[serde(default)]
    mail: Option<Post>,
    /// Whether WeChat's subscribe messages ask the ledger of consents first; for `require` and `advise` the task file has to grant
    /// `consents`.
    #[serde(default)]
    consents: Use,
    /// The appid whose users they are.
    #[serde(default)]
    account: Option<String>,
    /// Whether what is beyond the rate is merged into one message; by default for the robots of WeCom, DingTalk and Feishu.
    #[serde(default)]
    digest: Option<bool>,
    /// How often it is used at the most, instead of what is known of the provider. An empty list: as often as may be.
    #[serde(default)]
    rate: Option<Vec<RateSettings>>,
    /// How a message is tried again that was not taken this time.
    #[serde(default)]
    retry: RetrySettings,
    /// Messages that are taken out of the outbox at once. As many as are allowed to be as large as may be fit into `limits.call`.
    #[serde(default = "two_hundred")]
    #[schemars(range(min = 1, max = 1_000))]
    batch: u32,
    /// Requests at the same time; by default 32, for mail 16, for robots and ntfy 4.
    #[serde(default)]
    #[schemars(range(min = 1, max = 128))]
    concurrency: Option<u32>,
    /// How long a provider may take for an answer; of mail servers `[grant.smtp]` says it.
    #[serde(default = "ten_seconds")]
    timeout: Span,
    /// How long the channel is left alone when it does not work at all: a key that is wrong, a server that is down.
    #[serde(default = "ten_minutes")]
    pause: Span,
}

/// A channel of mail. Who may be the sender and who may get mail stands in `[grant.smtp]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Post {
    /// The server, by its name there.
    #[schemars(extend("format" = "upkeep-mail-server"))]
    pub(crate) server: String,
    /// The address of the sender.
    pub(crate) from: String,
    /// What is shown with it.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// Who gets messages that name nobody.
    #[serde(default)]
    pub(crate) to: Vec<String>,
    /// What subjects begin with, such as `[web-1]`.
    #[serde(default)]
    pub(crate) prefix: String,
}

impl Post {
    /// What the mails of this channel have in common.
    pub(crate) fn settings(&self) -> MailSettings {
        MailSettings { to: self.to.clone(), prefix: self.prefix.clone() }
    }
}

/// What a channel is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A provider that is asked over HTTP.
    Requests(Settings),
    /// A mail server.
    Mails(Post),
}

/// So many within any time of this length.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RateSettings {
    /// How many.
    #[schemars(range(min = 1, max = 10_000))]
    count: u32,
    /// Of what length: `1m`.
    per: Span,
}

/// How a message is tried again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RetrySettings {
    /// The wait behind the first try; each that follows is twice as long, and all are spread.
    first: Span,
    /// The longest wait.
    longest: Span,
    /// Tries of one message by this channel, the first one included.
    #[schemars(range(min = 1, max = 1_000))]
    tries: u32,
    /// Tries of a message that has another channel behind this one in its chain; no more than `tries`.
    #[schemars(range(min = 1, max = 1_000))]
    before_next: u32,
    /// For how long a message is tried, from its first try by this channel on.
    within: Span,
}

impl Default for RetrySettings {
    fn default() -> Self {
        let Retry { first, longest, tries, before_next, within } = Retry::default();
        Self { first: Span(first), longest: Span(longest), tries, before_next, within: Span(within) }
    }
}

fn a_minute() -> Span {
    Span(60_000)
}

fn ten_seconds() -> Span {
    Span(10_000)
}

fn ten_minutes() -> Span {
    Span(600_000)
}

fn two_hundred() -> u32 {
    200
}

/// Keys of which each channel has one.
const KINDS: [&str; 8] =
    ["wecom", "dingtalk", "feishu", "ntfy", "webhook", "wechat_subscribe", "wechat_service", "mail"];

/// So that `upkeep check` tells, and `upkeep plugin inspect` shows what stands in each kind.
fn of_one_kind(schema: &mut Schema) {
    let properties = schema.get_mut("properties").and_then(|it| it.as_object_mut());
    for (_, property) in properties.into_iter().flatten().filter(|(key, _)| KINDS.contains(&key.as_str())) {
        let Ok(property) = <&mut Schema>::try_from(property) else { continue };
        // A TOML file has no null: what is left out is not there.
        property.remove("default");
        if let Some(reference) = property.remove("anyOf").and_then(|it| it.get(0)?.get("$ref").cloned()) {
            property.insert("$ref".to_owned(), reference);
        }
    }
    let required: Vec<Schema> = KINDS.iter().map(|it| json_schema!({ "required": [it] })).collect();
    let told = format!("a channel has exactly one of {}", KINDS.map(|it| format!("`{it}`")).join(", "));
    let mut all = vec![json_schema!({ "oneOf": required, "description": told })];
    all.extend(misplaced());
    // Not at the top: who prints the keys would take it for a choice between schemas.
    schema.insert("allOf".to_owned(), all.into_iter().map(|it| it.to_value()).collect::<Vec<_>>().into());
}

/// Keys that have no meaning beside others: the same that [`ChannelSettings::channel`] refuses. The description tells what is right.
fn misplaced() -> [Schema; 4] {
    let asks = json_schema!({
        "required": ["consents"], "properties": { "consents": { "enum": ["require", "advise"] } },
    });
    let to_one = json_schema!({
        "anyOf": [{ "required": ["wechat_subscribe"] }, { "required": ["wechat_service"] }],
        "required": ["digest"], "properties": { "digest": { "const": true } },
    });
    // Of the type that nothing in TOML has: the key is to be taken out.
    let nothing = |why: &str| json_schema!({ "type": "null", "description": why });
    let appid = "The appid, as in `grant.consents.accounts`.";
    [
        json_schema!({
            "if": { "allOf": [asks, { "not": { "required": ["wechat_subscribe"] } }] },
            "then": { "properties": { "consents": nothing("`consents` has a meaning for `wechat_subscribe` alone") } },
        }),
        json_schema!({
            "if": { "allOf": [asks, { "required": ["wechat_subscribe"] }] },
            "then": {
                "required": ["account"],
                "properties": { "account": { "type": "string", "description": appid } },
            },
        }),
        json_schema!({
            "if": { "allOf": [{ "required": ["account"] }, { "not": asks }] },
            "then": { "properties": { "account": nothing("`account` has a meaning with `consents` alone") } },
        }),
        json_schema!({
            "if": to_one,
            "then": { "properties": { "digest": nothing("messages to one user each are not merged") } },
        }),
    ]
}

/// A channel, ready to be used.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// What the ledger of consents has to say.
    pub(crate) consents: Use,
    /// The appid whose users they are.
    pub(crate) account: String,
    /// Whether messages beyond the rate are merged.
    pub(crate) digest: bool,
    pub(crate) limits: Vec<Limit>,
    pub(crate) retry: Retry,
    pub(crate) batch: u32,
    pub(crate) concurrency: usize,
    pub(crate) timeout: Duration,
    /// Milliseconds.
    pub(crate) pause: i64,
}

impl Push {
    /// The channels, by name; or what is wrong with them that the schema does not say.
    pub(crate) fn channels(&self) -> Result<Vec<Channel>> {
        if !(1_000..=1_800_000).contains(&self.longest_run.0) {
            return Err(Error::config("`longest_run` is a second to half an hour"));
        }
        let channel = |(name, settings): (&String, &ChannelSettings)| {
            settings.channel(name).map_err(|why| Error::config(format!("channel `{name}`: {why}")))
        };
        let channels: Vec<Channel> = self.channels.iter().map(channel).collect::<Result<_>>()?;
        for (at, channel) in channels.iter().enumerate() {
            let robot = channel.robot();
            if let Some(same) = channels[..at].iter().find(|it| robot.is_some() && it.robot() == robot) {
                let (one, other) = (&same.name, &channel.name);
                return Err(Error::config(format!(
                    "channels `{one}` and `{other}` are the same robot, which takes only so many messages of both: let it be one channel"
                )));
            }
        }
        Ok(channels)
    }
}

impl Channel {
    /// The robot that it is: where, and by which secret.
    fn robot(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::Requests(Settings::WeCom(it)) => Some((&it.base, &it.key)),
            Kind::Requests(Settings::DingTalk(it)) => Some((&it.base, &it.access_token)),
            Kind::Requests(Settings::Feishu(it)) => Some((&it.base, &it.hook)),
            _ => None,
        }
    }
}

impl ChannelSettings {
    fn channel(&self, name: &str) -> Result<Channel, String> {
        let can_be_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(can_be_name) {
            return Err("a name has 1 to 64 small letters, digits, `-` and `_`".to_owned());
        }
        let requests = [
            self.wecom.clone().map(Settings::WeCom),
            self.dingtalk.clone().map(Settings::DingTalk),
            self.feishu.clone().map(Settings::Feishu),
            self.ntfy.clone().map(Settings::Ntfy),
            self.webhook.clone().map(Settings::Webhook),
            self.wechat_subscribe.clone().map(Settings::WechatSubscribe),
            self.wechat_service.clone().map(Settings::WechatService),
        ];
        let mails = self.mail.clone().map(Kind::Mails);
        let mut kinds: Vec<Kind> = requests.into_iter().flatten().map(Kind::Requests).chain(mails).collect();
        let (Some(kind), true) = (kinds.pop(), kinds.is_empty()) else {
            return Err(format!("it has to have exactly one of {}", KINDS.map(|it| format!("`{it}`")).join(", ")));
        };
        use Settings::{DingTalk, Feishu, Ntfy, WeCom, WechatService, WechatSubscribe};
        let is_robot = matches!(kind, Kind::Requests(WeCom(_) | DingTalk(_) | Feishu(_)));
        let to_one = matches!(kind, Kind::Requests(WechatSubscribe(_) | WechatService(_)));
        if to_one && self.digest == Some(true) {
            return Err("`digest` has no meaning for messages that go to one user each".to_owned());
        }
        let account = match (&self.account, self.consents, &kind) {
            (_, Use::Require | Use::Advise, other) if !matches!(other, Kind::Requests(WechatSubscribe(_))) => {
                return Err("`consents` has a meaning for `wechat_subscribe` alone".to_owned());
            }
            (None, Use::Require | Use::Advise, _) => {
                return Err("`consents` needs an `account`: the appid, as in `grant.consents.accounts`".to_owned());
            }
            (Some(_), Use::Off, _) => return Err("`account` has a meaning with `consents` alone".to_owned()),
            (account, _, _) => account.clone().unwrap_or_default(),
        };
        let limits = match &self.rate {
            Some(limits) => {
                if let Some(wrong) = limits.iter().find(|it| it.count == 0 || it.per.0 < 1_000) {
                    let (count, per) = (wrong.count, wrong.per);
                    return Err(format!(
                        "`rate` is at least one message, and per a second or more, not {count} per {per}"
                    ));
                }
                limits.iter().map(|it| Limit { count: it.count, window: it.per.0 }).collect()
            }
            None => match &kind {
                Kind::Requests(settings) => upkeep_channel::rate(settings).limits.to_vec(),
                Kind::Mails(_) => Vec::new(),
            },
        };
        if !(1_000..=600_000).contains(&self.timeout.0) {
            return Err("`timeout` is a second to ten minutes".to_owned());
        }
        let RetrySettings { first, longest, tries, before_next, within } = &self.retry;
        let (tries, before_next) = ((*tries).max(1), (*before_next).max(1));
        let few = match &kind {
            Kind::Mails(_) => 16,
            Kind::Requests(Ntfy(_)) => 4,
            Kind::Requests(_) if is_robot => 4,
            Kind::Requests(_) => 32,
        };
        Ok(Channel {
            name: name.to_owned(),
            kind,
            consents: self.consents,
            account,
            digest: self.digest.unwrap_or(is_robot),
            limits,
            retry: Retry { first: first.0, longest: longest.0, tries, before_next, within: within.0 },
            batch: self.batch.clamp(1, 1_000),
            concurrency: usize::try_from(self.concurrency.unwrap_or(few).clamp(1, 128)).unwrap_or(1),
            timeout: Duration::from_millis(self.timeout.0.unsigned_abs()),
            pause: self.pause.0.max(1_000),
        })
    }
}
