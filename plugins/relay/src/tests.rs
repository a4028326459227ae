//! One server and SQLite; several servers and databases are in `tests/tests/relay.rs`.

use upkeep_plugin::outbox::Level;
use upkeep_plugin::parameters;
use upkeep_plugin::sql::{Connection, Value};
use upkeep_plugin::test::Host;

use super::*;

const CONFIG: &str = r#"{ "tables": [{ "database": "private", "channels": ["wecom"], "batch": 2 }] }"#;

/// The table as docs/relay.md makes it.
fn table() -> Connection {
    let text = include_str!("../../../docs/relay.md");
    let begin = text.find("-- SQLite\n").expect("the statements for SQLite");
    let statements = &text[begin..begin + text[begin..].find("```").expect("their end")];
    let connection = Connection::open("private").unwrap();
    for statement in statements.split(';').filter(|it| !it.trim().is_empty()) {
        connection.execute(statement, []).unwrap();
    }
    connection
}

/// A table of somebody who has not read it.
fn table_by_hand() -> Connection {
    let connection = Connection::open("private").unwrap();
    let text = "CREATE TABLE upkeep_outbox (id INTEGER PRIMARY KEY, message, idempotency_key, claimed_by, claimed_until, refused)";
    connection.execute(text, []).unwrap();
    connection
}

/// Under which name the rows of the table are claimed.
fn owner() -> String {
    let owner: String = state::get(OWNER).unwrap().unwrap();
    format!("{owner}/{}", message::short_hash(&["private.upkeep_outbox"]))
}

fn titles(host: &Host) -> Vec<String> {
    host.messages().iter().map(|it| it.content.title.clone()).collect()
}

fn insert(connection: &Connection, message: &str, key: Option<&str>) {
    let values: [Value; 2] = [message.into(), key.map(str::to_owned).into()];
    connection.execute("INSERT INTO upkeep_outbox (message, idempotency_key) VALUES (?, ?)", values).unwrap();
}

fn left(connection: &Connection) -> Vec<(i64, Option<String>)> {
    let rows = connection.query("SELECT id, refused FROM upkeep_outbox ORDER BY id", []).unwrap();
    rows.map(|row| row.unwrap()).map(|row| (row.get("id").unwrap(), row.get("refused").unwrap())).collect()
}

fn run(host: &Host) -> Report {
    host.run(upkeep_plugin::task::<Relay>(), CONFIG).unwrap()
}

