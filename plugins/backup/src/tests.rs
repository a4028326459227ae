//! The repository needs the real host, so these look at what surrounds it; `tests/tests/backup.rs` has the whole.

use upkeep_plugin::repository::{Content, Summary};
use upkeep_plugin::test::Host;
use upkeep_plugin::{Outcome, Report, Severity, Step, Task};

use crate::{Backup, Saved, Source};

const CONFIG: &str = r#"{
    "repository": "main",
    "directories": [{ "root": "uploads", "exclude": ["*.tmp"], "max_size": "2 GiB" }],
    "databases": ["app"],
    "tags": ["nightly"]
}"#;

fn backup(config: &str) -> Backup {
    serde_json::from_str(config).unwrap()
}

/// A host with the directory of [`CONFIG`]; it lives as long as the folder.
fn host() -> (Host, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Host::new().root("uploads", folder.path()), folder)
}

fn saved(files: u64, bytes: u64, problems: usize) -> Saved {
    let summary = Summary {
        snapshot: "0123456789abcdef".to_owned(),
        parent: Some("fedcba9876543210".to_owned()),
        files,
        files_new: files,
        files_changed: 0,
        files_unmodified: 0,
        files_removed: None,
        bytes_read: bytes,
        content: Content { sampled: 0, opaque: 0, entropy: 0.0 },
        bytes,
        bytes_added: bytes / 2,
        duration_ms: 1_250,
        opening_ms: 200,
        reading_ms: 950,
        problems: (0..problems).map(|n| format!("secret-{n}: permission denied")).collect(),
    };
    Saved { summary, empty: vec![], anomalies: vec![], was_held: false }
}

/// The report of a run in which the directory and the database came out so.
fn finish(host: &Host, directory: Result<Saved, String>, database: Result<Saved, String>) -> Report {
    let outcome = |source: Source, output| Outcome { step: Step::new(source.key(), source), output };
    let outcomes = vec![
        outcome(Source::Directory("uploads".to_owned()), directory),
        outcome(Source::Database("app".to_owned()), database),
    ];
    backup(CONFIG).finish(&host.context(), outcomes).unwrap()
}

#[test]
fn plans_a_step_for_each_source_weighed_by_the_last_run() {
    let (host, _folder) = host();
    let plan = || backup(CONFIG).plan(&host.context()).unwrap();
    let seen: Vec<_> = plan().into_iter().map(|it| (it.id, it.title, it.weight)).collect();
    let step = |id: &str, title: &str, weight| (id.to_owned(), title.to_owned(), weight);
    assert_eq!(
        seen,
        [step("directory/uploads", "save the directory uploads", 1), step("database/app", "save the database app", 1)]
    );
    finish(&host, Ok(saved(3, 5_000, 0)), Ok(saved(1, 70, 0)));
    assert_eq!(plan().iter().map(|it| it.weight).collect::<Vec<_>>(), [5_000, 70]);
}

