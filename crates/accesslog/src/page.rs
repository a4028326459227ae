//! Pages, as people count them: many targets are the same page.

use std::borrow::Cow;

/// How targets become pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pages {
    keep: Vec<Vec<u8>>,
    ids: bool,
}

/// What stands for a segment that names one thing of many.
const ID: &[u8] = b":id";

impl Pages {
    /// Pages with these parameters of their query, in this order, and no others. With `ids`, a segment of a path that is a number,
    /// a UUID or 16 hexadecimal digits and more becomes `:id`, also before an ending as `.html`.
    pub fn new(keep: impl IntoIterator<Item = impl Into<Vec<u8>>>, ids: bool) -> Self {
        Self { keep: keep.into_iter().map(Into::into).collect(), ids }
    }

    /// The page of a target, which must be without escapes of the log.
    ///
    /// Scheme, host, fragment and query are dropped; percent signs before what needs none are taken away, the others get capital
    /// letters, and one without digits becomes `%25`; empty segments are dropped, and those of dots are followed. A target that is a page already is borrowed. Whoever
    /// makes a page of a page gets the same.
    pub fn page<'a>(&self, target: &'a [u8]) -> Cow<'a, [u8]> {
        let target = without_origin(target);
        let target = memchr::memchr(b'#', target).map_or(target, |it| &target[..it]);
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(it) => (&target[..it], Some(&target[it + 1..])),
            None => (target, None),
        };
        let query = query.map(|it| self.query(it)).unwrap_or_default();
        let clean = self.path(path);
        if query.is_empty() {
            return clean;
        }
        let mut page = clean.into_owned();
        page.push(b'?');
        page.extend_from_slice(&query);
        Cow::Owned(page)
    }

    /// The parameters that are kept.
    fn query(&self, query: &[u8]) -> Vec<u8> {
        let mut kept = Vec::new();
        for name in &self.keep {
            let is_it = |it: &&[u8]| it.strip_prefix(name.as_slice()).is_some_and(|it| it.is_empty() || it[0] == b'=');
            if let Some(parameter) = query.split(|it| *it == b'&').find(is_it) {
                if !kept.is_empty() {
                    kept.push(b'&');
                }
                decode(parameter, &mut kept);
            }
        }
        kept
    }

    fn path<'a>(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        if !path.starts_with(b"/") || !self.changes(path) {
            return Cow::Borrowed(path);
        }
        let mut plain = Vec::with_capacity(path.len());
        decode(path, &mut plain);
        let mut page: Vec<u8> = Vec::with_capacity(plain.len());
        let mut segments = plain[1..].split(|it| *it == b'/').peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            match segment {
                b"" | b"." if is_last => page.push(b'/'),
                b"" | b"." => (),
                b".." => {
                    page.truncate(page.iter().rposition(|it| *it == b'/').unwrap_or(0));
                    if is_last {
                        page.push(b'/');
                    }
                }
                _ => {
                    page.push(b'/');
                    match id(segment).filter(|_| self.ids) {
                        Some(length) => {
                            page.extend_from_slice(ID);
                            page.extend_from_slice(&segment[length..]);
                        }
                        None => page.extend_from_slice(segment),
                    }
                }
            }
        }
        Cow::Owned(page)
    }

    /// Whether a path may be another one as a page. Most are not.
    fn changes(&self, path: &[u8]) -> bool {
        let mut before = 0;
        for byte in path {
            match byte {
                b'%' => return true,
                b'/' | b'.' if before == b'/' => return true,
                _ => before = *byte,
            }
        }
        self.ids && path.split(|it| *it == b'/').any(|it| id(it).is_some())
    }
}

/// The endings of files that pages are made of, and not pages.
const ASSETS: [&[u8]; 41] = [
    b"aac", b"apng", b"avif", b"bmp", b"bundle", b"css", b"cur", b"eot", b"flac", b"flv", b"gif", b"ico", b"jpeg",
    b"jpg", b"js", b"jsonp", b"m3u8", b"m4a", b"m4s", b"m4v", b"map", b"mjs", b"mov", b"mp3", b"mp4", b"mpd", b"ogg",
    b"ogv", b"otf", b"png", b"svg", b"tif", b"tiff", b"ts", b"ttf", b"wasm", b"wav", b"webm", b"webp", b"woff",
    b"woff2",
];

