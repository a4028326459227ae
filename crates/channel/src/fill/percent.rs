//! Percent-encoding (RFC 3986, 2.1).

/// A value as part of a URL: all but unreserved characters and those named is encoded, with the digits A to F.
pub(super) fn percent(text: &str, kept: &str) -> String {
    encode(text, kept, |byte| format!("%{byte:02X}"))
}

/// The same with the digits a to f, as some servers write it.
pub(super) fn percent_lower(text: &str) -> String {
    encode(text, "", |byte| format!("%{byte:02x}"))
}

fn encode(text: &str, kept: &str, digits: impl Fn(u8) -> String) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ if kept.as_bytes().contains(&byte) => encoded.push(byte.into()),
            _ => encoded.push_str(&digits(byte)),
        }
    }
    encoded
}
