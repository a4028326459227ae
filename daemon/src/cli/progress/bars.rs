//! Draws the progress of a run on the terminal of standard error.

use std::io;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::tracker::Tracker;
use crate::clock::Timestamp;

/// Steps that get a line; the others are counted.
const SHOWN: usize = 8;

const OVERALL: &str = "{bar:24.green} {percent:>3} %  {wide_msg}";
const STEP: &str = "  {wide_msg}";

/// Bars on the terminal.
pub(super) struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    steps: Vec<ProgressBar>,
}

impl Bars {
    /// Bars for a run of `task` that has not said anything.
    pub(super) fn new(task: &str) -> Self {
        let all = MultiProgress::new();
        let overall = ProgressBar::new(100).with_style(style(OVERALL));
        let overall = all.add(overall.with_message(crate::cli::screen::line(task).into_owned()));
        Self { all, overall, steps: Vec::new() }
    }

    pub(super) fn draw(&mut self, tracker: &Tracker, now: Timestamp) {
        self.overall.set_position(tracker.percent());
        self.overall.set_message(tracker.overall(now));
        let running = tracker.running();
        let more = running.len().saturating_sub(SHOWN);
        let mut texts: Vec<String> = running.take(SHOWN).map(|step| step.text(now)).collect();
        if more > 0 {
            texts.push(format!("and {more} more"));
        }
        while self.steps.len() < texts.len() {
            let bar = ProgressBar::no_length().with_style(style(STEP));
            self.steps.push(self.all.add(bar));
        }
        for bar in self.steps.drain(texts.len()..) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
        for (bar, text) in self.steps.iter().zip(texts) {
            bar.set_message(text);
            bar.tick();
        }
    }

    /// A line above the bars.
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        self.all.println(text)
    }

    pub(super) fn clear(&mut self) {
        for bar in self.steps.drain(..) {
            bar.finish_and_clear();
        }
        self.overall.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates above are constant and valid, as the test shows.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [OVERALL, STEP] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
