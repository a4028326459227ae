//! A client of the control API that knows nothing of upkeep's types: HTTP/1.1 over the Unix socket, one connection that is
//! kept open.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::wait::eventually;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; of a stream: an array of its lines.
    pub body: Value,
}

/// A connection to the daemon.
pub struct Api {
    stream: BufReader<UnixStream>,
}

impl Api {
    /// Connects. `None` when nobody listens.
    pub fn connect(socket: &Path) -> Option<Self> {
        let stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("sockets have timeouts");
        Some(Self { stream: BufReader::new(stream) })
    }

    /// Asks, and expects an answer of success.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Value {
        let answer = self.ask("GET", path, "");
        assert_eq!(answer.status, 200, "GET {path}: {answer:?}");
        answer.body
    }

    /// Queues a run of a task, and gives its identifier.
    #[track_caller]
    pub fn run(&mut self, task: &str) -> String {
        let answer = self.ask("POST", &format!("/v1/tasks/{task}/run"), "");
        assert_eq!(answer.status, 202, "run of {task}: {answer:?}");
        answer.body["run"].as_str().expect("the answer names the run").to_owned()
    }

    /// Puts a message in, and gives its identifier.
    #[track_caller]
    pub fn push(&mut self, channels: &[&str], content: &Value) -> String {
        let body = json!({ "channels": channels, "content": content }).to_string();
        let answer = self.ask("POST", "/v1/push", &body);
        assert_eq!(answer.status, 202, "message to {channels:?}: {answer:?}");
        answer.body["id"].as_str().expect("the answer names the message").to_owned()
    }

    /// A message, with its attempts.
    #[track_caller]
    pub fn message(&mut self, id: &str) -> Value {
        self.get(&format!("/v1/push/{id}"))
    }

    /// A message as soon as it is in this state.
    #[track_caller]
    pub fn message_until(&mut self, id: &str, state: &str) -> Value {
        eventually(&format!("the message to be {state}"), || {
            Some(self.message(id)).filter(|it| it["message"]["state"] == state)
        })
    }

    /// Asks, and gives whatever is answered.
    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Asks; the error is that of the connection.
    pub fn try_ask(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: upkeep\r\nContent-Length: {length}\r\n\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other("this is no answer of HTTP"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let header = self.line()?.to_ascii_lowercase();
            match header.split_once(": ") {
                None => break,
                Some(("content-length", value)) => length = value.parse().map_err(std::io::Error::other)?,
                Some(("transfer-encoding", value)) => chunked = value == "chunked",
                Some(_) => {}
            }
        }
        let text = if chunked { self.chunks()? } else { self.bytes(length)? };
        let body = serde_json::from_slice(&text).or_else(|_| lines(&text));
        Ok(Answer { status, body: body.map_err(std::io::Error::other)? })
    }

    fn chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).map_err(std::io::Error::other)?;
            text.extend(self.bytes(length)?);
            self.line()?;
            if length == 0 {
                return Ok(text);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// One JSON object per line.
fn lines(text: &[u8]) -> serde_json::Result<Value> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(serde_json::from_slice).collect::<serde_json::Result<Vec<Value>>>().map(Value::Array)
}
