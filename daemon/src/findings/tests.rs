use proptest::prelude::*;

use super::*;
use crate::record::finding::{FindingState::*, Place};

const DAY: i64 = 86_400_000;

/// A journal of one task, with the runs that it sees.
#[derive(Default)]
struct Journal {
    lives: BTreeMap<String, Life>,
    runs: i64,
    settings: FindingsSettings,
    ignores: Vec<Ignore>,
}

impl Journal {
    fn run(&mut self, report: Report, complete: bool) -> Settled {
        self.runs += 1;
        let at = Timestamp(self.runs * DAY);
        let settled = settle(
            Round {
                task: "scan",
                run: &RunId(format!("{:026}", self.runs).into()),
                at,
                today: at.utc().date_naive(),
                known: self.lives.values().cloned().collect(),
                ignores: &self.ignores,
                settings: &self.settings,
                complete,
            },
            report,
        );
        self.lives.extend(settled.lives.iter().map(|life| (life.finding.id.clone(), life.clone())));
        settled
    }

    fn sees(&mut self, keys: &[&str]) -> Vec<(String, FindingState)> {
        states(&self.run(report(keys), true))
    }
}

fn report(keys: &[&str]) -> Report {
    let finding = |key: &&str| Finding::new(*key, Severity::High, format!("title of {key}"), "");
    Report { findings: keys.iter().map(finding).collect(), ..Report::default() }
}

fn states(settled: &Settled) -> Vec<(String, FindingState)> {
    let Report { findings, fixed, .. } = &settled.report;
    findings.iter().chain(fixed).map(|it| (it.key.clone(), it.state.unwrap())).collect()
}

fn ignore(finding: Option<&str>, rule: Option<&str>, path: Option<&str>, until: &str) -> Ignore {
    let own = |text: Option<&str>| text.map(str::to_owned);
    let until = until.parse().unwrap();
    Ignore { finding: own(finding), rule: own(rule), path: own(path), reason: "accepted".into(), until }
}

fn pairs(expected: &[(&str, FindingState)]) -> Vec<(String, FindingState)> {
    expected.iter().map(|(key, state)| ((*key).to_owned(), *state)).collect()
}

#[test]
fn a_finding_is_new_known_fixed_and_returns() {
    let mut journal = Journal::default();
    assert_eq!(journal.sees(&["a", "b"]), pairs(&[("a", New), ("b", New)]));
    assert_eq!(journal.sees(&["b", "c"]), pairs(&[("c", New), ("b", Known), ("a", Fixed)]));
    assert_eq!(journal.sees(&["b", "a"]), pairs(&[("a", Returned), ("b", Known), ("c", Fixed)]));
    assert_eq!(journal.sees(&["a", "b"]), pairs(&[("a", Known), ("b", Known)]), "what is fixed is told once");
    let a = &journal.lives[&identifier("scan", "a")];
    assert_eq!((a.first_seen, a.changed, a.last_seen), (Timestamp(DAY), Timestamp(3 * DAY), Timestamp(4 * DAY)));
}

#[test]
fn what_was_not_looked_for_is_not_fixed() {
    let mut journal = Journal::default();
    journal.sees(&["vuln/a", "secret/a"]);
    let half = Report { unseen: vec!["vuln/".into()], ..Report::default() };
    assert_eq!(states(&journal.run(half, true)), pairs(&[("secret/a", Fixed)]));
    assert_eq!(states(&journal.run(report(&["secret/a"]), false)), pairs(&[("secret/a", Returned)]));
    assert_eq!(journal.sees(&["vuln/a"]), pairs(&[("vuln/a", Known), ("secret/a", Fixed)]));
}

#[test]
fn a_key_that_comes_twice_is_one_finding_and_the_worse_one_counts() {
    let mut journal = Journal::default();
    let mut twice = report(&["a", "a"]);
    twice.findings[1].severity = Severity::Critical;
    let settled = journal.run(twice.clone(), true);
    assert_eq!(states(&settled), pairs(&[("a", New), ("a", New)]));
    assert_eq!(settled.lives.len(), 1);
    assert_eq!(settled.lives[0].finding.severity, Severity::Critical);
    assert_eq!(states(&journal.run(twice, true)), pairs(&[("a", Known), ("a", Known)]));
}

