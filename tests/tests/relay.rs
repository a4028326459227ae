//! An application's own table of messages: an order and its message are committed together, several servers take from the table,
//! some of them are killed, and each message is in one outbox once.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use upkeep_tests::Site;

use crate::live::Live;

#[path = "databases/live.rs"]
#[expect(dead_code, reason = "the servers of the other tests serve here too, not all of them")]
mod live;

/// The statement of docs/relay.md that makes the table in a database of this kind.
fn table(kind: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/relay.md")).unwrap();
    let begin = text.find(&format!("-- {kind}")).unwrap_or_else(|| panic!("docs/relay.md has no statement for {kind}"));
    let statement = &text[begin..];
    statement[..=statement.find(';').unwrap()].to_owned()
}

fn site(grant: &str, limit: u32) -> Site {
    let site = Site::new(&[]);
    site.shipped("relay");
    let text = format!(
        "plugin = \"relay\"\n[[config.tables]]\ndatabase = \"shop\"\nchannels = [\"wecom\"]\nbatch = 20\nlease = \"10s\"\n\
         [grant]\nstate = true\nmetrics = true\n[grant.outbox]\naccess = [\"enqueue\"]\nmax_messages = {limit}\n\
         [grant.sql.shop]\naccess = [\"write\"]\n{grant}"
    );
    site.task("relay", &text);
    site
}

/// What a run says at its end.
fn summary(site: &Site) -> String {
    let ran = site.cli(&["run", "relay", "--standalone", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let run = ran.json();
    run["report"]["summary"].as_str().unwrap_or_else(|| panic!("{run}")).to_owned()
}

/// The titles that an outbox has.
fn titles(site: &Site) -> Vec<String> {
    let contents = site.journal().column("SELECT content FROM outbox_message ORDER BY id");
    let title = |content: Value| {
        let content: Value = serde_json::from_str(content.as_str().unwrap()).unwrap();
        content["title"].as_str().unwrap().to_owned()
    };
    contents.into_iter().map(title).collect()
}

/// Orders with their messages, each in a transaction of its own; every fourth is rolled back.
fn orders(count: u32, begin: &str, sleep: &str) -> String {
    let order = |number: u32| {
        let end = if number.is_multiple_of(4) { "ROLLBACK" } else { "COMMIT" };
        format!(
            "{begin}; INSERT INTO shop_order (number) VALUES ({number});\n\
             INSERT INTO upkeep_outbox (message) VALUES ('{{\"content\": {{\"title\": \"order {number}\"}}}}');\n{end};\n{sleep};\n"
        )
    };
    (1..=count).map(order).collect()
}

/// Two servers take what an application commits, and are killed again and again meanwhile.
fn each_once(grant: &str, insert: impl FnOnce() + Send, number: impl Fn(&str) -> i64) {
    let sites = [site(grant, 100_000), site(grant, 100_000)];
    // The first run compiles the plugin.
    sites.iter().for_each(|site| drop(summary(site)));
    let over = AtomicBool::new(false);
    let kills: u64 = std::thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            insert();
            over.store(true, Ordering::Relaxed);
        });
        let take = |(place, site): (usize, &'_ Site)| -> u64 {
            let mut kills = 0;
            let mut seed = 250 + 40 * place as u64;
            while !over.load(Ordering::Relaxed) {
                let mut command = site.command(&["run", "relay", "--standalone", "--json"]);
                let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                // Most runs are killed early, some come to their end.
                seed = (seed * 7 + 13) % 1_300;
                std::thread::sleep(Duration::from_millis(20 + seed * seed / 1_300));
                kills += u64::from(child.try_wait().unwrap().is_none());
                let _ended = child.kill();
                child.wait().unwrap();
            }
            kills
        };
        let taking: Vec<_> = sites.iter().enumerate().map(|it| scope.spawn(move || take(it))).collect();
        taking.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert!(kills > 0, "some runs were killed: {kills}");
    sites.iter().for_each(|site| drop(summary(site)));
    let begun = Instant::now();
    while number("SELECT count(*) FROM upkeep_outbox") > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "rows stay although all leases are over");
        std::thread::sleep(Duration::from_secs(1));
        sites.iter().for_each(|site| drop(summary(site)));
    }
    let all: Vec<String> = sites.iter().flat_map(titles).collect();
    let distinct: BTreeSet<&String> = all.iter().collect();
    let committed = number("SELECT count(*) FROM shop_order");
    assert_eq!(all.len(), distinct.len(), "none is in two outboxes, or twice in one");
    assert_eq!(i64::try_from(all.len()).unwrap(), committed, "each committed order has its message, no other has");
    let of = |site: &Site| titles(site).len();
    println!("{committed} messages, {} and {} by each server, {kills} runs killed", of(&sites[0]), of(&sites[1]));
}

