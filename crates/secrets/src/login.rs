//! Logins in places of their own: command lines, `.pgpass`, headers of HTTP, the configuration of Docker, and SQL.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use crate::class::Class;
use crate::name::Telling;
use crate::rule::Id;
use crate::syntax::Syntax;
use crate::value::Value;
use crate::view::{Found, View};

/// Bytes of a command that are looked at.
const COMMAND: usize = 400;

fn plausible(id: Id, data: &[u8], start: usize, end: usize, is_quoted: bool, telling: Telling) -> Option<Found> {
    let value = Value { text: data.get(start..end)?, is_quoted, telling, is_doubtful: false };
    value.is_plausible().then_some(Found { id, start, end })
}

/// An argument that begins at `at`, with or without quotes.
pub(crate) fn argument(data: &[u8], at: usize) -> (usize, usize, bool) {
    let Some(first) = data.get(at) else { return (at, at, false) };
    let rest = &data[at..data.len().min(at + COMMAND)];
    if matches!(first, b'"' | b'\'') {
        let length = rest[1..].iter().position(|it| it == first || *it == b'\n');
        return (at + 1, at + 1 + length.unwrap_or(0), true);
    }
    let length = rest.iter().position(|it| {
        it.is_ascii_whitespace() || matches!(it, b'"' | b'\'' | b'`' | b'|' | b'>' | b'<' | b';' | b')')
    });
    (at, at + length.unwrap_or(rest.len()), false)
}

/// A password behind a flag of the command that the anchor names.
pub(crate) fn find_flag(view: &View<'_>, flag: &str, is_account: bool) -> Option<Found> {
    if view.file.syntax == Syntax::Code || view.file.syntax == Syntax::Generated {
        return None;
    }
    let line = view.line_after(view.end, COMMAND);
    // `mysqldump`, but not `mysql:` or `mysql_native_password`.
    let word = line.iter().take_while(|it| it.is_ascii_lowercase()).count();
    if line.get(word) != Some(&b' ') {
        return None;
    }
    let at = view.end + memmem::find(line, flag.as_bytes())? + flag.len();
    let (start, end, is_quoted) = argument(&view.data[..view.end + line.len()], at);
    let start = match is_account {
        true => start + 1 + memchr::memchr(b':', view.data.get(start..end)?)?,
        false => start,
    };
    plausible(Id::ShellPassword, view.data, start, end, is_quoted, Telling::Password)
}

/// `host:port:database:user:password`, one a line; the anchor is the port.
pub(crate) fn find_pgpass(view: &View<'_>) -> Option<Found> {
    if !view.file.ends_with(&["pgpass", "pgpass.conf"]) {
        return None;
    }
    let line = view.line_after(view.end, COMMAND);
    let mut colons = line.iter().enumerate().filter(|(_, it)| **it == b':');
    let start = view.end + colons.nth(1)?.0 + 1;
    plausible(Id::Pgpass, view.data, start, view.end + line.len(), false, Telling::Password)
}

/// The number of a Telegram bot, a colon, and 35 characters that begin with AA; the anchor is from the colon on.
pub(crate) fn find_telegram(view: &View<'_>) -> Option<Found> {
    let digits = view.data[..view.start].iter().rev().take(12).take_while(|it| it.is_ascii_digit()).count();
    let length = Class::Url64.run(&view.data[view.start + 1..], 40);
    let is_bot = (8..=10).contains(&digits) && length == 35 && view.data[view.start..].starts_with(b":AA");
    is_bot.then_some(Found { id: Id::TelegramBot, start: view.start - digits, end: view.start + 1 + length })
}

/// `Authorization: Bearer …`; the anchor is `bearer `.
pub(crate) fn find_bearer(view: &View<'_>) -> Option<Found> {
    let length = Class::Dotted.run(view.rest(), 200);
    if !(20..=200).contains(&length) || view.rest().starts_with(b"eyJ") {
        return None;
    }
    plausible(Id::Token, view.data, view.end, view.end + length, true, Telling::Token)
}

/// `Authorization: Basic …`, and the logins of Docker: base64 of account, colon and password.
pub(crate) fn find_basic(view: &View<'_>, id: Id) -> Option<Found> {
    let skipped =
        view.rest().iter().take(16).take_while(|it| matches!(it, b' ' | b'"' | b':' | b'\n' | b'\r' | b'\t')).count();
    let start = view.end + skipped;
    let length = Class::Base64.run(&view.data[start..], 400);
    let text = &view.data[start..start + length];
    let decoded = STANDARD.decode(text).ok()?;
    let colon = memchr::memchr(b':', &decoded)?;
    let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
    let value = Value { text: password, is_quoted: true, telling: Telling::Password, is_doubtful: false };
    let is_text = user.iter().all(|it| it.is_ascii_graphic()) && !user.is_empty();
    (length >= 12 && is_text && value.is_plausible()).then_some(Found { id, start, end: start + length })
}

/// `IDENTIFIED BY '…'` of MySQL and Oracle; the anchor is that.
pub(crate) fn find_identified(view: &View<'_>) -> Option<Found> {
    let spaces = view.rest().iter().take(8).take_while(|it| **it == b' ').count();
    let (start, end, is_quoted) = argument(view.data, view.end + spaces);
    if !is_quoted {
        return None;
    }
    plausible(Id::SqlPassword, view.data, start, end, true, Telling::Password)
}