#[test]
fn refuses_what_makes_no_sense() {
    let (host, _folder) = host();
    let refused = |config: &str| backup(config).plan(&host.context()).unwrap_err().to_string();
    let nothing = refused(r#"{ "repository": "main" }"#);
    assert!(nothing.contains("nothing to save") && nothing.contains("[[config.directories]]"), "{nothing}");
    let twice = refused(r#"{ "repository": "main", "databases": ["app", "app"] }"#);
    assert!(twice.contains("`app` is named twice"), "{twice}");
    let ungranted = refused(r#"{ "repository": "main", "directories": [{ "root": "other" }] }"#);
    assert!(ungranted.contains("other"), "{ungranted}");
    for wrong in [
        r#"{}"#,
        r#"{ "repository": "main", "directory": [] }"#,
        r#"{ "repository": "main", "directories": [{ "root": "a", "max_size": "big" }] }"#,
    ] {
        assert!(serde_json::from_str::<Backup>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn sums_up_what_was_saved() {
    let (host, _folder) = host();
    let report = finish(&host, Ok(saved(1_200, 3 << 20, 0)), Ok(saved(1, 40_960, 0)));
    assert_eq!(report.summary, "2 sources saved: 1201 files, 3.04 MiB, 1.52 MiB added");
    assert_eq!(report.findings, []);
    let row = ["uploads", "1200", "1200", "0", "3.00 MiB", "1.50 MiB", "1.2 s", "01234567"];
    assert_eq!(report.tables[0].rows[0], row);
    let times = ["uploads", "0.2 s", "0.9 s", "0.1 s", "3.00 MiB", "1.50 MiB", "50 %"];
    assert_eq!(report.tables[1].rows[0], times);
    assert_eq!(host.metrics().len(), 8);
    let bytes = host.metrics().into_iter().find(|it| it.name == "backup_bytes").unwrap();
    assert_eq!((bytes.value, &bytes.labels[0].1[..]), (3_145_728.0, "directory/uploads"));
}

#[test]
fn tells_what_could_not_be_read_and_what_failed() {
    let (host, _folder) = host();
    let report = finish(&host, Ok(saved(10, 100, 30)), Err("the database is damaged".to_owned()));
    assert_eq!(report.summary, "1 of 2 sources saved: 10 files, 100 B, 50 B added; 30 paths not read in full");
    let found: Vec<_> = report.findings.iter().map(|it| (&it.key[..], it.severity)).collect();
    assert_eq!(found, [("unreadable/directory/uploads", Severity::Medium), ("failed/database/app", Severity::High)]);
    assert!(report.findings[0].detail.contains("secret-19: permission denied\nand 10 more\n"));
    assert_eq!(report.findings[1].detail, "the database is damaged");
}

#[test]
fn a_copy_that_failed_is_told_apart_from_a_source_that_was_not_saved() {
    let (host, _folder) = host();
    let why = "it is saved as 01234567, but not copied to `offsite`: no connection";
    let report = finish(&host, Ok(saved(10, 100, 0)), Err(why.to_owned()));
    assert_eq!(report.tables[0].rows[1][7], "01234567");
    let found: Vec<_> = report.findings.iter().map(|it| (&it.key[..], &it.title[..])).collect();
    assert_eq!(found, [("uncopied/database/app", "app was saved, but not copied")]);
    assert!(report.findings[0].detail.contains("`offsite`: no connection"));
    let config = r#"{ "repository": "main", "copies": ["main"], "databases": ["app"] }"#;
    assert!(backup(config).plan(&host.context()).unwrap_err().to_string().contains("another one under `copies`"));
}

#[test]
fn notices_a_source_that_is_or_has_become_empty() {
    let (host, _folder) = host();
    let found =
        |report: Report| report.findings.into_iter().map(|it| (it.key, it.title, it.detail)).collect::<Vec<_>>();
    let first = found(finish(&host, Ok(saved(0, 0, 0)), Ok(saved(1, 4_096, 0))));
    assert_eq!((first.len(), &first[0].0[..], &first[0].1[..]), (1, "empty/directory/uploads", "uploads is empty"));

    assert_eq!(found(finish(&host, Ok(saved(7, 900, 0)), Ok(saved(1, 4_096, 0)))), []);
    // It stays one finding, which still knows what there once was.
    for _ in 0..2 {
        let gone = found(finish(&host, Ok(saved(0, 0, 0)), Ok(saved(1, 0, 0))));
        assert_eq!((&gone[0].1[..], &gone[1].1[..]), ("uploads has become empty", "app has become empty"));
        assert!(gone[0].2.contains("7 files, 900 B"), "{}", gone[0].2);
    }
    // Files without content are no loss where there never was any.
    let (host, _folder) = self::host();
    assert_eq!(found(finish(&host, Ok(saved(2, 0, 0)), Ok(saved(1, 4_096, 0)))), []);
}

#[test]
fn notices_an_empty_database_of_a_server() {
    let (host, _folder) = host();
    let finish = |bytes, empty: &[&str]| {
        let source = Source::Database("shop".to_owned());
        let empty = empty.iter().map(ToString::to_string).collect();
        let output = Ok(Saved { empty, ..saved(3, bytes, 0) });
        let outcomes = vec![Outcome { step: Step::new(source.key(), source), output }];
        let config = r#"{ "repository": "main", "databases": ["shop"] }"#;
        let report = backup(config).finish(&host.context(), outcomes).unwrap();
        report.findings.into_iter().map(|it| (it.key, it.title, it.detail)).collect::<Vec<_>>()
    };
    let fresh = finish(2_000, &["orders"]);
    assert_eq!((&fresh[0].0[..], &fresh[0].1[..]), ("empty/database/shop", "orders of shop is empty"));
    assert_eq!(finish(900_000, &[]), []);
    for _ in 0..2 {
        let gone = finish(2_000, &["orders", "users"]);
        assert_eq!(gone[0].1, "orders, users of shop has become empty");
        assert!(gone[0].2.contains("879 KiB"), "{}", gone[0].2);
    }
}

#[test]
fn forgets_a_source_that_is_no_longer_named() {
    let (host, _folder) = host();
    finish(&host, Ok(saved(7, 900, 0)), Ok(saved(1, 4_096, 0)));
    let state = |kind: &str| upkeep_plugin::state::keys(kind).unwrap();
    assert_eq!(state("last/"), ["last/database/app", "last/directory/uploads"]);
    assert_eq!(state("history/"), ["history/database/app", "history/directory/uploads"]);
    let only = Source::Database("app".to_owned());
    let outcome = Outcome { step: Step::new(only.key(), only), output: Err("locked".to_owned()) };
    backup(r#"{ "repository": "main", "databases": ["app"] }"#).finish(&host.context(), vec![outcome]).unwrap();
    assert_eq!(state(""), ["history/database/app", "last/database/app"], "what failed is not forgotten");
}

#[test]
fn tells_what_is_unusual_and_does_not_take_it_for_usual() {
    let (host, _folder) = host();
    let jump = || Saved {
        anomalies: vec!["812 of 1000 files are gone (81 %; usually up to 2.0 %)".to_owned()],
        ..saved(188, 900, 0)
    };
    let report = finish(&host, Ok(jump()), Ok(saved(1, 4_096, 0)));
    let found = &report.findings[0];
    assert_eq!((&found.key[..], found.severity), ("anomaly/directory/uploads", Severity::High));
    assert_eq!(found.title, "uploads has changed in an unusual way");
    for word in [
        "812 of 1000",
        "snapshot 01234567",
        "`main`",
        "upkeep backup diff fedcba98 01234567",
        "upkeep backup release test",
    ] {
        assert!(found.detail.contains(word), "{word}: {}", found.detail);
    }
    let history: serde_json::Value = upkeep_plugin::state::get("history/directory/uploads").unwrap().unwrap();
    assert_eq!((history["runs"].as_array().unwrap().len(), &history["held"]["files"]), (0, &188.into()));
    // Released.
    finish(&host, Ok(saved(188, 900, 0)), Ok(saved(1, 4_096, 0)));
    let history: serde_json::Value = upkeep_plugin::state::get("history/directory/uploads").unwrap().unwrap();
    assert_eq!((history["runs"].as_array().unwrap().len(), &history["held"]), (2, &serde_json::Value::Null));

    let wrong = r#"{ "repository": "main", "databases": ["app"], "anomaly_of": { "directory/app": {} } }"#;
    let refused = backup(wrong).plan(&host.context()).unwrap_err().to_string();
    assert!(refused.contains("directory/app") && refused.contains("there are database/app"), "{refused}");
}
