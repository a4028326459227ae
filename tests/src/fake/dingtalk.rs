//! Robots of DingTalk: 20 messages a minute, and for who comes more often, ten minutes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::{Asked, Provider, Reply, Tally, sign};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const MOST_A_MINUTE: usize = 20;
/// Bytes of a body.
const MOST: usize = 20_000;

/// All robots, by their access tokens.
#[derive(Debug, Default)]
pub struct DingTalk(Mutex<BTreeMap<String, Robot>>);

#[derive(Debug, Clone)]
struct Robot {
    tally: Arc<Tally>,
    /// What requests have to be signed with.
    secret: Option<String>,
    /// Until when nothing is taken.
    punished: Arc<Mutex<i64>>,
}

impl DingTalk {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A robot with this access token, whose requests are signed with the secret; gives its counts. It looks at spans of a
    /// minute.
    pub fn robot(&self, token: &str, secret: Option<&str>) -> Arc<Tally> {
        let tally = Arc::new(Tally::with(&[MINUTE]));
        let robot = Robot { tally: Arc::clone(&tally), secret: secret.map(str::to_owned), punished: Arc::default() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), robot);
        tally
    }

    fn of(&self, asked: &Asked) -> Option<Robot> {
        let token = asked.parameter("access_token")?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&token).cloned()
    }
}

impl Robot {
    fn is_signed(&self, asked: &Asked) -> bool {
        let Some(secret) = &self.secret else { return true };
        let (Some(timestamp), Some(signature)) = (asked.parameter("timestamp"), asked.parameter("sign")) else {
            return false;
        };
        let near = timestamp.parse::<i64>().is_ok_and(|at| (asked.at - at).abs() <= HOUR);
        near && signature == sign::hmac(secret.as_bytes(), format!("{timestamp}\n{secret}").as_bytes())
    }

    fn verdict(&self, asked: &Asked) -> Result<String, i64> {
        let before = self.tally.within(MINUTE, asked.at);
        self.tally.came(asked.at);
        let mut punished = self.punished.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.at < *punished {
            return Err(130101);
        }
        if !self.is_signed(asked) {
            return Err(310000);
        }
        if before >= MOST_A_MINUTE {
            *punished = asked.at + 10 * MINUTE;
            return Err(130101);
        }
        let message = asked.json().ok_or(43004)?;
        let text = match message["msgtype"].as_str() {
            Some("markdown") if message["markdown"]["title"].as_str().is_none_or(str::is_empty) => return Err(40035),
            Some("markdown") => &message["markdown"]["text"],
            Some("text") => &message["text"]["content"],
            _ => return Err(40035),
        };
        match text.as_str() {
            None | Some("") => Err(40035),
            Some(_) if asked.body.len() > MOST => Err(460_101),
            Some(text) => Ok(text.to_owned()),
        }
    }
}

impl Provider for DingTalk {
    fn has(&self, path: &str) -> bool {
        path.starts_with("/robot/send")
    }

    fn tallies(&self) -> Vec<(String, Arc<Tally>)> {
        let robots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        robots.iter().map(|(token, robot)| (format!("dingtalk/{token}"), Arc::clone(&robot.tally))).collect()
    }

    fn came(&self, asked: &Asked) {
        self.of(asked).inspect(|robot| robot.tally.came(asked.at));
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let Some(robot) = self.of(asked) else { return self.refuse(asked, 300_001) };
        match robot.verdict(asked) {
            Ok(text) => {
                robot.tally.accepted(&text);
                Reply::json(200, &json!({ "errcode": 0, "errmsg": "ok" }))
            }
            Err(code) => self.refuse(asked, code),
        }
    }

    fn refuse(&self, asked: &Asked, code: i64) -> Reply {
        self.of(asked).inspect(|robot| robot.tally.refused(code));
        let words = match code {
            -1 => "系统繁忙",
            40035 => "缺少参数 json",
            43004 => "需要json",
            130_101 => "send too fast, exceed 20 times per minute",
            300_001 => "token is not exist",
            310_000 => "sign not match, more: [https://ding-doc.dingtalk.com/]",
            460_101 => "message too long, exceed 20000 bytes",
            _ => "refused",
        };
        Reply::json(200, &json!({ "errcode": code, "errmsg": words }))
    }
}
