//! Secrets that the task file grants: filled into requests, and signed with. No call gives one, and nothing that comes back
//! holds one.
//!
//! A request passes through [`Opened::fill`] after everything else was checked and written down, right before it leaves. A
//! placeholder of a secret that is unknown, not bound to this server or not meant for this place denies the whole request. One of a
//! secret that cannot be used denies it too, until somebody mends that: but there the plugin did nothing wrong, so the run counts as
//! denied nothing, and its log says once why.
//! [`Opened::guard`] goes over the answer of whatever server, since what one was sent, another may give back.
//!
//! What no host can see through is a server that changes what it gives back: cuts it, compresses it, encrypts it. So toward
//! servers that a secret is bound to, requests for parts of an answer are denied, and answers that are encoded are refused.
//!
//! Values are read at the first use in a run, and stay the same for as long as it lasts. Access tokens of WeChat do not: they are
//! [kept](crate::tokens) for all runs, and change while one lasts. So what is looked for in answers grows with them, and the
//! secrets of their applications are among it: they are in no request of a guest, but WeChat tells whoever has a token what was
//! sent to it ("rid").

pub(super) mod redactor;
mod template;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use sha1::Sha1;
use sha2::Sha256;
use tokio::sync::OnceCell;
use url::Url;
use zeroize::Zeroizing;

use self::redactor::Redactor;
pub(crate) use self::redactor::Stream;
use self::template::{Form, Placeholder, Writing};
use crate::abi::secrets as abi;
use crate::capability::{Host, HostError, Run, blocking};
use crate::clock;
use crate::config::grant::Grants;
use crate::config::secret::{Secret, SecretValue};
use crate::config::secrets::{AccessToken, SecretAccess, SecretGrant, SecretPlace};
use crate::record::Level;
use crate::tokens::{Keeper, Keepers, Token};

/// Signatures of a run that makes no requests.
const MOST_SIGNATURES: u32 = 1_000;
/// The largest message that is signed, in bytes.
const MOST_SIGNED: usize = 16 << 20;

/// The secrets of one run.
#[derive(Debug, Default)]
pub struct Secrets {
    opened: OnceCell<Arc<Opened>>,
    signatures: AtomicU32,
    /// Whether it was said that a placeholder in a body stays as it is.
    told_of_body: AtomicBool,
    /// Whether it was said that there is no access token.
    told_of_token: AtomicBool,
    /// Why secrets cannot be used, as far as it was said.
    told: Mutex<BTreeSet<String>>,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Opened {
    grants: Arc<Grants>,
    /// By name; the error says why there is none.
    values: BTreeMap<String, Result<SecretValue, String>>,
    /// Access tokens, by the names of their secrets.
    tokens: BTreeMap<String, Kept>,
    current: RwLock<Current>,
}

/// An access token that is kept elsewhere.
#[derive(Debug)]
struct Kept {
    keeper: Arc<Keeper>,
    /// The application's secret, as it was when the run began to use secrets.
    secret: Option<SecretValue>,
}

/// What is looked for in answers, and how many values the keepers had shown when it was made.
#[derive(Debug)]
struct Current {
    redactor: Option<Arc<Redactor>>,
    seen: u64,
}

/// Access tokens for one request, by the names of their secrets.
pub(crate) type Tokens = BTreeMap<String, Token>;

/// Why a request cannot carry what it names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfilled {
    /// It may not.
    Denied(String),
    /// The secret cannot be used as it is: somebody has to mend that.
    Unusable(String),
}

impl Secrets {
    /// The secrets of the run, read now if they were not before.
    pub(crate) async fn open(&self, run: &Run) -> Result<Arc<Opened>, HostError> {
        let read = || {
            let (grants, keepers) = (Arc::clone(&run.grants), run.keepers.clone());
            async move {
                // Most runs have none.
                if grants.secrets.is_empty() {
                    Ok(Arc::new(Opened::read(grants, &keepers)))
                } else {
                    blocking(move || Arc::new(Opened::read(grants, &keepers))).await
                }
            }
        };
        self.opened.get_or_try_init(read).await.cloned()
    }

    /// Says once in the run's log why there is no access token.
    pub(crate) fn tell_of_token(&self, run: &Run, reason: &str) {
        if !self.told_of_token.swap(true, Ordering::Relaxed) {
            run.say(clock::now(), Level::Warn, format!("WeChat gives no access token: {reason}"));
        }
    }

    /// Says once in the run's log why a secret cannot be used.
    pub(super) fn tell_unusable(&self, run: &Run, reason: &str) {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(reason.to_owned()) {
            run.say(clock::now(), Level::Warn, reason.to_owned());
        }
    }
}

