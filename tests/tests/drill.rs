//! Restore drills as an operator has them: what was saved comes back into scratch folders and scratch servers, passes its
//! assertions or fails with what was expected and found, and leaves nothing behind.
//!
//! It needs what `make build plugins` makes; the variables UPKEEP and PLUGINS name another program and folder.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

#[path = "databases/live.rs"]
#[expect(dead_code, reason = "the servers of the databases serve here too, not all of them")]
mod live;
#[path = "damage/stage.rs"]
#[expect(dead_code, reason = "the stage of the damages serves here too, not all of it")]
mod stage;

use live::Live;
use stage::{Stage, is_root, noise, upkeep};

/// An application with files and a database, saved by the task `app`.
fn saved() -> Stage {
    let stage = Stage::empty();
    stage.write("srv/app/VERSION", "1.2.3\n");
    for number in 0..20 {
        fs::write(stage.path("srv/app/photos").join(format!("{number}.jpg")), noise(number, 10_000)).expect("a file");
    }
    sqlite(
        &stage.path("srv/app/app.db"),
        "PRAGMA foreign_keys = OFF;
         CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers, made TEXT);
         INSERT INTO customers VALUES (1, 'one'), (2, 'two');
         INSERT INTO orders SELECT value, 1 + value % 2, strftime('%Y-%m-%d %H:%M:%S', 'now') FROM generate_series(1, 50);",
    );
    let app = stage.shown("srv/app");
    stage.write(
        "etc/tasks.d/app.toml",
        &format!(
            "plugin = \"backup\"\n[config]\nrepository = \"main\"\ndatabases = [\"app\"]\n[[config.directories]]\nroot = \"app\"\n\
             exclude = [\"/app.db*\"]\n[grant]\nstate = true\nmetrics = true\n[grant.files.app]\npath = \"{app}\"\n\
             [grant.dump.app]\nsqlite = \"{app}/app.db\"\n{}",
            repository(&stage, "[\"append\"]"),
        ),
    );
    stage.save("app");
    fs::create_dir(stage.path("scratch")).expect("a folder");
    stage
}

fn repository(stage: &Stage, access: &str) -> String {
    format!(
        "[grant.repository.main]\nurl = \"{}\"\npassword = {{ file = \"{}\" }}\naccess = {access}\n",
        stage.shown("repository"),
        stage.shown("password")
    )
}

