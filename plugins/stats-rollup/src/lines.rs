//! The lines of one part of a file.
//!
//! A file is cut into parts of about the same size, wherever that falls. A line belongs to the part in which it begins, so
//! parts that lie side by side have each line once, and the end of one is the begin of the next.

use upkeep_accesslog::{Piece, Splitter};
use upkeep_plugin::Result;

use crate::content::Content;

/// Longer lines are none of a log: they count as malformed, whole. Less than one call of the host gives at least.
pub(crate) const LONGEST: usize = 32 << 10;

/// A part of a file, in bytes after decompression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where it begins.
    pub(crate) from: u64,
    /// Whether a line begins at `from`; otherwise the first one begins behind the next end of a line.
    pub(crate) is_begin: bool,
    /// No line that begins here or later; none for the rest of the file.
    pub(crate) to: Option<u64>,
}

/// What was read of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where its first line begins.
    pub(crate) from: u64,
    /// Where its last line ends, and the first line of the next part begins.
    pub(crate) to: u64,
    pub(crate) lines: u64,
    /// Bytes of a line that has no end yet.
    pub(crate) rest: u64,
}

/// Gives each line of a part to `each`.
pub(crate) fn read(content: &mut Content, part: Part, each: &mut impl FnMut(Piece<'_>)) -> Result<Span> {
    // One byte before it tells whether a line begins there.
    let mut at = if part.is_begin { part.from } else { part.from.saturating_sub(1) };
    let mut span = Span { from: part.from, to: part.from, lines: 0, rest: 0 };
    if !content.skip_to(at)? {
        return Ok(span);
    }
    let mut is_first = !part.is_begin;
    let (mut splitter, mut used, mut known) = (Splitter::new(LONGEST), 0, 0);
    loop {
        let piece = content.next(used)?;
        at += used as u64;
        if piece.len() <= known {
            // Nothing new: what is left has no end.
            if !is_first {
                span.rest = splitter.dropped() + piece.len() as u64;
            }
            return Ok(span);
        }
        let mut is_begin = splitter.dropped() == 0;
        let mut lines = splitter.split(piece);
        loop {
            let begin = at + lines.consumed() as u64;
            if is_begin && !is_first && part.to.is_some_and(|to| begin >= to) {
                return Ok(span);
            }
            let Some(line) = lines.next() else { break };
            let end = at + lines.consumed() as u64;
            is_begin = true;
            if is_first {
                (is_first, span.from, span.to) = (false, end, end);
                continue;
            }
            each(line);
            (span.lines, span.to) = (span.lines + 1, end);
        }
        used = lines.consumed();
        known = piece.len() - used;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use upkeep_plugin::files::Root;
    use upkeep_plugin::test::Host;

    use super::*;

    /// The lines of a part of the file `log`; of one that is too long its length.
    fn lines(root: &Root, part: Part) -> (Vec<String>, Span) {
        let (mut content, _) = Content::open(root.read("log").unwrap()).unwrap();
        let mut found = Vec::new();
        let span = read(&mut content, part, &mut |line| match line {
            Piece::Line(line) => found.push(String::from_utf8_lossy(line).into_owned()),
            Piece::TooLong { length } => found.push(length.to_string()),
        });
        (found, span.unwrap())
    }

    fn rest(from: u64) -> Part {
        Part { from, is_begin: true, to: None }
    }

    #[test]
    fn a_line_without_its_end_waits() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let _host = Host::new().root("logs", folder.path());
        let root = Root::open("logs")?;
        root.write("log", "one\ntwo\r\nthree")?;
        let (found, span) = lines(&root, rest(0));
        assert_eq!((found.join(" "), span), ("one two".to_owned(), Span { from: 0, to: 9, lines: 2, rest: 5 }));
        assert_eq!(lines(&root, rest(9)).1, Span { from: 9, to: 9, lines: 0, rest: 5 });
        assert_eq!(lines(&root, rest(14)).1, Span { from: 14, to: 14, lines: 0, rest: 0 });
        assert_eq!(lines(&root, rest(99)).1.lines, 0);
        Ok(())
    }

    #[test]
    fn a_line_that_is_too_long_is_one_and_the_next_is_read() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let _host = Host::new().root("logs", folder.path());
        let root = Root::open("logs")?;
        let long = "x".repeat(5 << 20);
        root.write("log", format!("one\n{long}\ntwo\n"))?;
        let (found, span) = lines(&root, rest(0));
        assert_eq!((found.join(" "), span.lines), (format!("one {} two", 5 << 20), 3));
        // It belongs to the part in which it begins, and to no other.
        let part = |from, to| Part { from, is_begin: from == 0, to: Some(to) };
        assert_eq!(lines(&root, part(0, 1_000)).0.len(), 2);
        assert_eq!(lines(&root, part(1_000, 2_000)).1.lines, 0);
        assert_eq!(lines(&root, part(2_000, 6 << 20)).0, ["two"]);
        // Without its end it waits, however long it is.
        root.write("log", format!("one\n{long}"))?;
        assert_eq!(lines(&root, rest(0)).1, Span { from: 0, to: 4, lines: 1, rest: 5 << 20 });
        Ok(())
    }

    #[test]
    fn compressed_files_are_read_through_all_their_members() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let _host = Host::new().root("logs", folder.path());
        let root = Root::open("logs")?;
        let gzip = |text: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).unwrap()
        };
        let zstd = |text: &str| {
            ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
        };
        for (one, two) in [(gzip("one\ntw"), gzip("o\nthree\nx")), (zstd("one\ntw"), zstd("o\nthree\nx"))] {
            root.write("log", [one.clone(), two.clone()].concat())?;
            let (found, span) = lines(&root, rest(0));
            assert_eq!((found.join(" "), span.to, span.rest), ("one two three".to_owned(), 14, 1));
            assert_eq!(lines(&root, rest(8)).0, ["three"]);
            assert_eq!(lines(&root, rest(14)).1.lines, 0);
            let (mut content, _) = Content::open(root.read("log")?)?;
            assert_eq!(content.head(), b"one\ntwo\nthree\nx");
        }
        // Cut off in the middle: what came out counts, and the damage is told.
        let all = gzip(&"line of a log\n".repeat(9_000));
        root.write("log", &all[..all.len() - 100])?;
        let (mut content, _) = Content::open(root.read("log")?)?;
        read(&mut content, rest(0), &mut |_| {})?;
        assert!(content.damage().is_some());
        Ok(())
    }

    proptest! {
        #[test]
        fn parts_side_by_side_have_each_line_once(
            text in "[ab\n]{0,60}", mut cuts in prop::collection::vec(1..60_u64, 0..6),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let _host = Host::new().root("logs", folder.path());
            let root = Root::open("logs").unwrap();
            root.write("log", &text).unwrap();
            let (want, whole) = lines(&root, rest(0));
            cuts.retain(|it| *it < text.len() as u64);
            cuts.sort_unstable();
            cuts.dedup();
            let (mut found, mut to) = (Vec::new(), 0);
            let begins = std::iter::once(0).chain(cuts.iter().copied());
            let ends = cuts.iter().copied().map(Some).chain([None]);
            for (from, end) in begins.zip(ends) {
                let part = Part { from, is_begin: from == 0, to: end };
                let (lines, span) = lines(&root, part);
                if span.lines > 0 {
                    prop_assert_eq!(span.from, to);
                    to = span.to;
                }
                found.extend(lines);
            }
            prop_assert_eq!(to, whole.to);
            prop_assert_eq!(found, want);
        }
    }
}