#[test]
fn the_gate_looks_at_severity_age_and_fix() {
    let settings = |fail_at, only_new, only_fixable| FindingsSettings {
        fail_at,
        only_new,
        only_fixable,
        ..FindingsSettings::default()
    };
    for (settings, first, second) in [
        (settings(None, false, false), false, false),
        (settings(Some(Severity::Critical), false, false), false, false),
        (settings(Some(Severity::High), false, false), true, true),
        (settings(Some(Severity::Low), false, false), true, true),
        (settings(Some(Severity::High), true, false), true, false),
        (settings(Some(Severity::High), false, true), false, false),
    ] {
        let mut journal = Journal { settings: settings.clone(), ..Journal::default() };
        assert_eq!(journal.run(report(&["a"]), true).gate.is_some(), first, "{settings:?}");
        assert_eq!(journal.run(report(&["a"]), true).gate.is_some(), second, "{settings:?}");
        assert!(journal.run(report(&[]), true).gate.is_none(), "what is fixed fails nothing");
    }
    let mut journal = Journal { settings: settings(Some(Severity::Medium), true, true), ..Journal::default() };
    let mut fixable = report(&["a", "b"]);
    fixable.findings[1].fix = Some("1.2.3".into());
    insta::assert_snapshot!(
        journal.run(fixable, true).gate.unwrap(),
        @"1 new and fixable finding at `medium` or worse (findings.fail_at), such as: title of b"
    );
}

#[test]
fn what_is_ignored_is_marked_and_fails_nothing() {
    let mut seen = report(&["vuln/a", "secret/b"]);
    seen.findings[0].rule = Some("CVE-2021-23337".into());
    seen.findings[1].place = Some(Place { path: "/srv/app/legacy/x.js".into(), line: Some(3) });
    let id = identifier("scan", "vuln/a");
    for (entry, marked) in [
        (ignore(Some("vuln/a"), None, None, "2030-01-01"), 0),
        (ignore(Some(&id), None, None, "2030-01-01"), 0),
        (ignore(Some(&id[..8]), None, None, "2030-01-01"), 0),
        (ignore(None, Some("CVE-2021-23337"), None, "2030-01-01"), 0),
        (ignore(None, Some("CVE-2021-*"), None, "2030-01-01"), 0),
        (ignore(None, None, Some("legacy/"), "2030-01-01"), 1),
        (ignore(None, None, Some("/srv/**/*.js"), "2030-01-01"), 1),
        (ignore(Some("secret/b"), None, Some("*.js"), "1970-01-02"), 1),
    ] {
        let settings = FindingsSettings { fail_at: Some(Severity::Low), ..FindingsSettings::default() };
        let mut journal = Journal { ignores: vec![entry.clone()], settings, ..Journal::default() };
        let settled = journal.run(seen.clone(), true);
        let key = &seen.findings[marked].key;
        let ignored: Vec<_> =
            settled.report.findings.iter().filter(|it| it.ignored.is_some()).map(|it| &it.key).collect();
        assert_eq!(ignored, [key], "{entry:?}");
        assert!(settled.gate.unwrap().starts_with("1 finding "), "{entry:?}");
    }
}

#[test]
fn entries_that_have_run_out_or_fit_nothing_are_findings() {
    let ignores = vec![
        ignore(Some("a"), None, None, "1970-01-02"),
        ignore(None, Some("CVE-1"), None, "2030-01-01"),
        ignore(Some(&identifier("scan", "a")[..5]), None, None, "2030-01-01"),
    ];
    let mut journal = Journal { ignores, ..Journal::default() };
    let first = journal.run(report(&["a"]), true);
    let told: Vec<_> = first.report.findings.iter().map(|it| it.title.as_str()).collect();
    insta::assert_snapshot!(told.join("\n"));
    let second = journal.run(report(&["a"]), true);
    let titles: Vec<_> = second.report.findings.iter().map(|it| (it.title.as_str(), it.state.unwrap())).collect();
    assert_eq!(titles[0], ("The entry that ignores finding `a` has ended on 1970-01-02", New));
    // A run that did not see all cannot say that an entry fits nothing.
    let half = journal.run(report(&["a"]), false);
    assert!(!half.report.findings.iter().any(|it| it.title.contains("fits nothing")));
    journal.ignores.clear();
    assert!(journal.run(report(&["a"]), true).report.fixed.len() >= 3);
}

proptest! {
    /// Whatever runs see: what a run saw is new, known or returned, all else that was there is fixed once; first sightings stay.
    #[test]
    fn lives_follow_what_is_seen(runs in prop::collection::vec(prop::collection::btree_set("[a-d]", 0..4), 1..12)) {
        let mut journal = Journal::default();
        let (mut ever, mut last) = (BTreeMap::new(), std::collections::BTreeSet::new());
        for keys in runs {
            let told = journal.sees(&keys.iter().map(String::as_str).collect::<Vec<_>>());
            let now = Timestamp(journal.runs * DAY);
            for (key, state) in &told {
                let expected = match (keys.contains(key), ever.contains_key(key), last.contains(key)) {
                    (true, false, _) => New,
                    (true, true, true) => Known,
                    (true, true, false) => Returned,
                    (false, ..) => Fixed,
                };
                prop_assert_eq!(*state, expected);
                prop_assert!(keys.contains(key) || last.contains(key), "fixed is told once");
            }
            prop_assert_eq!(told.len(), keys.union(&last).count());
            for key in &keys {
                let first = *ever.entry(key.clone()).or_insert(now);
                prop_assert_eq!(journal.lives[&identifier("scan", key)].first_seen, first);
            }
            last = keys;
        }
    }
}
