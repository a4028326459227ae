//! Old rows of SQLite databases, removed by the plugin `cleanup` while an application uses them: exactly the old ones, saved
//! first when asked, never above a ceiling, and never in the way of a writer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;
use upkeep_tests::{Site, now};

const DAY: i64 = 86_400;

/// A database with sessions of which every tenth is new, and devices that refer to some of them.
fn database(site: &Site, sessions: i64) -> Connection {
    let database = Connection::open(site.path("app.db")).unwrap();
    database
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;
             CREATE TABLE sessions (id INTEGER PRIMARY KEY, user TEXT, seen_at INTEGER, token BLOB);
             CREATE TABLE devices (id INTEGER PRIMARY KEY, session INTEGER REFERENCES sessions (id), at INTEGER);
             CREATE TABLE codes (phone TEXT, at TEXT, used REAL);",
        )
        .unwrap();
    let now = now();
    database.execute_batch("BEGIN").unwrap();
    for id in 1..=sessions {
        let seen = if id % 10 == 0 { Some(now) } else { Some(now - 40 * DAY - id) };
        // NULL is no time.
        let seen = seen.filter(|_| id != 7);
        database
            .execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (id, format!("用户-{id}"), seen, vec![0_u8, 255, 7]))
            .unwrap();
    }
    database.execute_batch("COMMIT").unwrap();
    database
}

