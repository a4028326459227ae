//! What a part of a log says, as sections that can be merged.

use std::collections::BTreeMap;

use crate::calendar::{Calendar, Day, Hour, UnknownZone};
use crate::chart::{Charts, SEPARATOR};
use crate::names::{Hash, Names, cut};
use crate::section::{Key, Section};
use crate::session::{NAMES, OpenSessions, Request, Session, UNNAMED, sessions};
use crate::traffic::Traffic;
use crate::visitor::{PARTITIONS, Rotation, Seen, partition};

/// How to count.
#[derive(Debug, Clone)]
pub struct Options {
    /// The IANA time zone of hours and days.
    pub zone: String,
    /// Seconds without a request after which a session is over; at most twelve hours.
    pub gap: u32,
    /// Seconds by which lines may be out of order at the borders of a piece.
    pub slack: u32,
    /// How many names a ranking keeps.
    pub limit: usize,
    /// How often the key changes that visitors are hashed with.
    pub rotation: Rotation,
    /// Whoever was not here since the month of this day is forgotten when pieces are merged; who comes again is new.
    pub since: Option<Day>,
    /// A number that whoever writes the log does not know, so that nobody can choose names that are slow to count. It
    /// changes nothing in what is counted.
    pub seed: u64,
}

impl Default for Options {
    /// UTC, sessions that end after 30 minutes, rankings of 10,000 names, a new key each month.
    fn default() -> Self {
        Self {
            zone: "UTC".to_owned(),
            gap: 1800,
            slack: 120,
            limit: 10_000,
            rotation: Rotation::default(),
            since: None,
            seed: 0,
        }
    }
}

/// The longest gap: with a longer one, a session might leave out a day.
const LONGEST_GAP: u32 = 12 * 3600;

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A person with a browser or an app.
    Person,
    /// A crawler.
    Bot,
    /// A library, a monitor, a command line.
    Tool,
}

/// The program that asked. What is not known is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Agent<'a> {
    /// For example `Chrome` or `MicroMessenger`.
    pub family: &'a str,
    /// As much of it as is to be told apart.
    pub version: &'a str,
    /// For example `Android`.
    pub platform: &'a str,
    /// For example `phone`.
    pub device: &'a str,
}

/// A line of a log.
#[derive(Debug, Clone, Copy)]
pub struct Hit<'a> {
    /// When, in Unix seconds.
    pub time: i64,
    /// Who asked.
    pub kind: Kind,
    /// A keyed hash of the visitor. Taken of people only.
    pub visitor: Option<u64>,
    /// The page viewed; none for what is not one, such as a picture.
    pub page: Option<&'a str>,
    /// What was asked for; told of errors.
    pub path: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// What was sent.
    pub bytes: u64,
    /// How long it took.
    pub micros: Option<u64>,
    /// Where from. Taken of people only.
    pub referrer: Option<&'a str>,
    /// By which program.
    pub agent: Agent<'a>,
    /// From which country, of a view. Taken of people only.
    pub country: Option<&'a str>,
}

/// The number of a page in a [`Piece`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageNumber(pub(crate) u32);

/// The number of an agent in a [`Piece`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentNumber(u32);

/// A [`Hit`] whose page and agent have numbers.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "as those of a hit")]
pub struct Numbered<'a> {
    pub time: i64,
    pub kind: Kind,
    pub visitor: Option<u64>,
    pub page: Option<PageNumber>,
    pub path: &'a str,
    pub status: u16,
    pub bytes: u64,
    pub micros: Option<u64>,
    pub referrer: Option<&'a str>,
    pub agent: AgentNumber,
    pub country: Option<&'a str>,
}

#[derive(Debug)]
struct HourCount {
    start: i64,
    day: Day,
    traffic: Traffic,
}

#[derive(Debug)]
struct DayCount {
    day: Day,
    /// When the key changed that its visitors are hashed with.
    period: Day,
    /// What is known of the day but of none of its hours.
    traffic: Traffic,
    charts: Charts,
}

/// Where an hour and its day are counted.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    start: i64,
    end: i64,
    hour: usize,
    day: usize,
}

/// Hours begin at multiples of so many seconds, but for some of long ago.
const QUARTER: i64 = 900;
/// Places that are kept: those of two days and a half.
const PLACES: usize = 256;

/// What a part of a log says.
#[derive(Debug)]
pub struct Piece {
    options: Options,
    calendar: Calendar,
    hash: Hash,
    hours: Vec<HourCount>,
    hour_at: BTreeMap<i64, usize>,
    days: Vec<DayCount>,
    day_at: BTreeMap<Day, usize>,
    /// Places that were asked for, each where its time says.
    places: Vec<Place>,
    /// The earliest and the latest line.
    span: Option<(u32, u32)>,
    names: Names,
    /// Those of agents.
    agents: Names,
    /// By partition of the visitors.
    requests: Vec<Vec<Request>>,
    text: String,
}

