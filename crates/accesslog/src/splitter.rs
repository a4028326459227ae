//! Lines in bytes that come in pieces.
//!
//! Whoever reads a log keeps what stands behind the last end of a line, and hands it in again with what comes after it. So a
//! place in the file up to which all is counted is always the begin of a line: with one exception, a line that is longer than
//! the bound. It is thrown away as it comes, and [`Splitter::dropped`] says how much of it is gone; kept beside the place in the
//! file, it makes the line one malformed line also after a crash.

/// What stands between two ends of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// A line that is longer than the bound, without its end.
    TooLong {
        /// Its bytes, also those of buffers before.
        length: u64,
    },
}

/// Splits buffers into lines.
#[derive(Debug, Clone)]
pub struct Splitter {
    bound: usize,
    dropped: u64,
}

impl Splitter {
    /// A splitter at the begin of a line. Lines of more than `bound` bytes are thrown away.
    pub fn new(bound: usize) -> Self {
        Self::resume(bound, 0)
    }

    /// A splitter at a place where another one stopped, see [`Splitter::dropped`].
    pub fn resume(bound: usize, dropped: u64) -> Self {
        Self { bound, dropped }
    }

    /// How many bytes of a line that is too long are thrown away already; 0 at the begin of a line.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The lines of a buffer. It begins where the last one was consumed to, see [`Pieces::consumed`].
    pub fn split<'s, 'a>(&'s mut self, buffer: &'a [u8]) -> Pieces<'s, 'a> {
        Pieces { splitter: self, buffer, at: 0 }
    }

    /// The last line of a file that does not grow any more and has no end of its last line: `rest` is what was not consumed.
    pub fn finish<'a>(&mut self, rest: &'a [u8]) -> Option<Piece<'a>> {
        let length = self.dropped + rest.len() as u64;
        let is_too_long = self.dropped > 0 || rest.len() > self.bound;
        self.dropped = 0;
        match rest {
            _ if is_too_long => Some(Piece::TooLong { length }),
            [] => None,
            _ => Some(Piece::Line(rest.strip_suffix(b"\r").unwrap_or(rest))),
        }
    }
}

/// The lines of a buffer, one after the other.
#[derive(Debug)]
pub struct Pieces<'s, 'a> {
    splitter: &'s mut Splitter,
    buffer: &'a [u8],
    at: usize,
}

impl Pieces<'_, '_> {
    /// How many bytes of the buffer are done with. Once there are no more lines, the rest is to be handed in again, with more
    /// behind it; it is never longer than the bound.
    pub fn consumed(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Pieces<'_, 'a> {
    type Item = Piece<'a>;

    #[inline]
    fn next(&mut self) -> Option<Piece<'a>> {
        let rest = self.buffer.get(self.at..)?;
        let Some(length) = memchr::memchr(b'\n', rest) else {
            if self.splitter.dropped > 0 || rest.len() > self.splitter.bound {
                self.splitter.dropped += rest.len() as u64;
                self.at = self.buffer.len();
            }
            return None;
        };
        self.at += length + 1;
        if self.splitter.dropped > 0 || length > self.splitter.bound {
            let length = self.splitter.dropped + length as u64;
            self.splitter.dropped = 0;
            return Some(Piece::TooLong { length });
        }
        let line = &rest[..length];
        Some(Piece::Line(line.strip_suffix(b"\r").unwrap_or(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lines or lengths of a text that comes in pieces of some lengths.
    fn split(text: &[u8], bound: usize, lengths: &[usize]) -> Vec<Result<Vec<u8>, u64>> {
        let own = |it: Piece<'_>| match it {
            Piece::Line(it) => Ok(it.to_vec()),
            Piece::TooLong { length } => Err(length),
        };
        let (mut splitter, mut buffer, mut all, mut at) = (Splitter::new(bound), Vec::new(), Vec::new(), 0);
        for length in lengths.iter().copied().chain([text.len()]) {
            let end = text.len().min(at + length);
            buffer.extend_from_slice(&text[at..end]);
            at = end;
            // As after a crash.
            splitter = Splitter::resume(bound, splitter.dropped());
            let mut pieces = splitter.split(&buffer);
            all.extend(pieces.by_ref().map(own));
            let consumed = pieces.consumed();
            buffer.drain(..consumed);
            assert!(buffer.len() <= bound);
        }
        all.extend(splitter.finish(&buffer).map(own));
        all
    }

    #[test]
    fn lines() {
        let text = b"one\ntwo\r\n\nmuch too long\nlast";
        let expected = [Ok(b"one".to_vec()), Ok(b"two".to_vec()), Ok(Vec::new()), Err(13), Ok(b"last".to_vec())];
        assert_eq!(split(text, 5, &[]), expected);
        assert_eq!(split(text, 5, &[2, 3, 11]), expected);
        assert_eq!(split(b"", 5, &[]), []);
        assert_eq!(split(b"123456", 5, &[]), [Err(6)]);
        assert_eq!(split(b"12345\n", 5, &[]), [Ok(b"12345".to_vec())]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            text in "[ab\r\n]{0,80}",
            bound in 1..12usize,
            lengths in proptest::collection::vec(0..12usize, 0..20),
        ) {
            let whole = split(text.as_bytes(), bound, &[]);
            prop_assert_eq!(&split(text.as_bytes(), bound, &lengths), &whole);
            let bytes: u64 = whole.iter().map(|it| it.as_ref().map_or_else(|length| *length, |line| line.len() as u64)).sum();
            let ends = text.matches('\n').count() as u64;
            prop_assert!(bytes + ends <= text.len() as u64 && whole.len() as u64 <= ends + 1);
        }
    }
}
