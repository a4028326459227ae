//! Pieces against counting by hand: however a log is cut, in whatever order and how often its pieces are merged.

#![expect(clippy::unwrap_used, reason = "what cannot be read fails the test")]

#[path = "memory/ledger.rs"]
mod memory;

use std::collections::{BTreeMap, BTreeSet};

use memory::Memory;
use proptest::prelude::*;
use upkeep_rollup::ledger::merge;
use upkeep_rollup::{
    Agent, Calendar, Chart, Day, Figures, Hit, Hits, Key, Kind, OpenSessions, Options, Page, Piece, Ranking, Rotation,
    Section, Seen, Traffic, Visitors,
};

/// Evening of 2025-10-25 in Berlin, before a day of 25 hours.
const START: i64 = 1_761_420_000;
const GAP: i64 = 1800;

fn options() -> Options {
    Options { zone: "Europe/Berlin".to_owned(), rotation: Rotation::Never, slack: 0, ..Options::default() }
}

/// What is asked of a ledger here.
trait Asked {
    fn take_in(&mut self, pieces: Vec<Piece>, watermark: i64);
    fn said(&self) -> BTreeMap<Key, String>;
    fn figures(&self, key: Key) -> Figures;
    fn top(&self, day: Day, chart: Chart) -> BTreeMap<String, u64>;
}

impl Asked for Memory {
    fn take_in(&mut self, pieces: Vec<Piece>, watermark: i64) {
        let keys = self.offer(pieces.into_iter().flat_map(Piece::into_sections));
        merge(self, &keys, watermark, Piece::new(options()).unwrap()).unwrap();
        assert!(self.pieces.is_empty(), "{:?}", self.pieces.keys());
    }

    /// Sections as what they say: visitors that are estimated have no single encoding.
    fn said(&self) -> BTreeMap<Key, String> {
        let said = |(&key, bytes): (&Key, &Vec<u8>)| {
            let text = match key {
                Key::Hour(_) | Key::Day(_) => {
                    let traffic = Traffic::decode(bytes).unwrap();
                    format!("{:?} {:?} {:?}", traffic.figures(), traffic.statuses(), traffic.times)
                }
                _ => format!("{bytes:?}"),
            };
            (key, text)
        };
        self.stored.iter().map(said).collect()
    }

    fn figures(&self, key: Key) -> Figures {
        Section { key, bytes: self.stored[&key].clone() }.figures().unwrap().unwrap()
    }

