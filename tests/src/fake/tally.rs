//! What a receiver has counted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

/// Counts of one receiver: a robot, a topic, an application.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    count: Count,
    keys: HashMap<String, u32>,
    windows: Vec<Window>,
}

/// What was counted so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests that came.
    pub asked: u64,
    /// Messages that were taken.
    pub accepted: u64,
    /// Messages that were known by their key, and answered as if they were taken.
    pub again: u64,
    /// Requests that were refused, by code.
    pub refused: BTreeMap<i64, u64>,
}

/// A span that slides along, and the most that was in it.
#[derive(Debug)]
struct Window {
    span: i64,
    times: VecDeque<i64>,
    most: usize,
}

impl Window {
    fn slide(&mut self, now: i64) {
        while self.times.front().is_some_and(|at| now - at >= self.span) {
            self.times.pop_front();
        }
    }
}

impl Tally {
    /// One that looks at spans of so many milliseconds.
    pub(super) fn with(spans: &[i64]) -> Self {
        let window = |span: &i64| Window { span: *span, times: VecDeque::new(), most: 0 };
        let windows = spans.iter().map(window).collect();
        Self(Mutex::new(Counts { windows, ..Counts::default() }))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A request came.
    pub(super) fn came(&self, now: i64) {
        self.change(|counts| {
            counts.count.asked += 1;
            for window in &mut counts.windows {
                window.slide(now);
                window.times.push_back(now);
                window.most = window.most.max(window.times.len());
            }
        });
    }

    /// Requests within the span that ends now.
    pub(super) fn within(&self, span: i64, now: i64) -> usize {
        self.change(|counts| {
            let window =
                counts.windows.iter_mut().find(|window| window.span == span).expect("a span that is looked at");
            window.slide(now);
            window.times.len()
        })
    }

    /// A message was taken, under a key.
    pub(super) fn accepted(&self, key: &str) {
        self.change(|counts| {
            counts.count.accepted += 1;
            match counts.keys.get_mut(key) {
                Some(known) => *known += 1,
                None => _ = counts.keys.insert(key.to_owned(), 1),
            }
        });
    }

    /// A message that was taken before came again.
    pub(super) fn again(&self) {
        self.change(|counts| counts.count.again += 1);
    }

    /// A request was refused.
    pub(super) fn refused(&self, code: i64) {
        self.change(|counts| *counts.count.refused.entry(code).or_default() += 1);
    }

    /// What was counted so far.
    pub fn count(&self) -> Count {
        self.change(|counts| counts.count.clone())
    }

    /// How often a message of each key was taken. The key is that of idempotency, else what the message says.
    pub fn keys(&self) -> HashMap<String, u32> {
        self.change(|counts| counts.keys.clone())
    }

    /// How often a message of this key was taken.
    pub fn of(&self, key: &str) -> u32 {
        self.change(|counts| counts.keys.get(key).copied().unwrap_or(0))
    }

    /// All of it but the keys, as JSON.
    pub(super) fn told(&self) -> Value {
        self.change(|counts| {
            let Count { asked, accepted, again, refused } = &counts.count;
            let most: BTreeMap<String, usize> =
                counts.windows.iter().map(|it| (it.span.to_string(), it.most)).collect();
            let often = counts.keys.values().max().copied().unwrap_or(0);
            json!({
                "asked": asked, "accepted": accepted, "again": again, "refused": refused, "most_within_ms": most,
                "keys": counts.keys.len(), "most_of_one_key": often,
            })
        })
    }

    /// The most requests that came within so many milliseconds.
    #[track_caller]
    pub fn most(&self, span: i64) -> usize {
        let most = |counts: &mut Counts| counts.windows.iter().find(|window| window.span == span).map(|it| it.most);
        self.change(most).expect("a span that this receiver looks at")
    }
}
