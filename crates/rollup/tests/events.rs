//! Pieces of event logs against counting by hand.

#![expect(clippy::unwrap_used, reason = "what cannot be read fails the test")]

#[path = "memory/ledger.rs"]
mod memory;

use std::collections::{BTreeMap, BTreeSet};

use memory::Memory;
use proptest::prelude::*;
use upkeep_rollup::ledger::merge_events;
use upkeep_rollup::{
    Calendar, Cohort, Day, Event, EventPiece, Funnel, Key, Options, Ranking, Section, Steps, Usage, Users,
};

const ZONE: &str = "America/New_York";
const NAMES: [&str; 4] = ["open", "cart", "pay", "other"];
const DAY: i64 = 86_400;

fn funnels() -> Vec<Funnel> {
    let funnel =
        |id, names: &[&str], window| Funnel::new(id, names.iter().map(|it| (*it).to_owned()).collect(), window);
    vec![funnel(1, &NAMES[..3], 2 * 86_400).unwrap(), funnel(2, &["cart", "open"], 3600).unwrap()]
}

#[derive(Debug, Clone, Copy)]
struct Done {
    time: i64,
    user: u64,
    name: usize,
}

fn sections(part: &[Done]) -> Vec<Section> {
    let options = Options { zone: ZONE.to_owned(), ..Options::default() };
    let mut piece = EventPiece::new(&options, funnels()).unwrap();
    for it in part {
        let user = Some(it.user.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        assert!(piece.add(&Event { time: it.time, user, name: NAMES[it.name] }));
    }
    piece.into_sections()
}

fn take_in(memory: &mut Memory, parts: &[Vec<Done>], watermark: i64) {
    let keys = memory.offer(parts.iter().flat_map(|it| sections(it)));
    merge_events(memory, &keys, watermark, &funnels(), &mut Calendar::new(ZONE).unwrap()).unwrap();
    assert!(memory.pieces.is_empty());
}

/// How far a user gets from an event on, in steps, trying all.
fn reach(done: &[Done], steps: &[usize], from: i64, until: i64) -> usize {
    let Some((step, rest)) = steps.split_first() else { return 0 };
    let next = done.iter().filter(|it| it.name == *step && it.time >= from && it.time <= until);
    next.map(|it| 1 + reach(done, rest, it.time, until)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn events_are_as_counted_by_hand(
        mut done in prop::collection::vec((0..900i64, 0..8u64, 0..4usize), 0..120),
        size in 1..60usize,
        runs in 1..4usize,
        reversed: bool,
    ) {
        // Forty days, an event at most each hour.
        done.sort_unstable();
        let done: Vec<_> = done.into_iter().map(|(at, user, name)| Done { time: 1_764_370_800 + at * 3840, user, name }).collect();
        let mut parts: Vec<Vec<Done>> = done.chunks(size).map(<[Done]>::to_vec).collect();
        if reversed {
            parts.reverse();
        }
        let mut memory = Memory::default();
        for run in parts.chunks(parts.len().div_ceil(runs).max(1)) {
            // In the order of time, the watermark can follow.
            let watermark = if reversed { i64::MIN } else { run.last().unwrap().last().unwrap().time };
            take_in(&mut memory, run, watermark);
        }
        take_in(&mut memory, &[], i64::MAX);

        let mut calendar = Calendar::new(ZONE).unwrap();
        let mut day = |time| calendar.hour(time).unwrap().day;
        let mut usages = BTreeMap::<(Day, &str), (u64, BTreeSet<u64>)>::new();
        let mut days = BTreeMap::<u64, BTreeSet<Day>>::new();
        for it in &done {
            let usage = usages.entry((day(it.time), NAMES[it.name])).or_default();
            usage.0 += 1;
            usage.1.insert(it.user);
            days.entry(it.user).or_default().insert(day(it.time));
        }
        let mut cohorts = BTreeMap::<Day, Cohort>::new();
        for days in days.into_values() {
            let first = *days.first().unwrap();
            let cohort = cohorts.entry(first).or_default();
            cohort.users += 1;
            for after in days.iter().map(|it| it.0 - first.0).filter(|it| (1..=31).contains(it)) {
                cohort.after[after as usize - 1] += 1;
            }
        }
        let mut steps = BTreeMap::<Key, Steps>::new();
        for (id, names, window) in [(1, &[0, 1, 2][..], 2 * DAY), (2, &[1, 0][..], 3600)] {
            let mut best = BTreeMap::<(Day, u64), usize>::new();
            for start in done.iter().filter(|it| it.name == names[0]) {
                let of_user: Vec<_> = done.iter().filter(|it| it.user == start.user).copied().collect();
                let depth = 1 + reach(&of_user, &names[1..], start.time, start.time + window);
                let best = best.entry((day(start.time), start.user)).or_default();
                *best = depth.max(*best);
            }
            for ((day, _), depth) in best {
                let counted = steps.entry(Key::Steps(id, day)).or_insert_with(|| Steps(vec![0; names.len()]));
                counted.0[..depth].iter_mut().for_each(|it| *it += 1);
            }
        }

        let mut found_usages = BTreeMap::new();
        let mut found_cohorts = BTreeMap::new();
        let mut found_steps = BTreeMap::new();
        for (&key, bytes) in &memory.stored {
            match key {
                Key::Events(day) => {
                    let ranking = Ranking::<Usage>::decode(bytes).unwrap();
                    for (name, it) in ranking.top() {
                        found_usages.insert((day, name.to_owned()), (it.count, it.users.estimate()));
                    }
                }
                Key::Users(_) => Users::decode(bytes).unwrap().cohorts(&mut found_cohorts),
                Key::Steps(..) => { found_steps.insert(key, Steps::decode(bytes).unwrap()); }
                _ => prop_assert!(matches!(key, Key::Attempts(..))),
            }
        }
        let usages: BTreeMap<_, _> = usages.into_iter().map(|((day, name), (count, users))| ((day, name.to_owned()), (count, users.len() as u64))).collect();
        prop_assert_eq!(found_usages, usages);
        prop_assert_eq!(found_cohorts, cohorts);
        prop_assert_eq!(found_steps, steps);
    }
}
