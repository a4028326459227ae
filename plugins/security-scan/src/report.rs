//! What all steps found, as one report.

use std::collections::BTreeMap;

use upkeep_plugin::{Context, Document, Report, Result, Severity, Step, Table, metrics};

use crate::Part;
use crate::found::Found;

/// The name of the bill of materials.
const SBOM: &str = "sbom.cdx.json";

/// How the keys of findings begin that a part looks for.
fn keys(part: &Part) -> &'static [&'static str] {
    match part {
        Part::Age => &["advisories/age/"],
        Part::Dependencies => &["vuln/", "advisories/", "lock-file/"],
        Part::Secrets { .. } => &["secret/"],
        Part::Hardening => &["hardening/"],
        Part::Integrity { .. } => &["integrity/"],
    }
}

pub(crate) fn sum_up(_: &Context, outcomes: Vec<(Step<Part>, Result<Found, String>)>) -> Result<Report> {
    let mut report = Report::new("");
    let mut looked_at: BTreeMap<String, u64> = BTreeMap::new();
    let (mut left_out, mut failed) = (Vec::new(), 0);
    for (step, output) in outcomes {
        let found = match output {
            Ok(found) => found,
            Err(_) => {
                failed += 1;
                report.unseen.extend(keys(&step.input).iter().map(|key| (*key).to_owned()));
                continue;
            }
        };
        report.findings.extend(found.findings);
        report.unseen.extend(found.unseen);
        report.tables.extend(found.tables);
        left_out.extend(found.left_out);
        for (what, many) in found.looked_at {
            *looked_at.entry(what).or_default() += many;
        }
        if let Some(content) = found.sbom {
            let (name, media_type) = (SBOM.to_owned(), "application/vnd.cyclonedx+json".to_owned());
            report.documents.push(Document { name, media_type, content });
        }
    }
    report.summary = summary(&report, failed);
    let rows = looked_at.iter().map(|(what, many)| [what.clone(), many.to_string()]);
    report.tables.push(rows.fold(Table::new("Looked at", ["WHAT", "HOW MANY"]), Table::row));
    if !left_out.is_empty() {
        report.text = format!("Left out:\n\n{}\n", left_out.iter().map(|it| format!("- {it}\n")).collect::<String>());
    }
    for (severity, name) in NAMES {
        let many = report.findings.iter().filter(|it| it.severity == severity).count();
        metrics::gauge("security_findings", &[("severity", name)], many as f64)?;
    }
    Ok(report)
}

const NAMES: [(Severity, &str); 5] = [
    (Severity::Critical, "critical"),
    (Severity::High, "high"),
    (Severity::Medium, "medium"),
    (Severity::Low, "low"),
    (Severity::Info, "info"),
];

fn summary(report: &Report, failed: usize) -> String {
    let many = |severity| report.findings.iter().filter(|it| it.severity == severity).count();
    let counts: Vec<String> = NAMES
        .iter()
        .filter_map(|(severity, name)| {
            Some(many(*severity)).filter(|many| *many > 0).map(|many| format!("{many} {name}"))
        })
        .collect();
    let mut text = match counts.as_slice() {
        [] => "nothing was found".to_owned(),
        counts => format!("found {}", counts.join(", ")),
    };
    if failed > 0 {
        text.push_str(&format!("; {failed} of the steps did not come to an end"));
    }
    text
}
