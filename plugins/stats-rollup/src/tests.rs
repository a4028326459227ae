//! Whole runs over files of a folder.

use std::fs;
use std::path::Path;

use upkeep_plugin::sql::Connection;
use upkeep_plugin::test::Host;
use upkeep_plugin::{Context, Report, Result, parameters, task};

use super::*;

mod countries;
mod gone;
mod kept;

const CONFIG: &str = r#"{ "sources": [{ "name": "site", "root": "logs" }] }"#;

/// A folder of logs, and runs that count them.
struct Place {
    folder: tempfile::TempDir,
    host: Host,
    runs: u32,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::new().root("logs", folder.path());
        Self { folder, host, runs: 0 }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn context(&mut self) -> Context {
        self.runs += 1;
        Context { run: format!("{:026}", self.runs), now: 1_764_500_000_000, ..self.host.context() }
    }

    fn run(&mut self) -> Report {
        self.run_with(CONFIG).unwrap()
    }

    fn run_with(&mut self, config: &str) -> Result<Report> {
        let ctx = self.context();
        self.host.run_in(&ctx, task::<Stats>(), config)
    }

    /// A number of the database.
    fn number(&self, statement: &str) -> i64 {
        let row = Connection::open("private").unwrap().query(statement, []).unwrap().next();
        match row.unwrap().unwrap().values()[0] {
            upkeep_plugin::sql::Value::Integer(number) => number,
            ref other => panic!("{other:?}"),
        }
    }

    fn requests(&self) -> i64 {
        self.number("SELECT coalesce(sum(requests), 0) FROM traffic WHERE level = 'hour'")
    }
}

/// Lines of a log, `from` to `to`, one a minute.
fn lines(from: u32, to: u32) -> String {
    let line = |number: u32| {
        let (hour, minute) = (number / 60 % 24, number % 60);
        format!(
            "192.0.2.{} - - [{:02}/Nov/2025:{hour:02}:{minute:02}:00 +0000] \"GET /page/{} HTTP/1.1\" 200 {number} \"-\" \
             \"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\"\n",
            number % 7,
            1 + number / 1440,
            number % 3,
        )
    };
    (from..to).map(line).collect()
}

fn gzip(path: &Path) {
    let bytes = fs::read(path).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, &bytes).unwrap();
    fs::write(
        path.with_extension(format!("{}gz", path.extension().map_or(String::new(), |it| format!("{}.", it.display())))),
        encoder.finish().unwrap(),
    )
    .unwrap();
    fs::remove_file(path).unwrap();
}

#[test]
fn each_line_is_counted_once_whatever_becomes_of_its_file() {
    let mut place = Place::new();
    let (log, old, older) = ["access.log", "access.log.1", "access.log.2"].map(|it| place.path().join(it)).into();
    fs::write(&log, lines(0, 100)).unwrap();
    assert_eq!(place.run().summary, "100 lines counted");
    assert_eq!(place.run().summary, "0 lines counted");

    // It grows, and is in the middle of a line.
    let more = lines(100, 150);
    fs::write(&log, lines(0, 100) + &more[..more.len() - 20]).unwrap();
    assert_eq!(place.run().summary, "49 lines counted");

    // It is renamed, finished, and goes on in another file.
    fs::write(&log, lines(0, 150)).unwrap();
    fs::rename(&log, &old).unwrap();
    fs::write(&log, lines(150, 160)).unwrap();
    assert_eq!(place.run().summary, "11 lines counted");

    // It is compressed after it has grown once more.
    fs::write(&old, lines(0, 150) + &lines(500, 505)).unwrap();
    fs::rename(&old, &older).unwrap();
    gzip(&older);
    assert_eq!(place.run().summary, "5 lines counted");
    assert_eq!(place.run().summary, "0 lines counted");

    // It is copied and cut off.
    fs::write(&log, lines(150, 200)).unwrap();
    fs::copy(&log, &old).unwrap();
    fs::write(&log, lines(200, 203)).unwrap();
    assert_eq!(place.run().summary, "43 lines counted");

    // All of it somewhere else.
    fs::create_dir(place.path().join("sub")).unwrap();
    for entry in fs::read_dir(place.path()).unwrap().map(std::result::Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), place.path().join("sub").join(entry.file_name())).unwrap();
        }
    }
    let config = CONFIG.replace("\"logs\"", r#""logs", "files": ["**/access.log*"]"#);
    assert_eq!(place.run_with(&config).unwrap().summary, "0 lines counted");

    assert_eq!(place.requests(), 208);
    let bytes = place.number("SELECT sum(bytes) FROM traffic WHERE level = 'day'");
    assert_eq!(bytes, (0..203).sum::<i64>() + (500..505).sum::<i64>());
}

