//! WeChat's API for mini-programs.
//!
//! An application has two tokens that know nothing of each other: that of `/cgi-bin/token`, where each call supersedes the one
//! before, and that of `/cgi-bin/stable_token` (`token.rs`). Messages use up consents and answers to users (`message.rs`), and
//! their values have to fit the keys that they stand under (`value.rs`). The days are Beijing's, and each error ends in the name
//! of the request.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::sign::mix;
use super::{Asked, Clock, Provider, Reply, Tally};

mod analysis;
mod message;
mod operation;
mod token;
mod value;

pub use message::{Accepted, Template};
use token::Tokens;

/// WeChat, with all its applications.
#[derive(Debug)]
pub struct WeChat {
    clock: Arc<Clock>,
    apps: Mutex<BTreeMap<String, App>>,
    tally: Arc<Tally>,
    rids: AtomicU64,
}

/// One mini-program.
#[derive(Debug)]
struct App {
    secret: String,
    /// Whether somebody has frozen the secret.
    frozen: bool,
    /// Who may call; none when anybody may.
    allowed: Option<Vec<IpAddr>>,
    tokens: Tokens,
    /// Calls of each API today, and the most that it takes.
    quotas: BTreeMap<String, Quota>,
    templates: BTreeMap<String, Template>,
    /// Messages that each user wants of each template; none when all are welcome.
    consents: Option<BTreeMap<(String, String), u32>>,
    /// Until when each user may be answered, and how often still.
    conversations: BTreeMap<String, (i64, u32)>,
    accepted: Vec<Accepted>,
}

#[derive(Debug, Clone, Copy)]
struct Quota {
    day: i64,
    used: u64,
    limit: u64,
}

/// Why a call is refused: the code, and words that say more than the code alone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    code: i64,
    words: String,
}

impl From<i64> for Refusal {
    fn from(code: i64) -> Self {
        Self { code, words: words(code).to_owned() }
    }
}

impl WeChat {
    pub(super) fn new(clock: Arc<Clock>) -> Self {
        let rids = AtomicU64::new(mix(u64::try_from(clock.now()).unwrap_or(0)));
        Self { clock, apps: Mutex::default(), tally: Arc::new(Tally::with(&[1_000, 60_000])), rids }
    }

