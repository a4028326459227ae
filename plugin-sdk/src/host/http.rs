//! `http` of the real host: `wasi:http`.

use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    Scheme,
};
use wasip2::io::poll::{self, Pollable};
use wasip2::io::streams::{InputStream, StreamError};

use super::clock::nanoseconds;
use super::{HostError, HostResult};
use crate::http::{Answer, Request, Response};

/// What one call of the host takes from a body that comes in.
const READ_CHUNK: u64 = 64 * 1024;
/// What the host begins the reason of a denial with, for which wasi:http has no place of its own.
const DENIED: &str = "denied: ";
/// How long a whole answer may take where nobody says otherwise.
const PATIENCE: Duration = Duration::from_secs(600);

/// Status, headers and body of an answer.
type Head = (u16, Vec<(String, Vec<u8>)>, Body);

/// The body of an answer. Fields are dropped in order, the children first.
#[derive(Debug)]
pub(crate) struct Body {
    stream: InputStream,
    _body: IncomingBody,
    _response: IncomingResponse,
}

impl Body {
    pub(crate) fn read(&self, most: usize) -> HostResult<Vec<u8>> {
        match self.stream.blocking_read(most as u64) {
            Ok(bytes) => Ok(bytes),
            Err(StreamError::Closed) => Ok(Vec::new()),
            Err(StreamError::LastOperationFailed(error)) => Err(HostError::Unavailable(error.to_debug_string())),
        }
    }
}

/// Sends it and waits for the head of the answer.
pub(crate) fn send(request: Request) -> HostResult<Response> {
    let (url, timeout) = (request.url.clone(), request.timeout);
    let future = start(request)?;
    let ready = future.subscribe();
    match timeout {
        Some(timeout) => _ = poll::poll(&[&ready, &monotonic_clock::subscribe_duration(nanoseconds(timeout))]),
        None => ready.block(),
    }
    let late = || HostError::Unavailable(format!("{url}: no answer within {:?}", timeout.unwrap_or_default()));
    let (status, headers, body) = head(&future, &url)?.ok_or_else(late)?;
    Ok(Response::with(status, headers, body))
}

/// A request that is under way, until its answer is there as a whole. Fields are dropped in order, the children first.
#[derive(Debug)]
pub(crate) struct Flight {
    stage: Stage,
    url: String,
    timeout: Duration,
    /// By the monotonic clock.
    deadline: u64,
    /// Bytes of a body that are taken.
    most: usize,
}

#[derive(Debug)]
enum Stage {
    Head { ready: Pollable, future: FutureIncomingResponse },
    Body { ready: Pollable, body: Body, answer: Answer },
    Over(Option<HostResult<Answer>>),
}

impl Flight {
    /// Lets it go. What fails at once is told by [`Flight::advance`].
    pub(crate) fn start(request: Request, most: usize) -> Self {
        let (url, timeout) = (request.url.clone(), request.timeout.unwrap_or(PATIENCE));
        let stage = match start(request) {
            Ok(future) => Stage::Head { ready: future.subscribe(), future },
            Err(error) => Stage::Over(Some(Err(error))),
        };
        Self { stage, url, timeout, deadline: monotonic_clock::now().saturating_add(nanoseconds(timeout)), most }
    }

    /// What came of it, once, when it is over.
    pub(crate) fn advance(&mut self) -> Option<HostResult<Answer>> {
        loop {
            match &mut self.stage {
                Stage::Over(outcome) => return outcome.take(),
                Stage::Head { future, .. } => match head(future, &self.url) {
                    Ok(Some((status, headers, body))) => {
                        let (answer, ready) = (Answer { status, headers, body: Vec::new() }, body.stream.subscribe());
                        self.stage = Stage::Body { ready, body, answer };
                    }
                    Ok(None) => return self.late(),
                    Err(error) => self.stage = Stage::Over(Some(Err(error))),
                },
                Stage::Body { body, answer, .. } => {
                    let outcome = match body.stream.read(READ_CHUNK) {
                        Ok(bytes) if bytes.is_empty() => return self.late(),
                        Ok(bytes) if answer.body.len() + bytes.len() <= self.most => {
                            answer.body.extend_from_slice(&bytes);
                            continue;
                        }
                        Ok(bytes) => {
                            answer.body.extend_from_slice(&bytes[..self.most - answer.body.len()]);
                            Ok(std::mem::take(answer))
                        }
                        Err(StreamError::Closed) => Ok(std::mem::take(answer)),
                        Err(StreamError::LastOperationFailed(error)) => {
                            Err(HostError::Unavailable(error.to_debug_string()))
                        }
                    };
                    self.stage = Stage::Over(Some(outcome));
                }
            }
        }
    }

    fn late(&mut self) -> Option<HostResult<Answer>> {
        if monotonic_clock::now() < self.deadline {
            return None;
        }
        self.stage = Stage::Over(None);
        Some(Err(HostError::Unavailable(format!("{}: no whole answer within {:?}", self.url, self.timeout))))
    }
}

