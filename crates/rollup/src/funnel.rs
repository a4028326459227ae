//! How far users get: steps that follow each other within a window, counted by the day on which they began.
//!
//! A user gets as far on a day as the best of the attempts that begin on it: a first step, and then the earliest next ones that
//! do not come before, up to the end of the window. Of steps in the same second, any order will do.
//!
//! What users did is kept until no more can follow: when the watermark is a window past the end of a day, the day is counted
//! ([`Attempts::close`]), what was done on it is forgotten, and what comes later of it is not counted any more.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::calendar::{Calendar, Day};
use crate::codec::{Damaged, Reader, VERSION, put_int, put_uint};
use crate::visitor::partition;

/// Steps in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Funnel {
    id: u32,
    steps: Vec<String>,
    window: u32,
}

/// A funnel that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FunnelError {
    /// There are too few or too many steps.
    #[error("a funnel has 2 to 32 steps, not {0}")]
    Steps(usize),
    /// A step comes twice.
    #[error("the step `{0}` comes twice")]
    Twice(String),
    /// The window is empty.
    #[error("the window of a funnel has no length")]
    Window,
}

impl Funnel {
    /// `id` names it in keys: another one for each definition, since what was counted under one cannot be counted anew.
    /// `steps` are names of events, `window` is in seconds.
    pub fn new(id: u32, steps: Vec<String>, window: u32) -> Result<Self, FunnelError> {
        if !(2..=32).contains(&steps.len()) {
            return Err(FunnelError::Steps(steps.len()));
        }
        if let Some((_, step)) = steps.iter().enumerate().find(|(at, step)| steps[..*at].contains(step)) {
            return Err(FunnelError::Twice(step.clone()));
        }
        if window == 0 { Err(FunnelError::Window) } else { Ok(Self { id, steps, window }) }
    }

    /// As it is named in keys.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Which step an event is.
    pub(crate) fn step(&self, event: &str) -> Option<u8> {
        self.steps.iter().position(|it| it == event).map(|it| it as u8)
    }
}

/// A step that a user did at a time.
type Done = (u64, u32, u8);

/// What users of a partition did of a funnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    /// Days before are over.
    open: Day,
    done: Vec<Done>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { open: Day(i32::MIN), done: Vec::new() }
    }
}

/// How many users reached each of the steps, of those who began on a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps(pub Vec<u64>);

impl Steps {
    /// Takes in that of others.
    pub fn merge(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_uint(&mut out, self.0.len() as u64);
        self.0.iter().for_each(|it| put_uint(&mut out, *it));
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes)?;
        let steps = (0..reader.count(1)?).map(|_| reader.uint()).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(Self(steps))
    }
}

impl Attempts {
    pub(crate) fn of(mut done: Vec<Done>) -> Self {
        done.sort_unstable();
        done.dedup();
        Self { done, ..Self::default() }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty() && self.open == Self::default().open
    }

    /// Takes in others of the same partition. What is of days that are over is left out.
    pub fn merge(&mut self, others: &[Self], calendar: &mut Calendar) {
        for other in others {
            self.open = self.open.max(other.open);
            self.done.extend_from_slice(&other.done);
        }
        self.done.sort();
        self.done.dedup();
        self.forget(calendar);
    }

    fn forget(&mut self, calendar: &mut Calendar) {
        let open = self.open;
        self.done.retain(|it| calendar.hour(it.1.into()).is_some_and(|hour| hour.day >= open));
    }