/// Whether a target or a page is a file that pages are made of: a style, a script, a picture, a font, a sound or a video. The
/// ending of its path tells.
pub fn is_asset(target: &[u8]) -> bool {
    let end = memchr::memchr2(b'?', b'#', target).unwrap_or(target.len());
    let path = &target[..end];
    let Some(dot) = path.iter().rposition(|it| matches!(it, b'.' | b'/')).filter(|it| path[*it] == b'.') else {
        return false;
    };
    let ending = &path[dot + 1..];
    let mut lower = [0; 8];
    let Some(lower) = lower.get_mut(..ending.len()) else { return false };
    lower.copy_from_slice(ending);
    lower.make_ascii_lowercase();
    ASSETS.binary_search(&&*lower).is_ok()
}

/// A target without scheme and host, with which proxies are asked.
fn without_origin(target: &[u8]) -> &[u8] {
    let scheme = target.iter().take(16).take_while(|it| it.is_ascii_alphanumeric()).count();
    let Some(rest) = target[scheme..].strip_prefix(b"://").filter(|_| scheme > 0) else { return target };
    match rest.iter().position(|it| matches!(it, b'/' | b'?' | b'#')) {
        Some(it) if rest[it] == b'/' => &rest[it..],
        _ => b"/",
    }
}

/// How much of a segment names one thing of many.
fn id(segment: &[u8]) -> Option<usize> {
    let stem = match segment.iter().rposition(|it| *it == b'.') {
        Some(dot) if segment[dot + 1..].iter().all(u8::is_ascii_alphabetic) => &segment[..dot],
        _ => segment,
    };
    let is_number = || !stem.is_empty() && stem.iter().all(u8::is_ascii_digit);
    let is_hex = || stem.len() >= 16 && stem.iter().all(u8::is_ascii_hexdigit) && stem.iter().any(u8::is_ascii_digit);
    let is_uuid = || {
        stem.len() == 36
            && stem.iter().enumerate().all(|(at, it)| match at {
                8 | 13 | 18 | 23 => *it == b'-',
                _ => it.is_ascii_hexdigit(),
            })
    };
    (is_number() || is_hex() || is_uuid()).then_some(stem.len())
}

/// Takes percent signs away before letters, digits, `-`, `.`, `_`, `~` and text in other scripts.
fn decode(text: &[u8], plain: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(hit) = memchr::memchr(b'%', rest) {
        plain.extend_from_slice(&rest[..hit]);
        rest = &rest[hit..];
        match hex(rest) {
            None => {
                // Left alone, it would make one with what comes out behind it.
                plain.extend_from_slice(b"%25");
                rest = &rest[1..];
            }
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') => {
                plain.push(byte);
                rest = &rest[3..];
            }
            Some(byte) => match character(rest, byte) {
                Some(it) => {
                    plain.extend_from_slice(it.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = &rest[3 * it.len_utf8()..];
                }
                None => {
                    plain.extend(rest[..3].iter().map(u8::to_ascii_uppercase));
                    rest = &rest[3..];
                }
            },
        }
    }
    plain.extend_from_slice(rest);
}

/// `%HH`.
fn hex(text: &[u8]) -> Option<u8> {
    let [b'%', a, b, ..] = text else { return None };
    let [a, b] = [char::from(*a).to_digit(16)?, char::from(*b).to_digit(16)?];
    u8::try_from(a * 16 + b).ok()
}

