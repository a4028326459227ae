//! A server that takes requests, tells the test of each, and answers what the test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// `POST`.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: String,
    body: String,
}

impl Reply {
    /// An answer with a body.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: String::new(), body: body.into() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }
}

/// The server. It ends with the test.
pub struct Receiver {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    /// Starts one, on a port of its own of this machine. Connections are kept, and each has a thread.
    pub fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a socket has an address").port();
        let (answer, connections) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                let answer = Arc::clone(&answer);
                // Whoever hangs up in the middle is gone.
                std::thread::spawn(move || serve(&stream, &*answer));
            }
        });
        Self { port, connections }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn serve(stream: &TcpStream, answer: &dyn Fn(&Received) -> Reply) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let (mut from, mut to) = (BufReader::new(stream), stream);
    loop {
        let request = receive(&mut from)?;
        let Reply { status, headers, body } = answer(&request);
        let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        to.write_all(format!("HTTP/1.1 {status} x\r\n{length}{headers}\r\n{body}").as_bytes()).ok()?;
    }
}

fn receive(from: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    from.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut request = Received { method: words.next()?, path: words.next()?, ..Received::default() };
    loop {
        line.clear();
        from.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    from.read_exact(&mut request.body).ok()?;
    Some(request)
}
