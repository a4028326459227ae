//! `http` of the real host: `wasi:http`.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::{InputStream, StreamError};

use super::{HostError, HostResult};
use crate::http::{Request, Response};

/// What one call of the host takes from a body.
const WRITE_CHUNK: usize = 4096;

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

pub(crate) fn send(request: Request) -> HostResult<Response> {
    let Request { method, url, headers, body, timeout } = request;
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
    let options = RequestOptions::new();
    if let Some(timeout) = timeout {
        let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        // A host that does not know this option waits as long as it likes.
        let _ = options.set_first_byte_timeout(Some(nanoseconds));
    }
    let outgoing_body = outgoing.body().map_err(|()| invalid("the body"))?;
    let future = outgoing_handler::handle(outgoing, Some(options)).map_err(|code| told(&url, code))?;
    // When the host does not want the body, its answer says why.
    if write(&outgoing_body, &body) {
        let _ = OutgoingBody::finish(outgoing_body, None);
    }
    future.subscribe().block();
    let unavailable = || HostError::Unavailable(format!("{url}: the host gave no answer"));
    let response =
        future.get().ok_or_else(unavailable)?.map_err(|()| unavailable())?.map_err(|code| told(&url, code))?;
    let (status, headers) = (response.status(), response.headers().entries());
    let incoming = response.consume().map_err(|()| unavailable())?;
    let stream = incoming.stream().map_err(|()| unavailable())?;
    Ok(Response::with(status, headers, Body { stream, _body: incoming, _response: response }))
}

fn write(to: &OutgoingBody, body: &[u8]) -> bool {
    let Ok(stream) = to.write() else { return false };
    body.chunks(WRITE_CHUNK).all(|chunk| stream.blocking_write_and_flush(chunk).is_ok())
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
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => HostError::Denied(format!(
            "the request to `{url}` is not let out (`grant.http`, `grant.secrets`); the log of the run says why"
        )),
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => {
            HostError::Invalid(format!("the request to `{url}` has no meaning"))
        }
        ErrorCode::InternalError(Some(reason)) => HostError::Unavailable(reason),
        code => HostError::Unavailable(format!("{url}: {code:?}")),
    }
}