/// What the plan and the steps of a run come to; its end is still missing.
fn outcomes(stats: &Stats, ctx: &Context) -> Vec<Outcome<Stats>> {
    let outcome = |step: Step<Share>| Outcome { output: Ok(stats.execute(ctx, step.clone()).unwrap()), step };
    stats.plan(ctx).unwrap().into_iter().map(outcome).collect()
}

#[test]
fn a_run_that_ends_anywhere_counts_nothing_twice() {
    let mut place = Place::new();
    let log = place.path().join("access.log");
    fs::write(&log, lines(0, 1000)).unwrap();
    let stats: Stats = serde_json::from_str(CONFIG).unwrap();

    // The steps are done, the end is not: the next run counts all of it.
    let ctx = place.context();
    let steps = stats.plan(&ctx).unwrap();
    for step in steps {
        stats.execute(&ctx, step).unwrap();
    }
    assert_eq!(place.run().summary, "1000 lines counted");

    // A step is done twice, and so is the end: as after a crash before it was written down.
    fs::write(&log, lines(0, 1500)).unwrap();
    let ctx = place.context();
    drop(outcomes(&stats, &ctx));
    let (once, again) = (outcomes(&stats, &ctx), outcomes(&stats, &ctx));
    assert_eq!(stats.finish(&ctx, once).unwrap().summary, "500 lines counted");
    assert_eq!(stats.finish(&ctx, again).unwrap().summary, "0 lines counted");
    assert_eq!(place.requests(), 1500);

    // Two runs at the same time: one of them counts.
    fs::write(&log, lines(0, 1600)).unwrap();
    let (one, other) = (place.context(), place.context());
    let (of_one, of_other) = (outcomes(&stats, &one), outcomes(&stats, &other));
    assert_eq!(stats.finish(&one, of_one).unwrap().summary, "100 lines counted");
    let report = stats.finish(&other, of_other).unwrap();
    assert_eq!(report.summary, "0 lines counted");
    assert_eq!(place.requests(), 1600);
}

#[test]
fn what_was_cut_off_between_plan_and_step_waits_for_the_next_run() {
    let mut place = Place::new();
    let log = place.path().join("access.log");
    fs::write(&log, lines(0, 1000)).unwrap();
    let stats: Stats = serde_json::from_str(CONFIG).unwrap();
    let ctx = place.context();
    let steps = stats.plan(&ctx).unwrap();
    fs::copy(&log, place.path().join("access.log.1")).unwrap();
    fs::write(&log, lines(1000, 1010)).unwrap();
    let outcomes: Vec<Outcome<Stats>> = steps
        .into_iter()
        .map(|step| Outcome { output: Ok(stats.execute(&ctx, step.clone()).unwrap()), step })
        .collect();
    assert!(outcomes[0].output.as_ref().unwrap().put_off.is_some());
    assert_eq!(stats.finish(&ctx, outcomes).unwrap().summary, "0 lines counted");
    assert_eq!(place.run().summary, "1010 lines counted");
    assert_eq!(place.run().summary, "0 lines counted");
}

#[test]
fn late_and_malformed_lines_are_told_apart() {
    let mut place = Place::new();
    let log = place.path().join("access.log");
    fs::write(&log, lines(10_000, 10_100)).unwrap();
    place.run();
    // Five lines within the window, three that are older, and two that are none.
    fs::write(&log, lines(10_000, 10_100) + &lines(9_000, 9_005) + &lines(0, 3) + "no line\n\x16\x03\x01\n").unwrap();
    let report = place.run();
    assert_eq!(report.summary, "8 lines counted, 3 late, 2 malformed");
    assert_eq!(report.findings[0].key, "malformed/site");
    assert!(report.findings[0].detail.contains("`no line`"), "{}", report.findings[0].detail);
    assert_eq!(place.number("SELECT sum(late) FROM traffic WHERE level = 'day'"), 3);
    assert_eq!(place.number("SELECT count(*) FROM malformed"), 2);
    assert_eq!(place.requests(), 105);
    // Nobody is told by the lines that are shown.
    let connection = Connection::open("private").unwrap();
    let rows = connection.query("SELECT line FROM malformed", parameters![]).unwrap();
    let shown: Vec<String> = rows.map(|row| row.unwrap().get("line").unwrap()).collect();
    assert_eq!(shown, ["no line", "\u{fffd}\u{3}\u{1}".replace(char::is_control, "\u{fffd}").as_str()]);
}

