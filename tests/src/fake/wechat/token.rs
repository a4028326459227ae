//! Access tokens, in two stores that know nothing of each other.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::{App, Asked, Refusal, body};
use crate::fake::Clock;
use crate::fake::sign::{mix, word};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
/// How long before its end the platform renews a stable token.
const EARLY: i64 = 300 * SECOND;
/// How long a forced renewal takes no other.
const APART: i64 = 30 * SECOND;
const FORCED_A_DAY: u64 = 20;
const MOST_A_MINUTE: usize = 10_000;
const MOST_A_DAY: u64 = 500_000;
/// Characters of a token. The documentation wants room for 512.
const LENGTH: usize = 157;

/// The tokens of one application.
#[derive(Debug)]
pub(super) struct Tokens {
    seed: u64,
    given: Vec<Token>,
    plain: Option<usize>,
    stable: Option<usize>,
    lifetime: i64,
    grace: i64,
    /// Calls of the last minute.
    calls: VecDeque<i64>,
    /// The day, and its calls and forced renewals.
    day: (i64, u64, u64),
    forced: Option<i64>,
    asked: (u64, u64),
}

#[derive(Debug)]
struct Token {
    value: String,
    /// Until when it lasts.
    until: i64,
    /// Whether that is since another took its place.
    superseded: bool,
}

impl Tokens {
    pub(super) fn new(appid: &str) -> Self {
        let seed = appid.bytes().fold(7, |seed, byte| mix(seed ^ u64::from(byte)));
        Self {
            seed,
            given: Vec::new(),
            plain: None,
            stable: None,
            lifetime: 7_200 * SECOND,
            grace: EARLY,
            calls: VecDeque::new(),
            day: (0, 0, 0),
            forced: None,
            asked: (0, 0),
        }
    }

    pub(super) fn last(&mut self, lifetime: i64, grace: i64) {
        (self.lifetime, self.grace) = (lifetime, grace);
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.given.iter().map(|token| token.value.clone()).collect()
    }

    pub(super) fn asked(&self) -> (u64, u64) {
        self.asked
    }

    /// Gives out another one.
    fn give(&mut self, now: i64) -> usize {
        let number = self.given.len();
        let value = format!("{}_{}", 60 + number, word(mix(self.seed ^ number as u64), LENGTH));
        self.given.push(Token { value, until: now + self.lifetime, superseded: false });
        number
    }

    /// A token lasts so much longer at the most, since another took its place.
    fn end(&mut self, token: usize, now: i64, grace: i64) {
        let token = &mut self.given[token];
        token.until = token.until.min(now + grace);
        token.superseded = true;
    }

    pub(super) fn supersede(&mut self, now: i64) {
        if let Some(before) = self.stable {
            self.end(before, now, 0);
        }
        self.stable = Some(self.give(now));
    }

    fn told(&self, token: usize, now: i64) -> Value {
        let token = &self.given[token];
        json!({ "access_token": token.value, "expires_in": (token.until - now) / SECOND })
    }

    /// The stable token; by force another one than before.
    fn stable(&mut self, now: i64, force: bool) -> Result<usize, Refusal> {
        self.asked.0 += 1;
        let today = Clock::day(now);
        if self.day.0 != today {
            self.day = (today, 0, 0);
        }
        while self.calls.front().is_some_and(|at| now - at >= MINUTE) {
            self.calls.pop_front();
        }
        if self.calls.len() >= MOST_A_MINUTE {
            return Err(45011.into());
        }
        if self.day.1 >= MOST_A_DAY {
            return Err(45009.into());
        }
        self.calls.push_back(now);
        self.day.1 += 1;
        let current = self.stable.filter(|token| now < self.given[*token].until);
        // Who forces it too soon after the last time gets what there is.
        let force = force && self.forced.is_none_or(|at| now - at >= APART);
        match current {
            Some(current) if !force && self.given[current].until - now > EARLY => Ok(current),
            _ if force => {
                if self.day.2 >= FORCED_A_DAY {
                    return Err(45009.into());
                }
                (self.day.2, self.asked.1, self.forced) = (self.day.2 + 1, self.asked.1 + 1, Some(now));
                self.supersede(now);
                self.stable.ok_or_else(|| (-1).into())
            }
            // The old one and the new one both work until the old one ends.
            _ => {
                let token = self.give(now);
                self.stable = Some(token);
                Ok(token)
            }
        }
    }
}

fn known<'a>(
    apps: &'a mut BTreeMap<String, App>,
    asked: &Asked,
    grant: Option<&str>,
    appid: Option<&str>,
    secret: Option<&str>,
) -> Result<&'a mut App, Refusal> {
    if grant != Some("client_credential") {
        return Err(40002.into());
    }
    let app = appid.and_then(|appid| apps.get_mut(appid)).ok_or(40013)?;
    if secret != Some(app.secret.as_str()) {
        return Err(40125.into());
    }
    if app.frozen {
        return Err(40243.into());
    }
    app.lets_in(asked)?;
    Ok(app)
}

/// `/cgi-bin/token`
pub(super) fn plain(apps: &mut BTreeMap<String, App>, asked: &Asked) -> Result<Value, Refusal> {
    let [grant, appid, secret] = ["grant_type", "appid", "secret"].map(|name| asked.parameter(name));
    let tokens = &mut known(apps, asked, grant.as_deref(), appid.as_deref(), secret.as_deref())?.tokens;
    if let Some(before) = tokens.plain {
        let grace = tokens.grace;
        tokens.end(before, asked.at, grace);
    }
    let token = tokens.give(asked.at);
    tokens.plain = Some(token);
    Ok(tokens.told(token, asked.at))
}

/// `/cgi-bin/stable_token`
pub(super) fn stable(apps: &mut BTreeMap<String, App>, asked: &Asked) -> Result<Value, Refusal> {
    let body = body(asked)?;
    let tokens =
        &mut known(apps, asked, body["grant_type"].as_str(), body["appid"].as_str(), body["secret"].as_str())?.tokens;
    let token = tokens.stable(asked.at, body["force_refresh"].as_bool().unwrap_or(false))?;
    Ok(tokens.told(token, asked.at))
}

/// The application that a token is for.
pub(super) fn owner<'a>(apps: &'a mut BTreeMap<String, App>, value: &str, now: i64) -> Result<&'a mut App, Refusal> {
    let is_token = value.len() >= 32 && value.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-'));
    if !is_token {
        return Err(40014.into());
    }
    for app in apps.values_mut() {
        match app.tokens.given.iter().find(|token| token.value == value) {
            Some(token) if now < token.until => return Ok(app),
            Some(token) if token.superseded => return Err(40001.into()),
            Some(_) => return Err(42001.into()),
            None => {}
        }
    }
    Err(40001.into())
}