/// Writes the task file `drill` with these lines of config and of the grant of drills.
fn drill_task(stage: &Stage, config: &str, grant: &str) {
    let config = config.replace("@APP@", &stage.shown("srv/app"));
    stage.write(
        "etc/tasks.d/drill.toml",
        &format!(
            "plugin = \"restore-drill\"\n[config]\nrepository = \"main\"\ntask = \"app\"\n{config}\n[grant]\nstate = true\n\
             metrics = true\n[grant.drill]\nfolder = \"{}\"\n{grant}\n{}",
            stage.shown("scratch"),
            repository(stage, "[\"list\", \"restore\"]"),
        ),
    );
    let checked = stage.upkeep(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

fn sqlite(database: &Path, statements: &str) {
    let database = rusqlite::Connection::open(database).expect("a database");
    // Not all builds know it.
    let statements = statements.replace(
        "generate_series(1, 50)",
        "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 50) SELECT value FROM n)",
    );
    database.execute_batch(&statements).expect("SQL");
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("a folder").next().is_none()
}

/// Keys of the findings.
fn findings(told: &Value) -> Vec<&str> {
    let found = told["report"]["findings"].as_array().unwrap_or_else(|| panic!("{told:#}"));
    found.iter().map(|it| it["key"].as_str().expect("a key")).collect()
}

#[test]
fn what_was_saved_comes_back_and_passes() {
    let stage = saved();
    let sum = {
        let output = Command::new("sha256sum").arg(stage.path("srv/app/VERSION")).output().expect("sha256sum");
        String::from_utf8(output.stdout).expect("text")[..64].to_owned()
    };
    drill_task(
        &stage,
        &format!(
            r#"max_age = "1h"
max_time = "10m"
[[config.files]]
path = "@APP@"
min_files = 21
min_bytes = "200 kB"
newest = "1h"
exists = ["@APP@/photos/7.jpg"]
checksums = {{ "@APP@/VERSION" = "{sum}" }}
[[config.databases]]
sqlite = "@APP@/app.db"
queries = [
    {{ sql = "SELECT count(*) FROM orders", at_least = 50, equals = 50 }},
    {{ sql = "SELECT max(made) FROM orders", newest = "1h" }},
    {{ sql = "SELECT name FROM customers ORDER BY id", equals = "one", min_rows = 2 }},
]"#
        ),
        "",
    );
    let (code, told) = stage.run("drill");
    assert_eq!(code, 0, "{told:#}");
    assert_eq!(findings(&told), [""; 0], "{told:#}");
    let sources = told["report"]["tables"][0]["rows"].as_array().expect("rows");
    assert_eq!(sources.iter().map(|row| row[6].as_str().expect("text")).collect::<Vec<_>>(), ["passed", "passed"]);
    let metrics = told["metrics"].as_array().expect("metrics");
    for name in ["restore_drill_seconds", "restore_drill_age_seconds"] {
        assert_eq!(metrics.iter().filter(|it| it["name"] == name).count(), 2, "{metrics:#?}");
    }
    assert!(is_empty(&stage.path("scratch")), "what was restored is removed");

    // From the command line by the name of the backup task, with the trend of both drills.
    let output = stage.upkeep(&["backup", "drill", "app", "--standalone"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let trend = text.split("Trend").nth(1).expect("the trend");
    assert_eq!(trend.matches("2 of 2").count(), 2, "{text}");
    let none = stage.upkeep(&["backup", "drill", "other", "--standalone"]);
    assert_eq!(none.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&none.stderr).contains("plugin = \"restore-drill\""));
}

#[test]
fn what_does_not_pass_says_what_was_expected_and_found() {
    let stage = saved();
    sqlite(&stage.path("srv/app/app.db"), "PRAGMA foreign_keys = OFF; DELETE FROM customers WHERE id = 2");
    stage.save("app");
    let zeros = "0".repeat(64);
    drill_task(
        &stage,
        &format!(
            r#"[[config.files]]
path = "@APP@"
only = ["*.jpg"]
min_files = 21
min_bytes = "1 GiB"
exists = ["@APP@/photos/missing.jpg", "@APP@/../../../etc/passwd"]
checksums = {{ "@APP@/VERSION" = "{zeros}" }}
[[config.files]]
path = "@APP@lication"
[[config.databases]]
sqlite = "@APP@/app.db"
queries = [
    {{ sql = "SELECT count(*) FROM orders", at_least = 51 }},
    {{ sql = "SELECT count(*) FROM nothing", at_least = 1 }},
    {{ sql = "ATTACH DATABASE '/etc/passwd' AS other", min_rows = 0 }},
    {{ sql = "SELECT '2001-01-01'", newest = "1h" }},
    {{ sql = "DELETE FROM orders", min_rows = 0 }},
]"#
        ),
        "",
    );
    let (code, told) = stage.run("drill");
    assert_eq!(code, 1, "{told:#}");
    let app = stage.shown("srv/app");
    let files = format!("drill/files{app}");
    let database = format!("drill/database{app}/app.db");
    assert_eq!(
        findings(&told),
        [
            format!("{files}/min-files"),
            format!("{files}/min-bytes"),
            format!("{files}/exists{app}/photos/missing.jpg"),
            format!("{files}/exists{app}/../../../etc/passwd"),
            format!("{files}/checksum{app}/VERSION"),
            format!("{files}lication/snapshot"),
            format!("{database}/foreign-keys"),
            format!("{database}/query/1"),
            format!("{database}/query/2"),
            format!("{database}/query/3"),
            format!("{database}/query/4"),
            format!("{database}/query/5"),
        ],
        "{told:#}"
    );
    let detail = |key: &str| {
        let found = told["report"]["findings"].as_array().expect("findings").iter().find(|it| it["key"] == key);
        found.expect("it is there")["detail"].as_str().expect("text").to_owned()
    };
    assert!(detail(&format!("{files}/min-files")).starts_with("Expected: at least 21 files\nFound:    20\n"));
    assert!(detail(&format!("{database}/foreign-keys")).contains("25 rows of `orders` refer to rows of `customers`"));
    assert!(detail(&format!("{database}/query/1")).contains("gives at least 51\nFound:    50\n"));
    assert!(
        detail(&format!("{database}/query/3")).contains("not authorized"),
        "{}",
        detail(&format!("{database}/query/3"))
    );
    assert!(is_empty(&stage.path("scratch")), "what was restored is removed after a failure too");

    // What failed is in the trend, and the next drill that passes beside it.
    drill_task(&stage, "[[config.files]]\npath = \"@APP@\"", "");
    let (code, told) = stage.run("drill");
    assert_eq!(code, 0, "{told:#}");
    let trend = told["report"]["tables"][1]["rows"].as_array().expect("rows");
    assert_eq!((trend[0][1].as_str(), trend[1][1].as_str()), (Some("1 of 1"), Some("0 of 3")));
}

#[test]
fn a_drill_finds_a_damaged_backup_and_one_that_does_not_fit() {
    let stage = saved();
    drill_task(&stage, "[[config.files]]\npath = \"@APP@\"", "max_size = \"100 KiB\"");
    let (code, told) = stage.run("drill");
    assert_eq!(code, 1, "{told:#}");
    let detail = told["report"]["findings"][0]["detail"].as_str().expect("text");
    assert!(detail.contains("`grant.drill.max_size` allows 100 KiB"), "{detail}");

    drill_task(&stage, "[[config.files]]\npath = \"@APP@\"", "");
    if is_root("a_drill_finds_a_damaged_backup_and_one_that_does_not_fit: a full disk") {
        let small = stage.path("scratch");
        let mount = |arguments: &[&str]| Command::new(arguments[0]).args(&arguments[1..]).arg(&small).status();
        assert!(mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"]).expect("mount").success());
        let (code, told) = stage.run("drill");
        let text = told.to_string();
        let _ = mount(&["umount", "--lazy"]);
        assert_eq!(code, 1, "{told:#}");
        assert!(text.contains("bytes free, and the trial needs"), "{told:#}");
    }
    for pack in stage.files("data") {
        stage.change(&pack, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
    }
    let (code, told) = stage.run("drill");
    assert_eq!(code, 1, "{told:#}");
    assert!(findings(&told)[0].ends_with("/restore") || findings(&told)[0].ends_with("/as-saved"), "{told:#}");
    assert!(is_empty(&stage.path("scratch")));
}

#[test]
fn what_a_killed_drill_left_goes_at_the_next_start() {
    let stage = saved();
    // Enough to be caught at.
    fs::write(stage.path("srv/app/large"), noise(77, 150_000_000)).expect("a file");
    stage.save("app");
    drill_task(&stage, "[[config.files]]\npath = \"@APP@\"", "");
    fs::write(stage.path("scratch").join("of another"), "stays").expect("a file");
    let mut running = Command::new(upkeep())
        .args(["run", "drill", "--standalone"])
        .env("UPKEEP_CONFIG", stage.path("etc"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started");
    let trials = || {
        let entries = fs::read_dir(stage.path("scratch")).expect("a folder").flatten();
        entries.filter(|it| it.file_name().to_string_lossy().starts_with("upkeep-drill-")).count()
    };
    let until = Instant::now() + Duration::from_secs(120);
    while trials() == 0 {
        assert!(Instant::now() < until && running.try_wait().expect("a process").is_none(), "it never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill().expect("it can be killed");
    running.wait().expect("it is gone");
    assert_eq!(trials(), 1, "a killed process removes nothing");
    stage.save("app");
    assert_eq!(trials(), 0, "the next start does");
    assert!(stage.path("scratch").join("of another").exists());
}

/// A folder for trials that the accounts of database servers may enter.
fn open_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    folder
}

/// A task that saves the database of a server, and one that drills it with these lines for `[[config.databases]]`.
fn server_tasks(stage: &Stage, grant: &str, asserted: &str, folder: &Path) {
    stage.write(
        "etc/tasks.d/app.toml",
        &format!(
            "plugin = \"backup\"\n[config]\nrepository = \"main\"\ndatabases = [\"shop\"]\n[grant]\nstate = true\n\
             metrics = true\n{grant}\n{}",
            repository(stage, "[\"append\"]")
        ),
    );
    stage.write(
        "etc/tasks.d/drill.toml",
        &format!(
            "plugin = \"restore-drill\"\n[config]\nrepository = \"main\"\ntask = \"app\"\n[[config.databases]]\n\
             dump = \"shop\"\n{asserted}\n[grant]\nstate = true\nmetrics = true\n[grant.drill]\nfolder = \"{}\"\n{}",
            folder.display(),
            repository(stage, "[\"list\", \"restore\"]")
        ),
    );
    let checked = stage.upkeep(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// What pgbench makes, at a hundredth of its scale, with the foreign keys that it leaves out.
const BENCH: &str = "
    CREATE TABLE branches (bid int PRIMARY KEY, balance int);
    CREATE TABLE accounts (aid int PRIMARY KEY, bid int REFERENCES branches (bid), balance int, filler char(84));
    CREATE TABLE history (aid int REFERENCES accounts (aid), delta int, mtime timestamp);
    INSERT INTO branches VALUES (1, 0), (2, 0);";

#[test]
fn a_postgresql_server_comes_back_into_a_fresh_one() {
    if !live::have("a_postgresql_server_comes_back_into_a_fresh_one", live::POSTGRESQL) {
        return;
    }
    let (stage, folder, server) = (Stage::empty(), open_folder(), Live::postgresql());
    server.psql("postgres", "CREATE DATABASE shop");
    server.psql("shop", BENCH);
    server.psql(
        "shop",
        "INSERT INTO accounts SELECT n, 1 + n % 2, 0, 'x' FROM generate_series(1, 10000) n;
         INSERT INTO history SELECT n, 1, now() AT TIME ZONE 'UTC' FROM generate_series(1, 1000) n",
    );
    let socket = server.folder.path().display();
    let grant = format!("[grant.dump.shop.postgresql]\nuser = \"boss\"\nsocket = \"{socket}\"\nport = {}", server.port);
    let asserted = r#"database = "shop"
queries = [
    { sql = "SELECT count(*) FROM accounts", at_least = 10000 },
    { sql = "SELECT max(mtime) FROM history", newest = "1h" },
    { sql = "SELECT sum(balance) = 0 FROM accounts", equals = true },
]"#;
    server_tasks(&stage, &grant, asserted, folder.path());
    // While it is written to.
    server.psql("shop", "INSERT INTO history VALUES (1, 1, now() AT TIME ZONE 'UTC')");
    stage.save("app");
    let (code, told) = stage.run("drill");
    assert_eq!(code, 0, "{told:#}");
    assert_eq!(told["report"]["tables"][0]["rows"][0][6], "passed", "{told:#}");
    assert!(is_empty(folder.path()), "server and data are gone");

    // What is wrong in the database is told, however well it was saved.
    server.psql("shop", "TRUNCATE accounts CASCADE");
    stage.save("app");
    let (code, told) = stage.run("drill");
    assert_eq!(code, 1, "{told:#}");
    let expected = ["drill/database/shop/query/1", "drill/database/shop/query/2", "drill/database/shop/query/3"];
    assert_eq!(findings(&told), expected, "{told:#}");
    assert!(is_empty(folder.path()), "server and data are gone after a failure too");
}

#[test]
fn a_mariadb_server_comes_back_into_a_fresh_one() {
    if !live::have("a_mariadb_server_comes_back_into_a_fresh_one", live::MARIADB) {
        return;
    }
    let (stage, folder, server) = (Stage::empty(), open_folder(), Live::mariadb());
    server.mariadb_sql(&format!("CREATE DATABASE shop; USE shop; {BENCH}"));
    server.mariadb_sql(
        "USE shop; INSERT INTO accounts SELECT seq, 1 + seq % 2, 0, 'x' FROM seq_1_to_10000;
         INSERT INTO history SELECT seq, 1, utc_timestamp() FROM seq_1_to_1000;",
    );
    let grant = format!("[grant.dump.shop.mariadb]\nuser = \"root\"\nsocket = \"{}\"", server.path("s").display());
    let asserted = r#"database = "shop"
queries = [
    { sql = "SELECT count(*) FROM accounts", equals = 10000 },
    { sql = "SELECT max(mtime) FROM history", newest = "1h" },
]"#;
    server_tasks(&stage, &grant, asserted, folder.path());
    stage.save("app");
    let (code, told) = stage.run("drill");
    assert_eq!(code, 0, "{told:#}");
    assert!(is_empty(folder.path()), "server and data are gone");

    server.mariadb_sql("USE shop; SET foreign_key_checks = 0; DELETE FROM branches WHERE bid = 2;");
    stage.save("app");
    let (code, told) = stage.run("drill");
    assert_eq!(code, 1, "{told:#}");
    assert_eq!(findings(&told), ["drill/database/shop/foreign-keys"], "{told:#}");
    assert!(is_empty(folder.path()), "server and data are gone after a failure too");
}

#[test]
fn a_redis_server_comes_back_into_a_fresh_one() {
    if !live::have("a_redis_server_comes_back_into_a_fresh_one", live::REDIS) {
        return;
    }
    let (stage, folder, server) = (Stage::empty(), open_folder(), Live::redis("hunter2"));
    let redis = |words: &[&str]| server.try_redis("hunter2", words).expect("Redis takes it");
    redis(&["EVAL", "for i = 1, 5000 do redis.call('SET', 'order:' .. i, string.rep('x', 100)) end", "0"]);
    redis(&["SET", "last", &upkeep_tests::now().to_string()]);
    redis(&["RPUSH", "queue", "first", "second", "third"]);
    stage.write("redis", "hunter2\n");
    fs::set_permissions(stage.path("redis"), fs::metadata(stage.path("password")).expect("a file").permissions())
        .expect("a mode");
    let grant = format!(
        "[grant.dump.shop.redis]\nport = {}\npassword = {{ file = \"{}\" }}",
        server.port,
        stage.shown("redis")
    );
    let asserted = r#"queries = [
    { sql = "DBSIZE", equals = 5002 },
    { sql = "GET last", newest = "1h" },
    { sql = "LRANGE queue 0 -1", equals = "first", min_rows = 3 },
    { sql = "STRLEN order:4711", at_least = 100 },
]"#;
    server_tasks(&stage, &grant, asserted, folder.path());
    stage.save("app");
    let (code, told) = stage.run("drill");
    assert_eq!(code, 0, "{told:#}");
    assert_eq!(findings(&told), [""; 0], "{told:#}");
    assert_eq!(told["report"]["tables"][0]["rows"][0][6], "passed", "{told:#}");
    assert!(is_empty(folder.path()), "server and data are gone");

    // Back into a real server it goes by hand, and what is shown gives the file.
    let shown = stage.upkeep(&["backup", "restore", "app", "--database", "shop"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.status.code(), Some(1), "{text}");
    let cat =
        text.split("get the dump: upkeep ").nth(1).and_then(|it| it.split(" > dump.rdb").next()).expect("a command");
    let dump = stage.upkeep(&cat.split(' ').collect::<Vec<_>>()).stdout;
    assert!(dump.starts_with(b"REDIS") && dump.len() > 10_000, "{cat}: {} bytes", dump.len());

    // What is wrong in it, what is not there, and what would change it.
    redis(&["DEL", "last", "order:4711"]);
    redis(&["-n", "3", "HSET", "hash", "field", "in three"]);
    stage.save("app");
    let (code, told) = stage.run("drill");
    assert_eq!((code, findings(&told)), (1, vec!["drill/database/shop/database"]), "{told:#}");
    let detail = told["report"]["findings"][0]["detail"].as_str().expect("text");
    assert!(detail.contains("Found:    0, 3"), "{detail}");
    let wicked = ["FLUSHALL", "SET a b", "CONFIG GET dir", "DEBUG SLEEP 0", "-h 127.0.0.1 PING", "NONSENSE"];
    let wicked: String = wicked.iter().map(|it| format!("    {{ sql = \"{it}\", min_rows = 0 }},\n")).collect();
    let asserted = asserted.replace("\n]", &format!("\n{wicked}]"));
    let third = "[[config.databases]]\ndump = \"shop\"\ndatabase = \"3\"\nqueries = [{ sql = \"HGET hash field\", equals = \"in three\" }]";
    server_tasks(&stage, &grant, &format!("database = \"0\"\n{asserted}\n{third}"), folder.path());
    let (code, told) = stage.run("drill");
    let expected: Vec<String> =
        [1, 2, 4].into_iter().chain(5..=10).map(|number| format!("drill/database/shop/0/query/{number}")).collect();
    assert_eq!((code, findings(&told)), (1, expected.iter().map(String::as_str).collect()), "{told:#}");
    assert!(is_empty(folder.path()), "server and data are gone");
}
