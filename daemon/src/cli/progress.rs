//! A run while it lasts. On a terminal: a bar for the whole, a line for each step that runs, and what the run warns of
//! above them. Elsewhere: a line now and then.
//!
//! [`Tracker`] turns events into numbers, [`lines`](Tracker::overall) turns numbers into text, both without a terminal;
//! `bars` only draws.

mod bars;
mod meter;
mod tracker;

use std::io::{self, Write};

use super::logs;
use super::screen::{Screen, line};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::record::Level;

pub(super) use self::meter::Meter;

use self::bars::Bars;
use self::tracker::Tracker;

/// Where nobody looks at a terminal, a line comes this often at most, in milliseconds.
const PAUSE: i64 = 10_000;

/// Shows a run while it lasts.
pub(super) struct Progress<'a> {
    tracker: Tracker,
    screen: Screen,
    bars: Option<Bars>,
    /// Where lines go when there are no bars.
    err: &'a mut dyn Write,
    last_line: Timestamp,
}

impl<'a> Progress<'a> {
    /// Progress of a run of `task`: bars when `terminal`, lines on `err` otherwise. `screen` is that of standard error.
    pub(super) fn new(task: &str, terminal: bool, screen: Screen, err: &'a mut dyn Write) -> Self {
        let bars = terminal.then(|| Bars::new(task));
        let last_line = screen.now;
        Self { tracker: Tracker::new(task), screen, bars, err, last_line }
    }

    /// Something happened.
    pub(super) fn event(&mut self, event: &Event, now: Timestamp) -> io::Result<()> {
        match event {
            Event::Log { record } if record.level <= Level::Warn => self.say(&logs::text(&self.screen, record))?,
            Event::StepEnded { ordinal, error: Some(error), .. } => {
                let title = self.tracker.title(*ordinal).to_owned();
                self.say(&format!("step {ordinal} ({title}): {}", line(&error.to_string())))?;
            }
            Event::Planned { steps, .. } if self.bars.is_none() => {
                self.say(&format!("planned: {}", tracker::steps(*steps)))?;
            }
            _ => {}
        }
        self.tracker.event(event, now);
        self.tick(now)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        if let Some(bars) = &mut self.bars {
            bars.draw(&self.tracker, now);
        } else if now.0 - self.last_line.0 >= PAUSE {
            self.last_line = now;
            let percent = self.tracker.percent();
            writeln!(self.err, "{percent:>3} %  {}", self.tracker.overall(now))?;
        }
        Ok(())
    }

    /// Takes the bars away.
    pub(super) fn clear(&mut self) {
        if let Some(bars) = &mut self.bars {
            bars.clear();
        }
    }

    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        match &self.bars {
            Some(bars) => bars.say(text),
            None => writeln!(self.err, "{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::tests::id;
    use crate::cli::screen::tests::pipe;
    use crate::outcome::{Failure, Outcome};
    use crate::record::{LogRecord, Phase};

    #[test]
    fn a_pipe_gets_lines_now_and_then() {
        let screen = pipe();
        let start = screen.now.0;
        let mut err = Vec::new();
        let mut progress = Progress::new("backup-app", false, screen, &mut err);
        let run = id(1);
        let task = || "backup-app".to_owned();
        let log = |level, message: &str| {
            let (run, message) = (run.clone(), message.to_owned());
            Event::Log { record: LogRecord { run, at: Timestamp(0), step: None, level, message, fields: vec![] } }
        };
        let broken = Outcome::Failed { failure: Failure::Transient, message: "the database is locked".into() };
        let started = |ordinal, title: &str| Event::StepStarted {
            run: run.clone(),
            ordinal,
            title: title.into(),
            weight: 10 * u64::from(ordinal),
        };
        let read = |done| {
            let unit = "bytes".to_owned();
            Event::Progress { run: run.clone(), ordinal: 2, done, total: Some(100 << 20), unit }
        };
        let story = [
            (0, Event::Phase { run: run.clone(), task: task(), phase: Phase::Planning }),
            (10, Event::Planned { run: run.clone(), steps: 2, weight: 30 }),
            (20, Event::Phase { run: run.clone(), task: task(), phase: Phase::Executing }),
            (20, started(1, "app.db")),
            (20, started(2, "uploads")),
            (30, log(Level::Info, "not shown")),
            (40, log(Level::Warn, "3 files are not readable")),
            (50, Event::StepEnded { run: run.clone(), ordinal: 1, weight: 10, error: Some(broken) }),
            (5_020, read(20 << 20)),
            (10_020, read(40 << 20)),
            (15_020, read(60 << 20)),
            (20_020, read(80 << 20)),
        ];
        for (after, event) in story {
            progress.event(&event, Timestamp(start + after)).unwrap();
        }
        progress.clear();
        insta::assert_snapshot!(String::from_utf8(err).unwrap(), @"
        planned: 2 steps
        warn  3 files are not readable
        step 1 (app.db): failed: the database is locked
         60 %  backup-app: 1 of 2 steps, about 6s left
         86 %  backup-app: 1 of 2 steps, about 3s left
        ");
    }
}
