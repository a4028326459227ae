//! Takes values out of bytes that came back.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::percent::{percent, percent_lower};
use crate::request::in_json;

/// Bytes of the shortest value. Shorter ones are found everywhere by chance; no provider's secret is.
pub(super) const SHORTEST: usize = 4;

/// The bytes with each value, in whatever of these writings, replaced by what it is called.
pub(super) fn conceal<'a>(bytes: &[u8], values: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut writings: Vec<(Vec<u8>, &str)> = Vec::new();
    for (name, value) in values.filter(|(_, it)| it.len() >= SHORTEST) {
        let encoded = percent(value, "");
        let mut all = vec![value.to_owned(), in_json(value), in_json(value).replace('/', "\\/"), percent(value, "/")];
        all.extend([percent_lower(value), encoded.replace("%20", "+"), encoded]);
        all.extend(in_base64(value.as_bytes()));
        writings.extend(all.into_iter().filter(|it| it.len() >= SHORTEST).map(|it| (it.into_bytes(), name)));
    }
    // The longest first, so that of a value nothing stays that another one is a part of.
    writings.sort_by_key(|it| std::cmp::Reverse(it.0.len()));
    writings.dedup_by(|a, b| a.0 == b.0);
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match writings.iter().find(|(it, _)| bytes[at..].starts_with(it)) {
            Some((writing, name)) => {
                out.extend_from_slice(name.as_bytes());
                at += writing.len();
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// What base64 has of a value wherever it stands in what is encoded: at each of three offsets, the characters that depend on the
/// value alone.
fn in_base64(value: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for before in 0..3 {
        let mut padded = vec![0; before];
        padded.extend_from_slice(value);
        // Characters that also have bits of what stands in front or behind.
        let first = (before * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            if let Some(sure) = engine.encode(&padded).get(first..last) {
                all.push(sure.to_owned());
            }
        }
    }
    all
}
