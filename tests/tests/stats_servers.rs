//! Figures that several servers keep together in PostgreSQL or MariaDB, and tables that are counted: the same as of one task with a
//! database of its own, whoever commits at the same time.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use upkeep_tests::Site;

use crate::live::Live;

#[path = "databases/live.rs"]
#[expect(dead_code, reason = "the servers of the other tests serve here too, not all of them")]
mod live;

/// 2025-11-01 00:00 UTC.
const START: u64 = 1_761_955_200;
const ALL: [&str; 4] = ["--from", "2025-11-01", "--to", "2025-11-30"];

/// Lines `from` to `to` of a log, one each ten seconds, by 200 visitors.
fn lines(server: u64, from: u64, to: u64) -> String {
    let line = |number: u64| {
        let (day, hour, minute, second) =
            (1 + number / 8_640, number / 360 % 24, number / 6 % 60, number % 6 * 10 + server);
        format!(
            "198.51.100.{} - - [{day:02}/Nov/2025:{hour:02}:{minute:02}:{second:02} +0000] \"GET /page/{} HTTP/1.1\" {} {number} \
             \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101 Firefox/140.0\" 0.{:03}\n",
            number * 7 % 200,
            number % 11,
            if number.is_multiple_of(13) { 500 } else { 200 },
            140 + number % 2,
            number % 1_000,
        )
    };
    (from..to).map(line).collect()
}

/// A site whose task counts `logs`; `rest` says where to. On one machine tasks need names of their own to count together.
fn site(task: &str, rest: &str) -> Site {
    let site = Site::new(&[]);
    site.shipped("stats-rollup");
    fs::create_dir(site.path("logs")).unwrap();
    let text = format!(
        "plugin = \"stats-rollup\"\n[schedule]\ntimezone = \"UTC\"\n\
         [[config.sources]]\nname = \"shop\"\nroot = \"logs\"\nformat = \"combined-time\"\n\
         [config.visitors]\nnew_key = \"never\"\n[config.keep]\nhours = \"36500d\"\ndays = \"36500d\"\nmonths = \"36500d\"\n\
         [grant]\nmetrics = true\n[grant.files.logs]\npath = {:?}\n{rest}\n",
        site.path("logs")
    );
    site.task(task, &text);
    site
}

fn succeeded(site: &Site, name: &str) -> Value {
    let ran = site.cli(&["run", name, "--standalone", "--json"]);
    let run = ran.json();
    assert_eq!(ran.code, 0, "{ran:?}");
    run
}

fn summary(run: &Value) -> String {
    let report = if run["report"].is_object() { &run["report"] } else { &run["run"]["report"] };
    report["summary"].as_str().unwrap_or_else(|| panic!("{run}")).to_owned()
}

/// What `upkeep stats` tells of November.
fn stats(site: &Site) -> Value {
    let _daemon = site.start();
    let told = site.cli(&[&["stats", "--json"][..], &ALL].concat());
    assert_eq!(told.code, 0, "{told:?}");
    told.json()["sources"].clone()
}

