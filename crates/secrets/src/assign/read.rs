//! What stands between a name and its value.

use memchr::memmem;

use crate::name::Telling;
use crate::syntax::Syntax;
use crate::value::LONGEST;
use crate::view::View;

/// How name and value belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Between {
    /// `name = value`, `name: value` and the like.
    Assignment,
    /// `name(value)`
    Call,
    /// `<name>value</name>`
    Element,
}

/// A position that moves on.
struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    fn eat(&mut self, text: &[u8]) -> bool {
        let is_there = self.data[self.at..].starts_with(text);
        self.at += if is_there { text.len() } else { 0 };
        is_there
    }

    fn skip(&mut self, limit: usize, of: fn(u8) -> bool) -> usize {
        let count = self.data[self.at..].iter().take(limit).take_while(|it| of(**it)).count();
        self.at += count;
        count
    }

    fn blanks(&mut self) -> usize {
        self.skip(40, |it| it == b' ' || it == b'\t')
    }
}

/// Where the value of a name begins and how it is joined; none if there is nothing between that joins.
pub(super) fn between(view: &View<'_>, start: usize, end: usize, telling: Telling) -> Option<(usize, Between)> {
    let before = view.before(start);
    let mut reader = Reader { data: view.data, at: end };
    if before == Some(b'<') && reader.eat(b">") {
        reader.skip(80, |it| it.is_ascii_whitespace());
        return Some((reader.at, Between::Element));
    }
    reader.skip(3, |it| it == b'\\');
    let in_quotes = reader.peek().is_some_and(|it| matches!(it, b'"' | b'\'' | b'`'));
    reader.at += usize::from(in_quotes);
    if let Some(found) = beside(view, start, reader.at, in_quotes) {
        return Some(found);
    }
    // config['name'] = …, char name[32] = …
    if in_quotes {
        _ = reader.eat(b"]") || reader.eat(b")");
    } else if reader.eat(b"[") {
        reader.skip(8, |it| it.is_ascii_digit());
        reader.eat(b"]").then_some(())?;
    }
    let blanks = reader.blanks();
    let joined = operator(&mut reader, view, start, end, telling, in_quotes, blanks)?;
    let gap = reader.blanks();
    // `NAME= command` sets it to nothing.
    let is_empty = blanks == 0 && gap > 0 && view.data[reader.at - gap - 1] == b'=' && !in_quotes;
    let is_quoted = reader.peek().is_some_and(|it| matches!(it, b'"' | b'\'' | b'`'));
    (!is_empty || is_quoted || view.file.syntax == Syntax::Config).then_some((reader.at, joined))
}

fn operator(
    reader: &mut Reader<'_>,
    view: &View<'_>,
    start: usize,
    end: usize,
    telling: Telling,
    in_quotes: bool,
    blanks: usize,
) -> Option<Between> {
    let is_call = |it: Between| Some(it);
    match reader.peek()? {
        b'=' => {
            reader.skip(3, |it| it == b'=' || it == b'>');
            Some(Between::Assignment)
        }
        b'?' | b'|' | b'+' if reader.eat(b"?=") || reader.eat(b"??=") || reader.eat(b"||=") || reader.eat(b"+=") => {
            Some(Between::Assignment)
        }
        b':' => {
            reader.at += 1;
            // A variable of the shell with a default, and Go's `:=`.
            _ = reader.eat(b"=") || reader.eat(b"-");
            typed(reader);
            Some(Between::Assignment)
        }
        // A colon of full width, as in Chinese text.
        0xef if reader.eat(":".as_bytes()) => Some(Between::Assignment),
        b',' if in_quotes => {
            reader.at += 1;
            Some(Between::Assignment)
        }
        b'(' if !in_quotes && blanks == 0 => {
            reader.at += 1;
            reader.blanks();
            let name = &view.data[start..end];
            let last = name.rsplit(|it| *it == b'.').next().unwrap_or(name);
            let sets = ["set", "with", "password", "auth", "secret", "token", "passwd", "pwd", "api", "access"];
            let is_setter =
                sets.iter().any(|it| last.len() >= it.len() && last[..it.len()].eq_ignore_ascii_case(it.as_bytes()));
            (is_setter && reader.peek().is_some_and(|it| matches!(it, b'"' | b'\''))).then_some(())?;
            is_call(Between::Call)
        }
        _ if blanks > 0 && !in_quotes => after_blanks(reader, view, start, end, telling),
        _ => None,
    }
}