#[test]
fn figures_of_hours_days_weeks_and_months() {
    let mut place = Place::new();
    fs::write(place.path().join("access.log"), lines(0, 3 * 1440)).unwrap();
    place.run();
    for level in ["hour", "day", "week", "month"] {
        let sum = place.number(&format!("SELECT sum(requests) FROM traffic WHERE level = '{level}'"));
        assert_eq!(sum, 4320, "{level}");
    }
    assert_eq!(place.number("SELECT count(*) FROM traffic WHERE level = 'hour'"), 72);
    // Seven visitors each day: the same ones.
    assert_eq!(place.number("SELECT max(visitors) FROM traffic WHERE level = 'month'"), 7);
    assert_eq!(place.number("SELECT sum(new_visitors) FROM traffic WHERE level = 'day'"), 7);
    assert_eq!(place.number("SELECT sum(returning_visitors) FROM traffic WHERE level = 'day'"), 14);
    assert_eq!(
        place.number("SELECT hits FROM ranking WHERE chart = 'pages' AND place = 1 AND day = '2025-11-01'"),
        480
    );
}

#[test]
fn events_are_counted_with_funnels_and_cohorts() {
    let mut place = Place::new();
    let config = r#"{
        "sources": [{ "name": "shop", "root": "logs", "files": ["events.jsonl*"], "format": "events" }],
        "funnels": [{ "name": "order", "source": "shop", "steps": ["view", "cart", "pay"], "within": "1h" }]
    }"#;
    // 1 November 2025, 10:00 UTC.
    let at = |day: i64, minute: i64| 1_761_991_200 + day * 86_400 + minute * 60;
    let event =
        |user: &str, name: &str, time: i64| format!("{{\"user_id\":\"{user}\",\"event\":\"{name}\",\"ts\":{time}}}\n");
    let mut lines = String::new();
    for user in ["an", "bo", "cy", "di"] {
        lines += &event(user, "view", at(0, 0));
    }
    for user in ["an", "bo", "cy"] {
        lines += &event(user, "cart", at(0, 10));
    }
    lines += &event("an", "pay", at(0, 20));
    // Too late to belong to it.
    lines += &event("bo", "pay", at(0, 90));
    fs::write(place.path().join("events.jsonl.1"), &lines).unwrap();
    assert_eq!(place.run_with(config).unwrap().summary, "9 lines counted");
    // The file is read as another one in a second run, with the days after it.
    let more = event("an", "view", at(1, 0)) + &event("bo", "view", at(3, 0)) + &event("an", "view", at(7, 0)) + "{}\n";
    fs::write(place.path().join("events.jsonl"), more).unwrap();
    assert_eq!(place.run_with(config).unwrap().summary, "3 lines counted, 1 malformed");

    let of = |statement: &str| place.number(statement);
    assert_eq!(of("SELECT count FROM event WHERE day = '2025-11-01' AND name = 'cart'"), 3);
    assert_eq!(of("SELECT users FROM event WHERE day = '2025-11-01' AND name = 'view'"), 4);
    for (step, users) in [(1, 4), (2, 3), (3, 1)] {
        let statement =
            format!("SELECT users FROM funnel WHERE funnel = 'order' AND day = '2025-11-01' AND step = {step}");
        assert_eq!(of(&statement), users, "{step}");
    }
    let cohort = "SELECT users * 10000 + after_1 * 1000 + after_3 * 100 + after_7 * 10 + after_14 FROM retention WHERE day = '2025-11-01'";
    assert_eq!(of(cohort), 41_110);
    assert_eq!(of("SELECT count(*) FROM retention"), 1);

    let on_the_8th = "SELECT count(*) FROM funnel WHERE day = '2025-11-08'";
    // A day that is counted under another funnel with the same name has the steps of that one only.
    let changed = config.replace("\"cart\", ", "");
    let late = [("eve", "view", at(7, 10)), ("eve", "pay", at(7, 20)), ("eve", "view", at(8, 0))];
    let late: String = late.iter().map(|(user, name, time)| event(user, name, *time)).collect();
    fs::write(place.path().join("events.jsonl.2"), late).unwrap();
    place.run_with(config).unwrap();
    assert_eq!(place.number(on_the_8th), 3);
    let again = event("fay", "view", at(7, 30)) + &event("fay", "view", at(9, 0));
    fs::write(place.path().join("events.jsonl.3"), again).unwrap();
    place.run_with(&changed).unwrap();
    assert_eq!(place.number(on_the_8th), 2);

    for (from, to, expected) in [
        ("\"cart\", ", "\"view\", ", "comes twice"),
        ("\"source\": \"shop\"", "\"source\": \"mall\"", "`mall`"),
        (", \"cart\", \"pay\"", "", "2 to 32 steps"),
    ] {
        let error = place.run_with(&config.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn rows_of_a_table_are_counted_once() {
    let mut place = Place::new();
    let config = r#"{
        "tables": [{ "name": "orders", "database": "private", "table": "shop_order", "time": "at", "user": "buyer", "event": "kind" }],
        "funnels": [{ "name": "pay", "source": "orders", "steps": ["view", "order"], "within": "1h" }]
    }"#;
    let shop = Connection::open("private").unwrap();
    // A key of another type, a table that is not there, a column that is not there.
    for (table, expected) in [
        ("CREATE TABLE other (id INTEGER PRIMARY KEY)", "no such table"),
        ("CREATE TABLE shop_order (id INTEGER PRIMARY KEY, at TEXT, buyer INTEGER)", "`orders` in [[config.tables]]"),
        ("ALTER TABLE shop_order ADD COLUMN kind TEXT", ""),
    ] {
        shop.execute(table, []).unwrap();
        match expected {
            "" => assert_eq!(place.run_with(config).unwrap().summary, "0 lines counted"),
            _ => {
                shop.execute("INSERT INTO other DEFAULT VALUES", []).unwrap();
                if table.contains("shop_order") {
                    shop.execute("INSERT INTO shop_order VALUES (1, '2025-11-01T10:00:00Z', 7)", []).unwrap();
                }
                let error = place.run_with(config).unwrap_err().to_string();
                assert!(error.contains(expected), "{error}");
                let _ = shop.execute("DELETE FROM shop_order", []);
            }
        }
    }
    let insert = |id: i64, at: &str, buyer: Option<i64>, kind: &str| {
        let values = parameters![id, at, buyer, kind];
        shop.execute("INSERT INTO shop_order VALUES (?, ?, ?, ?)", values).unwrap();
    };
    for id in 1..=30_000 {
        let kind = if id <= 20_000 { "view" } else { "order" };
        insert(id, &format!("2025-11-01 {:02}:{:02}:00", 10 + id / 20_001, id % 60), Some(id % 20_000), kind);
    }
    assert_eq!(place.run_with(config).unwrap().summary, "30000 lines counted");
    assert_eq!(place.run_with(config).unwrap().summary, "0 lines counted");
    // Gaps, nobody, no time, and a time that is still to come.
    insert(5_000_000_000, "2025-11-02 10:00:00", None, "view");
    insert(5_000_000_001, "", Some(1), "view");
    insert(5_000_000_002, "2125-11-02 10:00:00", Some(1), "view");
    let report = place.run_with(config).unwrap();
    assert_eq!(report.summary, "1 lines counted, 2 malformed");
    assert!(
        report.findings[0]
            .detail
            .contains("private.shop_order: a time that cannot be read: `the row with id = 5000000001`"),
        "{report:?}"
    );
    assert_eq!(place.number("SELECT count FROM event WHERE name = 'view' AND day = '2025-11-01'"), 20_000);
    assert_eq!(place.number("SELECT count FROM event WHERE name = 'order'"), 10_000);
    let users = place.number("SELECT users FROM event WHERE name = 'view' AND day = '2025-11-01'");
    assert!((19_800..=20_200).contains(&users), "{users}");
    assert_eq!(place.number("SELECT users FROM funnel WHERE step = 1 AND day = '2025-11-01'"), 20_000);
    assert_eq!(place.number("SELECT counted FROM log_file WHERE source = 'orders'"), 5_000_000_002);

    insert(5_000_000_003, "2025-11-02 10:00:00", Some(1), "view");
    for (from, to, expected) in [
        ("\"time\": \"at\"", "\"time\": \"when\"", "what the database calls them"),
        ("\"time\": \"at\"", "\"time\": \"at; --\"", "is no name of a column"),
        ("\"time\": \"at\"", "\"time\": \"at\", \"key\": \"kind\"", "has to be a whole number above 0"),
        ("\"time\": \"at\"", "\"time\": \"at\", \"timezone\": \"Mars\"", "`timezone`"),
        ("\"time\": \"at\"", "\"time\": \"at\", \"settle\": \"1h\"", "`settle`"),
        (
            "\"tables\": [",
            "\"tables\": [{ \"name\": \"orders\", \"database\": \"private\", \"table\": \"t\", \"time\": \"at\" }, ",
            "a name of its own",
        ),
    ] {
        let error = place.run_with(&config.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(place.run_with("{}").unwrap_err().to_string().contains("nothing to count"));
}

#[test]
fn a_configuration_that_cannot_be_is_refused() {
    let mut place = Place::new();
    for (from, to, expected) in [
        (r#""root": "logs""#, r#""root": "logs", "format": "$remote_addr$status""#, "`format`"),
        (r#""root": "logs""#, r#""root": "logs", "files": ["a[b"]"#, "`a[b` in `files`"),
        (r#""sources": ["#, r#""late": "1m", "sources": ["#, "`late`"),
        (r#""sources": ["#, r#""session_gap": "13h", "sources": ["#, "`session_gap`"),
    ] {
        let error = place.run_with(&CONFIG.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