impl Opened {
    fn read(grants: Arc<Grants>, keepers: &Keepers) -> Self {
        let (mut values, mut tokens) = (BTreeMap::new(), BTreeMap::new());
        for (name, grant) in &grants.secrets {
            match &grant.wechat {
                None => _ = values.insert(name.clone(), read_value(name, grant)),
                Some(token) => {
                    let secret = read_secret(token).ok();
                    tokens.insert(name.clone(), Kept { keeper: keepers.of(token), secret });
                }
            }
        }
        let opened = Self { grants, values, tokens, current: RwLock::new(Current { redactor: None, seen: 0 }) };
        opened.look_again(opened.seen());
        opened
    }

    /// How many values the keepers of this run have shown.
    fn seen(&self) -> u64 {
        self.tokens.values().map(|kept| kept.keeper.seen()).sum()
    }

    /// Makes what looks for all values that there are now.
    fn look_again(&self, seen: u64) -> Option<Arc<Redactor>> {
        let past: Vec<_> = self.tokens.iter().map(|(name, kept)| (name, kept.keeper.past())).collect();
        let tokens = past.iter().flat_map(|(name, past)| past.iter().map(|value| (name.as_str(), value.reveal())));
        let secrets =
            self.tokens.iter().filter_map(|(name, kept)| Some((name.as_str(), kept.secret.as_ref()?.reveal())));
        let known = self.values.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_ref().ok()?.reveal())));
        let known = known.flat_map(|(name, value)| parts(value).map(move |part| (name, part)));
        let redactor = Redactor::new(known.chain(secrets).chain(tokens)).map(Arc::new);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current { redactor: redactor.clone(), seen };
        redactor
    }

    /// What looks for all values in answers. None where there are no values.
    fn redactor(&self) -> Option<Arc<Redactor>> {
        let seen = self.seen();
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if current.seen == seen {
            return current.redactor.clone();
        }
        drop(current);
        self.look_again(seen)
    }

    fn value<'s>(&'s self, name: &str, tokens: &'s Tokens) -> Result<&'s str, Unfilled> {
        match (self.values.get(name), tokens.get(name)) {
            (Some(Ok(value)), _) => Ok(value.reveal()),
            (Some(Err(reason)), _) => Err(Unfilled::Unusable(reason.clone())),
            (None, Some(token)) => Ok(token.value.reveal()),
            (None, None) => Err(Unfilled::Denied(format!("the task file has no `grant.secrets.{}`", shown(name)))),
        }
    }

    /// Whether a secret may stand at a place in a request to this address.
    fn may_fill(&self, name: &str, url: &Url, place: SecretPlace) -> Result<(), Unfilled> {
        let denied = |why: String| Err(Unfilled::Denied(why));
        let Some(grant) = self.grants.secrets.get(name) else {
            return denied(format!("the task file has no `grant.secrets.{}`", shown(name)));
        };
        if !grant.may(SecretAccess::Fill) {
            return denied(format!("`grant.secrets.{name}.access` has no \"fill\""));
        }
        if !grant.is_bound_to(url) {
            return denied(format!("the secret `{name}` is not for this server: `grant.secrets.{name}.hosts`"));
        }
        if !grant.places().contains(&place) {
            let place = word(place);
            return denied(format!(
                "the secret `{name}` is not for this place: `grant.secrets.{name}.places` has no \"{place}\""
            ));
        }
        Ok(())
    }

    /// The access tokens that a request to this address names, and may have.
    pub(crate) fn tokens_in(&self, url: &Url) -> Result<BTreeMap<&str, (&Arc<Keeper>, &AccessToken)>, Unfilled> {
        let mut named = BTreeMap::new();
        // Tokens stand in the path or in the query, where they stand at all.
        for text in [url.path(), url.query().unwrap_or_default()].into_iter().filter(|_| !self.tokens.is_empty()) {
            let mut at = 0;
            while let Some(found) = template::find(text.as_bytes(), at, Writing::Percent) {
                at = found.end;
                let grant = self.grants.secrets.get_key_value(found.name);
                if let (Some(kept), Some((name, SecretGrant { wechat: Some(token), .. }))) =
                    (self.tokens.get(found.name), grant)
                {
                    self.may_fill(name, url, SecretPlace::Url)?;
                    named.insert(name.as_str(), (&kept.keeper, token));
                }
            }
        }
        Ok(named)
    }

    /// What comes for a placeholder in a place of a request to this address.
    fn filling<'s>(
        &'s self,
        found: &Placeholder<'_>,
        url: &Url,
        place: SecretPlace,
        tokens: &'s Tokens,
    ) -> Result<Cow<'s, str>, Unfilled> {
        self.may_fill(found.name, url, place)?;
        let value = self.value(found.name, tokens)?;
        match (found.form, place) {
            (Form::Secret, _) => Ok(Cow::Borrowed(value)),
            (Form::Basic, SecretPlace::Header) if value.contains(':') => Ok(Cow::Owned(STANDARD.encode(value))),
            (Form::Basic, SecretPlace::Header) => {
                let name = shown(found.name);
                Err(Unfilled::Unusable(format!("the secret `{name}` is no login: write it as `user:password`")))
            }
            (Form::Basic, place) => Err(Unfilled::Denied(format!(
                "`{{{{basic:{}}}}}` is for headers, not for this place, \"{}\"",
                shown(found.name),
                word(place)
            ))),
        }
    }

    /// How a secret is called, with where it is.
    fn place_of(&self, name: &str) -> String {
        let file = self.grants.secrets.get(name).and_then(|grant| grant.file.as_ref());
        match file {
            Some(file) => format!("the secret `{}` in {}", shown(name), file.display()),
            None => format!("the secret `{}`", shown(name)),
        }
    }

    /// The bytes that a secret is the base64 of.
    fn decoded(&self, name: &str) -> Result<Text, Unfilled> {
        let value = self.value(name, &NO_TOKENS)?;
        let bytes = STANDARD.decode(value.strip_prefix("whsec_").unwrap_or(value)).map_err(|_| {
            let name = shown(name);
            Unfilled::Unusable(format!(
                "the secret `{name}` is no base64: a key of Standard Webhooks is `whsec_` and base64"
            ))
        });
        bytes.map(Zeroizing::new)
    }

    /// Whether a server may know a secret of this run.
    fn is_bound_to(&self, url: &Url) -> bool {
        self.grants.secrets.values().any(|grant| grant.is_bound_to(url))
    }

    /// The address and the request with all placeholders filled in. `tokens` are those that it [names](Self::tokens_in).
    pub(crate) fn fill(
        &self,
        run: &Run,
        url: &Url,
        request: http::Request<Bytes>,
        tokens: &Tokens,
    ) -> Result<(Url, http::Request<Bytes>), Unfilled> {
        let (mut parts, mut body) = request.into_parts();
        let mut filled = url.clone();
        let value = |found: &Placeholder<'_>| self.filling(found, url, SecretPlace::Url, tokens);
        if let Some(path) = template::fill(url.path().as_bytes(), Writing::Percent, value)? {
            filled.set_path(&String::from_utf8_lossy(&path));
        }
        if let Some(query) = url.query()
            && let Some(query) = template::fill(query.as_bytes(), Writing::Percent, value)?
        {
            filled.set_query(Some(&String::from_utf8_lossy(&query)));
        }
        for (name, header) in &mut parts.headers {
            let mut named = String::new();
            let value = |found: &Placeholder<'_>| {
                named = self.place_of(found.name);
                self.filling(found, url, SecretPlace::Header, tokens)
            };
            if let Some(filled) = template::fill(header.as_bytes(), Writing::Plain, value)? {
                *header = HeaderValue::from_bytes(&filled).map_err(|_| {
                    Unfilled::Unusable(format!("{named} has a character that no header can hold (here `{name}`)"))
                })?;
                header.set_sensitive(true);
            }
        }
        if self.is_bound_to(url) {
            // A piece of an answer could hold a piece of a value, which nobody would recognise.
            if let Some(name) = [header::RANGE, header::IF_RANGE].into_iter().find(|it| parts.headers.contains_key(it))
            {
                let why = format!("a header `{name}` toward a server that a secret is bound to (`grant.secrets`)");
                return Err(Unfilled::Denied(why));
            }
            parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            parts.headers.remove(header::TE);
        }
        if self.grants.secrets.values().any(|grant| grant.places().contains(&SecretPlace::Body)) {
            let value = |found: &Placeholder<'_>| self.filling(found, url, SecretPlace::Body, tokens);
            if let Some(filled) = template::fill(&body, writing_of(&parts.headers, &body), value)? {
                body = filled.into();
                // The client counts again.
                parts.headers.remove(header::CONTENT_LENGTH);
            }
        } else if let Some(found) = template::find(&body, 0, Writing::Plain)
            && self.grants.secrets.contains_key(found.name)
            && !run.secrets.told_of_body.swap(true, Ordering::Relaxed)
        {
            let (name, placeholder) = (found.name, template::placeholder(found.name));
            let message =
                format!("a body with {placeholder} was sent as it is: `grant.secrets.{name}.places` has no \"body\"");
            run.say(clock::now(), Level::Warn, message);
        }
        Ok((filled, http::Request::from_parts(parts, body)))
    }

    /// A text for people without what may be secret in it.
    pub(crate) fn redacted(&self, text: String) -> String {
        match self.redactor() {
            Some(redactor) => redactor.text(&text),
            None => text,
        }
    }

    /// Takes all values out of the head of an answer. Gives what does so for the body, where there are secrets at all.
    ///
    /// # Errors
    /// When they could not be found in the body.
    pub(crate) fn guard(&self, url: &Url, head: &mut http::response::Parts) -> Result<Option<Stream>, String> {
        let Some(redactor) = self.redactor() else { return Ok(None) };
        if self.is_bound_to(url) {
            for (name, plain) in [(header::CONTENT_ENCODING, "identity"), (header::TRANSFER_ENCODING, "chunked")] {
                let mut coded = head.headers.get_all(&name).iter();
                if let Some(coding) = coded.find(|it| !it.as_bytes().eq_ignore_ascii_case(plain.as_bytes())) {
                    let coding = redactor.text(&String::from_utf8_lossy(coding.as_bytes()));
                    return Err(format!(
                        "the answer is encoded (`{name}: {coding}`), and a secret could not be found in it"
                    ));
                }
            }
        }
        head.extensions.clear();
        head.headers = clean(&redactor, &head.headers);
        // A placeholder has another length.
        head.headers.remove(header::CONTENT_LENGTH);
        Ok(Some(Stream::new(redactor)))
    }

    /// Lets a body that is on its way be searched for what has become known since.
    pub(crate) fn guard_more(&self, stream: &mut Stream) {
        if !self.tokens.is_empty()
            && let Some(redactor) = self.redactor()
        {
            stream.look_for(redactor);
        }
    }

    /// Takes all values out of the headers that end a body.
    pub(crate) fn trailers(&self, trailers: HeaderMap) -> HeaderMap {
        match self.redactor() {
            Some(redactor) => clean(&redactor, &trailers),
            None => trailers,
        }
    }
}

