//! Records of the [OSV schema](https://ossf.github.io/osv-schema/), as far as a scan looks at them.
//!
//! Unknown keys, and known ones with `null`, are passed over, as is what a database puts into its own objects in
//! another form than expected. What decides about versions has to be right: a record with an event that says nothing is
//! refused as a whole.

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest name of a package that is taken for one, in bytes. Indices hold names.
const LONGEST_NAME: usize = 1000;

/// A record.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    /// Its identifier, such as `GHSA-…` or `RUSTSEC-2021-0001`.
    pub id: String,
    /// When it was changed last; RFC 3339 in UTC.
    #[serde(default, deserialize_with = "null")]
    pub modified: String,
    /// Since when it does not hold any more.
    #[serde(default)]
    pub withdrawn: Option<String>,
    /// Identifiers of the same vulnerability in other databases.
    #[serde(default, deserialize_with = "null")]
    pub aliases: Vec<String>,
    /// Identifiers of vulnerabilities that this record brings to a distribution: a notice such as `DSA-…` has several.
    #[serde(default, deserialize_with = "null")]
    pub upstream: Vec<String>,
    /// One line.
    #[serde(default, deserialize_with = "null")]
    pub summary: String,
    /// All that there is to say, in Markdown.
    #[serde(default, deserialize_with = "null")]
    pub details: String,
    /// How bad it is, by several scales.
    #[serde(default, deserialize_with = "null")]
    pub severity: Vec<Rating>,
    /// What it affects.
    #[serde(default, deserialize_with = "null")]
    pub affected: Vec<Affected>,
    /// Where to read more.
    #[serde(default, deserialize_with = "null")]
    pub references: Vec<Reference>,
    /// What its database adds.
    #[serde(default, deserialize_with = "null")]
    pub database_specific: Specific,
}

/// A severity by one scale.
#[derive(Debug, Clone, Deserialize)]
pub struct Rating {
    /// `CVSS_V3`, `CVSS_V4`, `Ubuntu` and others.
    #[serde(rename = "type")]
    pub scale: String,
    /// A vector or a word.
    pub score: String,
}

/// Versions of one package.
#[derive(Debug, Clone, Deserialize)]
pub struct Affected {
    /// The package; none where only commits are known.
    #[serde(default)]
    pub package: Option<Package>,
    /// Versions by where they begin and end.
    #[serde(default, deserialize_with = "null")]
    pub ranges: Vec<Range>,
    /// Versions one by one.
    #[serde(default, deserialize_with = "null")]
    pub versions: Vec<String>,
    /// How bad it is here; stands for the record's own.
    #[serde(default, deserialize_with = "null")]
    pub severity: Vec<Rating>,
    /// What the ecosystem adds.
    #[serde(default, deserialize_with = "null")]
    pub ecosystem_specific: Specific,
    /// What the database adds.
    #[serde(default, deserialize_with = "null")]
    pub database_specific: Specific,
}

/// A package.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// The ecosystem as OSV writes it, see [`Ecosystem`](crate::ecosystem::Ecosystem).
    pub ecosystem: String,
    /// The name as the ecosystem writes it.
    pub name: String,
}

/// Where to read more.
#[derive(Debug, Clone, Deserialize)]
pub struct Reference {
    /// `ADVISORY`, `FIX`, `WEB` and others.
    #[serde(rename = "type", default, deserialize_with = "null")]
    pub kind: String,
    /// The address.
    pub url: String,
}

/// How the versions of a range are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Order {
    /// By Semantic Versioning 2.0.
    #[serde(rename = "SEMVER")]
    Semver,
    /// By the rules of the ecosystem.
    #[serde(rename = "ECOSYSTEM")]
    Ecosystem,
    /// By history: commits of git, and what later schemas may add. Nothing is said of versions.
    #[serde(other)]
    Other,
}

/// Versions between events.
#[derive(Debug, Clone, Deserialize)]
pub struct Range {
    /// The order.
    #[serde(rename = "type")]
    pub order: Order,
    /// Where it begins and ends, in any sequence.
    #[serde(deserialize_with = "events")]
    pub events: Vec<Event>,
}

/// A place in the order of versions where something begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The first version that is affected; `0` is before all others.
    Introduced(String),
    /// The first version that is not affected any more.
    Fixed(String),
    /// The last version that is affected.
    LastAffected(String),
    /// The first version of which the range says nothing any more; `*` is after all others.
    Limit(String),
}

/// Keys of `database_specific` and `ecosystem_specific` that are understood.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Specific {
    /// GitHub: `LOW`, `MODERATE`, `HIGH` or `CRITICAL`.
    #[serde(deserialize_with = "lenient")]
    pub severity: String,
    /// Debian.
    #[serde(deserialize_with = "lenient")]
    pub urgency: String,
    /// RustSec: `unmaintained`, `unsound` or `notice` for what is no vulnerability.
    #[serde(deserialize_with = "lenient")]
    pub informational: String,
    /// Go: `UNREVIEWED` for records that no person has looked at.
    #[serde(deserialize_with = "lenient")]
    pub review_status: String,
    /// Go: the packages of the module that are affected.
    #[serde(deserialize_with = "lenient")]
    pub imports: Vec<Import>,
}

