//! What is kept, for how long, and what is forgotten, over runs with a clock that moves on.

use upkeep_rollup::Day;

use super::*;

const DAY: i64 = 86_400;
/// 1 November 2025, 00:00 UTC, a Saturday, in Unix seconds.
const NOVEMBER: i64 = 1_761_955_200;

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A view of a page.
fn view(time: i64, address: &str, page: &str) -> String {
    let date = Day(time.div_euclid(DAY) as i32).to_string();
    let [year, month, day] = date.split('-').collect::<Vec<_>>()[..] else { panic!("{date}") };
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = names[month.parse::<usize>().unwrap() - 1];
    let (hour, minute, second) = (time / 3_600 % 24, time / 60 % 60, time % 60);
    format!(
        "{address} - - [{day}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000] \"GET {page} HTTP/1.1\" 200 7 \
         \"https://elsewhere.example/\" \"{BROWSER}\"\n"
    )
}

/// A log that is written to, and counted at times of its own.
struct Clock {
    place: Place,
    text: String,
    config: String,
}

impl Clock {
    /// `config` is what stands beside the sources.
    fn new(config: &str) -> Self {
        Self { place: Place::new(), text: String::new(), config: CONFIG.replacen('{', &format!("{{ {config} "), 1) }
    }

    /// Counts these lines, behind those that were there, at a time.
    fn run(&mut self, now: i64, lines: impl IntoIterator<Item = String>) -> Report {
        self.text.extend(lines);
        fs::write(self.place.path().join("access.log"), &self.text).unwrap();
        let ctx = Context { now: now * 1_000, ..self.place.context() };
        self.place.host.run_in(&ctx, task::<Stats>(), &self.config).unwrap()
    }

    fn number(&self, statement: &str) -> i64 {
        self.place.number(statement)
    }

    /// All rows of a statement, as text.
    fn rows(&self, statement: &str) -> Vec<String> {
        let rows = Connection::open("private").unwrap().query(statement, []).unwrap();
        rows.map(|row| format!("{:?}", row.unwrap().values())).collect()
    }

    /// The first and the last row of a level, and how many there are.
    fn level(&self, level: &str) -> (i64, i64, i64) {
        let of = |what: &str| self.number(&format!("SELECT coalesce({what}, 0) FROM traffic WHERE level = '{level}'"));
        (of("min(unix)"), of("max(unix)"), of("count(*)"))
    }

    fn keys(&self) -> (i64, i64) {
        let visitors = "SELECT count(DISTINCT substr(key, 10, instr(substr(key, 10), '/') - 1)) FROM section WHERE key LIKE 'visitors/%'";
        (self.number("SELECT count(*) FROM visitor_key"), self.number(visitors))
    }
}

/// A view each hour of some days.
fn hours(days: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    (days.start * 24..days.end * 24).map(|it| view(NOVEMBER + it * 3_600, "192.0.2.1", "/"))
}