/// Waits until something came for one of them, or the time is over. Gives the places of those that are to be
/// [advanced](Flight::advance), in order, each once.
pub(crate) fn wait(flights: &[&Flight], patience: Duration) -> Vec<usize> {
    let places = |is: &dyn Fn(&Flight) -> bool| {
        flights.iter().enumerate().filter(|(_, flight)| is(flight)).map(|(at, _)| at).collect::<Vec<_>>()
    };
    let over = places(&|flight| matches!(flight.stage, Stage::Over(_)));
    if !over.is_empty() {
        return over;
    }
    let mut until = monotonic_clock::now().saturating_add(nanoseconds(patience));
    let mut ready = Vec::with_capacity(flights.len() + 1);
    for flight in flights {
        if let Stage::Head { ready: it, .. } | Stage::Body { ready: it, .. } = &flight.stage {
            ready.push(it);
        }
        until = until.min(flight.deadline);
    }
    let timer = monotonic_clock::subscribe_instant(until);
    ready.push(&timer);
    let timer = ready.len() - 1;
    let found = poll::poll(&ready);
    let mut found: Vec<usize> = found.into_iter().filter_map(|at| usize::try_from(at).ok()).collect();
    if found.contains(&timer) {
        let now = monotonic_clock::now();
        found.retain(|at| *at != timer);
        found.extend(places(&|flight| flight.deadline <= now));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Hands a request to the host.
fn start(request: Request) -> HostResult<FutureIncomingResponse> {
    let Request { method, url, headers, body, timeout: _ } = request;
    let invalid = |what: &str| HostError::Invalid(format!("{what} of the request to `{url}` has no meaning"));
    let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("the address"))?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return Err(invalid("the scheme")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = match path {
        "" => "/".to_owned(),
        path if path.starts_with('?') => format!("/{path}"),
        path => path.to_owned(),
    };
    let fields = Fields::from_list(&headers).map_err(|_| invalid("a header"))?;
    let outgoing = OutgoingRequest::new(fields);
    outgoing.set_method(&to_method(method)).map_err(|()| invalid("the method"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid("the scheme"))?;
    outgoing.set_authority(Some(authority)).map_err(|()| invalid("the host"))?;
    outgoing.set_path_with_query(Some(&path)).map_err(|()| invalid("the path"))?;
    let outgoing_body = outgoing.body().map_err(|()| invalid("the body"))?;
    // Without options: what they could say is looked after here, and the host (wasmtime 48) never lets go of their handle.
    let future = outgoing_handler::handle(outgoing, None).map_err(|code| told(&url, code))?;
    // When the host does not want the body, its answer says why.
    if write(&outgoing_body, &body) {
        let _ = OutgoingBody::finish(outgoing_body, None);
    }
    Ok(future)
}

/// The head of the answer, where it is there.
fn head(future: &FutureIncomingResponse, url: &str) -> HostResult<Option<Head>> {
    let Some(response) = future.get() else { return Ok(None) };
    let response = response.map_err(|()| no_answer(url))?.map_err(|code| told(url, code))?;
    let (status, headers) = (response.status(), response.headers().entries());
    let incoming = response.consume().map_err(|()| no_answer(url))?;
    let stream = incoming.stream().map_err(|()| no_answer(url))?;
    Ok(Some((status, headers, Body { stream, _body: incoming, _response: response })))
}

fn no_answer(url: &str) -> HostError {
    HostError::Unavailable(format!("{url}: the host gave no answer"))
}

/// Does not wait where the host has room for the body.
fn write(to: &OutgoingBody, mut body: &[u8]) -> bool {
    let Ok(stream) = to.write() else { return false };
    while !body.is_empty() {
        match stream.check_write() {
            Ok(0) => stream.subscribe().block(),
            Ok(room) => {
                let (piece, rest) = body.split_at(body.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
                if stream.write(piece).is_err() {
                    return false;
                }
                body = rest;
            }
            Err(_) => return false,
        }
    }
    true
}

fn to_method(method: String) -> Method {
    match method.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "PATCH" => Method::Patch,
        "OPTIONS" => Method::Options,
        _ => Method::Other(method),
    }
}

fn told(url: &str, code: ErrorCode) -> HostError {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => {
            HostError::Denied(format!("the request to `{url}` is not let out (`grant.http`, `grant.secrets`)"))
        }
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => {
            HostError::Invalid(format!("the request to `{url}` has no meaning"))
        }
        ErrorCode::ConnectionLimitReached => HostError::Limit(format!(
            "the request to `{url}` is one more than this run may make (`grant.http.max_requests`)"
        )),
        ErrorCode::InternalError(Some(reason)) => match reason.strip_prefix(DENIED) {
            Some(reason) => HostError::Denied(format!("the request is not let out: {reason}")),
            None => HostError::Unavailable(reason),
        },
        code => HostError::Unavailable(format!("{url}: {code:?}")),
    }
}
