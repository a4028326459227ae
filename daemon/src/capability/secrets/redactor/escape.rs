//! The ways in which one character is written into another text, beside the character itself: percent-encoded (and a space as `+`),
//! escaped with a backslash as in strings of JSON and JavaScript, and as a reference of HTML.
//!
//! What is no escape is the text that it is. What is written twice in such a way is another text than the one that was meant.

/// What an escape begins with.
pub(super) const BEGIN: [u8; 4] = *b"%+\\&";
/// Bytes of the longest escape of one character: `&#x00000000;`.
pub(super) const LONGEST: usize = 12;

/// What a text begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// No escape.
    None,
    /// What becomes one with what comes next, perhaps.
    Open,
    /// An escape.
    Of {
        /// What it stands for: the first `count` of these.
        bytes: [u8; 4],
        /// How many.
        count: usize,
        /// In how many bytes it is written.
        length: usize,
    },
}

/// The escape that the text begins with.
pub(super) fn at(text: &[u8]) -> Escape {
    match text {
        [b'%', rest @ ..] => match number(rest, 2) {
            Digits::Of(byte) => byte_of(byte, 3),
            Digits::Open => Escape::Open,
            Digits::None => Escape::None,
        },
        [b'+', ..] => byte_of(b' '.into(), 1),
        [b'\\', rest @ ..] => backslash(rest),
        [b'&', rest @ ..] => reference(rest),
        _ => Escape::None,
    }
}

/// Hexadecimal digits.
enum Digits {
    None,
    Open,
    Of(u32),
}

/// The number in so many digits.
fn number(text: &[u8], count: usize) -> Digits {
    let digits = &text[..text.len().min(count)];
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Digits::None;
    }
    if digits.len() < count {
        return Digits::Open;
    }
    Digits::Of(digits.iter().fold(0, |sum, digit| sum * 16 + char::from(*digit).to_digit(16).unwrap_or(0)))
}

fn byte_of(byte: u32, length: usize) -> Escape {
    let byte = u8::try_from(byte).unwrap_or(0);
    Escape::Of { bytes: [byte, 0, 0, 0], count: 1, length }
}

fn character(number: u32, length: usize) -> Escape {
    let Some(character) = char::from_u32(number) else { return Escape::None };
    let mut bytes = [0; 4];
    let count = character.encode_utf8(&mut bytes).len();
    Escape::Of { bytes, count, length }
}

/// Behind a backslash.
fn backslash(rest: &[u8]) -> Escape {
    match rest {
        [] => Escape::Open,
        [b'u' | b'U', rest @ ..] => utf16(rest),
        [b'x' | b'X', rest @ ..] => match number(rest, 2) {
            Digits::Of(byte) => byte_of(byte, 4),
            Digits::Open => Escape::Open,
            Digits::None => Escape::None,
        },
        [b'b', ..] => byte_of(8, 2),
        [b't', ..] => byte_of(9, 2),
        [b'n', ..] => byte_of(10, 2),
        [b'f', ..] => byte_of(12, 2),
        [b'r', ..] => byte_of(13, 2),
        [other, ..] if other.is_ascii_punctuation() => byte_of((*other).into(), 2),
        _ => Escape::None,
    }
}

/// Behind `\u`: one unit, or two of which each has its own.
fn utf16(rest: &[u8]) -> Escape {
    let high = match number(rest, 4) {
        Digits::Of(unit @ 0xD800..0xDC00) => unit,
        Digits::Of(unit) => return character(unit, 6),
        Digits::Open => return Escape::Open,
        Digits::None => return Escape::None,
    };
    let low = match &rest[4..] {
        [] | [b'\\'] => return Escape::Open,
        [b'\\', b'u' | b'U', rest @ ..] => number(rest, 4),
        _ => return Escape::None,
    };
    match low {
        Digits::Of(low @ 0xDC00..0xE000) => character(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00), 12),
        Digits::Open => Escape::Open,
        Digits::Of(_) | Digits::None => Escape::None,
    }
}

