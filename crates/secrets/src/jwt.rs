//! JSON web tokens (RFC 7519): a header that is JSON and names its algorithm, claims, and a signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;

use crate::class::Class;
use crate::rule::Id;
use crate::view::{Found, View};

/// Longest token that is looked at, in bytes.
const LONGEST: usize = 4096;
/// Seconds: what lives no longer has expired before anyone reads about it.
const SHORT_LIVED: u64 = 3600;

/// The anchor is the beginning of the base64 of `{"`.
pub(crate) fn find(view: &View<'_>) -> Option<Found> {
    if view.before(view.start).is_some_and(|it| Class::Dotted.holds(it)) {
        return None;
    }
    let rest = &view.data[view.start..];
    let text = &rest[..Class::Dotted.run(rest, LONGEST).min(LONGEST)];
    let mut parts = text.split(|it| *it == b'.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let end = header.len() + claims.len() + signature.len() + 2;
    let header = URL_SAFE_NO_PAD.decode(header).ok()?;
    memmem::find(&header, b"\"alg\"")?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let is_object = |it: &[u8]| it.first() == Some(&b'{') && it.last() == Some(&b'}');
    if !is_object(&header) || !is_object(&claims) || signature.len() < 20 {
        return None;
    }
    // The token that the documents of all libraries show.
    let is_known = memmem::find(&claims, b"\"1234567890\"").is_some() || memmem::find(&claims, b"John Doe").is_some();
    let is_short = match (number(&claims, b"\"exp\""), number(&claims, b"\"iat\"")) {
        (Some(exp), Some(iat)) => exp.saturating_sub(iat) <= SHORT_LIVED,
        _ => false,
    };
    (!is_known && !is_short).then_some(Found { id: Id::Jwt, start: view.start, end: view.start + end })
}

/// The number of a claim.
fn number(claims: &[u8], name: &[u8]) -> Option<u64> {
    let at = memmem::find(claims, name)? + name.len();
    let rest = claims[at..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let digits = rest.iter().take(18).take_while(|it| it.is_ascii_digit());
    digits.map(|it| u64::from(it - b'0')).fold(None, |sum, digit| Some(sum.unwrap_or(0) * 10 + digit))
}
