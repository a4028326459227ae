//! When digests are due, and how they read.

use super::*;
use crate::outcome::Outcome;

fn at(text: &str) -> Timestamp {
    Timestamp(chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis())
}

#[test]
fn one_a_day_at_its_time() {
    let morning: TimeOfDay = "08:30".parse().unwrap();
    for (zone, after, due) in [
        (Tz::UTC, "2026-11-23T08:29:59Z", "2026-11-23T08:30:00Z"),
        (Tz::UTC, "2026-11-23T08:30:00Z", "2026-11-24T08:30:00Z"),
        (Tz::Asia__Shanghai, "2026-11-23T08:30:00Z", "2026-11-24T08:30:00+08:00"),
        // The night on which the clock goes forward, and the one on which it goes back.
        (Tz::Europe__Berlin, "2026-03-28T07:30:00Z", "2026-03-29T06:30:00Z"),
        (Tz::Europe__Berlin, "2026-10-24T06:30:00Z", "2026-10-25T07:30:00Z"),
    ] {
        assert_eq!(next(morning, zone, at(after)), Some(at(due)), "{zone} {after}");
    }
    // A time that does not exist on that day: as soon as the clock is past it.
    let gap: TimeOfDay = "02:30".parse().unwrap();
    assert_eq!(next(gap, Tz::Europe__Berlin, at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
}

fn facts() -> Facts {
    let to = at("2026-11-24T08:30:00+08:00");
    Facts {
        host: "web-1".into(),
        zone: Tz::Asia__Shanghai,
        from: Timestamp(to.0 - 24 * 3_600_000),
        to,
        tasks: Vec::new(),
        missed: Vec::new(),
        backups: Vec::new(),
        disks: Vec::new(),
        findings: FindingFacts::default(),
        traffic: Vec::new(),
        messages: MessageFacts::default(),
        alerts: Vec::new(),
        journal_error: None,
        unknown: Vec::new(),
    }
}

fn task(name: &str, outcomes: &[(&str, u64)], took_ms: f64, usual_ms: f64) -> TaskFacts {
    TaskFacts {
        task: name.into(),
        outcomes: outcomes.iter().map(|(name, runs)| ((*name).to_owned(), *runs)).collect(),
        took_ms: Some(took_ms),
        usual_ms: Some(usual_ms),
        failing: None,
    }
}

fn figures(scale: u64) -> Figures {
    Figures {
        requests: 123 * scale,
        visitors: Some(9 * scale),
        s5xx: scale / 10,
        p95_us: Some(120_000 + scale),
        ..Figures::default()
    }
}

fn busy() -> Facts {
    let mut backup = task("backup", &[("succeeded", 23), ("failed", 1)], 130_000.0, 61_000.0);
    backup.failing = Some("failed: step `shop`: no space left on device".into());
    let hour = 3_600_000;
    let mut facts = facts();
    let ago = |hours: i64| Timestamp(facts.to.0 - hours * hour);
    facts.tasks = vec![backup, task("scan", &[("succeeded", 24)], 1_234.0, 1_300.0)];
    facts.missed = vec![("scan".into(), 3)];
    facts.backups = vec![
        BackupFacts { task: "backup".into(), at: ago(2), done: BackupDone::Saved { files: 12_034, added: 12 << 20 } },
        BackupFacts { task: "check".into(), at: ago(5), done: BackupDone::Checked { damages: 0 } },
        BackupFacts { task: "drill".into(), at: ago(30), done: BackupDone::Drilled { failed: 0, took_ms: 8_400 } },
        BackupFacts { task: "photos".into(), at: facts.to, done: BackupDone::Never },
    ];
    facts.disks = vec![
        DiskFacts { mount: "/srv".into(), total: 40 << 30, available: 2 << 30, used: 38 << 30, a_day: Some(500 << 20) },
        DiskFacts { mount: "/".into(), total: 20 << 30, available: 12 << 30, used: 8 << 30, a_day: Some(-(1 << 20)) },
    ];
    facts.findings = FindingFacts {
        open: [(Severity::Critical, 1), (Severity::Low, 7)].into(),
        new: vec![(Severity::Critical, "lodash 4.17.20: command injection".into(), "scan".into())],
        fixed: 2,
    };
    facts.traffic = vec![TrafficFacts {
        source: "shop".into(),
        day: "2026-11-23".into(),
        figures: figures(1_040),
        before: Some(figures(1_000)),
    }];
    facts.messages = MessageFacts { sent: 34, dead: 1, expired: 0, waiting: 2 };
    facts
}

#[test]
fn a_day_on_which_nothing_is_wrong_says_so_first() {
    let mut facts = facts();
    facts.tasks = vec![task("backup", &[("succeeded", 24)], 61_000.0, 61_000.0)];
    insta::assert_snapshot!(text::text(&facts, Some(text::LARGEST)));
    let nothing = super::tests::facts();
    insta::assert_snapshot!(text::text(&nothing, Some(text::LARGEST)));
}

#[test]
fn the_verdict_is_first_and_what_it_rests_on_below() {
    insta::assert_snapshot!(text::text(&busy(), Some(text::LARGEST)));
    assert_eq!(text::verdict(&busy()), "4 things need a look");
}

#[test]
fn nothing_is_well_while_nothing_can_be_recorded() {
    let mut facts = facts();
    facts.journal_error = Some("the disk that holds the journal is full".into());
    let text = text::text(&facts, None);
    assert!(text.starts_with("**1 thing needs a look**"), "{text}");
    assert!(
        text.contains("Nothing can be recorded, and nobody is told: the disk that holds the journal is full"),
        "{text}"
    );
}

#[test]
fn a_disk_is_as_full_as_df_says() {
    // A twentieth is for root: neither in use nor left.
    let disk = DiskFacts { mount: "/".into(), total: 100, available: 57, used: 38, a_day: None };
    assert_eq!(disk.percent(), 40);
    assert_eq!(DiskFacts { total: 0, available: 0, used: 0, ..disk }.percent(), 0);
}

#[test]
fn what_does_not_fit_is_left_out_and_counted() {
    let mut facts = busy();
    facts.tasks.extend((0..300).map(|number| {
        let outcome = if number % 50 == 0 { Outcome::NAMES[2] } else { "succeeded" };
        task(&format!("site-{number:03}"), &[(outcome, 24)], 1_000.0, 1_000.0)
    }));
    let text = text::text(&facts, Some(text::LARGEST));
    assert!(text.len() <= text::LARGEST, "{}", text.len());
    assert!(text.contains("lines left out") && text.contains("site-250") && text.contains("lodash"), "{text}");
    // Tasks that fail are no reason to leave out the disks.
    for task in &mut facts.tasks {
        task.failing = Some("failed: no space left on device".into());
    }
    let text = text::text(&facts, Some(text::LARGEST));
    assert!(text.len() <= text::LARGEST && text.contains("**Disks**\n- /"), "{text}");
    for severity in [Severity::Low; 400] {
        facts.findings.new.push((severity, "长".repeat(500), "scan".into()));
    }
    let text = text::text(&facts, Some(text::LARGEST));
    assert!(text.len() <= text::LARGEST && text.contains("no space left"), "{text}");
}
