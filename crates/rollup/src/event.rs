//! What a part of a log of events says, as sections that can be merged.

use std::collections::BTreeMap;

use crate::calendar::{Calendar, Day, UnknownZone};
use crate::funnel::{Attempts, Funnel};
use crate::names::Hash;
use crate::piece::Options;
use crate::ranking::{Ranking, Usage};
use crate::retention::Users;
use crate::section::{Key, Section};
use crate::visitor::{PARTITIONS, partition};

/// Something that happened in an application.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// When, in Unix seconds.
    pub time: i64,
    /// A keyed hash of the user, if there is one.
    pub user: Option<u64>,
    /// What happened.
    pub name: &'a str,
}

/// Names of events that are kept of a day, whatever the options say: each has a set of users.
const MOST: usize = 1000;

/// What a part of a log of events says.
#[derive(Debug)]
pub struct EventPiece {
    calendar: Calendar,
    hash: Hash,
    limit: usize,
    funnels: Vec<Funnel>,
    days: BTreeMap<Day, Ranking<Usage>>,
    /// By partition, users and the days on which they were here.
    users: Vec<Vec<(u64, Day)>>,
    /// By funnel and partition.
    done: Vec<Vec<Vec<(u64, u32, u8)>>>,
}

impl EventPiece {
    /// Nothing yet. Of the options, the time zone, the limit and the seed matter.
    pub fn new(options: &Options, funnels: Vec<Funnel>) -> Result<Self, UnknownZone> {
        Ok(Self {
            calendar: Calendar::new(&options.zone)?,
            hash: Hash::new(options.seed),
            limit: options.limit.min(MOST),
            days: BTreeMap::new(),
            users: vec![Vec::new(); PARTITIONS.into()],
            done: vec![vec![Vec::new(); PARTITIONS.into()]; funnels.len()],
            funnels,
        })
    }

    /// Counts an event. Returns whether it was counted: events from before 1970 or after 2105 are not.
    pub fn add(&mut self, event: &Event<'_>) -> bool {
        let Ok(time) = u32::try_from(event.time) else { return false };
        let Some(day) = self.calendar.hour(event.time).map(|it| it.day) else { return false };
        let usages = self.days.entry(day).or_insert_with(|| Ranking::new(self.limit, self.hash.clone()));
        let usage = usages.at(event.name);
        usage.count += 1;
        let Some(user) = event.user else { return true };
        usage.users.add(user);
        let at = usize::from(partition(user));
        if self.users[at].last() != Some(&(user, day)) {
            self.users[at].push((user, day));
        }
        for (funnel, done) in self.funnels.iter().zip(&mut self.done) {
            if let Some(step) = funnel.step(event.name) {
                done[at].push((user, time, step));
            }
        }
        true
    }

    /// All of it, no key twice.
    pub fn into_sections(self) -> Vec<Section> {
        let mut sections = Vec::new();
        for (day, mut usages) in self.days {
            sections.push(Section { key: Key::Events(day), bytes: usages.encode() });
        }
        for (at, days) in (0..).zip(self.users).filter(|(_, it)| !it.is_empty()) {
            sections.push(Section { key: Key::Users(at), bytes: Users::of(days).encode() });
        }
        for (funnel, partitions) in self.funnels.iter().zip(self.done) {
            for (at, done) in (0..).zip(partitions).filter(|(_, it)| !it.is_empty()) {
                sections.push(Section { key: Key::Attempts(funnel.id(), at), bytes: Attempts::of(done).encode() });
            }
        }
        sections.sort_unstable_by_key(|it| it.key);
        sections
    }
}
