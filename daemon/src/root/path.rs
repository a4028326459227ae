//! Paths as text. A path on Linux is bytes; where they are not UTF-8 they are written as `\xNN`, and a backslash as
//! `\\`, so that every path has a text and every text stands for one path.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::root::RootError;

/// The text of a path.
pub fn escape(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\\') => text.to_owned(),
        _ => escape_slowly(bytes),
    }
}

/// As [`escape`], taking over the buffer where nothing is to be escaped.
pub fn escape_owned(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\\') => text,
        Ok(text) => escape_slowly(text.as_bytes()),
        Err(error) => escape_slowly(error.as_bytes()),
    }
}

fn escape_slowly(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str(r"\\"),
                other => text.push(other),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The bytes of a text that [`escape`] made.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        rest = if let Some(after) = escaped.strip_prefix('\\') {
            bytes.push(b'\\');
            after
        } else {
            let digits = escaped.strip_prefix('x').and_then(|hex| hex.get(..2));
            let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(byte.ok_or(r"a backslash is written as `\\`, a byte as `\xNN`")?);
            &escaped[3..]
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// The path that a guest means, relative to a root: empty for the root itself, without `.` and `..`.
///
/// # Errors
///
/// [`RootError::Escape`] for an absolute path and for any `..`: a path that needs one can be written without it.
pub fn parse(text: &str) -> Result<PathBuf, RootError> {
    let invalid = |reason: &str| RootError::Invalid { path: text.to_owned(), reason: reason.to_owned() };
    let bytes = unescape(text).map_err(|reason| invalid(&reason))?;
    if bytes.contains(&0) {
        return Err(invalid("a path holds no zero byte"));
    }
    if bytes.starts_with(b"/") {
        return Err(RootError::Escape(text.to_owned()));
    }
    let mut path = Vec::with_capacity(bytes.len());
    for name in bytes.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return Err(RootError::Escape(text.to_owned())),
            name => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
            }
        }
    }
    Ok(OsString::from_vec(path).into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_path_has_one_text(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = escape(&bytes);
            prop_assert_eq!(&escape_owned(bytes.clone()), &text);
            prop_assert_eq!(unescape(&text), Ok(bytes));
        }

        #[test]
        fn no_text_makes_a_path_that_leaves(text in r"(\.|/|\\|x2[ef]|\.\.|[a-c]){0,12}") {
            if let Ok(path) = parse(&text) {
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(parse(&escape(path.as_os_str().as_bytes())).unwrap(), path);
            }
        }
    }

    #[test]
    fn escapes_are_refused_however_they_are_written() {
        for text in ["..", "../a", "a/../../b", "a/..", "/etc/passwd", r"\x2e\x2e/a", r"a\x2f..\x2fb", r"\x2fetc", "//"]
        {
            assert!(matches!(parse(text), Err(RootError::Escape(_))), "{text}");
        }
        for text in [r"\", r"a\n", r"\x", r"\x0", r"\xg0", r"\x+1", r"a\x00b", r"\xé"] {
            assert!(matches!(parse(text), Err(RootError::Invalid { .. })), "{text}");
        }
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        assert_eq!(parse("").unwrap(), Path::new(""));
        assert_eq!(parse("./").unwrap(), Path::new(""));
        assert_eq!(parse("a/./b//c/").unwrap(), Path::new("a/b/c"));
        assert_eq!(parse(r"...").unwrap(), Path::new("..."));
    }
}
