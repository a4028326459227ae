use std::sync::atomic::{AtomicBool, Ordering};

use super::abi::Host as _;
use super::*;
use crate::abi::repository::HostRepo as _;
use crate::abi::types::Error;
use crate::capability::Call;
use crate::config::grant::{Grants, RepositoryGrant};
use crate::config::limits::Limits;
use crate::config::percent::Percent;
use crate::config::secret::Secret;

/// 2026-01-31 12:00:00 UTC
const CUTOFF: i64 = 1_769_860_800;

/// 1,000 rows in `events`, one each second up to 99 seconds behind the cutoff: 900 are old.
const EVENTS: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER, kind TEXT);
    INSERT INTO events SELECT value, 1769860800 - 900 + value, 'kind ' || (value % 3) FROM series;";

fn database(path: &Path, statements: &str) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(path).unwrap();
    database
        .execute_batch(
            "CREATE TEMP TABLE series AS WITH RECURSIVE s (value) AS (SELECT 0 UNION ALL SELECT value + 1 FROM s LIMIT 1000)
             SELECT value FROM s",
        )
        .unwrap();
    database.execute_batch(statements).unwrap();
    database
}

fn removal(tables: &[&str]) -> RowRemoval {
    RowRemoval {
        tables: tables.iter().map(|it| (*it).to_owned()).collect(),
        max_rows: None,
        max_share: Percent(100),
        require_backup: None,
    }
}

struct Place {
    folder: tempfile::TempDir,
    host: Host,
    database: rusqlite::Connection,
}

/// A database `app` with these tables, of which rows may go as the removal says.
async fn place(statements: &str, removal: RowRemoval) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let database = database(&path, statements);
    let mut grants = Grants::default();
    let grant = SqlGrant {
        sqlite: Some(path),
        access: vec![SqlAccess::Remove, SqlAccess::Maintain],
        removal: Some(removal),
        ..SqlGrant::default()
    };
    let reading = SqlGrant { access: vec![SqlAccess::Read, SqlAccess::Write], removal: None, ..grant.clone() };
    grants.sql.insert("app".into(), grant);
    grants.sql.insert("reading".into(), reading);
    let password = folder.path().join("password");
    std::fs::write(&password, "secret").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let repository = folder.path().join("repository");
    grants.repository.insert("main".into(), RepositoryGrant::new(repository.to_str().unwrap(), Secret::File(password)));
    let host = Host::of(folder.path(), grants, Limits::default()).await;
    Place { folder, host, database }
}

fn selection(table: &str) -> abi::Selection {
    abi::Selection {
        database: "app".into(),
        table: table.into(),
        column: "at".into(),
        clock: Some(abi::Clock::UnixSeconds),
        timezone: "UTC".into(),
        before: CUTOFF * 1_000,
        equal: vec![],
    }
}

fn quick() -> abi::Options {
    abi::Options { chunk_ms: 25, chunk_rows: 50, pause_ms: 0 }
}

