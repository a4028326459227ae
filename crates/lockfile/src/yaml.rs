//! YAML that is read in a stream. Aliases are refused: no package manager writes them, and they make small files large.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, StrInput};

use crate::LockFileError;
use crate::lines::Lines;

/// Goes through a file from value to value. The caller takes or skips the value of each key before it asks for the next.
pub(crate) struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    line: usize,
    /// The number of the last line. The parser's count can pass it: it counts carriage returns, and may be one ahead at the
    /// end.
    last: usize,
    depth: usize,
    limit: usize,
}

/// A value, or where it begins.
pub(crate) enum Value<'t> {
    /// A scalar.
    Text(Cow<'t, str>),
    /// A mapping: its keys come next.
    Map,
    /// A sequence, and it is skipped.
    List,
}

impl<'t> Reader<'t> {
    /// A reader of a text that may nest so deep.
    pub(crate) fn new(text: &'t str, limit: usize) -> Self {
        let last = Lines::new(text).at(text.len());
        Self { parser: Parser::new_from_str(text), line: 1, last, depth: 0, limit }
    }

    /// Goes to the next document. `false` after the last.
    pub(crate) fn document(&mut self) -> Result<bool, LockFileError> {
        loop {
            match self.next()? {
                Event::DocumentStart(_) => return Ok(true),
                Event::StreamEnd => return Ok(false),
                _ => {}
            }
        }
    }

    /// The next key of the mapping with its line, or the mapping's end.
    pub(crate) fn key(&mut self) -> Result<Option<(Cow<'t, str>, usize)>, LockFileError> {
        match self.next()? {
            Event::Scalar(key, ..) => Ok(Some((key, self.line))),
            Event::MappingEnd => Ok(None),
            _ => Err(LockFileError::syntax(self.line, "a key that is no scalar")),
        }
    }

    /// The next value.
    pub(crate) fn value(&mut self) -> Result<Value<'t>, LockFileError> {
        match self.next()? {
            Event::Scalar(text, ..) => Ok(Value::Text(text)),
            Event::MappingStart(..) => Ok(Value::Map),
            Event::SequenceStart(..) => self.leave().map(|()| Value::List),
            _ => Err(LockFileError::syntax(self.line, "no value where there should be one")),
        }
    }

    /// The next value when it is a scalar; empty for any other.
    pub(crate) fn text(&mut self) -> Result<Cow<'t, str>, LockFileError> {
        match self.value()? {
            Value::Text(text) => Ok(text),
            Value::Map => self.leave().map(|()| Cow::Borrowed("")),
            Value::List => Ok(Cow::Borrowed("")),
        }
    }

    /// Whether the next value is a mapping; any other is skipped.
    pub(crate) fn map(&mut self) -> Result<bool, LockFileError> {
        Ok(matches!(self.value()?, Value::Map))
    }

    /// Skips the next value.
    pub(crate) fn skip(&mut self) -> Result<(), LockFileError> {
        self.text().map(|_| ())
    }

    /// Skips what is left of the mapping or sequence that was just begun.
    fn leave(&mut self) -> Result<(), LockFileError> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            self.next()?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Event<'t>, LockFileError> {
        let (event, span) = match self.parser.next_event() {
            Some(Ok(next)) => next,
            Some(Err(error)) => return Err(LockFileError::syntax(error.marker().line(), error.info())),
            None => return Ok(Event::StreamEnd),
        };
        self.line = span.start.line().min(self.last);
        match event {
            Event::Alias(_) => return Err(LockFileError::syntax(self.line, "an alias, which no lock file has")),
            Event::MappingStart(..) | Event::SequenceStart(..) => self.depth += 1,
            Event::MappingEnd | Event::SequenceEnd => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth > self.limit {
            return Err(LockFileError::Depth { line: self.line, limit: self.limit });
        }
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Result<Vec<(String, usize)>, LockFileError> {
        let mut reader = Reader::new(text, 8);
        let mut keys = Vec::new();
        while reader.document()? {
            if reader.map()? {
                while let Some((key, line)) = reader.key()? {
                    keys.push((key.into_owned(), line));
                    reader.skip()?;
                }
            }
        }
        Ok(keys)
    }

    #[test]
    fn keys_have_lines_and_values_can_be_skipped() {
        let read = keys("a: 1\nb:\n  c: [1, {d: 2}]\n'e': x\n---\nf: 2\n").unwrap();
        assert_eq!(read, [("a", 1), ("b", 2), ("e", 4), ("f", 6)].map(|(key, line)| (key.to_owned(), line)));
    }

    #[test]
    fn aliases_and_depth_are_refused() {
        assert!(matches!(keys("a: &x [1]\nb: *x\n"), Err(LockFileError::Syntax { line: 2, .. })));
        assert_eq!(keys(&"{a: ".repeat(9)), Err(LockFileError::Depth { line: 1, limit: 8 }));
        assert!(keys(&"[".repeat(100_000)).is_err());
        assert!(keys(&"- ".repeat(100_000)).is_err());
        assert!(keys("? {a: b}\n: c").is_err());
        assert!(keys("a: b: c").is_err());
    }
}
