//! Figures of logs as an operator asks for them: the daemon runs the plugin on a log whose figures are counted here by hand, among
//! them those of a day of 25 hours, and `upkeep stats` says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use serde_json::Value;
use upkeep_tests::{Daemon, Site};

/// 2025-10-25 00:00 in Berlin. The next day has 25 hours.
const START: i64 = 1_761_343_200;
const HOUR: i64 = 3_600;
/// Where each of the three days begins, and where the last one ends, in hours.
const DAYS: [i64; 4] = [0, 24, 49, 73];
const NAMES: [&str; 3] = ["2025-10-25", "2025-10-26", "2025-10-27"];
/// After so many seconds without a request a session is over.
const GAP: i64 = 1_800;

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const BOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

struct Request {
    time: i64,
    /// None: a bot.
    person: Option<u64>,
    page: u64,
    status: u16,
    bytes: u64,
    micros: u64,
}

impl Request {
    fn is_view(&self) -> bool {
        self.person.is_some() && self.status < 400
    }

    fn day(&self) -> usize {
        (0..3).rfind(|it| self.time >= START + DAYS[*it] * HOUR).unwrap()
    }

    fn line(&self) -> String {
        let time = clock(self.time);
        let (address, agent) = match self.person {
            Some(person) => (format!("198.51.{}.{}", person / 200, person % 200), BROWSER),
            None => ("192.0.2.1".to_owned(), BOT),
        };
        let Self { page, status, bytes, micros, .. } = self;
        format!(
            "{address} - - [{time}] \"GET /page/{page}?secret=1 HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\" {}.{:06}\n",
            micros / 1_000_000,
            micros % 1_000_000
        )
    }
}

/// `25/Oct/2025:00:00:00 +0000`, of a time in October 2025.
fn clock(time: i64) -> String {
    // 2025-10-01 00:00 UTC.
    let since = time - 1_759_276_800;
    let (day, hour, minute, second) = (since / 86_400 + 1, since / HOUR % 24, since / 60 % 60, since % 60);
    format!("{day:02}/Oct/2025:{hour:02}:{minute:02}:{second:02} +0000")
}

/// Requests of three days, in order; the same ones each time. The last one ends all sessions.
fn requests() -> Vec<Request> {
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut requests = Vec::new();
    let end = START + DAYS[3] * HOUR - 2 * HOUR;
    let mut time = START;
    while time < end {
        requests.push(Request {
            time,
            person: (random(10) > 0).then(|| random(700)),
            page: random(30) * random(2) + random(5),
            status: [200, 200, 200, 200, 304, 301, 404, 500][random(8) as usize],
            bytes: random(100_000),
            micros: 500 + random(1_000) * random(1_000),
        });
        time += 1 + random(60).cast_signed();
    }
    requests.push(Request { time: end + HOUR, person: None, page: 0, status: 200, bytes: 1, micros: 1_000 });
    requests
}

/// What is counted by hand of some days.
#[derive(Debug, Default)]
struct Counted {
    plain: BTreeMap<&'static str, u64>,
    micros: Vec<u64>,
    pages: BTreeMap<String, u64>,
}