/// `: &str =`, `: string =`: the value comes after the type.
fn typed(reader: &mut Reader<'_>) {
    let rest = &reader.data[reader.at..reader.data.len().min(reader.at + 48)];
    let is_type = |it: &u8| {
        it.is_ascii_alphanumeric() || matches!(it, b'_' | b' ' | b'&' | b'<' | b'>' | b'\'' | b'[' | b']' | b'.' | b'?')
    };
    let length = rest.iter().take_while(|it| is_type(it)).count();
    let after = &rest[length..];
    let is_assigned = after.starts_with(b"=") && !after.starts_with(b"==") && !after.starts_with(b"=>");
    if is_assigned && length > 1 && after[1..].trim_ascii_start().starts_with(b"\"")
        || is_assigned && after[1..].trim_ascii_start().starts_with(b"'")
    {
        reader.at += length + 1;
    }
}

/// Blanks alone join in a few places: macros of C, arguments, settings of servers, and SQL.
fn after_blanks(
    reader: &mut Reader<'_>,
    view: &View<'_>,
    start: usize,
    end: usize,
    telling: Telling,
) -> Option<Between> {
    let line = view.line_before(start);
    let is_quote = reader.peek().is_some_and(|it| matches!(it, b'"' | b'\''));
    let name = &view.data[start..end];
    let is_argument = line.ends_with(b"--");
    let is_macro = is_quote && line.trim_ascii().ends_with(b"#define");
    let is_sql = is_quote && telling == Telling::Password && name.eq_ignore_ascii_case(b"password");
    let is_setting = telling == Telling::Password
        && (line.trim_ascii().is_empty() || line.ends_with(b" ") && view.file.ends_with(&["netrc"]))
        && (view.file.syntax == Syntax::Config || view.file.ends_with(&["netrc"]));
    if name == b"sshpass" && reader.eat(b"-p") {
        reader.blanks();
        return Some(Between::Assignment);
    }
    (is_argument || is_macro || is_sql || is_setting).then_some(Between::Assignment)
}

/// A value that stands in a field of its own: `name: X`, `value: …` of Kubernetes, `name="X" value="…"` of XML.
fn beside(view: &View<'_>, start: usize, end: usize, in_quotes: bool) -> Option<(usize, Between)> {
    let line = view.line_before(start).trim_ascii_end();
    let line = line.strip_suffix(b"\"").or_else(|| line.strip_suffix(b"'")).unwrap_or(line).trim_ascii_end();
    let named = line.strip_suffix(b":").or_else(|| line.strip_suffix(b"="))?;
    let named = named.strip_suffix(b"\"").unwrap_or(named);
    if !["name", "key", "Name", "Key"].iter().any(|it| named.ends_with(it.as_bytes())) {
        return None;
    }
    let mut reader = Reader { data: view.data, at: end };
    if in_quotes && reader.eat(b"><value>") {
        return Some((reader.at, Between::Element));
    }
    _ = reader.eat(b",");
    reader.skip(80, |it| it.is_ascii_whitespace());
    let quoted = reader.eat(b"\"");
    (reader.eat(b"value") || reader.eat(b"Value")).then_some(())?;
    if quoted {
        reader.eat(b"\"").then_some(())?;
    }
    reader.blanks();
    (reader.eat(b":") || reader.eat(b"=")).then_some(())?;
    reader.blanks();
    Some((reader.at, Between::Assignment))
}

/// The literal that stands in for a variable that is not set: `process.env.SECRET || '…'`, `os.environ.get("SECRET", "…")`.
pub(super) fn fallback(view: &View<'_>, at: usize) -> Option<(usize, usize, bool)> {
    let line = view.line_after(at, 160);
    ["env", "Env", "ENV"]
        .iter()
        .any(|it| memmem::find(&line[..line.len().min(60)], it.as_bytes()).is_some())
        .then_some(())?;
    let joins: [&[u8]; 5] = [b"|| ", b"?? ", b" or ", b"\", ", b"', "];
    let start = joins.iter().find_map(|it| memmem::find(line, it).map(|found| found + it.len()))?;
    let quote = *line.get(start).filter(|it| matches!(it, b'"' | b'\''))?;
    let length = memchr::memchr(quote, &line[start + 1..])?;
    (length <= LONGEST).then_some((at + start + 1, at + start + 1 + length, true))
}
