//! Lines of a log: whatever they are, what they say is part of the line, and pieces make no difference.
#![no_main]

use std::sync::LazyLock;

use upkeep_accesslog::{Entry, Format, NAMES, Pages, Parser, Piece, Referrers, Splitter, is_asset};

static PARSERS: LazyLock<Vec<Parser>> =
    LazyLock::new(|| NAMES.iter().filter_map(|(name, _)| Format::new(name).ok()).map(Parser::new).collect());

fn look(entry: &Entry<'_>, line: &[u8]) {
    let range = line.as_ptr_range();
    let fields = [
        entry.address,
        entry.host,
        entry.user,
        entry.method,
        entry.target,
        entry.args,
        entry.protocol,
        entry.referrer,
        entry.agent,
        entry.forwarded,
    ];
    for field in fields.into_iter().flatten() {
        assert!(!field.is_empty() && range.contains(&field.as_ptr()));
        assert!(entry.text(field).len() <= field.len());
    }
    assert!(entry.status < 1000 && entry.millis.is_none_or(|it| it < 1000));
    let _ = (entry.query(), entry.forwarded_for());
    if let Some(target) = entry.target {
        let target = entry.text(target);
        let pages = Pages::new(["q"], true);
        let page = pages.page(&target).into_owned();
        if page.starts_with(b"/") {
            assert_eq!(*pages.page(&page), page);
        }
        let _ = is_asset(&page);
    }
    if let Some(referrer) = entry.referrer {
        let _ = Referrers::new(["shop.example"]).classify(Some(&entry.text(referrer)), entry.host);
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    const BOUND: usize = 600;
    let own = |it: Piece<'_>| match it {
        Piece::Line(it) => Ok(it.to_vec()),
        Piece::TooLong { length } => Err(length),
    };
    let mut splitter = Splitter::new(BOUND);
    let mut pieces = splitter.split(bytes);
    let mut whole: Vec<_> = pieces.by_ref().map(own).collect();
    let rest = &bytes[pieces.consumed()..];
    whole.extend(splitter.finish(rest).map(own));
    // The same in pieces, of lengths that the bytes themselves give.
    let (mut splitter, mut buffer, mut parts) = (Splitter::new(BOUND), Vec::new(), Vec::new());
    let mut left = bytes;
    while let Some(first) = left.first() {
        let (piece, rest) = left.split_at(left.len().min(1 + usize::from(*first)));
        left = rest;
        buffer.extend_from_slice(piece);
        let mut pieces = splitter.split(&buffer);
        parts.extend(pieces.by_ref().map(own));
        let consumed = pieces.consumed();
        buffer.drain(..consumed);
    }
    parts.extend(splitter.finish(&buffer).map(own));
    assert_eq!(parts, whole);
    let mut parsers = PARSERS.clone();
    for line in whole.iter().flatten() {
        for parser in &mut parsers {
            match parser.parse(line) {
                Ok(entry) => look(&entry, line),
                Err(malformed) => assert!(malformed.at <= line.len()),
            }
        }
    }
});
