//! Requests to the addresses that the task file names.
//!
//! A request fails with [`HostError::Denied`](crate::HostError::Denied) when its address is not one of `grant.http.allow`, or
//! when what its name resolves to is not public; the run's log says which key would allow it. Redirects are answers as any
//! other: who follows one makes another request.
//!
//! ```
//! use std::io::Read;
//! use upkeep_plugin::http::{Request, Response};
//! use upkeep_plugin::test::Host;
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! # let _host = Host::new().http(|request| Ok(Response::new(200, format!("{} {}", request.method(), request.url()))));
//! let mut response = Request::get("https://api.example.com/v1/state").header("accept", "text/plain").send()?;
//! assert_eq!(response.status(), 200);
//! let mut text = String::new();
//! response.read_to_string(&mut text)?;
//! assert_eq!(text, "GET https://api.example.com/v1/state");
//! # Ok(())
//! # }
//! ```
//!
//! Many at the same time go by [`InFlight`].

use std::io;
use std::time::Duration;

use crate::host::{HostResult, http as host};

/// Bytes read at once.
const READ_CHUNK: usize = 1 << 20;

/// A request that is not sent yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "nothing leaves before `send`"]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Option<Duration>,
}

impl Request {
    /// A request with this method, such as `PUT`.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// Asks for what is at `url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// Sends `body` to `url`.
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", url) }
    }

    /// Sets the body.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Waits no longer for the head of the answer. The task file may allow less.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The value of the first header of this name, when it is text.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Sends it, and waits for the head of the answer.
    ///
    /// # Errors
    /// [`HostError::Denied`](crate::HostError::Denied) when the task file does not grant the address,
    /// [`HostError::Limit`](crate::HostError::Limit) when the run may make no more requests,
    /// [`HostError::Invalid`](crate::HostError::Invalid) when it is none,
    /// [`HostError::Unavailable`](crate::HostError::Unavailable) when there is no answer.
    pub fn send(self) -> HostResult<Response> {
        host::send(self)
    }
}

/// An answer. Its body is read as a file is ([`io::Read`]).
#[derive(Debug)]
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: host::Body,
    chunk: Vec<u8>,
    used: usize,
}

impl Response {
    pub(crate) fn with(status: u16, headers: Vec<(String, Vec<u8>)>, body: host::Body) -> Self {
        Self { status, headers, body, chunk: Vec::new(), used: 0 }
    }

    /// The status: 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first header of this name, when it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The next bytes of the body; empty at its end.
    ///
    /// # Errors
    /// [`HostError::Unavailable`](crate::HostError::Unavailable) when the rest does not come, or is larger than the task
    /// file allows.
    pub fn next_chunk(&mut self) -> HostResult<Vec<u8>> {
        if self.used < self.chunk.len() {
            let rest = self.chunk.split_off(self.used);
            self.chunk.clear();
            self.used = 0;
            return Ok(rest);
        }
        self.body.read(READ_CHUNK)
    }
}

/// An answer that is there as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status: 200.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, or as much of it as was asked for.
    pub body: Vec<u8>,
}

/// Requests that are under way at the same time, each with something to know it by.
///
/// ```
/// use std::time::Duration;
/// use upkeep_plugin::http::{InFlight, Request, Response};
/// # use upkeep_plugin::test::Host;
///
/// # let _host = Host::new().http(|request| Ok(Response::new(200, request.url())));
/// let mut flying = InFlight::new(64 * 1024);
/// for city in ["oslo", "lima"] {
///     flying.send(Request::get(format!("https://api.example.com/weather/{city}")), city);
/// }
/// let mut heard = Vec::new();
/// while !flying.is_empty() {
///     heard.extend(flying.wait(Duration::from_secs(10)).into_iter().map(|(city, answer)| (city, answer.unwrap().status)));
/// }
/// assert_eq!(heard, [("oslo", 200), ("lima", 200)]);
/// ```
#[derive(Debug)]
pub struct InFlight<T> {
    flights: Vec<(T, host::Flight)>,
    most: usize,
}

impl<T> InFlight<T> {
    /// None yet. Of each answer's body, `most` bytes are taken.
    pub fn new(most: usize) -> Self {
        Self { flights: Vec::new(), most }
    }

    /// Lets one go, without waiting. [`wait`](Self::wait) tells what came of it, also when it could not be sent. Its
    /// [timeout](Request::timeout) holds for the whole answer.
    pub fn send(&mut self, request: Request, tag: T) {
        self.flights.push((tag, host::Flight::start(request, self.most)));
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// What came of those that are over; waits for one at least, but no longer than `patience`. With none under way it waits
    /// that long.
    pub fn wait(&mut self, patience: Duration) -> Vec<(T, HostResult<Answer>)> {
        let ready = host::wait(&self.flights.iter().map(|(_, flight)| flight).collect::<Vec<_>>(), patience);
        let mut over = Vec::new();
        // From the end, so that places stay what they are.
        for at in ready.into_iter().rev() {
            if let Some(answer) = self.flights[at].1.advance() {
                over.push((self.flights.swap_remove(at).0, answer));
            }
        }
        over.reverse();
        over
    }
}

#[cfg(not(target_family = "wasm"))]
impl Response {
    /// The answer with as much of its body.
    pub(crate) fn whole(self, most: usize) -> Answer {
        let Self { status, headers, mut body, .. } = self;
        let body = body.read(most).unwrap_or_default();
        Answer { status, headers, body }
    }

    /// An answer of the test host.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::with(status, Vec::new(), host::Body::new(body.into()))
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl io::Read for Response {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.used == self.chunk.len() {
            self.chunk = self.body.read(READ_CHUNK).map_err(io::Error::other)?;
            self.used = 0;
        }
        let count = into.len().min(self.chunk.len() - self.used);
        into[..count].copy_from_slice(&self.chunk[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

fn find<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(value).ok()
}