/// A run passes over what another transaction has locked.
fn locked_rows_wait(grant: &str, lock: impl FnOnce() + Send, insert: impl Fn(&str)) {
    let site = site(grant, 25);
    summary(&site);
    for number in 1..=30 {
        insert(&format!("INSERT INTO upkeep_outbox (message) VALUES ('{{\"content\": {{\"title\": \"{number}\"}}}}')"));
    }
    std::thread::scope(|scope| {
        let locking = scope.spawn(lock);
        std::thread::sleep(Duration::from_millis(500));
        let begun = Instant::now();
        let said = summary(&site);
        // All but the two that are locked, as many as the grant lets in.
        assert_eq!(said, "20 messages taken over; more wait for the next run: `grant.outbox.max_messages` is reached");
        assert_eq!(summary(&site), "8 messages taken over");
        assert!(begun.elapsed() < Duration::from_secs(5) && !locking.is_finished(), "nobody waits for the lock");
        locking.join().unwrap();
    });
    assert_eq!(summary(&site), "2 messages taken over");
    assert_eq!(titles(&site).len(), 30);
}

#[test]
fn messages_of_postgresql_are_taken_once() {
    if !live::have("messages_of_postgresql_are_taken_once", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", "CREATE DATABASE shop");
    live.psql("shop", &format!("CREATE TABLE shop_order (number int PRIMARY KEY); {}", table("PostgreSQL")));
    live.psql(
        "shop",
        "CREATE USER upkeep PASSWORD 'between us'; GRANT SELECT, UPDATE, DELETE ON upkeep_outbox TO upkeep",
    );
    let password = tempfile::NamedTempFile::new().unwrap();
    fs::write(&password, "between us").unwrap();
    let grant = format!(
        "postgresql = {{ database = \"shop\", socket = {:?}, port = {}, user = \"upkeep\", password = {{ file = {:?} }} }}\n",
        live.folder.path(),
        live.port,
        password.path()
    );
    each_once(
        &grant,
        || drop(live.psql("shop", &orders(400, "BEGIN", "SELECT pg_sleep(0.02)"))),
        |statement| live.psql("shop", statement).trim().parse().unwrap(),
    );
    let lock = "BEGIN; UPDATE upkeep_outbox SET message = message WHERE id IN (SELECT id FROM upkeep_outbox ORDER BY id LIMIT 2);
                SELECT pg_sleep(8); COMMIT";
    locked_rows_wait(&grant, || drop(live.psql("shop", lock)), |statement| drop(live.psql("shop", statement)));

    live.psql("shop", "REVOKE DELETE ON upkeep_outbox FROM upkeep; INSERT INTO upkeep_outbox (message) VALUES ('{\"content\": {\"title\": \"x\"}}')");
    let site = site(&grant, 25);
    let failed = site.cli(&["run", "relay", "--standalone"]);
    assert!(failed.code != 0 && failed.stdout.contains("permission denied for table upkeep_outbox"), "{failed:?}");
    live.psql("shop", "GRANT DELETE ON upkeep_outbox TO upkeep");
    assert_eq!(summary(&site), "1 message taken over", "it was not lost");
    assert_eq!(titles(&site), ["x"], "and it is not there twice");
}

#[test]
fn messages_of_mariadb_are_taken_once() {
    if !live::have("messages_of_mariadb_are_taken_once", live::MARIADB) {
        return;
    }
    let live = Live::mariadb();
    live.mariadb_sql("CREATE DATABASE shop");
    let sql = |statement: &str| live.mariadb_sql(&format!("USE shop; {statement}"));
    sql(&format!("CREATE TABLE shop_order (number int PRIMARY KEY) ENGINE = InnoDB; {}", table("MariaDB")));
    sql("CREATE USER upkeep@localhost; GRANT SELECT, UPDATE, DELETE ON shop.upkeep_outbox TO upkeep@localhost");
    let grant = format!("mariadb = {{ database = \"shop\", socket = {:?}, user = \"upkeep\" }}\n", live.path("s"));
    each_once(
        &grant,
        || drop(sql(&orders(400, "START TRANSACTION", "DO SLEEP(0.02)"))),
        |statement| sql(statement).trim().parse().unwrap(),
    );
    let lock = "START TRANSACTION; SELECT id FROM upkeep_outbox ORDER BY id LIMIT 2 FOR UPDATE; DO SLEEP(8); COMMIT";
    locked_rows_wait(&grant, || drop(sql(lock)), |statement| drop(sql(statement)));
}

#[test]
fn messages_of_sqlite_are_taken_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let open = || {
        let database = rusqlite::Connection::open(&path).unwrap();
        database.busy_timeout(Duration::from_secs(20)).unwrap();
        database
    };
    let database = open();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    database.execute_batch(&format!("CREATE TABLE shop_order (number int PRIMARY KEY); {}", table("SQLite"))).unwrap();
    each_once(
        &format!("sqlite = {path:?}\n"),
        || {
            let database = open();
            for order in orders(300, "BEGIN IMMEDIATE", "SELECT 1").split("SELECT 1;\n") {
                database.execute_batch(order).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        },
        |statement| database.query_row(statement, [], |row| row.get(0)).unwrap(),
    );
}
