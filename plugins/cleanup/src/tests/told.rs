//! Errors of the configuration, titles, reports, metrics.

use upkeep_plugin::removal::{self, Total};

use super::*;
use crate::files::{self, Planned};
use crate::{Done, Work};

#[test]
fn what_makes_no_sense_is_refused_by_rule_and_key() {
    let site = Site::new();
    for (rule, expected) in [
        (json!({}), "rule `rule 0`: it has to have exactly one of `age`, `size`, `count`, `all`"),
        (json!({ "all": true, "match": ["*"], "age": { "older_than": "1d" } }), "exactly one of"),
        (json!({ "all": true }), "rule `rule 0`: `all` needs `match`"),
        (json!({ "all": false, "match": ["*"] }), "`all` is `true` or left out"),
        (json!({ "age": { "older_than": "0s" } }), "rule `rule 0`: `age.older_than` has to be more than 0"),
        (json!({ "size": { "max_total": "0 B" } }), "`size.max_total` has to be more than 0"),
        (json!({ "count": { "keep": 0 } }), "`count.keep` has to be at least 1"),
        (json!({ "logs": {} }), "`logs` needs `compress_after`, `remove_after` or `keep`"),
        (json!({ "logs": { "keep": 0 } }), "`logs.keep`"),
        (json!({ "releases": { "keep": 0, "current": "current" } }), "`releases.keep`"),
        (json!({ "releases": { "keep": 1, "current": "" } }), "`releases.current`"),
        (
            json!({ "cache": { "manager": "apt", "older_than": "1d" }, "match": ["*"] }),
            "`match` has no meaning with `cache`",
        ),
        (json!({ "age": { "older_than": "1d" }, "path": "/srv" }), "`path` is relative to the root"),
        (json!({ "age": { "older_than": "1d" }, "path": "a/../b" }), "which `a/../b` does not"),
        (json!({ "age": { "older_than": "1d" }, "match": ["a["] }), "rule `rule 0`: `match`: `a[` is no pattern"),
        (json!({ "age": { "older_than": "1d" }, "name": "" }), "`name` has 1 to 64 characters"),
    ] {
        let told = site.refused(&json!([rule]));
        assert!(told.contains(expected), "{rule}: {told}");
    }
    let twice = json!([{ "name": "a", "all": true, "match": ["x"] }, { "name": "a", "all": true, "match": ["y"] }]);
    assert!(site.refused(&twice).contains("two rules have the name `a`"));
    assert!(site.refused(&json!([])).contains("there is nothing to do; add a `[[config.rule]]`"));
    let ungranted = site.refused(&json!([{ "root": "other", "age": { "older_than": "1d" } }]));
    assert!(ungranted.contains("other"), "{ungranted}");
    let group = serde_json::from_str::<Cleanup>(&config(&json!([{ "count": { "keep": 1, "group_by": "x" } }])));
    assert!(group.unwrap_err().to_string().contains("`x` is no group"));
}

#[test]
fn the_schema_wants_one_kind() {
    let schema = schemars::schema_for!(Cleanup).to_value();
    let rule = &schema["$defs"]["RuleSettings"];
    assert_eq!(rule["allOf"][0]["oneOf"].as_array().unwrap().len(), 8);
    assert_eq!(rule["additionalProperties"], false);
    assert_eq!(rule["required"], json!(["name", "root"]));
    // Each kind of the schema is a key, and each key is described.
    let keys = rule["properties"].as_object().unwrap();
    for kind in rule["allOf"][0]["oneOf"].as_array().unwrap() {
        assert!(keys.contains_key(kind["required"][0].as_str().unwrap()), "{kind}");
    }
    assert!(keys.values().all(|it| it["description"].is_string()), "{keys:?}");
    assert_eq!(keys["age"]["$ref"], "#/$defs/AgeSettings");
    assert_eq!((&keys["all"]["type"], keys["age"].get("anyOf")), (&json!("boolean"), None));
    let rows = schema["$defs"]["RowsSettings"]["properties"].as_object().unwrap();
    assert!(rows.values().all(|it| it["description"].is_string()), "{rows:?}");
    assert_eq!((&rows["stored_as"]["$ref"], &rows["chunk_ms"]["default"]), (&json!("#/$defs/StoredAs"), &json!(25)));
    assert_eq!(schema["properties"]["journal"]["$ref"], "#/$defs/JournalSettings");
    assert_eq!(schema["$defs"]["JournalSettings"]["minProperties"], 1);
}

