//! One configuration file: its text, where each key stands in it, and its values as JSON.
//!
//! A file is parsed once. The tree keeps the byte span of every key and value, so that whatever is found wrong later,
//! by a schema or by a check that looks at other files and folders, can be shown in the line where it is written.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::config::diagnostic::Diagnostic;
use crate::config::mask;

/// The text of a configuration file.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The path, as it is shown to people.
    pub name: String,
    /// The content.
    pub text: String,
}

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Into a table, by key.
    Key(String),
    /// Into an array, by position.
    Index(usize),
}

/// Where a value stands in a document; shown as `grant.files.app.path` or `schedule.after[0].task`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPath(pub Vec<Segment>);

impl KeyPath {
    /// The path of nested keys.
    pub fn of<const N: usize>(keys: [&str; N]) -> Self {
        Self(keys.into_iter().map(|key| Segment::Key(key.to_owned())).collect())
    }

    /// This path and one key more.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Key(key.to_owned()));
        path
    }

    /// This path and one position more.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Segment::Index(index));
        path
    }

    /// The first key, which names the section of the file.
    pub fn section(&self) -> Option<&str> {
        match self.0.first() {
            Some(Segment::Key(key)) => Some(key),
            _ => None,
        }
    }

    /// The last key.
    pub fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            Segment::Index(_) => None,
        })
    }
}

impl std::fmt::Display for KeyPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) => {
                    let dot = if place == 0 { "" } else { "." };
                    write!(f, "{dot}{}", bare_or_quoted(key))?;
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A key as TOML wants it: bare where that is allowed, else in quotes.
pub fn bare_or_quoted(key: &str) -> Cow<'_, str> {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.into() } else { format!("{key:?}").into() }
}

/// A parsed file.
pub struct Document<'s> {
    source: &'s Arc<Source>,
    root: Spanned<DeTable<'s>>,
}

impl<'s> Document<'s> {
    /// Parses the text; on failure says all that is wrong with its syntax.
    pub fn parse(source: &'s Arc<Source>) -> Result<Self, Vec<Diagnostic>> {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        if errors.is_empty() {
            return Ok(Self { source, root });
        }
        let shown = mask::masked_by_line(&source.text);
        let mut problems: Vec<Diagnostic> = Vec::new();
        let mut lines = std::collections::BTreeSet::new();
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            // One slip often upsets the parser more than once in its line: the first message is the one that helps.
            let line = source.text[..span.start.min(source.text.len())].matches('\n').count();
            if lines.insert(line) {
                let (message, help) = syntax_words(error.message(), &shown, &span);
                let message = format!("this is not TOML: {message}");
                problems.push(Diagnostic::error(source, KeyPath::default(), message).at(Some(span)).help(help));
            }
        }
        Err(problems)
    }

    /// The file.
    pub fn source(&self) -> &'s Arc<Source> {
        self.source
    }

    /// The values. Dates become strings; numbers that JSON does not know become strings too, so that a schema refuses
    /// them.
    pub fn json(&self) -> Value {
        table_json(self.root.get_ref())
    }

    /// Byte span of the value at `path`, or of the nearest table around it that exists.
    pub fn value_span(&self, path: &KeyPath) -> Option<Range<usize>> {
        self.find(path).map(|found| found.value)
    }

    /// Byte span of the key at `path`, or of the nearest key around it that exists.
    pub fn key_span(&self, path: &KeyPath) -> Option<Range<usize>> {
        self.find(path).map(|found| found.key)
    }

    /// Whether the file has a value at `path`.
    pub fn has(&self, path: &KeyPath) -> bool {
        self.find(path).is_some_and(|found| found.depth == path.0.len())
    }

    /// Spans of all string values, each with the path to it.
    pub fn strings(&self) -> Vec<(KeyPath, Range<usize>)> {
        let mut found = Vec::new();
        let mut waiting: Vec<(KeyPath, Range<usize>, &DeValue<'_>)> = Vec::new();
        for (key, value) in self.root.get_ref() {
            waiting.push((KeyPath::default().key(key.get_ref()), value.span(), value.get_ref()));
        }
        while let Some((path, span, value)) = waiting.pop() {
            match value {
                DeValue::Table(table) => {
                    waiting.extend(
                        table.iter().map(|(key, value)| (path.key(key.get_ref()), value.span(), value.get_ref())),
                    );
                }
                DeValue::Array(array) => {
                    let items = array.iter().enumerate();
                    waiting.extend(items.map(|(index, value)| (path.index(index), value.span(), value.get_ref())));
                }
                DeValue::String(_) => found.push((path, span)),
                _ => {}
            }
        }
        found
    }

    /// The deepest key on the way to `path` that the file has.
    fn find(&self, path: &KeyPath) -> Option<Found> {
        let mut found: Option<Found> = None;
        let mut inside = Inside::Table(self.root.get_ref());
        for (depth, segment) in path.0.iter().enumerate() {
            let entry = match (segment, &inside) {
                (Segment::Key(name), Inside::Table(table)) => {
                    table.iter().find(|(key, _)| key.get_ref() == name).map(|(key, value)| (key.span(), value))
                }
                (Segment::Index(index), Inside::Array(array)) => array.get(*index).map(|value| (value.span(), value)),
                _ => None,
            };
            let Some((key, value)) = entry else { break };
            found = Some(Found { key, value: value.span(), depth: depth + 1 });
            inside = match value.get_ref() {
                DeValue::Table(table) => Inside::Table(table),
                DeValue::Array(array) => Inside::Array(array),
                _ => break,
            };
        }
        found
    }
}

