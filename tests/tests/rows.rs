//! Old rows of real servers through the whole: the program, a task file, the guest `purge-rows`, and PostgreSQL or MariaDB.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use upkeep_tests::Site;

use crate::live::Live;

#[path = "databases/live.rs"]
#[expect(dead_code, reason = "the servers of the other tests serve here too, not all of them")]
mod live;

/// 2026-01-31 12:00:00 UTC; rows before it are old.
const CUTOFF: i64 = 1_769_860_800;

fn secret(site: &Site, name: &str, text: &str) {
    std::fs::write(site.path(name), text).unwrap();
    std::fs::set_permissions(site.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn site() -> Site {
    let site = Site::new(&["purge-rows"]);
    secret(&site, "password", "of the repository");
    site
}

/// Does this in the end, also when the test fails: who waits for a thread that nobody stops waits for ever.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// A database of a server: the lines of its grant.
fn postgresql(live: &Live) -> String {
    format!(
        "[grant.sql.app.postgresql]\ndatabase = \"app\"\nsocket = {:?}\nport = {}\nuser = \"boss\"\n",
        live.folder.path(),
        live.port
    )
}

fn mariadb(live: &Live) -> String {
    format!("[grant.sql.app.mariadb]\ndatabase = \"app\"\nsocket = {:?}\nuser = \"root\"\n", live.path("s"))
}

/// The task `rows`, which removes from `table` by `column`.
fn task(site: &Site, server: &str, table: &str, column: &str, tables: &[&str], more: &str) {
    let text = format!(
        "plugin = \"purge-rows\"\n[config]\ndatabase = \"app\"\ntable = {table:?}\ncolumn = {column:?}\nbefore = {}\n{more}\n\
         [grant.sql.app]\naccess = [\"remove\", \"maintain\"]\nremoval = {{ tables = {tables:?}, max_share = \"100%\" }}\n{server}\n\
         [grant.repository.main]\nurl = {:?}\npassword = {{ file = {:?} }}\n",
        CUTOFF * 1_000,
        site.path("repository"),
        site.path("password")
    );
    site.task("rows", &text);
}

/// Runs the task without a daemon; gives what its report says of the step.
fn run(site: &Site) -> Value {
    let ran = site.cli(&["run", "rows", "--standalone", "--json"]);
    let report = ran.json();
    let report = if report["report"].is_object() { &report["report"] } else { &report["run"]["report"] };
    let text = report["text"].as_str().unwrap_or_else(|| panic!("{ran:?}"));
    let said: Value = serde_json::from_str(text).unwrap();
    said[0].clone()
}

fn done(said: &Value) -> &Value {
    let done = &said["done"]["outcome"]["Done"];
    assert!(done.is_object(), "{said}");
    done
}

fn removed(said: &Value) -> u64 {
    assert_eq!(done(said)["stopped"], Value::Null, "{said}");
    done(said)["removed"].as_u64().unwrap()
}

/// What the run failed with.
fn failure(site: &Site) -> String {
    let ran = site.cli(&["run", "rows", "--standalone", "--json"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    format!("{} {}", ran.stdout, ran.stderr)
}

/// The rows that the newest snapshot has of `file`.
fn saved(site: &Site, file: &str) -> String {
    let ran = site.cli(&["backup", "cat", "latest", file, "--task", "rows"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout
}

const EVENTS: &str = "CREATE TABLE events (id int PRIMARY KEY, at timestamptz, day date, local timestamp, unix bigint, iso text, note text);
    INSERT INTO events SELECT n, t, t::date, t, extract(epoch FROM t)::bigint, to_char(t, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), 'note ' || n
        FROM (SELECT n, '2026-01-31 12:00:00+00'::timestamptz - (9000 - n) * interval '1 second' AS t FROM generate_series(0, 9999) n) s;
    INSERT INTO events VALUES (20001, NULL, NULL, NULL, NULL, NULL), (20002, 'infinity', 'infinity', 'infinity', 0, ''),
        (20003, '-infinity', '-infinity', '-infinity', -1, 'never')";

#[test]
fn postgresql_loses_old_rows_and_no_other() {
    if !live::have("postgresql_loses_old_rows_and_no_other", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", "ALTER SYSTEM SET timezone = 'Asia/Shanghai'; SELECT pg_reload_conf(); CREATE DATABASE app");
    let site = site();
    let odd = "odd \"x\"; DROP TABLE events; --";
    for (column, clock, old) in [
        ("at", "", 9_000),
        ("local", "", 9_000),
        // Of the day itself nothing goes.
        ("day", "", 0),
        ("unix", "clock = \"s\"", 9_000),
        ("iso", "clock = \"iso\"", 9_000),
    ] {
        for index in [false, true] {
            live.psql("app", "DROP TABLE IF EXISTS events");
            live.psql("app", &format!("SET timezone = 'UTC'; {EVENTS}"));
            if index {
                live.psql("app", &format!("CREATE INDEX ON events ({column}); ANALYZE events"));
            }
            task(&site, &postgresql(&live), "events", column, &["events"], clock);
            let said = run(&site);
            assert_eq!(removed(&said), old, "{column} {said}");
            assert_eq!(said["estimate"]["rows"], old, "{column} {said}");
            let left = live.psql("app", "SELECT count(*), count(*) FILTER (WHERE id >= 9000) FROM events");
            assert_eq!(left.trim(), format!("{}|1003", 10_003 - old), "{column}");
        }
    }
    // Along the index, when few of many are old.
    live.psql("app", "DROP TABLE events");
    live.psql("app", &format!("{EVENTS}; UPDATE events SET at = now() WHERE id > 1000; CREATE INDEX ON events (at)"));
    task(&site, &postgresql(&live), "events", "at", &["events"], "chunk_rows = 100");
    let said = run(&site);
    assert_eq!((removed(&said), done(&said)["way"].as_str()), (1_001, Some("TimeIndex")), "{said}");

    // Names and schemas as they are, and partitions.
    live.psql(
        "app",
        "CREATE SCHEMA audit; CREATE TABLE audit.\"odd \"\"x\"\"; DROP TABLE events; --\" (\"at \"\"\" timestamptz)",
    );
    live.psql(
        "app",
        "INSERT INTO audit.\"odd \"\"x\"\"; DROP TABLE events; --\" VALUES ('2020-01-01'), ('2030-01-01')",
    );
    let table = format!("audit.{odd}");
    task(&site, &postgresql(&live), &table, "at \"", &[&table], "");
    assert_eq!(removed(&run(&site)), 1);
    live.psql(
        "app",
        "CREATE TABLE parts (id int, at timestamptz) PARTITION BY RANGE (at);
         CREATE TABLE parts_old PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('2026-01-01') PARTITION BY RANGE (at);
         CREATE TABLE parts_oldest PARTITION OF parts_old FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
         CREATE TABLE parts_older PARTITION OF parts_old FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
         CREATE TABLE parts_new PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
         INSERT INTO parts SELECT n, '2026-02-02'::timestamptz - n * interval '1 day' FROM generate_series(1, 999) n",
    );
    task(&site, &postgresql(&live), "parts", "at", &["parts"], "maintain = \"vacuum\"\nmaintain_table = true");
    assert_eq!(removed(&run(&site)), 998);
    assert_eq!(live.psql("app", "SELECT count(*) FROM parts").trim(), "1");

    // What is not there, or is no table, or does not hold a time.
    for (table, column, told) in [
        ("event", "at", "did you mean `events`?"),
        ("pg_class", "oid", "has no table `pg_class`"),
        ("pg_catalog.pg_class", "oid", "has no table"),
        ("events", "att", "did you mean `at`?"),
        ("events", "note", "the clock has to be given: `iso-text`"),
        ("parts", "id", "the clock has to be given: `unix-seconds`"),
        ("seen", "at", "is no table of rows"),
    ] {
        live.psql("app", "CREATE OR REPLACE VIEW seen AS SELECT * FROM events");
        task(&site, &postgresql(&live), table, column, &[table], "");
        let told_now = failure(&site);
        assert!(told_now.contains(told), "{table}.{column}: {told_now}");
    }
}

#[test]
fn others_go_on_while_postgresql_loses_rows() {
    if !live::have("others_go_on_while_postgresql_loses_rows", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", "CREATE DATABASE app; CREATE ROLE keeper LOGIN PASSWORD 'hunter2'");
    live.psql(
        "app",
        "CREATE TABLE events (id serial PRIMARY KEY, at timestamptz, note text);
         INSERT INTO events (at, note) SELECT '2026-01-31'::timestamptz - n * interval '1 second', md5(n::text) FROM generate_series(1, 300000) n;
         GRANT SELECT, UPDATE, DELETE ON events TO keeper",
    );
    let site = site();
    secret(&site, "keeper", "hunter2");
    // Over the network, as an account that may do this and no more.
    let server = format!(
        "[grant.sql.app.postgresql]\ndatabase = \"app\"\nhost = \"127.0.0.1\"\nport = {}\nuser = \"keeper\"\npassword = {{ file = {:?} }}\n",
        live.port,
        site.path("keeper")
    );
    task(&site, &server, "events", "at", &["events"], "");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            live.psql(
                "app",
                "BEGIN; SELECT 1 FROM events WHERE id IN (7, 150000) FOR UPDATE; SELECT pg_sleep(3600); COMMIT",
            )
        });
        let writer = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                live.psql("app", "INSERT INTO events (at, note) VALUES ('2026-02-01', 'new')");
                count += 1;
            }
            count
        });
        let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        let ends = Finally(|| {
            stop.store(true, Ordering::Relaxed);
            live.psql("app", cancel);
        });
        let until = Instant::now() + Duration::from_secs(20);
        while live.psql("app", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").trim() != "1" {
            assert!(Instant::now() < until);
        }
        // What somebody holds stays, and nobody waits for it.
        assert_eq!(removed(&run(&site)), 299_998);
        drop(ends);
        assert!(holder.join().is_err(), "it held the rows until the end");
        let count: u64 = writer.join().unwrap();
        assert_eq!(live.psql("app", "SELECT count(*) FROM events WHERE note = 'new'").trim(), count.to_string());
    });
    assert_eq!(removed(&run(&site)), 2);
    // The account may not.
    live.psql("app", "REVOKE DELETE ON events FROM keeper; INSERT INTO events (at) VALUES ('2020-01-01')");
    let told = failure_or_report(&site);
    assert!(told.contains("it needs SELECT and DELETE on `events`"), "{told}");
    secret(&site, "keeper", "wrong");
    let told = failure(&site);
    assert!(told.contains("cannot be reached") && !told.contains("hunter2") && !told.contains("wrong\\\""), "{told}");
}

/// What the step failed with, whichever way it is told.
fn failure_or_report(site: &Site) -> String {
    let ran = site.cli(&["run", "rows", "--standalone", "--json"]);
    format!("{} {}", ran.stdout, ran.stderr)
}

#[test]
fn rows_of_postgresql_come_back_from_the_snapshot() {
    if !live::have("rows_of_postgresql_come_back_from_the_snapshot", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", "CREATE DATABASE app");
    live.psql(
        "app",
        r#"CREATE TYPE mood AS ENUM ('good', 'bad');
        CREATE TABLE events (id bigint, at timestamptz, price numeric(40, 20), real float8, small real, raw bytea, tags text[],
            data jsonb, mood mood, who inet, span interval, note text);
        INSERT INTO events SELECT 9223372036854775807 - n, '2026-01-01 12:00:00.123456+00'::timestamptz - n * interval '1 hour',
            1.00000000000000000001 * n, 0.1 * n, 0.3 * n, decode(md5(n::text), 'hex'), ARRAY['a"b', 'c,d', NULL],
            '{"x": [1, 2.50]}', 'bad', '10.0.0.1', '1 day 2 hours', E'tab\tline\n''"\\ 数据 ' || n
            FROM generate_series(1, 5000) n;
        INSERT INTO events (id, at, real) VALUES (1, '2025-01-01', 'NaN'), (2, '2027-01-01', 'Infinity')"#,
    );
    let content = "SELECT md5(string_agg(e::text, '|' ORDER BY id)) FROM events e";
    let before = live.psql("app", content);
    let site = site();
    task(&site, &postgresql(&live), "events", "at", &["events"], "repository = \"main\"");
    let said = run(&site);
    assert_eq!(removed(&said), 5_001, "{said}");
    assert_eq!(done(&said)["saved"]["rows"], 5_001);
    assert_eq!(live.psql("app", "SELECT count(*) FROM events").trim(), "1");

    // As docs/cleanup-rows.md has it.
    let lines = saved(&site, "/upkeep-rows/app/events.jsonl");
    assert_eq!(lines.lines().count(), 5_001);
    std::fs::write(live.path("lines"), lines).unwrap();
    std::fs::set_permissions(live.path("lines"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let copy = format!(
        "CREATE TEMP TABLE lines (row json);\n\\copy lines FROM '{}' (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')\n\
         INSERT INTO events SELECT (json_populate_record(NULL::events, row)).* FROM lines;",
        live.path("lines").display()
    );
    live.psql("app", &copy);
    assert_eq!(live.psql("app", content), before);
}

#[test]
fn foreign_keys_of_postgresql_are_heeded() {
    if !live::have("foreign_keys_of_postgresql_are_heeded", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", "CREATE DATABASE app");
    live.psql(
        "app",
        "CREATE TABLE parent (id int PRIMARY KEY, at timestamptz); INSERT INTO parent SELECT n, '2020-01-01' FROM generate_series(1, 500) n;
         CREATE TABLE child (parent int REFERENCES parent); INSERT INTO child VALUES (400)",
    );
    let site = site();
    task(&site, &postgresql(&live), "parent", "at", &["parent"], "chunk_rows = 10");
    let said = run(&site);
    let stopped = done(&said)["stopped"].as_str().unwrap();
    assert!(stopped.contains("child") && stopped.contains("in a rule of its own"), "{stopped}");
    assert_eq!(live.psql("app", "SELECT count(*) FROM parent WHERE id = 400").trim(), "1");
    live.psql("app", "DROP TABLE child; CREATE TABLE child (parent int REFERENCES parent ON DELETE CASCADE); INSERT INTO child VALUES (400)");
    let denied = failure_or_report(&site);
    assert!(
        denied.contains("also changes `child` (ON DELETE CASCADE), which `grant.sql.app.removal.tables`"),
        "{denied}"
    );
    task(&site, &postgresql(&live), "parent", "at", &["parent", "child"], "");
    run(&site);
    assert_eq!(live.psql("app", "SELECT (SELECT count(*) FROM parent) + (SELECT count(*) FROM child)").trim(), "0");
}

const MARIADB_EVENTS: &str = "USE app; CREATE TABLE events (a INT, b VARCHAR(40), at DATETIME(3), stamp TIMESTAMP NULL, day DATE, unix BIGINT UNSIGNED,
        iso VARCHAR(40), note TEXT, PRIMARY KEY (a, b)) ENGINE = InnoDB CHARACTER SET latin1;
    SET sql_mode = ''; SET time_zone = '+00:00';
    INSERT INTO events SELECT seq % 97, CONCAT('key ''\"\\\\ ', seq), t, t, t, UNIX_TIMESTAMP(t), DATE_FORMAT(t, '%Y-%m-%d %H:%i:%S'), CONCAT('note ', seq)
        FROM (SELECT seq, '2026-01-31 12:00:00' - INTERVAL (9000 - CAST(seq AS SIGNED)) SECOND AS t FROM seq_0_to_9999) s;
    INSERT INTO events VALUES (1000, 'null', NULL, NULL, NULL, NULL, NULL, ''), (1000, 'zero', 0, 0, 0, 0, '0000-00-00 00:00:00', '');";

#[test]
fn mariadb_loses_old_rows_and_no_other() {
    if !live::have("mariadb_loses_old_rows_and_no_other", live::MARIADB) {
        return;
    }
    let live = Live::mariadb();
    live.mariadb_sql("CREATE DATABASE app; SET GLOBAL time_zone = '+08:00'");
    let site = site();
    for (column, clock, old) in [
        ("at", "", 9_000),
        ("stamp", "", 9_000),
        ("day", "", 0),
        ("unix", "clock = \"s\"", 9_000),
        ("iso", "clock = \"iso\"", 9_000),
    ] {
        live.mariadb_sql(&format!("DROP TABLE IF EXISTS app.events; {MARIADB_EVENTS}"));
        task(&site, &mariadb(&live), "events", column, &["events"], clock);
        let said = run(&site);
        assert_eq!(removed(&said), old, "{column} {said}");
        let left = live.mariadb_sql("SELECT COUNT(*), SUM(unix >= 1769860800) FROM app.events");
        assert_eq!(left.trim(), format!("{}\t1000", 10_002 - old), "{column}");
    }
    live.mariadb_sql(&format!(
        "DROP TABLE app.events; {MARIADB_EVENTS} UPDATE events SET at = '2026-02-02' WHERE a > 10; CREATE INDEX by_time ON events (at)"
    ));
    task(&site, &mariadb(&live), "events", "at", &["events"], "maintain = \"vacuum\"\nmaintain_table = true");
    let said = run(&site);
    assert_eq!(done(&said)["way"], "TimeIndex", "{said}");
    assert_eq!(
        live.mariadb_sql("SELECT COUNT(*) FROM app.events WHERE at < '2026-01-31 12:00:00' AND at <> 0").trim(),
        "0"
    );
    let odd = "x`; DROP TABLE events; --";
    live.mariadb_sql(
        "USE app; CREATE TABLE `x``; DROP TABLE events; --` (`at ``'` DATE PRIMARY KEY); INSERT INTO `x``; DROP TABLE events; --` VALUES ('2020-01-01'), ('2030-01-01');
         CREATE TABLE keyless (at DATETIME); CREATE TABLE loose (id INT PRIMARY KEY, at DATETIME) ENGINE = MyISAM; CREATE VIEW seen AS SELECT * FROM events",
    );
    task(&site, &mariadb(&live), odd, "at `'", &[odd], "");
    assert_eq!(removed(&run(&site)), 1);
    for (table, column, told) in [
        ("event", "at", "did you mean `events`?"),
        ("EVENTS", "at", "did you mean `events`?"),
        ("mysql.user", "at", "has no table `mysql.user`"),
        ("events", "att", "did you mean `at`?"),
        ("events", "note", "the clock has to be given: `iso-text`"),
        ("keyless", "at", "has no primary key"),
        ("loose", "at", "ENGINE = InnoDB"),
        ("seen", "at", "is no table of rows"),
    ] {
        task(&site, &mariadb(&live), table, column, &[table], "");
        let told_now = failure(&site);
        assert!(told_now.contains(told), "{table}.{column}: {told_now}");
    }
}

#[test]
fn rows_of_mariadb_are_saved_whole_and_foreign_keys_heeded() {
    if !live::have("rows_of_mariadb_are_saved_whole_and_foreign_keys_heeded", live::MARIADB) {
        return;
    }
    let live = Live::mariadb();
    live.mariadb_sql(
        "CREATE DATABASE app; USE app;
         CREATE TABLE events (id BIGINT UNSIGNED PRIMARY KEY, at DATETIME(6), price DECIMAL(40, 20), f FLOAT, d DOUBLE, raw VARBINARY(20), bits BIT(9),
             data JSON, mood ENUM ('good', 'bad'), note VARCHAR(40) CHARACTER SET utf8mb4, nothing INT) ENGINE = InnoDB;
         INSERT INTO events VALUES (18446744073709551615, '2026-01-01 12:00:00.123456', 12345678901234567890.00000000000000000001, 0.1, 0.1,
             x'00FF27', b'100000001', '{\"x\": [1, 2.50]}', 'bad', 'tab\\tline\\n''\"\\\\ 数据', NULL);
         INSERT INTO events (id, at) SELECT seq, '2026-01-01' FROM seq_1_to_3000;
         INSERT INTO events (id, at) SELECT seq, '2026-03-01' FROM seq_3001_to_4000",
    );
    let content =
        "SELECT MD5(GROUP_CONCAT(id, at, IFNULL(HEX(raw), '-'), IFNULL(note, '-') ORDER BY id)) FROM app.events";
    let content = format!("SET group_concat_max_len = 1000000; {content}");
    let before = live.mariadb_sql(&content);
    let site = site();
    task(&site, &mariadb(&live), "events", "at", &["events"], "repository = \"main\"");
    let said = run(&site);
    assert_eq!(removed(&said), 3_001, "{said}");
    assert_eq!(live.mariadb_sql("SELECT COUNT(*), MIN(id) FROM app.events").trim(), "1000\t3001");
    let lines = saved(&site, "/upkeep-rows/app/events.jsonl");
    assert_eq!(lines.lines().count(), 3_001);
    let expected = "{\"id\":18446744073709551615,\"at\":\"2026-01-01 12:00:00.123456\",\"price\":\"12345678901234567890.00000000000000000001\",\
        \"f\":0.10000000149011612,\"d\":0.1,\"raw\":{\"base64\":\"AP8n\"},\"bits\":257,\"data\":\"{\\\"x\\\": [1, 2.50]}\",\"mood\":\"bad\",\
        \"note\":\"tab\\tline\\n'\\\"\\\\ 数据\",\"nothing\":null}";
    assert_eq!(lines.lines().last().unwrap(), expected);
    // As docs/cleanup-rows.md has it.
    std::fs::write(live.path("lines"), &lines).unwrap();
    live.mariadb_sql(&format!(
        "CREATE TEMPORARY TABLE app.lines (line LONGTEXT) CHARACTER SET utf8mb4;
         LOAD DATA LOCAL INFILE '{}' INTO TABLE app.lines CHARACTER SET utf8mb4 FIELDS TERMINATED BY '\\x1f' ESCAPED BY '' (line);
         INSERT INTO app.events (id, at, raw, note) SELECT JSON_VALUE(line, '$.id'), JSON_VALUE(line, '$.at'),
             FROM_BASE64(JSON_VALUE(line, '$.raw.base64')), JSON_VALUE(line, '$.note') FROM app.lines",
        live.path("lines").display()
    ));
    assert_eq!(live.mariadb_sql(&content), before);

    live.mariadb_sql(
        "USE app; CREATE TABLE parent (id INT PRIMARY KEY, at DATETIME); INSERT INTO parent SELECT seq, '2020-01-01' FROM seq_1_to_500;
         CREATE TABLE child (parent INT REFERENCES parent (id)); INSERT INTO child VALUES (400)",
    );
    task(&site, &mariadb(&live), "parent", "at", &["parent"], "chunk_rows = 10");
    let said = run(&site);
    let stopped = done(&said)["stopped"].as_str().unwrap();
    assert!(stopped.contains("child") && stopped.contains("in a rule of its own"), "{stopped}");
    assert_eq!(live.mariadb_sql("SELECT COUNT(*) FROM app.parent WHERE id = 400").trim(), "1");
    live.mariadb_sql(
        "USE app; DROP TABLE child; CREATE TABLE child (parent INT REFERENCES parent (id) ON DELETE CASCADE)",
    );
    let denied = failure_or_report(&site);
    assert!(
        denied.contains("also changes `child` (ON DELETE CASCADE), which `grant.sql.app.removal.tables`"),
        "{denied}"
    );
}

#[test]
fn what_others_hold_in_mariadb_is_passed_over() {
    if !live::have("what_others_hold_in_mariadb_is_passed_over", live::MARIADB) {
        return;
    }
    let live = Live::mariadb();
    live.mariadb_sql(
        "CREATE DATABASE app; USE app; CREATE TABLE events (id INT PRIMARY KEY, at DATETIME) ENGINE = InnoDB;
         INSERT INTO events SELECT seq, '2020-01-01' FROM seq_1_to_5000",
    );
    let site = site();
    task(&site, &mariadb(&live), "events", "at", &["events"], "chunk_rows = 100");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut holder = Command::new("mariadb");
        holder.args(["--no-defaults", "-u", "root", "app", "-S"]).arg(live.path("s"));
        let statements = "BEGIN; SELECT * FROM events WHERE id = 2500 FOR UPDATE; SELECT SLEEP(3600)";
        let mut holder = holder.args(["-e", statements]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let writer = scope.spawn(|| {
            let mut number = 10_000;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                live.mariadb_sql(&format!("INSERT INTO app.events VALUES ({number}, '2026-02-01')"));
            }
            number - 10_000
        });
        let ends = Finally(|| stop.store(true, Ordering::Relaxed));
        let until = Instant::now() + Duration::from_secs(20);
        let sleeping = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'";
        while live.mariadb_sql(sleeping).trim() != "1" {
            assert!(Instant::now() < until);
        }
        let said = run(&site);
        let stopped = done(&said)["stopped"].as_str().unwrap_or_else(|| panic!("{said}"));
        assert!(stopped.contains("the next run takes them"), "{stopped}");
        let left: u64 = live.mariadb_sql("SELECT COUNT(*) FROM app.events WHERE id <= 5000").trim().parse().unwrap();
        assert!((1..=100).contains(&left), "{left}");
        holder.kill().unwrap();
        holder.wait().unwrap();
        let id = live.mariadb_sql("SELECT ID FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'");
        if !id.trim().is_empty() {
            live.mariadb_sql(&format!("KILL {}", id.trim()));
        }
        drop(ends);
        let written: i32 = writer.join().unwrap();
        assert_eq!(removed(&run(&site)), left);
        assert_eq!(live.mariadb_sql("SELECT COUNT(*) FROM app.events").trim(), written.to_string());
    });
}

/// A run that is killed has lost no row that was not old, and the next one goes on; in every kind of database.
#[test]
fn a_killed_run_is_taken_up_again() {
    if !live::have("a_killed_run_is_taken_up_again", &[live::POSTGRESQL, live::MARIADB].concat()) {
        return;
    }
    let (postgresql_live, mariadb_live) = (Live::postgresql(), Live::mariadb());
    postgresql_live.psql("postgres", "CREATE DATABASE app");
    postgresql_live.psql(
        "app",
        "CREATE TABLE events (id int PRIMARY KEY, at bigint); INSERT INTO events SELECT n, CASE n % 3 WHEN 0 THEN 1769860800 ELSE 1769860799 END FROM generate_series(1, 30000) n",
    );
    mariadb_live.mariadb_sql(
        "CREATE DATABASE app; USE app; CREATE TABLE events (id INT PRIMARY KEY, at BIGINT); INSERT INTO events SELECT seq, IF(seq % 3 = 0, 1769860800, 1769860799) FROM seq_1_to_30000",
    );
    let site = site();
    let sqlite = rusqlite::Connection::open(site.path("app.db")).unwrap();
    sqlite
        .execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER);
             WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s LIMIT 30000)
             INSERT INTO events SELECT n, CASE n % 3 WHEN 0 THEN 1769860800 ELSE 1769860799 END FROM s",
        )
        .unwrap();
    let both = "SELECT count(*) FROM events WHERE at < 1769860800 UNION ALL SELECT count(*) FROM events WHERE at >= 1769860800";
    let in_sqlite = || {
        let mut statement = sqlite.prepare(both).unwrap();
        let counts: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        (counts[0], counts[1])
    };
    let pair = |text: String| {
        let mut counts = text.split_whitespace().map(|it| it.parse::<i64>().unwrap());
        (counts.next().unwrap(), counts.next().unwrap())
    };
    let in_postgresql = || pair(postgresql_live.psql("app", both));
    let in_mariadb = || pair(mariadb_live.mariadb_sql(&format!("USE app; {both}")));
    type Counts<'a> = &'a dyn Fn() -> (i64, i64);
    let sqlite_grant = "".to_owned();
    for (server, counts) in [
        (sqlite_grant, &in_sqlite as Counts<'_>),
        (postgresql(&postgresql_live), &in_postgresql),
        (mariadb(&mariadb_live), &in_mariadb),
    ] {
        task(&site, &server, "events", "at", &["events"], "clock = \"s\"\nchunk_rows = 100\npause_ms = 20");
        if server.is_empty() {
            let file = std::fs::read_to_string(site.task_file("rows")).unwrap();
            let grant = format!("[grant.sql.app]\nsqlite = {:?}", site.path("app.db"));
            site.task("rows", &file.replace("[grant.sql.app]", &grant));
        }
        assert_eq!(counts(), (20_000, 10_000));
        let mut command = site.command(&["run", "rows", "--standalone"]);
        let mut program = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(120);
        while counts().0 > 19_000 {
            assert!(Instant::now() < until && program.try_wait().unwrap().is_none(), "it removes nothing");
            std::thread::sleep(Duration::from_millis(20));
        }
        program.kill().unwrap();
        program.wait().unwrap();
        let (old, new) = counts();
        assert!(old > 0 && new == 10_000, "{old} {new}");
        run(&site);
        assert_eq!(counts(), (0, 10_000));
    }
}
