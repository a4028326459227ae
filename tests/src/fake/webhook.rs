//! Webhooks at `/webhook/NAME`, signed as Standard Webhooks has it. One that honours `Idempotency-Key` takes each message once,
//! and answers as if it had when it comes again.
//!
//! It is the one receiver that many thousand messages a second come to, so it keeps hashes of what came, and no more.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{Asked, Provider, Reply, Tally, sign};

const SECOND: i64 = 1_000;
/// How old a signature may be.
const TOLERANCE: i64 = 300 * SECOND;
const PATH: &str = "/webhook/";

/// All webhooks, by name.
#[derive(Debug, Default)]
pub struct Webhook(RwLock<HashMap<String, Arc<Receiver>>>);

#[derive(Debug)]
struct Receiver {
    tally: Arc<Tally>,
    key: Option<Vec<u8>>,
    honours: bool,
    /// What came under each key, in hashes.
    known: Mutex<HashMap<String, u64>>,
}

impl Webhook {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A receiver that honours idempotency keys, and knows who signs with this secret (`whsec_` and base64). Gives its counts;
    /// it looks at spans of a second.
    pub fn receiver(&self, name: &str, secret: Option<&str>) -> Arc<Tally> {
        self.add(name, secret, true)
    }

    /// A receiver that takes whatever comes as often as it comes.
    pub fn careless(&self, name: &str) -> Arc<Tally> {
        self.add(name, None, false)
    }

    fn add(&self, name: &str, secret: Option<&str>, honours: bool) -> Arc<Tally> {
        let tally = Arc::new(Tally::with(&[SECOND]));
        let decoded = |secret: &str| {
            let text = secret.strip_prefix("whsec_").unwrap_or(secret);
            STANDARD.decode(text).expect("a secret in base64")
        };
        let receiver =
            Receiver { tally: Arc::clone(&tally), key: secret.map(decoded), honours, known: Mutex::default() };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::new(receiver));
        tally
    }

    fn of(&self, asked: &Asked) -> Option<Arc<Receiver>> {
        let name = asked.path.strip_prefix(PATH)?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

impl Receiver {
    fn is_signed(&self, asked: &Asked) -> bool {
        let Some(key) = &self.key else { return true };
        let header = |name| asked.header(name).unwrap_or_default();
        let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
        let near = timestamp.parse::<i64>().is_ok_and(|at| (asked.at - at * SECOND).abs() <= TOLERANCE);
        let signed = [format!("{id}.{timestamp}.").as_bytes(), &asked.body].concat();
        let right = format!("v1,{}", sign::hmac(key, &signed));
        near && header("webhook-signature").split(' ').any(|it| it == right)
    }
}

impl Provider for Webhook {
    fn has(&self, path: &str) -> bool {
        path.starts_with(PATH)
    }

    fn tallies(&self) -> Vec<(String, Arc<Tally>)> {
        let receivers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        receivers.iter().map(|(name, receiver)| (format!("webhook/{name}"), Arc::clone(&receiver.tally))).collect()
    }

    fn came(&self, asked: &Asked) {
        self.of(asked).inspect(|receiver| receiver.tally.came(asked.at));
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let Some(receiver) = self.of(asked) else { return self.refuse(asked, 404) };
        receiver.tally.came(asked.at);
        if !receiver.is_signed(asked) {
            return self.refuse(asked, 401);
        }
        let key = asked.header("idempotency-key");
        let key = key.map_or_else(|| String::from_utf8_lossy(&asked.body).into_owned(), str::to_owned);
        if receiver.honours && asked.header("idempotency-key").is_some() {
            let mut hasher = DefaultHasher::new();
            asked.body.hash(&mut hasher);
            let body = hasher.finish();
            let mut known = receiver.known.lock().unwrap_or_else(PoisonError::into_inner);
            match known.get(&key) {
                None => {
                    known.insert(key.clone(), body);
                    receiver.tally.accepted(&key);
                }
                Some(first) if *first == body => receiver.tally.again(),
                // Two messages under one key: the sender has made a mistake.
                Some(_) => return self.refuse(asked, 422),
            }
        } else {
            receiver.tally.accepted(&key);
        }
        Reply::json(200, &json!({ "id": key }))
    }

    fn refuse(&self, asked: &Asked, code: i64) -> Reply {
        self.of(asked).inspect(|receiver| receiver.tally.refused(code));
        let status = u16::try_from(code).ok().filter(|it| (200..600).contains(it)).unwrap_or(400);
        Reply::text(status, "refused")
    }
}
