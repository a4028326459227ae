//! How far a run is, from its events: pure, with the time as an argument.

use std::collections::{BTreeMap, VecDeque};

use crate::cli::screen::{amount, duration, line};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::record::Phase;

/// A rate is that of the last so many milliseconds.
const WINDOW: i64 = 10_000;

/// No time left before this share was seen to be done: from less follow months.
const SEEN: f64 = 0.01;

/// No rate and no time left before so many milliseconds: the first numbers say little.
const SETTLED: i64 = 1_000;

/// How far a run is.
#[derive(Debug)]
pub(super) struct Tracker {
    task: String,
    phase: Phase,
    steps: u32,
    weight: u64,
    steps_done: u32,
    weight_done: u64,
    running: BTreeMap<u32, Running>,
    /// When the first step was seen, and the share of the work that was done by then.
    base: Option<(Timestamp, f64)>,
}

/// A step that runs.
#[derive(Debug)]
pub(super) struct Running {
    title: String,
    weight: u64,
    since: Timestamp,
    total: Option<u64>,
    unit: String,
    /// What was done, and when; the oldest is from about [`WINDOW`] ago.
    samples: VecDeque<(Timestamp, u64)>,
}

impl Tracker {
    /// A run of `task` that has not said anything.
    pub(super) fn new(task: &str) -> Self {
        Self {
            task: line(task).into_owned(),
            phase: Phase::Queued,
            steps: 0,
            weight: 0,
            steps_done: 0,
            weight_done: 0,
            running: BTreeMap::new(),
            base: None,
        }
    }

    /// Something happened.
    pub(super) fn event(&mut self, event: &Event, now: Timestamp) {
        match event {
            Event::Phase { phase, .. } => self.phase = *phase,
            Event::Planned { steps, weight, .. } => (self.steps, self.weight) = (*steps, *weight),
            Event::StepStarted { ordinal, title, weight, .. } => {
                self.running.insert(*ordinal, Running::new(line(title).into_owned(), *weight, now));
            }
            Event::Progress { ordinal, done, total, unit, .. } => {
                if let Some(running) = self.running.get_mut(ordinal) {
                    running.progress(*done, *total, unit, now);
                }
            }
            Event::StepEnded { ordinal, weight, .. } => {
                self.running.remove(ordinal);
                self.steps_done += 1;
                self.weight_done += weight;
            }
            Event::Ended { .. } => self.phase = Phase::Done,
            Event::Log { .. } => {}
        }
        if self.base.is_none() && self.steps > 0 {
            // A reader that came late is told at once of what was done before.
            self.base = Some((now, 0.0));
        }
        if let Some((at, share)) = self.base
            && now == at
        {
            self.base = Some((at, share.max(self.share())));
        }
    }

    /// The title of a step that runs.
    pub(super) fn title(&self, ordinal: u32) -> &str {
        self.running.get(&ordinal).map_or("", |running| &running.title)
    }

    /// The steps that run, in the order of the plan.
    pub(super) fn running(&self) -> impl ExactSizeIterator<Item = &Running> {
        self.running.values()
    }

    /// The share of the work that is done, 0 to 1, by the weights of the steps.
    pub(super) fn share(&self) -> f64 {
        if self.phase >= Phase::Finishing {
            return 1.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a share is shown in whole percents")]
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let running: f64 = self.running.values().map(|step| step.share() * share(step.weight, self.weight)).sum();
        (share(self.weight_done, self.weight) + running).min(1.0)
    }

    /// The same in percent; 100 only when it is all done.
    pub(super) fn percent(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share lies between 0 and 1")]
        let percent = (self.share() * 100.0) as u64;
        percent
    }

    /// The run in one line: `backup-app: 3 of 7 steps, about 2m 10s left`.
    pub(super) fn overall(&self, now: Timestamp) -> String {
        let doing = match self.phase {
            Phase::Queued => "waits for its turn".to_owned(),
            Phase::Planning => "makes its plan".to_owned(),
            Phase::Executing if self.steps == 0 => "executes".to_owned(),
            Phase::Executing => format!("{} of {}", self.steps_done, steps(self.steps)),
            Phase::Finishing => "sums up".to_owned(),
            Phase::Done => "over".to_owned(),
        };
        format!("{}: {doing}{}", self.task, self.left(now).and_then(left_text).unwrap_or_default())
    }

    /// Milliseconds until the end, if it goes on as it went.
    fn left(&self, now: Timestamp) -> Option<i64> {
        let (since, base) = self.base.filter(|_| self.phase == Phase::Executing)?;
        let (passed, share) = (now.0 - since.0, self.share());
        if passed < SETTLED || share - base < SEEN {
            return None;
        }
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an estimate")]
        let left = (passed as f64 * (1.0 - share) / (share - base)) as i64;
        Some(left)
    }
}

impl Running {
    pub(super) fn new(title: String, weight: u64, now: Timestamp) -> Self {
        Self { title, weight, since: now, total: None, unit: String::new(), samples: VecDeque::from([(now, 0)]) }
    }

