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

/// The statements of docs/relay.md that make the table in a database of this kind.
fn table(kind: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/relay.md")).unwrap();
    let begin = text.find(&format!("-- {kind}")).unwrap_or_else(|| panic!("docs/relay.md has no statement for {kind}"));
    let statements = &text[begin..];
    statements[..statements.find("```").unwrap()].to_owned()
}

fn site(grant: &str, limit: u32) -> Site {
    site_with("database = \"shop\"\nbatch = 20\nlease = \"10s\"\n", grant, limit)
}

/// A site with these tables, each without its `channels`.
fn site_with(tables: &str, grant: &str, limit: u32) -> Site {
    let site = Site::new(&[]);
    site.shipped("relay");
    let tables: String =
        tables.split("\n\n").map(|table| format!("[[config.tables]]\nchannels = [\"wecom\"]\n{table}\n")).collect();
    let text = format!(
        "plugin = \"relay\"\n{tables}[grant]\nstate = true\nmetrics = true\n[grant.outbox]\naccess = [\"enqueue\"]\n\
         max_messages = {limit}\n[grant.sql.shop]\naccess = [\"write\"]\n{grant}"
    );
    site.task("relay", &text);
    site
}

/// What a run says at its end.
#[track_caller]
fn summary(site: &Site) -> String {
    report(site)["summary"].as_str().unwrap().to_owned()
}

#[track_caller]
fn report(site: &Site) -> Value {
    let ran = site.cli(&["run", "relay", "--standalone", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()["report"].take()
}

/// What a run that fails says.
#[track_caller]
fn failure(site: &Site) -> String {
    let failed = site.cli(&["run", "relay", "--standalone"]);
    assert_ne!(failed.code, 0, "{failed:?}");
    failed.stdout
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
        assert_eq!(said, "25 messages taken over; more wait for the next run: `grant.outbox.max_messages` is reached");
        assert_eq!(summary(&site), "3 messages taken over");
        assert!(begun.elapsed() < Duration::from_secs(5) && !locking.is_finished(), "nobody waits for the lock");
        locking.join().unwrap();
    });
    assert_eq!(summary(&site), "2 messages taken over");
    assert_eq!(titles(&site).len(), 30);
}

/// Rows that together, or alone, take more than a call of the host hands over stop nothing. `repeat` makes a text of so many bytes.
fn long_messages_hold_up_nothing(grant: &str, insert: impl Fn(&str), repeat: &str, longest: usize) {
    let site = site_with("database = \"shop\"\nbatch = 1000\n", grant, 100_000);
    let insert = |count: u32, bytes: usize| {
        let text = repeat.replace("{bytes}", &bytes.to_string());
        insert(&format!(
            "INSERT INTO upkeep_outbox (message) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             SELECT concat('{{\"content\": {{\"title\": \"long\", \"text\": \"', {text}, '\"}}}}') FROM n"
        ));
    };
    insert(1, longest);
    insert(1, 100_000);
    insert(100, 1_000_000);
    insert(500, 40_000);
    let report = report(&site);
    assert_eq!(report["summary"], "500 messages taken over; 102 rows are no messages");
    let detail = report["findings"][0]["detail"].as_str().unwrap();
    for said in ["- id 2: it takes 100", "- id 3: `message` takes 1000", "are allowed (grant.outbox.max_message)"] {
        assert!(detail.contains(said), "{said}: {detail}");
    }
    assert_eq!(summary(&site), "0 messages taken over; 102 rows are no messages");
    assert_eq!(titles(&site).len(), 500);
}