/// Headers without values of secrets. A name that holds one is left out with what it names.
fn clean(redactor: &Redactor, headers: &HeaderMap) -> HeaderMap {
    let cleaned = headers.iter().filter(|(name, _)| !redactor.is_in(name.as_str().as_bytes())).map(|(name, value)| {
        let is_clean = !redactor.is_in(value.as_bytes());
        let cleaned = || HeaderValue::from_bytes(&redactor.bytes(value.as_bytes()));
        let value = if is_clean { value.clone() } else { cleaned().unwrap_or(HeaderValue::from_static("")) };
        (name.clone(), value)
    });
    let mut all = HeaderMap::new();
    cleaned.for_each(|(name, value): (HeaderName, HeaderValue)| {
        all.append(name, value);
    });
    all
}

/// How a value is written in a body: as the type says, and where there is none as the body looks.
fn writing_of(headers: &HeaderMap, body: &[u8]) -> Writing {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
        return if is_json { Writing::Json } else { Writing::Plain };
    };
    let kind = String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase();
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/x-www-form-urlencoded" => Writing::Percent,
        kind if kind.ends_with("/json") || kind.ends_with("+json") => Writing::Json,
        _ => Writing::Plain,
    }
}

fn word(place: SecretPlace) -> &'static str {
    match place {
        SecretPlace::Url => "url",
        SecretPlace::Header => "header",
        SecretPlace::Body => "body",
    }
}

