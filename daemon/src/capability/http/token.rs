//! Access tokens of WeChat in requests: had from their keepers before a request is filled in, and renewed when WeChat's answer
//! says that it was not accepted. Then the same request is made once more, since one whose token is refused has done nothing.
//!
//! The keepers' own requests leave by the same gates as those of the guest: the addresses that the task may connect to, its
//! certificates, its ledger. They count for no limit of the task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use super::source::Source;
use super::{Refusal, denied_literal, refusal, shown};
use crate::capability::egress::Entry;
use crate::capability::secrets::redactor::Redactor;
use crate::capability::secrets::{Opened, Tokens, Unfilled, read_secret};
use crate::capability::{Call, Run, blocking};
use crate::config::http::HttpGrant;
use crate::config::secret::SecretValue;
use crate::config::secrets::AccessToken;
use crate::record::egress::EgressResult;
use crate::tokens::{Ask, Asked, Trouble};

/// Where tokens are given out.
const PATH: &str = "/cgi-bin/stable_token";
/// How long is waited for one, at the most.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that can tell that a token is refused, and the largest that can give one, in bytes.
const MOST_REFUSAL: usize = 4 << 10;
const MOST_ANSWER: usize = 64 << 10;

/// Why a request has no token.
pub(super) enum Without {
    /// It may not have it.
    Unfilled(Unfilled),
    /// There is none.
    Trouble(Trouble),
}

/// The tokens that a request to this address names. `refused` are those that it was refused with before.
pub(super) async fn obtain(
    run: &Arc<Run>,
    call: Call,
    grant: &Arc<HttpGrant>,
    secrets: &Opened,
    url: &Url,
    refused: &Tokens,
) -> Result<Tokens, Without> {
    let mut tokens = Tokens::new();
    for (name, (keeper, token)) in secrets.tokens_in(url).map_err(Without::Unfilled)? {
        let (run, grant) = (Arc::clone(run), Arc::clone(grant));
        let asker: Arc<dyn Ask> = Arc::new(Asker { run, call, grant, token: token.clone() });
        let refused = refused.get(name).map(|token| token.number);
        let obtained = match keeper.token(&asker, refused).await {
            Ok(obtained) => obtained,
            Err(trouble) if trouble.answer.is_none() => return Err(without(token, trouble).await),
            Err(trouble) => return Err(Without::Trouble(trouble)),
        };
        tokens.insert(name.to_owned(), obtained);
    }
    Ok(tokens)
}

/// Why there is no token, where WeChat was not asked: it need not be the way there that is broken.
async fn without(token: &AccessToken, trouble: Trouble) -> Without {
    let token = token.clone();
    match blocking(move || read_secret(&token)).await {
        Ok(Err(reason)) => Without::Unfilled(Unfilled::Unusable(reason)),
        _ => Without::Trouble(trouble),
    }
}

/// The code, when an answer says that the token is not accepted. Larger answers are left alone, and not held up.
pub(super) async fn refused(head: &http::response::Parts, body: &mut Source, patience: Duration) -> Option<i64> {
    let length = head.headers.get(http::header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    if head.status != http::StatusCode::OK || length.is_some_and(|length: usize| length > MOST_REFUSAL) {
        return None;
    }
    let body = body.small(MOST_REFUSAL, patience).await?;
    let told: BTreeMap<String, Value> = serde_json::from_slice(&body).ok()?;
    told.get("errcode")?.as_i64().filter(|code| matches!(code, 40001 | 40014 | 42001))
}

/// What WeChat answered to the keeper, as an answer to the guest.
pub(super) fn told(status: u16, body: Bytes) -> (http::response::Parts, Source) {
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    (response.into_parts().0, Source::of(body))
}

/// Asks WeChat in the name of a run.
struct Asker {
    run: Arc<Run>,
    call: Call,
    grant: Arc<HttpGrant>,
    token: AccessToken,
}

impl Ask for Asker {
    fn ask(self: Arc<Self>, force: bool) -> BoxFuture<'static, Option<Result<Asked, String>>> {
        async move {
            tokio::select! {
                biased;
                () = self.run.cancel.cancelled() => None,
                asked = self.exchange(force) => Some(asked),
            }
        }
        .boxed()
    }

    fn secret(self: Arc<Self>) -> BoxFuture<'static, Option<SecretValue>> {
        async move { self.read().await.ok() }.boxed()
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) {
        self.run.ledger.spawn(work);
    }
}

impl Asker {
    async fn read(&self) -> Result<SecretValue, String> {
        let token = self.token.clone();
        let read = blocking(move || read_secret(&token)).await;
        read.unwrap_or_else(|_| Err("the host failed to read the application's secret".to_owned()))
    }

    async fn exchange(&self, force: bool) -> Result<Asked, String> {
        let secret = Arc::new(self.read().await?);
        let url = self.token.api.at(PATH);
        let mut entry = Entry::new(Arc::clone(&self.run), self.call, "POST".to_owned(), shown(&url));
        entry.open().await?;
        let patience = self.grant.timeout.min(PATIENCE);
        let sent = tokio::time::timeout(patience, self.post(&url, &secret, force, &mut entry)).await;
        // None: not in time.
        let asked = sent.unwrap_or(Err(None)).map_err(|reason| {
            let late = || format!("{}: no answer within {}", shown(&url), humantime::format_duration(patience));
            reason.unwrap_or_else(late)
        });
        match &asked {
            Ok(_) => entry.end(EgressResult::Answered, None),
            Err(reason) => entry.end(EgressResult::Failed, Some(reason.clone())),
        }
        asked.map(|(status, body)| Asked { status, body, secret })
    }

    async fn post(
        &self,
        url: &Url,
        secret: &SecretValue,
        force: bool,
        entry: &mut Entry,
    ) -> Result<(u16, Bytes), Option<String>> {
        if let Some(reason) = denied_literal(&self.grant, url) {
            return Err(Some(format!("{}: {reason}", shown(url))));
        }
        let client = self.run.outgoing.client(&self.grant)?;
        let body = json!({
            "grant_type": "client_credential",
            "appid": self.token.appid,
            "secret": secret.reveal(),
            "force_refresh": force,
        });
        let body = Zeroizing::new(body.to_string().into_bytes());
        entry.row.sent = body.len() as u64;
        let request = client.post(url.clone()).header(http::header::CONTENT_TYPE, "application/json");
        let request = request.header(http::header::ACCEPT_ENCODING, "identity");
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            match refusal(url, &error) {
                Refusal::Failed(_) if error.is_timeout() => None,
                Refusal::Denied(reason) | Refusal::Unusable(reason) | Refusal::Failed(reason) => Some(reason),
            }
        };
        let mut response = request.body(body.to_vec()).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        entry.row.status = Some(status);
        entry.row.address = response.remote_addr().map(|address| address.to_string());
        let mut whole = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            entry.row.received += piece.len() as u64;
            if whole.len() + piece.len() > MOST_ANSWER {
                return Err(Some(format!("{}: the answer has more than {MOST_ANSWER} bytes", shown(url))));
            }
            whole.extend_from_slice(&piece);
        }
        // What stands between here and WeChat may give back what it was sent.
        let body = match Redactor::new([("appsecret", secret.reveal())]) {
            Some(looked) if looked.is_in(&whole) => looked.bytes(&whole).into(),
            _ => whole.freeze(),
        };
        Ok((status, body))
    }
}