enum Inside<'d, 's> {
    Table(&'d DeTable<'s>),
    Array(&'d DeArray<'s>),
}

struct Found {
    key: Range<usize>,
    value: Range<usize>,
    /// How many segments of the path were followed.
    depth: usize,
}

fn table_json(table: &DeTable<'_>) -> Value {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), value_json(value.get_ref()))).collect()
}

fn value_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => number.into(),
            Err(_) => Value::String(integer.to_string()),
        },
        DeValue::Float(float) => match float.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
            Some(number) => Value::Number(number),
            None => Value::String(float.to_string()),
        },
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(date) => Value::String(date.to_string()),
        DeValue::Array(array) => array.iter().map(|value| value_json(value.get_ref())).collect(),
        DeValue::Table(table) => table_json(table),
    }
}

/// What is wrong with a line, and how it was most likely meant. The parser knows where it could not go on; the line
/// itself mostly tells why.
fn syntax_words(parser: &str, text: &str, span: &Range<usize>) -> (String, String) {
    let start = text[..span.start.min(text.len())].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next().unwrap_or_default().trim();
    let parser = parser.lines().collect::<Vec<_>>().join("; ");
    let Some((key, value)) = line.split_once('=') else {
        let help = match (line.strip_prefix('['), line.split_once(':')) {
            (Some(section), _) => format!("close the bracket: `[{}]`", section.trim_matches(['[', ']'])),
            (None, Some((key, value))) => format!("write `{} = \"{}\"`", key.trim(), value.trim().trim_matches('"')),
            _ => "a line is `key = value`, or `[section]`, or begins with `#`".to_owned(),
        };
        return (parser, help);
    };
    let (key, value) = (key.trim(), value.trim());
    if mask::is_secret(key) {
        let help = "a text stands in quotes; and a secret is never written here, only where it is: \
                    `password = { file = \"/etc/upkeep/secrets/NAME\" }`";
        return (parser, help.to_owned());
    }
    if parser.contains("duplicate key") {
        let first = text.lines().position(|line| line.split('=').next().is_some_and(|other| other.trim() == key));
        let first = first.map(|line| format!(", first in line {}", line + 1)).unwrap_or_default();
        return (format!("the key `{key}` is here twice{first}"), "remove one of the two lines".to_owned());
    }
    match value.chars().next() {
        None => (format!("`{key}` has no value"), "write one, or remove the line".to_owned()),
        Some(quote @ ('"' | '\'')) if value.len() == 1 || !value.ends_with(quote) => {
            ("the quote is not closed".to_owned(), format!("write `{key} = {value}{quote}`"))
        }
        Some('[' | '{' | '"' | '\'') => {
            (parser, "look for a quote, bracket or comma that is missing or too many".to_owned())
        }
        Some(first) if first.is_alphabetic() || first == '/' => {
            ("the text is not in quotes".to_owned(), format!("write `{key} = \"{value}\"`"))
        }
        Some(_) => (parser, format!("a text stands in quotes, `{key} = \"{value}\"`; a number has none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source { name: "t.toml".into(), text: text.into() })
    }

    #[test]
    fn spans_point_at_keys_and_values_in_every_way_to_write_a_table() {
        let text = "a.b = 1\n[t]\nx = \"y\"\ni = { k = [1, 22] }\n[[l]]\nn = 1\n[[l]]\nn = 33\n[deep.er]\nz = 4\n";
        let source = source(text);
        let document = Document::parse(&source).unwrap_or_else(|_| panic!("is TOML"));
        let value = |path: &KeyPath| document.value_span(path).map(|span| &text[span]);
        assert_eq!(value(&KeyPath::of(["a", "b"])), Some("1"));
        assert_eq!(value(&KeyPath::of(["t", "x"])), Some("\"y\""));
        assert_eq!(value(&KeyPath::of(["t", "i", "k"]).index(1)), Some("22"));
        assert_eq!(value(&KeyPath::of(["l"]).index(1).key("n")), Some("33"));
        assert_eq!(value(&KeyPath::of(["deep", "er", "z"])), Some("4"));
        assert_eq!(value(&KeyPath::of(["t", "missing"])), Some("[t]"), "the table around it");
        assert_eq!(value(&KeyPath::of(["none"])), None);
        assert_eq!(document.key_span(&KeyPath::of(["deep", "er"])).map(|span| &text[span]), Some("er"));
        assert!(document.has(&KeyPath::of(["t", "i"])) && !document.has(&KeyPath::of(["t", "missing"])));
    }

    #[test]
    fn values_become_json() {
        let source = source("i = 0x1F\nf = 1.5\nn = nan\nd = 2026-01-02\nb = true\na = [1, \"x\"]\n");
        let document = Document::parse(&source).unwrap_or_else(|_| panic!("is TOML"));
        assert_eq!(
            document.json(),
            serde_json::json!({"i": 31, "f": 1.5, "n": "nan", "d": "2026-01-02", "b": true, "a": [1, "x"]})
        );
    }

    #[test]
    fn key_paths_read_as_in_toml() {
        assert_eq!(KeyPath::of(["schedule", "after"]).index(0).key("a b").to_string(), "schedule.after[0].\"a b\"");
    }
}
