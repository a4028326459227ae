//! What a matcher may see: the surroundings of one anchor.
//!
//! Nothing that a matcher decides depends on bytes outside of its view, and the view is the same whether a file comes whole
//! or in pieces. So the findings are the same, too, and the work for one anchor is bounded.

use crate::rule::Id;
use crate::syntax::File;

/// Bytes before an anchor that can be seen.
pub(crate) const BEFORE: usize = 1 << 10;
/// Bytes from the beginning of an anchor on that can be seen; an RSA key of 4096 bits in PEM takes 3.3 KB.
pub(crate) const AFTER: usize = 8 << 10;

/// The surroundings of an anchor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [u8],
    /// Where the anchor begins in `data`.
    pub(crate) start: usize,
    /// Where it ends.
    pub(crate) end: usize,
    pub(crate) file: &'a File,
}

/// Where a secret was found in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: Id,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl<'a> View<'a> {
    /// What comes after the anchor.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.data[self.end..]
    }

    /// The byte before a position.
    pub(crate) fn before(&self, at: usize) -> Option<u8> {
        at.checked_sub(1).map(|before| self.data[before])
    }

    /// The line up to a position, as far as it can be seen and 512 bytes at most.
    pub(crate) fn line_before(&self, at: usize) -> &'a [u8] {
        let line = &self.data[at.saturating_sub(512)..at];
        memchr::memrchr(b'\n', line).map_or(line, |newline| &line[newline + 1..])
    }

    /// The line from a position on, `limit` bytes at most.
    pub(crate) fn line_after(&self, at: usize, limit: usize) -> &'a [u8] {
        let line = &self.data[at..self.data.len().min(at + limit)];
        let line = memchr::memchr(b'\n', line).map_or(line, |newline| &line[..newline]);
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// What stands within 400 bytes of a position, in lower case.
    pub(crate) fn around(&self, at: usize) -> Vec<u8> {
        self.data[at.saturating_sub(400)..self.data.len().min(at + 400)].to_ascii_lowercase()
    }

    /// Whether one of some words in lower case stands there.
    pub(crate) fn is_near(&self, at: usize, words: &[&str]) -> bool {
        let around = self.around(at);
        words.iter().any(|word| memchr::memmem::find(&around, word.as_bytes()).is_some())
    }
}
