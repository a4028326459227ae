//! The repository needs the real host, so these look at what is decided and told; `tests/tests/retention.rs` has the whole.

use upkeep_plugin::repository::{Hold, PruneSummary};
use upkeep_plugin::test::Host;
use upkeep_plugin::{Outcome, Report, Step};

use super::*;

const DAY: i64 = 86_400_000;

fn retention(more: &str) -> Retention {
    let config = format!(r#"{{ "repository": "main", "keep": {{ "daily": 3 }}{more} }}"#);
    serde_json::from_str(&config).unwrap()
}

/// One a day, in two folders.
fn snapshots(days: usize) -> Vec<Snapshot> {
    let snapshot = |day: usize, path: &str| Snapshot {
        id: format!("{day:04}{path}-0123456789"),
        time: day as i64 * DAY,
        utc_offset: 8 * 3_600,
        host: "server".to_owned(),
        paths: vec![path.to_owned()],
        tags: vec!["upkeep:app".to_owned()],
    };
    (0..days).flat_map(|day| ["/a", "/b"].map(|path| snapshot(day, path))).collect()
}

fn report(outcomes: &[Outcome<Retention>], holds: &[Hold]) -> Report {
    Host::new();
    report::sum_up("main", outcomes, holds).unwrap()
}

#[test]
fn decides_by_groups_within_the_guards() {
    let decided = retention("").decide(snapshots(5), 100 * DAY).unwrap();
    let seen: Vec<_> = decided.iter().map(|it| (it.title(), it.refused.clone())).collect();
    let title = |path| (format!("server {path}: remove 2 of 5 snapshots"), None);
    assert_eq!(seen, [title("/a"), title("/b")]);
    assert_eq!(decided[0].going(), ["0001/a-0123456789", "0000/a-0123456789"]);
    assert_eq!(decided[0].snapshots[0].title(), "0004/a-0  1970-01-05 08:00 +08:00  server  /a  keep: daily 1 of 3");
    assert!(decided[0].snapshots[4].title().ends_with("/a  remove"));

    let many = retention("").decide(snapshots(9), 100 * DAY).unwrap();
    let why = many[0].refused.as_deref().unwrap();
    assert_eq!(why, "the rules would remove 6 of 9 snapshots, more than 50 % (`max_removals`)");
    let told = retention(r#", "max_removals": "100 %""#).decide(snapshots(9), 100 * DAY).unwrap();
    assert_eq!((told[0].refused.as_ref(), told[0].going().len()), (None, 6));
    let none = retention(r#", "tasks": ["web"]"#).decide(snapshots(9), 100 * DAY).unwrap();
    assert_eq!(none, []);
}

#[test]
fn tells_what_went_and_what_did_not() {
    let mut decided = retention("").decide(snapshots(4), 100 * DAY).unwrap();
    let other = decided.pop().unwrap();
    let step = |decided: &Decided| Step::new(format!("forget/{}", decided.group), Work::Forget(decided.clone()));
    let pruned = PruneSummary {
        packs_marked: 3,
        bytes_marked: 5 << 20,
        packs_removed: 2,
        bytes_removed: 3 << 20,
        packs_repacked: 1,
        bytes_used: 7 << 30,
        bytes_unused: 12,
        duration_ms: 7,
    };
    let went = Outcome { step: step(&decided[0]), output: Ok(Done::Forgotten(1)) };
    let failed = Outcome { step: step(&other), output: Err("the disk is full".to_owned()) };
    let freed = Outcome { step: Step::new("prune", Work::Prune { after: vec![] }), output: Ok(Done::Pruned(pruned)) };
    let told = report(&[went, failed, freed], &[]);
    assert_eq!(told.summary, "8 snapshots, 1 removed; 3.00 MiB freed, 5.00 MiB to go later");
    assert_eq!((told.findings.len(), &told.findings[0].detail[..]), (1, "the disk is full"));
    assert_eq!(told.findings[0].key, "failed/main/forget/server /b");
    let fates: Vec<_> = told.tables[1].rows.iter().map(|row| row[4].as_str()).collect();
    assert_eq!(fates[..4], ["keep: daily 1 of 3", "keep: daily 2 of 3", "keep: daily 3 of 3", "removed"]);
    assert_eq!(fates[7], "not removed");

    let hold = Hold { task: "app".to_owned(), reason: "app: 9 of 10 files were removed".to_owned(), since: DAY };
    let went = Outcome { step: step(&decided[0]), output: Ok(Done::Forgotten(1)) };
    let told = report(&[went], &[hold]);
    assert_eq!(told.findings[0].key, "held/main/app");
    for word in ["1970-01-02 00:00", "9 of 10 files", "upkeep backup release app"] {
        assert!(told.findings[0].detail.contains(word), "{}", told.findings[0].detail);
    }
}
