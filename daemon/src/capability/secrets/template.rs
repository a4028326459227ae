//! Placeholders of secrets, `{{secret:NAME}}` and `{{basic:NAME}}`, and what comes in their place.
//!
//! What is written around a value decides how it has to be written itself ([`Writing`]). In an address a placeholder may be
//! percent-encoded, whole or in part: whatever a library makes of it on the way.

use std::borrow::Cow;

use crate::config::secrets::is_in_name;

/// How a value is written where its placeholder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// As it is.
    Plain,
    /// Percent-encoded: in addresses, and in bodies of forms.
    Percent,
    /// As a part of a string of JSON.
    Json,
}

/// What of a secret a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Its value.
    Secret,
    /// The base64 of it, for `Authorization: Basic`.
    Basic,
}

/// A placeholder that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placeholder<'t> {
    /// What it stands for.
    pub(super) form: Form,
    /// Where it begins.
    pub(super) start: usize,
    /// Behind its end.
    pub(super) end: usize,
    /// The name in it.
    pub(super) name: &'t str,
}

/// What guests write for the secret `name`.
pub(super) fn placeholder(name: &str) -> String {
    format!("{{{{secret:{name}}}}}")
}

/// The first placeholder at `from` or behind it.
pub(super) fn find(text: &[u8], from: usize, writing: Writing) -> Option<Placeholder<'_>> {
    let is_start = |byte: u8| byte == b'{' || (byte == b'%' && writing == Writing::Percent);
    let mut at = from;
    loop {
        at += text.get(at..)?.iter().position(|byte| is_start(*byte))?;
        if let Some(found) = at_start(text, at, writing == Writing::Percent) {
            return Some(found);
        }
        at += 1;
    }
}

fn at_start(text: &[u8], start: usize, encoded: bool) -> Option<Placeholder<'_>> {
    let (form, at) = [(Form::Secret, "{{secret:"), (Form::Basic, "{{basic:")].iter().find_map(|(form, begin)| {
        let end = begin.bytes().try_fold(start, |at, byte| skip(text, at, byte, encoded))?;
        Some((*form, end))
    })?;
    let length = text[at..].iter().take_while(|byte| is_in_name(**byte)).count();
    let name = std::str::from_utf8(&text[at..at + length]).ok().filter(|name| !name.is_empty())?;
    let end = skip(text, skip(text, at + length, b'}', encoded)?, b'}', encoded)?;
    Some(Placeholder { form, start, end, name })
}

/// Behind the byte at `at`, which has to be this one.
fn skip(text: &[u8], at: usize, byte: u8, encoded: bool) -> Option<usize> {
    match *text.get(at)? {
        found if found == byte => Some(at + 1),
        b'%' if encoded => {
            let digits = std::str::from_utf8(text.get(at + 1..at + 3)?).ok()?;
            (u8::from_str_radix(digits, 16) == Ok(byte)).then_some(at + 3)
        }
        _ => None,
    }
}

/// The text with what `value` gives for each placeholder; none when there is no placeholder.
///
/// # Errors
/// What `value` fails with.
pub(super) fn fill<'v, E>(
    text: &[u8],
    writing: Writing,
    mut value: impl FnMut(&Placeholder<'_>) -> Result<Cow<'v, str>, E>,
) -> Result<Option<Vec<u8>>, E> {
    let mut filled = Vec::new();
    let mut done = 0;
    while let Some(found) = find(text, done, writing) {
        filled.extend_from_slice(&text[done..found.start]);
        let value = value(&found)?;
        match writing {
            Writing::Plain => filled.extend_from_slice(value.as_bytes()),
            Writing::Percent => filled.extend(percent(&value)),
            Writing::Json => filled.extend(json(&value)),
        }
        done = found.end;
    }
    if done == 0 {
        return Ok(None);
    }
    filled.extend_from_slice(&text[done..]);
    Ok(Some(filled))
}

/// A character of an address that never means anything but itself (RFC 3986, 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Percent-encoded, but for what needs not be.
fn percent(value: &str) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Vec::with_capacity(value.len() * 3);
    for byte in value.bytes() {
        if is_unreserved(byte) {
            encoded.push(byte);
        } else {
            encoded.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
    encoded
}

/// As a part of a string of JSON, without the quotes around it.
fn json(value: &str) -> Vec<u8> {
    let quoted = serde_json::Value::from(value).to_string();
    quoted.as_bytes()[1..quoted.len() - 1].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str, writing: Writing) -> Vec<String> {
        let (mut at, mut names) = (0, Vec::new());
        while let Some(found) = find(text.as_bytes(), at, writing) {
            names.push(found.name.to_owned());
            at = found.end;
        }
        names
    }

    #[test]
    fn placeholders_are_found() {
        for (text, writing, found) in [
            ("", Writing::Plain, &[] as &[&str]),
            ("{{secret:a}}", Writing::Plain, &["a"]),
            ("x{{secret:a-b_c.9}}y{{secret:B}}", Writing::Plain, &["a-b_c.9", "B"]),
            ("{{{secret:a}}}", Writing::Plain, &["a"]),
            ("{{secret:{{secret:a}}}}", Writing::Plain, &["a"]),
            ("{{secret:a b}} {{secret:}} {{secret:a} {secret:a}} {{secret:a", Writing::Plain, &[]),
            ("{{Secret:a}} {{ secret:a }}", Writing::Plain, &[]),
            ("%7B%7Bsecret:a%7D%7D", Writing::Plain, &[]),
            ("%7B%7Bsecret:a%7D%7D", Writing::Percent, &["a"]),
            ("/%7b{secret%3Aa}%7d?x={{secret:b}}", Writing::Percent, &["a", "b"]),
            ("%7B%7B%73ecret:a%7D%7D%7", Writing::Percent, &["a"]),
            ("%7", Writing::Percent, &[]),
            ("{{secret:ü}}", Writing::Plain, &[]),
            ("{{basic:a}} %7B%7bbasic:b}}", Writing::Percent, &["a", "b"]),
            ("{{basi:a}} {{basic a}}", Writing::Plain, &[]),
        ] {
            assert_eq!(names(text, writing), found, "{text}");
        }
    }

    #[test]
    fn values_are_written_as_their_place_wants_it() {
        let value = "pä/ss\"\\ &=\n{{secret:x}}";
        let fill = |text: &str, writing| {
            let filled = fill(text.as_bytes(), writing, |_| Ok::<_, ()>(value.into())).unwrap();
            filled.map(|filled| String::from_utf8(filled).unwrap())
        };
        assert_eq!(fill("nothing", Writing::Plain), None);
        // What a value holds is not filled in again.
        assert_eq!(fill("<{{secret:a}}>", Writing::Plain).unwrap(), format!("<{value}>"));
        let encoded = fill("/{{secret:a}}/x", Writing::Percent).unwrap();
        assert_eq!(encoded, "/p%C3%A4%2Fss%22%5C%20%26%3D%0A%7B%7Bsecret%3Ax%7D%7D/x");
        let body = fill(r#"{"a": "<{{secret:a}}>", "b": 1}"#, Writing::Json).unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, serde_json::json!({"a": format!("<{value}>"), "b": 1}));
        let failed = |found: &Placeholder<'_>| Err((found.form, found.name.to_owned()));
        assert_eq!(super::fill(b"{{secret:a}}", Writing::Plain, failed), Err((Form::Secret, "a".to_owned())));
        assert_eq!(super::fill(b"{{basic:a}}", Writing::Plain, failed), Err((Form::Basic, "a".to_owned())));
    }
}
