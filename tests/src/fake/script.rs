//! What goes wrong, with which requests. The same in code and, for the example, in JSON:
//!
//! ```json
//! [
//!   { "on": { "path": "/cgi-bin/message/", "when": { "nth": 3 } }, "fault": { "code": 40001 } },
//!   { "on": { "path": "/webhook/", "when": { "share": [0.1, 7] } }, "fault": { "status": [503, { "seconds": 1 }] } },
//!   { "on": { "path": "/webhook/", "of": "order-9", "when": "always", "taken": true }, "fault": "reset" }
//! ]
//! ```

use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;

use super::http::Asked;
use super::sign::mix;

/// Which requests: those to a path, or to all that begin so.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct On {
    /// The beginning of the path.
    pub path: String,
    /// What has to stand somewhere in the path, query, headers or body: an openid, a key.
    #[serde(default)]
    pub of: Option<String>,
    /// Which of them.
    #[serde(default)]
    pub when: When,
    /// Whether the provider takes the request before it goes wrong: the sender does not learn of it.
    #[serde(default)]
    pub taken: bool,
}

/// Which of the requests that a rule is for.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// All.
    #[default]
    Always,
    /// This one, counted from 1.
    Nth(u64),
    /// The first so many.
    First(u64),
    /// Each so-many-th.
    Every(u64),
    /// This share of the requests, drawn with a seed.
    Share(f64, u64),
    /// This share of the messages, drawn with a seed: whatever is sent again has the same luck. A message is known by
    /// `Idempotency-Key`, else by its body.
    ShareOfKeys(f64, u64),
}

/// What goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The provider refuses, in its own words, with this code.
    Code(i64),
    /// A status of HTTP, with an answer of no use.
    Status(u16, Option<RetryAfter>),
    /// An answer with status 200 and this body, which may be empty.
    Body(String),
    /// No answer, for as long as the other side waits.
    Hang,
    /// The connection breaks without an answer.
    Reset,
    /// The right answer, so many milliseconds late.
    Slow(u64),
}

/// When to come again, as `Retry-After` says it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfter {
    /// In so many seconds.
    Seconds(u64),
    /// At a date, so many seconds from now.
    Date(u64),
}

/// One line of the script.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which requests.
    pub on: On,
    /// What happens to them.
    pub fault: Fault,
}

impl On {
    /// All requests to paths that begin so.
    pub fn path(path: &str) -> Self {
        Self { path: path.to_owned(), of: None, when: When::Always, taken: false }
    }

    /// Of these, those in which this stands.
    pub fn of(self, text: &str) -> Self {
        Self { of: Some(text.to_owned()), ..self }
    }

    /// Of these, one.
    pub fn nth(self, nth: u64) -> Self {
        self.when(When::Nth(nth))
    }

    /// Of these, the first.
    pub fn first(self, count: u64) -> Self {
        self.when(When::First(count))
    }

    /// Of these, some.
    pub fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// The provider takes them first.
    pub fn taken(self) -> Self {
        Self { taken: true, ..self }
    }
}

/// Rules, and how often each was asked. Of those that fit a request, the first that strikes counts.
#[derive(Debug, Default)]
pub struct Script(RwLock<Vec<Line>>);

#[derive(Debug)]
struct Line {
    rule: Rule,
    met: Mutex<u64>,
    struck: Mutex<u64>,
}

impl Script {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a rule behind the others; gives its number.
    pub fn add(&self, on: On, fault: Fault) -> usize {
        let mut lines = self.0.write().unwrap_or_else(PoisonError::into_inner);
        lines.push(Line { rule: Rule { on, fault }, met: Mutex::default(), struck: Mutex::default() });
        lines.len() - 1
    }

    /// Adds the rules of a script.
    ///
    /// # Errors
    /// When it is no such script.
    pub fn read(&self, json: &str) -> serde_json::Result<()> {
        let rules: Vec<Rule> = serde_json::from_str(json)?;
        rules.into_iter().for_each(|Rule { on, fault }| _ = self.add(on, fault));
        Ok(())
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How often a rule has struck.
    pub fn struck(&self, number: usize) -> u64 {
        let lines = self.0.read().unwrap_or_else(PoisonError::into_inner);
        *lines[number].struck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to this request, and whether it is taken before.
    pub(super) fn fault(&self, asked: &Asked) -> Option<(Fault, bool)> {
        let lines = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let struck = lines.iter().find(|line| {
            let on = &line.rule.on;
            asked.path.starts_with(&on.path) && on.of.as_ref().is_none_or(|text| asked.holds(text)) && {
                let mut met = line.met.lock().unwrap_or_else(PoisonError::into_inner);
                *met += 1;
                on.when.strikes(*met, asked)
            }
        })?;
        *struck.struck.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Some((struck.rule.fault.clone(), struck.rule.on.taken))
    }
}

impl When {
    fn strikes(self, number: u64, asked: &Asked) -> bool {
        match self {
            Self::Always => true,
            Self::Nth(nth) => number == nth,
            Self::First(count) => number <= count,
            Self::Every(step) => number.is_multiple_of(step),
            Self::Share(share, seed) => drawn(share, mix(seed ^ mix(number))),
            Self::ShareOfKeys(share, seed) => {
                let key = asked.header("idempotency-key").map_or(&asked.body[..], str::as_bytes);
                drawn(share, key.iter().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(*byte))))
            }
        }
    }
}

fn drawn(share: f64, random: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let drawn = (random >> 11) as f64 / (1_u64 << 53) as f64;
    drawn < share
}

impl RetryAfter {
    /// The value of the header.
    pub(super) fn value(self, now: i64) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Date(seconds) => {
                let at = u64::try_from(now / 1_000).expect("after 1970") + seconds;
                httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(at))
            }
        }
    }
}