fn count(requests: &[Request], days: std::ops::Range<usize>) -> Counted {
    let mut counted = Counted::default();
    let mut add = |key, count| *counted.plain.entry(key).or_insert(0) += count;
    let mine: Vec<&Request> = requests.iter().filter(|it| days.contains(&it.day())).collect();
    for it in &mine {
        add("requests", 1);
        add("pages", it.is_view().into());
        add("bytes", it.bytes);
        add("bots", it.person.is_none().into());
        for (key, class) in [("s2xx", 2), ("s3xx", 3), ("s4xx", 4), ("s5xx", 5)] {
            add(key, (it.status / 100 == class).into());
        }
        add("time_us", it.micros);
        if it.is_view() {
            *counted.pages.entry(format!("/page/{}", it.page)).or_insert(0) += 1;
        }
    }
    let people = |of: &mut dyn Iterator<Item = &Request>| of.filter_map(|it| it.person).collect::<BTreeSet<u64>>();
    let visitors = people(&mut mine.iter().copied());
    let before = people(&mut requests.iter().filter(|it| it.day() < days.start));
    add("visitors", visitors.len() as u64);
    add("new_visitors", visitors.difference(&before).count() as u64);
    let mut by_person = BTreeMap::<u64, Vec<&Request>>::new();
    for request in requests {
        request.person.into_iter().for_each(|it| by_person.entry(it).or_default().push(request));
    }
    for all in by_person.values() {
        for session in all.chunk_by(|a, b| b.time - a.time <= GAP) {
            let views = session.iter().filter(|it| it.is_view()).count() as u64;
            if views > 0 && days.contains(&session[0].day()) {
                add("sessions", 1);
                add("bounces", (views == 1).into());
                add("session_pages", views);
            }
        }
    }
    counted.micros = mine.iter().map(|it| it.micros).collect();
    counted.micros.sort_unstable();
    counted
}

fn near(told: &Value, exact: u64, percent: f64, what: &str) {
    let told = told.as_f64().unwrap_or_else(|| panic!("{what}: {told}"));
    let off = (told / exact as f64 - 1.0).abs() * 100.0;
    assert!(off <= percent, "{what}: {told} instead of {exact}, off by {off} %");
}

fn compare(told: &Value, exact: &Counted, what: &str) {
    for (key, exact) in &exact.plain {
        match *key {
            // Hundreds of visitors are counted almost exactly; a percent is far more than may be missing.
            "visitors" => near(&told[key], *exact, 1.0, what),
            _ => assert_eq!(told[key], *exact, "{key} of {what}: {told}"),
        }
    }
    for (key, share) in [("p50_us", 0.5), ("p95_us", 0.95), ("p99_us", 0.99)] {
        let rank = (share * exact.micros.len() as f64).ceil() as usize - 1;
        near(&told[key], exact.micros[rank], 0.4, &format!("{key} of {what}"));
    }
    assert_eq!(told["max_us"], *exact.micros.last().unwrap(), "{what}");
}

/// The key of visitors stays: that of a month which is long over is removed at the end of each run.
fn task(site: &Site, name: &str, folder: &str) {
    let text = format!(
        "plugin = \"stats-rollup\"\n[schedule]\ntimezone = \"Europe/Berlin\"\n\
         [[config.sources]]\nname = \"site\"\nroot = \"logs\"\nformat = \"combined-time\"\n\
         [config.visitors]\nnew_key = \"never\"\n[config.keep]\nhours = \"36500d\"\ndays = \"36500d\"\nmonths = \"36500d\"\n\
         [grant]\nmetrics = true\n[grant.sql.private]\naccess = [\"write\"]\n[grant.files.logs]\npath = {:?}\n",
        site.path(folder)
    );
    site.task(name, &text);
}

/// A daemon that has counted the log, of which the first half was rotated meanwhile.
fn counted(requests: &[Request]) -> (Site, Daemon) {
    let site = Site::new(&["noop"]);
    site.shipped("stats-rollup");
    fs::create_dir(site.path("logs")).unwrap();
    let (log, rotated) = (site.path("logs/access.log"), site.path("logs/access.log.1"));
    let (first, second) = requests.split_at(requests.len() / 2);
    let text = |of: &[Request]| of.iter().map(Request::line).collect::<String>();
    fs::write(&log, text(first)).unwrap();
    task(&site, "web", "logs");
    site.task("plain", "plugin = \"noop\"\n");
    let daemon = site.start();
    let run = site.run("web");
    assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
    fs::rename(&log, rotated).unwrap();
    let mut rest = text(second);
    writeln!(rest, "this is no line of a log").unwrap();
    fs::write(&log, rest).unwrap();
    let run = site.run("web");
    assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
    (site, daemon)
}