#[test]
fn hours_days_weeks_and_months_are_kept_for_as_long_as_the_configuration_says() {
    let mut clock = Clock::new(r#""keep": { "hours": "3d", "days": "10d", "months": "40d" },"#);
    let day = |number: i64| NOVEMBER + number * DAY;
    clock.run(day(2), hours(0..2));
    assert_eq!(clock.level("hour"), (day(0), day(2) - 3_600, 48));
    assert_eq!(clock.level("day"), (day(0), day(1), 2));

    // At half past seven of the 25th.
    let now = day(24) + 7 * 3_600 + 1_800;
    clock.run(now, hours(2..24).chain((0..7).map(|it| view(day(24) + it * 3_600, "192.0.2.1", "/"))));
    assert_eq!(clock.level("hour"), (day(21) + 8 * 3_600, day(24) + 6 * 3_600, 16 + 48 + 7));
    assert_eq!(clock.level("day"), (day(14), day(24), 11));
    // From Monday 27 October, and from the 1st.
    assert_eq!(clock.level("week"), (day(-5), day(23), 5));
    assert_eq!(clock.level("month"), (day(0), day(0), 1));
    // What is merged of them, and rankings, as long as rows.
    for (kind, count) in [("hour", 71), ("day", 11), ("chart", 55)] {
        assert_eq!(clock.number(&format!("SELECT count(*) FROM section WHERE key LIKE '{kind}/%'")), count, "{kind}");
    }
    let days = "SELECT count(DISTINCT day) FROM ranking WHERE day >= '2025-11-15'";
    assert_eq!((clock.number(days), clock.number("SELECT count(DISTINCT day) FROM ranking")), (11, 11));

    // Nothing more comes: the clock alone.
    clock.run(day(49), []);
    assert_eq!((clock.level("hour").2, clock.level("day").2), (0, 0));
    assert_eq!(clock.level("week"), (day(9), day(23), 3));
    assert_eq!(clock.level("month").2, 0);
    assert_eq!(clock.number("SELECT count(*) FROM ranking"), 0);
    let left = "SELECT count(*) FROM section WHERE key LIKE 'hour/%' OR key LIKE 'day/%' OR key LIKE 'chart/%'";
    assert_eq!(clock.number(left), 0);
    // How far it is counted stays, and what it counted since the beginning.
    assert_eq!(clock.number("SELECT lines FROM source"), 24 * 24 + 7);
    assert_eq!(clock.run(day(49), []).summary, "0 lines counted");
}

#[test]
fn a_line_within_the_window_is_counted_in_its_hour_and_an_older_one_as_late_only() {
    let mut clock = Clock::new(r#""late": "2d","#);
    let newest = NOVEMBER + 10 * DAY + 12 * 3_600;
    let (within, older) = (newest - 2 * DAY, newest - 2 * DAY - 1);
    clock.run(
        newest,
        [view(within, "192.0.2.1", "/a"), view(older, "192.0.2.1", "/a"), view(newest, "192.0.2.1", "/a")],
    );
    let figures = "requests * 1000 + pages * 100 + visitors * 10 + late";
    let hour = |clock: &Clock, time: i64| {
        clock.number(&format!("SELECT {figures} FROM traffic WHERE level = 'hour' AND unix = {}", time / 3_600 * 3_600))
    };
    assert_eq!((hour(&clock, within), hour(&clock, older), hour(&clock, newest)), (1_110, 1_110, 1_110));
    // Exactly at the edge, and a second before it.
    let report = clock.run(newest, [view(within, "192.0.2.2", "/b"), view(older, "192.0.2.3", "/c")]);
    assert_eq!(report.summary, "2 lines counted, 1 late");
    assert_eq!((hour(&clock, within), hour(&clock, older)), (2_220, 1_111));
    let day = |number: i64| {
        let unix = (NOVEMBER + number * DAY) / DAY * DAY;
        clock.number(&format!("SELECT {figures} FROM traffic WHERE level = 'day' AND unix = {unix}"))
    };
    assert_eq!((day(8), day(10)), (3_321, 1_110));
    assert_eq!(clock.number("SELECT count(*) FROM ranking WHERE name = '/b' AND chart = 'pages'"), 1);
    assert_eq!(clock.number("SELECT count(*) FROM ranking WHERE name = '/c'"), 0);
    // The older one is nobody's visit.
    assert_eq!(clock.number("SELECT sum(new_visitors) FROM traffic WHERE level = 'day'"), 2);
}

#[test]
fn keys_of_visitors_go_when_their_period_is_over() {
    let mut clock = Clock::new(r#""visitors": { "new_key": "daily" },"#);
    let day = |number: i64| NOVEMBER + number * DAY;
    clock.run(day(1), hours(0..1));
    assert_eq!(clock.keys(), (1, 1));
    // Within the window for late lines all keys stay: whoever is read in two runs is one visitor.
    clock.run(day(2), hours(1..2));
    assert_eq!(clock.keys(), (2, 2));
    assert_eq!(clock.number("SELECT max(visitors) FROM traffic WHERE level = 'day'"), 1);
    clock.run(day(6) - 3_600, hours(2..6));
    assert_eq!(clock.keys(), (3, 3));
    let oldest = "SELECT min(CAST(substr(key, 10) AS INTEGER)) - (SELECT min(period) FROM visitor_key) FROM section WHERE key LIKE 'visitors/%'";
    assert_eq!(clock.number(oldest), 0);
    // Nothing comes any more: the clock says that it is over, also for a source that is not asked for any more.
    clock.run(day(7), []);
    assert_eq!(clock.keys(), (1, 1), "those before the window");
    clock.config = clock.config.replace("\"site\"", "\"other\"").replace("\"logs\"", r#""logs", "files": ["none"]"#);
    clock.run(day(9), []);
    assert_eq!(clock.keys(), (0, 0));
}

#[test]
fn keys_of_a_month_stay_until_its_late_lines_are_over() {
    let mut clock = Clock::new("");
    let december = NOVEMBER + 30 * DAY;
    clock.run(december, hours(29..30));
    clock.run(december + DAY, hours(30..31));
    assert_eq!(clock.keys(), (2, 2), "within the window");
    clock.run(december + 2 * DAY + 3_600, []);
    assert_eq!(clock.keys(), (1, 1));
    assert_eq!(clock.number("SELECT period FROM visitor_key") * DAY, december);
}

#[test]
fn who_was_not_here_for_long_is_forgotten_though_the_key_stays() {
    let mut clock = Clock::new(r#""visitors": { "new_key": "never" }, "keep": { "days": "60d" },"#);
    let new = |clock: &Clock, time: i64| {
        let unix = time / DAY * DAY;
        clock.number(&format!("SELECT new_visitors FROM traffic WHERE level = 'day' AND unix = {unix}"))
    };
    let month = |number: i64| NOVEMBER + number * 30 * DAY + 3 * DAY;
    clock.run(month(0), [view(month(0), "192.0.2.1", "/"), view(month(0), "192.0.2.2", "/")]);
    assert_eq!(new(&clock, month(0)), 2);
    for number in 1..4 {
        clock.run(month(number), [view(month(number), "192.0.2.2", "/")]);
        assert_eq!(new(&clock, month(number)), 0, "{number}");
    }
    // One comes all the time, and is known; the other comes back after four months.
    clock.run(month(4), [view(month(4), "192.0.2.1", "/"), view(month(4), "192.0.2.2", "/")]);
    assert_eq!(new(&clock, month(4)), 1);
    assert_eq!(clock.keys(), (1, 1));

    // Nobody comes any more.
    clock.run(month(4) + 60 * DAY, []);
    assert_eq!(clock.keys(), (1, 1));
    clock.run(month(4) + 60 * DAY + 1, []);
    assert_eq!(clock.keys(), (0, 0));
}

#[test]
fn users_of_events_keep_their_key() {
    let mut place = Place::new();
    let config =
        r#"{ "sources": [{ "name": "shop", "root": "logs", "files": ["events.jsonl"], "format": "events" }] }"#;
    let event = |time: i64| format!("{{\"user_id\":\"an\",\"event\":\"view\",\"ts\":{time}}}\n");
    fs::write(place.path().join("events.jsonl"), event(NOVEMBER)).unwrap();
    let mut run = |now: i64| {
        let ctx = Context { now: now * 1_000, ..place.context() };
        place.host.run_in(&ctx, task::<Stats>(), config).unwrap();
        place.number("SELECT count(*) FROM visitor_key")
    };
    assert_eq!([NOVEMBER, NOVEMBER + 40 * DAY, NOVEMBER + 4_000 * DAY].map(&mut run), [1, 1, 1]);
}

/// A hundred pages with names of several KB, ever other ones, on each of some days.
fn hostile(days: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    days.flat_map(|day| {
        (0..100).map(move |number| {
            let time = NOVEMBER + day * DAY + number * 600;
            view(time, &format!("198.51.100.{number}"), &format!("/{day}/{number}/{}", "\u{e4}x".repeat(2_000)))
        })
    })
}

#[test]
fn long_names_on_many_days_at_once_are_the_same_as_day_by_day() {
    const DAYS: i64 = 25;
    let tables = ["ranking ORDER BY day, chart, place", "traffic ORDER BY level, unix"];
    let all = |clock: &Clock| tables.map(|it| clock.rows(&format!("SELECT * FROM {it}")));
    let end = NOVEMBER + DAYS * DAY;
    let mut by_day = Clock::new("");
    for day in 0..DAYS {
        by_day.run(end, hostile(day..day + 1));
    }
    let wanted = all(&by_day);
    let mut clock = Clock::new("");
    clock.run(end, hostile(0..DAYS));
    let got = all(&clock);
    // The last sessions may still go on: four pages are not in entries and exits yet.
    assert_eq!(got[0].len() as i64, DAYS * (3 * 100 + 2) - 2 * 4);
    assert_eq!(got, wanted);
    assert_eq!(clock.number("SELECT max(length(CAST(name AS BLOB))) FROM ranking"), 512, "the names are cut");
    assert_eq!(clock.number("SELECT count(*) FROM piece"), 0);

    // The run was ended before it came to the rows: what it noted is done by the next.
    let database = Connection::open("private").unwrap();
    database.execute("DELETE FROM ranking", []).unwrap();
    database.execute("DELETE FROM traffic", []).unwrap();
    let note = "INSERT INTO piece SELECT '0', 'rows/site', key, '' FROM section WHERE key LIKE 'chart/%' OR key LIKE 'day/%' OR key LIKE 'hour/%'";
    database.execute(&note.replace("''", "x''"), []).unwrap();
    clock.run(end, []);
    assert_eq!(all(&clock), wanted);
    assert_eq!(clock.number("SELECT count(*) FROM piece"), 0);
}