impl Piece {
    /// Nothing yet.
    pub fn new(mut options: Options) -> Result<Self, UnknownZone> {
        options.gap = options.gap.min(LONGEST_GAP);
        let hash = Hash::new(options.seed);
        // What has no name has the first number.
        let mut names = Names::default();
        names.insert(hash.of(""), "");
        Ok(Self {
            calendar: Calendar::new(&options.zone)?,
            options,
            hash,
            hours: Vec::new(),
            hour_at: BTreeMap::new(),
            days: Vec::new(),
            day_at: BTreeMap::new(),
            places: vec![Place::default(); PLACES],
            span: None,
            agents: names.clone(),
            names,
            requests: vec![Vec::new(); PARTITIONS.into()],
            text: String::new(),
        })
    }

    fn day(&mut self, day: Day) -> usize {
        *self.day_at.entry(day).or_insert_with(|| {
            let charts = Charts::new(self.options.limit, &self.hash);
            let period = self.options.rotation.period(day);
            self.days.push(DayCount { day, period, traffic: Traffic::default(), charts });
            self.days.len() - 1
        })
    }

    /// Where the hour and the day are that a time lies in.
    #[inline]
    fn at(&mut self, time: i64) -> Option<Place> {
        let kept = self.places[time.div_euclid(QUARTER) as usize % PLACES];
        if time >= kept.start && time < kept.end { Some(kept) } else { self.seek(time) }
    }

    fn seek(&mut self, time: i64) -> Option<Place> {
        let Hour { start, end, day } = self.calendar.hour(time)?;
        let day_at = self.day(day);
        let hour_at = *self.hour_at.entry(start).or_insert_with(|| {
            self.hours.push(HourCount { start, day, traffic: Traffic::default() });
            self.hours.len() - 1
        });
        let place = Place { start, end, hour: hour_at, day: day_at };
        self.places[time.div_euclid(QUARTER) as usize % PLACES] = place;
        Some(place)
    }

    /// Counts a line. Returns whether it was counted: lines from before 1970 or after 2105 are not.
    pub fn add(&mut self, hit: &Hit<'_>) -> bool {
        let agent = self.agent(hit.kind, &hit.agent);
        let page = hit.page.map(|it| self.page(it));
        let Hit { time, kind, visitor, path, status, bytes, micros, referrer, country, .. } = *hit;
        self.add_numbered(&Numbered {
            time,
            kind,
            visitor,
            page,
            path,
            status,
            bytes,
            micros,
            referrer,
            agent,
            country,
        })
    }

    /// The number of an agent, for [`Piece::add_numbered`].
    pub fn agent(&mut self, kind: Kind, agent: &Agent<'_>) -> AgentNumber {
        let kind = match kind {
            Kind::Person => "person",
            Kind::Bot => "bot",
            Kind::Tool => "tool",
        };
        name_of(&mut self.text, &[kind, agent.family, agent.version, agent.platform, agent.device]);
        AgentNumber(number(&mut self.agents, &self.hash, &self.text))
    }

    /// The number of a page, for [`Piece::add_numbered`].
    pub fn page(&mut self, page: &str) -> PageNumber {
        PageNumber(number(&mut self.names, &self.hash, page))
    }

