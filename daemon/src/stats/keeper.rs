//! A database of figures as the plugin leaves it, for tests. `tests/tests/stats.rs` has the plugin itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, params};
use upkeep_rollup::ledger::{self, Ledger};
use upkeep_rollup::{
    Agent, Calendar, Damaged, Day, Event, EventPiece, Figures, Funnel, Hit, Key, Kind, Options, Piece, Section, Steps,
    Users,
};

use super::events;

/// Writes the figures of one log.
pub(crate) struct Keeper {
    connection: Connection,
    source: String,
    zone: String,
    pieces: BTreeMap<Key, Vec<Vec<u8>>>,
}

/// A page that somebody with a number views.
pub(crate) fn view(time: i64, visitor: u64, page: &str) -> Hit<'_> {
    let agent = Agent { family: "Firefox", version: "145", platform: "Linux", device: "" };
    Hit {
        time,
        kind: Kind::Person,
        visitor: Some(visitor.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        page: Some(page),
        path: page,
        status: 200,
        bytes: 1_000,
        micros: Some(2_000),
        referrer: None,
        agent,
        country: None,
    }
}

impl Keeper {
    pub(crate) fn new(file: &Path, source: &str, zone: &str) -> Self {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let connection = Connection::open(file).unwrap();
        let schema = "PRAGMA journal_mode = WAL;
            CREATE TABLE IF NOT EXISTS source (name TEXT PRIMARY KEY, newest INTEGER, lines INTEGER, late INTEGER, malformed INTEGER);
            CREATE TABLE IF NOT EXISTS section (source TEXT, key TEXT, value BLOB, PRIMARY KEY (source, key));
            CREATE TABLE IF NOT EXISTS traffic (source TEXT, level TEXT, start TEXT, unix INTEGER,
                requests INTEGER, pages INTEGER, bytes INTEGER, s1xx INTEGER, s2xx INTEGER, s3xx INTEGER, s4xx INTEGER,
                s5xx INTEGER, visitors INTEGER, new_visitors INTEGER, returning_visitors INTEGER, sessions INTEGER,
                bounces INTEGER, session_seconds INTEGER, session_pages INTEGER, timed INTEGER, time_us INTEGER,
                p50_us INTEGER, p90_us INTEGER, p95_us INTEGER, p99_us INTEGER, max_us INTEGER, bots INTEGER, tools INTEGER,
                late INTEGER, PRIMARY KEY (source, level, unix));
            CREATE TABLE IF NOT EXISTS funnel (source TEXT, funnel TEXT, day TEXT, step INTEGER, name TEXT, users INTEGER,
                PRIMARY KEY (source, funnel, day, step));
            CREATE TABLE IF NOT EXISTS retention (source TEXT, day TEXT, users INTEGER, after_1 INTEGER, after_3 INTEGER,
                after_7 INTEGER, after_14 INTEGER, after_30 INTEGER, PRIMARY KEY (source, day));";
        connection.execute_batch(schema).unwrap();
        let this = Self { connection, source: source.into(), zone: zone.into(), pieces: BTreeMap::new() };
        this.connection.execute("INSERT INTO source VALUES (?, 0, 0, 0, 0)", params![source]).unwrap();
        this
    }

    /// Says what the source says of its lines.
    pub(crate) fn lines(&self, lines: u64, late: u64, malformed: u64) {
        let statement = "UPDATE source SET lines = ?2, late = ?3, malformed = ?4 WHERE name = ?1";
        let values = params![self.source, lines.cast_signed(), late.cast_signed(), malformed.cast_signed()];
        self.connection.execute(statement, values).unwrap();
    }

