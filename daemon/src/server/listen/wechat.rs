//! What WeChat tells by itself ("message push"): a GET that asks whether somebody is there, and events by POST. Signatures,
//! decryption and the shapes of events are the business of [`upkeep_channel::wechat::callback`]; here, events become news for the
//! ledger of consents. WeChat gives up after five seconds and tells again, so an answer comes before that, and only when what was
//! told is on the disk.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use upkeep_channel::wechat::callback::{Callback, CallbackError, Choice, Event, Push, Query, Sent, Status};

use super::access::{read_secret, unusable};
use super::routes::{nothing, seconds};
use super::{ListenError, Shared, body};
use crate::api::ErrorCode;
use crate::clock;
use crate::command::Command;
use crate::config::listen::WechatSettings;
use crate::record::consent::{ConsentEvent, ConsentNews, Delivery};
use crate::server::reply::ApiError;

/// The largest body, in bytes; WeChat's have a few thousand.
const LARGEST: usize = 64 * 1024;

/// How long the journal may take: WeChat waits for five seconds.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is wrong with an endpoint is said once in this time.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// An application that tells.
#[derive(Debug)]
pub(super) struct Endpoint {
    name: String,
    appid: String,
    callback: Callback,
    long_term: BTreeSet<String>,
    said: Mutex<Option<Instant>>,
}

impl Endpoint {
    /// Reads its secrets.
    pub(super) fn read(name: &str, settings: &WechatSettings, file: &Path) -> Result<Self, ListenError> {
        let key = |key: &str| format!("listen.wechat.{name}.{key}");
        let token = read_secret(&settings.token, file, &key("token"))?;
        let aes_key = settings.encoding_aes_key.as_ref();
        let aes_key = aes_key.map(|it| read_secret(it, file, &key("encoding_aes_key"))).transpose()?;
        let callback = Callback::new(token.reveal(), aes_key.as_ref().map(|it| it.reveal()), &settings.appid);
        let callback = callback.map_err(|error| {
            let key = if error == CallbackError::NoKey { key("encoding_aes_key") } else { key("token") };
            unusable(file, &key, error.to_string())
        })?;
        let long_term = settings.long_term.iter().cloned().collect();
        Ok(Self { name: name.to_owned(), appid: settings.appid.clone(), callback, long_term, said: Mutex::default() })
    }

    /// Whether this is the time to say again what is wrong.
    fn says(&self, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let says = said.is_none_or(|at| now.saturating_duration_since(at) >= SAY_EVERY);
        if says {
            *said = Some(now);
        }
        says
    }

    /// What the ledger is told.
    fn news(&self, push: &Push) -> Vec<ConsentNews> {
        let one = |event: ConsentEvent, kind: &str, template: &str, delivery: Option<Delivery>| ConsentNews {
            id: self.id(push, kind, template, delivery.as_ref().map_or("", |it| &it.message)),
            template: template.to_owned(),
            user: push.openid.clone(),
            event,
            long_term: self.long_term.contains(template),
            delivery,
        };
        match &push.event {
            Event::Popup(choices) => {
                let chosen = |Choice { template, status }: &Choice| {
                    let accepted = *status == Status::Accept;
                    let event = if accepted { ConsentEvent::Accepted } else { ConsentEvent::Declined };
                    one(event, "popup", template, None)
                };
                choices.iter().map(chosen).collect()
            }
            Event::Change(choices) => {
                let changed = |Choice { template, status }: &Choice| match status {
                    Status::Accept => Some(one(ConsentEvent::TurnedOn, "change", template, None)),
                    Status::Reject => Some(one(ConsentEvent::TurnedOff, "change", template, None)),
                    Status::Other(_) => None,
                };
                choices.iter().filter_map(changed).collect()
            }
            Event::Sent(all) => {
                let sent = |Sent { template, message, code, status }: &Sent| {
                    let event = if *code == Some(0) { ConsentEvent::Delivered } else { ConsentEvent::Failed };
                    let delivery = Delivery { message: message.clone(), code: *code, status: status.clone() };
                    one(event, "sent", template, Some(delivery))
                };
                all.iter().map(sent).collect()
            }
            Event::Wrote { .. } | Event::Other(_) => Vec::new(),
        }
    }

    /// The same when it is told again. A hash, so that it does not say of whom it is.
    fn id(&self, push: &Push, kind: &str, template: &str, message: &str) -> String {
        let mut hash = Sha256::new();
        let created = push.created.to_string();
        for part in [self.appid.as_str(), &push.openid, &created, kind, template, message] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Answers what WeChat asks or tells.
pub(super) async fn answer(
    shared: &Shared,
    endpoint: &Endpoint,
    address: IpAddr,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let now = Instant::now();
    // As with tokens: where one address stands for all that a proxy brings, what is right is heard.
    if let Some(wait) = shared.attempts().closed_for(address, now).filter(|_| !address.is_loopback()) {
        let message = format!("too much that is wrong came from {address}");
        return Err(ApiError::new(ErrorCode::TooMany, message).after(seconds(wait)));
    }
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let wrong = |error: CallbackError| refuse(shared, endpoint, address, &error);
    match head.method {
        Method::GET => {
            let echo = endpoint.callback.greet(&query, clock::now().0).map_err(wrong)?;
            tracing::info!(account = %endpoint.name, "WeChat has checked the address");
            Ok(plain(echo))
        }
        Method::POST => {
            let bytes = body::read(&head.headers, body, LARGEST).await?;
            let push = endpoint.callback.open(&query, &bytes, clock::now().0).map_err(wrong)?;
            let news = endpoint.news(&push);
            if !news.is_empty() {
                take_in(shared, endpoint, news).await?;
            }
            Ok(plain("success".to_owned()))
        }
        _ => Err(nothing(head.uri).await),
    }
}

/// Has the ledger take in what was told.
async fn take_in(shared: &Shared, endpoint: &Endpoint, news: Vec<ConsentNews>) -> Result<(), ApiError> {
    let account = endpoint.appid.clone();
    let asked = shared.state.ask(|reply| Command::Consents { account, news, reply });
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(taken) => {
            let count = taken??;
            tracing::debug!(account = %endpoint.name, count, "consents were told");
            Ok(())
        }
        // It may be taken in all the same, and counts once.
        Err(_) => {
            let message = format!("the journal did not take it in within {} s; tell it again", PATIENCE.as_secs());
            Err(ApiError::new(ErrorCode::Busy, message))
        }
    }
}

/// What is signed by somebody else counts as an attempt; all else is most likely a setting.
fn refuse(shared: &Shared, endpoint: &Endpoint, address: IpAddr, error: &CallbackError) -> ApiError {
    let now = Instant::now();
    let (code, worth) = match error {
        CallbackError::Signature | CallbackError::Missing(_) => {
            (ErrorCode::Forbidden, shared.attempts().wrong(address, now))
        }
        CallbackError::Stale(_) => (ErrorCode::Forbidden, endpoint.says(now)),
        CallbackError::TooLarge => (ErrorCode::TooLarge, endpoint.says(now)),
        _ => (ErrorCode::BadRequest, endpoint.says(now)),
    };
    if worth {
        tracing::warn!(account = %endpoint.name, %address, "an event was not taken: {error}");
    }
    ApiError::new(code, error.to_string())
}

fn plain(text: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, text).into_response()
}