impl Place {
    fn number(&self, statement: &str) -> i64 {
        self.database.query_row(statement, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    async fn remove(&mut self, selection: abi::Selection) -> Result<abi::Done, HostError> {
        match self.host.carry_out(selection, quick(), None, vec![]).await? {
            abi::Outcome::Done(done) => Ok(done),
            abi::Outcome::Blocked(blocks) => panic!("{}", blocks[0].message),
        }
    }
}

fn said<T>(result: Result<T, HostError>) -> Error {
    match result {
        Err(HostError::Guest(error)) => error,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it went well"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_go_and_no_other() {
    for index in ["", "CREATE INDEX by_time ON events (at);"] {
        let mut place = place(&format!("{EVENTS}{index}"), removal(&["events"])).await;
        let estimate = place.host.count(selection("events")).await.unwrap();
        assert_eq!((estimate.rows, estimate.total, estimate.rows_counted), (900, 1_000, true));
        assert_eq!(estimate.oldest.as_deref(), Some("1769859900"));
        let mut events = place.host.run.events.listen();
        let done = place.remove(selection("events")).await.unwrap();
        assert_eq!((done.removed, done.kept, done.stopped), (900, 0, None), "{index}");
        assert!(done.chunks >= 18, "at most 50 in each: {}", done.chunks);
        assert_eq!(place.number("SELECT count(*) FROM events WHERE at >= 1769860800"), 100);
        assert_eq!(place.number("SELECT count(*) FROM events"), 100);
        let mut last = 0;
        while let Ok(event) = events.try_recv() {
            if let Event::Progress { done, total, unit, .. } = event {
                assert_eq!((total, unit.as_str()), (Some(900), "rows"));
                last = done;
            }
        }
        assert_eq!(last, 900);
        // Again, nothing is left to do.
        assert_eq!(place.remove(selection("events")).await.unwrap().removed, 0);
    }
    // Few of many, along the index.
    let mut place = place(&format!("{EVENTS}CREATE INDEX by_time ON events (at);"), removal(&["events"])).await;
    let few = abi::Selection { before: (CUTOFF - 850) * 1_000, ..selection("events") };
    let done = place.remove(few).await.unwrap();
    assert_eq!((done.removed, done.way), (50, abi::Way::TimeIndex));
    assert_eq!(place.number("SELECT min(at) FROM events"), CUTOFF - 850);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_task_file_grants_is_reached() {
    let mut place = place(&format!("{EVENTS} CREATE TABLE other (at INTEGER);"), removal(&["events"])).await;
    let elsewhere = |database: &str| abi::Selection { database: database.into(), ..selection("events") };
    let denied = place.host.count(elsewhere("shop")).await;
    place.host.expect_denied(denied, "grant.sql.shop");
    let denied = place.host.count(elsewhere("reading")).await;
    place.host.expect_denied(denied, "grant.sql.reading.access");
    let denied = place.host.maintain("reading".into(), abi::Maintenance::Vacuum, None).await;
    place.host.expect_denied(denied, "grant.sql.reading.access");
    for table in
        ["other", "EVENTS", "main.events", "events\"", "x\"; DROP TABLE events; --", "events; DROP TABLE events", ""]
    {
        let denied = place.host.carry_out(selection(table), quick(), None, vec![]).await;
        place.host.expect_denied(denied, "grant.sql.app.removal.tables");
    }
    for column in ["x", "at\" < 0 OR 1 = 1 --", "at)", "1", "*", "rowid", "at\0"] {
        let hostile = abi::Selection { column: column.into(), ..selection("events") };
        assert!(
            matches!(said(place.host.carry_out(hostile, quick(), None, vec![]).await), Error::NotFound(_)),
            "{column}"
        );
        let equal = vec![(column.to_owned(), AbiValue::Integer(1))];
        let hostile = abi::Selection { equal, ..selection("events") };
        assert!(
            matches!(said(place.host.carry_out(hostile, quick(), None, vec![]).await), Error::NotFound(_)),
            "{column}"
        );
    }
    for value in ["' OR 1 = 1 --", "\" OR 1", "x'); DROP TABLE events; --", "kind 1\0"] {
        let equal = vec![("kind".to_owned(), AbiValue::Text(value.to_owned()))];
        let hostile = abi::Selection { equal, ..selection("events") };
        assert_eq!(place.remove(hostile).await.unwrap().removed, 0, "{value}");
    }
    let nowhere = abi::Selection { timezone: "Mars".into(), ..selection("events") };
    assert!(matches!(said(place.host.count(nowhere).await), Error::Invalid(_)));
    for (chunk_ms, chunk_rows, pause_ms) in [(0, 1, 0), (10_001, 1, 0), (1, 0, 0), (1, 1, 60_001)] {
        let options = abi::Options { chunk_ms, chunk_rows, pause_ms };
        let done = place.host.carry_out(selection("events"), options, None, vec![]).await;
        assert!(matches!(said(done), Error::Invalid(_)));
    }
    for call in [Call::Plan, Call::Finish] {
        place.host.call = call;
        let done = place.host.carry_out(selection("events"), quick(), None, vec![]).await;
        assert!(matches!(said(done), Error::Invalid(message) if message.contains("while a step executes")));
        assert!(matches!(
            said(place.host.maintain("app".into(), abi::Maintenance::Vacuum, None).await),
            Error::Invalid(_)
        ));
        place.host.count(selection("events")).await.unwrap();
    }
    assert_eq!(place.number("SELECT count(*) FROM events"), 1_000);

    place.host.call = Call::Step(0);
    let equal = vec![("kind".to_owned(), AbiValue::Text("kind 1".to_owned()))];
    let some = abi::Selection { equal, ..selection("events") };
    assert_eq!(place.remove(some).await.unwrap().removed, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_are_names() {
    let table = "x\"; DROP TABLE events; --";
    let made = format!(
        "{EVENTS} CREATE TABLE \"x\"\"; DROP TABLE events; --\" (\"at\"\"'`\" INTEGER, rowid TEXT, _rowid_ TEXT);
         INSERT INTO \"x\"\"; DROP TABLE events; --\" (\"at\"\"'`\") SELECT at FROM events;"
    );
    let mut place = place(&made, removal(&[table, "gone", "seen", "sqlite_schema"])).await;
    let odd = abi::Selection { column: "at\"'`".into(), ..selection(table) };
    assert_eq!(place.remove(odd).await.unwrap().removed, 900);
    assert_eq!(place.number("SELECT count(*) FROM events"), 1_000);
    assert!(
        matches!(said(place.host.count(selection("gone")).await), Error::NotFound(message) if message.contains("`events`"))
    );
    place.database.execute_batch("CREATE VIEW seen AS SELECT * FROM events").unwrap();
    for no_table in ["seen", "sqlite_schema"] {
        assert!(matches!(said(place.host.count(selection(no_table)).await), Error::Invalid(_)), "{no_table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn above_a_ceiling_nothing_goes() {
    for (max_rows, max_share, key) in
        [(Some(899), 100, "grant.sql.app.removal.max_rows"), (None, 89, "grant.sql.app.removal.max_share")]
    {
        let ceilings = RowRemoval { max_rows, max_share: Percent(max_share), ..removal(&["events"]) };
        let mut place = place(EVENTS, ceilings).await;
        let estimate = place.host.count(selection("events")).await.unwrap();
        let abi::Outcome::Blocked(blocks) =
            place.host.carry_out(selection("events"), quick(), None, vec![]).await.unwrap()
        else {
            panic!("it went")
        };
        assert_eq!(blocks.len(), 1);
        assert!(blocks[0].message.contains(key) && blocks[0].message.contains("900 of 1000"), "{}", blocks[0].message);
        assert_eq!(estimate.blocks[0].message, blocks[0].message);
        assert_eq!(place.number("SELECT count(*) FROM events"), 1_000);
    }
    let mut place =
        place(EVENTS, RowRemoval { max_rows: Some(900), max_share: Percent(90), ..removal(&["events"]) }).await;
    assert_eq!(place.remove(selection("events")).await.unwrap().removed, 900);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_go_along_has_to_be_granted() {
    let tables = "PRAGMA foreign_keys = ON; CREATE TABLE parent (id INTEGER PRIMARY KEY, at INTEGER);
        CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent ON DELETE CASCADE);
        CREATE TABLE grandchild (id INTEGER PRIMARY KEY, child INTEGER REFERENCES child ON DELETE SET NULL);
        INSERT INTO parent SELECT value, 1769860800 - 900 + value FROM series;
        INSERT INTO child SELECT value, value FROM series; INSERT INTO grandchild SELECT value, value FROM series;";
    for (granted, missing) in [(&["parent"][..], "`child`"), (&["parent", "child"], "`grandchild`")] {
        let mut place = place(tables, removal(granted)).await;
        let denied = place.host.carry_out(selection("parent"), quick(), None, vec![]).await;
        place.host.expect_denied(denied, missing);
        assert_eq!(place.number("SELECT count(*) FROM parent"), 1_000);
    }
    let mut place = place(tables, removal(&["parent", "child", "grandchild"])).await;
    // What is not saved must not go.
    let repository = place.host.open("main".into()).await.unwrap();
    let saved = place.host.carry_out(selection("parent"), quick(), Some(repository), vec![]).await;
    assert!(matches!(said(saved), Error::Invalid(message) if message.contains("would not be saved")));
    assert_eq!(place.remove(selection("parent")).await.unwrap().removed, 900);
    assert_eq!(place.number("SELECT count(*) FROM child"), 100);
    assert_eq!(place.number("SELECT count(*) FROM grandchild WHERE child IS NULL"), 900);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_others_refer_to_stay_and_are_told() {
    let tables = "CREATE TABLE parent (id INTEGER PRIMARY KEY, at INTEGER);
        CREATE TABLE child (parent INTEGER REFERENCES parent);
        INSERT INTO parent SELECT value, 1769860800 - 900 + value FROM series; INSERT INTO child VALUES (777);";
    let mut place = place(tables, removal(&["parent"])).await;
    let done = place.remove(selection("parent")).await.unwrap();
    assert!(done.removed >= 700 && done.removed < 777, "{done:?}");
    assert!(done.stopped.unwrap().contains("refer to them"));
    assert_eq!(place.number("SELECT count(*) FROM parent WHERE id = 777"), 1);
    assert_eq!(place.number("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    let kept =
        "DELETE FROM child; CREATE TRIGGER keep BEFORE DELETE ON parent BEGIN SELECT RAISE (ABORT, 'kept by law'); END";
    place.database.execute_batch(kept).unwrap();
    let done = place.remove(selection("parent")).await.unwrap();
    assert!(done.removed == 0 && done.stopped.unwrap().contains("kept by law"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind_are_walked() {
    let tables = "CREATE TABLE events (name TEXT, part INTEGER, at INTEGER, PRIMARY KEY (name, part)) WITHOUT ROWID;
        INSERT INTO events SELECT 'name ' || (value % 10), value, 1769860800 - 900 + value FROM series;";
    for index in ["", "CREATE INDEX by_time ON events (at);"] {
        let mut place = place(&format!("{tables}{index}"), removal(&["events"])).await;
        let few = abi::Selection { before: (CUTOFF - 800) * 1_000, ..selection("events") };
        assert_eq!(place.remove(few).await.unwrap().removed, 100);
        assert_eq!(place.remove(selection("events")).await.unwrap().removed, 800);
        assert_eq!(place.number("SELECT count(*) FROM events WHERE at >= 1769860800"), 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_not_given_is_guessed_for_the_operator() {
    for (values, guess) in [
        ("1769860800", "unix-seconds"),
        ("1769860800000", "unix-milliseconds"),
        ("1769860800000000", "unix-microseconds"),
        ("'2026-01-31 12:00:00'", "iso-text"),
    ] {
        let mut place =
            place(&format!("CREATE TABLE t (at); INSERT INTO t VALUES (NULL), ({values})"), removal(&["t"])).await;
        let unknown = abi::Selection { clock: None, ..selection("t") };
        let Error::Invalid(message) = said(place.host.count(unknown).await) else { panic!("{guess}") };
        assert!(message.contains(guess), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_saved_before_they_go() {
    let tables = "CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER, price REAL, name TEXT, raw BLOB);
        INSERT INTO events SELECT value, 1769860800 - 900 + value, value / 8.0, 'it''s \"' || char(10) || value, x'00ff' FROM series;
        INSERT INTO events VALUES (9223372036854775807, 5, NULL, CAST(x'ff' AS TEXT), zeroblob(3));";
    let mut place = place(tables, removal(&["events"])).await;
    let repository = place.host.open("main".into()).await.unwrap();
    let outcome =
        place.host.carry_out(selection("events"), quick(), Some(repository), vec!["rows".into()]).await.unwrap();
    let abi::Outcome::Done(done) = outcome else { panic!("blocked") };
    let saved = done.saved.unwrap();
    assert_eq!((done.removed, done.kept, done.stopped, saved.rows), (901, 0, None, 901));
    assert_eq!(saved.path, "/upkeep-rows/app/events.jsonl");
    assert_eq!(place.number("SELECT count(*) FROM events"), 100);

    let grant = place.host.run.grants.repository["main"].clone();
    let target = place.folder.path().join("restored");
    let restored = target.clone();
    tokio::task::spawn_blocking(move || {
        let repository = Repository::open(&grant).unwrap();
        let snapshot = repository.find(&saved.summary.snapshot, |_| true).unwrap();
        let tags = &snapshot.tags;
        assert!(tags.iter().any(|tag| tag == "upkeep:task") && tags.iter().any(|tag| tag == "rows"), "{tags:?}");
        let options = crate::repository::restore::RestoreOptions::default();
        repository.restore(&snapshot, Path::new("/"), &restored, options, Arc::new(|_, _| {})).unwrap();
    })
    .await
    .unwrap();
    let text = std::fs::read_to_string(target.join("upkeep-rows/app/events.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 901);
    let first = r#"{"id":0,"at":1769859900,"price":0.0,"name":"it's \"\n0","raw":{"base64":"AP8="}}"#;
    let last = r#"{"id":9223372036854775807,"at":5,"price":null,"name":{"base64":"/w=="},"raw":{"base64":"AAAA"}}"#;
    assert_eq!((lines[0], lines[900]), (first, last));
}

/// Rows that change between the snapshot and the removal stay, and so does what comes after.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_in_the_snapshot_goes() {
    let place = place(EVENTS, removal(&["events"])).await;
    let (host, database) = (place.host, place.database);
    let granted = Arc::new(host.rows_grant(selection("events")).unwrap());
    let scratch = place.folder.path().join("scratch");
    tokio::task::spawn_blocking(move || {
        let noted = crate::rows::save::Place::default();
        let mut reader = RowReader::new(granted.open(true).unwrap(), 900, &scratch, Arc::clone(&noted)).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
        assert_eq!(text.lines().count(), 900);
        let ledger = take(&noted).unwrap();
        database
            .execute_batch(
                "UPDATE events SET kind = 'changed' WHERE id IN (3, 400); UPDATE events SET at = at + 100000 WHERE id = 500;
                 DELETE FROM events WHERE id = 600; DELETE FROM events WHERE id = 601;
                 INSERT INTO events VALUES (601, 1769860000, 'another'), (-1, 1769860000, 'late'), (2000, 1769860000, 'late')",
            )
            .unwrap();
        let mut table = granted.open(true).unwrap();
        let options = Options { chunk: Duration::from_millis(20), rows: 100, pause: Duration::ZERO };
        let cancel = tokio_util::sync::CancellationToken::new();
        let done = remove_saved(&mut *table, &ledger, options, &cancel, &|_| {}).unwrap();
        assert_eq!((done.removed, done.kept), (895, 5), "{done:?}");
        let left = "SELECT group_concat(id) FROM (SELECT id FROM events WHERE id < 900 OR id > 999 ORDER BY id)";
        let left: String = database.query_row(left, [], |row| row.get(0)).unwrap();
        assert_eq!(left, "-1,3,400,500,601,2000");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_snapshot_no_removal() {
    let mut place = place(EVENTS, removal(&["events"])).await;
    let repository = place.host.open("main".into()).await.unwrap();
    // Where the ledger would be kept stands a file.
    std::fs::write(place.folder.path().join("scratch"), "").unwrap();
    let refused = place.host.carry_out(selection("events"), quick(), Some(repository), vec![]).await;
    assert!(matches!(said(refused), Error::Unavailable(_)));
    assert_eq!(place.number("SELECT count(*) FROM events"), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_ended_stops_between_two_transactions_and_can_go_on() {
    let mut place = place(EVENTS, removal(&["events"])).await;
    let cancel = place.host.run.cancel.clone();
    let options = abi::Options { chunk_ms: 25, chunk_rows: 10, pause_ms: 100 };
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(450)).await;
        cancel.cancel();
    });
    let ended = place.host.carry_out(selection("events"), options, None, vec![]).await;
    assert!(matches!(said(ended), Error::Unavailable(message) if message.contains("ended")));
    let left = place.number("SELECT count(*) FROM events");
    assert!(left < 1_000 && left > 100 && left % 10 == 0, "{left}");
    let grants = (*place.host.run.grants).clone();
    place.host = Host::of(&place.folder.path().join("next"), grants, Limits::default()).await;
    assert_eq!(place.remove(selection("events")).await.unwrap().removed + 100, left.unsigned_abs());
}

/// Who writes meanwhile loses nothing, in every mode of SQLite.
#[tokio::test(flavor = "multi_thread")]
async fn others_write_meanwhile() {
    for mode in ["WAL", "DELETE"] {
        let many = format!(
            "PRAGMA journal_mode = {mode}; CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER, kind TEXT);
             INSERT INTO events (at, kind) SELECT 1769860800 - 1 - b.value, hex(randomblob(20)) FROM series a, series b LIMIT 200000;"
        );
        let mut place = place(&many, removal(&["events"])).await;
        let path = place.folder.path().join("app.db");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            let database = rusqlite::Connection::open(path).unwrap();
            database.busy_timeout(Duration::from_secs(60)).unwrap();
            let (mut count, mut longest) = (0_u64, Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                database.execute("INSERT INTO events (at, kind) VALUES (1769860900, 'new')", []).unwrap();
                longest = longest.max(began.elapsed());
                count += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            (count, longest)
        });
        let options = abi::Options { chunk_ms: 20, chunk_rows: 10_000, pause_ms: 5 };
        let outcome = place.host.carry_out(selection("events"), options, None, vec![]).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        let (count, longest) = writer.join().unwrap();
        let abi::Outcome::Done(done) = outcome else { panic!("blocked") };
        assert_eq!((done.removed, done.stopped), (200_000, None), "{mode}");
        assert_eq!(place.number("SELECT count(*) FROM events"), i64::try_from(count).unwrap(), "{mode}");
        assert!(count > 10 && longest < Duration::from_secs(5), "{mode}: {count} inserts, one waited {longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_gives_the_room_back() {
    let mut place = place(EVENTS, removal(&["events"])).await;
    place.database.execute_batch("UPDATE events SET kind = hex(randomblob(1000))").unwrap();
    place.remove(selection("events")).await.unwrap();
    let done = place.host.maintain("app".into(), abi::Maintenance::Optimize, None).await.unwrap();
    assert_eq!(done.bytes_before, done.bytes_after);
    let done = place.host.maintain("app".into(), abi::Maintenance::Vacuum, None).await.unwrap();
    assert!(done.bytes_after * 5 < done.bytes_before, "{done:?}");
    let single = place.host.maintain("app".into(), abi::Maintenance::Vacuum, Some("events".into())).await;
    assert!(matches!(said(single), Error::Invalid(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_has_to_be_there_is_asked_for() {
    let wanted = crate::config::removal::BackupRequirement {
        task: "backup-app".into(),
        max_age: Duration::from_secs(3_600),
        verified: true,
    };
    let mut place = place(EVENTS, RowRemoval { require_backup: Some(wanted), ..removal(&["events"]) }).await;
    let abi::Outcome::Blocked(blocks) = place.host.carry_out(selection("events"), quick(), None, vec![]).await.unwrap()
    else {
        panic!("it went")
    };
    assert!(matches!(blocks[0].cause, Cause::Backup));
    assert!(blocks[0].message.contains("grant.sql.app.removal.require_backup"), "{}", blocks[0].message);
    assert_eq!(place.number("SELECT count(*) FROM events"), 1_000);
}