#[test]
fn figures_are_those_that_are_counted_by_hand() {
    let requests = requests();
    let (site, _daemon) = counted(&requests);
    let all = ["--from", NAMES[0], "--to", NAMES[2]];
    let ask = |args: &[&str]| site.cli(&[&["stats"], args].concat());
    let stats = ask(&[&["web", "--json"][..], &all].concat()).json();
    assert_eq!((&stats["task"], &stats["timezone"]), (&"web".into(), &"Europe/Berlin".into()));
    let shop = &stats["sources"][0];
    assert_eq!((&shop["lines"], &shop["late"], &shop["malformed"]), (&requests.len().into(), &0.into(), &1.into()));

    // Days, and all of them together.
    let days = shop["spans"].as_array().unwrap();
    assert_eq!(days.iter().map(|it| it["start"].as_str().unwrap()).collect::<Vec<_>>(), NAMES);
    for (number, day) in days.iter().enumerate() {
        compare(day, &count(&requests, number..number + 1), NAMES[number]);
    }
    let exact = count(&requests, 0..3);
    compare(&shop["total"], &exact, "all days");
    let added: u64 = days.iter().map(|it| it["visitors"].as_u64().unwrap()).sum();
    assert!(added > exact.plain["visitors"] * 3 / 2, "visitors come again, so that the total is not their sum");
    let part = ask(&["--json", "--from", NAMES[1], "--to", NAMES[2]]).json();
    compare(&part["sources"][0]["total"], &count(&requests, 1..3), "two days");

    // Rankings.
    let ranking = |stats: &Value, top: &str| {
        let all = stats["sources"][0]["rankings"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["top"] == top).unwrap()
    };
    let pages = ranking(&stats, "pages");
    assert_eq!(pages["hits"], exact.plain["pages"]);
    let mut wanted: Vec<_> = exact.pages.iter().map(|(name, hits)| (std::cmp::Reverse(*hits), name.clone())).collect();
    wanted.sort();
    for (told, (hits, name)) in pages["names"].as_array().unwrap().iter().zip(wanted) {
        assert_eq!((&told["name"], &told["hits"]), (&name.into(), &hits.0.into()));
    }
    assert!(!stats.to_string().contains("secret"), "parameters are dropped");
    assert_eq!(ranking(&stats, "errors")["hits"], exact.plain["s4xx"] + exact.plain["s5xx"]);

    // The day of 25 hours, hour by hour.
    let hours = ask(&["--json", "--by", "hour", "--from", NAMES[1], "--to", NAMES[1]]).json();
    let hours = hours["sources"][0]["spans"].as_array().unwrap().clone();
    assert_eq!(hours.len(), 25);
    let begins = START + DAYS[1] * HOUR;
    for (number, hour) in hours.iter().enumerate() {
        let from = begins + number as i64 * HOUR;
        let exact = requests.iter().filter(|it| (from..from + HOUR).contains(&it.time)).count();
        assert_eq!(hour["requests"], exact, "{hour}");
    }
    assert_eq!([2, 3].map(|it| hours[it]["start"].clone()), ["2025-10-26 02:00+02:00", "2025-10-26 02:00+01:00"]);

    // CSV says the same.
    let csv = ask(&[&["--csv"][..], &all].concat()).stdout;
    let lines: Vec<&str> = csv.strip_suffix("\r\n").unwrap().split("\r\n").collect();
    assert_eq!(lines.len(), 4, "{csv}");
    let first = format!("site,day,{},{},{},", NAMES[0], days[0]["requests"], days[0]["pages"]);
    assert!(lines[0].starts_with("source,level,start,requests,pages,") && lines[1].starts_with(&first), "{csv}");

    // What people read.
    let text = ask(&all).stdout;
    let line = text.lines().find(|it| it.starts_with(NAMES[1])).unwrap();
    assert_eq!(line.split_whitespace().nth(1).unwrap().replace(',', ""), days[1]["requests"].to_string());
    for said in ["TOTAL", "█", "PAGE ", "ERROR ", "SLOWEST PAGE", "AGENT", "1 of", "could not be read"] {
        assert!(text.contains(said), "`{said}` is missing:\n{text}");
    }
    let top = ask(&[&["--top", "errors"][..], &all].concat()).stdout;
    assert!(top.contains("404 /page/") && !top.contains("TOTAL"), "{top}");
}