/// Behind `&`.
fn reference(rest: &[u8]) -> Escape {
    /// Those of the characters of ASCII, but for two that HTML has further names of.
    const NAMES: [(&str, u8); 34] = [
        ("amp", b'&'),
        ("lt", b'<'),
        ("gt", b'>'),
        ("quot", b'"'),
        ("apos", b'\''),
        ("plus", b'+'),
        ("equals", b'='),
        ("sol", b'/'),
        ("Tab", b'\t'),
        ("NewLine", b'\n'),
        ("excl", b'!'),
        ("num", b'#'),
        ("dollar", b'$'),
        ("percnt", b'%'),
        ("lpar", b'('),
        ("rpar", b')'),
        ("ast", b'*'),
        ("comma", b','),
        ("period", b'.'),
        ("colon", b':'),
        ("semi", b';'),
        ("quest", b'?'),
        ("commat", b'@'),
        ("lsqb", b'['),
        ("lbrack", b'['),
        ("bsol", b'\\'),
        ("rsqb", b']'),
        ("rbrack", b']'),
        ("Hat", b'^'),
        ("lowbar", b'_'),
        ("grave", b'`'),
        ("lcub", b'{'),
        ("verbar", b'|'),
        ("rcub", b'}'),
    ];
    let looked = &rest[..rest.len().min(LONGEST - 1)];
    let is_in_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
    let name = match looked.iter().position(|byte| !is_in_name(byte)) {
        Some(end) if looked[end] == b';' => &looked[..end],
        None if looked.len() < LONGEST - 1 => return Escape::Open,
        _ => return Escape::None,
    };
    let length = name.len() + 2;
    let digits = |digits: &[u8], radix| u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok();
    let number = match name {
        [b'#', b'x' | b'X', rest @ ..] => digits(rest, 16),
        [b'#', rest @ ..] => digits(rest, 10),
        _ => NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, byte)| u32::from(*byte)),
    };
    number.map_or(Escape::None, |number| character(number, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, usize)> {
        match at(text.as_bytes()) {
            Escape::Of { bytes, count, length } => {
                Some((String::from_utf8_lossy(&bytes[..count]).into_owned(), length))
            }
            Escape::None | Escape::Open => None,
        }
    }

    #[test]
    fn characters_are_read_in_each_of_their_ways() {
        for (text, character, length) in [
            ("%3D", "=", 3),
            ("%3d=", "=", 3),
            ("+", " ", 1),
            (r"\u003d", "=", 6),
            (r"\u003D7", "=", 6),
            (r"\x3d", "=", 4),
            (r"\n", "\n", 2),
            (r"\/", "/", 2),
            (r"\\u003d", "\\", 2),
            (r"\u00fc", "ü", 6),
            (r"\uD83D\uDE00", "😀", 12),
            ("&#61;", "=", 5),
            ("&#x3D;", "=", 6),
            ("&#x0000003d;", "=", 12),
            ("&#128512;", "😀", 9),
            ("&amp;lt;", "&", 5),
            ("&NewLine;", "\n", 9),
        ] {
            assert_eq!(read(text), Some((character.to_owned(), length)), "{text}");
        }
        for text in [
            "",
            "a",
            "%3",
            "%3x",
            "%zz",
            r"\w",
            r"\u00g0",
            r"\ud83d\n",
            r"\ud83dx",
            "&",
            "& ",
            "&nope;",
            "&#;",
            "&#x00000003d;",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    /// What was cut anywhere is open, and so is no beginning of a text that cannot become an escape.
    #[test]
    fn what_is_cut_is_open() {
        for text in ["%3D", r"\u003d", r"\uD83D\uDE00", r"\x3d", r"\n", "&#x0000003d;", "&amp;"] {
            for cut in 1..text.len() {
                assert_eq!(at(&text.as_bytes()[..cut]), Escape::Open, "{text} {cut}");
            }
        }
        for text in ["%g", r"\uz", r"\ud83d\ux", "&a b", "&#x00000003d", "&thisisnoname"] {
            assert_eq!(at(text.as_bytes()), Escape::None, "{text}");
        }
    }
}
