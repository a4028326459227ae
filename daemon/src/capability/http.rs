//! `wasi:http` toward the addresses that the task file names, and to no others.
//!
//! A request goes through these gates, in this order: its address is one of `grant.http.allow`; it is in the ledger; what its
//! name resolves to, or the address itself, is public or granted. The connection goes to an address that was looked at, and to
//! no other: names are resolved once for each connection, by [`Resolver`], and whatever it gives is checked on the way out. A
//! redirect is an answer as any other; whoever follows it makes another request.
//!
//! Secrets are filled in last, into a copy: what is written down and told of a request knows placeholders only. They are taken
//! out of the answer before the guest gets any of it ([`crate::capability::secrets`]).
//!
//! A request may carry an access token of WeChat, which the host keeps: `token` has what is particular about that.
//!
//! The grant's limits on sizes and time hold for each request, the number of requests for the run.
//!
//! wasi:http has no place for the reason of a denial. So a denial is an internal error whose text begins with [`DENIED`], which the
//! SDK makes a denial of again. Nothing else that the host says begins like that.

mod source;
mod token;

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host as UrlHost, Url};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use self::source::Source;
use self::token::Without;
use crate::capability::egress::Entry;
use crate::capability::secrets::{Opened, Stream, Tokens, Unfilled};
use crate::capability::{Call, Host, HostError, Run};
use crate::config::http::HttpGrant;
use crate::record::egress::EgressResult;

/// What the text of a denial begins with; the SDK knows it.
const DENIED: &str = "denied: ";

/// What all instances of a run share: the client, and how many requests there were.
#[derive(Debug, Default)]
pub struct Outgoing {
    client: OnceLock<Result<Client, String>>,
    requests: AtomicU32,
}

impl Outgoing {
    fn client(&self, grant: &Arc<HttpGrant>) -> Result<Client, String> {
        self.client.get_or_init(|| client(grant)).clone()
    }
}

/// `wasi:http` of one instance.
pub struct Http {
    ctx: WasiHttpCtx,
    sender: Sender,
}

impl Http {
    /// For an instance of the run that was made for `call`.
    pub fn new(run: &Arc<Run>, call: Call) -> Self {
        Self { ctx: WasiHttpCtx::new(), sender: Sender { run: Arc::clone(run), call } }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        // Most guests never ask for anything.
        let Http { ctx, sender } = self.http.get_or_insert_with(|| Http::new(&self.run, self.call));
        WasiHttpCtxView { hooks: sender, table: &mut self.table, ctx }
    }
}

struct Sender {
    run: Arc<Run>,
    call: Call,
}

/// What came of a request: the answer, and what goes on while its body is read (here: nothing).
type Sent = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Sender {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let (run, call) = (Arc::clone(&self.run), self.call);
        Box::new(async move {
            let response = send(run, call, request, options.unwrap_or_default()).await?;
            let nothing: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(std::future::ready(Ok(())));
            Ok((response, nothing))
        })
    }
}

/// Why a request is not answered.
enum Refusal {
    /// It may not be made.
    Denied(String),
    /// It names a secret that cannot be used.
    Unusable(String),
    /// It could not be made.
    Failed(String),
}

/// What is said of a request tells only where it went.
fn unfilled(url: &Url, refusal: Unfilled) -> Refusal {
    match refusal {
        Unfilled::Denied(reason) => Refusal::Denied(format!("{} ({reason})", shown(url))),
        // The server is not to blame.
        Unfilled::Unusable(reason) => Refusal::Unusable(reason),
    }
}

