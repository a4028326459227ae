//! Passwords in URLs and in the data source names of Go's driver for MySQL, and signatures of Azure.

use crate::name::Telling;
use crate::rule::Id;
use crate::value::Value;
use crate::view::{Found, View};

/// Longest account and password in a URL.
const USERINFO: usize = 256;

/// Schemes of services that people look at, not programs.
const WEB: &[&[u8]] =
    &[b"http", b"https", b"ftp", b"ftps", b"sftp", b"ssh", b"git", b"svn", b"ws", b"wss", b"socks5", b"webdav", b"dav"];

/// A byte that ends a URL in whatever text it stands.
fn ends(byte: u8) -> bool {
    byte <= b' ' || byte >= 0x7f || matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\')
}

fn password<'a>(user: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    let value = Value { text, is_quoted: true, telling: Telling::Password, is_doubtful: false };
    (user != text && value.is_plausible()).then_some(text)
}

/// `scheme://user:password@host`; the anchor is the last letter of the scheme and what separates it.
pub(crate) fn find(view: &View<'_>) -> Option<Found> {
    let rest = &view.rest()[..view.rest().len().min(USERINFO)];
    let authority =
        rest.iter().position(|it| ends(*it) || matches!(it, b'/' | b'?' | b'#')).map_or(rest, |end| &rest[..end]);
    let at = memchr::memrchr(b'@', authority)?;
    let colon = memchr::memchr(b':', &authority[..at])?;
    let host = authority.get(at + 1)?;
    let scheme = view.data[..=view.start].rsplit(|it| !it.is_ascii_alphanumeric() && *it != b'+').next()?;
    if !host.is_ascii_alphanumeric() && !matches!(host, b'[' | b'$' | b'{' | b'_') {
        return None;
    }
    password(&authority[..colon], &authority[colon + 1..at])?;
    let is_web = WEB.iter().any(|it| scheme.eq_ignore_ascii_case(it));
    let id = if is_web { Id::BasicAuth } else { Id::DatabaseUrl };
    Some(Found { id, start: view.end + colon + 1, end: view.end + at })
}

/// `user:password@tcp(host:port)/database`; the anchor is `@tcp(`. The format is that of <https://github.com/go-sql-driver/mysql>.
pub(crate) fn find_dsn(view: &View<'_>) -> Option<Found> {
    let from = view.start.saturating_sub(USERINFO);
    let before = &view.data[from..view.start];
    let start = before.iter().rposition(|it| ends(*it) || *it == b'=').map_or(0, |it| it + 1);
    let userinfo = &before[start..];
    let colon = memchr::memchr(b':', userinfo)?;
    password(&userinfo[..colon], &userinfo[colon + 1..])?;
    Some(Found { id: Id::DatabaseUrl, start: from + start + colon + 1, end: view.start })
}

/// The signature of a shared access signature: base64 of 32 bytes, which may be percent-encoded, beside its version `sv`.
pub(crate) fn find_sas(view: &View<'_>) -> Option<Found> {
    let is_part = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'%' | b'+' | b'/' | b'=' | b'-' | b'_');
    let length = view.rest().iter().take(100).take_while(|it| is_part(it)).count();
    let beside = view.is_near(view.start, &["sv=20"]);
    (beside && (43..=90).contains(&length)).then_some(Found {
        id: Id::AzureSas,
        start: view.end,
        end: view.end + length,
    })
}
