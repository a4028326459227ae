//! The interface: a scanner, and the stream of one file through it.

use std::ops::Range;

use crate::anchor::Anchors;
use crate::matcher::{self, LONGEST_ANCHOR, Matcher};
use crate::report::{Fingerprint, Match};
use crate::rule::{RULES, Rule};
use crate::search::Search;
use crate::syntax::{HEAD, binary};
use crate::view::{AFTER, BEFORE};

/// Bytes between two reports of what was found.
const STEP: usize = 1 << 20;

/// What is sought, and how it is reported.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The rules to leave out, by [`Rule::id`].
    pub disabled: Vec<String>,
    /// Texts that stand in for secrets here: a value that contains one, in any case of letters, is none.
    pub stop_words: Vec<String>,
    /// Goes into each [`Fingerprint`]: random, kept as long as fingerprints are compared, and known to no one else.
    pub salt: Vec<u8>,
    /// Bytes of a file after which nothing is looked at; none for no limit.
    pub limit: Option<u64>,
}

/// Why there is no scanner.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A rule that is none.
    #[error("there is no rule `{0}`; `RULES` lists them")]
    UnknownRule(String),
    /// It would allow everything, or nearly so.
    #[error("the stop word `{0}` is too short: 3 bytes are the least")]
    ShortStopWord(String),
}

/// What became of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Secrets that were reported.
    pub found: u64,
    /// Secrets that were not, since a comment on their line allows them.
    pub allowed: u64,
    /// What was not looked at.
    pub skipped: Option<Skipped>,
}

/// Why a file, or the rest of it, was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// It is no text, but this.
    Binary(&'static str),
    /// It is longer than [`Options::limit`], which is this many bytes.
    TooLarge(u64),
}

/// Finds secrets. Making one takes some microseconds; nothing in it changes, so threads can share it.
#[derive(Debug)]
pub struct Scanner {
    anchors: Anchors<Matcher>,
    disabled: Vec<&'static Rule>,
    stop_words: Vec<Vec<u8>>,
    salt: Vec<u8>,
    limit: u64,
}

impl Scanner {
    /// A scanner of all rules but those that are disabled.
    ///
    /// # Errors
    ///
    /// A rule that does not exist, or a stop word of less than three bytes.
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        let rule = |id: String| RULES.iter().find(|rule| rule.id == id).ok_or(OptionsError::UnknownRule(id));
        let word = |word: String| match word.len() {
            0..3 => Err(OptionsError::ShortStopWord(word)),
            _ => Ok(word.to_ascii_lowercase().into_bytes()),
        };
        Ok(Self {
            anchors: matcher::anchors(),
            disabled: options.disabled.into_iter().map(rule).collect::<Result<_, _>>()?,
            stop_words: options.stop_words.into_iter().map(word).collect::<Result<_, _>>()?,
            salt: options.salt,
            limit: options.limit.unwrap_or(u64::MAX),
        })
    }

    /// Looks through a file that is in memory. `path` tells what kind of file it is, and need not exist.
    pub fn scan(&self, path: &str, bytes: &[u8], sink: &mut impl FnMut(Match)) -> Summary {
        let mut search = Search::new(path);
        let seen = usize::try_from(self.limit).map_or(bytes, |limit| &bytes[..bytes.len().min(limit)]);
        if let Some(what) = binary(&seen[..seen.len().min(HEAD)]) {
            return Summary { skipped: Some(Skipped::Binary(what)), ..Summary::default() };
        }
        let mut next = 0;
        while next < seen.len() {
            let end = seen.len().min(next + STEP);
            search.look(self, seen, 0, next..end);
            search.report((end as u64).saturating_sub(BEFORE as u64), sink);
            next = end;
        }
        let skipped = (seen.len() < bytes.len()).then_some(Skipped::TooLarge(self.limit));
        Summary { skipped, ..search.finish(sink) }
    }

    /// Looks through a file that comes in pieces; finds what [`Self::scan`] would.
    pub fn stream(&self, path: &str) -> Stream<'_> {
        Stream {
            scanner: self,
            search: Search::new(path),
            buffer: Vec::new(),
            base: 0,
            next: 0,
            is_known: false,
            skipped: None,
        }
    }

    /// All places where something may be: start, end, and who knows what.
    pub(crate) fn seek(&self, data: &[u8], range: Range<usize>, mut found: impl FnMut(usize, usize, Matcher)) {
        let seen = &data[..data.len().min(range.end + LONGEST_ANCHOR)];
        self.anchors.seek(seen, range.start, |start, end, matcher| {
            if start < range.end {
                found(start, end, matcher);
            }
        });
    }

    pub(crate) fn is_wanted(&self, rule: &'static Rule, secret: &[u8]) -> bool {
        let lower = secret.to_ascii_lowercase();
        !self.disabled.contains(&rule)
            && !self.stop_words.iter().any(|word| memchr::memmem::find(&lower, word).is_some())
    }

    pub(crate) fn fingerprint(&self, rule: &Rule, secret: &[u8]) -> Fingerprint {
        Fingerprint::new(&self.salt, rule, secret)
    }
}

/// A file on its way through a [`Scanner`], in pieces of any size; 1 MiB is a good one. Keeps some 10 KiB beside the piece.
#[derive(Debug)]
pub struct Stream<'a> {
    scanner: &'a Scanner,
    search: Search,
    buffer: Vec<u8>,
    /// The place of the buffer's beginning in the file; even, see [`Anchors::seek`].
    base: u64,
    /// Where in the buffer the search goes on.
    next: usize,
    /// It is known to be text.
    is_known: bool,
    skipped: Option<Skipped>,
}

impl Stream<'_> {
    /// Takes the next piece of the file.
    pub fn push(&mut self, piece: &[u8], sink: &mut impl FnMut(Match)) {
        if self.skipped.is_some() {
            return;
        }
        let room = self.scanner.limit - (self.base + self.buffer.len() as u64);
        let seen = usize::try_from(room).map_or(piece, |room| &piece[..piece.len().min(room)]);
        self.buffer.extend_from_slice(seen);
        if self.buffer.len() >= HEAD + AFTER {
            self.advance(self.buffer.len() - AFTER, sink);
        }
        if seen.len() < piece.len() {
            self.advance(self.buffer.len(), sink);
            self.skipped.get_or_insert(Skipped::TooLarge(self.scanner.limit));
        }
    }

    /// The file has come to its end.
    pub fn finish(mut self, sink: &mut impl FnMut(Match)) -> Summary {
        if self.skipped.is_none() {
            self.advance(self.buffer.len(), sink);
        }
        Summary { skipped: self.skipped, ..self.search.finish(sink) }
    }

    /// Looks at the anchors that begin before `end`, and lets go of what no later one can see.
    fn advance(&mut self, end: usize, sink: &mut impl FnMut(Match)) {
        if !self.is_known {
            self.is_known = true;
            self.skipped = binary(&self.buffer[..self.buffer.len().min(HEAD)]).map(Skipped::Binary);
            if self.skipped.is_some() {
                return;
            }
        }
        self.search.look(self.scanner, &self.buffer, self.base, self.next..end);
        self.next = end.max(self.next);
        let done = self.next.saturating_sub(BEFORE) & !1;
        self.search.report(self.base + done as u64, sink);
        self.search.leave(&self.buffer, self.base, done);
        self.buffer.drain(..done);
        self.base += done as u64;
        self.next -= done;
    }
}