#[test]
fn a_plan_says_what_would_go() {
    let site = Site::new();
    (0..1_204).for_each(|it| site.file(&format!("tmp/{it}"), 48, 1_000));
    site.file("app.log", 0, 1);
    (1..=2).for_each(|it| site.file(&format!("app.log.{it}"), 48 * it, 2_000_000));
    let rules = json!([
        { "path": "tmp", "age": { "older_than": "1d" } }, { "logs": { "compress_after": "1d" } },
        { "empty_folders": {}, "exclude": ["tmp"] },
    ]);
    let title = |site: &Site| site.plan(&rules).unwrap()[0].title.clone();
    assert_eq!(title(&site), "data: remove 1,204 files, 1.15 MiB; compress 1 file, 1.91 MiB");
    assert_eq!(site.plan(&rules).unwrap()[0].weight, 1_205);
    let message = "1,204 files would go, 1,000 may: raise `max_files`".to_owned();
    let host = Host::new().root("data", site.folder.path()).block(Block { cause: Cause::Ceiling, message });
    let site = Site { host, folder: site.folder };
    assert!(title(&site).ends_with("; blocked: 1,204 files would go, 1,000 may: raise `max_files`"));
}

#[test]
fn a_run_tells_what_went() {
    let site = Site::new();
    ["a", "b", "c"].iter().for_each(|it| site.file(it, 48, 1_000));
    let rules =
        json!([{ "name": "old", "age": { "older_than": "1d" } }, { "name": "none", "all": true, "match": ["x"] }]);
    let config: Cleanup = serde_json::from_str(&config(&rules)).unwrap();
    let step = config.plan(&site.context()).unwrap().remove(0);
    // One is written to before it goes.
    site.file("b", 0, 7);
    let done = config.execute(&site.context(), step.clone()).unwrap();
    let outcome = upkeep_plugin::Outcome { step, output: Ok(done) };
    let report = config.finish(&site.context(), vec![outcome]).unwrap();
    assert_eq!(report.summary, "2 files removed; 1.95 KiB freed; 1 kept");
    assert_eq!(report.tables[0].rows, [["data", "3, 2.93 KiB", "2, 1.95 KiB", "-", "1 changed", "1.95 KiB", "-"]]);
    let rules = [["data", "old", "3", "2.93 KiB", "-", "-"], ["data", "none", "-", "-", "-", "-"]];
    assert_eq!(report.tables[1].rows, rules);
    assert!(report.findings.is_empty());
    assert!(report.text.contains("- b: it has changed"), "{}", report.text);
    let metric = |name: &str| site.host.metrics().iter().find(|it| it.name == name).unwrap().value as u64;
    let names = ["planned_files", "planned_bytes", "removed_files", "removed_bytes", "kept_files", "freed_bytes"];
    let values = names.map(|it| metric(&format!("cleanup_{it}")));
    assert_eq!(values, [3, 3_000, 2, 2_000, 1, 2_000]);
    assert_eq!(site.host.metrics()[0].labels, [("root".to_owned(), "data".to_owned())]);
}