    fn top(&self, day: Day, chart: Chart) -> BTreeMap<String, u64> {
        let Some(bytes) = self.stored.get(&Key::Chart(day, chart)) else { return BTreeMap::new() };
        match chart {
            Chart::Pages => {
                Ranking::<Page>::decode(bytes).unwrap().top().map(|(name, it)| (name.to_owned(), it.hits)).collect()
            }
            _ => Ranking::<Hits>::decode(bytes).unwrap().top().map(|(name, it)| (name.to_owned(), it.0)).collect(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    time: i64,
    visitor: u8,
    page: Option<u8>,
    status: u16,
    bytes: u16,
    micros: Option<u32>,
}

impl Line {
    fn person(&self) -> bool {
        self.visitor < 240
    }

    /// Visitors in several partitions.
    fn hash(&self) -> u64 {
        u64::from(self.visitor % 12).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn page(&self) -> Option<String> {
        self.page.map(|it| format!("/{it}"))
    }

    fn add(&self, piece: &mut Piece) {
        let page = self.page();
        piece.add(&Hit {
            time: self.time,
            kind: if self.person() { Kind::Person } else { Kind::Bot },
            visitor: Some(self.hash()),
            page: page.as_deref(),
            path: page.as_deref().unwrap_or("/picture"),
            status: self.status,
            bytes: self.bytes.into(),
            micros: self.micros.map(u64::from),
            referrer: self.bytes.is_multiple_of(3).then_some("example.org"),
            agent: Agent {
                family: "Firefox",
                version: if self.bytes.is_multiple_of(2) { "144" } else { "145" },
                ..Agent::default()
            },
            country: None,
        });
    }
}

/// Some lines of the same second.
fn lines(hours: i64, most: usize) -> impl Strategy<Value = Vec<Line>> {
    let status = prop::sample::select(vec![200, 200, 200, 304, 404, 500]);
    let line = (
        (0..hours, 0..45i64),
        any::<u8>(),
        prop::option::of(0..20u8),
        status,
        any::<u16>(),
        prop::option::of(any::<u32>()),
    );
    let line = line.prop_map(|((hour, at), visitor, page, status, bytes, micros)| Line {
        time: START + hour * 3600 + at * 80,
        visitor,
        page,
        status,
        bytes,
        micros,
    });
    prop::collection::vec(line, 0..most)
}

/// A piece of each part of the lines, cut at some places.
fn cut(lines: &[Line], cuts: &[prop::sample::Index]) -> Vec<Vec<Line>> {
    let mut at: Vec<usize> = cuts.iter().map(|it| it.index(lines.len() + 1)).chain([0, lines.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|it| lines[it[0]..it[1]].to_vec()).collect()
}

fn piece(lines: &[Line]) -> Piece {
    let mut piece = Piece::new(options()).unwrap();
    lines.iter().for_each(|it| it.add(&mut piece));
    piece
}

/// Of each person, sorted requests, cut where there is a gap.
fn sessions(lines: &[Line]) -> Vec<Vec<Line>> {
    let mut people = BTreeMap::<u64, Vec<Line>>::new();
    for line in lines.iter().filter(|it| it.person()) {
        people.entry(line.hash()).or_default().push(line.clone());
    }
    let mut sessions = Vec::new();
    for mut requests in people.into_values() {
        requests.sort_by_key(|it| it.time);
        sessions.extend(requests.chunk_by(|a, b| b.time - a.time <= GAP).map(<[Line]>::to_vec));
    }
    sessions
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn cutting_and_order_change_nothing(
        mut lines in lines(40, 300),
        cuts: Vec<prop::sample::Index>,
        seed: u64,
        runs in 1..4usize,
    ) {
        lines.sort();
        let mut whole = Memory::default();
        whole.take_in(vec![piece(&lines)], i64::MAX);

        // Pieces of several runs, whose orders are mixed; lines within a piece come in any order.
        let mut parts = cut(&lines, &cuts);
        let mixed = |at: usize| (at as u64 + 1).wrapping_mul(seed | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        for part in &mut parts {
            let mut at = 0;
            part.sort_by_cached_key(|_| { at += 1; mixed(at) });
        }
        let mut at = 0;
        parts.sort_by_cached_key(|_| { at += 1; mixed(at) });
        let mut many = Memory::default();
        for run in parts.chunks(parts.len().div_ceil(runs).max(1)) {
            many.take_in(run.iter().map(|it| piece(it)).collect(), i64::MIN);
        }
        many.take_in(Vec::new(), i64::MAX);
        prop_assert_eq!(whole.said(), many.said());
    }

    #[test]
    fn figures_are_as_counted_by_hand(mut lines in lines(40, 300), cuts: Vec<prop::sample::Index>) {
        lines.sort_by_key(|it| it.time);
        let mut memory = Memory::default();
        for part in cut(&lines, &cuts) {
            // The watermark follows the lines.
            let last = part.last().map_or(i64::MIN, |it| it.time);
            memory.take_in(vec![piece(&part)], last);
        }
        memory.take_in(Vec::new(), i64::MAX);
        let mut calendar = Calendar::new("Europe/Berlin").unwrap();
        let days: BTreeSet<Day> = lines.iter().map(|it| calendar.hour(it.time).unwrap().day).collect();
        let mut spans: BTreeMap<Key, Vec<&Line>> = BTreeMap::new();
        for line in &lines {
            let hour = calendar.hour(line.time).unwrap();
            spans.entry(Key::Hour(hour.start)).or_default().push(line);
            spans.entry(Key::Day(hour.day)).or_default().push(line);
        }
        let sessions = sessions(&lines);
        let mut first = BTreeMap::new();
        for line in lines.iter().filter(|it| it.person()) {
            first.entry(line.hash()).or_insert(calendar.hour(line.time).unwrap().day);
        }
        for (key, lines) in spans {
            let figures = memory.figures(key);
            let people: Vec<_> = lines.iter().filter(|it| it.person()).collect();
            let pages = |lines: &[Line]| lines.iter().filter(|it| it.page.is_some()).count() as u64;
            let visitors: BTreeSet<u64> = people.iter().map(|it| it.hash()).collect();
            prop_assert_eq!(figures.requests, lines.len() as u64);
            prop_assert_eq!(figures.bots, (lines.len() - people.len()) as u64);
            prop_assert_eq!(figures.pages, people.iter().filter(|it| it.page.is_some()).count() as u64);
            prop_assert_eq!(figures.bytes, lines.iter().map(|it| u64::from(it.bytes)).sum::<u64>());
            prop_assert_eq!(figures.s2xx, lines.iter().filter(|it| it.status == 200).count() as u64);
            prop_assert_eq!(figures.s4xx, lines.iter().filter(|it| it.status == 404).count() as u64);
            prop_assert_eq!(figures.visitors, visitors.len() as u64);
            let mut micros: Vec<u64> = lines.iter().filter_map(|it| it.micros.map(u64::from)).collect();
            micros.sort_unstable();
            prop_assert_eq!(figures.timed, micros.len() as u64);
            prop_assert_eq!((figures.time_sum, figures.max), (micros.iter().sum(), micros.last().copied().unwrap_or(0)));
            for (share, found) in [(0.5, figures.p50), (0.9, figures.p90), (0.95, figures.p95), (0.99, figures.p99)] {
                let rank = (share * micros.len() as f64).ceil().max(1.0) as usize;
                let exact = micros.get(rank - 1).copied().unwrap_or(0) as f64;
                prop_assert!((found as f64 - exact).abs() <= exact * 0.004, "{found} for {exact}");
            }
            let began = |it: &&Vec<Line>| {
                let hour = calendar.clone().hour(it[0].time).unwrap();
                pages(it) > 0 && match key { Key::Day(day) => day == hour.day, _ => key == Key::Hour(hour.start) }
            };
            let began: Vec<_> = sessions.iter().filter(began).collect();
            prop_assert_eq!(figures.sessions, began.len() as u64);
            prop_assert_eq!(figures.bounces, began.iter().filter(|it| pages(it) == 1).count() as u64);
            prop_assert_eq!(figures.session_seconds, began.iter().map(|it| (it[it.len() - 1].time - it[0].time) as u64).sum::<u64>());
            prop_assert_eq!(figures.session_pages, began.iter().map(|it| pages(it)).sum::<u64>());
            let Key::Day(day) = key else { continue };
            let new = visitors.iter().filter(|it| first[it] == day).count();
            prop_assert_eq!((figures.new, figures.returning), (new as u64, (visitors.len() - new) as u64));
            let count = |names: Vec<String>| {
                let mut counts = BTreeMap::<String, u64>::new();
                names.into_iter().for_each(|it| *counts.entry(it).or_default() += 1);
                counts
            };
            prop_assert_eq!(memory.top(day, Chart::Pages), count(people.iter().filter_map(|it| it.page()).collect()));
            let views = |it: &[Line]| it.iter().filter_map(|it| Some((it.time, it.page()?))).collect::<Vec<_>>();
            let entry = |it: &&Vec<Line>| views(it).into_iter().min().unwrap().1;
            let exit = |it: &&Vec<Line>| views(it).into_iter().max().unwrap().1;
            prop_assert_eq!(memory.top(day, Chart::Entries), count(began.iter().map(entry).collect()));
            prop_assert_eq!(memory.top(day, Chart::Exits), count(began.iter().map(exit).collect()));
            let errors = lines.iter().filter(|it| it.status >= 400).map(|it| {
                format!("{}\u{1f}{}", it.status, it.page().unwrap_or_else(|| "/picture".to_owned()))
            });
            prop_assert_eq!(memory.top(day, Chart::Errors), count(errors.collect()));
            prop_assert_eq!(memory.top(day, Chart::Agents).values().sum::<u64>(), lines.len() as u64);
            prop_assert_eq!(memory.top(day, Chart::Referrers).values().sum::<u64>(), people.iter().filter(|it| it.bytes.is_multiple_of(3)).count() as u64);
        }
        let counted = memory.stored.keys().filter_map(|it| match it { Key::Day(day) => Some(*day), _ => None });
        prop_assert_eq!(counted.collect::<BTreeSet<_>>(), days);
        prop_assert!(!memory.stored.keys().any(|it| matches!(it, Key::Sessions(_) | Key::Seen(..))));
    }

    #[test]
    fn damaged_sections_are_errors_and_do_not_panic(
        lines in lines(30, 120),
        at: prop::sample::Index,
        section: prop::sample::Index,
        byte: u8,
        shorten: bool,
    ) {
        let mut memory = Memory::default();
        memory.take_in(vec![piece(&lines)], START);
        let mut sections = piece(&lines).into_sections();
        sections.extend(memory.stored.into_iter().map(|(key, bytes)| Section { key, bytes }));
        prop_assume!(!sections.is_empty());
        let whole = sections[section.index(sections.len())].clone();
        let mut damaged = whole.clone();
        let at = at.index(damaged.bytes.len());
        if shorten { damaged.bytes.truncate(at) } else { damaged.bytes[at] ^= byte }
        let merged = damaged.clone().merge(&whole);
        prop_assert!(!shorten || merged.is_err());
        if let Key::Visitors(..) = whole.key {
            let visitors = Visitors::decode(&damaged.bytes);
            prop_assert!(!shorten || visitors.is_err());
        }
        let _ = damaged.figures();
    }
}

#[test]
fn files_of_one_time_are_joined_at_their_borders() {
    let line =
        |time, page| Line { time: START + time, visitor: 1, page: Some(page), status: 200, bytes: 1, micros: None };
    let mut memory = Memory::default();
    memory.take_in(vec![piece(&[line(0, 1), line(600, 2)])], START + 600);
    assert!(memory.stored.keys().any(|it| matches!(it, Key::Sessions(_))), "not over yet");
    memory.take_in(vec![piece(&[line(2000, 3)])], START + 2000);
    memory.take_in(Vec::new(), START + 4000);
    let day = Day::of(2025, 10, 25).unwrap();
    let figures = memory.figures(Key::Day(day));
    assert_eq!((figures.sessions, figures.session_pages, figures.session_seconds), (1, 3, 2000));
    assert_eq!(memory.top(day, Chart::Exits), BTreeMap::from([("/3".to_owned(), 1)]));
}

#[test]
fn a_line_that_comes_late_corrects_who_was_new() {
    let line =
        |day: i64| Line { time: START + day * 86_400, visitor: 1, page: None, status: 200, bytes: 1, micros: None };
    let mut memory = Memory::default();
    memory.take_in(vec![piece(&[line(3), line(5)])], i64::MAX);
    memory.take_in(vec![piece(&[line(1)])], i64::MAX);
    let mut calendar = Calendar::new("Europe/Berlin").unwrap();
    let figures = [1, 3, 5].map(|day| {
        let figures = memory.figures(Key::Day(calendar.hour(line(day).time).unwrap().day));
        (figures.visitors, figures.new, figures.returning)
    });
    assert_eq!(figures, [(1, 1, 0), (1, 0, 1), (1, 0, 1)]);
}

#[test]
fn lines_that_are_too_late_and_times_that_cannot_be_are_told_apart() {
    let mut piece = Piece::new(options()).unwrap();
    assert!(piece.add_late(START));
    let line = Line { time: -1, visitor: 1, page: None, status: 200, bytes: 1, micros: None };
    line.add(&mut piece);
    Line { time: 1 << 33, ..line }.add(&mut piece);
    let mut memory = Memory::default();
    memory.take_in(vec![piece], i64::MAX);
    let figures = memory.figures(Key::Day(Day::of(2025, 10, 25).unwrap()));
    assert_eq!((figures.late, figures.requests), (1, 0));
    assert_eq!(memory.stored.len(), 2, "an hour and its day");
}

#[test]
fn empty_sections_come_back() {
    assert!(OpenSessions::decode(&OpenSessions::new().encode()).unwrap().is_empty());
    assert_eq!(Seen::decode(&Seen::default().encode()), Ok(Seen::default()));
    assert_eq!(Traffic::decode(&Traffic::default().encode()).unwrap().figures(), Figures::default());
}

#[test]
fn more_pages_than_can_be_named_are_still_counted() {
    let mut piece = Piece::new(options()).unwrap();
    for at in 0..200_000u64 {
        let page = format!("/{}", at % 70_000);
        piece.add(&Hit {
            time: START + (at / 100) as i64,
            kind: Kind::Person,
            visitor: Some(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            page: Some(&page),
            path: &page,
            status: 200,
            bytes: 10,
            micros: Some(1000),
            referrer: None,
            agent: Agent::default(),
            country: None,
        });
    }
    let mut memory = Memory::default();
    memory.take_in(vec![piece], i64::MAX);
    let day = Day::of(2025, 10, 25).unwrap();
    let pages = Ranking::<Page>::decode(&memory.stored[&Key::Chart(day, Chart::Pages)]).unwrap();
    let total = pages.total();
    assert_eq!((total.hits, total.bytes, total.times.count()), (200_000, 2_000_000, 200_000));
    assert_eq!(pages.top().count(), 10_000);
    for chart in [Chart::Entries, Chart::Exits] {
        assert_eq!(Ranking::<Hits>::decode(&memory.stored[&Key::Chart(day, chart)]).unwrap().total().0, 200_000);
    }
}