/// Somebody does something, minutes after midnight of a day of October 2025 in Berlin, where it is summer up to the 26th.
fn event(day: i64, minute: i64, user: &str, name: &str) -> String {
    let time = START + (day - 25) * 24 * HOUR + minute * 60;
    format!("{{\"user_id\":\"{user}\",\"event\":\"{name}\",\"ts\":{time}}}\n")
}

#[test]
fn events_funnels_and_who_came_back_are_shown() {
    let site = Site::new(&["noop"]);
    site.shipped("stats-rollup");
    fs::create_dir(site.path("logs")).unwrap();
    let mut log = String::new();
    for user in ["an", "bo", "cy", "di"] {
        log += &event(20, 600, user, "view");
    }
    for user in ["an", "bo"] {
        log += &event(20, 610, user, "cart");
    }
    log += &event(20, 620, "an", "pay");
    for (day, user) in [(21, "an"), (21, "bo"), (21, "eve"), (23, "an")] {
        log += &event(day, 700, user, "view");
    }
    fs::write(site.path("logs/events.jsonl"), log + "no event\n").unwrap();
    let text = format!(
        "plugin = \"stats-rollup\"\n[schedule]\ntimezone = \"Europe/Berlin\"\n\
         [[config.sources]]\nname = \"shop\"\nroot = \"logs\"\nfiles = [\"events.jsonl*\"]\nformat = \"events\"\n\
         [[config.funnels]]\nname = \"order\"\nsource = \"shop\"\nsteps = [\"view\", \"cart\", \"pay\"]\n\
         [config.keep]\nhours = \"36500d\"\ndays = \"36500d\"\nmonths = \"36500d\"\n\
         [grant]\nmetrics = true\n[grant.sql.private]\naccess = [\"write\"]\n[grant.files.logs]\npath = {:?}\n",
        site.path("logs")
    );
    site.task("app", &text);
    let _daemon = site.start();
    let run = site.run("app");
    assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
    let ask = |args: &[&str]| site.cli(&[&["stats", "--from", "2025-10-20", "--to", "2025-10-24"], args].concat());

    let stats = ask(&["--json"]).json();
    let shop = &stats["sources"][0];
    assert_eq!((&shop["lines"], &shop["malformed"], &shop["spans"]), (&11.into(), &1.into(), &serde_json::json!([])));
    let events = &shop["events"];
    let row = |start: &str, events: u64, users: u64, new: u64| serde_json::json!({ "start": start, "events": events, "users": users, "new_users": new });
    let rows = [
        row("2025-10-20", 7, 4, 4),
        row("2025-10-21", 3, 3, 1),
        row("2025-10-22", 0, 0, 0),
        row("2025-10-23", 1, 1, 0),
    ];
    assert_eq!(events["spans"], serde_json::json!(rows));
    assert_eq!(events["total"], serde_json::json!({ "events": 11, "users": 5, "new_users": 5 }));
    let after: Vec<_> = [0, 1, 2].map(|it| events["retention"][0]["after"][it]["users"].clone()).into();
    assert_eq!(after, [2.into(), 1.into(), Value::Null], "{events}");

    // What people read. The columns are a name and numbers.
    let text = ask(&[]).stdout;
    for line in [
        "TOTAL 11 5 5",
        "view 8 72.7 5",
        "cart 2 18.2 2",
        "FUNNEL order USERS % OF FIRST % OF BEFORE",
        // The 20th and the 21st are over.
        "view 7 100.0 -",
        "cart 2 28.6 28.6",
        "pay 1 14.3 50.0",
        "2025-10-20 4 2 50.0 1 25.0 - - -",
        "Since the beginning 1 of 12 lines could not be read and are in no figure.",
    ] {
        let is_it = |it: &str| it.split_whitespace().eq(line.split_whitespace());
        assert!(text.lines().any(is_it), "`{line}` is missing:\n{text}");
    }
    assert!(text.contains("order to 2025-10-21"), "it says which days are not over:\n{text}");
    let hours = ask(&["--by", "hour"]).stdout;
    assert!(hours.contains("no rows of hours") && hours.contains("view"), "{hours}");

    let csv = ask(&["--csv", "--top", "funnels"]).stdout;
    let first = "shop,order,2025-10-20,2025-10-21,1,view,7\r\n";
    assert!(csv.starts_with(&format!("source,funnel,first,last,step,name,users\r\n{first}")), "{csv}");
    let hours = ask(&["--csv", "--by", "hour"]);
    assert!(hours.stdout.lines().count() == 1 && hours.stderr.contains("no rows of hours"), "{hours:?}");
}

