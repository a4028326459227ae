//! From the lines of a log to what they count as.

use upkeep_accesslog::Piece as Line;
use upkeep_plugin::{Context, Result};
use upkeep_rollup::Section;

use crate::config::{Source, Stats};
use crate::store::Store;

mod access;
pub(crate) mod event;

/// Lines that could not be read and are shown.
const SAMPLES: usize = 5;
/// Characters of such a line.
const SHOWN: usize = 300;
/// Seconds by which the clock of whoever writes the log may be ahead.
const AHEAD: i64 = 86_400;

/// What was counted of a part of a log.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) sections: Vec<Section>,
    /// Lines in the figures, those that came late among them.
    pub(crate) lines: u64,
    pub(crate) late: u64,
    pub(crate) malformed: u64,
    /// The first of those, with the reason.
    pub(crate) samples: Vec<(String, String)>,
    /// The newest time, in Unix seconds; 0 when there was no line.
    pub(crate) newest: i64,
}

/// What is counted of lines of whatever kind.
pub(crate) struct Tally {
    /// Older lines are late.
    late_before: i64,
    /// Newer ones have a time that cannot be.
    latest: i64,
    counted: Counted,
}

/// How a line is counted, by its time.
pub(crate) enum When {
    Now,
    /// As late, and in no other way.
    Late,
    /// It is malformed, which is noted.
    Never,
}

impl Tally {
    /// Lines that are older than `late_before` (Unix seconds) are late.
    pub(crate) fn new(ctx: &Context, late_before: i64) -> Self {
        Self { late_before, latest: ctx.now / 1_000 + AHEAD, counted: Counted::default() }
    }

    /// What was counted, with these sections.
    pub(crate) fn finish(self, sections: Vec<Section>) -> Counted {
        Counted { sections, ..self.counted }
    }

    fn when(&mut self, line: &[u8], time: i64) -> When {
        if time > self.latest {
            self.malformed(line, "a time that is still to come".to_owned());
            When::Never
        } else if time < self.late_before {
            self.counted.late += 1;
            When::Late
        } else {
            self.counted.newest = self.counted.newest.max(time);
            When::Now
        }
    }

    fn end(&mut self, line: &[u8], is_counted: bool) {
        match is_counted {
            true => self.counted.lines += 1,
            false => self.malformed(line, "a time that no calendar has".to_owned()),
        }
    }

    pub(crate) fn malformed(&mut self, line: &[u8], reason: String) {
        self.counted.malformed += 1;
        if self.counted.samples.len() < SAMPLES {
            let shown: String = String::from_utf8_lossy(line).chars().take(SHOWN).collect();
            self.counted.samples.push((reason, shown.replace(char::is_control, "\u{fffd}")));
        }
    }
}

/// Counts lines.
pub(crate) struct Counter<'a> {
    tally: Tally,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Access(Box<access::Access<'a>>),
    Event(Box<event::EventLines>),
}

impl<'a> Counter<'a> {
    /// Lines of `source` that are older than `late_before` (Unix seconds) are late.
    pub(crate) fn new(
        ctx: &Context,
        stats: &Stats,
        source: &Source,
        store: &'a Store,
        late_before: i64,
    ) -> Result<Self> {
        let kind = match source.is_of_events() {
            true => Kind::Event(Box::new(event::EventLines::new(ctx, stats, source, store)?)),
            false => Kind::Access(Box::new(access::Access::new(ctx, stats, source, store)?)),
        };
        Ok(Self { tally: Tally::new(ctx, late_before), kind })
    }

    /// Counts a line.
    ///
    /// # Errors
    /// When the key of visitors cannot be had.
    #[inline]
    pub(crate) fn line(&mut self, line: Line<'_>) -> Result<()> {
        match (line, &mut self.kind) {
            (Line::Line([]), _) => Ok(()),
            (Line::Line(line), Kind::Access(access)) => access.line(line, &mut self.tally),
            (Line::Line(line), Kind::Event(events)) => {
                events.line(line, &mut self.tally);
                Ok(())
            }
            (Line::TooLong { length }, _) => {
                self.tally.malformed(&[], format!("a line of {length} bytes"));
                Ok(())
            }
        }
    }

    /// Counts a line whose end is missing: what it says may be half of a number.
    pub(crate) fn cut_off(&mut self, bytes: u64) {
        self.tally.malformed(&[], format!("a line that was cut off after {bytes} bytes"));
    }

    /// What was counted.
    pub(crate) fn finish(self) -> Counted {
        let sections = match self.kind {
            Kind::Access(access) => access.finish(),
            Kind::Event(events) => events.finish(),
        };
        self.tally.finish(sections)
    }
}
