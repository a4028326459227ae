//! What a record says of one package: all that a scan needs, and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ecosystem::{Ecosystem, Family, is_release};
use crate::osv::{self, Event, Order, Rating, Record, Specific};
use crate::range::{Installed, Range, Verdict, evaluate};
use crate::severity::Severity;
use crate::version::Version;

/// How many addresses of a record are kept.
const REFERENCES: usize = 3;

/// How much of a summary is kept, in characters.
const SUMMARY: usize = 200;

/// What kind of thing an advisory is about. The graver is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Something to know (RustSec).
    Notice,
    /// Nobody maintains the package any more (RustSec).
    Unmaintained,
    /// Safe code can break memory by way of the package (RustSec).
    Unsound,
    /// A vulnerability.
    Vulnerability,
    /// The package was made to do harm.
    Malicious,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notice => "notice",
            Self::Unmaintained => "unmaintained",
            Self::Unsound => "unsound",
            Self::Vulnerability => "vulnerability",
            Self::Malicious => "malicious",
        })
    }
}

/// A record, as far as it is about one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advisory {
    /// The identifier of the record.
    pub id: String,
    /// Identifiers of the same in other databases.
    pub aliases: Vec<String>,
    /// Identifiers of the vulnerabilities that a distribution's notice is about.
    pub upstream: Vec<String>,
    /// One line of at most 200 characters, none of which controls a terminal.
    pub summary: String,
    /// What it is about.
    pub kind: Kind,
    /// Whether a person of the database has looked at it; only Go's says when none has.
    pub is_reviewed: bool,
    /// Up to three addresses, advisories and fixes first.
    pub references: Vec<String>,
    /// The import paths that are affected, where it is not the whole Go module.
    pub imports: Vec<String>,
    /// Which versions are affected. Each may be for another release of a distribution.
    pub affected: Vec<Affected>,
}

/// Versions of the package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// The release of a distribution that this is about; none is all.
    pub release: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// By where they begin and end.
    pub ranges: Vec<Range>,
    /// One by one.
    pub versions: Vec<String>,
}

impl Record {
    /// What it says of the packages of a family, by their [normal](Family::normalise) names. Nothing when it was
    /// withdrawn.
    pub fn advisories(&self, family: Family) -> BTreeMap<String, Advisory> {
        let mut advisories = BTreeMap::new();
        if self.withdrawn.is_some() {
            return advisories;
        }
        for affected in &self.affected {
            let Some(package) = &affected.package else { continue };
            let Some(ecosystem) = package.ecosystem.parse::<Ecosystem>().ok().filter(|it| it.family == family) else {
                continue;
            };
            let name = family.normalise(&package.name).into_owned();
            let advisory = advisories.entry(name).or_insert_with(|| self.advisory());
            advisory.add(self, affected, ecosystem.release);
        }
        advisories
    }

    /// What is the same for all packages.
    fn advisory(&self) -> Advisory {
        let text = if self.summary.is_empty() { &self.details } else { &self.summary };
        let line = text.lines().map(|it| it.trim_start_matches('#').trim()).find(|it| !it.is_empty());
        // Whoever wrote it, it comes to a terminal in the end.
        let summary = line.unwrap_or_default().chars().filter(|it| !it.is_control()).take(SUMMARY).collect();
        let mut aliases = self.aliases.clone();
        // `DEBIAN-CVE-…` is what Debian says of that CVE, which it does not call an alias.
        aliases.extend(self.id.split_once('-').filter(|(_, it)| it.starts_with("CVE-")).map(|(_, it)| it.to_owned()));
        aliases.retain(|it| *it != self.id);
        aliases.sort_unstable();
        aliases.dedup();
        let upstream = self.upstream.iter().filter(|it| !aliases.contains(it)).cloned().collect();
        Advisory {
            id: self.id.clone(),
            aliases,
            upstream,
            summary,
            kind: if self.id.starts_with("MAL-") { Kind::Malicious } else { Kind::Notice },
            is_reviewed: self.database_specific.review_status != "UNREVIEWED",
            references: self.addresses(),
            imports: Vec::new(),
            affected: Vec::new(),
        }
    }

    fn addresses(&self) -> Vec<String> {
        let rank = |kind: &str| ["ADVISORY", "FIX", "REPORT"].iter().position(|it| *it == kind).unwrap_or(3);
        let mut references: Vec<_> = self.references.iter().filter(|it| it.kind != "PACKAGE").collect();
        references.sort_by_key(|it| rank(&it.kind));
        references.iter().take(REFERENCES).map(|it| it.url.clone()).collect()
    }

