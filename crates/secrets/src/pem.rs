//! Private keys: PEM (RFC 7468), OpenSSH, PGP (RFC 9580, armoured) and PuTTY.

use memchr::memmem;

use crate::rule::Id;
use crate::view::{Found, View};

/// Base64 characters without which a body is none: a key of Ed25519 in PKCS #8 has 64.
const LEAST: usize = 60;

/// The base64 of a key, without line ends and those that are escaped in a string.
pub(crate) fn body(text: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => body.push(*byte),
            _ => (),
        }
    }
    body
}

/// The anchor is `-----BEGIN `.
pub(crate) fn find(view: &View<'_>) -> Option<Found> {
    let rest = &view.data[view.start..];
    let label = &rest[11..rest.len().min(60)];
    let label = &label[..memmem::find(label, b"-----")?];
    memmem::find(label, b"PRIVATE KEY")?;
    let text = &rest[11 + label.len() + 5..];
    // A body has no dash; the headers of encrypted ones do.
    let has_headers = memmem::find(&text[..text.len().min(400)], b"DEK-Info").is_some();
    let length = match has_headers {
        true => memmem::find(text, b"-----END")?,
        false => memchr::memchr(b'-', text).unwrap_or(text.len()),
    };
    // In the source of a parser the label is followed by something else.
    let length = text[..length].iter().position(|it| !is_body(*it, has_headers)).unwrap_or(length);
    let body = body(&text[..length]);
    let stand_in = body.windows(16).take(64).any(|it| it.iter().all(|byte| *byte == it[0]));
    if body.len() < LEAST || stand_in {
        return None;
    }
    let end = rest.len() - text.len() + length;
    let footer = memmem::find(&rest[end..rest.len().min(end + 60)], b"-----END").and_then(|at| {
        memmem::find(&rest[end + at + 8..rest.len().min(end + at + 60)], b"-----").map(|it| end + at + 13 + it)
    });
    let id = if view.is_near(view.start, &["service_account"]) { Id::GoogleAccount } else { Id::PrivateKey };
    Some(Found { id, start: view.start, end: view.start + footer.unwrap_or(end) })
}

fn is_body(byte: u8, has_headers: bool) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'+' | b'/' | b'=' | b'\n' | b'\r' | b' ' | b'\t' | b'\\' | b'"' | b'\'' | b',')
        || has_headers && matches!(byte, b':' | b'-' | b'(' | b')' | b'.')
        || matches!(byte, b':' | b'.' | b'(' | b')')
}

/// The anchor is `Private-Lines: `, which a file of PuTTY has after the public part.
pub(crate) fn find_putty(view: &View<'_>) -> Option<Found> {
    let rest = view.rest();
    let digits = rest.iter().take(4).take_while(|it| it.is_ascii_digit()).count();
    let length = memmem::find(rest, b"Private-")?;
    let text = &rest[digits..length];
    (digits > 0 && body(text).len() >= LEAST - 16).then_some(Found {
        id: Id::PrivateKey,
        start: view.end + digits,
        end: view.end + length,
    })
}
