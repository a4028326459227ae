//! Restoring needs the real host, so these look at what surrounds it; `tests/tests/drill.rs` has the whole.

use upkeep_plugin::Severity;
use upkeep_plugin::test::Host;

use super::*;

const CONFIG: &str = r#"{
    "repository": "main",
    "task": "app",
    "max_age": "26h",
    "files": [{ "path": "/srv/app/", "min_files": 3, "exists": ["/srv/app/a"] }],
    "databases": [
        { "sqlite": "/srv/app/app.db", "queries": [{ "sql": "SELECT count(*) FROM orders", "at_least": 1 }] },
        { "dump": "main", "database": "shop" }
    ]
}"#;

fn task(config: &str) -> RestoreDrill {
    serde_json::from_str(config).unwrap()
}

fn snapshot(id: &str, time: i64, task: &str, path: &str) -> Snapshot {
    Snapshot {
        id: id.to_owned(),
        time,
        utc_offset: 0,
        host: "server".to_owned(),
        paths: vec![path.to_owned()],
        tags: vec![format!("upkeep:{task}")],
        summary: None,
    }
}

fn drilled(passed: bool) -> Drilled {
    Drilled {
        run: "00000000000000000000000000".to_owned(),
        snapshot: "0123abcd".to_owned(),
        age: Some(5 * 3_600_000),
        files: 10,
        bytes: 3 << 20,
        duration: Some(4_200),
        checks: vec![
            Check::new("as-saved", "everything is as it was saved", "it is", true),
            Check::new("min-files", "at least 3 files", "10", passed),
        ],
    }
}

#[test]
fn sources_have_stable_keys_and_mistakes_are_told() {
    let keys: Vec<_> = task(CONFIG).sources().unwrap().iter().map(Source::key).collect();
    assert_eq!(keys, ["files/srv/app", "database/srv/app/app.db", "database/main/shop"]);
    let refused = |config: &str| task(config).sources().unwrap_err().to_string();
    for (config, words) in [
        (r#"{ "repository": "m", "task": "t" }"#, "nothing to restore"),
        (r#"{ "repository": "m", "task": "t", "files": [{ "path": "app" }] }"#, "not absolute"),
        (r#"{ "repository": "m", "task": "t", "files": [{ "path": "/" }] }"#, "not absolute"),
        (r#"{ "repository": "m", "task": "t", "files": [{ "path": "/a" }, { "path": "/a/" }] }"#, "named twice"),
        (
            r#"{ "repository": "m", "task": "t", "files": [{ "path": "/a", "checksums": { "/a/b": "12" } }] }"#,
            "sha256sum",
        ),
        (r#"{ "repository": "m", "task": "t", "databases": [{}] }"#, "either `sqlite"),
        (
            r#"{ "repository": "m", "task": "t", "databases": [{ "dump": "d", "queries": [{ "sql": "SELECT 1" }] }] }"#,
            "`SELECT 1` says not",
        ),
    ] {
        assert!(refused(config).contains(words), "{config}: {}", refused(config));
    }
    for wrong in [
        r#"{ "repository": "m" }"#,
        r#"{ "repository": "m", "task": "t", "max_age": "soon" }"#,
        r#"{ "repository": "m", "task": "t", "file": [] }"#,
    ] {
        assert!(serde_json::from_str::<RestoreDrill>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_newest_of_the_task_is_taken_and_that_of_the_source_itself_first() {
    let snapshots = [
        snapshot("1", 1, "app", "/srv/app/app.db"),
        snapshot("2", 2, "app", "/srv/app"),
        snapshot("3", 3, "other", "/srv/app"),
        snapshot("4", 4, "app", "/srv/application"),
    ];
    let task = task(CONFIG);
    let newest = |path: &str| task.newest(&snapshots, path).map(|it| it.id.as_str());
    assert_eq!(newest("/srv/app"), Some("2"));
    assert_eq!(newest("/srv/app/app.db"), Some("1"));
    assert_eq!(newest("/srv/app/other.db"), Some("2"));
    assert_eq!(newest("/srv/appl"), None);
    assert_eq!(newest("/srv"), None);
}

#[test]
fn what_failed_is_told_and_remembered() {
    let host = Host::new();
    let (task, ctx) = (task(CONFIG), host.context());
    let sources = task.sources().unwrap();
    state::put(&shown_key(&sources[1]), &drilled(false)).unwrap();
    let outcome = |source: &Source, output| Outcome { step: Step::new(source.key(), source.clone()), output };
    let outcomes = vec![
        outcome(&sources[0], Ok(drilled(true))),
        outcome(&sources[1], Err("an assertion failed".to_owned())),
        outcome(&sources[2], Err("the run was ended".to_owned())),
    ];
    let report = task.finish(&ctx, outcomes).unwrap();
    assert_eq!(report.summary, "1 of 3 sources passed: 6.00 MiB in 8.4s; the oldest snapshot was 5h old");
    let found: Vec<_> = report.findings.iter().map(|it| (&it.key[..], it.severity)).collect();
    assert_eq!(
        found,
        [("drill/database/srv/app/app.db/min-files", Severity::High), ("drill/database/main/shop", Severity::High)]
    );
    assert!(report.findings[0].detail.starts_with("Expected: at least 3 files\nFound:    10\n"));
    assert_eq!(report.tables[1].rows[0][1..], ["1 of 3", "5h", "6.00 MiB", "8.4s", "/srv/app/app.db, main/shop"]);
    assert_eq!(state::keys("").unwrap(), [TREND], "what was left is taken away");

    // The trend grows, newest first, and not for ever.
    for _ in 0..MOST_PAST + 5 {
        task.finish(&ctx, vec![outcome(&sources[0], Ok(drilled(true)))]).unwrap();
    }
    assert_eq!(state::get::<Vec<Past>>(TREND).unwrap().unwrap().len(), MOST_PAST);
    let seconds = host.metrics().into_iter().find(|it| it.name == "restore_drill_seconds").unwrap();
    assert_eq!((seconds.value, &seconds.labels[0].1[..]), (4.2, "files/srv/app"));
}
