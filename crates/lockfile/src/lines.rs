//! Text and its lines.

use crate::LockFileError;

/// The most bytes of a foreign string that an error or a note repeats.
const SHOWN: usize = 200;

/// The text of a file, without a byte order mark. NUL is refused as well, since parsers take it for the end.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, LockFileError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let line = |end: usize| 1 + memchr::memchr_iter(b'\n', bytes.get(..end).unwrap_or(bytes)).count();
    if let Some(nul) = memchr::memchr(0, bytes) {
        return Err(LockFileError::Encoding { line: line(nul) });
    }
    std::str::from_utf8(bytes).map_err(|error| LockFileError::Encoding { line: line(error.valid_up_to()) })
}

/// The beginning of a foreign string, as much as is shown of it.
pub(crate) fn clip(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN)).unwrap_or(text)
}

/// Tells the lines of positions. It counts from the position asked before, so positions in order cost one pass in all.
pub(crate) struct Lines<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// The line of a byte, from 1.
    pub(crate) fn at(&mut self, position: usize) -> usize {
        let bytes = self.text.as_bytes();
        let position = position.min(bytes.len());
        let between = |from: usize, to: usize| memchr::memchr_iter(b'\n', bytes.get(from..to).unwrap_or(&[])).count();
        if position >= self.at {
            self.line += between(self.at, position);
        } else {
            self.line -= between(position, self.at);
        }
        self.at = position;
        self.line
    }

    /// The line of a string that was borrowed from the text; 0 for any other.
    pub(crate) fn of(&mut self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        if offset > self.text.len() { 0 } else { self.at(offset) }
    }
}

/// The lines of a text with their numbers from 1, without line ends.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_have_lines_in_any_order() {
        let mut lines = Lines::new("a\nb\n\nc");
        assert_eq!([lines.at(0), lines.at(2), lines.at(5), lines.at(1), lines.at(99)], [1, 2, 4, 1, 4]);
    }

    #[test]
    fn only_what_is_borrowed_has_a_line() {
        let text = String::from("one\ntwo");
        let mut lines = Lines::new(&text);
        assert_eq!(lines.of(&text[4..]), 2);
        assert_eq!(lines.of("elsewhere"), 0);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        assert_eq!(utf8(b"\xef\xbb\xbfa"), Ok("a"));
        assert_eq!(utf8(b"a\n\xff"), Err(LockFileError::Encoding { line: 2 }));
        assert_eq!(utf8(b"a\n\n\0"), Err(LockFileError::Encoding { line: 3 }));
    }

    #[test]
    fn a_clip_ends_between_characters() {
        assert_eq!(clip(&"é".repeat(150)).len(), 200);
        assert_eq!(clip(&format!("a{}", "é".repeat(150))).len(), 199);
    }
}
