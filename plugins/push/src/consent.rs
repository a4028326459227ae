//! Whether users accept messages: of WeChat's subscribe messages each needs a consent, which the host counts.
//!
//! A consent is taken for a message before it leaves, all of a round in one call, and given back when it is sure that the message was
//! not sent. Where that is not sure, the message keeps it for its next try.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_channel::{Recipients, Settings};
use upkeep_plugin::HostResult;
use upkeep_plugin::consents::{self, Ask, Taking};
use upkeep_plugin::outbox::Claimed;

use crate::config::{Channel, Kind};

/// WeChat's code for a user who has given no consent, or has none left.
const USED_UP: i64 = 43101;

/// Messages of one call.
const MOST: usize = 1_000;

/// What the ledger of consents has to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Use {
    /// Only what a user accepts is sent.
    Require,
    /// All is sent, and the consents are counted.
    Advise,
    /// It is not asked.
    #[default]
    Off,
}

/// The consents of a run.
#[derive(Debug, Default)]
pub(crate) struct Consents {
    /// Messages that have one.
    taken: BTreeSet<String>,
    /// Those of them that were not sent.
    back: Vec<String>,
    /// What the provider says of others.
    used_up: Vec<Ask>,
}

/// The consent that a message needs. None for a message that has no user or template, and so cannot be sent.
fn ask(channel: &Channel, message: &Claimed) -> Option<Ask> {
    let Kind::Requests(Settings::WechatSubscribe(settings)) = &channel.kind else { return None };
    let form = settings.templates.get(message.content.template.as_ref()?)?;
    let to = Recipients::parse(message.content.to.as_deref()?).ok()?;
    Some(Ask::new(&message.id, &channel.account, &form.id, to.openid?))
}

impl Consents {
    /// Takes the consents of messages. For each that is not to be sent: why.
    pub(crate) fn take(&mut self, channel: &Channel, messages: &[&Claimed]) -> HostResult<Vec<Option<String>>> {
        if channel.consents == Use::Off {
            return Ok(vec![None; messages.len()]);
        }
        let asks: Vec<Option<Ask>> = messages.iter().map(|message| ask(channel, message)).collect();
        let all: Vec<Ask> = asks.iter().flatten().cloned().collect();
        let mut taken = Vec::with_capacity(all.len());
        for some in all.chunks(MOST) {
            taken.extend(consents::take(some.iter().cloned())?);
        }
        let mut taken = taken.into_iter();
        let mut why = |(ask, message): (Option<Ask>, &&Claimed)| {
            let ask = ask?;
            let template = message.content.template.as_deref().unwrap_or_default();
            match (taken.next()?, channel.consents) {
                (Taking::Taken, _) => {
                    self.taken.insert(ask.message);
                    None
                }
                (Taking::Nothing, Use::Require) => {
                    Some(format!("user {} has no consent left for template {template} ({})", ask.user, ask.template))
                }
                (Taking::Unknown, Use::Require) => Some(format!(
                    "nothing is known of consents for template {template} ({}): WeChat has told nothing of it yet",
                    ask.template
                )),
                _ => None,
            }
        };
        Ok(asks.into_iter().zip(messages).map(&mut why).collect())
    }

    /// The message was not sent.
    pub(crate) fn unsent(&mut self, message: &Claimed) {
        if self.taken.remove(&message.id) {
            self.back.push(message.id.clone());
        }
    }

    /// The provider refused it for good.
    pub(crate) fn refused(&mut self, channel: &Channel, message: &Claimed, code: Option<i64>) {
        match ask(channel, message) {
            Some(ask) if code == Some(USED_UP) && channel.consents != Use::Off => {
                self.taken.remove(&message.id);
                self.used_up.push(ask);
            }
            _ => self.unsent(message),
        }
    }

    /// Tells the ledger.
    pub(crate) fn tell(&mut self) -> HostResult<()> {
        let (back, used_up) = (std::mem::take(&mut self.back), std::mem::take(&mut self.used_up));
        for back in back.chunks(MOST) {
            consents::give_back(back.iter().cloned())?;
        }
        for used_up in used_up.chunks(MOST) {
            consents::used_up(used_up.iter().cloned())?;
        }
        Ok(())
    }
}