#[test]
fn what_blocks_a_run_is_a_finding_and_no_failure() {
    for (cause, key) in [(Cause::Ceiling, "ceiling/data"), (Cause::Backup, "backup/data")] {
        let site = Site::new();
        site.file("a", 48, 10);
        let message = "look with `--dry-run`".to_owned();
        let host = Host::new().root("data", site.folder.path()).block(Block { cause, message });
        let site = Site { host, folder: site.folder };
        let report = site.run(&json!([{ "age": { "older_than": "1d" } }]));
        let finding = &report.findings[0];
        assert_eq!((finding.key.as_str(), finding.severity), (key, Severity::High));
        assert!(finding.title.starts_with("nothing was removed from data"), "{}", finding.title);
        assert_eq!(finding.detail, "look with `--dry-run`\nPlanned was: remove 1 file, 10 B.");
        assert_eq!(report.summary, "nothing removed from data");
        assert_eq!(report.tables[0].rows[0][2..4], ["nothing", "-"]);
        assert_eq!(site.left(), ["a"]);
    }
}

#[test]
fn what_may_not_go_or_could_not_is_told() {
    let site = Site::new();
    let config: Cleanup = serde_json::from_str(&config(&json!([{ "age": { "older_than": "1d" } }]))).unwrap();
    let planned = Planned {
        root: "data".to_owned(),
        refused: vec!["app.db: it is protected".to_owned()],
        refusals: 2_000,
        unreadable: vec!["secret: permission denied".to_owned()],
        unreadables: 1,
        ..Planned::default()
    };
    let title = "data: nothing to remove; 2,000 paths may not go (app.db: it is protected)";
    assert_eq!(crate::report::files::title(&planned), title);
    let total = |items, bytes| Total { items, bytes };
    let carried = removal::Done {
        removed: total(5, 5_000),
        compressed: total(1, 700),
        aside: true,
        changed: total(1, 1),
        in_use: total(2, 2),
        filled: 3,
        gone: 9,
        failed: total(4, 4),
        problems: vec!["x.log: nginx (812) writes to it".to_owned()],
    };
    let done = files::Done { carried: removal::Outcome::Done(carried), expired: total(7, 300) };
    let step = Step::new("data", Work::Files(planned));
    let outcome = upkeep_plugin::Outcome { step, output: Ok(Done::Files(done)) };
    let report = config.finish(&site.context(), vec![outcome]).unwrap();
    // What can be had back still takes its room.
    assert_eq!(report.summary, "5 files moved aside, 4.88 KiB; 1 file compressed; 1000 B freed; 10 kept");
    let row = ["data", "-", "5, 4.88 KiB", "1", "1 changed, 2 in use, 3 not empty, 4 failed", "1000 B", "5, 4.88 KiB"];
    assert_eq!(report.tables[0].rows, [row]);
    let findings: Vec<_> =
        report.findings.iter().map(|it| (it.key.as_str(), it.severity, it.detail.as_str())).collect();
    assert_eq!((findings[0].0, findings[0].1), ("refused/data", Severity::Low));
    assert!(findings[0].2.starts_with("app.db: it is protected\nand 1,999 more\n"), "{}", findings[0].2);
    assert_eq!((findings[1].0, findings[2].0, findings[2].1), ("unreadable/data", "failed/data", Severity::Medium));
    assert!(report.text.contains("- x.log: nginx (812) writes to it"));
    let undo = format!("can be had back with `upkeep undo {}`, for as long as", site.context().run);
    assert!(report.text.contains(&undo), "{}", report.text);
}

#[test]
fn a_step_that_failed_is_a_finding() {
    let site = Site::new();
    let config: Cleanup = serde_json::from_str(&config(&json!([{ "age": { "older_than": "1d" } }]))).unwrap();
    let step = config.plan(&site.context()).unwrap().remove(0);
    let outcome = upkeep_plugin::Outcome { step, output: Err("the disk is away".to_owned()) };
    let report = config.finish(&site.context(), vec![outcome]).unwrap();
    assert_eq!(
        (report.findings[0].key.as_str(), report.findings[0].detail.as_str()),
        ("failed/data", "the disk is away")
    );
}
