//! What files have in common: their folder, or a part of their name.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::date;
use crate::kind::Seen;

/// What a group is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum GroupBy {
    /// The files of one folder.
    #[default]
    Folder,
    /// All files.
    All,
    /// Files of one folder, by a part of their names.
    Names(Vec<Part>),
    /// Files by a part of their paths.
    Paths(Vec<Part>),
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    /// `{name}`: what the group is called.
    Name,
    /// `{date}`.
    Date,
    /// `*`
    Any,
    /// `?`
    One,
}

impl TryFrom<String> for GroupBy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "folder" => return Ok(Self::Folder),
            "all" => return Ok(Self::All),
            _ => {}
        }
        let wrong = |why: &str| {
            Err(format!("`{text}` is no group: {why}; write `folder`, `all` or such as `{{name}}-{{date}}.tar.gz`"))
        };
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let (part, length) = match first {
                '{' if rest.starts_with("{name}") => (Part::Name, 6),
                '{' if rest.starts_with("{date}") => (Part::Date, 6),
                '*' => (Part::Any, 1),
                '?' => (Part::One, 1),
                '{' | '}' | '[' | ']' => return wrong("only `{name}`, `{date}`, `*` and `?` stand for something"),
                _ => {
                    let end = rest.find(['{', '}', '[', ']', '*', '?']).unwrap_or(rest.len());
                    (Part::Text(rest[..end].to_owned()), end)
                }
            };
            parts.push(part);
            rest = &rest[length..];
        }
        match parts.iter().filter(|it| **it == Part::Name).count() {
            1 if text.contains('/') => Ok(Self::Paths(parts)),
            1 => Ok(Self::Names(parts)),
            _ => wrong("`{name}` has to be in it, once"),
        }
    }
}

impl JsonSchema for GroupBy {
    fn schema_name() -> Cow<'static, str> {
        "GroupBy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^(folder|all|[^{}]*(\{date\}[^{}]*)*\{name\}[^{}]*(\{date\}[^{}]*)*)$",
            "examples": ["{name}-{date}.tar.gz", "folder", "all"]
        })
    }
}

impl GroupBy {
    /// The group of a file: the folder that it is within, and its name there. None for what belongs to none.
    pub(crate) fn of<'a>(&self, seen: &Seen<'a>) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Folder => Some((seen.folder(), "")),
            Self::All => Some(("", "")),
            Self::Names(parts) => Some((seen.folder(), name(parts, seen.name())?)),
            Self::Paths(parts) => Some(("", name(parts, seen.path)?)),
        }
    }
}

/// What stands for `{name}` in a text that matches: as much as can, so that groups are rather too small than too large.
fn name<'a>(parts: &[Part], text: &'a str) -> Option<&'a str> {
    let mut found = None;
    matches(parts, text, 0, &mut found).then_some(found).flatten().map(|(from, to)| &text[from..to])
}

fn matches(parts: &[Part], text: &str, at: usize, found: &mut Option<(usize, usize)>) -> bool {
    let Some((part, parts)) = parts.split_first() else { return at == text.len() };
    let rest = &text[at..];
    match part {
        Part::Text(wanted) => rest.starts_with(wanted.as_str()) && matches(parts, text, at + wanted.len(), found),
        Part::One => rest.chars().next().is_some_and(|it| it != '/' && matches(parts, text, at + it.len_utf8(), found)),
        Part::Date => date::end_of_date(text.as_bytes(), at).is_some_and(|end| matches(parts, text, end, found)),
        Part::Any | Part::Name => {
            let most = rest.find('/').unwrap_or(rest.len());
            let is_name = *part == Part::Name;
            let ends = (usize::from(is_name)..=most).rev().filter(|end| rest.is_char_boundary(*end));
            for end in ends.map(|end| at + end) {
                if matches(parts, text, end, found) {
                    if is_name {
                        *found = Some((at, end));
                    }
                    return true;
                }
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(pattern: &str, text: &str) -> Option<String> {
        let (GroupBy::Names(parts) | GroupBy::Paths(parts)) = GroupBy::try_from(pattern.to_owned()).unwrap() else {
            panic!("{pattern} is no pattern")
        };
        name(&parts, text).map(str::to_owned)
    }

    #[test]
    fn names_are_taken_out_of_paths() {
        for (pattern, text, expected) in [
            ("{name}-{date}.tar.gz", "my-app-2026-11-23.tar.gz", Some("my-app")),
            ("{name}-{date}.tar.gz", "my-app-20261123-0200.tar.gz", Some("my-app")),
            ("{name}-{date}*", "app-2026-11-23T02-00.sql.gz", Some("app")),
            ("{name}_{date}.sql", "库_20261123.sql", Some("库")),
            ("{date}-{name}.sql", "2026-11-23-app.sql", Some("app")),
            ("{name}-*.tar.gz", "app-20261123.tar.gz", Some("app")),
            ("{name}-*.tar.gz", "my-app-20261123.tar.gz", Some("my-app")),
            ("{name}.?", "a.1", Some("a")),
            ("*/{name}/*.sql", "db/app/1.sql", Some("app")),
            ("{name}-{date}.tar.gz", "app.tar.gz", None),
            ("{name}-{date}.tar.gz", "app-120261123.tar.gz", None),
            ("{name}-{date}.tar.gz", "-20261123.tar.gz", None),
            ("*/{name}/*.sql", "db/more/app/1.sql", None),
            ("{name}", "", None),
        ] {
            assert_eq!(group(pattern, text).as_deref(), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_group_is_refused() {
        for wrong in ["", "name", "{name}-{name}", "{nam}", "{name}[0-9]", "{date}"] {
            let told = GroupBy::try_from(wrong.to_owned()).unwrap_err();
            assert!(told.starts_with(&format!("`{wrong}` is no group")), "{told}");
        }
    }
}