    pub(super) fn progress(&mut self, done: u64, total: Option<u64>, unit: &str, now: Timestamp) {
        // A reader that came late must not take what was done before for the work of a moment.
        if self.total.is_none() && self.unit.is_empty() && now.0 - self.since.0 < SETTLED && self.samples.len() == 1 {
            self.samples = VecDeque::from([(now, done)]);
        }
        self.total = total;
        unit.clone_into(&mut self.unit);
        if self.samples.back().is_some_and(|(at, last)| *at == now || done < *last) {
            self.samples.pop_back();
        }
        self.samples.push_back((now, done));
        while self.samples.get(1).is_some_and(|(at, _)| now.0 - at.0 >= WINDOW) {
            self.samples.pop_front();
        }
    }

    fn done(&self) -> u64 {
        self.samples.back().map_or(0, |(_, done)| *done)
    }

    pub(super) fn share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share is shown in whole percents")]
        match self.total {
            Some(total) if total > 0 => (self.done() as f64 / total as f64).min(1.0),
            _ => 0.0,
        }
    }

    /// What is done in a second.
    fn rate(&self) -> Option<f64> {
        let ((from, first), (to, last)) = (self.samples.front()?, self.samples.back()?);
        let passed = to.0 - from.0;
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
        let rate = last.saturating_sub(*first) as f64 * 1000.0 / passed as f64;
        (passed >= SETTLED && rate >= 1.0).then_some(rate)
    }

    /// The step in one line: `uploads  312 MiB of 1.25 GiB, 48.0 MiB/s, about 19s left`.
    pub(super) fn text(&self, now: Timestamp) -> String {
        let mut parts = Vec::new();
        let mut left_for = None;
        if !self.unit.is_empty() || self.done() > 0 {
            parts.push(match self.total {
                Some(total) => format!("{} of {}", self.bare(self.done()), amount(total, &self.unit)),
                None => amount(self.done(), &self.unit),
            });
        }
        if let Some(rate) = self.rate() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is at least 1 here")]
            let whole = rate as u64;
            parts.push(format!("{}/s", amount(whole, &self.unit)));
            if let Some(left) = self.total.and_then(|total| total.checked_sub(self.done())).filter(|left| *left > 0) {
                #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an estimate")]
                let left = (left as f64 * 1000.0 / rate) as i64;
                left_for = left_text(left);
            }
        }
        if parts.is_empty() {
            parts.push(duration((now.0 - self.since.0) / 1000 * 1000));
        }
        format!("{}  {}{}", self.title, parts.join(", "), left_for.unwrap_or_default())
    }

    /// An amount before `of`: bytes keep their unit, of others it follows the total.
    fn bare(&self, count: u64) -> String {
        if self.unit == "bytes" { amount(count, "bytes") } else { amount(count, "") }
    }
}

/// `, about 2m 10s left`; nothing for the last second.
fn left_text(ms: i64) -> Option<String> {
    let time = match ms / 1000 {
        0 => return None,
        seconds @ 1..60 => format!("{seconds}s"),
        _ => duration(ms),
    };
    Some(format!(", about {time} left"))
}

