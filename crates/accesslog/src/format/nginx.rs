//! nginx's `log_format`.

use crate::escape::Escape;
use crate::format::FormatError;
use crate::format::compile::{Field, Piece};
use crate::slot::Slot;
use crate::time::Unit;

/// What a variable holds, its rank among those that hold the same, and whether it is a list with a value for each upstream.
/// Names are those of nginx's documentation; all that are not here are passed over.
fn variable(name: &str) -> (Slot, u8, bool) {
    let (slot, rank) = match name {
        "msec" => (Slot::EpochTime(Unit::Seconds), 0),
        "time_local" => (Slot::LocalTime, 1),
        "time_iso8601" => (Slot::IsoTime, 1),
        "remote_addr" => (Slot::Address, 0),
        "http_x_real_ip" | "http_cf_connecting_ip" => (Slot::Forwarded, 1),
        "http_x_forwarded_for" | "proxy_add_x_forwarded_for" => (Slot::Forwarded, 0),
        "host" => (Slot::Host, 0),
        "http_host" => (Slot::Host, 1),
        "server_name" => (Slot::Host, 2),
        "remote_user" => (Slot::User, 0),
        "request" => (Slot::Request, 0),
        "request_method" => (Slot::Method, 0),
        "request_uri" => (Slot::Target, 0),
        "uri" | "document_uri" => (Slot::Target, 1),
        "args" | "query_string" => (Slot::Args, 0),
        "server_protocol" => (Slot::Protocol, 0),
        "status" => (Slot::Status, 0),
        "body_bytes_sent" => (Slot::Bytes, 0),
        "bytes_sent" => (Slot::Bytes, 1),
        "request_time" => (Slot::Duration(Unit::Seconds), 0),
        "upstream_response_time" => (Slot::Duration(Unit::Seconds), 1),
        "http_referer" => (Slot::Referrer, 0),
        "http_user_agent" => (Slot::Agent, 0),
        _ => (Slot::Nothing, 0),
    };
    (slot, rank, name.starts_with("upstream_"))
}

/// The pieces of a `log_format`, and how its fields are escaped.
pub(super) fn pieces(text: &str) -> Result<(Vec<Piece>, Escape), FormatError> {
    let (mut rest, mut escape, mut is_directive) = (text.trim_start(), Escape::Nginx, false);
    if let Some(tail) = word(rest, "log_format") {
        rest = tail.split_once(char::is_whitespace).map_or("", |(_, tail)| tail.trim_start());
        is_directive = true;
    }
    if let Some(tail) = rest.strip_prefix("escape=") {
        let end = tail.find(char::is_whitespace).unwrap_or(tail.len());
        escape = match &tail[..end] {
            "default" => Escape::Nginx,
            "json" => Escape::Json,
            "none" => Escape::None,
            name => return Err(FormatError::Escape { name: name.to_owned() }),
        };
        rest = tail[end..].trim_start();
        is_directive = true;
    }
    let base = text.len() - rest.len();
    let plain = if rest.starts_with('\'') || (is_directive && rest.starts_with('"')) {
        quoted(rest, base)?
    } else {
        rest.bytes().enumerate().map(|(at, byte)| (byte, base + at)).collect()
    };
    split(&plain).map(|it| (it, escape))
}

/// What stands behind a word at the beginning.
fn word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.strip_prefix(word).filter(|it| it.starts_with(char::is_whitespace)).map(str::trim_start)
}

/// The text of quoted strings one behind the other, each byte with its place.
fn quoted(text: &str, base: usize) -> Result<Vec<(u8, usize)>, FormatError> {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::new(), 0);
    while let Some(quote) = bytes.get(at) {
        match quote {
            b'\'' | b'"' => (),
            b';' => break,
            it if it.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            _ => {
                plain.push((*quote, base + at));
                at += 1;
                continue;
            }
        }
        let sign = if *quote == b'"' { "`\"`" } else { "`'`" };
        let open = at;
        at += 1;
        loop {
            match (bytes.get(at), bytes.get(at + 1)) {
                (None, _) => return Err(FormatError::Open { at: base + open, sign }),
                (Some(it), _) if it == quote => break,
                (Some(b'\\'), Some(next @ (b'\\' | b'"' | b'\'' | b't' | b'n' | b'r'))) => {
                    let byte = match next {
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'r' => b'\r',
                        other => *other,
                    };
                    plain.push((byte, base + at));
                    at += 2;
                }
                (Some(byte), _) => {
                    plain.push((*byte, base + at));
                    at += 1;
                }
            }
        }
        at += 1;
    }
    Ok(plain)
}

fn split(plain: &[(u8, usize)]) -> Result<Vec<Piece>, FormatError> {
    let is_name = |at: usize| plain.get(at).is_some_and(|(it, _)| it.is_ascii_alphanumeric() || *it == b'_');
    let (mut pieces, mut at) = (Vec::new(), 0);
    while let Some((byte, place)) = plain.get(at).copied() {
        if byte != b'$' {
            Piece::push_byte(&mut pieces, byte);
            at += 1;
            continue;
        }
        let is_braced = plain.get(at + 1).is_some_and(|(it, _)| *it == b'{');
        let begin = at + 1 + usize::from(is_braced);
        let end = (begin..).find(|it| !is_name(*it)).unwrap_or(begin);
        let name: String = plain[begin..end].iter().map(|(it, _)| char::from(*it)).collect();
        if name.is_empty() {
            return Err(FormatError::NoName { at: place, sign: "`$`" });
        }
        if is_braced && plain.get(end).is_none_or(|(it, _)| *it != b'}') {
            return Err(FormatError::Open { at: place + 1, sign: "`{`" });
        }
        let (slot, rank, is_list) = variable(&name);
        pieces.push(Piece::Field(Field { name: format!("${name}"), at: place, slot, rank, is_list }));
        at = end + usize::from(is_braced);
    }
    Ok(pieces)
}
