//! What a fake has, as a file says it:
//!
//! ```json
//! {
//!   "apps": { "wx0123456789abcdef": { "secret": "s", "consents": [["oUser-0001", "template-1"]], "templates": { "template-1": { "keys": ["thing1"] } } } },
//!   "wecom": ["key"], "dingtalk": { "token": "secret" }, "feishu": { "hook": null }, "ntfy": ["topic"], "webhooks": { "orders": null },
//!   "time": 1, "script": []
//! }
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Fake, Rule, Template};

/// What there is.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setup {
    /// Applications of WeChat, by appid.
    pub apps: BTreeMap<String, App>,
    /// Keys of WeCom's robots.
    pub wecom: Vec<String>,
    /// Access tokens of DingTalk's robots, with their secrets.
    pub dingtalk: BTreeMap<String, Option<String>>,
    /// Addresses of Feishu's robots, with their secrets.
    pub feishu: BTreeMap<String, Option<String>>,
    /// Topics of ntfy.
    pub ntfy: Vec<String>,
    /// Webhooks that honour idempotency keys, with their secrets.
    pub webhooks: BTreeMap<String, Option<String>>,
    /// How many times faster time runs.
    pub time: Option<u32>,
    /// What goes wrong.
    pub script: Vec<Rule>,
}

/// One application of WeChat.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// Its secret.
    pub secret: String,
    /// Its templates, by id.
    pub templates: BTreeMap<String, Template>,
    /// Who wants a message of which template, once for each time it stands here. All do, when nobody is named.
    pub consents: Vec<(String, String)>,
    /// Users who have just written.
    pub wrote: Vec<String>,
    /// How often each API may be called in a day.
    pub quotas: BTreeMap<String, u64>,
}

impl Fake {
    /// Makes all of this.
    pub fn set_up(&self, setup: Setup) {
        for (appid, app) in setup.apps {
            self.wechat.app(&appid, &app.secret);
            app.templates.into_iter().for_each(|(id, template)| self.wechat.template(&appid, &id, template));
            app.consents.iter().for_each(|(openid, template)| self.wechat.consent(&appid, openid, template));
            app.wrote.iter().for_each(|openid| self.wechat.wrote(&appid, openid));
            app.quotas.iter().for_each(|(path, limit)| self.wechat.quota(&appid, path, *limit));
        }
        setup.wecom.iter().for_each(|key| _ = self.wecom.robot(key));
        setup.dingtalk.iter().for_each(|(token, secret)| _ = self.dingtalk.robot(token, secret.as_deref()));
        setup.feishu.iter().for_each(|(hook, secret)| _ = self.feishu.robot(hook, secret.as_deref()));
        setup.ntfy.iter().for_each(|topic| _ = self.ntfy.topic(topic));
        setup.webhooks.iter().for_each(|(name, secret)| _ = self.webhook.receiver(name, secret.as_deref()));
        if let Some(factor) = setup.time {
            self.clock.run(factor);
        }
        setup.script.into_iter().for_each(|Rule { on, fault }| _ = self.script.add(on, fault));
    }
}
