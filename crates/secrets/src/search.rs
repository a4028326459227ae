//! The search through one file: what was found so far, and where it stands.

use std::cmp::Reverse;
use std::ops::Range;

use crate::place::Place;
use crate::pragma;
use crate::report::{Match, identity, redact};
use crate::rule::Id;
use crate::scanner::{Scanner, Summary};
use crate::syntax::File;
use crate::view::{AFTER, BEFORE, View};

/// A find that gives way to a better one at the same place.
#[derive(Debug)]
struct Candidate {
    id: Id,
    is_allowed: bool,
    found: Match,
}

/// What is known of a file so far.
#[derive(Debug)]
pub(crate) struct Search {
    file: File,
    summary: Summary,
    candidates: Vec<Candidate>,
    place: Place,
    /// Up to where in the file `place` has counted.
    counted: u64,
}

impl Search {
    pub(crate) fn new(path: &str) -> Self {
        let place = Place::default();
        Self { file: File::new(path), summary: Summary::default(), candidates: Vec::new(), place, counted: 0 }
    }

    /// Looks at the anchors that begin in `range` of `data`, which is the file from `base` on.
    pub(crate) fn look(&mut self, scanner: &Scanner, data: &[u8], base: u64, range: Range<usize>) {
        scanner.seek(data, range, |start, end, matcher| {
            let from = start.saturating_sub(BEFORE);
            let seen = &data[from..data.len().min(start + AFTER)];
            let view = View { data: seen, start: start - from, end: end - from, file: &self.file };
            let Some(found) = matcher.find(&view) else { return };
            let (rule, secret) = (found.id.rule(), &seen[found.start..found.end]);
            if !scanner.is_wanted(rule, secret) {
                return;
            }
            let is_allowed = pragma::allows(&view, found.start, found.end);
            self.count(data, base, from);
            let mut place = self.place;
            let known = usize::try_from(self.counted - base).unwrap_or(from).min(from + found.start);
            place.pass(&data[known..from + found.start]);
            let (line, column) = place.here();
            let offset = base + from as u64;
            let found_match = Match {
                rule,
                line,
                column,
                range: offset + found.start as u64..offset + found.end as u64,
                redacted: redact(found.id, secret),
                fingerprint: scanner.fingerprint(rule, &identity(found.id, secret)),
            };
            self.candidates.push(Candidate { id: found.id, is_allowed, found: found_match });
        });
    }

    /// Counts lines up to `to` in `data`, unless that is done.
    fn count(&mut self, data: &[u8], base: u64, to: usize) {
        let from = usize::try_from(self.counted.saturating_sub(base)).unwrap_or(to);
        if from < to {
            self.place.pass(&data[from..to]);
            self.counted = base + to as u64;
        }
    }

    /// The first `done` bytes of `data` are let go of.
    pub(crate) fn leave(&mut self, data: &[u8], base: u64, done: usize) {
        self.count(data, base, done);
    }

    /// Reports what nothing found later can touch: that begins at `settled` in the file, or after.
    ///
    /// Of finds that overlap, the one stays that knows whose secret it is, then the first, then the longest. Which finds
    /// overlap does not depend on the pieces that the file comes in.
    pub(crate) fn report(&mut self, settled: u64, sink: &mut impl FnMut(Match)) {
        if self.candidates.is_empty() {
            return;
        }
        self.candidates.sort_by_key(|it| (it.found.range.start, Reverse(it.found.range.end), it.id as usize));
        let mut rest = std::mem::take(&mut self.candidates).into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut end = first.found.range.end;
            let mut group = vec![first];
            while let Some(next) = rest.next_if(|it| it.found.range.start < end) {
                end = end.max(next.found.range.end);
                group.push(next);
            }
            if end > settled {
                self.candidates.extend(group);
                self.candidates.extend(rest);
                return;
            }
            self.settle(group, sink);
        }
    }

    fn settle(&mut self, mut group: Vec<Candidate>, sink: &mut impl FnMut(Match)) {
        // Stable: within each half they stay in order.
        group.sort_by_key(|it| it.id.is_generic());
        let mut kept: Vec<Candidate> = Vec::with_capacity(1);
        for candidate in group {
            let (start, end) = (candidate.found.range.start, candidate.found.range.end);
            if kept.iter().all(|it| it.found.range.end <= start || end <= it.found.range.start) {
                kept.push(candidate);
            }
        }
        kept.sort_by_key(|it| it.found.range.start);
        for candidate in kept {
            if candidate.is_allowed {
                self.summary.allowed += 1;
            } else {
                self.summary.found += 1;
                sink(candidate.found);
            }
        }
    }

    /// Reports the rest.
    pub(crate) fn finish(mut self, sink: &mut impl FnMut(Match)) -> Summary {
        self.report(u64::MAX, sink);
        self.summary
    }
}