/// `1 step`, `7 steps`.
pub(super) fn steps(count: u32) -> String {
    match count {
        1 => "1 step".to_owned(),
        _ => format!("{count} steps"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunId;

    struct Story(Tracker, RunId);

    impl Story {
        fn new(steps: u32, weight: u64) -> Self {
            let mut story = Self(Tracker::new("t"), RunId("r".into()));
            story.at(0, Event::Phase { run: story.1.clone(), task: "t".into(), phase: Phase::Executing });
            story.at(0, Event::Planned { run: story.1.clone(), steps, weight });
            story
        }

        fn at(&mut self, ms: i64, event: Event) {
            self.0.event(&event, Timestamp(ms));
        }

        fn start(&mut self, ms: i64, ordinal: u32, weight: u64) {
            let event = Event::StepStarted { run: self.1.clone(), ordinal, title: format!("step {ordinal}"), weight };
            self.at(ms, event);
        }

        fn progress(&mut self, ms: i64, ordinal: u32, done: u64, total: Option<u64>, unit: &str) {
            let event = Event::Progress { run: self.1.clone(), ordinal, done, total, unit: unit.into() };
            self.at(ms, event);
        }

        fn end(&mut self, ms: i64, ordinal: u32, weight: u64) {
            self.at(ms, Event::StepEnded { run: self.1.clone(), ordinal, weight, error: None });
        }

        fn step(&self, ms: i64) -> String {
            self.0.running().next().unwrap().text(Timestamp(ms))
        }
    }

    #[test]
    fn the_share_is_by_weight_and_counts_steps_under_way() {
        let mut story = Story::new(3, 100);
        story.start(0, 0, 60);
        story.start(0, 1, 30);
        assert_eq!(story.0.percent(), 0);
        story.progress(1_000, 0, 5, Some(10), "files");
        assert_eq!(story.0.percent(), 30);
        story.end(2_000, 1, 30);
        assert_eq!(story.0.percent(), 60);
        assert_eq!(story.0.overall(Timestamp(6_000)), "t: 1 of 3 steps, about 4s left");
        story.end(6_000, 0, 60);
        assert_eq!(story.0.percent(), 90);
        assert_eq!(story.0.running().len(), 0);
        let run = story.1.clone();
        story.at(7_000, Event::Phase { run, task: "t".into(), phase: Phase::Finishing });
        assert_eq!((story.0.percent(), story.0.overall(Timestamp(7_000)).as_str()), (100, "t: sums up"));
    }

    #[test]
    fn from_next_to_nothing_no_end_is_foretold() {
        let mut story = Story::new(1, 1_000);
        story.start(0, 0, 1_000);
        story.progress(20_000, 0, 1, Some(1_000), "bytes");
        assert_eq!(story.0.overall(Timestamp(20_000)), "t: 0 of 1 step");
        story.progress(30_000, 0, 100, Some(1_000), "bytes");
        assert_eq!(story.0.overall(Timestamp(30_000)), "t: 0 of 1 step, about 4m 30s left");
    }

    #[test]
    fn a_reader_that_comes_late_does_not_count_the_past_as_speed() {
        let mut story = Story::new(2, 100);
        story.end(0, 0, 50);
        story.start(0, 1, 50);
        assert_eq!(story.0.overall(Timestamp(2_000)), "t: 1 of 2 steps", "nothing was seen to be done yet");
        story.progress(100, 1, 1_000, Some(2_000), "files");
        assert_eq!(story.step(200), "step 1  1,000 of 2,000 files");
        story.progress(2_100, 1, 1_200, Some(2_000), "files");
        assert_eq!(story.step(2_100), "step 1  1,200 of 2,000 files, 100 files/s, about 8s left");
    }

    #[test]
    fn the_rate_forgets_what_was_long_ago() {
        let mut story = Story::new(1, 1);
        story.start(0, 0, 1);
        for second in 0..=60_u64 {
            let done = if second < 40 { second } else { 40 + (second - 40) * (1 << 20) };
            story.progress(1_000 * i64::try_from(second).unwrap(), 0, done, None, "bytes");
        }
        assert_eq!(story.step(60_000), "step 0  20.0 MiB, 1.00 MiB/s");
    }

    #[test]
    fn a_silent_step_shows_its_time() {
        let mut story = Story::new(1, 0);
        story.start(0, 0, 0);
        assert_eq!(story.step(75_400), "step 0  1m 15s");
        assert_eq!(story.0.overall(Timestamp(75_400)), "t: 0 of 1 step");
        story.progress(80_000, 0, 0, Some(0), "");
        assert_eq!(story.0.percent(), 0, "no total and no weight are no division by zero");
    }
}