    /// The worst that is said here, or else of the whole; vectors before words there, since they say more.
    fn severity(&self, affected: &osv::Affected) -> Severity {
        let ratings = |of: &[Rating]| {
            let severity = |it: &Rating| match it.scale.starts_with("CVSS") {
                true => Severity::from_vector(&it.score),
                false => Severity::from_word(&it.score),
            };
            of.iter().filter_map(severity).max()
        };
        let words = |of: &Specific| Severity::from_word(&of.severity).or_else(|| Severity::from_word(&of.urgency));
        ratings(&affected.severity)
            .or_else(|| words(&affected.ecosystem_specific))
            .or_else(|| words(&affected.database_specific))
            .or_else(|| ratings(&self.severity))
            .or_else(|| words(&self.database_specific))
            .unwrap_or_default()
    }
}

impl Advisory {
    fn add(&mut self, record: &Record, affected: &osv::Affected, release: Option<String>) {
        let kind = match affected.database_specific.informational.as_str() {
            "unmaintained" => Kind::Unmaintained,
            "unsound" => Kind::Unsound,
            "notice" => Kind::Notice,
            _ => Kind::Vulnerability,
        };
        self.kind = self.kind.max(kind);
        for import in &affected.ecosystem_specific.imports {
            if !import.path.is_empty() && !self.imports.contains(&import.path) {
                self.imports.push(import.path.clone());
            }
        }
        let ranges = affected.ranges.iter().filter(|it| it.order != Order::Other);
        let range = |it: &osv::Range| Range { is_semver: it.order == Order::Semver, events: it.events.clone() };
        self.affected.push(Affected {
            release,
            severity: record.severity(affected),
            ranges: ranges.map(range).collect(),
            versions: affected.versions.clone(),
        });
    }

    /// Forgets listed versions that are in a range anyway, which are nearly all: the verdicts stay the same.
    pub fn trim(&mut self, family: Family) {
        // Versions that are equal to the ecosystem need not be so to Semantic Versioning.
        let is_own = |it: &&Range| !it.is_semver || family.scheme().is_semver();
        for Affected { ranges, versions, .. } in &mut self.affected {
            versions.retain(|it| {
                let version = Installed::new(family, it);
                !ranges.iter().filter(is_own).any(|range| range.contains(&version) == Ok(true))
            });
        }
    }

    /// What it says of a version of the package, in a release of a distribution; none is any release.
    pub fn evaluate(&self, release: Option<&str>, installed: &Installed<'_>) -> Verdict {
        let mut doubt = Verdict::Unaffected;
        for Affected { ranges, versions, .. } in self.of(release) {
            match evaluate(ranges, versions, installed) {
                Verdict::Affected => return Verdict::Affected,
                Verdict::Unaffected => {}
                undecided => doubt = undecided,
            }
        }
        doubt
    }

    /// How bad it is in a release.
    pub fn severity(&self, release: Option<&str>) -> Severity {
        self.of(release).map(|it| it.severity).max().unwrap_or_default()
    }

    fn of<'a>(&'a self, release: Option<&str>) -> impl Iterator<Item = &'a Affected> {
        self.affected.iter().filter(move |it| is_release(it.release.as_deref(), release))
    }

    /// Versions that a `fixed` event of this release names.
    fn fixed<'a>(&'a self, release: Option<&str>) -> impl Iterator<Item = &'a String> {
        self.of(release).flat_map(|it| &it.ranges).flat_map(|it| &it.events).filter_map(|it| match it {
            Event::Fixed(version) => Some(version),
            _ => None,
        })
    }
}

/// The lowest version above the installed one that an advisory calls fixed and that none of them affects. None when
/// there is none, or the installed one is no version.
pub fn first_fixed<'a>(
    family: Family,
    release: Option<&str>,
    advisories: &[&'a Advisory],
    installed: &Installed<'_>,
) -> Option<String> {
    let version = installed.version().ok()?;
    let parse = |text: &'a String| Some((Version::parse(family.scheme(), text).ok()?, text));
    let mut fixed: Vec<(Version, &String)> =
        advisories.iter().flat_map(|it| it.fixed(release)).filter_map(parse).collect();
    fixed.retain(|(it, _)| it > version);
    fixed.sort_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    let is_out = |text: &str| {
        let candidate = Installed::new(family, text);
        advisories.iter().all(|it| it.evaluate(release, &candidate) == Verdict::Unaffected)
    };
    fixed.into_iter().find(|(_, text)| is_out(text)).map(|(_, text)| text.clone())
}

#[cfg(test)]
mod tests;