#[test]
fn rows_become_messages_in_their_order_and_go() {
    let host = Host::new().outbox();
    let connection = table();
    let whole = r#"{ "channels": ["subscribe", "mail"], "priority": "urgent", "not_before": 1796000000000, "expires": 1796086400000,
        "content": { "title": "Paid", "text": "**12** yuan", "level": "warn", "to": "o-1", "template": "paid",
                     "fields": { "amount1": "12元" }, "group": "orders", "link": "https://shop.example/1" } }"#;
    insert(&connection, whole, Some("order-1"));
    for number in 2..=5 {
        insert(&connection, &format!(r#"{{ "content": {{ "title": "order {number}" }} }}"#), None);
    }
    assert_eq!(run(&host).summary, "5 messages taken over");
    assert_eq!(left(&connection), []);
    let messages = host.messages();
    assert_eq!(messages[0].channels, ["subscribe", "mail"]);
    assert_eq!(messages[0].key.as_deref(), Some("private.upkeep_outbox:order-1"));
    assert_eq!(messages[0].due, 1_796_000_000_000);
    let content = &messages[0].content;
    assert_eq!(
        (content.level, content.to.as_deref(), content.template.as_deref()),
        (Level::Warn, Some("o-1"), Some("paid"))
    );
    assert_eq!(content.fields, [("amount1".to_owned(), "12元".to_owned())]);
    assert_eq!((content.group.as_deref(), content.link.as_deref()), (Some("orders"), Some("https://shop.example/1")));
    let titles: Vec<&str> = messages[1..].iter().map(|it| it.content.title.as_str()).collect();
    assert_eq!(titles, ["order 2", "order 3", "order 4", "order 5"]);
    assert_eq!(
        (messages[1].channels.as_slice(), messages[1].key.as_deref()),
        (&["wecom".to_owned()][..], messages[1].key.as_deref().filter(|it| it.starts_with("private.upkeep_outbox/2/")))
    );
    assert_eq!(run(&host).summary, "0 messages taken over");
}

#[test]
fn what_was_enqueued_before_a_crash_is_not_enqueued_again() {
    let host = Host::new().outbox();
    let connection = table();
    let text = "INSERT INTO upkeep_outbox (id, message, created_at, claimed_by, claimed_until) VALUES (1, ?, 'then', ?, unixepoch() + 300)";
    let values = |owner: Option<String>| parameters![r#"{ "content": { "title": "once" } }"#, owner];
    connection.execute(text, values(None)).unwrap();
    assert_eq!(run(&host).summary, "1 message taken over");
    // The row is still there, and claimed: as if the commit that removes it had not come.
    connection.execute(text, values(Some(owner()))).unwrap();
    assert_eq!(run(&host).summary, "0 messages taken over; 1 was in the outbox before");
    assert_eq!((host.messages().len(), left(&connection)), (1, vec![]));
}

#[test]
fn a_row_that_has_the_number_of_another_is_another() {
    let host = Host::new().outbox();
    let connection = table();
    for (message, created) in [("a", "1"), ("a", "2"), ("b", "2")] {
        let text = "INSERT INTO upkeep_outbox (id, message, created_at) VALUES (1, ?, ?)";
        connection
            .execute(text, parameters![format!(r#"{{ "content": {{ "title": "{message}" }} }}"#), created])
            .unwrap();
        assert_eq!(run(&host).summary, "1 message taken over");
    }
    let keys: std::collections::BTreeSet<Option<String>> = host.messages().into_iter().map(|it| it.key).collect();
    assert_eq!((titles(&host), keys.len()), (vec!["a".to_owned(), "a".to_owned(), "b".to_owned()], 3));
}

#[test]
fn a_row_that_cannot_be_removed_keeps_no_other_and_stays_its_servers() {
    let host = Host::new().outbox();
    let connection = table();
    for number in 1..=5 {
        insert(&connection, &format!(r#"{{ "content": {{ "title": "{number}" }} }}"#), None);
    }
    let hold = "CREATE TRIGGER hold BEFORE DELETE ON upkeep_outbox WHEN old.id = 2 BEGIN SELECT RAISE(ABORT, 'it is held'); END";
    connection.execute(hold, []).unwrap();
    let report = run(&host);
    assert_eq!(report.summary, "5 messages taken over; 1 row cannot be removed");
    let finding = &report.findings[0];
    assert_eq!(finding.key, "stuck/private.upkeep_outbox");
    assert!(finding.detail.contains("- id 2: ") && finding.detail.contains("it is held"), "{}", finding.detail);
    let claims = || {
        let text = "SELECT claimed_by, claimed_until > unixepoch() + 80000 AS held FROM upkeep_outbox";
        let rows = connection.query(text, []).unwrap().map(|row| row.unwrap());
        rows.map(|row| (row.get::<String>("claimed_by").unwrap(), row.get::<bool>("held").unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(claims(), [(owner(), true)]);
    assert_eq!(run(&host).summary, "0 messages taken over; 1 was in the outbox before; 1 row cannot be removed");
    connection.execute("DROP TRIGGER hold", []).unwrap();
    assert_eq!(run(&host).summary, "0 messages taken over; 1 was in the outbox before");
    assert_eq!((host.messages().len(), left(&connection)), (5, vec![]));
}

#[test]
fn where_no_row_can_be_removed_all_stay_and_the_number_is_told() {
    let host = Host::new().outbox();
    let connection = table();
    for number in 1..=25 {
        insert(&connection, &format!(r#"{{ "content": {{ "title": "{number}" }} }}"#), None);
    }
    // An error that is none of a row, as far as the test host tells them apart.
    connection
        .execute("CREATE TRIGGER hold BEFORE DELETE ON upkeep_outbox BEGIN SELECT no_such_function(); END", [])
        .unwrap();
    let config = CONFIG.replace("\"batch\": 2", "\"batch\": 20");
    let error = host.run(upkeep_plugin::task::<Relay>(), &config).unwrap_err().to_string();
    assert!(error.contains("20 messages taken over, then: ") && error.contains("cannot be removed"), "{error}");
    let claimed = "SELECT count(*) AS count FROM upkeep_outbox WHERE claimed_by IS NOT NULL";
    let count = || connection.query(claimed, []).unwrap().next().unwrap().unwrap().get::<i64>("count").unwrap();
    assert_eq!((count(), host.messages().len()), (20, 20), "none is given back");
}

#[test]
fn what_the_outbox_may_have_is_not_given_back() {
    let host = Host::new().outbox();
    let connection = table();
    run(&host);
    let good = r#"{ "content": { "title": "good" } }"#;
    // The first was claimed by a run that was killed; the second cannot be marked.
    let text = "INSERT INTO upkeep_outbox (message, claimed_by, claimed_until) VALUES (?, ?, unixepoch() + 300)";
    connection.execute(text, parameters![good, owner()]).unwrap();
    insert(&connection, "Paid!", None);
    let hold =
        "CREATE TRIGGER hold BEFORE UPDATE OF refused ON upkeep_outbox BEGIN SELECT RAISE(ABORT, 'it is held'); END";
    connection.execute(hold, []).unwrap();
    let error = host.run(upkeep_plugin::task::<Relay>(), CONFIG).unwrap_err().to_string();
    assert!(error.contains("it is held"), "{error}");
    let rows = connection.query("SELECT claimed_by FROM upkeep_outbox ORDER BY id", []).unwrap();
    let claims: Vec<Option<String>> = rows.map(|row| row.unwrap().get("claimed_by").unwrap()).collect();
    assert_eq!(claims, [Some(owner()), None]);
}

#[test]
fn as_many_come_in_as_the_grant_lets_in() {
    let host = Host::new().outbox_of(3);
    let connection = table();
    for number in 1..=5 {
        insert(&connection, &format!(r#"{{ "content": {{ "title": "{number}" }} }}"#), None);
    }
    let config = CONFIG.replace("\"batch\": 2", "\"batch\": 500");
    let report = host.run(upkeep_plugin::task::<Relay>(), &config).unwrap();
    let more = "more wait for the next run: `grant.outbox.max_messages` is reached";
    assert_eq!(report.summary, format!("3 messages taken over; {more}"));
    let claimed = "SELECT count(*) AS count FROM upkeep_outbox WHERE claimed_by IS NOT NULL";
    let row = connection.query(claimed, []).unwrap().next().unwrap().unwrap();
    assert_eq!((titles(&host).len(), left(&connection).len(), row.get::<i64>("count").unwrap()), (3, 2, 0));
}

#[test]
fn what_is_no_text_is_one_rows_fault() {
    let host = Host::new().outbox();
    let connection = table_by_hand();
    let good = r#"{ "content": { "title": "good" } }"#;
    let text = "INSERT INTO upkeep_outbox (message, idempotency_key) VALUES (?, ?)";
    let long = "x".repeat(201);
    let rows: [[Value; 2]; 8] = [
        [Value::Blob(good.into()), Value::Null],
        [Value::Null, Value::Null],
        [7.into(), Value::Null],
        [good.into(), Value::Blob(vec![0xff])],
        [good.into(), long.as_str().into()],
        [good.into(), "a\nb".into()],
        [good.into(), "".into()],
        [good.into(), "".into()],
    ];
    for row in rows {
        connection.execute(text, row).unwrap();
    }
    connection.execute("INSERT INTO upkeep_outbox (message) VALUES (CAST(X'7bff7d' AS TEXT))", []).unwrap();
    assert_eq!(run(&host).summary, "2 messages taken over; 7 rows are no messages");
    let reasons: Vec<(i64, String)> = left(&connection).into_iter().map(|(id, why)| (id, why.unwrap())).collect();
    let said = |id: i64, why: &str| (id, why.to_owned());
    assert_eq!(
        reasons,
        [
            said(1, "`message` holds bytes that are no text"),
            said(2, "`message` is NULL"),
            said(3, "`message` holds a number"),
            said(4, "`idempotency_key` holds bytes that are no text"),
            said(5, "`idempotency_key` takes 201 characters, and 200 are allowed"),
            said(6, "`idempotency_key` holds a control character"),
            said(9, "`message` holds bytes that are no text"),
        ]
    );
}

#[test]
fn long_rows_are_not_read() {
    let host = Host::new().outbox();
    let connection = table();
    insert(&connection, &"x".repeat(1_000_000), None);
    insert(&connection, &"x".repeat(9 << 20), None);
    // Together more than a call takes; each as long as it may be.
    for number in 1..=400 {
        let message = format!(r#"{{ "content": {{ "title": "{number}", "text": "{}" }} }}"#, "x".repeat(60_000));
        insert(&connection, &message, Some(&"k".repeat(150).replacen("kkk", &format!("{number:03}"), 1)));
    }
    let config = CONFIG.replace("\"batch\": 2", "\"batch\": 1000");
    let report = host.run(upkeep_plugin::task::<Relay>(), &config).unwrap();
    assert_eq!(report.summary, "400 messages taken over; 2 rows are no messages");
    let detail = &report.findings[0].detail;
    for said in [
        "- id 1: `message` takes 1000000 bytes, and 65536 are allowed (grant.outbox.max_message)",
        "- id 2: `message` takes 9437184 bytes",
    ] {
        assert!(detail.contains(said), "{said}: {detail}");
    }
    assert_eq!(left(&connection)[1], (2, None), "SQLite would write the whole row");
}

#[test]
fn keys_of_200_characters_fit_whatever_the_table_is_called() {
    let host = Host::new().outbox();
    let connection = table();
    let (one, other) = ("订".repeat(200), format!("{}单", "订".repeat(199)));
    let good = r#"{ "content": { "title": "good" } }"#;
    [&one, &other, &one].into_iter().for_each(|key| insert(&connection, good, Some(key)));
    assert_eq!(run(&host).summary, "2 messages taken over; 1 was in the outbox before");
    assert!(host.messages().iter().all(|it| it.key.as_ref().unwrap().len() <= 255));
}

#[test]
fn what_is_too_late_goes_away() {
    let host = Host::new().outbox();
    let connection = table();
    insert(&connection, r#"{ "expires": 1000, "content": { "title": "late" } }"#, None);
    insert(&connection, r#"{ "expires": 3000, "content": { "title": "in time" } }"#, None);
    let at = Context { now: 2_000, ..host.context() };
    let report = host.run_in(&at, upkeep_plugin::task::<Relay>(), CONFIG).unwrap();
    assert_eq!(
        (report.summary.as_str(), report.findings.len()),
        ("1 message taken over; 1 expired before it was taken over", 0)
    );
    assert_eq!((titles(&host), left(&connection)), (vec!["in time".to_owned()], vec![]));
    let told = "info: a message expired before it was taken over table=private.upkeep_outbox id=1";
    assert!(host.log().iter().any(|it| it.to_string() == told), "{:?}", host.log());
}

#[test]
fn a_state_of_another_server_gives_no_name() {
    let host = Host::new().outbox();
    table();
    run(&host);
    let here = owner();
    run(&host);
    assert_eq!(owner(), here);
    let there = Context { host: "web-2".to_owned(), ..host.context() };
    host.run_in(&there, upkeep_plugin::task::<Relay>(), CONFIG).unwrap();
    assert!(owner().starts_with("web-2/"), "{}", owner());
}

#[test]
fn rows_of_others_are_theirs_until_the_lease_ends() {
    let host = Host::new().outbox();
    let connection = table();
    for until in [60, -1] {
        let text = format!(
            "INSERT INTO upkeep_outbox (message, claimed_by, claimed_until) VALUES (?, 'web-2/relay/1', unixepoch() + {until})"
        );
        connection.execute(&text, parameters![r#"{ "content": { "title": "x" } }"#]).unwrap();
    }
    assert_eq!(run(&host).summary, "1 message taken over");
    assert_eq!(left(&connection), [(1, None)]);
}

#[test]
fn rows_that_are_no_messages_stay_and_hold_up_nothing() {
    let host = Host::new().outbox();
    let connection = table();
    insert(&connection, "Paid!", None);
    insert(&connection, r#"{ "content": { "titel": "x" } }"#, None);
    insert(&connection, r#"{ "channels": [], "content": { "title": "nobody hears it" } }"#, None);
    insert(&connection, r#"{ "content": { "title": "good" } }"#, Some("k"));
    insert(&connection, r#"{ "content": { "title": "another" } }"#, Some("k"));
    insert(&connection, r#"{ "content": { "title": "last" } }"#, None);
    let report = run(&host);
    assert_eq!(report.summary, "2 messages taken over; 4 rows are no messages");
    let titles: Vec<String> = host.messages().iter().map(|it| it.content.title.clone()).collect();
    assert_eq!(titles, ["good", "last"]);
    assert_eq!(left(&connection).iter().map(|it| it.0).collect::<Vec<_>>(), [1, 2, 3, 5]);
    let finding = &report.findings[0];
    assert_eq!(
        (finding.key.as_str(), finding.title.as_str()),
        ("refused/private.upkeep_outbox", "4 rows in private.upkeep_outbox cannot be sent")
    );
    for said in [
        "- id 1: `message` is no message: expected value",
        "- id 2: `message` is no message: unknown field `titel`",
        "- id 3: it names no channel",
        "- id 5: another message with this idempotency key",
    ] {
        assert!(finding.detail.contains(said), "{said}: {}", finding.detail);
    }
    // Corrected, it goes.
    connection
        .execute(
            "UPDATE upkeep_outbox SET message = ?, refused = NULL WHERE id = 1",
            parameters![r#"{ "content": { "title": "Paid!" } }"#],
        )
        .unwrap();
    assert_eq!(run(&host).summary, "1 message taken over; 3 rows are no messages");
}

#[test]
fn mistakes_are_told() {
    let host = Host::new().outbox();
    let refused = |config: &str| host.run(upkeep_plugin::task::<Relay>(), config).unwrap_err().to_string();
    assert!(refused(r#"{ "tables": [] }"#).contains("names no table"));
    let one = |rest: &str| refused(&format!(r#"{{ "tables": [{{ "database": "private"{rest} }}] }}"#));
    assert!(one(r#", "table": "a; DROP TABLE b""#).contains("is no name of a table"));
    assert!(one(r#", "table": "a.b.c""#).contains("is no name of a table"));
    assert!(one(r#", "batch": 0"#).contains("`batch` is 1 to 1000"));
    assert!(one(r#", "lease": "1s""#).contains("`lease` is"));
    assert!(one(r#" }, { "database": "private""#).contains("named twice"));
    let missing = one("");
    assert!(
        missing.contains("`private.upkeep_outbox` in [[config.tables]]") && missing.contains("no such table"),
        "{missing}"
    );
    table();
    let same = refused(
        r#"{ "tables": [{ "database": "private" }, { "database": "private", "table": "main.Upkeep_outbox" }] }"#,
    );
    assert!(
        same.contains(
            "`private.upkeep_outbox` and `private.main.Upkeep_outbox` in [[config.tables]] are the same table"
        ),
        "{same}"
    );
}

#[test]
fn a_message_is_an_object() {
    let host = Host::new().outbox();
    let connection = table();
    insert(&connection, r#"[["mail"], "high", null, null, ["listed"]]"#, None);
    insert(&connection, r#"{ "content": ["listed"] }"#, None);
    let report = run(&host);
    assert_eq!(report.summary, "0 messages taken over; 2 rows are no messages");
    assert_eq!(report.findings[0].detail.matches("invalid type: sequence, expected an object").count(), 2);
    connection.execute("DELETE FROM upkeep_outbox WHERE id = 1", []).unwrap();
    assert_eq!(run(&host).summary, "0 messages taken over; 1 row is no message");
}
