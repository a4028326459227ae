//! Access logs whose lines are JSON objects.

use crate::entry::Entry;
use crate::escape::Escape;
use crate::json::tree::{Tree, scalar};
use crate::malformed::{Malformed, Reason};
use crate::slot::{self, Slot};
use crate::time::{Clock, Unit};

/// Where an object has what. Of several keys for the same, the first that a line has is taken.
///
/// A key in an object within the object is written with dots, as `request.uri`; this finds a key that has dots in its name, too.
/// Of a list, the first member counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonKeys {
    /// The time: a number, RFC 3339, or as `$time_local`.
    pub time: Vec<String>,
    /// What the time counts, if it is a number.
    pub time_unit: Unit,
    /// The client's address.
    pub address: Vec<String>,
    /// The host that was asked for.
    pub host: Vec<String>,
    /// Who logged in.
    pub user: Vec<String>,
    /// The whole request, `GET / HTTP/1.1`. What the other keys say goes before it.
    pub request: Vec<String>,
    /// The method.
    pub method: Vec<String>,
    /// Path and query, or only the path.
    pub target: Vec<String>,
    /// The query, if it is apart.
    pub args: Vec<String>,
    /// `HTTP/1.1` and so on.
    pub protocol: Vec<String>,
    /// The status of the response.
    pub status: Vec<String>,
    /// Bytes of the response.
    pub bytes: Vec<String>,
    /// How long the response took: a number, or text as `12.5ms`.
    pub duration: Vec<String>,
    /// What it counts, if it is a number; [`Unit::Auto`] is seconds.
    pub duration_unit: Unit,
    /// Where the client says it comes from.
    pub referrer: Vec<String>,
    /// What the client says it is.
    pub agent: Vec<String>,
    /// For whom a proxy asked.
    pub forwarded: Vec<String>,
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|it| (*it).to_owned()).collect()
}

impl Default for JsonKeys {
    /// The keys that most write who have nginx log JSON: the names of its variables, and some that are as usual.
    fn default() -> Self {
        Self {
            time: owned(&["msec", "time_iso8601", "time_local", "ts", "@timestamp", "timestamp", "time"]),
            time_unit: Unit::Auto,
            address: owned(&["remote_addr", "remote_ip", "client_ip", "clientip"]),
            host: owned(&["host", "http_host", "server_name"]),
            user: owned(&["remote_user"]),
            request: owned(&["request"]),
            method: owned(&["request_method", "method"]),
            target: owned(&["request_uri", "uri", "url", "path"]),
            args: owned(&["args", "query_string"]),
            protocol: owned(&["server_protocol", "protocol"]),
            status: owned(&["status"]),
            bytes: owned(&["body_bytes_sent", "bytes_sent", "size", "bytes"]),
            duration: owned(&["request_time", "upstream_response_time", "duration"]),
            duration_unit: Unit::Seconds,
            referrer: owned(&["http_referer", "http_referrer", "referer", "referrer"]),
            agent: owned(&["http_user_agent", "user_agent", "agent"]),
            forwarded: owned(&["http_x_forwarded_for", "x_forwarded_for"]),
        }
    }
}

impl JsonKeys {
    /// No keys at all: a log of which only the named things are read.
    pub fn none() -> Self {
        Self {
            time: Vec::new(),
            time_unit: Unit::Auto,
            address: Vec::new(),
            host: Vec::new(),
            user: Vec::new(),
            request: Vec::new(),
            method: Vec::new(),
            target: Vec::new(),
            args: Vec::new(),
            protocol: Vec::new(),
            status: Vec::new(),
            bytes: Vec::new(),
            duration: Vec::new(),
            duration_unit: Unit::Seconds,
            referrer: Vec::new(),
            agent: Vec::new(),
            forwarded: Vec::new(),
        }
    }

    /// The keys of Caddy's access log.
    pub fn caddy() -> Self {
        Self {
            time: owned(&["ts"]),
            address: owned(&["request.client_ip", "request.remote_ip"]),
            host: owned(&["request.host"]),
            user: owned(&["user_id"]),
            method: owned(&["request.method"]),
            target: owned(&["request.uri"]),
            protocol: owned(&["request.proto"]),
            status: owned(&["status"]),
            bytes: owned(&["size"]),
            duration: owned(&["duration"]),
            referrer: owned(&["request.headers.Referer"]),
            agent: owned(&["request.headers.User-Agent"]),
            forwarded: owned(&["request.headers.X-Forwarded-For"]),
            ..Self::none()
        }
    }

    fn slots(&self) -> [(&[String], Slot); SLOTS] {
        [
            (&self.time, Slot::AnyTime(self.time_unit)),
            (&self.address, Slot::Address),
            (&self.host, Slot::Host),
            (&self.user, Slot::User),
            (&self.request, Slot::Request),
            (&self.method, Slot::Method),
            (&self.target, Slot::Target),
            (&self.args, Slot::Args),
            (&self.protocol, Slot::Protocol),
            (&self.status, Slot::Status),
            (&self.bytes, Slot::Bytes),
            (&self.duration, Slot::Duration(self.duration_unit)),
            (&self.referrer, Slot::Referrer),
            (&self.agent, Slot::Agent),
            (&self.forwarded, Slot::Forwarded),
        ]
    }
}

/// How many things a line can say.
const SLOTS: usize = 15;
const TIME: usize = 0;
const REQUEST: usize = 4;
const STATUS: usize = 9;

/// A key that was found: what it is, and how many keys go before it.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    index: usize,
    rank: u8,
}

/// Keys, compiled.
#[derive(Debug, Clone)]
pub(crate) struct JsonFormat {
    tree: Tree<Leaf>,
    slots: [Slot; SLOTS],
}

impl JsonFormat {
    pub(crate) fn new(keys: &JsonKeys) -> Self {
        let mut tree = Tree::new();
        for (index, (names, _)) in keys.slots().iter().enumerate() {
            for (rank, name) in (0..=u8::MAX - 1).zip(names.iter()) {
                tree.insert(name, Leaf { index, rank });
            }
        }
        Self { tree, slots: keys.slots().map(|(_, slot)| slot) }
    }

    pub(crate) fn parse<'a>(&self, line: &'a [u8], clock: &mut Clock) -> Result<Entry<'a>, Malformed> {
        // What was found for each, with its place; the lowest rank stays.
        let mut found: [(u8, usize, &'a [u8]); SLOTS] = [(u8::MAX, 0, b""); SLOTS];
        self.tree.walk(line, &mut |leaf: Leaf, value, at| {
            let place = &mut found[leaf.index];
            if leaf.rank < place.0
                && let Ok(Some(text)) = scalar(value, at)
                && slot::present(text).is_some()
            {
                *place = (leaf.rank, at, text);
            }
            Ok(())
        })?;
        for (index, reason) in [(TIME, Reason::Time), (STATUS, Reason::Status)] {
            if found[index].0 == u8::MAX {
                return Err(Malformed::new(reason, line.len()));
            }
        }
        let mut entry = Entry::empty(Escape::Json);
        let (_, at, request) = found[REQUEST];
        slot::set(&mut entry, clock, Slot::Request, request, at)?;
        for (index, (rank, at, text)) in found.into_iter().enumerate() {
            if rank != u8::MAX && index != REQUEST {
                slot::set(&mut entry, clock, self.slots[index], text, at)?;
            }
        }
        Ok(entry)
    }
}
