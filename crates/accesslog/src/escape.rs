//! How writers of logs escape what would break the line.

use std::borrow::Cow;

/// Whose escapes a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// nginx, `escape=default`: `\xHH` for quotes, backslashes, control characters and all behind ASCII.
    Nginx,
    /// Apache: `\xhh`, `\"`, `\\`, `\n`, `\r`, `\t`, `\b`, `\f`, `\v`, `\a`.
    Apache,
    /// JSON, and nginx with `escape=json`: `\uHHHH`, `\"`, `\\`, `\/`, `\n`, `\r`, `\t`, `\b`, `\f`.
    Json,
    /// nginx, `escape=none`: nothing is escaped.
    None,
}

impl Escape {
    /// A field as it was before it was escaped; borrowed if nothing in it is. What is no escape stays as it is.
    pub fn unescape(self, field: &[u8]) -> Cow<'_, [u8]> {
        let first = match self {
            Self::None => None,
            _ => memchr::memchr(b'\\', field),
        };
        let Some(first) = first else { return Cow::Borrowed(field) };
        let mut text = Vec::with_capacity(field.len());
        text.extend_from_slice(&field[..first]);
        let mut rest = &field[first..];
        while let [byte, tail @ ..] = rest {
            let read = if *byte == b'\\' { self.one(tail, &mut text) } else { None };
            match read {
                Some(length) => rest = &tail[length..],
                None => {
                    text.push(*byte);
                    rest = tail;
                }
            }
        }
        Cow::Owned(text)
    }

    /// Whether a quote with a backslash before it is part of the field.
    pub(crate) fn has_quotes(self) -> bool {
        matches!(self, Self::Apache | Self::Json)
    }

    /// What a backslash and these bytes stand for, and how many of them it takes.
    fn one(self, tail: &[u8], text: &mut Vec<u8>) -> Option<usize> {
        match (self, tail) {
            (Self::Nginx | Self::Apache, [b'x', a, b, ..]) => {
                text.push(hex(&[*a, *b])? as u8);
                Some(3)
            }
            (Self::Json, [b'u', ..]) => unicode(tail, text),
            (Self::Apache | Self::Json, [letter, ..]) => {
                text.push(match (self, letter) {
                    (_, b'"' | b'\\') => *letter,
                    (_, b'n') => b'\n',
                    (_, b'r') => b'\r',
                    (_, b't') => b'\t',
                    (_, b'b') => 8,
                    (_, b'f') => 12,
                    (Self::Json, b'/') => b'/',
                    (Self::Apache, b'v') => 11,
                    (Self::Apache, b'a') => 7,
                    _ => return None,
                });
                Some(1)
            }
            _ => None,
        }
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, it| Some(sum * 16 + char::from(*it).to_digit(16)?))
}

/// `uHHHH`, or two of them for what needs two; half of a pair is the replacement character.
fn unicode(tail: &[u8], text: &mut Vec<u8>) -> Option<usize> {
    let first = hex(tail.get(1..5)?)?;
    let (code, length) = match (first, tail.get(5..11)) {
        (0xd800..0xdc00, Some([b'\\', b'u', digits @ ..])) => match hex(digits)? {
            second @ 0xdc00..0xe000 => (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 11),
            _ => (first, 5),
        },
        _ => (first, 5),
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes() {
        let text =
            |escape: Escape, field: &str| String::from_utf8_lossy(&escape.unescape(field.as_bytes())).into_owned();
        assert_eq!(text(Escape::Nginx, r"\xE4\xBD\xA0\x22\x5C"), "你\"\\");
        assert_eq!(text(Escape::Nginx, r"a\n\x4"), r"a\n\x4");
        assert_eq!(text(Escape::Apache, r#"a\"b\\c\n\xe4\xbd\xa0\q"#), "a\"b\\c\n你\\q");
        assert_eq!(text(Escape::Json, r"\u4f60\/\ud83d\ude00\ud83d\u12"), "你/😀\u{fffd}\\u12");
        assert_eq!(text(Escape::Json, r"\u4f6"), r"\u4f6");
        assert_eq!(text(Escape::None, r"\x41"), r"\x41");
        assert!(matches!(Escape::Nginx.unescape(b"plain"), Cow::Borrowed(b"plain")));
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_read_back(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let inner = &json.as_bytes()[1..json.len() - 1];
            prop_assert_eq!(Escape::Json.unescape(inner), text.as_bytes());
        }

        #[test]
        fn never_panics(field in proptest::collection::vec(any::<u8>(), 0..60), text in r#"[\\xu"nd8c0-9a-f]{0,40}"#) {
            for escape in [Escape::Nginx, Escape::Apache, Escape::Json, Escape::None] {
                prop_assert!(escape.unescape(&field).len() <= field.len());
                prop_assert!(escape.unescape(text.as_bytes()).len() <= text.len());
            }
        }
    }
}
