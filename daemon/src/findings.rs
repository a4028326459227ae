//! The lives of findings: what a run found, against what was known before.
//!
//! A finding is *new* in the run that sees it first, *known* as long as runs go on seeing it, *fixed* once a run that has looked
//! there does not see it any more, and *returned* when it is seen again after that. Its identifier is a digest of task and key.
//! [`settle`] is pure: it takes what the journal knows and what the plugin reports, and gives what the report becomes, what
//! the journal is to know from then on, and whether the run fails for it.
//!
//! What is ignored ([`Ignore`]) stays in the report, marked, and fails no run. An entry that has run out, or that fits nothing
//! any more, is a finding itself: a list that nobody looks at grows old.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::config::findings::FindingsSettings;
use crate::record::finding::{Finding, FindingState, Ignored, IgnoredFinding, Life};
use crate::record::{Report, RunId, Severity};
use crate::root::exclude::Exclude;

pub mod sarif;

/// How the keys of findings begin that upkeep itself makes.
const OWN: &str = "upkeep/";

/// The identifier of a finding: 16 hexadecimal digits.
pub fn identifier(task: &str, key: &str) -> String {
    let digest = Sha256::new().chain_update(task).chain_update([0]).chain_update(key).finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Findings that are ignored, by the task file or by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignore {
    /// An identifier, or a key.
    pub finding: Option<String>,
    /// A rule; `*` at its end stands for anything.
    pub rule: Option<String>,
    /// A pattern as in a .gitignore file.
    pub path: Option<String>,
    /// Why.
    pub reason: String,
    /// The last day.
    pub until: NaiveDate,
}

impl From<IgnoredFinding> for Ignore {
    fn from(entry: IgnoredFinding) -> Self {
        Self { finding: Some(entry.id), rule: None, path: None, reason: entry.reason, until: entry.until }
    }
}

impl Ignore {
    /// Those of the task file.
    pub fn of(settings: &FindingsSettings) -> Vec<Self> {
        let own = settings.ignore.iter().cloned();
        own.map(|it| Self { finding: it.finding, rule: it.rule, path: it.path, reason: it.reason, until: it.until })
            .collect()
    }

    /// Whether it is about this finding.
    fn fits(&self, finding: &Finding, identifier: &str) -> bool {
        let named = self.finding.as_ref().is_none_or(|wanted| {
            *wanted == finding.key || (wanted.len() >= SHORTEST && identifier.starts_with(wanted.as_str()))
        });
        let ruled = self.rule.as_ref().is_none_or(|wanted| {
            finding.rule.as_ref().is_some_and(|rule| match wanted.strip_suffix('*') {
                Some(start) => rule.starts_with(start),
                None => rule == wanted,
            })
        });
        let placed = self.path.as_ref().is_none_or(|pattern| {
            let place = finding.place.as_ref().map(|place| place.path.trim_start_matches('/'));
            let exclude = Exclude::new(std::slice::from_ref(pattern));
            place.zip(exclude.ok()).is_some_and(|(place, exclude)| exclude.covers(place.as_ref(), false))
        });
        named && ruled && placed
    }

    /// What it is about, for people.
    fn scope(&self) -> String {
        let parts = [("finding", &self.finding), ("rule", &self.rule), ("path", &self.path)];
        let parts = parts.iter().filter_map(|(name, value)| Some(format!("{name} `{}`", value.as_ref()?)));
        parts.collect::<Vec<_>>().join(", ")
    }

    fn key(&self) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        identifier("", &[text(&self.finding), text(&self.rule), text(&self.path)].join("\0"))
    }
}

/// Digits of an identifier that tell findings apart.
pub const SHORTEST: usize = 6;

/// What a run is seen against.
#[derive(Debug)]
pub struct Round<'a> {
    /// The task.
    pub task: &'a str,
    /// The run.
    pub run: &'a RunId,
    /// Now.
    pub at: Timestamp,
    /// Today, where the task is.
    pub today: NaiveDate,
    /// What was known of the task's findings.
    pub known: Vec<Life>,
    /// What is ignored.
    pub ignores: &'a [Ignore],
    /// What fails a run.
    pub settings: &'a FindingsSettings,
    /// Whether the run did all that it planned; else what it did not see is not fixed.
    pub complete: bool,
}

/// What a report becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// With the state of each finding, what is fixed now, and upkeep's own.
    pub report: Report,
    /// What the journal is to know from now on.
    pub lives: Vec<Life>,
    /// Why the run fails for its findings, if it does.
    pub gate: Option<String>,
}

