//! Requests over TCP, written by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("this is no JSON ({error}): {self:?}"))
    }

    /// What kind of error it is.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// A port that nobody listens to.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it has one").port()
}

pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("sockets have timeouts");
    stream
}

/// Sends bytes, and reads until the other side closes; what it said.
pub(crate) fn raw(port: u16, request: &[u8]) -> String {
    let mut stream = connect(port);
    // The other side may have said all that it has to say before it has read everything.
    let _ = stream.write_all(request);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[track_caller]
pub(crate) fn parse(said: &str) -> Answer {
    let (head, text) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("this is no answer of HTTP: {said:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.unwrap_or_else(|| panic!("no status: {said:?}")),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
        text: text.to_owned(),
    }
}

/// Asks with headers (each line ends with `\r\n`) and a body.
#[track_caller]
pub(crate) fn ask(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: upkeep\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    parse(&raw(port, request.as_bytes()))
}