    /// An application, which takes messages of any template to anybody until it is told otherwise.
    pub fn app(&self, appid: &str, secret: &str) {
        let app = App {
            secret: secret.to_owned(),
            frozen: false,
            allowed: None,
            tokens: Tokens::new(appid),
            quotas: BTreeMap::new(),
            templates: BTreeMap::new(),
            consents: None,
            conversations: BTreeMap::new(),
            accepted: Vec::new(),
        };
        self.lock().insert(appid.to_owned(), app);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, App>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn with<T>(&self, appid: &str, change: impl FnOnce(&mut App) -> T) -> T {
        change(self.lock().get_mut(appid).expect("an application of this appid"))
    }

    /// Counts of all calls; it looks at spans of a second and of a minute.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Gives the application another secret, or freezes the one that it has.
    pub fn secret(&self, appid: &str, secret: Option<&str>) {
        self.with(appid, |app| match secret {
            Some(secret) => (app.secret, app.frozen) = (secret.to_owned(), false),
            None => app.frozen = true,
        });
    }

    /// Lets only these addresses call; the fake is called from 127.0.0.1.
    pub fn allow(&self, appid: &str, addresses: &[IpAddr]) {
        self.with(appid, |app| app.allowed = Some(addresses.to_vec()));
    }

    /// How many calls of an API the application has each day: `/cgi-bin/message/subscribe/send`.
    pub fn quota(&self, appid: &str, path: &str, limit: u64) {
        let day = Clock::day(self.clock.now());
        self.with(appid, |app| app.quotas.insert(path.to_owned(), Quota { day, used: 0, limit }));
    }

    /// How long tokens last from now on, and how long a superseded one of `/cgi-bin/token` still does.
    pub fn lifetime(&self, appid: &str, lifetime: Duration, grace: Duration) {
        let milliseconds = |it: Duration| i64::try_from(it.as_millis()).expect("a span of a test");
        self.with(appid, |app| app.tokens.last(milliseconds(lifetime), milliseconds(grace)));
    }

    /// Another server has the stable token renewed by force: the one that was current is worth nothing any more.
    pub fn supersede(&self, appid: &str) {
        let now = self.clock.now();
        self.with(appid, |app| app.tokens.supersede(now));
    }

    /// All tokens that were ever given out, oldest first.
    pub fn tokens(&self, appid: &str) -> Vec<String> {
        self.with(appid, |app| app.tokens.all())
    }

    /// How often the stable token was asked for: calls, and those of them that forced a new one.
    pub fn renewals(&self, appid: &str) -> (u64, u64) {
        self.with(appid, |app| app.tokens.asked())
    }

    /// A template that messages may name. As soon as there is one, no other is known.
    pub fn template(&self, appid: &str, id: &str, template: Template) {
        self.with(appid, |app| app.templates.insert(id.to_owned(), template));
    }

    /// The user wants one more message of the template. As soon as somebody has said so, nobody else wants any.
    pub fn consent(&self, appid: &str, openid: &str, template: &str) {
        self.with(appid, |app| {
            let consents = app.consents.get_or_insert_default();
            *consents.entry((openid.to_owned(), template.to_owned())).or_default() += 1;
        });
    }

    /// Nobody wants messages but those who say so.
    pub fn ask_consent(&self, appid: &str) {
        self.with(appid, |app| _ = app.consents.get_or_insert_default());
    }

    /// How many messages of the template the user still wants.
    pub fn consents(&self, appid: &str, openid: &str, template: &str) -> u32 {
        let key = (openid.to_owned(), template.to_owned());
        self.with(appid, |app| app.consents.as_ref().and_then(|it| it.get(&key).copied()).unwrap_or(0))
    }

    /// The user writes: for 48 hours five messages may be sent.
    pub fn wrote(&self, appid: &str, openid: &str) {
        let until = self.clock.now() + message::WINDOW;
        self.with(appid, |app| app.conversations.insert(openid.to_owned(), (until, message::ANSWERS)));
    }

    /// Messages that were taken, oldest first.
    pub fn accepted(&self, appid: &str) -> Vec<Accepted> {
        self.with(appid, |app| app.accepted.clone())
    }

    /// The name of a request, as all errors end in.
    fn rid(&self) -> String {
        let random = mix(self.rids.fetch_add(1, Ordering::Relaxed));
        let seconds = self.clock.now() / 1_000;
        format!("{seconds:08x}-{:08x}-{:08x}", random >> 32, random & 0xffff_ffff)
    }

    fn refused(&self, refusal: &Refusal) -> Reply {
        self.tally.refused(refusal.code);
        let Refusal { code, words } = refusal;
        Reply::json(200, &json!({ "errcode": code, "errmsg": format!("{words} rid: {}", self.rid()) }))
    }

    fn call(&self, asked: &Asked) -> Result<Value, Refusal> {
        let mut apps = self.lock();
        match asked.path.as_str() {
            "/cgi-bin/token" => return token::plain(&mut apps, asked),
            "/cgi-bin/stable_token" => return token::stable(&mut apps, asked),
            _ => {}
        }
        let token = asked.parameter("access_token").filter(|token| !token.is_empty()).ok_or(41001)?;
        let app = token::owner(&mut apps, &token, asked.at)?;
        app.lets_in(asked)?;
        app.uses(asked)?;
        match asked.path.as_str() {
            "/cgi-bin/message/subscribe/send" => message::subscribe(app, asked),
            "/cgi-bin/message/custom/send" => message::custom(app, asked),
            "/wxaapi/newtmpl/gettemplate" => Ok(message::templates(app)),
            path => match path.strip_prefix(analysis::PATH) {
                Some(report) => analysis::report(report, asked),
                None => operation::call(app, asked),
            },
        }
    }
}

impl App {
    /// Whether the caller's address is one of those that may call.
    fn lets_in(&self, asked: &Asked) -> Result<(), Refusal> {
        match &self.allowed {
            Some(allowed) if !allowed.contains(&asked.peer) => Err(not_allowed(asked.peer)),
            _ => Ok(()),
        }
    }

