//! The progress of one piece of work that is counted in bytes, outside of a run: a restore, a comparison.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

use super::PAUSE;
use super::tracker::Running;
use crate::clock::{self, Timestamp};
use crate::repository::Tell;

const BAR: &str = "{bar:20.green} {percent:>3} %  {wide_msg}";

/// Shows how far something is, on standard error: a bar on a terminal, elsewhere a line now and then.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Meter(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    work: Running,
    bar: Option<ProgressBar>,
    last_line: Timestamp,
}

impl Meter {
    /// A meter of `title`.
    pub(in crate::cli) fn new(title: &str) -> Self {
        let now = clock::now();
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(100).with_style(style.progress_chars("━╸─")).with_message(title.to_owned())
        });
        Self(Arc::new(Mutex::new(State { work: Running::new(title.to_owned(), 1, now), bar, last_line: now })))
    }

    /// Who is to be told of bytes done and bytes in all.
    pub(in crate::cli) fn tell(&self) -> Tell {
        let meter = self.clone();
        Arc::new(move |done, total| meter.advance(done, total, clock::now()))
    }

    fn advance(&self, done: u64, total: Option<u64>, now: Timestamp) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.work.progress(done, total, "bytes", now);
        let text = state.work.text(now);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share lies between 0 and 1")]
        let percent = (state.work.share() * 100.0) as u64;
        match &state.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.set_position(percent);
            }
            None if now.0 - state.last_line.0 >= PAUSE => {
                state.last_line = now;
                // Who does not listen is not told.
                let _ = writeln!(io::stderr(), "{percent:>3} %  {text}");
            }
            None => {}
        }
    }

    /// Takes the bar away.
    pub(in crate::cli) fn clear(&self) {
        if let Some(bar) = &self.0.lock().unwrap_or_else(PoisonError::into_inner).bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }
}