fn read_value(name: &str, grant: &SecretGrant) -> Result<SecretValue, String> {
    let [source] = &grant.sources()[..] else {
        return Err(format!("the secret `{name}` has not exactly one source"));
    };
    read_source(&format!("the secret `{name}`"), source)
}

/// A value, and what of it is a secret by itself: the password of `user:password`, and the key of Standard Webhooks, `whsec_KEY`.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let password = value.split_once(':').map(|(_, password)| password);
    let parts = [password, value.strip_prefix("whsec_")].into_iter().flatten();
    std::iter::once(value).chain(parts.filter(|part| part.len() >= SecretGrant::SHORTEST))
}

/// Reads a secret that has to be found in what comes back; `what` is how it is called when it cannot be.
pub(super) fn read_source(what: &str, source: &Secret) -> Result<SecretValue, String> {
    let value = source.read().map_err(|error| format!("{what} cannot be used: {error}"))?;
    match value.reveal().len() {
        length if length < SecretGrant::SHORTEST => {
            Err(format!("{what} is shorter than {} bytes; take a longer one", SecretGrant::SHORTEST))
        }
        length if length > SecretGrant::LONGEST => Err(format!("{what} is longer than {} bytes", SecretGrant::LONGEST)),
        // What comes back could not be searched for it in time.
        _ if parts(value.reveal()).any(redactor::repeats_itself) => {
            Err(format!("{what} repeats itself all the time; take another one, of random characters"))
        }
        _ => Ok(value),
    }
}

