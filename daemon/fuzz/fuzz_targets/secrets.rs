//! No value of a secret is in what comes out of an answer, in whatever pieces it comes; and a placeholder is filled or left as it is.
//!
//! Two values, a line each; then the answer, in which the bytes 1 and 2 stand for them. Its own bytes say how it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/capability/secrets"]
#[expect(dead_code, reason = "the daemon's modules, of which the target uses a part")]
mod secrets {
    mod redactor;
    mod template;

    use std::sync::Arc;

    pub(super) use self::redactor::repeats_itself;
    use self::redactor::{Redactor, Stream};
    use self::template::Writing;

    pub(super) fn taken_out(values: [&str; 2], answer: &[u8]) {
        let Some(redactor) = Redactor::new(["one", "two"].into_iter().zip(values)) else { return };
        let whole = redactor.bytes(answer);
        assert!(!redactor.is_in(&whole), "{values:?} {}", String::from_utf8_lossy(&whole));
        let (mut stream, mut rest, mut clean) = (Stream::new(Arc::new(redactor)), answer, Vec::new());
        while let Some(first) = rest.first() {
            let (piece, more) = rest.split_at(rest.len().min(1 + usize::from(*first) % 13));
            clean.extend(stream.push(piece));
            rest = more;
        }
        clean.extend(stream.finish());
        assert_eq!(clean, whole);
    }

    pub(super) fn filled_in(value: &str, text: &[u8]) {
        for writing in [Writing::Plain, Writing::Percent, Writing::Json] {
            let filled = template::fill(text, writing, |found| match found.name {
                "one" => Ok(std::borrow::Cow::Borrowed(value)),
                _ => Err(()),
            });
            let found = template::find(text, 0, writing);
            assert!(found.as_ref().is_none_or(|it| it.start < it.end && it.end <= text.len()));
            assert_eq!(matches!(filled, Ok(None)), found.is_none());
        }
    }
}

mod config {
    pub(crate) mod secrets {
        /// As in the daemon.
        pub(crate) fn is_in_name(byte: u8) -> bool {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut value = || std::str::from_utf8(parts.next()?).ok();
    let (Some(one), Some(two)) = (value(), value()) else { return };
    let text = parts.next().unwrap_or_default();
    // Others are refused where they are read; braces are of the placeholders that come instead.
    let may_be = |value: &str| value.len() >= 8 && !secrets::repeats_itself(value) && !value.contains(['{', '}']);
    if may_be(one) && may_be(two) {
        let answer: Vec<u8> = text
            .iter()
            .flat_map(|byte| match byte {
                1 => one.as_bytes(),
                2 => two.as_bytes(),
                other => std::slice::from_ref(other),
            })
            .copied()
            .collect();
        secrets::taken_out([one, two], &answer);
    }
    secrets::filled_in(one, text);
});