/// What cannot be removed is in one outbox once, and all else goes on. `hold` lets the row 3 not go, `revoke` none.
fn what_cannot_be_removed_is_sent_once(
    grant: &str,
    sql: impl Fn(&str) + Sync,
    hold: &str,
    lock: &str,
    revoke: [&str; 2],
) {
    let sites = [site(grant, 1_000), site(grant, 1_000)];
    sites.iter().for_each(|site| drop(summary(site)));
    let insert = |id: u32| {
        sql(&format!(
            "INSERT INTO upkeep_outbox (id, message) VALUES ({id}, '{{\"content\": {{\"title\": \"{id}\"}}}}')"
        ));
    };
    sql("DELETE FROM upkeep_outbox");
    (1_001..=1_005).for_each(insert);
    sql(hold);
    let report = report(&sites[0]);
    assert_eq!(report["summary"], "5 messages taken over; 1 row cannot be removed");
    let detail = report["findings"][0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("- id 1003: ") && detail.contains("foreign key"), "{detail}");
    assert_eq!(summary(&sites[1]), "0 messages taken over", "it is the first one's");
    // Neither does the server wait for a row of its own that the application has locked.
    std::thread::scope(|scope| {
        let locking = scope.spawn(|| sql(lock));
        std::thread::sleep(Duration::from_millis(500));
        let begun = Instant::now();
        assert_eq!(summary(&sites[0]), "0 messages taken over; 1 was in the outbox before");
        assert!(begun.elapsed() < Duration::from_secs(5) && !locking.is_finished(), "{:?}", begun.elapsed());
    });
    sql("DROP TABLE held");
    assert_eq!(summary(&sites[0]), "0 messages taken over; 1 was in the outbox before");

    sql(revoke[0]);
    (1_011..=1_013).for_each(insert);
    for (place, site) in sites.iter().enumerate() {
        let said = failure(site);
        assert!(said.contains("lacks the right DELETE: GRANT SELECT, UPDATE, DELETE ON upkeep_outbox TO"), "{said}");
        assert_eq!(said.contains("3 messages taken over, then: "), place == 0, "{said}");
        insert(1_014 + u32::try_from(place).unwrap());
    }
    sql(revoke[1]);
    assert_eq!(summary(&sites[0]), "1 message taken over; 3 were in the outbox before");
    assert_eq!(summary(&sites[1]), "0 messages taken over; 1 was in the outbox before");
    let all: Vec<usize> = sites.iter().map(|site| titles(site).len()).collect();
    assert_eq!(all, [9, 1]);
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

    let sql = |statement: &str| drop(live.psql("shop", statement));
    what_cannot_be_removed_is_sent_once(
        &grant,
        sql,
        "CREATE TABLE held (id bigint REFERENCES upkeep_outbox); INSERT INTO held VALUES (1003)",
        "BEGIN; SELECT id FROM upkeep_outbox FOR UPDATE; SELECT pg_sleep(7); COMMIT",
        ["REVOKE DELETE ON upkeep_outbox FROM upkeep", "GRANT DELETE ON upkeep_outbox TO upkeep"],
    );
    sql("TRUNCATE upkeep_outbox RESTART IDENTITY");
    long_messages_hold_up_nothing(&grant, sql, "repeat('x', {bytes})", 20 << 20);

    // One table is one, whatever it is called.
    let two = "database = \"shop\"\n\ndatabase = \"shop\"\ntable = \"public.upkeep_outbox\"\n";
    let said = failure(&site_with(two, &grant, 25));
    assert!(
        said.contains("`shop.upkeep_outbox` and `shop.public.upkeep_outbox` in [[config.tables]] are the same"),
        "{said}"
    );
    let two = "database = \"shop\"\n\ndatabase = \"again\"\n";
    let said = failure(&site_with(two, &format!("{grant}[grant.sql.again]\naccess = [\"write\"]\n{grant}"), 25));
    assert!(said.contains("are the same table"), "{said}");

    sql("REVOKE UPDATE ON upkeep_outbox FROM upkeep");
    sql("INSERT INTO upkeep_outbox (message) VALUES ('{}')");
    let said = failure(&site(&grant, 25));
    assert!(
        said.contains("permission denied") && said.contains("lacks the right UPDATE: GRANT SELECT, UPDATE"),
        "{said}"
    );
    assert_eq!(said.matches("permission denied").count(), 1, "it is said once: {said}");
    let said = failure(&site(&grant.replace("database = \"shop\"", "database = \"shpo\""), 25));
    assert!(
        said.contains("`grant.sql.shop`: the server cannot be reached: database \"shpo\" does not exist"),
        "{said}"
    );
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
    let change = |statement: &str| drop(sql(statement));
    locked_rows_wait(&grant, || change(lock), change);
    what_cannot_be_removed_is_sent_once(
        &grant,
        change,
        "CREATE TABLE held (id bigint, FOREIGN KEY (id) REFERENCES upkeep_outbox (id)) ENGINE = InnoDB; INSERT INTO held VALUES (1003)",
        "START TRANSACTION; SELECT id FROM upkeep_outbox FOR UPDATE; DO SLEEP(7); COMMIT",
        [
            "REVOKE DELETE ON shop.upkeep_outbox FROM upkeep@localhost",
            "GRANT DELETE ON shop.upkeep_outbox TO upkeep@localhost",
        ],
    );
    change("TRUNCATE upkeep_outbox");
    long_messages_hold_up_nothing(&grant, change, "repeat('x', {bytes})", 15 << 20);
    let two = "database = \"shop\"\n\ndatabase = \"shop\"\ntable = \"shop.upkeep_outbox\"\n";
    let said = failure(&site_with(two, &grant, 25));
    assert!(said.contains("are the same table"), "{said}");

    // Behind many rows that were refused, one message at a time does not look at all of them each time.
    change("TRUNCATE upkeep_outbox");
    let one = site_with("database = \"shop\"\nbatch = 1\n", &grant, 1_000);
    let took = || {
        change("INSERT INTO upkeep_outbox (message) SELECT '{\"content\": {\"title\": \"x\"}}' FROM seq_1_to_200");
        let begun = Instant::now();
        let said = summary(&one);
        assert!(said.starts_with("200 messages taken over"), "{said}");
        begun.elapsed()
    };
    took();
    let before = took();
    change("INSERT INTO upkeep_outbox (message, refused) SELECT 'x', 'x' FROM seq_1_to_50000");
    let behind = took();
    println!("200 messages took {before:?}, behind 50,000 refused rows {behind:?}");
    assert!(behind < before * 2 + Duration::from_secs(1), "{before:?}, {behind:?}");

    change("RENAME TABLE upkeep_outbox TO other");
    let said = failure(&site(&grant, 25));
    assert!(said.contains("docs/relay.md"), "{said}");
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
    let insert = |statement: &str| database.execute_batch(statement).unwrap();
    let sites = format!("sqlite = {path:?}\n");
    insert("DELETE FROM upkeep_outbox");
    insert("DELETE FROM sqlite_sequence");
    long_messages_hold_up_nothing(&sites, insert, "replace(hex(zeroblob({bytes} / 2)), '0', 'x')", 20 << 20);
}