fn number(database: &Connection, sql: &str) -> i64 {
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The task, with what its rule and its grant say beside.
fn task(site: &Site, rule: &str, removal: &str, more: &str) {
    site.task(
        "cleanup",
        &format!(
            "plugin = \"cleanup\"\n\
             [[config.rows]]\nname = \"sessions\"\ndatabase = \"app\"\ntable = \"sessions\"\ncolumn = \"seen_at\"\n\
             stored_as = \"unix-seconds\"\nolder_than = \"30d\"\nchunk_ms = 5\npause_ms = 1\n{rule}\n\
             [grant]\nmetrics = true\n\
             [grant.sql.app]\nsqlite = \"{}\"\naccess = [\"remove\", \"maintain\"]\n\
             removal = {{ tables = [\"sessions\"], {removal} }}\n{more}\n",
            site.path("app.db").display()
        ),
    );
}

fn site() -> Site {
    let site = Site::new(&[]);
    site.shipped("cleanup");
    site
}

fn run(site: &Site) -> Value {
    let ran = site.cli(&["run", "cleanup", "--standalone", "--json"]);
    assert!(ran.code <= 1, "{ran:?}");
    ran.json()
}

fn findings(run: &Value) -> Vec<String> {
    let findings = run["report"]["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    findings.iter().map(|it| format!("{}: {} {}", it["key"], it["title"], it["detail"])).collect()
}

#[test]
fn old_rows_go_and_all_others_stay() {
    let site = site();
    let database = database(&site, 20_000);
    task(&site, "vacuum = true", "max_share = \"95%\"", "");
    let before = number(&database, "SELECT count(*) FROM sessions");
    let look = site.cli(&["run", "cleanup", "--standalone", "--dry-run"]);
    assert!(look.code == 0 && look.stdout.contains("17,999 of 20,000 rows"), "{look:?}");
    assert_eq!(number(&database, "SELECT count(*) FROM sessions"), before, "a dry run changes nothing");

    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let size = fs::metadata(site.path("app.db")).unwrap().len();
    let first = run(&site);
    assert_eq!(first["outcome"]["outcome"], "succeeded", "{first}");
    assert_eq!(findings(&first), [""; 0], "{first}");
    assert_eq!(number(&database, "SELECT count(*) FROM sessions WHERE id % 10 = 0"), 2_000);
    assert_eq!(number(&database, "SELECT count(*) FROM sessions"), 2_001, "the new ones, and the one without a time");
    assert!(fs::metadata(site.path("app.db")).unwrap().len() < size / 4, "the vacuum gave the room back");
    assert_eq!(database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
    let again = run(&site);
    assert!(again["outcome"]["outcome"] == "succeeded" && findings(&again).is_empty(), "{again}");
}

#[test]
fn above_a_ceiling_no_row_goes_and_no_other_table_is_reached() {
    let site = site();
    let database = database(&site, 1_000);
    for (removal, key) in [("max_share = \"50%\"", "max_share"), ("max_share = \"100%\", max_rows = 898", "max_rows")] {
        task(&site, "", removal, "");
        let run = run(&site);
        let found = findings(&run).join("\n");
        assert!(found.contains("ceiling/app/sessions") && found.contains(key) && found.contains("899"), "{run}");
    }
    // Another table than the grant names.
    let text = fs::read_to_string(site.task_file("cleanup")).unwrap();
    site.task("cleanup", &text.replace("table = \"sessions\"", "table = \"codes\""));
    let denied = run(&site);
    assert_eq!(denied["outcome"]["outcome"], "denied", "{denied}");
    // A name that is more than a name.
    site.task("cleanup", &text.replace("column = \"seen_at\"", "column = 'seen_at\" OR 1=1 --'"));
    let wrong = run(&site);
    assert!(
        wrong["outcome"].to_string().contains("has no column") || findings(&wrong).join("").contains("has no column"),
        "{wrong}"
    );
    assert_eq!(number(&database, "SELECT count(*) FROM sessions"), 1_000);
}

#[test]
fn rows_that_others_refer_to_stay_and_are_told() {
    let site = site();
    let database = database(&site, 500);
    database.execute("INSERT INTO devices VALUES (1, 301, 0)", []).unwrap();
    task(&site, "", "max_share = \"95%\"", "");
    let run = run(&site);
    let found = findings(&run).join("\n");
    assert!(found.contains("stopped/app/sessions") && found.contains("refer to them"), "{run}");
    assert_eq!(number(&database, "SELECT count(*) FROM sessions WHERE id = 301"), 1);
    assert_eq!(number(&database, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

#[test]
fn exactly_the_rows_that_were_saved_go() {
    let site = site();
    let database = database(&site, 3_000);
    let place = site.dir().display();
    fs::write(site.path("password"), "correct horse").unwrap();
    fs::set_permissions(site.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    let repository = format!(
        "[grant.repository.main]\nurl = \"{place}/repository\"\npassword = {{ file = \"{place}/password\" }}\naccess = [\"append\"]"
    );
    task(&site, "export = \"main\"", "max_share = \"95%\"", &repository);
    let expected: Vec<i64> = {
        let mut query = database.prepare("SELECT id FROM sessions WHERE id % 10 <> 0 AND id <> 7 ORDER BY id").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let run = run(&site);
    assert!(run["outcome"]["outcome"] == "succeeded" && findings(&run).is_empty(), "{run}");
    assert_eq!(number(&database, "SELECT count(*) FROM sessions"), 301);
    let saved = site.cli(&["backup", "cat", "latest", "/upkeep-rows/app/sessions.jsonl", "--task", "cleanup"]);
    assert_eq!(saved.code, 0, "{}", saved.stderr);
    let rows: Vec<Value> = saved.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert!(ids == expected, "each row that went is in the snapshot, and no other");
    assert_eq!(rows[0]["user"], "用户-1");
    assert!(rows[0]["token"].to_string().contains("AP8H"), "bytes in base64: {}", rows[0]);
}

#[test]
fn a_writer_never_waits_for_long() {
    let site = site();
    let database = database(&site, 50_000);
    task(&site, "", "max_share = \"95%\"", "");
    let (stop, path) = (Arc::new(AtomicBool::new(false)), site.path("app.db"));
    let writer = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let database = Connection::open(path).unwrap();
            database.busy_timeout(Duration::from_secs(30)).unwrap();
            let (mut inserted, mut longest) = (0_i64, Duration::ZERO);
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                database.execute("INSERT INTO sessions (user, seen_at) VALUES ('new', ?)", [now()]).unwrap();
                longest = longest.max(began.elapsed());
                inserted += 1;
            }
            (inserted, longest)
        })
    };
    let run = run(&site);
    stop.store(true, Ordering::Relaxed);
    let (inserted, longest) = writer.join().unwrap();
    println!("{inserted} rows written meanwhile, the longest wait {longest:?}");
    assert!(run["outcome"]["outcome"] == "succeeded" && findings(&run).is_empty(), "{run}");
    assert_eq!(number(&database, "SELECT count(*) FROM sessions"), 5_001 + inserted);
    assert_eq!(number(&database, "SELECT count(*) FROM sessions WHERE user = 'new'"), inserted);
    // How long it is on a calm machine stands in docs/benchmarks.md; here only that nobody starves.
    assert!(inserted > 10 && longest < Duration::from_secs(10), "{inserted} {longest:?}");
}