/// Reads the secret of an application.
pub(super) fn read_secret(token: &AccessToken) -> Result<SecretValue, String> {
    let AccessToken { appid, .. } = token;
    let [source] = &token.sources()[..] else {
        return Err(format!("the secret of {appid} has not exactly one source"));
    };
    read_source(&format!("the secret of {appid}"), source)
}

/// Nothing is signed with access tokens.
static NO_TOKENS: Tokens = Tokens::new();

/// What was put together is gone when this is.
type Text = Zeroizing<Vec<u8>>;

fn hmac(algorithm: abi::Algorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    fn of<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
        // HMAC takes keys of any length.
        let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }
    match algorithm {
        abi::Algorithm::Sha1 => of::<Hmac<Sha1>>(key, message),
        abi::Algorithm::Sha256 => of::<Hmac<Sha256>>(key, message),
    }
}

impl Host {
    /// Puts a key or a message together.
    fn assemble(&self, opened: &Opened, parts: Vec<abi::Part>) -> Result<Text, HostError> {
        let piece = |part: &'_ abi::Part| match part {
            abi::Part::Bytes(bytes) => Ok(Zeroizing::new(bytes.clone())),
            abi::Part::Secret(name) => {
                opened.value(name, &NO_TOKENS).map(|value| Zeroizing::new(value.as_bytes().to_vec()))
            }
            abi::Part::Decoded(name) => opened.decoded(name),
        };
        let pieces = match parts.iter().map(piece).collect::<Result<Vec<Text>, _>>() {
            Ok(pieces) => pieces,
            Err(Unfilled::Unusable(reason)) => return Err(self.run.unusable(reason)),
            Err(Unfilled::Denied(reason)) => return self.deny(format!("to sign: {reason}")),
        };
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if length > MOST_SIGNED {
            return Err(HostError::invalid(format!("more than {MOST_SIGNED} bytes are to be signed at once")));
        }
        // Once as large as it gets, so that no part of it stays behind.
        let mut text = Zeroizing::new(Vec::with_capacity(length));
        pieces.iter().for_each(|piece| text.extend_from_slice(piece));
        Ok(text)
    }
}

impl abi::Host for Host {
    async fn hmac(
        &mut self,
        algorithm: abi::Algorithm,
        key: Vec<abi::Part>,
        message: Vec<abi::Part>,
    ) -> Result<Vec<u8>, HostError> {
        let mut names = key.iter().chain(&message).filter_map(|part| match part {
            abi::Part::Secret(name) | abi::Part::Decoded(name) => Some(name),
            abi::Part::Bytes(_) => None,
        });
        let grants = Arc::clone(&self.run.grants);
        let unsigned = |name: &&String| !grants.secrets.get(*name).is_some_and(|it| it.may(SecretAccess::Sign));
        if names.clone().next().is_none() {
            return Err(HostError::invalid("nothing that is to be signed, and not the key, has a secret in it"));
        }
        if let Some(name) = names.find(unsigned) {
            let name = shown(name);
            return self.deny(match grants.secrets.contains_key(&name) {
                true => format!("to sign with the secret `{name}` (`grant.secrets.{name}.access` has no \"sign\")"),
                false => format!("to sign with the secret `{name}` (the task file has no `grant.secrets.{name}`)"),
            });
        }
        let most = grants.http.as_ref().map_or(MOST_SIGNATURES, |http| http.max_requests);
        if self.run.secrets.signatures.fetch_add(1, Ordering::Relaxed) >= most {
            let limit = format!("this run has signed {most} times (grant.http.max_requests)");
            return Err(HostError::Guest(crate::abi::types::Error::Limit(limit)));
        }
        let opened = self.run.secrets.open(&self.run).await?;
        let (key, message) = (self.assemble(&opened, key)?, self.assemble(&opened, message)?);
        blocking(move || hmac(algorithm, &key, &message)).await
    }
}

/// A name that a guest gave, as it may stand in a message.
fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
mod tests;
