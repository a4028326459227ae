//! The repository needs the real host, so these look at what surrounds it; `tests/tests/damage.rs` has the whole.

use upkeep_plugin::Severity;
use upkeep_plugin::repository::Damage;
use upkeep_plugin::test::Host;

use super::*;

fn task(config: &str) -> RepositoryCheck {
    serde_json::from_str(config).unwrap()
}

fn checked(damages: Vec<Damage>) -> CheckReport {
    CheckReport {
        snapshots: 5,
        snapshots_whole: 4,
        packs: 200,
        bytes: 4 << 30,
        packs_read: 10,
        bytes_read: 200 << 20,
        packs_unused: 0,
        damages,
        duration_ms: 4_200,
    }
}

fn damage(harm: Harm, file: &str) -> Damage {
    Damage {
        key: "pack/ab".into(),
        harm,
        file: file.into(),
        title: format!("{file} is damaged"),
        detail: "Lost: something".into(),
    }
}

#[test]
fn the_configuration_is_short_and_mistakes_are_told() {
    assert_eq!(task(r#"{ "repository": "main" }"#).full_every, Span(30 * rotation::DAY));
    for wrong in
        [r#"{}"#, r#"{ "repository": "main", "full_every": "often" }"#, r#"{ "repository": "main", "days": 3 }"#]
    {
        assert!(serde_json::from_str::<RepositoryCheck>(wrong).is_err(), "{wrong}");
    }
    let host = Host::new();
    let refused = task(r#"{ "repository": "main", "full_every": "0s" }"#).plan(&host.context()).unwrap_err();
    assert!(refused.to_string().contains("full_every"), "{refused}");
}

#[test]
fn a_check_is_remembered_and_told() {
    let host = Host::new();
    let task = task(r#"{ "repository": "main" }"#);
    let parts: Vec<Part> = (0..=199).map(|first| Part { first, packs: 1, bytes: 1 << 20 }).collect();
    let ctx = host.context();
    let choice = Rotation::default().choose(&parts, ctx.now, task.full_every.0);
    let found = task.remember(&ctx, &choice, &parts, checked(vec![])).unwrap();
    let outcome = Outcome { step: Step::new("check", choice), output: Ok(found) };
    let report = task.finish(&ctx, vec![outcome]).unwrap();
    assert_eq!(report.summary, "no damage in 5 snapshots; 200 MiB read, 4.9 % of all; 193 packs not read yet");
    assert_eq!(report.findings, []);
    assert_eq!(report.tables[0].rows[0][4], "4.9 %");
    assert_eq!(host.metrics().len(), 5);
    assert_eq!(state::keys("").unwrap(), [ROTATION]);
}

#[test]
fn damage_reaches_the_report_of_a_failed_run() {
    let host = Host::new();
    let task = task(r#"{ "repository": "main" }"#);
    let parts = [Part { first: 0xab, packs: 1, bytes: 100 }];
    let ctx = host.context();
    let choice = Rotation::default().choose(&parts, ctx.now, task.full_every.0);
    let damages =
        vec![damage(Harm::Loss, "data/ab/abcd"), damage(Harm::Repairable, "index/12"), damage(Harm::None, "x")];
    task.remember(&ctx, &choice, &parts, checked(damages)).unwrap();
    let failed = Outcome { step: Step::new("check", choice), output: Err("the repository is damaged".to_owned()) };
    let report = task.finish(&ctx, vec![failed]).unwrap();
    assert_eq!(report.summary, "2 damages; 4 of 5 snapshots whole; 200 MiB read, 4.9 % of all; 1 pack not read yet");
    let found: Vec<_> = report.findings.iter().map(|it| (&it.key[..], it.severity)).collect();
    assert_eq!(
        found,
        [("damage/pack/ab", Severity::Critical), ("damage/pack/ab", Severity::High), ("damage/pack/ab", Severity::Low)]
    );
    // The part with the damage is read the next time too.
    let rotation = state::get::<Rotation>(ROTATION).unwrap().unwrap();
    assert_eq!(rotation.choose(&parts, ctx.now + 1, task.full_every.0).parts, [0xab]);
}

#[test]
fn what_waits_too_long_is_told() {
    let found = Found { run: String::new(), report: checked(vec![]), oldest: Some(33 * rotation::DAY), never_read: 0 };
    Host::new();
    let report = report::sum_up(&found, Span(30 * rotation::DAY)).unwrap();
    assert_eq!(report.findings[0].key, "overdue");
    assert!(report.findings[0].detail.contains("33d ago"), "{}", report.findings[0].detail);
}
