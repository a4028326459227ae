//! What a log of events says of a span: how often what happened and to how many, how far users got, and who came back.
//!
//! ```text
//!   sections of days ──► rows, total, names     merged: a user of three days is one user of the span
//!   table `funnel` ────► funnels                added up: a user is counted on each day on which an attempt began
//!   table `retention` ─► cohorts, new users     added up: a user has one first day
//! ```
//!
//! The users of a day are those of all its events together: the sketches of names are merged. Events are counted by day, so
//! there are no hours. What cannot be known yet is told apart from what did not happen: a funnel says up to which day it is
//! counted, and of a day that is still to come nobody can say who comes back on it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_rollup::{Day, Key, Measure, Ranking, Usage};

use super::merge::begin;
use super::read::{Database, Figured};
use super::span::Span;
use super::{Level, NAMES, Place, RankingStats, Top};

/// Days after the first one, of which is told who came back.
pub const AFTER: [u32; 5] = [1, 3, 7, 14, 30];

/// Names of events that are given where they alone are asked for: as many as are kept of a day.
const ALL_NAMES: usize = 1_000;

/// The figures of a log of events. The ranking of events stands among the rankings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventStats {
    /// The last day that is counted. It may not be over.
    pub until: String,
    /// The rows, oldest first; none of hours, since events are counted by day.
    pub spans: Vec<EventSpan>,
    /// All rows together; none where parts of days are asked for.
    pub total: Option<EventFigures>,
    /// Whether there are funnels of this log, also where no day of them is counted yet.
    pub has_funnels: bool,
    /// How far users got, by funnel, of days that are over for it. A funnel that was changed within the span is there twice.
    pub funnels: Vec<FunnelStats>,
    /// Users by their first day (week, month), and how many of them came back.
    pub retention: Vec<CohortStats>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventSpan {
    /// The day with which it begins: `2026-11-23`.
    pub start: String,
    /// What happened.
    #[serde(flatten)]
    pub figures: EventFigures,
}

/// How much happened in a span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventFigures {
    /// Events of whatever name.
    pub events: u64,
    /// Users, about.
    pub users: u64,
    /// Those whose first event was then, exactly.
    pub new_users: u64,
}

/// How far users got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FunnelStats {
    /// Its name.
    pub funnel: String,
    /// The first day within the span on which somebody began.
    pub first: String,
    /// The last one. A day is counted when nothing of it can follow any more.
    pub last: String,
    /// Its steps, in order.
    pub steps: Vec<StepStats>,
}

/// A step of a funnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepStats {
    /// The name of the event.
    pub name: String,
    /// Users who came so far, for each day on which they began.
    pub users: u64,
    /// How many of a hundred who did the first step that is.
    pub percent_of_first: Option<f64>,
    /// How many of a hundred who did the step before; none of the first one.
    pub percent_of_before: Option<f64>,
}

/// Users who came for the first time in the same row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CohortStats {
    /// Their first day, or the day with which its week or month begins.
    pub start: String,
    /// How many they are.
    pub users: u64,
    /// How many of them were here again, 1, 3, 7, 14 and 30 days after their first day.
    pub after: Vec<AfterStats>,
}

/// Users who were here again on a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AfterStats {
    /// Days after the first one.
    pub days: u32,
    /// How many; none as long as that day is still to come for any of them.
    pub users: Option<u64>,
    /// How many of a hundred.
    pub percent: Option<f64>,
}

/// What there is of events.
pub(super) struct Events {
    pub(super) stats: EventStats,
    /// The ranking of events, if it is asked for.
    pub(super) names: Option<RankingStats>,
    /// The first and the last row that there are at all; days, where hours are asked for.
    pub(super) ends: (String, String),
}

/// The events of a source; none if it never had any.
pub(super) fn of(database: &Database, source: &str, span: &Span, top: Option<Top>) -> Result<Option<Events>, Figured> {
    let kept = database.numbers(source, "events", i64::MIN, i64::MAX)?;
    let (Some(&oldest), Some(&newest)) = (kept.first(), kept.last()) else { return Ok(None) };
    let day = |number: i64| Day(number as i32);
    // A clock that is ahead makes no day come sooner.
    let until = day(newest).min(span.today());
    let start = |number: i64| begin(span.by, day(number)).to_string();
    let mut events = Events {
        stats: EventStats {
            until: until.to_string(),
            spans: Vec::new(),
            total: None,
            has_funnels: database.has(source, "attempts")?,
            funnels: Vec::new(),
            retention: Vec::new(),
        },
        names: None,
        ends: (start(oldest), start(newest)),
    };
    if !span.is_of_days() {
        return Ok(Some(events));
    }
    let wants = |it: Top| top.is_none_or(|top| top == it);
    let (first, last) = span.days();
    let cohorts = database.cohorts(source, first, last)?;
    let cohorts: BTreeMap<String, _> = cohorts.into_iter().map(|(day, users, after)| (day, (users, after))).collect();
    let mut sum = Sum::default();
    let mut retention: BTreeMap<Day, Cohort> = BTreeMap::new();
    for number in oldest.max(first.0.into())..=newest.min(last.0.into()) {
        let ranking = match kept.binary_search(&number) {
            Ok(_) => database.section(source, Key::Events(day(number)))?,
            Err(_) => None,
        };
        let ranking = ranking.map(|it| Ranking::<Usage>::decode(&it.bytes)).transpose()?.unwrap_or_default();
        let cohort = cohorts.get(&day(number).to_string());
        sum.add(begin(span.by, day(number)), &ranking, cohort.map_or(0, |it| it.0), wants(Top::Events));
        if let Some((users, after)) = cohort {
            retention.entry(begin(span.by, day(number))).or_default().add(*users, *after, day(number), until);
        }
    }
    let (spans, total, names) = sum.finish();
    if span.by != Level::Hour {
        events.stats.spans = spans;
    }
    if wants(Top::Events) {
        let most = if top.is_some() { ALL_NAMES } else { NAMES };
        let names = names.first(most).map(place).collect();
        events.names = Some(RankingStats { top: Top::Events, names, hits: total.events });
    }
    events.stats.total = Some(total);
    if wants(Top::Funnels) {
        events.stats.funnels = funnels(database, source, first, last)?;
    }
    if wants(Top::Retention) {
        events.stats.retention = retention.into_iter().map(|(day, cohort)| cohort.shown(day)).collect();
    }
    Ok(Some(events))
}

