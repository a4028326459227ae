//! Locks in TOML, read from section to section: from one `[header]` to the next. So what is in memory at a time is one
//! section, and a section that nobody needs is passed over.

use std::iter::Peekable;

use serde::de::DeserializeOwned;
use toml_parser::Source;
use toml_parser::lexer::{Lexer, TokenKind};

use crate::LockFileError;
use crate::lines::Lines;

/// The most bytes of a section that is read; the largest are lists of files, in the tens of thousands. Its values take many
/// times as much memory.
const LARGEST: usize = 1 << 20;

/// A section of a file.
pub(crate) struct Section<'t> {
    /// What its header names, such as `package.dependencies`. Empty before the first header.
    pub(crate) name: String,
    /// The line of its header.
    pub(crate) line: usize,
    body: &'t str,
}

impl Section<'_> {
    /// Its keys and values.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, LockFileError> {
        if self.body.len() > LARGEST {
            return Err(LockFileError::syntax(self.line, format!("a section of more than {LARGEST} bytes")));
        }
        toml::from_str(self.body).map_err(|error| {
            // The body of a section begins in the line after its header, and that of the head in the first.
            let before = if self.name.is_empty() { 0 } else { self.line };
            let line = error.span().map_or(self.line, |span| before + Lines::new(self.body).at(span.start));
            LockFileError::syntax(line, error.message())
        })
    }
}

/// Goes through the sections of a file.
pub(crate) struct Sections<'t> {
    text: &'t str,
    lines: Lines<'t>,
    tokens: Peekable<Lexer<'t>>,
    /// The section that was begun: its name, its line, and where its body begins.
    open: Option<(String, usize, usize)>,
    limit: usize,
}

impl<'t> Sections<'t> {
    /// The sections of a text that may nest so deep.
    pub(crate) fn new(text: &'t str, limit: usize) -> Self {
        let tokens = Source::new(text).lex().peekable();
        Self { text, lines: Lines::new(text), tokens, open: Some((String::new(), 1, 0)), limit }
    }

    /// The next section. `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Section<'t>>, LockFileError> {
        let Some((name, line, start)) = self.open.take() else { return Ok(None) };
        let mut depth = 0_usize;
        let mut fresh = true;
        while let Some(token) = self.tokens.next() {
            match token.kind() {
                TokenKind::LeftSquareBracket if depth == 0 && fresh => {
                    let end = token.span().start();
                    self.open = Some(self.header(end));
                    return Ok(Some(self.section(name, line, start, end)));
                }
                TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => depth += 1,
                TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > self.limit {
                let line = self.lines.at(token.span().start());
                return Err(LockFileError::Depth { line, limit: self.limit });
            }
            fresh = match token.kind() {
                TokenKind::Newline => true,
                TokenKind::Whitespace => fresh,
                _ => false,
            };
        }
        Ok(Some(self.section(name, line, start, self.text.len())))
    }

    /// Reads the rest of a header's line, which begins at a position.
    fn header(&mut self, start: usize) -> (String, usize, usize) {
        let mut name = String::new();
        let mut end = self.text.len();
        for token in self.tokens.by_ref() {
            let text = self.text.get(token.span().start()..token.span().end()).unwrap_or_default();
            match token.kind() {
                TokenKind::Newline => {
                    end = token.span().end();
                    break;
                }
                TokenKind::Atom | TokenKind::Dot => name.push_str(text),
                TokenKind::BasicString | TokenKind::LiteralString => name.push_str(text.trim_matches(['"', '\''])),
                _ => {}
            }
        }
        (name, self.lines.at(start), end)
    }

    fn section(&self, name: String, line: usize, start: usize, end: usize) -> Section<'t> {
        let body = self.text.get(start..end).unwrap_or_default();
        Section { name, line, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<(String, usize)>, LockFileError> {
        let mut sections = Sections::new(text, 8);
        let mut names = Vec::new();
        while let Some(section) = sections.next()? {
            names.push((section.name, section.line));
        }
        Ok(names)
    }

    #[test]
    fn headers_begin_sections_and_arrays_do_not() {
        let text =
            "a = [\n[1],\n]\n[[package]] # x\nb = \"\"\"\n[no]\n\"\"\"\n  [package . \"sub\"]\nc = '''\n[no]'''\n[d]";
        let read = names(text).unwrap();
        assert_eq!(
            read,
            [("", 1), ("package", 4), ("package.sub", 8), ("d", 11)].map(|(it, line)| (it.to_owned(), line))
        );
    }

    #[test]
    fn a_mistake_has_its_line_in_the_file() {
        let mut sections = Sections::new("a = 1\n[b]\nc = 1\nd = \n", 8);
        sections.next().unwrap();
        let error = sections.next().unwrap().unwrap().read::<std::collections::BTreeMap<String, i64>>();
        assert!(matches!(error, Err(LockFileError::Syntax { line: 4, .. })), "{error:?}");
    }

    #[test]
    fn depth_and_size_have_limits() {
        assert_eq!(names(&format!("a = {}", "[".repeat(9))), Err(LockFileError::Depth { line: 1, limit: 8 }));
        let long = format!("a = \"{}\"", "x".repeat(LARGEST));
        let section = Sections::new(&long, 8).next().unwrap().unwrap();
        assert!(section.read::<std::collections::BTreeMap<String, String>>().is_err());
    }
}