/// Compares what was found with what was known.
pub fn settle(round: Round<'_>, mut report: Report) -> Settled {
    let Round { task, run, at, today, known, ignores, settings, complete } = round;
    let mut known: BTreeMap<String, Life> = known.into_iter().map(|life| (life.finding.id.clone(), life)).collect();
    report.findings.extend(stale(&report.findings, task, ignores, today, complete));
    let valid: Vec<&Ignore> = ignores.iter().filter(|it| it.until >= today).collect();
    let mut lives: BTreeMap<String, Life> = BTreeMap::new();
    for finding in &mut report.findings {
        let id = identifier(task, &finding.key);
        let before = known.remove(&id);
        let state = match (&before, lives.get(&id)) {
            (_, Some(twin)) => twin.finding.state.unwrap_or(FindingState::New),
            (None, None) => FindingState::New,
            (Some(before), None) => match before.finding.state {
                Some(FindingState::Fixed) => FindingState::Returned,
                _ => FindingState::Known,
            },
        };
        finding.state = Some(state);
        let entry = valid.iter().find(|it| it.fits(finding, &id));
        finding.ignored = entry.map(|it| Ignored { reason: it.reason.clone(), until: it.until });
        finding.id.clone_from(&id);
        let is_change = state != FindingState::Known;
        let life = lives.entry(id).or_insert_with(|| Life {
            task: task.to_owned(),
            finding: finding.clone(),
            first_seen: before.as_ref().map_or(at, |before| before.first_seen),
            last_seen: at,
            changed: before.as_ref().filter(|_| !is_change).map_or(at, |before| before.changed),
            run: run.clone(),
        });
        // Of two with the same key, the worse one counts.
        if finding.severity > life.finding.severity {
            life.finding = finding.clone();
        }
    }
    let gone = known.into_values().filter(|life| {
        let is_unseen = report.unseen.iter().any(|start| life.finding.key.starts_with(start.as_str()));
        life.finding.state != Some(FindingState::Fixed) && complete && !is_unseen
    });
    for mut life in gone {
        life.finding.state = Some(FindingState::Fixed);
        life.finding.ignored = None;
        life.changed = at;
        report.fixed.push(life.finding.clone());
        lives.insert(life.finding.id.clone(), life);
    }
    for findings in [&mut report.findings, &mut report.fixed] {
        findings.sort_by_key(|it| (it.rank(), std::cmp::Reverse(it.severity)));
    }
    let gate = gate(settings, &report.findings);
    Settled { report, lives: lives.into_values().collect(), gate }
}

/// Why the run fails for these findings.
fn gate(settings: &FindingsSettings, findings: &[Finding]) -> Option<String> {
    let least = settings.fail_at?;
    let fails = |it: &&Finding| {
        it.severity >= least
            && it.ignored.is_none()
            && (!settings.only_new || it.state != Some(FindingState::Known))
            && (!settings.only_fixable || it.fix.is_some())
    };
    let failing: Vec<&Finding> = findings.iter().filter(fails).collect();
    let first = failing.first()?;
    let kind = match (settings.only_new, settings.only_fixable) {
        (false, false) => "",
        (true, false) => "new ",
        (false, true) => "fixable ",
        (true, true) => "new and fixable ",
    };
    let s = if failing.len() == 1 { "" } else { "s" };
    let (many, least) = (failing.len(), least.name());
    Some(format!("{many} {kind}finding{s} at `{least}` or worse (findings.fail_at), such as: {}", first.title))
}

/// Findings about entries that have run out or that nothing fits.
fn stale(findings: &[Finding], task: &str, ignores: &[Ignore], today: NaiveDate, complete: bool) -> Vec<Finding> {
    let mut stale = Vec::new();
    for entry in ignores {
        let scope = entry.scope();
        let fits = findings.iter().any(|it| entry.fits(it, &identifier(task, &it.key)));
        let (what, title, detail) = if entry.until < today && fits {
            let detail =
                format!("The reason was: {}. Look at it again; then mend it, or write a later day.", entry.reason);
            ("expired", format!("The entry that ignores {scope} has ended on {}", entry.until), detail)
        } else if !fits && complete {
            ("unused", format!("The entry that ignores {scope} fits nothing"), "Remove it, or correct it.".to_owned())
        } else {
            continue;
        };
        stale.push(Finding {
            rule: Some(format!("{OWN}ignore-{what}")),
            ..Finding::new(format!("{OWN}ignore/{what}/{}", entry.key()), Severity::Low, title, detail)
        });
    }
    stale
}

#[cfg(test)]
mod tests;