    /// Counts the days that are over when nothing from before `watermark` (Unix seconds) comes any more, and forgets them.
    pub fn close(&mut self, watermark: i64, funnel: &Funnel, calendar: &mut Calendar) -> BTreeMap<Day, Steps> {
        let border = watermark.saturating_sub(funnel.window.into());
        let open = match calendar.hour(border) {
            Some(hour) => hour.day,
            None if border < 0 => Day(i32::MIN),
            None => Day(i32::MAX),
        };
        let mut days = BTreeMap::new();
        for user in self.done.chunk_by(|a, b| a.0 == b.0) {
            let mut deepest = BTreeMap::<Day, usize>::new();
            for (at, &(_, time, step)) in user.iter().enumerate() {
                if step != 0 {
                    continue;
                }
                let Some(day) = calendar.hour(time.into()).map(|it| it.day).filter(|it| *it < open) else { continue };
                let depth = deepest.entry(day).or_default();
                if *depth < funnel.steps.len() {
                    *depth = (*depth).max(reach(user, at, funnel));
                }
            }
            for (day, depth) in deepest {
                let Steps(steps) = days.entry(day).or_insert_with(|| Steps(vec![0; funnel.steps.len()]));
                steps[..depth].iter_mut().for_each(|it| *it += 1);
            }
        }
        // With the last day there is, nothing would ever be counted again.
        if open < Day(i32::MAX) {
            self.open = self.open.max(open);
        }
        self.done.retain(|it| calendar.hour(it.1.into()).is_some_and(|hour| hour.day >= open));
        days
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_int(&mut out, self.open.0.into());
        put_uint(&mut out, self.done.len() as u64);
        let (mut user, mut time) = (0, 0);
        for &it in &self.done {
            put_uint(&mut out, it.0 - user);
            put_int(&mut out, i64::from(it.1) - time);
            out.push(it.2);
            (user, time) = (it.0, it.1.into());
        }
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes)?;
        let mut this = Self { open: Day(reader.day()?), done: Vec::new() };
        let (mut user, mut time) = (0u64, 0i64);
        for _ in 0..reader.count(3)? {
            user = user.checked_add(reader.uint()?).ok_or(Damaged::Invalid("a user is out of range"))?;
            time = time.checked_add(reader.int()?).ok_or(Damaged::Invalid("a time is out of range"))?;
            let at = u32::try_from(time).map_err(|_| Damaged::Invalid("a time is out of range"))?;
            this.done.push((user, at, reader.narrow()?));
        }
        reader.end()?;
        let one = this.done.first().map(|it| partition(it.0)) == this.done.last().map(|it| partition(it.0));
        if one && this.done.is_sorted_by(|a, b| a < b) {
            Ok(this)
        } else {
            Err(Damaged::Invalid("steps are out of order"))
        }
    }
}