    /// Counts a call of an API that has a quota.
    fn uses(&mut self, asked: &Asked) -> Result<(), Refusal> {
        let Some(quota) = self.quotas.get_mut(&asked.path) else { return Ok(()) };
        let today = Clock::day(asked.at);
        if quota.day != today {
            (quota.day, quota.used) = (today, 0);
        }
        if quota.used >= quota.limit {
            return Err(45009.into());
        }
        quota.used += 1;
        Ok(())
    }
}

fn not_allowed(peer: IpAddr) -> Refusal {
    let mapped = match peer {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    Refusal { code: 40164, words: format!("invalid ip {peer} ipv6 {mapped}, not in whitelist") }
}

/// The body, which has to be an object.
fn body(asked: &Asked) -> Result<Value, Refusal> {
    if asked.method != "POST" {
        return Err(43002.into());
    }
    if asked.body.is_empty() {
        return Err(44002.into());
    }
    asked.json().filter(Value::is_object).ok_or_else(|| 47001.into())
}

impl Provider for WeChat {
    fn has(&self, path: &str) -> bool {
        ["/cgi-bin/", "/wxa/", "/wxaapi/", "/datacube/"].iter().any(|it| path.starts_with(it))
    }

    fn tallies(&self) -> Vec<(String, Arc<Tally>)> {
        vec![("wechat".to_owned(), Arc::clone(&self.tally))]
    }

    fn came(&self, asked: &Asked) {
        self.tally.came(asked.at);
    }

    fn answer(&self, asked: &Asked) -> Reply {
        self.tally.came(asked.at);
        match self.call(asked) {
            Ok(told) => {
                self.tally.accepted(&asked.path);
                Reply::json(200, &told)
            }
            Err(refusal) => self.refused(&refusal),
        }
    }

    fn refuse(&self, asked: &Asked, code: i64) -> Reply {
        self.refused(&match code {
            40164 => not_allowed(asked.peer),
            47003 => {
                let body = asked.json().unwrap_or_default();
                let field = body["data"].as_object().and_then(|data| data.keys().next().cloned());
                message::invalid(&field.unwrap_or_else(|| "thing1".to_owned()), "invalid")
            }
            code => code.into(),
        })
    }
}

/// What WeChat says with a code.
fn words(code: i64) -> &'static str {
    match code {
        -1 => "system error",
        40001 => "invalid credential, access_token is invalid or not latest",
        40002 => "invalid grant_type",
        40003 => "invalid openid",
        40013 => "invalid appid",
        40014 => "invalid access_token",
        40037 => "invalid template_id",
        40125 => "invalid appsecret",
        40243 => "appsecret has been frozen",
        41001 => "access_token missing",
        42001 => "access_token expired",
        43002 => "require POST method",
        43101 => "user refuse to accept the msg",
        43107 => "the ability of subscribe message is banned",
        43108 => "concurrent sends to the same user",
        44002 => "empty post data",
        45009 => "reach max api daily quota limit",
        45011 => "api minute-quota reach limit, must slow down, retry next minute",
        45015 => "response out of time limit or subscription is canceled",
        45047 => "out of response count limit",
        45168 => "message contains a sensitive word",
        47001 => "data format error",
        48001 => "api unauthorized",
        50004 => "forbid to use token",
        50007 => "account has been frozen",
        61500 => "date format error",
        61501 => "date range error",
        61503 => "data not ready, please try later",
        61504 => "system busy",
        76021 => "cgi_path not found",
        89503 => "this ip needs to be confirmed by the administrator",
        89506 => "this ip was refused by the administrator, for 24 hours",
        89507 => "this ip was refused by the administrator, for 1 hour",
        200_010 => "frequency limited",
        _ => "refused",
    }
}