/// Two servers with logs of their own count at the same time, into one database.
fn together(grant: &str, number: impl Fn(&str) -> i64) {
    let rest = format!("[config.figures]\ndatabase = \"figures\"\n[grant.sql.figures]\naccess = [\"write\"]\n{grant}");
    let (one, other) = (site("one", &rest), site("other", &rest));
    let alone = site("alone", "[grant.sql.private]\naccess = [\"write\"]\n");
    let log = |site: &Site| site.path("logs/access.log");
    for round in 1..=3 {
        fs::write(log(&one), lines(1, 0, round * 6_000)).unwrap();
        fs::write(log(&other), lines(2, 0, round * 5_000)).unwrap();
        let mut begun = [(&one, "one"), (&other, "other")].map(|(site, task)| {
            let mut command = site.command(&["run", task, "--standalone", "--json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        for (child, count) in begun.iter_mut().zip([6_000, 5_000]) {
            let status = child.wait().unwrap();
            let mut text = String::new();
            std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut text).unwrap();
            assert!(status.success(), "{text}");
            assert_eq!(summary(&serde_json::from_str(&text).unwrap()), format!("{count} lines counted"));
        }
    }
    assert_eq!(summary(&succeeded(&one, "one")), "0 lines counted");
    fs::copy(log(&one), alone.path("logs/access.log.1")).unwrap();
    fs::copy(log(&other), log(&alone)).unwrap();
    succeeded(&alone, "alone");

    let (told, wanted) = (stats(&other), stats(&alone));
    let (told, wanted) = (&told[0], &wanted[0]);
    assert_eq!(told["lines"], 33_000);
    for key in ["requests", "pages", "bytes", "visitors", "new_visitors", "s5xx", "time_us", "p95_us", "max_us"] {
        assert_eq!(told["total"][key], wanted["total"][key], "{key}: {told}");
    }
    assert_eq!(told["total"]["visitors"], 200);
    assert_eq!(told["rankings"][0], wanted["rankings"][0]);
    let spans = |of: &Value| of["spans"].as_array().unwrap().len();
    assert_eq!((spans(told), spans(wanted)), (3, 3));
    // The tables for people say the same.
    assert_eq!(number("SELECT sum(requests) FROM upkeep_traffic WHERE level = 'day'"), 33_000);
    assert_eq!(number("SELECT sum(requests) FROM upkeep_traffic WHERE level = 'month'"), 33_000);
    assert_eq!(number("SELECT count(*) FROM upkeep_piece"), 0);
}

/// The task `orders`, which counts a table.
fn orders(site: &Site, grant: &str, more: &str) {
    let text = format!(
        "plugin = \"stats-rollup\"\n[schedule]\ntimezone = \"Asia/Shanghai\"\n[[config.tables]]\nname = \"orders\"\ndatabase = \"shop\"\n\
         table = \"shop_order\"\ntime = \"created\"\nuser = \"buyer\"\nevent = \"status\"\n{more}\n\
         [config]\nlate = \"36500d\"\n[config.keep]\nhours = \"36500d\"\ndays = \"36500d\"\nmonths = \"36500d\"\n\
         [grant]\nmetrics = true\n[grant.sql.private]\naccess = [\"write\"]\n[grant.sql.shop]\naccess = [\"read\"]\n{grant}"
    );
    site.task("orders", &text);
}

/// A transaction that takes a key and is under way while others with larger keys are committed: `begin` runs it, and waits for two
/// seconds before it commits; `end` inserts a row.
fn settled(site: &Site, begin: impl FnOnce() + Send, end: impl Fn()) {
    std::thread::scope(|scope| {
        let slow = scope.spawn(begin);
        std::thread::sleep(Duration::from_millis(700));
        end();
        assert_eq!(summary(&succeeded(site, "orders")), "2 lines counted");
        slow.join().unwrap();
    });
    assert_eq!(summary(&succeeded(site, "orders")), "0 lines counted");
}

fn events(site: &Site, name: &str) -> i64 {
    let database = rusqlite::Connection::open(site.state().join("private/orders.sqlite")).unwrap();
    let statement = "SELECT coalesce(sum(count), 0) FROM event WHERE name = ? AND day = '2025-11-01'";
    database.query_row(statement, [name], |row| row.get(0)).unwrap()
}

#[test]
fn servers_count_together_into_postgresql_and_tables_are_counted() {
    if !live::have("servers_count_together_into_postgresql_and_tables_are_counted", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", "CREATE DATABASE app");
    let server = |name: &str| {
        format!(
            "[grant.sql.{name}.postgresql]\ndatabase = \"app\"\nsocket = {:?}\nport = {}\nuser = \"boss\"\n",
            live.folder.path(),
            live.port
        )
    };
    together(&server("figures"), |statement| live.psql("app", statement).trim().parse().unwrap());

    let site = Site::new(&[]);
    site.shipped("stats-rollup");
    orders(&site, &server("shop"), "settle = \"4s\"");
    live.psql(
        "app",
        &format!(
            "CREATE TABLE shop_order (id bigserial PRIMARY KEY, buyer uuid, status varchar(20), created timestamptz);
             INSERT INTO shop_order (buyer, status, created)
                SELECT gen_random_uuid(), CASE n % 3 WHEN 0 THEN 'paid' ELSE 'open' END, to_timestamp({START} + n % 50000)
                FROM generate_series(0, 29999) n"
        ),
    );
    assert_eq!(summary(&succeeded(&site, "orders")), "30000 lines counted");
    // In Shanghai the first of November begins eight hours earlier.
    assert_eq!((events(&site, "paid"), events(&site, "open")), (10_000, 20_000));
    let insert = format!("INSERT INTO shop_order (status, created) VALUES ('slow', to_timestamp({START}))");
    settled(
        &site,
        || drop(live.psql("app", &format!("BEGIN; {insert}; SELECT pg_sleep(2); COMMIT"))),
        || drop(live.psql("app", &insert)),
    );
    assert_eq!(events(&site, "slow"), 2);

    // What is wrong is named.
    orders(&site, &server("shop").replace("\"app\"", "\"mall\""), "");
    let failed = site.cli(&["run", "orders", "--standalone"]);
    assert!(failed.code != 0 && format!("{failed:?}").contains("mall"), "{failed:?}");
    orders(&site, &server("shop"), "key = \"number\"");
    let failed = site.cli(&["run", "orders", "--standalone"]);
    let said = format!("{failed:?}");
    assert!(failed.code != 0 && said.contains("number") && said.contains("[[config.tables]]"), "{said}");
}

#[test]
fn servers_count_together_into_mariadb_and_tables_are_counted() {
    if !live::have("servers_count_together_into_mariadb_and_tables_are_counted", live::MARIADB) {
        return;
    }
    let live = Live::mariadb();
    live.mariadb_sql("CREATE DATABASE app");
    let server = |name: &str| {
        format!("[grant.sql.{name}.mariadb]\ndatabase = \"app\"\nsocket = {:?}\nuser = \"root\"\n", live.path("s"))
    };
    let sql = |statement: &str| live.mariadb_sql(&format!("USE app; {statement}"));
    together(&server("figures"), |statement| sql(statement).trim().parse().unwrap());

    let site = Site::new(&[]);
    site.shipped("stats-rollup");
    orders(&site, &server("shop"), "settle = \"4s\"");
    // Times without a zone are those of the task's.
    sql(
        "CREATE TABLE shop_order (id int unsigned AUTO_INCREMENT PRIMARY KEY, buyer int, status varchar(20), created datetime);
         INSERT INTO shop_order (buyer, status, created)
            SELECT seq, IF(seq % 3 = 0, 'paid', 'open'), '2025-11-01 00:00:00' + INTERVAL seq % 50000 SECOND FROM seq_0_to_29999",
    );
    assert_eq!(summary(&succeeded(&site, "orders")), "30000 lines counted");
    assert_eq!((events(&site, "paid"), events(&site, "open")), (10_000, 20_000));
    let insert = "INSERT INTO shop_order (status, created) VALUES ('slow', '2025-11-01 00:00:00')";
    settled(&site, || drop(sql(&format!("START TRANSACTION; {insert}; DO SLEEP(2); COMMIT"))), || drop(sql(insert)));
    assert_eq!(events(&site, "slow"), 2);
}