/// A letter or a sign behind ASCII that is written as two to four `%HH`. What cannot be seen, or turns the text around it, is
/// none.
fn character(text: &[u8], first: u8) -> Option<char> {
    let length = match first {
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return None,
    };
    let mut bytes = [0; 4];
    for (at, byte) in bytes.iter_mut().enumerate().take(length) {
        *byte = hex(text.get(3 * at..)?)?;
    }
    let character = std::str::from_utf8(&bytes[..length]).ok()?.chars().next()?;
    let is_hidden = matches!(character,
        '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}'
        | '\u{2060}'..='\u{206f}' | '\u{3000}' | '\u{feff}' | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}');
    (!is_hidden).then_some(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(target: &str, keep: &[&str], ids: bool) -> String {
        let page = Pages::new(keep.iter().copied(), ids);
        String::from_utf8_lossy(&page.page(target.as_bytes())).into_owned()
    }

    #[test]
    fn pages() {
        for (target, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b?c=d", "/a/b"),
            ("/a/b#c?d", "/a/b"),
            ("//a///b//", "/a/b/"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/../../a", "/a"),
            ("/a/.", "/a/"),
            ("/%2e%2E/%61%2fb%20c", "/a%2Fb%20c"),
            ("/%E4%BD%A0%E5%A5%BD", "/你好"),
            ("/%E4%BD", "/%E4%BD"),
            ("/%e2%80%ae%00%zz%", "/%E2%80%AE%00%25zz%25"),
            ("/%%34%31", "/%2541"),
            ("/.well-known/x", "/.well-known/x"),
            ("http://shop.example/a//b?c", "/a/b"),
            ("https://shop.example", "/"),
            ("*", "*"),
            ("shop.example:443", "shop.example:443"),
            ("", ""),
        ] {
            assert_eq!(page(target, &[], false), expected, "{target}");
        }
    }

    #[test]
    fn parameters_that_are_kept() {
        assert_eq!(page("/a?y=2&x=%31&z&x=3", &["x", "z", "w"], false), "/a?x=1&z");
        assert_eq!(page("/a?xy=2", &["x"], false), "/a");
        assert_eq!(page("/a?", &["x"], false), "/a");
    }

    #[test]
    fn things_of_many() {
        for (target, expected) in [
            ("/goods/1234", "/goods/:id"),
            ("/goods/1234.html?x", "/goods/:id.html"),
            ("/v1/u/7c9e6a41-3f0b-4d28-9b57-e18c2fd0a634/x", "/v1/u/:id/x"),
            ("/c/0123456789abcdef", "/c/:id"),
            ("/c/0123456789abcde", "/c/0123456789abcde"),
            ("/c/deadbeefdeadbeef", "/c/deadbeefdeadbeef"),
            ("/a1/b2", "/a1/b2"),
        ] {
            assert_eq!(page(target, &[], true), expected, "{target}");
        }
        assert_eq!(page("/goods/1234", &[], false), "/goods/1234");
    }

    #[test]
    fn assets() {
        for it in ["/a.css", "/a/b.JS?v=1", "/x.woff2#y", "/favicon.ico", "/a.b.png"] {
            assert!(is_asset(it.as_bytes()), "{it}");
        }
        for it in ["/", "/a", "/a.html", "/a.css/b", "/a?x=b.css", "/a.", "/a.verylongending", ""] {
            assert!(!is_asset(it.as_bytes()), "{it}");
        }
        assert!(ASSETS.is_sorted());
    }

    #[test]
    fn most_are_borrowed() {
        assert!(matches!(Pages::new(["x"], true).page(b"/a/b-1.html?y=1"), Cow::Borrowed(b"/a/b-1.html")));
    }

    proptest! {
        #[test]
        fn a_page_is_its_own_page(target in "(/|http://)?[a-c/.%?&=#0-9E4BDA:]{0,30}", ids: bool) {
            let pages = Pages::new(["a"], ids);
            let once = pages.page(target.as_bytes()).into_owned();
            if once.starts_with(b"/") {
                prop_assert_eq!(&pages.page(&once), &once);
                prop_assert!(!once.windows(2).any(|it| it == b"//" && !once.contains(&b'?')));
            }
        }

        #[test]
        fn never_panics(target in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (Pages::new(["a"], true).page(&target), is_asset(&target));
        }
    }
}
