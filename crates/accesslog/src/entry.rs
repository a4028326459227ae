//! What a line of an access log says.

use crate::escape::Escape;

/// One request. All that is borrowed stands in the line as it was written; [`Entry::text`] takes escapes away.
///
/// What the log does not have, or has as `-` or as nothing, is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When, in seconds since 1970-01-01T00:00:00Z. nginx and Apache mean the end of the request or its begin, in this order.
    pub time: i64,
    /// Milliseconds of that second, if the log has them.
    pub millis: Option<u16>,
    /// The status of the response; three digits, also such as nobody defined.
    pub status: u16,
    /// Bytes of the response: of its body, if the log has that.
    pub bytes: Option<u64>,
    /// How long the response took, in microseconds.
    pub duration: Option<u64>,
    /// The client's address or name.
    pub address: Option<&'a [u8]>,
    /// The host that was asked for.
    pub host: Option<&'a [u8]>,
    /// Who logged in.
    pub user: Option<&'a [u8]>,
    /// `GET` and so on; none if the request was none, as when TLS comes to a port without.
    pub method: Option<&'a [u8]>,
    /// What was asked for; see [`Entry::path`] and [`Entry::query`].
    pub target: Option<&'a [u8]>,
    /// The query, where the log has it apart from the target.
    pub args: Option<&'a [u8]>,
    /// `HTTP/1.1` and so on.
    pub protocol: Option<&'a [u8]>,
    /// Where the client says it comes from.
    pub referrer: Option<&'a [u8]>,
    /// What the client says it is.
    pub agent: Option<&'a [u8]>,
    /// For whom a proxy asked: addresses with commas between them, the client first.
    pub forwarded: Option<&'a [u8]>,
    /// How the writer of the log escapes.
    pub escape: Escape,
}

impl<'a> Entry<'a> {
    /// An entry that says nothing yet.
    #[inline]
    pub(crate) fn empty(escape: Escape) -> Self {
        Self {
            time: 0,
            millis: None,
            status: 0,
            bytes: None,
            duration: None,
            address: None,
            host: None,
            user: None,
            method: None,
            target: None,
            args: None,
            protocol: None,
            referrer: None,
            agent: None,
            forwarded: None,
            escape,
        }
    }

    /// A field without its escapes; borrowed if there are none.
    pub fn text(&self, field: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        self.escape.unescape(field)
    }

    /// The target up to its query.
    #[inline]
    pub fn path(&self) -> Option<&'a [u8]> {
        let target = self.target?;
        Some(memchr::memchr(b'?', target).map_or(target, |it| &target[..it]))
    }

    /// The query, without its question mark.
    pub fn query(&self) -> Option<&'a [u8]> {
        let of_target = || self.target.and_then(|target| memchr::memchr(b'?', target).map(|it| &target[it + 1..]));
        self.args.or_else(of_target)
    }

    /// The first address that a proxy named, which is the client's if the proxies can be trusted. Some name the client's port as
    /// well, another one for each connection: it is left out.
    pub fn forwarded_for(&self) -> Option<&'a [u8]> {
        let all = self.forwarded?;
        let first = all.split(|it| *it == b',').next()?.trim_ascii();
        let first = match (first, memchr::memchr(b':', first)) {
            ([b'[', rest @ ..], _) => rest.split(|it| *it == b']').next()?,
            (_, Some(at)) if memchr::memrchr(b':', first) == Some(at) => &first[..at],
            _ => first,
        };
        (!first.is_empty() && first != b"-" && first != b"unknown").then_some(first)
    }

    /// `GET /path?query HTTP/1.1`, taken apart. What is no such line says nothing: scanners and broken clients send
    /// whatever they like, and servers log it with a status of 400.
    #[inline]
    pub(crate) fn set_request(&mut self, request: &'a [u8]) {
        let Some(space) = request.iter().take(24).position(|it| *it == b' ') else { return };
        let (method, rest) = (&request[..space], &request[space + 1..]);
        if space == 0 || !method.iter().all(|it| it.is_ascii_alphabetic() || matches!(it, b'-' | b'_')) {
            return;
        }
        let (target, protocol) = match rest {
            [target @ .., b' ', b'H', b'T', b'T', b'P', b'/', _, b'.', _] => (target, Some(&rest[target.len() + 1..])),
            _ => match memchr::memrchr(b' ', rest) {
                // The slash may be escaped: JSON allows it.
                Some(it) if rest[it + 1..].starts_with(b"HTTP/") || rest[it + 1..].starts_with(br"HTTP\/") => {
                    (&rest[..it], Some(&rest[it + 1..]))
                }
                _ => (rest, None),
            },
        };
        if !target.is_empty() {
            self.method = Some(method);
            self.target = Some(target);
            self.protocol = protocol;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
        let mut entry = Entry::empty(Escape::Nginx);
        entry.set_request(line.as_bytes());
        let text = |it: Option<&'static [u8]>| it.map(|it| std::str::from_utf8(it).unwrap());
        // The line outlives the entry.
        let leak = |it: Option<&[u8]>| it.map(|it| &*it.to_vec().leak());
        (text(leak(entry.method)), text(leak(entry.target)), text(leak(entry.protocol)))
    }

    #[test]
    fn request_lines() {
        assert_eq!(request("GET / HTTP/1.1"), (Some("GET"), Some("/"), Some("HTTP/1.1")));
        assert_eq!(request("GET /a b HTTP/2.0"), (Some("GET"), Some("/a b"), Some("HTTP/2.0")));
        assert_eq!(request("POST /x?y=z HTTP/3"), (Some("POST"), Some("/x?y=z"), Some("HTTP/3")));
        assert_eq!(request("GET /"), (Some("GET"), Some("/"), None));
        assert_eq!(request("CONNECT example.com:443 HTTP/1.1").1, Some("example.com:443"));
        assert_eq!(request("VERSION-CONTROL /a HTTP/1.1").0, Some("VERSION-CONTROL"));
        for none in ["", "GET", "\\x16\\x03\\x01\\x02\\x00", "\\x03 \\x01", " / HTTP/1.1", "GET ", "GET  HTTP/1.1"] {
            assert_eq!(request(none), (None, None, None), "{none:?}");
        }
    }

    #[test]
    fn target_and_query() {
        let mut entry = Entry::empty(Escape::Nginx);
        assert_eq!((entry.path(), entry.query()), (None, None));
        entry.target = Some(b"/a?b=?c");
        assert_eq!((entry.path(), entry.query()), (Some(&b"/a"[..]), Some(&b"b=?c"[..])));
        entry.args = Some(b"d=e");
        assert_eq!(entry.query(), Some(&b"d=e"[..]));
        entry.target = Some(b"/a");
        assert_eq!(entry.path(), Some(&b"/a"[..]));
    }

    #[test]
    fn forwarded() {
        let mut entry = Entry::empty(Escape::Nginx);
        assert_eq!(entry.forwarded_for(), None);
        for (all, first) in [
            ("1.2.3.4, 10.0.0.1", Some("1.2.3.4")),
            ("1.2.3.4:5678, 10.0.0.1:80", Some("1.2.3.4")),
            ("::1", Some("::1")),
            ("::ffff:1.2.3.4", Some("::ffff:1.2.3.4")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("[::1]", Some("::1")),
            ("[", None),
            (":80", None),
            ("unknown, 1.1.1.1", None),
            ("", None),
        ] {
            entry.forwarded = Some(all.as_bytes());
            assert_eq!(entry.forwarded_for(), first.map(str::as_bytes));
        }
    }
}
