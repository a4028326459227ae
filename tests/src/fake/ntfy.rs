//! Topics of ntfy: JSON to `/`, or a text to `/TOPIC`. A visitor has 60 requests at once, and another one each five seconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Asked, Provider, Reply, Tally};

const MINUTE: i64 = 60_000;
const BURST: i64 = 60;
const REFILL: i64 = 5_000;
/// Bytes of a text that is not made a file.
const MOST: usize = 4096;

/// All topics, by name.
#[derive(Debug, Default)]
pub struct Ntfy {
    topics: Mutex<BTreeMap<String, Topic>>,
    visitor: Mutex<Option<Visitor>>,
}

#[derive(Debug, Clone)]
struct Topic {
    tally: Arc<Tally>,
    /// What `Authorization` has to be.
    login: Option<String>,
}

/// How many requests are left to the one visitor that there is, in milliseconds of waiting.
#[derive(Debug, Clone, Copy)]
struct Visitor {
    left: i64,
    at: i64,
}

impl Ntfy {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A topic that anybody may write to; gives its counts. It looks at spans of five minutes.
    pub fn topic(&self, name: &str) -> Arc<Tally> {
        self.add(name, None)
    }

    /// A topic that wants an access token.
    pub fn topic_with_token(&self, name: &str, token: &str) -> Arc<Tally> {
        self.add(name, Some(format!("Bearer {token}")))
    }

    /// A topic that wants a user and a password.
    pub fn topic_with_login(&self, name: &str, user: &str, password: &str) -> Arc<Tally> {
        self.add(name, Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))))
    }

    fn add(&self, name: &str, login: Option<String>) -> Arc<Tally> {
        let tally = Arc::new(Tally::with(&[5 * MINUTE]));
        let topic = Topic { tally: Arc::clone(&tally), login };
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), topic);
        tally
    }

    fn of(&self, asked: &Asked) -> Option<(String, Topic)> {
        let name = match asked.path.trim_start_matches('/') {
            "" => asked.json()?["topic"].as_str()?.to_owned(),
            name => name.to_owned(),
        };
        let topic = self.topics.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        Some((name, topic?))
    }

    /// Whether one more request is let in.
    fn lets_in(&self, now: i64) -> bool {
        let mut visitor = self.visitor.lock().unwrap_or_else(PoisonError::into_inner);
        let known = visitor.unwrap_or(Visitor { left: BURST * REFILL, at: now });
        let left = (known.left + (now - known.at).max(0)).min(BURST * REFILL);
        let lets_in = left >= REFILL;
        *visitor = Some(Visitor { left: if lets_in { left - REFILL } else { left }, at: now });
        lets_in
    }
}

impl Provider for Ntfy {
    fn has(&self, path: &str) -> bool {
        path.rfind('/') == Some(0)
    }

    fn tallies(&self) -> Vec<(String, Arc<Tally>)> {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.iter().map(|(name, topic)| (format!("ntfy/{name}"), Arc::clone(&topic.tally))).collect()
    }

    fn came(&self, asked: &Asked) {
        self.of(asked).inspect(|(_, topic)| topic.tally.came(asked.at));
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let is_json = asked.path == "/";
        if !matches!(asked.method.as_str(), "POST" | "PUT") || (is_json && asked.json().is_none()) {
            return self.refuse(asked, 40024);
        }
        let Some((name, topic)) = self.of(asked) else { return self.refuse(asked, 40301) };
        topic.tally.came(asked.at);
        if !self.lets_in(asked.at) {
            return self.refuse(asked, 42901);
        }
        if topic.login.as_deref().is_some_and(|login| asked.header("authorization") != Some(login)) {
            return self.refuse(asked, 40301);
        }
        let message = match asked.json().filter(|_| is_json) {
            Some(message) if !message["priority"].as_i64().is_none_or(|it| (1..=5).contains(&it)) => {
                return self.refuse(asked, 40007);
            }
            Some(message) => message,
            None => json!({ "message": String::from_utf8_lossy(&asked.body) }),
        };
        let mut text = message["message"].as_str().unwrap_or_default();
        let is_file = text.len() > MOST;
        if is_file {
            text = "You received a file: attachment.txt";
        } else if text.is_empty() {
            text = "triggered";
        }
        topic.tally.accepted(text);
        let id = super::sign::word(u64::try_from(asked.at).unwrap_or(0), 12);
        let mut told =
            json!({ "id": id, "time": asked.at / 1_000, "event": "message", "topic": name, "message": text });
        if let Value::String(title) = &message["title"] {
            told["title"] = title.as_str().into();
        }
        Reply::json(200, &told)
    }

    fn refuse(&self, asked: &Asked, code: i64) -> Reply {
        self.of(asked).inspect(|(_, topic)| topic.tally.refused(code));
        let words = match code {
            40007 => "invalid priority parameter",
            40024 => "invalid request: request body must be message JSON",
            40301 => "forbidden",
            42901 => "limit reached: too many requests",
            _ => "refused",
        };
        let status = u16::try_from(code / 100).ok().filter(|it| (400..600).contains(it)).unwrap_or(400);
        Reply::json(
            status,
            &json!({ "code": code, "http": status, "error": words, "link": "https://ntfy.sh/docs/publish/" }),
        )
    }
}