    /// Takes in what was counted, and ends all sessions.
    pub(crate) fn count<'a>(&mut self, hits: impl IntoIterator<Item = Hit<'a>>) {
        let options = Options { zone: self.zone.clone(), ..Options::default() };
        let mut piece = Piece::new(options.clone()).unwrap();
        hits.into_iter().for_each(|it| assert!(piece.add(&it)));
        self.pieces = piece.into_sections().into_iter().map(|it| (it.key, vec![it.bytes])).collect();
        let keys: BTreeSet<Key> = self.pieces.keys().copied().collect();
        self.connection.execute_batch("BEGIN").unwrap();
        ledger::merge(self, &keys, i64::MAX, Piece::new(options).unwrap()).unwrap();
        self.rows();
        self.connection.execute_batch("COMMIT").unwrap();
    }

    /// Takes in events: when, who and what. Days of a funnel (its name and its steps, within a day) that are over when nothing
    /// from before the newest one comes any more are counted.
    pub(crate) fn count_events(&mut self, happened: &[(i64, u64, &str)], funnel: Option<(&str, &[&str])>) {
        let options = Options { zone: self.zone.clone(), ..Options::default() };
        let steps = |of: &[&str]| of.iter().map(|it| (*it).to_owned()).collect();
        let funnels: Vec<Funnel> =
            funnel.iter().map(|it| Funnel::new(it.1.len() as u32, steps(it.1), 86_400).unwrap()).collect();
        let mut piece = EventPiece::new(&options, funnels.clone()).unwrap();
        for &(time, user, name) in happened {
            assert!(piece.add(&Event { time, user: Some(user.wrapping_mul(0x9e37_79b9_7f4a_7c15)), name }));
        }
        self.pieces = piece.into_sections().into_iter().map(|it| (it.key, vec![it.bytes])).collect();
        let keys: BTreeSet<Key> = self.pieces.keys().copied().collect();
        let newest = happened.iter().map(|it| it.0).max().unwrap();
        self.connection.execute_batch("BEGIN").unwrap();
        let mut calendar = Calendar::new(&self.zone).unwrap();
        ledger::merge_events(self, &keys, newest, &funnels, &mut calendar).unwrap();
        let mut cohorts = BTreeMap::new();
        for (key, bytes) in self.stored() {
            match (key, funnel) {
                (Key::Steps(id, day), Some((funnel, steps))) if id == steps.len() as u32 => {
                    for ((number, name), users) in (1..).zip(steps).zip(Steps::decode(&bytes).unwrap().0) {
                        let values = params![self.source, funnel, day.to_string(), number, name, users.cast_signed()];
                        self.connection
                            .execute("INSERT OR REPLACE INTO funnel VALUES (?, ?, ?, ?, ?, ?)", values)
                            .unwrap();
                    }
                }
                (Key::Users(_), _) => Users::decode(&bytes).unwrap().cohorts(&mut cohorts),
                _ => {}
            }
        }
        for (day, cohort) in cohorts {
            let after = events::AFTER.map(|days| cohort.retained(days as usize).unwrap().to_string()).join(", ");
            let statement = format!("INSERT OR REPLACE INTO retention VALUES (?, ?, ?, {after})");
            let values = params![self.source, day.to_string(), cohort.users.cast_signed()];
            self.connection.execute(&statement, values).unwrap();
        }
        self.connection.execute_batch("COMMIT").unwrap();
    }

    /// Forgets all days before one, as the plugin does when they are too old, but none of the rows of weeks and months.
    pub(crate) fn forget_before(&self, day: &str) {
        let number: i64 =
            self.connection.query_row("SELECT unixepoch(?) / 86400", params![day], |it| it.get(0)).unwrap();
        for kind in ["day/", "chart/"] {
            let statement = "DELETE FROM section WHERE substr(key, 1, length(?1)) = ?1 AND CAST(substr(key, length(?1) + 1) AS INTEGER) < ?2";
            self.connection.execute(statement, params![kind, number]).unwrap();
        }
        self.connection
            .execute("DELETE FROM traffic WHERE level IN ('day', 'hour') AND unix < ? * 86400", params![number])
            .unwrap();
    }

    fn rows(&self) {
        let calendar = Calendar::new(&self.zone).unwrap();
        let mut spans: BTreeMap<(&str, i64, String), Vec<Section>> = BTreeMap::new();
        for (key, bytes) in self.stored() {
            let section = Section { key, bytes };
            let midnight = |it: Day| i64::from(it.0) * 86_400;
            match key {
                Key::Hour(at) => drop(spans.insert(("hour", at, calendar.clock(at)), vec![section])),
                Key::Day(day) => {
                    for (level, first) in [("day", day), ("week", day.week()), ("month", day.month())] {
                        let sections = spans.entry((level, midnight(first), first.to_string())).or_default();
                        sections.push(section.clone());
                    }
                }
                _ => {}
            }
        }
        for ((level, unix, start), sections) in spans {
            let figures = Section::merged(sections).unwrap().unwrap().figures().unwrap().unwrap();
            self.row(level, unix, &start, &figures);
        }
    }

    fn stored(&self) -> Vec<(Key, Vec<u8>)> {
        let mut all = self.connection.prepare("SELECT key, value FROM section WHERE source = ?").unwrap();
        let rows = all.query_map(params![self.source], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).map(|(key, value)| (key.parse().unwrap(), value)).collect()
    }

    fn row(&self, level: &str, unix: i64, start: &str, it: &Figures) {
        let timed = |value: u64| (it.timed > 0).then_some(value);
        let of_days = |value: u64| (level != "hour").then_some(value);
        let numbers = [
            Some(it.requests),
            Some(it.pages),
            Some(it.bytes),
            Some(it.s1xx),
            Some(it.s2xx),
            Some(it.s3xx),
            Some(it.s4xx),
            Some(it.s5xx),
            Some(it.visitors),
            of_days(it.new),
            of_days(it.returning),
            Some(it.sessions),
            Some(it.bounces),
            Some(it.session_seconds),
            Some(it.session_pages),
            Some(it.timed),
            Some(it.time_sum),
            timed(it.p50),
            timed(it.p90),
            timed(it.p95),
            timed(it.p99),
            timed(it.max),
            Some(it.bots),
            Some(it.tools),
            Some(it.late),
        ];
        let numbers = numbers.map(|it| it.map_or("NULL".to_owned(), |it| it.to_string())).join(", ");
        let statement = format!("INSERT OR REPLACE INTO traffic VALUES (?, ?, ?, ?, {numbers})");
        self.connection.execute(&statement, params![self.source, level, start, unix]).unwrap();
    }
}

impl Ledger for Keeper {
    type Error = Damaged;

    fn load(&mut self, key: Key) -> Result<Option<Vec<u8>>, Damaged> {
        let mut statement = self.connection.prepare("SELECT value FROM section WHERE source = ? AND key = ?").unwrap();
        let mut rows = statement.query(params![self.source, key.to_string()]).unwrap();
        Ok(rows.next().unwrap().map(|it| it.get(0).unwrap()))
    }

    fn save(&mut self, section: Section) -> Result<(), Damaged> {
        let values = params![self.source, section.key.to_string(), section.bytes];
        self.connection.execute("INSERT OR REPLACE INTO section VALUES (?, ?, ?)", values).unwrap();
        Ok(())
    }

    fn remove(&mut self, key: Key) -> Result<(), Damaged> {
        let values = params![self.source, key.to_string()];
        self.connection.execute("DELETE FROM section WHERE source = ? AND key = ?", values).unwrap();
        Ok(())
    }

    fn pieces(&mut self, key: Key) -> Result<Vec<Vec<u8>>, Damaged> {
        Ok(self.pieces.remove(&key).unwrap_or_default())
    }
}
