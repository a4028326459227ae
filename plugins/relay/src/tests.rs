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
    let begin = text.find("-- SQLite\n").expect("the statement for SQLite");
    let statement = &text[begin..begin + text[begin..].find(';').expect("its end")];
    let connection = Connection::open("private").unwrap();
    connection.execute(statement, []).unwrap();
    connection
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
        (&["wecom".to_owned()][..], Some("private.upkeep_outbox/2"))
    );
    assert_eq!(run(&host).summary, "0 messages taken over");
}

#[test]
fn what_was_enqueued_before_a_crash_is_not_enqueued_again() {
    let host = Host::new().outbox();
    let connection = table();
    insert(&connection, r#"{ "content": { "title": "once" } }"#, None);
    run(&host);
    // The row is still there, and claimed: as if the commit that removes it had not come.
    let owner: String = state::get(OWNER).unwrap().unwrap();
    let values = parameters![r#"{ "content": { "title": "once" } }"#, owner];
    let text = "INSERT INTO upkeep_outbox (id, message, claimed_by, claimed_until) VALUES (1, ?, ?, unixepoch() + 300)";
    connection.execute(text, values).unwrap();
    assert_eq!(run(&host).summary, "1 message taken over");
    assert_eq!((host.messages().len(), left(&connection)), (1, vec![]));
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
}