async fn send(
    run: Arc<Run>,
    call: Call,
    request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Result<http::Response<WasiBody>, Error> {
    let url = Url::parse(&request.uri().to_string()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let mut entry = Entry::new(Arc::clone(&run), call, request.method().to_string(), shown(&url));
    let grant = match permission(&run, &url) {
        Ok(grant) => grant,
        Err(Forbidden { reason, error }) => {
            entry.deny(reason).await;
            return Err(error);
        }
    };
    entry.open().await.map_err(|reason| Error::InternalError(Some(reason)))?;
    let secrets = match run.secrets.open(&run).await {
        Ok(secrets) => secrets,
        Err(HostError::Trap(error)) => return Err(Error::InternalError(Some(error.to_string()))),
        Err(HostError::Guest(error)) => return Err(Error::InternalError(Some(error.to_string()))),
    };
    let sent = match collect(request, grant.max_request.bytes()).await {
        Ok(request) => fill_and_send(&run, call, &grant, &secrets, &url, request, options, &mut entry).await,
        Err(refusal) => Err(refusal),
    };
    match sent.and_then(|(head, body)| answer(&secrets, &url, head, body)) {
        Err(Refusal::Denied(reason)) => {
            let reason = secrets.redacted(reason);
            let error = denied(&reason);
            entry.deny(reason).await;
            Err(error)
        }
        Err(Refusal::Unusable(reason)) => {
            let reason = secrets.redacted(reason);
            run.secrets.tell_unusable(&run, &reason);
            let error = denied(&reason);
            entry.end(EgressResult::Failed, Some(reason));
            Err(error)
        }
        Err(Refusal::Failed(reason)) => {
            let reason = secrets.redacted(reason);
            entry.end(EgressResult::Failed, Some(reason.clone()));
            Err(Error::InternalError(Some(reason)))
        }
        Ok((head, body, stream)) => {
            let (most, entry) = (grant.max_response.0, Some(entry));
            let body = Answer { body, most, stream, secrets, entry, trailers: None, is_over: false };
            Ok(http::Response::from_parts(head, body.boxed_unsync()))
        }
    }
}

/// The head of an answer, and its body as it comes.
type Came = (http::response::Parts, Source);

/// Makes a request with all that it names; once more, when WeChat does not accept the token in it and there is another.
#[expect(clippy::too_many_arguments, reason = "each is of a type of its own")]
async fn fill_and_send(
    run: &Arc<Run>,
    call: Call,
    grant: &Arc<HttpGrant>,
    secrets: &Opened,
    url: &Url,
    request: http::Request<Bytes>,
    options: RequestOptions,
    entry: &mut Entry,
) -> Result<Came, Refusal> {
    let mut before: Option<(Came, i64)> = None;
    let mut refused = Tokens::new();
    loop {
        let tokens = match token::obtain(run, call, grant, secrets, url, &refused).await {
            Ok(tokens) => tokens,
            Err(Without::Unfilled(refusal)) => return Err(unfilled(url, refusal)),
            Err(Without::Trouble(trouble)) => {
                let reason = secrets.redacted(trouble.reason);
                run.secrets.tell_of_token(run, &reason);
                entry.note(format!("WeChat gives no access token: {reason}"));
                return match (trouble.answer, before) {
                    // The guest is told what WeChat says, as if it had been asked by the guest.
                    (Some((status, body)), _) => Ok(token::told(status, body)),
                    (None, Some((came, _))) => Ok(came),
                    (None, None) => Err(Refusal::Failed(format!("{}: no access token: {reason}", shown(url)))),
                };
            }
        };
        if let Some((_, code)) = &before {
            let reason = format!("WeChat did not accept the access token ({code}); once more with another one");
            let next = Entry::new(Arc::clone(run), call, request.method().to_string(), shown(url));
            std::mem::replace(entry, next).end(EgressResult::Answered, Some(reason));
            entry.open().await.map_err(Refusal::Failed)?;
        }
        let (filled, full) =
            secrets.fill(run, url, request.clone(), &tokens).map_err(|refusal| unfilled(url, refusal))?;
        entry.row.sent = full.body().len() as u64;
        let response = exchange(run, grant, url, filled, full, options).await?;
        entry.row.status = Some(response.status().as_u16());
        entry.row.address = response.remote_addr().map(|address| address.to_string());
        let (head, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        let mut came = (head, Source::new(body));
        if before.is_none()
            && !tokens.is_empty()
            && let Some(code) = token::refused(&came.0, &mut came.1, grant.timeout).await
        {
            (before, refused) = (Some((came, code)), tokens);
            continue;
        }
        return Ok(came);
    }
}

/// The head of an answer as the guest may see it, its body, and what looks for secrets in that.
fn answer(
    secrets: &Opened,
    url: &Url,
    mut head: http::response::Parts,
    body: Source,
) -> Result<(http::response::Parts, Source, Option<Stream>), Refusal> {
    let guarded = secrets.guard(url, &mut head);
    let stream = guarded.map_err(|reason| Refusal::Failed(format!("{}: {reason}", shown(url))))?;
    Ok((head, body, stream))
}

/// Why a request is not let out, and what the guest hears of it.
struct Forbidden {
    reason: String,
    error: Error,
}

impl Forbidden {
    fn new(reason: String) -> Self {
        Self { error: denied(&reason), reason }
    }
}

/// A denial, with its reason.
fn denied(reason: &str) -> Error {
    Error::InternalError(Some(format!("{DENIED}{reason}")))
}

/// The grant under which a request to this address may be made, or why it may not.
fn permission(run: &Run, url: &Url) -> Result<Arc<HttpGrant>, Forbidden> {
    let Some(grant) = &run.grants.http else {
        return Err(Forbidden::new(format!("{} (the task file has no `grant.http`)", shown(url))));
    };
    if !grant.allows(url) {
        return Err(Forbidden::new(format!("{} (`grant.http.allow` does not cover it)", shown(url))));
    }
    if run.outgoing.requests.fetch_add(1, Ordering::Relaxed) >= grant.max_requests {
        let most = grant.max_requests;
        let reason = format!("{} (this run has made {most} requests: `grant.http.max_requests`)", shown(url));
        // The next run may make it: whoever has more to do leaves the rest to that.
        return Err(Forbidden { reason, error: Error::ConnectionLimitReached });
    }
    match denied_literal(grant, url) {
        Some(reason) => Err(Forbidden::new(format!("{}: {reason}", shown(url)))),
        None => Ok(Arc::clone(grant)),
    }
}

/// Why an address that is written as numbers may not be connected to. A name is looked at when it is resolved.
fn denied_literal(grant: &HttpGrant, url: &Url) -> Option<String> {
    let literal = match url.host() {
        Some(UrlHost::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(UrlHost::Ipv6(address)) => Some(IpAddr::V6(address)),
        _ => None,
    };
    literal.filter(|address| !grant.may_connect(*address)).map(not_public)
}

fn not_public(address: IpAddr) -> String {
    format!("{address} is no public address (`grant.http.networks` does not hold it)")
}

/// An address without what may be secret in it.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Neither fails for addresses with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let text: String = url.into();
    // As the guest wrote it.
    text.replace("%7B%7Bsecret:", "{{secret:").replace("%7D%7D", "}}")
}

/// Takes the whole body in.
async fn collect(request: http::Request<WasiBody>, most: usize) -> Result<http::Request<Bytes>, Refusal> {
    let (parts, mut body) = request.into_parts();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::Failed(format!("the body was not written to its end: {error}")))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > most {
                let message = format!("the body has more than {most} bytes (grant.http.max_request)");
                return Err(Refusal::Failed(message));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(http::Request::from_parts(parts, whole.freeze()))
}

async fn exchange(
    run: &Run,
    grant: &Arc<HttpGrant>,
    url: &Url,
    filled: Url,
    request: http::Request<Bytes>,
    options: RequestOptions,
) -> Result<reqwest::Response, Refusal> {
    let client = run.outgoing.client(grant).map_err(Refusal::Failed)?;
    let (mut parts, body) = request.into_parts();
    // The client writes its own, from the address that was checked.
    parts.headers.remove(http::header::HOST);
    let wanted = [options.connect_timeout, options.first_byte_timeout].into_iter().flatten().max();
    let patience = wanted.map_or(grant.timeout, |wanted| wanted.min(grant.timeout));
    let asked = client.request(parts.method, filled).headers(parts.headers).body(body).send();
    match tokio::time::timeout(patience, asked).await {
        Ok(Ok(response)) => Ok(response),
        // The client's error has the address that was filled in.
        Ok(Err(error)) if !error.is_timeout() => Err(refusal(url, &error.without_url())),
        Ok(Err(_)) | Err(_) => {
            let waited = humantime::format_duration(patience);
            Err(Refusal::Failed(format!("{}: no answer within {waited} (grant.http.timeout)", shown(url))))
        }
    }
}

fn refusal(url: &Url, error: &reqwest::Error) -> Refusal {
    let mut source = error.source();
    let mut reason = error.to_string();
    while let Some(cause) = source {
        if let Some(Prohibited { address, .. }) = cause.downcast_ref() {
            return Refusal::Denied(format!("{}: {}", shown(url), not_public(*address)));
        }
        reason = cause.to_string();
        source = cause.source();
    }
    Refusal::Failed(format!("{}: {reason}", shown(url)))
}

fn client(grant: &Arc<HttpGrant>) -> Result<Client, String> {
    // The daemon links one provider; that it is set already is no matter.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .dns_resolver(Arc::new(Resolver(Arc::clone(grant))))
        // Variables of the daemon's environment are not what the task file grants.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(grant.timeout)
        .read_timeout(grant.timeout)
        .user_agent(concat!("upkeep/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &grant.ca {
        let wrong = |reason: String| format!("the certificates in {} cannot be used: {reason}", path.display());
        let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&text).map_err(|error| wrong(error.to_string()))?;
        builder = builder.tls_certs_only(certificates);
    } else if grant.allow.iter().all(|origin| !origin.is_https()) {
        // A system without any certificates is no obstacle where none is needed.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| {
        let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        format!("TLS cannot be used: {reason}; apt-get install ca-certificates, or name the certificates with `grant.http.ca`")
    })
}

/// Resolves names, and gives only addresses that may be connected to.
struct Resolver(Arc<HttpGrant>);

/// What a name resolves to may not be connected to.
#[derive(Debug, thiserror::Error)]
#[error("{name} resolves to {address}, which is no public address")]
struct Prohibited {
    name: String,
    address: IpAddr,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let grant = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (may, may_not): (Vec<SocketAddr>, Vec<_>) = found.partition(|found| grant.may_connect(found.ip()));
            match may_not.first() {
                // A name that leads here too is not trusted for its other addresses.
                Some(prohibited) => Err(Prohibited { name: name.as_str().to_owned(), address: prohibited.ip() }.into()),
                None => Ok(Box::new(may.into_iter()) as Addrs),
            }
        })
    }
}

