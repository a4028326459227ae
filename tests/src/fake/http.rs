//! The server: a thread for each connection, which is kept open. That is little work for each request, and lets a connection
//! hang or break exactly where the script wants it to.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;

use super::{Clock, Fault, Provider, Script};

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When it came, by the fake's clock.
    pub at: i64,
    /// Who asks.
    pub peer: IpAddr,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, as it came.
    pub query: String,
    /// Headers, with names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes()).find(|(it, _)| it == name).map(|(_, value)| value.into())
    }

    /// The body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether a text stands anywhere in it.
    pub(super) fn holds(&self, text: &str) -> bool {
        let body = || memchr::memmem::find(&self.body, text.as_bytes()).is_some();
        let header = || self.headers.iter().any(|(_, value)| value.contains(text));
        self.path.contains(text) || self.query.contains(text) || header() || body()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// Headers beside the usual ones.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// JSON, with this status.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }

    /// A text, with this status.
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self { status, headers: vec![("content-type", "text/plain".to_owned())], body: text.into() }
    }
}

/// What all connections share.
struct Shared {
    clock: Arc<Clock>,
    script: Arc<Script>,
    providers: Vec<Arc<dyn Provider>>,
    stopped: AtomicBool,
    open: Mutex<HashMap<u64, TcpStream>>,
}

pub(super) struct Server {
    shared: Arc<Shared>,
    port: u16,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(port: u16, clock: Arc<Clock>, script: Arc<Script>, providers: Vec<Arc<dyn Provider>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let stopped = AtomicBool::new(false);
        let shared = Arc::new(Shared { clock, script, providers, stopped, open: Mutex::default() });
        let with = Arc::clone(&shared);
        let acceptor = spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                if with.stopped.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&with);
                spawn(move || {
                    let number = number as u64;
                    if let Ok(known) = stream.try_clone() {
                        shared.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, known);
                        // What breaks is the other side's to tell.
                        let _ = shared.serve(stream);
                        shared.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
                    }
                });
            }
        });
        Self { shared, port, acceptor: Some(acceptor) }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // It looks when somebody comes.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    /// Serves one connection until it ends.
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?.ip();
        let mut buffer = Vec::with_capacity(16 * 1024);
        while let Some(asked) = self.read(&mut stream, &mut buffer, peer)? {
            match self.answer(&asked) {
                Done::Reply(reply) => send(&mut stream, &reply)?,
                Done::Hang => {
                    // Until the other side has enough, or the fake ends.
                    let _ = stream.read(&mut [0; 1024]);
                    return Ok(());
                }
                Done::Reset => {
                    // With this, a connection that is closed is a connection that broke.
                    return Ok(set_socket_linger(&stream, Some(Duration::ZERO))?);
                }
            }
        }
        Ok(())
    }

    /// The next request; none when the other side is done. `buffer` keeps what came behind it.
    fn read(&self, stream: &mut TcpStream, buffer: &mut Vec<u8>, peer: IpAddr) -> std::io::Result<Option<Asked>> {
        let broken = |what: &str| std::io::Error::other(what.to_owned());
        let mut piece = [0; 16 * 1024];
        let mut wanted = None;
        loop {
            if wanted.is_none()
                && let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n")
            {
                wanted = Some((end + 4, head(&buffer[..end + 4]).ok_or_else(|| broken("no head of HTTP"))?));
            }
            if let Some((start, (_, length))) = &wanted
                && buffer.len() >= start + length
            {
                let (start, (mut asked, length)) = wanted.take().expect("it was looked at");
                asked.body = buffer[start..start + length].to_vec();
                buffer.drain(..start + length);
                (asked.at, asked.peer) = (self.clock.now(), peer);
                return Ok(Some(asked));
            }
            match stream.read(&mut piece)? {
                0 => return Ok(None),
                length => buffer.extend_from_slice(&piece[..length]),
            }
            if buffer.len() > 64 << 20 {
                return Err(broken("a request that is too large"));
            }
        }
    }

    /// The fake's own paths.
    fn own(&self, asked: &Asked) -> Reply {
        match asked.path.as_str() {
            "/fake/counts" => {
                let tallies = self.providers.iter().flat_map(|provider| provider.tallies());
                Reply::json(200, &Value::Object(tallies.map(|(name, tally)| (name, tally.told())).collect()))
            }
            "/fake/script" => match self.script.read(&String::from_utf8_lossy(&asked.body)) {
                Ok(()) => Reply::text(200, "added"),
                Err(error) => Reply::text(400, &error.to_string()),
            },
            _ => Reply::text(404, "the fake has no such path"),
        }
    }

    fn answer(&self, asked: &Asked) -> Done {
        if asked.path.starts_with("/fake/") {
            return Done::Reply(self.own(asked));
        }
        let Some(provider) = self.providers.iter().find(|provider| provider.has(&asked.path)) else {
            return Done::Reply(Reply::text(404, "nobody here has this path"));
        };
        let Some((fault, taken)) = self.script.fault(asked) else { return Done::Reply(provider.answer(asked)) };
        let late = matches!(fault, Fault::Slow(_));
        if taken {
            provider.answer(asked);
        } else if !late {
            provider.came(asked);
        }
        Done::Reply(match fault {
            Fault::Code(code) => provider.refuse(asked, code),
            Fault::Status(status, retry) => {
                let mut reply = Reply::text(status, "the server has trouble");
                reply.headers.extend(retry.map(|retry| ("retry-after", retry.value(asked.at))));
                reply
            }
            Fault::Body(body) => Reply::text(200, &body),
            Fault::Hang => return Done::Hang,
            Fault::Reset => return Done::Reset,
            Fault::Slow(milliseconds) => {
                sleep(Duration::from_millis(milliseconds));
                provider.answer(asked)
            }
        })
    }
}

/// What becomes of a request.
enum Done {
    Reply(Reply),
    Hang,
    Reset,
}

/// The head of a request, and how long its body is.
fn head(bytes: &[u8]) -> Option<(Asked, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    head.parse(bytes).ok()?.is_complete().then_some(())?;
    let (path, query) = head.path?.split_once('?').unwrap_or((head.path?, ""));
    let header =
        |it: &httparse::Header<'_>| (it.name.to_ascii_lowercase(), String::from_utf8_lossy(it.value).into_owned());
    let headers: Vec<(String, String)> = head.headers.iter().map(header).collect();
    let value = |name: &str| headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
    // Those that are tested send whole bodies.
    let length =
        if value("transfer-encoding").is_some() { None } else { value("content-length").unwrap_or("0").parse().ok() };
    let asked = Asked {
        at: 0,
        peer: Ipv4Addr::UNSPECIFIED.into(),
        method: head.method?.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
    };
    Some((asked, length?))
}

fn send(stream: &mut TcpStream, reply: &Reply) -> std::io::Result<()> {
    let reason = if reply.status < 400 { "OK" } else { "Refused" };
    let mut text = format!("HTTP/1.1 {} {reason}\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&reply.body);
    stream.write_all(&bytes)
}