/// Days, one after the other, as rows: a set of users may take as much as 128 KiB, so that only the row under way has one.
#[derive(Default)]
struct Sum {
    spans: Vec<EventSpan>,
    under_way: Option<(Day, Usage, u64)>,
    total: Usage,
    new: u64,
    names: Ranking<Usage>,
}

impl Sum {
    fn add(&mut self, row: Day, ranking: &Ranking<Usage>, new: u64, has_names: bool) {
        let usage = ranking.total();
        self.total.merge(&usage);
        self.new += new;
        if has_names {
            self.names.merge(ranking);
        }
        match &mut self.under_way {
            Some((of, all, all_new)) if *of == row => {
                all.merge(&usage);
                *all_new += new;
            }
            _ => {
                self.end_row();
                self.under_way = Some((row, usage, new));
            }
        }
    }

    fn end_row(&mut self) {
        if let Some((day, usage, new)) = self.under_way.take() {
            self.spans.push(EventSpan { start: day.to_string(), figures: figures(&usage, new) });
        }
    }

    fn finish(mut self) -> (Vec<EventSpan>, EventFigures, Ranking<Usage>) {
        self.end_row();
        (self.spans, figures(&self.total, self.new), self.names)
    }
}

fn figures(usage: &Usage, new_users: u64) -> EventFigures {
    EventFigures { events: usage.count, users: usage.users.estimate(), new_users }
}

fn place((name, usage): (&str, &Usage)) -> Place {
    Place {
        name: name.to_owned(),
        hits: usage.count,
        users: Some(usage.users.estimate()),
        bytes: None,
        time_us: None,
        p95_us: None,
    }
}

/// Days of a funnel, added up.
struct Added {
    first: String,
    last: String,
    /// By step.
    users: Vec<u64>,
}

/// The funnels of some days. Days on which the steps were others are of another funnel with the same name.
fn funnels(database: &Database, source: &str, first: Day, last: Day) -> Result<Vec<FunnelStats>, Figured> {
    let mut funnels: BTreeMap<(String, Vec<String>), Added> = BTreeMap::new();
    for of_day in database.steps(source, first, last)?.chunk_by(|a, b| (&a.funnel, &a.day) == (&b.funnel, &b.day)) {
        let [step, ..] = of_day else { continue };
        let names = of_day.iter().map(|it| it.name.clone()).collect();
        let added = funnels.entry((step.funnel.clone(), names)).or_insert_with(|| Added {
            first: step.day.clone(),
            last: String::new(),
            users: vec![0; of_day.len()],
        });
        added.last.clone_from(&step.day);
        added.users.iter_mut().zip(of_day).for_each(|(sum, it)| *sum = sum.saturating_add(it.users));
    }
    let mut funnels: Vec<FunnelStats> = funnels
        .into_iter()
        .map(|((funnel, names), Added { first, last, users })| {
            let steps = steps(names, &users);
            FunnelStats { funnel, first, last, steps }
        })
        .collect();
    funnels.sort_by(|a, b| (&a.funnel, &a.first).cmp(&(&b.funnel, &b.first)));
    Ok(funnels)
}

fn steps(names: Vec<String>, users: &[u64]) -> Vec<StepStats> {
    let step = |(number, name): (usize, String)| StepStats {
        name,
        users: users[number],
        percent_of_first: percent(users[number], users[0]),
        percent_of_before: number.checked_sub(1).and_then(|before| percent(users[number], users[before])),
    };
    names.into_iter().enumerate().map(step).collect()
}

/// Users with their first days in the same row.
#[derive(Default)]
struct Cohort {
    users: u64,
    after: [u64; AFTER.len()],
    /// Whether that day is still to come for any of them.
    is_open: [bool; AFTER.len()],
}

impl Cohort {
    fn add(&mut self, users: u64, after: [u64; AFTER.len()], first: Day, until: Day) {
        self.users = self.users.saturating_add(users);
        for (at, days) in AFTER.into_iter().enumerate() {
            self.after[at] = self.after[at].saturating_add(after[at]);
            self.is_open[at] |= i64::from(first.0) + i64::from(days) > i64::from(until.0);
        }
    }

    fn shown(&self, first: Day) -> CohortStats {
        let after = |(at, days): (usize, u32)| {
            let users = (!self.is_open[at]).then_some(self.after[at]);
            AfterStats { days, users, percent: users.and_then(|it| percent(it, self.users)) }
        };
        CohortStats {
            start: first.to_string(),
            users: self.users,
            after: AFTER.into_iter().enumerate().map(after).collect(),
        }
    }
}

/// Of a hundred, with one digit behind the point; none of nothing.
#[expect(clippy::cast_precision_loss, reason = "four digits are kept")]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * 1_000.0).round() / 10.0)
}