#[test]
fn questions_without_an_answer_say_what_would_have_one() {
    let requests: Vec<_> = requests().into_iter().take(100).collect();
    let (site, _daemon) = counted(&requests);
    for (args, code, said) in [
        (&["web", "--from", "yesterday"][..], 2, "write `2026-11-23`"),
        (&["web", "--from", "2025-10-26", "--to", "2025-10-25"], 2, "`from` is after `to`"),
        (&["web", "--from", "2025-10-26T10:00", "--by", "day"], 2, "write days"),
        (&["web", "--source", "shop"], 4, "it has site"),
        (&["plain"], 4, "those that do: web"),
        (&["nothing"], 4, "there is no task `nothing`"),
    ] {
        let ran = site.cli(&[&["stats"], args].concat());
        assert!(ran.code == code && ran.stderr.contains(said), "{args:?}: {ran:?}");
    }
    let none = site.cli(&["stats", "--from", "2020-01-01", "--to", "2020-01-02"]);
    assert!(none.code == 0 && none.stdout.contains("from 2025-10-25 to 2025-10-25"), "{none:?}");
    task(&site, "other", "logs");
    site.cli(&["reload"]);
    site.run("other");
    let which = site.cli(&["stats"]);
    assert!(which.code == 2 && which.stderr.contains("name one: other, web"), "{which:?}");
}

#[test]
fn a_year_is_counted_at_once() {
    const YEAR: i64 = 370;
    let site = Site::new(&[]);
    site.shipped("stats-rollup");
    fs::create_dir(site.path("logs")).unwrap();
    let newest = upkeep_tests::now();
    let mut lines = String::new();
    for day in 0..YEAR {
        for number in 0..60 {
            let time = newest - (YEAR - day) * 24 * HOUR + number * 1_000;
            let page = format!("{day}/a/name/that/is/about/as/long/as/names/in/the/wild/may/be/{number}");
            writeln!(
                lines,
                "{{\"time\":\"{time}\",\"remote_addr\":\"198.51.100.{number}\",\"request\":\"GET /{page} HTTP/1.1\",\"status\":\"200\",\
                 \"body_bytes_sent\":\"1\",\"request_time\":\"0.010\",\"http_user_agent\":\"{BROWSER}\"}}"
            )
            .unwrap();
        }
    }
    fs::write(site.path("logs/access.log"), lines).unwrap();
    let text = format!(
        "plugin = \"stats-rollup\"\n[[config.sources]]\nname = \"site\"\nroot = \"logs\"\nformat = \"json\"\n[grant]\nmetrics = true\n\
         [grant.sql.private]\naccess = [\"write\"]\n[grant.files.logs]\npath = {:?}\n",
        site.path("logs")
    );
    site.task("web", &text);
    let _daemon = site.start();
    let run = site.run("web");
    assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
    let stats = site.cli(&["stats", "--by", "month", "--from", "2000-01-01", "--json"]).json();
    assert_eq!(stats["sources"][0]["total"]["requests"], YEAR * 60, "{stats}");
    let file = site.path("state/private/web.sqlite");
    let database = rusqlite::Connection::open(file).unwrap();
    let number = |statement: &str| database.query_row(statement, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT count(*) FROM ranking WHERE chart = 'pages'"), YEAR * 60);
    assert_eq!(number("SELECT sum(requests) FROM traffic WHERE level = 'day'"), YEAR * 60);
    assert_eq!(number("SELECT count(*) FROM piece"), 0);
}