/// A package of a Go module.
#[derive(Debug, Clone, Deserialize)]
pub struct Import {
    /// Its import path.
    #[serde(default)]
    pub path: String,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is no JSON, has no `id` or impossible packages, or says something of versions that is not understood.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        let record: Self = serde_json::from_slice(json).map_err(|error| RecordError::Form(error.to_string()))?;
        if record.id.is_empty() {
            return Err(RecordError::Nameless);
        }
        let mut packages = record.affected.iter().filter_map(|it| it.package.as_ref());
        if packages.any(|it| it.name.is_empty() || it.name.len() > LONGEST_NAME) {
            return Err(RecordError::Package { id: record.id });
        }
        let is_astray = |it: &Range| {
            it.order != Order::Other && !it.events.iter().any(|event| matches!(event, Event::Introduced(_)))
        };
        match record.affected.iter().flat_map(|it| &it.ranges).any(is_astray) {
            true => Err(RecordError::NoBeginning { id: record.id }),
            false => Ok(record),
        }
    }
}

/// Takes `null` for what is not there.
fn null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Takes also what has another form for what is not there.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    // The value is read whole, so that the reader does not lose its place.
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}

/// Old records have several kinds of event in one object.
fn events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Event>, D::Error> {
    #[derive(Deserialize)]
    struct Written {
        introduced: Option<String>,
        fixed: Option<String>,
        last_affected: Option<String>,
        limit: Option<String>,
    }

    let mut events = Vec::new();
    for it in Vec::<Written>::deserialize(deserializer)? {
        let before = events.len();
        events.extend(it.introduced.map(Event::Introduced));
        events.extend(it.fixed.map(Event::Fixed));
        events.extend(it.last_affected.map(Event::LastAffected));
        events.extend(it.limit.map(Event::Limit));
        if events.len() == before {
            return Err(serde::de::Error::custom("an event is neither introduced, fixed, last_affected nor limit"));
        }
    }
    Ok(events)
}

/// Why a record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is not what the schema says.
    #[error("the record does not follow the OSV schema: {0}; tell the database it came from")]
    Form(String),
    /// It has no identifier.
    #[error("the record has an empty `id`; tell the database it came from")]
    Nameless,
    /// A package without a name, or with an endless one.
    #[error("a package of {id} has no name, or one of more than {LONGEST_NAME} bytes; tell the database it came from")]
    Package {
        /// The record.
        id: String,
    },
    /// A range that nothing opens.
    #[error("a range of {id} has no `introduced` event, which the OSV schema asks for; tell the database it came from")]
    NoBeginning {
        /// The record.
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Record, RecordError> {
        Record::parse(json.as_bytes())
    }

    #[test]
    fn what_is_not_needed_may_be_anything() {
        let record = parse(
            r#"{"id": "X-1", "modified": null, "aliases": null, "severity": null, "later": [{}], "summary": "s",
                "affected": [{"package": {"ecosystem": "Go", "name": "n", "purl": null}, "versions": null,
                              "ranges": [{"type": "GIT", "repo": "r", "events": [{"introduced": "0"}]}, {"type": "NEW", "events": []}],
                              "ecosystem_specific": {"imports": "none", "urgency": 7}, "database_specific": {"severity": ["x"]}}]}"#,
        );
        let record = record.unwrap();
        assert_eq!(record.affected[0].ranges.iter().map(|it| it.order).collect::<Vec<_>>(), [Order::Other; 2]);
        assert!(record.affected[0].ecosystem_specific.imports.is_empty() && record.withdrawn.is_none());
    }

    #[test]
    fn an_old_event_is_several() {
        let json = r#"{"id": "X-1", "affected": [{"ranges": [{"type": "SEMVER", "events": [{"introduced": "1", "fixed": "2"}, {"limit": "*"}]}]}]}"#;
        let expected = [Event::Introduced("1".into()), Event::Fixed("2".into()), Event::Limit("*".into())];
        assert_eq!(parse(json).unwrap().affected[0].ranges[0].events, expected);
    }

    #[test]
    fn what_decides_has_to_be_right() {
        let range = |range: &str| format!(r#"{{"id": "X-1", "affected": [{{"ranges": [{range}]}}]}}"#);
        let cases = [
            ("[]".to_owned(), "OSV schema"),
            (r#"{"summary": "no id"}"#.to_owned(), "`id`"),
            (r#"{"id": ""}"#.to_owned(), "empty `id`"),
            (r#"{"id": "X-1", "affected": [{"versions": [1]}]}"#.to_owned(), "OSV schema"),
            (
                range(
                    r#"{"type": "NEW", "events": []}]}, {"package": {"ecosystem": "Go", "name": ""}, "ranges": [{"type": "NEW", "events": []}"#,
                ),
                "package of X-1",
            ),
            (range(r#"{"type": "SEMVER", "events": [{"ended": "1"}]}"#), "neither introduced"),
            (range(r#"{"type": "SEMVER", "events": [{"introduced": 1}]}"#), "OSV schema"),
            (range(r#"{"type": "SEMVER", "events": []}"#), "X-1 has no `introduced`"),
            (range(r#"{"type": "ECOSYSTEM", "events": [{"fixed": "1"}]}"#), "X-1 has no `introduced`"),
        ];
        for (json, expected) in cases {
            let error = parse(&json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}