/// The body of an answer, within the limit, and without secrets.
struct Answer {
    body: Source,
    most: u64,
    /// Looks for secrets; none where the task has none.
    stream: Option<Stream>,
    secrets: Arc<Opened>,
    entry: Option<Entry>,
    /// What ends the body, until what was kept back before it is out.
    trailers: Option<Frame<Bytes>>,
    is_over: bool,
}

impl Answer {
    fn end(&mut self, result: EgressResult, reason: Option<String>) {
        if let Some(entry) = self.entry.take() {
            entry.end(result, reason);
        }
    }

    /// What may go on to the guest of a piece that came; none when all of it is kept back for now.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let Some(stream) = &mut self.stream else { return Some(frame) };
        self.secrets.guard_more(stream);
        match frame.into_data() {
            Ok(data) => {
                Some(stream.push(&data)).filter(|clean| !clean.is_empty()).map(|clean| Frame::data(clean.into()))
            }
            Err(frame) => {
                self.trailers = frame.into_trailers().ok().map(|it| Frame::trailers(self.secrets.trailers(it)));
                None
            }
        }
    }

    /// What is left when nothing comes any more: what was kept back, then the trailers.
    fn rest(&mut self) -> Option<Frame<Bytes>> {
        let kept = self.stream.as_mut().map(Stream::finish).filter(|kept| !kept.is_empty());
        kept.map(|kept| Frame::data(kept.into())).or_else(|| self.trailers.take())
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        loop {
            if self.is_over {
                return Poll::Ready(self.rest().map(Ok));
            }
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
            let most = self.most;
            let failed = match frame {
                None => {
                    self.end(EgressResult::Answered, None);
                    self.is_over = true;
                    continue;
                }
                Some(Err(error)) => error,
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    let received = self.entry.as_mut().map_or(0, |entry| {
                        entry.row.received += length;
                        entry.row.received
                    });
                    if received > most {
                        format!("the answer has more than {most} bytes (grant.http.max_response)")
                    } else {
                        match self.pass(frame) {
                            Some(frame) => return Poll::Ready(Some(Ok(frame))),
                            None => continue,
                        }
                    }
                }
            };
            // What was kept back stays back: it may be the beginning of a secret.
            (self.stream, self.trailers, self.is_over) = (None, None, true);
            let failed = self.secrets.redacted(failed);
            self.end(EgressResult::Failed, Some(failed.clone()));
            return Poll::Ready(Some(Err(Error::InternalError(Some(failed)))));
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.stream.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Who lets go of a body has what he wanted.
        self.end(EgressResult::Answered, None);
    }
}

#[cfg(test)]
mod tests;