/// How many steps follow each other from a first one on.
fn reach(user: &[Done], start: usize, funnel: &Funnel) -> usize {
    let began = user[start].1;
    let mut time = began;
    // In the same second, what comes before the first step here may come after it.
    let mut from = user.partition_point(|it| it.1 < began);
    for step in 1..funnel.steps.len() {
        let next = user[from..].iter().position(|it| it.1 >= time && usize::from(it.2) == step);
        match next {
            Some(next) if user[from + next].1 - began <= funnel.window => {
                time = user[from + next].1;
                from += user[from..from + next].partition_point(|it| it.1 < time);
            }
            _ => return step,
        }
    }
    funnel.steps.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn funnel() -> Funnel {
        Funnel::new(1, ["view", "cart", "pay"].map(str::to_owned).to_vec(), 3600).unwrap()
    }

    /// Whether steps can be done in order, by trying all.
    fn possible(done: &[Done], step: u8, last: u8, from: u32, until: u32) -> bool {
        step > last
            || done
                .iter()
                .any(|it| it.2 == step && it.1 >= from && it.1 <= until && possible(done, step + 1, last, it.1, until))
    }

    fn naive(done: &[Done], calendar: &mut Calendar) -> BTreeMap<Day, Steps> {
        let mut days = BTreeMap::<Day, Steps>::new();
        for user in 0..4u64 {
            let of_user: Vec<_> = done.iter().filter(|it| it.0 == user).copied().collect();
            let mut best = BTreeMap::<Day, usize>::new();
            for start in of_user.iter().filter(|it| it.2 == 0) {
                let day = calendar.hour(start.1.into()).unwrap().day;
                let depth = (0..3).filter(|last| possible(&of_user, 1, *last, start.1, start.1 + 3600)).count();
                let best = best.entry(day).or_default();
                *best = depth.max(*best);
            }
            for (day, depth) in best {
                let steps = days.entry(day).or_insert_with(|| Steps(vec![0; 3]));
                steps.0[..depth].iter_mut().for_each(|it| *it += 1);
            }
        }
        days
    }

    proptest! {
        #[test]
        fn days_are_as_counted_by_hand(
            done in prop::collection::vec((0..4u64, 0..200u32, 0..3u8), 0..60),
            cuts in prop::collection::vec(0..4usize, 60),
            closes: bool,
        ) {
            let done: Vec<Done> = done.into_iter().map(|(user, at, step)| (user, 1_000_000 + at * 900, step)).collect();
            let mut calendar = Calendar::new("Europe/Berlin").unwrap();
            let wanted = naive(&done, &mut calendar);
            let mut found = BTreeMap::<Day, Steps>::new();
            let mut attempts = Attempts::default();
            let take = |days: BTreeMap<Day, Steps>, found: &mut BTreeMap<Day, Steps>| {
                days.into_iter().for_each(|(day, steps)| found.entry(day).or_default().merge(&steps));
            };
            if closes {
                // In the order of time, with a watermark that follows.
                let mut sorted = done.clone();
                sorted.sort_by_key(|it| it.1);
                for part in sorted.chunks(7) {
                    attempts.merge(&[Attempts::of(part.to_vec())], &mut calendar);
                    attempts = Attempts::decode(&attempts.encode()).unwrap();
                    take(attempts.close(part[0].1.into(), &funnel(), &mut calendar), &mut found);
                }
            } else {
                for cut in 0..4 {
                    let part = done.iter().zip(&cuts).filter(|it| *it.1 == cut).map(|it| *it.0).collect();
                    attempts.merge(&[Attempts::of(part)], &mut calendar);
                }
            }
            take(attempts.close(i64::MAX, &funnel(), &mut calendar), &mut found);
            prop_assert_eq!(found, wanted);
            prop_assert!(attempts.done.is_empty());
        }

        #[test]
        fn any_bytes_are_an_error_or_attempts(mut bytes: Vec<u8>) {
            bytes.insert(0, VERSION);
            let mut calendar = Calendar::new("UTC").unwrap();
            if let Ok(mut attempts) = Attempts::decode(&bytes) {
                prop_assert_eq!(&Attempts::decode(&attempts.encode()).unwrap(), &attempts);
                attempts.close(i64::MAX, &funnel(), &mut calendar);
            }
            let _ = Steps::decode(&bytes);
        }
    }

    #[test]
    fn what_comes_after_its_day_was_counted_is_left_out() {
        let mut calendar = Calendar::new("UTC").unwrap();
        let mut attempts = Attempts::of(vec![(1, 1000, 0), (1, 1100, 1)]);
        assert!(attempts.close(86_400 + 3599, &funnel(), &mut calendar).is_empty(), "the window is still open");
        let days = attempts.close(86_400 + 3600, &funnel(), &mut calendar);
        assert_eq!(days, BTreeMap::from([(Day(0), Steps(vec![1, 1, 0]))]));
        attempts.merge(&[Attempts::of(vec![(1, 1000, 0), (1, 90_000, 0)])], &mut calendar);
        let days = attempts.close(i64::MAX, &funnel(), &mut calendar);
        assert_eq!(days, BTreeMap::from([(Day(1), Steps(vec![1, 0, 0]))]));
    }

    #[test]
    fn funnels_that_cannot_be_are_errors() {
        let steps = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(Funnel::new(1, steps(&["a"]), 1), Err(FunnelError::Steps(1)));
        assert_eq!(Funnel::new(1, steps(&["a", "b", "a"]), 1), Err(FunnelError::Twice("a".to_owned())));
        assert_eq!(Funnel::new(1, steps(&["a", "b"]), 0), Err(FunnelError::Window));
    }
}
