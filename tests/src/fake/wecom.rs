//! Robots of WeCom: 20 messages a minute, 2048 bytes of text, 4096 of Markdown.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::{Asked, Provider, Reply, Tally};

const MINUTE: i64 = 60_000;
const MOST_A_MINUTE: usize = 20;

/// All robots, by their keys.
#[derive(Debug, Default)]
pub struct WeCom(Mutex<BTreeMap<String, Arc<Tally>>>);

impl WeCom {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A robot with this key, which is made if there is none; gives its counts. It looks at spans of a minute.
    pub fn robot(&self, key: &str) -> Arc<Tally> {
        let mut robots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Tally::with(&[MINUTE]));
        Arc::clone(robots.entry(key.to_owned()).or_insert_with(made))
    }

    fn of(&self, asked: &Asked) -> Option<Arc<Tally>> {
        let key = asked.parameter("key")?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }
}

impl Provider for WeCom {
    fn has(&self, path: &str) -> bool {
        path.starts_with("/cgi-bin/webhook/")
    }

    fn tallies(&self) -> Vec<(String, Arc<Tally>)> {
        let robots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        robots.iter().map(|(key, tally)| (format!("wecom/{key}"), Arc::clone(tally))).collect()
    }

    fn came(&self, asked: &Asked) {
        self.of(asked).inspect(|robot| robot.came(asked.at));
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let Some(robot) = self.of(asked) else { return self.refuse(asked, 93000) };
        let before = robot.within(MINUTE, asked.at);
        robot.came(asked.at);
        let verdict = match asked.json() {
            _ if asked.method != "POST" => Err(43002),
            None => Err(47001),
            _ if before >= MOST_A_MINUTE => Err(45009),
            Some(message) => content(&message),
        };
        match verdict {
            Ok(content) => {
                robot.accepted(&content);
                Reply::json(200, &json!({ "errcode": 0, "errmsg": "ok" }))
            }
            Err(code) => self.refuse(asked, code),
        }
    }

    fn refuse(&self, asked: &Asked, code: i64) -> Reply {
        self.of(asked).inspect(|robot| robot.refused(code));
        let words = match code {
            -1 => "system busy",
            40008 => "invalid message type",
            40058 => "invalid Request Parameter",
            44004 => "empty content",
            45009 => "api freq out of limit",
            47001 => "data format error",
            93000 => "invalid webhook url, hint: [0], from ip: 127.0.0.1",
            _ => "refused",
        };
        Reply::json(200, &json!({ "errcode": code, "errmsg": words }))
    }
}

/// What a message says, or the code that it is refused with.
fn content(message: &Value) -> Result<String, i64> {
    let (kind, most) = match message["msgtype"].as_str() {
        Some("text") => ("text", 2048),
        Some("markdown") => ("markdown", 4096),
        _ => return Err(40008),
    };
    match message[kind]["content"].as_str() {
        None | Some("") => Err(44004),
        Some(content) if content.len() > most => Err(40058),
        Some(content) => Ok(content.to_owned()),
    }
}
