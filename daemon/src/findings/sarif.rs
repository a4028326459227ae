//! Findings as SARIF 2.1.0 (OASIS), for the programs that take findings in: one run for each task.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::record::Severity;
use crate::record::finding::{FindingState, Life};

/// Where the format is defined.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The log of these findings.
pub fn log(lives: &[Life]) -> Value {
    let mut tasks: BTreeMap<&str, Vec<&Life>> = BTreeMap::new();
    for life in lives {
        tasks.entry(&life.task).or_default().push(life);
    }
    let runs: Vec<Value> = tasks.iter().map(|(task, lives)| run(task, lives)).collect();
    json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": runs })
}

fn run(task: &str, lives: &[&Life]) -> Value {
    let mut places = BTreeMap::new();
    let mut rules = Vec::new();
    for life in lives {
        let id = rule_of(life);
        places.entry(id).or_insert_with(|| {
            let severity = score(life.finding.severity).to_string();
            rules.push(json!({ "id": id, "properties": { "security-severity": severity } }));
            rules.len() - 1
        });
    }
    let results: Vec<Value> = lives.iter().map(|life| result(life, places[rule_of(life)])).collect();
    json!({
        "tool": { "driver": {
            "name": "upkeep",
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "informationUri": "https://github.com/upkeep-rs/upkeep",
            "rules": rules,
        } },
        "automationDetails": { "id": format!("{task}/") },
        "results": results,
    })
}

/// What found it; the first part of its key where the plugin names no rule.
fn rule_of(life: &Life) -> &str {
    let key = life.finding.key.split('/').next().unwrap_or_default();
    life.finding.rule.as_deref().unwrap_or(key)
}

fn result(life: &Life, rule: usize) -> Value {
    let finding = &life.finding;
    let text = match finding.detail.as_str() {
        "" => finding.title.clone(),
        detail => format!("{}\n{detail}", finding.title),
    };
    let mut result = json!({
        "ruleId": rule_of(life),
        "ruleIndex": rule,
        "level": level(finding.severity),
        "message": { "text": text },
        "partialFingerprints": { "upkeep/v1": finding.id },
        "baselineState": match finding.state {
            Some(FindingState::New | FindingState::Returned) | None => "new",
            Some(FindingState::Known) => "unchanged",
            Some(FindingState::Fixed) => "absent",
        },
    });
    if let Some(place) = &finding.place {
        let mut physical = json!({ "artifactLocation": { "uri": uri(&place.path) } });
        if let Some(line) = place.line.filter(|line| *line > 0) {
            physical["region"] = json!({ "startLine": line });
        }
        result["locations"] = json!([{ "physicalLocation": physical }]);
    }
    if let Some(ignored) = &finding.ignored {
        let justification = format!("{} (until {})", ignored.reason, ignored.until);
        result["suppressions"] = json!([{ "kind": "external", "status": "accepted", "justification": justification }]);
    }
    result
}

/// A path as a reference of RFC 3986.
fn uri(path: &str) -> String {
    let mut uri = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// A number in the middle of the range that CVSS gives the word, as GitHub reads `security-severity`.
fn score(severity: Severity) -> f64 {
    match severity {
        Severity::Critical => 9.5,
        Severity::High => 8.0,
        Severity::Medium => 5.5,
        Severity::Low => 2.0,
        Severity::Info => 0.0,
    }
}