    /// Counts a line as [`Piece::add`] does, whose agent and page have these numbers. A log says the same ones over and over: who
    /// knows their numbers saves looking them up.
    pub fn add_numbered(&mut self, hit: &Numbered<'_>) -> bool {
        let Ok(time) = u32::try_from(hit.time) else { return false };
        let Some(Place { hour, day, .. }) = self.at(hit.time) else { return false };
        self.span = Some(self.span.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
        let traffic = &mut self.hours[hour].traffic;
        let charts = &mut self.days[day].charts;
        traffic.requests += 1;
        traffic.bytes = traffic.bytes.saturating_add(hit.bytes);
        traffic.status(hit.status, 1);
        if let Some(micros) = hit.micros {
            traffic.times.add(micros);
        }
        charts.agents.at(hit.agent.0).0 += 1;
        if hit.status >= 400 {
            let digits = [hit.status / 100, hit.status / 10 % 10, hit.status % 10].map(|it| b'0' + (it % 10) as u8);
            name_of(&mut self.text, &[std::str::from_utf8(&digits).unwrap_or_default(), hit.path]);
            charts.errors.at(&self.text).0 += 1;
        }
        match hit.kind {
            Kind::Person => (),
            Kind::Bot => {
                traffic.bots += 1;
                return true;
            }
            Kind::Tool => {
                traffic.tools += 1;
                return true;
            }
        }
        let page = hit.page.map(|PageNumber(id)| {
            traffic.pages += 1;
            charts.pages.at(id).add(hit.bytes, hit.micros);
            id
        });
        if let Some(referrer) = hit.referrer {
            charts.referrers.at(referrer).0 += 1;
        }
        if let Some(country) = hit.country {
            charts.countries.at(country).0 += 1;
        }
        if let Some(visitor) = hit.visitor {
            traffic.visitors.add(visitor);
            self.requests[usize::from(partition(visitor))].push(Request::new(visitor, time, page));
        }
        true
    }

    /// Counts a line that comes too late to be counted as anything else.
    pub fn add_late(&mut self, time: i64) -> bool {
        let Some(place) = self.at(time) else { return false };
        self.hours[place.hour].traffic.late += 1;
        true
    }

    /// Counts a session that is over, whose pages have numbers of this piece, on the hour and day it began.
    pub(crate) fn count_session(&mut self, session: &Session) {
        // Only what belongs to pages was fetched: a picture on a foreign page is no session.
        if session.pages == 0 {
            return;
        }
        let Some(Place { hour, day, .. }) = self.at(session.first.into()) else { return };
        let totals = &mut self.hours[hour].traffic.sessions;
        totals.count += 1;
        totals.bounces += u64::from(session.pages == 1);
        totals.seconds += u64::from(session.last - session.first);
        totals.pages += u64::from(session.pages);
        let charts = &mut self.days[day].charts;
        charts.entries.at(session.entry).0 += 1;
        charts.exits.at(session.exit).0 += 1;
    }

    /// The day since which visitors are known that are merged into this piece.
    pub(crate) fn since(&self) -> Option<Day> {
        self.options.since
    }

    pub(crate) fn count_new(&mut self, day: Day, change: i64) {
        let day = self.day(day);
        self.days[day].traffic.new += change;
    }

    pub(crate) fn count_returning(&mut self, day: Day, visitor: u64) {
        let day = self.day(day);
        self.days[day].traffic.returning.add(visitor);
    }

    /// Whether nothing on either side of the piece can belong to a session.
    fn is_inside(&self, session: &Session) -> bool {
        let reach = u64::from(self.options.gap) + u64::from(self.options.slack);
        self.span.is_some_and(|(first, last)| {
            u64::from(session.first) > u64::from(first) + reach && u64::from(session.last) + reach < u64::from(last)
        })
    }

    /// The days on which a session was, into what was seen in its period.
    fn note(&mut self, session: &Session, seen: &mut BTreeMap<Day, Seen>) {
        let Some(place) = self.at(session.first.into()) else { return };
        let DayCount { day, period, .. } = self.days[place.day];
        let mut end = place.end;
        let seen = seen.entry(period).or_default();
        seen.push(session.visitor, day);
        // The gap is shorter than a day: none is left out.
        while end <= i64::from(session.last) {
            let Some(next) = self.calendar.hour(end) else { return };
            end = next.end;
            seen.push(session.visitor, next.day);
        }
    }

    /// All of it, in the order of the keys but for those of visitors, no key twice.
    pub fn into_sections(mut self) -> Vec<Section> {
        let mut sections = Vec::new();
        for at in 0..PARTITIONS {
            let requests = std::mem::take(&mut self.requests[usize::from(at)]);
            let mut sessions = sessions(requests, self.options.gap, &self.names);
            let mut seen = BTreeMap::new();
            sessions.retain(|session| {
                self.note(session, &mut seen);
                let inside = self.is_inside(session);
                if inside {
                    self.count_session(session);
                }
                !inside
            });
            sections.extend(
                seen.into_iter().map(|(period, it)| Section { key: Key::Seen(period, at), bytes: it.encode() }),
            );
            if !sessions.is_empty() {
                sections.push(Section {
                    key: Key::Sessions(at),
                    bytes: OpenSessions::encode_all(self.options.gap, &self.names, &sessions),
                });
            }
        }
        for hour in self.hours {
            self.days[self.day_at[&hour.day]].traffic.merge(&hour.traffic);
            sections.push(Section { key: Key::Hour(hour.start), bytes: hour.traffic.encode_plain() });
        }
        for day in self.days {
            sections.push(Section { key: Key::Day(day.day), bytes: day.traffic.encode_plain() });
            let charts = day.charts.encode(&self.names, &self.agents, self.options.limit, &self.hash);
            sections.extend(charts.map(|(chart, bytes)| Section { key: Key::Chart(day.day, chart), bytes }));
        }
        sections.sort_unstable_by_key(|it| it.key);
        sections
    }
}

/// The number of a page.
#[inline]
fn number(names: &mut Names, hash: &Hash, page: &str) -> u32 {
    let page = cut(page);
    let hash = hash.of(page);
    match names.find(hash, page) {
        Some(id) => id,
        None if names.len() < NAMES => names.insert(hash, page),
        None => UNNAMED,
    }
}

/// A name of several parts.
#[inline]
fn name_of(text: &mut String, parts: &[&str]) {
    text.clear();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            text.push(SEPARATOR);
        }
        text.push_str(part);
    }
}
