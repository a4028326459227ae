//! Robots of Feishu: 5 messages a second and 100 a minute, 20 KB.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::{Asked, Provider, Reply, Tally, sign};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// Bytes of a body.
const MOST: usize = 20 * 1024;
const PATH: &str = "/open-apis/bot/v2/hook/";

/// All robots, by the last parts of their addresses.
#[derive(Debug, Default)]
pub struct Feishu(Mutex<BTreeMap<String, Robot>>);

#[derive(Debug, Clone)]
struct Robot {
    tally: Arc<Tally>,
    /// What requests have to be signed with.
    secret: Option<String>,
    /// What each message has to have in it.
    keyword: Option<String>,
}

impl Feishu {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A robot with this address, whose requests are signed with the secret; gives its counts. It looks at spans of a second
    /// and of a minute.
    pub fn robot(&self, hook: &str, secret: Option<&str>) -> Arc<Tally> {
        self.add(hook, secret, None)
    }

    /// The same, which takes messages with this word only.
    pub fn robot_for(&self, hook: &str, keyword: &str) -> Arc<Tally> {
        self.add(hook, None, Some(keyword))
    }

    fn add(&self, hook: &str, secret: Option<&str>, keyword: Option<&str>) -> Arc<Tally> {
        let tally = Arc::new(Tally::with(&[SECOND, MINUTE]));
        let [secret, keyword] = [secret, keyword].map(|it| it.map(str::to_owned));
        let robot = Robot { tally: Arc::clone(&tally), secret, keyword };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(hook.to_owned(), robot);
        tally
    }

    fn of(&self, asked: &Asked) -> Option<Robot> {
        let hook = asked.path.strip_prefix(PATH)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hook).cloned()
    }
}

impl Robot {
    fn is_signed(&self, message: &Value, now: i64) -> bool {
        let Some(secret) = &self.secret else { return true };
        let (Some(timestamp), Some(signature)) = (message["timestamp"].as_str(), message["sign"].as_str()) else {
            return false;
        };
        let near = timestamp.parse::<i64>().is_ok_and(|at| (now - at * SECOND).abs() <= HOUR);
        near && signature == sign::hmac(format!("{timestamp}\n{secret}").as_bytes(), b"")
    }

    fn verdict(&self, asked: &Asked) -> Result<String, i64> {
        let (second, minute) = (self.tally.within(SECOND, asked.at), self.tally.within(MINUTE, asked.at));
        self.tally.came(asked.at);
        if second >= 5 || minute >= 100 {
            return Err(11232);
        }
        if asked.body.len() > MOST {
            return Err(9499);
        }
        let message = asked.json().ok_or(9499)?;
        if !self.is_signed(&message, asked.at) {
            return Err(19021);
        }
        let text = match message["msg_type"].as_str() {
            Some("text") => message["content"]["text"].as_str(),
            _ => None,
        };
        let text = text.filter(|text| !text.is_empty()).ok_or(9499)?;
        match &self.keyword {
            Some(keyword) if !text.contains(keyword) => Err(19024),
            _ => Ok(text.to_owned()),
        }
    }
}

impl Provider for Feishu {
    fn has(&self, path: &str) -> bool {
        path.starts_with(PATH)
    }

    fn tallies(&self) -> Vec<(String, Arc<Tally>)> {
        let robots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        robots.iter().map(|(hook, robot)| (format!("feishu/{hook}"), Arc::clone(&robot.tally))).collect()
    }

    fn came(&self, asked: &Asked) {
        self.of(asked).inspect(|robot| robot.tally.came(asked.at));
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let Some(robot) = self.of(asked) else { return self.refuse(asked, 19001) };
        match robot.verdict(asked) {
            Ok(text) => {
                robot.tally.accepted(&text);
                Reply::json(
                    200,
                    &json!({ "StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success" }),
                )
            }
            Err(code) => self.refuse(asked, code),
        }
    }

    fn refuse(&self, asked: &Asked, code: i64) -> Reply {
        self.of(asked).inspect(|robot| robot.tally.refused(code));
        let (status, words) = match code {
            9499 => (400, "Bad Request"),
            11232 => (200, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]"),
            19001 => (200, "param invalid: incoming webhook access token invalid"),
            19021 => (200, "sign match fail or timestamp is not within one hour from current time"),
            19022 => (200, "Ip Not Allowed"),
            19024 => (200, "Key Words Not Found"),
            _ => (200, "refused"),
        };
        Reply::json(status, &json!({ "code": code, "data": {}, "msg": words }))
    }
}
