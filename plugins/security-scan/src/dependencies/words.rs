//! How a vulnerability is told, to people and in the bill of materials.

use jiff::Timestamp;
use upkeep_advisory::advisory::Kind;
use upkeep_advisory::severity::Level;
use upkeep_advisory::vulnerability::Vulnerability;
use upkeep_lockfile::{Package, sbom};
use upkeep_plugin::{Context, Error, Result, Severity};

use crate::dependencies::files::{Dependants, Origin};

/// Identifiers that are named in a line.
const NAMED: usize = 6;

pub(super) fn severity(vulnerability: &Vulnerability) -> Severity {
    match (vulnerability.kind, vulnerability.severity.level) {
        (Kind::Malicious, _) | (Kind::Vulnerability, Level::Critical) => Severity::Critical,
        (Kind::Notice, _) => Severity::Info,
        (Kind::Unmaintained | Kind::Unsound, _) => Severity::Low,
        (Kind::Vulnerability, Level::High) => Severity::High,
        (Kind::Vulnerability, Level::Low) => Severity::Low,
        // Nobody has rated it: it may be anything.
        (Kind::Vulnerability, _) => Severity::Medium,
    }
}

pub(super) fn title(package: &Package, vulnerability: &Vulnerability) -> String {
    let Vulnerability { id, summary, kind, .. } = vulnerability;
    let (name, version) = (&package.name, &package.version);
    match (kind, summary.as_str()) {
        (Kind::Malicious, _) => format!("{name} {version} is malicious ({id})"),
        (Kind::Unmaintained, _) => format!("{name} {version} is not maintained any more ({id})"),
        (_, "") => format!("{name} {version}: {id}"),
        (_, summary) => format!("{name} {version}: {summary} ({id})"),
    }
}

pub(super) fn detail(dependants: &Dependants, index: usize, vulnerability: &Vulnerability) -> String {
    let package = &dependants.lock.packages[index];
    let mut lines = Vec::new();
    match &vulnerability.fixed {
        Some(fixed) => lines.push(format!("Fixed in {fixed}: update {}.", package.name)),
        None if vulnerability.kind == Kind::Malicious => {
            lines.push(
                "Remove it, and take all that this machine or its builds could reach as known to others.".to_owned(),
            );
        }
        None => lines.push("No version without it is known.".to_owned()),
    }
    let chain = dependants.lock.chain(index);
    if chain.len() > 1 {
        lines.push(format!("Comes by {}.", chain.join(" > ")));
    }
    if package.dev == Some(true) {
        lines.push("For development only.".to_owned());
    }
    let installed: Vec<&str> = match (dependants.origin, &package.alias) {
        (Origin::Machine, _) => {
            let of_source = dependants.lock.packages.iter().filter(|it| it.name == package.name);
            of_source.map(|it| it.alias.as_deref().unwrap_or(&it.name)).collect()
        }
        _ => Vec::new(),
    };
    if installed.len() > 1 || installed.first().is_some_and(|it| *it != &*package.name) {
        lines.push(format!("Installed from it: {}.", installed.join(", ")));
    }
    let others: Vec<&str> =
        vulnerability.ids.iter().filter(|id| **id != vulnerability.id).map(String::as_str).collect();
    if !others.is_empty() {
        lines.push(format!("Also {}.", others[..others.len().min(NAMED)].join(", ")));
    }
    if let Some(tenths) = vulnerability.severity.tenths {
        lines.push(format!("CVSS {}.{}.", tenths / 10, tenths % 10));
    }
    if !vulnerability.imports.is_empty() {
        lines
            .push(format!("Only with {}.", vulnerability.imports[..vulnerability.imports.len().min(NAMED)].join(", ")));
    }
    lines.extend(vulnerability.references.first().cloned());
    lines.join("\n")
}

/// For the bill of materials.
pub(super) fn known(dependants: &Dependants, index: usize, vulnerability: &Vulnerability) -> sbom::Vulnerability {
    let severity = match severity(vulnerability) {
        Severity::Info => sbom::Severity::Info,
        Severity::Low => sbom::Severity::Low,
        Severity::Medium => sbom::Severity::Medium,
        Severity::High => sbom::Severity::High,
        Severity::Critical => sbom::Severity::Critical,
    };
    let score = vulnerability.severity.tenths.map(|tenths| f64::from(tenths) / 10.0);
    sbom::Vulnerability {
        id: vulnerability.id.clone(),
        ratings: vec![sbom::Rating { severity, score, method: None, vector: None }],
        affects: vec![sbom::bom_ref(&dependants.lock, &dependants.lock.packages[index])],
    }
}

/// All packages that were found, in CycloneDX.
pub(super) fn sbom(ctx: &Context, dependants: &[Dependants], known: &[sbom::Vulnerability]) -> Result<String> {
    let files: Vec<_> = dependants.iter().map(|it| (it.shown.as_str(), &it.lock)).collect();
    let timestamp = Timestamp::from_millisecond(ctx.now).unwrap_or_default().to_string();
    let bom = sbom::Bom {
        serial: &serial(&ctx.run),
        timestamp: &timestamp,
        subject: &ctx.host,
        tool_version: env!("CARGO_PKG_VERSION"),
        files: &files,
        vulnerabilities: Some(known),
    };
    let mut json = Vec::new();
    bom.write(&mut json).map_err(|error| Error::permanent(format!("the bill of materials: {error}")))?;
    String::from_utf8(json).map_err(|error| Error::permanent(format!("the bill of materials: {error}")))
}

/// A UUID of version 8 (RFC 9562) that each run has its own of.
fn serial(run: &str) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(run.as_bytes()).as_bytes()[..16]);
    bytes[6] = 0x80 | bytes[6] & 0x0f;
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
