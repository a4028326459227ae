//! Rows of databases, in the test host, whose tables hold times in milliseconds.

use upkeep_plugin::purge::{self, Done as Purged, Estimate, Maintained, Maintenance, Saved, Way};
use upkeep_plugin::repository::{Content, Summary};
use upkeep_plugin::sql::Value as Cell;
use upkeep_plugin::{Error, Outcome};

use super::*;
use crate::rows::{Care, Done, Planned};
use crate::{Done as Did, Work};

/// Rows of these ages in days; every other one is of the channel `sms`.
fn rows(days: impl IntoIterator<Item = i64>) -> Vec<[(&'static str, Cell); 2]> {
    let at = |days: i64| NOW as i64 * 1_000 - days * 86_400_000;
    let channel = |number: usize| if number.is_multiple_of(2) { "sms" } else { "mail" };
    let rows = days.into_iter().enumerate();
    rows.map(|(number, days)| [("sent_at", at(days).into()), ("channel", channel(number).into())]).collect()
}

fn site() -> Site {
    let Site { folder, .. } = Site::new();
    let host = Host::new().root("data", folder.path());
    let host = host.table("app", "sessions", rows(0..50)).table("app", "codes", rows(0..10));
    Site { host: host.table("shop", "public.carts", rows(0..3)), folder }
}

/// The rules with what each needs.
fn config(rules: &[Value]) -> Value {
    let rules = rules.iter().map(|rule| {
        let mut rule = rule.clone();
        let keys = rule.as_object_mut().unwrap();
        for (key, usual) in [
            ("name", "sessions"),
            ("database", "app"),
            ("table", "sessions"),
            ("column", "sent_at"),
            ("older_than", "30d"),
        ] {
            keys.entry(key).or_insert(json!(usual));
        }
        rule
    });
    json!({ "rows": rules.collect::<Vec<_>>() })
}

fn planned(site: &Site, rule: Value) -> Planned {
    let step = site.plan_all(&config(&[rule])).unwrap().remove(0);
    let Work::Rows(planned) = step.input else { panic!("{step:?}") };
    planned
}

fn report(site: &Site, planned: Planned, output: Result<Done, String>) -> Report {
    let settings: Cleanup = serde_json::from_value(config(&[json!({})])).unwrap();
    let outcome = Outcome { step: Step::new("rows/app", Work::Rows(planned)), output: output.map(Did::Rows) };
    settings.finish(&site.context(), vec![outcome]).unwrap()
}

#[test]
fn a_plan_counts_by_databases_and_changes_nothing() {
    let site = site();
    let rules = [
        json!({}),
        json!({ "name": "carts", "database": "shop", "table": "public.carts", "older_than": "90d" }),
        json!({ "name": "codes by text message", "table": "codes", "older_than": "5d", "where": { "channel": "sms" } }),
    ];
    let steps = site.plan_all(&config(&rules)).unwrap();
    let told: Vec<_> = steps.iter().map(|it| (it.id.as_str(), it.weight, it.title.as_str())).collect();
    // Ages are whole days, and what is just as old as the limit stays.
    let app = "sessions of app: remove 19 of 50 rows older than 30d; codes by text message of app: remove 2 of 10 rows older \
               than 5d";
    let shop = "carts of shop: remove none of 3 rows, as none is older than 90d";
    assert_eq!(told, [("rows/app", 21, app), ("rows/shop", 1, shop)]);
    assert_eq!(site.host.rows("app", "sessions").len(), 50);
}

#[test]
fn the_host_is_asked_as_the_rule_says() {
    let site = site();
    let rule = json!({
        "stored_as": "unix-milliseconds", "older_than": "1d", "where": { "a": 1, "b": "x", "c": true, "d": 0.5 },
    });
    let asked = |planned: &Planned| serde_json::to_value(planned).unwrap()["rules"][0]["selection"].clone();
    let selection = asked(&planned(&site, rule));
    assert_eq!(selection["before"], json!((NOW as i64 - 86_400) * 1_000));
    assert_eq!((&selection["timezone"], &selection["clock"]), (&json!("Asia/Shanghai"), &json!("UnixMilliseconds")));
    let equal = json!([
        ["a", { "Integer": 1 }], ["b", { "Text": "x" }], ["c", { "Integer": 1 }], ["d", { "Real": 0.5 }],
    ]);
    assert_eq!(selection["equal"], equal);
    let selection = asked(&planned(&site, json!({ "timezone": "UTC" })));
    assert_eq!((&selection["timezone"], &selection["clock"]), (&json!("UTC"), &Value::Null));
    // What a step needs survives the way to it.
    let planned = planned(&site, json!({ "chunk_ms": 5, "where": { "channel": "sms" } }));
    let again: Planned = serde_json::from_str(&serde_json::to_string(&planned).unwrap()).unwrap();
    assert_eq!(again, planned);
}

#[test]
fn a_run_removes_what_was_counted_and_gives_the_room_back() {
    let site = site();
    let rules = [
        json!({ "vacuum": true, "optimize": true }),
        json!({ "name": "codes", "table": "codes", "vacuum": true }),
        json!({ "name": "mails", "table": "codes", "older_than": "5d", "where": { "channel": "mail" } }),
    ];
    let report = site.run_all(&config(&rules));
    assert_eq!((site.host.rows("app", "sessions").len(), site.host.rows("app", "codes").len()), (31, 8));
    assert_eq!(report.summary, "21 rows removed; 1.86 KiB freed");
    let titles: Vec<_> = report.tables.iter().map(|it| it.title.as_str()).collect();
    assert_eq!(titles, ["Rows", "Databases"]);
    let told = [
        ["app", "sessions", "19", "19", "-", "-", "0ms"],
        ["app", "codes", "-", "-", "-", "-", "-"],
        ["app", "mails", "2", "2", "-", "-", "0ms"],
    ];
    assert_eq!(report.tables[0].rows, told);
    // No rows went by the rule that wants a vacuum of `codes`.
    let care = [
        ["app", "sessions", "vacuum", "4.88 KiB", "3.03 KiB", "0ms"],
        ["app", "sessions", "optimize", "3.03 KiB", "3.03 KiB", "0ms"],
    ];
    assert_eq!(report.tables[1].rows, care);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let metric = |name: &str| {
        let all = site.host.metrics();
        let metric = all.iter().find(|it| it.name == name).unwrap();
        (metric.value as u64, metric.labels.clone())
    };
    let labels = [("database", "app"), ("rule", "sessions")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(metric("cleanup_planned_rows"), (19, labels.to_vec()));
    assert_eq!(metric("cleanup_removed_rows").0, 19);
    assert_eq!(metric("cleanup_longest_transaction_seconds").0, 0);
}

#[test]
fn what_blocks_rows_is_a_finding_and_no_failure() {
    for (cause, key) in [(Cause::Ceiling, "ceiling/app/sessions"), (Cause::Backup, "backup/app/sessions")] {
        let Site { host, folder } = site();
        let host = host.block(Block { cause, message: "19 rows would go, 10 may: raise `max_rows`".to_owned() });
        let site = Site { host, folder };
        let title = site.plan_all(&config(&[json!({})])).unwrap()[0].title.clone();
        assert!(title.ends_with("older than 30d; blocked: 19 rows would go, 10 may: raise `max_rows`"), "{title}");
        let report = site.run_all(&config(&[json!({})]));
        let finding = &report.findings[0];
        assert_eq!((report.findings.len(), finding.key.as_str(), finding.severity), (1, key, Severity::High));
        assert!(finding.title.starts_with("nothing was removed from sessions of app: "), "{}", finding.title);
        assert!(finding.detail.ends_with("\nPlanned was: remove 19 of 50 rows older than 30d."), "{}", finding.detail);
        assert_eq!(report.summary, "nothing removed from sessions of app");
        assert_eq!(report.tables[0].rows, [["app", "sessions", "19", "nothing", "all", "-", "-"]]);
        assert_eq!(site.host.rows("app", "sessions").len(), 50);
    }
}

#[test]
fn nothing_goes_that_cannot_be_saved() {
    let site = site();
    let rules = config(&[json!({ "export": "main" })]);
    let title = site.plan_all(&rules).unwrap()[0].title.clone();
    assert_eq!(title, "sessions of app: export 19 of 50 rows older than 30d to main, and remove them");
    // The test host has no repositories.
    let failed = site.host.run_in(&site.context(), task::<Cleanup>(), &rules.to_string());
    assert!(matches!(&failed, Err(Error::Transient(why)) if why.contains("repository")), "{failed:?}");
    assert_eq!(site.host.rows("app", "sessions").len(), 50);
}

#[test]
fn exports_and_what_stayed_are_told() {
    let site = site();
    let summary = Summary {
        snapshot: "1a2b3c4d5e6f".to_owned(),
        parent: None,
        files: 1,
        files_new: 1,
        files_changed: 0,
        files_unmodified: 0,
        files_removed: None,
        bytes: 1 << 30,
        bytes_read: 1 << 30,
        content: Content { sampled: 1, opaque: 0, entropy: 5.0 },
        bytes_added: 1 << 27,
        duration_ms: 9_000,
        opening_ms: 10,
        reading_ms: 8_000,
        problems: Vec::new(),
    };
    let purged = Purged {
        removed: 4_000_000,
        chunks: 800,
        longest_ms: 31,
        duration_ms: 60_000,
        way: Way::TimeIndex,
        saved: Some(Saved { summary, path: "/app/sessions.jsonl".to_owned(), rows: 4_000_009 }),
        kept: 9,
        stopped: Some("rows of `orders` refer to them; remove those first".to_owned()),
    };
    let care = Care {
        kind: Maintenance::Vacuum,
        table: None,
        maintained: Maintained { bytes_before: 5 << 30, bytes_after: 1 << 30, duration_ms: 90_000 },
    };
    let done = Done { outcomes: vec![Some(purge::Outcome::Done(purged))], care: vec![care] };
    let report = report(&site, planned(&site, json!({ "export": "main" })), Ok(done));
    assert_eq!(report.summary, "4,000,000 rows removed; 4.00 GiB freed");
    let row = ["app", "sessions", "19", "4,000,000", "9 changed or held", "1a2b3c4d", "31ms"];
    assert_eq!(report.tables[0].rows, [row]);
    assert_eq!(report.tables[1].rows, [["app", "all", "vacuum", "5.00 GiB", "1.00 GiB", "1m 30s"]]);
    let finding = &report.findings[0];
    assert_eq!((finding.key.as_str(), finding.severity), ("stopped/app/sessions", Severity::Medium));
    assert_eq!(finding.title, "only 4,000,000 rows of sessions of app went");
    assert!(finding.detail.contains("remove those first"));
}

#[test]
fn estimates_are_told_as_such_and_a_database_that_is_away_fails_alone() {
    let site = site();
    site.file("old", 48, 10);
    let mut about = planned(&site, json!({}));
    let estimate: Estimate = about.rules[0].estimate.clone().unwrap();
    about.rules[0].estimate = Ok(Estimate { rows_counted: false, total_counted: false, ..estimate });
    let title = crate::report::rows::title(&about);
    assert_eq!(title, "sessions of app: remove about 19 of about 50 rows older than 30d");
    about.rules[0].estimate = Err("no answer from 10.0.0.7".to_owned());
    assert_eq!(crate::report::rows::title(&about), "sessions of app: cannot be counted: no answer from 10.0.0.7");
    // What was not counted does not go, although it could by now.
    let failed = crate::rows::carry_out(&about).unwrap_err();
    assert!(matches!(&failed, Error::Transient(why) if why.contains("`sessions`") && why.contains("10.0.0.7")));
    assert_eq!(site.host.rows("app", "sessions").len(), 50);
    let report = report(&site, about, Err(failed.to_string()));
    let finding = &report.findings[0];
    assert_eq!((finding.key.as_str(), finding.severity), ("failed/rows/app", Severity::Medium));
    assert_eq!(report.tables[0].rows, [["app", "sessions", "-", "-", "-", "-", "-"]]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let site = site();
    for (rule, expected) in [
        (json!({ "older_than": "0s" }), "rule `sessions`: `older_than` has to be more than 0"),
        (json!({ "name": "" }), "`name` has 1 to 64 characters"),
        (json!({ "table": "session" }), "no table `app.session`"),
    ] {
        let told = site.plan_all(&config(&[rule])).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }
    let twice = site.plan_all(&config(&[json!({}), json!({})])).unwrap_err().to_string();
    assert!(twice.contains("two rules have the name `sessions`"), "{twice}");
    let mut both = config(&[json!({})]);
    both["rule"] = json!([{ "name": "sessions", "root": "data", "age": { "older_than": "1d" } }]);
    assert!(site.plan_all(&both).unwrap_err().to_string().contains("two rules have the name"));
    for unknown in [json!({ "stored_as": "julian" }), json!({ "where": { "a": [1] } }), json!({ "analyse": true })] {
        assert!(serde_json::from_value::<Cleanup>(config(&[unknown])).is_err());
    }
}

#[test]
fn files_journal_and_rows_are_cleaned_up_in_one_run() {
    let Site { host, folder } = site();
    let site = Site { host: host.journal([]), folder };
    site.file("old", 48, 10);
    let mut all = config(&[json!({})]);
    all["rule"] = json!([{ "name": "old", "root": "data", "age": { "older_than": "1d" } }]);
    all["journal"] = json!({ "max_total": "1 GiB" });
    let report = site.run_all(&all);
    assert_eq!(report.summary, "1 file removed; 19 rows removed; 10 B freed");
    let titles: Vec<_> = report.tables.iter().map(|it| it.title.as_str()).collect();
    assert_eq!(titles, ["Folders", "Rules", "Rows"]);
}
