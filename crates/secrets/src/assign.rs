//! A name that tells, and the value beside it: assignments of programming languages, settings, JSON, XML, arguments.

mod read;

use crate::issuer;
use crate::login::argument;
use crate::name::{self, Telling, flatten, telling};
use crate::rule::Id;
use crate::syntax::Syntax;
use crate::value::{LONGEST, Value};
use crate::view::{Found, View};
use read::{Between, between};

/// Where a name is, around its anchor. None when it is too long to be one.
pub(crate) fn name_around(view: &View<'_>) -> Option<(usize, usize)> {
    let from = view.start.saturating_sub(name::LONGEST);
    let before = view.data[from..view.start].iter().rev().take_while(|it| name::is_part(**it)).count();
    let after = view.rest().iter().take(name::LONGEST).take_while(|it| name::is_part(**it)).count();
    let name = &view.data[view.start - before..view.end + after];
    let dots = name.iter().rev().take_while(|it| matches!(it, b'.' | b'-')).count();
    // Dashes before an argument, and what separates a table of TOML.
    let dashes = name.iter().take_while(|it| matches!(it, b'.' | b'-')).count();
    (name.len() < name::LONGEST && dots + dashes < name.len())
        .then_some((view.start - before + dashes, view.end + after - dots))
}

/// The anchor is a part of the name.
pub(crate) fn find(view: &View<'_>, start: usize, end: usize) -> Option<Found> {
    if view.file.syntax == Syntax::Generated && !view.file.ends_with(&[".ipynb"]) {
        return None;
    }
    let flat = flatten(&view.data[start..end]);
    let telling = telling(&flat).or_else(|| (flat == "auth").then_some(Telling::Password))?;
    find_value(view, start, end, &flat, telling)
}

/// The anchor is the name, of letters that are none of ASCII.
pub(crate) fn find_chinese(view: &View<'_>, telling: Telling) -> Option<Found> {
    find_value(view, view.start, view.end, "", telling)
}

/// The anchor is `key`, which tells nothing alone, but is what PHP code for WeChat Pay calls its key.
pub(crate) fn find_bare_key(view: &View<'_>) -> Option<Found> {
    let is_beside = view.is_near(view.start, &["mch_id", "mchid", "merchant_id"]);
    let found = is_beside.then(|| find_value(view, view.start, view.end, "mchkey", Telling::Key))??;
    (found.end - found.start == 32).then_some(found)
}

fn find_value(view: &View<'_>, start: usize, end: usize, flat: &str, telling: Telling) -> Option<Found> {
    let (from, between) = between(view, start, end, telling)?;
    if flat == "auth" && between != Between::Call {
        return None;
    }
    let (from, to, is_quoted) = match between {
        Between::Element => {
            let length = memchr::memchr2(b'<', b'\n', &view.data[from..view.data.len().min(from + LONGEST)])?;
            view.data[from + length..].starts_with(b"</").then_some(())?;
            let text = &view.data[from..from + length];
            (from, from + text.trim_ascii_end().len(), false)
        }
        _ => value(view, from, start)?,
    };
    // What stands bare in code is no literal, apart from parts of a string: `Server=db;Password=…`.
    if !is_quoted && view.file.syntax == Syntax::Code && between != Between::Element {
        let joined = view.data[end] == b'=' && from == end + 1;
        let opened = view.before(start).is_some_and(|it| matches!(it, b';' | b'?' | b'&' | b'"' | b'\''));
        if !joined || !opened {
            return None;
        }
    }
    let text = view.data.get(from..to)?;
    let is_doubtful = view.file.syntax == Syntax::Labels || is_minified(view);
    let value = Value { text, is_quoted, telling, is_doubtful };
    let is_plausible = value.is_plausible();
    if !is_plausible && !issuer::may_accept(text) {
        return None;
    }
    let known = issuer::of(view, flat, telling, text);
    (is_plausible || issuer::accepts(known, view, flat, text)).then_some(Found { id: known, start: from, end: to })
}

/// No line ends around the anchor, in a programming language.
fn is_minified(view: &View<'_>) -> bool {
    view.file.syntax == Syntax::Code
        && view.line_before(view.start).len() >= 500
        && view.line_after(view.end, 500).len() >= 500
}

/// The value that begins at `at`: start, end, and whether it stands in quotes. `name` is where its name begins.
fn value(view: &View<'_>, at: usize, name: usize) -> Option<(usize, usize, bool)> {
    let data = view.data;
    let mut at = at;
    // r"…", f'…', @"…", L"…"
    let prefix =
        data[at..].iter().take(2).take_while(|it| matches!(it, b'r' | b'b' | b'u' | b'f' | b'L' | b'@' | b'$')).count();
    if data.get(at + prefix).is_some_and(|it| matches!(it, b'"' | b'\'')) {
        at += prefix;
    }
    let escapes = data[at..].iter().take(4).take_while(|it| **it == b'\\').count();
    let quote = *data.get(at + escapes)?;
    if matches!(quote, b'"' | b'\'' | b'`') {
        let start = at + escapes + 1;
        let text = &data[start..data.len().min(start + LONGEST + 1)];
        let mut length = 0;
        loop {
            let byte = *text.get(length)?;
            match byte {
                b'\n' => return None,
                b'\\' if escapes == 0 => length += 2,
                _ if byte == quote => break,
                _ => length += 1,
            }
        }
        let end = start + length;
        let escapes_after = data[..end].iter().rev().take(escapes).take_while(|it| **it == b'\\').count();
        return Some((start, end - escapes_after, true));
    }
    if view.file.syntax == Syntax::Code
        && let Some(literal) = read::fallback(view, at)
    {
        return Some(literal);
    }
    Some(bare(view, at, name))
}

/// A value without quotes.
fn bare(view: &View<'_>, at: usize, name: usize) -> (usize, usize, bool) {
    let line = view.line_after(at, LONGEST + 1);
    let before = view.line_before(name).trim_ascii();
    if view.file.syntax == Syntax::Config && (before.is_empty() || before == b"-") && !line.starts_with(b"{") {
        let comment = line.windows(2).position(|it| matches!(it, b" #" | b"\t#")).unwrap_or(line.len());
        return (at, at + line[..comment].trim_ascii_end().len(), false);
    }
    let is_parameter = before.contains(&b'?')
        || before.contains(&b'&')
        || view.before(name).is_some_and(|it| it == b'&' || it == b'?');
    let is_variable = before.ends_with(b"${");
    let (_, end, _) = argument(&view.data[..at + line.len()], at);
    let text = &view.data[at..end.max(at)];
    let length = text
        .iter()
        .position(|it| {
            *it >= 0x80 || matches!(it, b',' | b'\\') || is_parameter && *it == b'&' || is_variable && *it == b'}'
        })
        .unwrap_or(text.len());
    let text = text[..length].strip_suffix(b"}").unwrap_or(&text[..length]);
    let text = text.strip_suffix(b".").unwrap_or(text);
    (at, at + text.len(), false)
}

/// The rule of a login for which nothing but its name speaks.
pub(crate) fn generic(telling: Telling) -> Id {
    match telling {
        Telling::Password => Id::Password,
        Telling::Secret => Id::Secret,
        Telling::Token => Id::Token,
        Telling::Key => Id::Key,
    }
}
