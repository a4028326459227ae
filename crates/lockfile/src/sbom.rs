//! A bill of materials in CycloneDX 1.6 of what lock files name: <https://cyclonedx.org/docs/1.6/json/>.
//!
//! A package that stands at several places, in one file or in many, is one component with an occurrence for each. What is
//! written depends on the arguments alone, so that two documents differ where the packages do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde::Serialize;

use crate::purl::purl;
use crate::{Ecosystem, LockFile, Package, Source};

/// What a document is made of.
#[derive(Debug, Clone)]
pub struct Bom<'a> {
    /// Tells the document from all others: a UUID in lower case, without `urn:uuid:`.
    pub serial: &'a str,
    /// When it is made, as RFC 3339 has it.
    pub timestamp: &'a str,
    /// The name of what the packages are part of, such as that of the repository.
    pub subject: &'a str,
    /// The version of upkeep.
    pub tool_version: &'a str,
    /// Lock files with their paths as they are to be shown.
    pub files: &'a [(&'a str, &'a LockFile)],
    /// What is known against the packages. None leaves the field out: nobody looked.
    pub vulnerabilities: Option<&'a [Vulnerability]>,
}

/// Something known against packages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Vulnerability {
    /// Such as `GHSA-xxxx-xxxx-xxxx` or `CVE-2026-0001`.
    pub id: String,
    /// How bad it is, by each who rated it.
    pub ratings: Vec<Rating>,
    /// The components that it concerns, by [`bom_ref`].
    #[serde(serialize_with = "affected")]
    pub affects: Vec<String>,
}

/// How bad something is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rating {
    /// In words.
    pub severity: Severity,
    /// From 0 to 10, by the method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// How the score was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// What the score was found from, such as `CVSS:3.1/AV:N/...`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<String>,
}

/// How bad something is, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words of the format")]
pub enum Severity {
    Unknown,
    None,
    Info,
    Low,
    Medium,
    High,
    Critical,
}

/// How a score was found: a version of CVSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[expect(missing_docs, reason = "the words of the format")]
pub enum Method {
    #[serde(rename = "CVSSv2")]
    Cvss2,
    #[serde(rename = "CVSSv3")]
    Cvss3,
    #[serde(rename = "CVSSv31")]
    Cvss31,
    #[serde(rename = "CVSSv4")]
    Cvss4,
    #[serde(rename = "other")]
    Other,
}

impl Bom<'_> {
    /// Writes the document as JSON.
    ///
    /// # Errors
    ///
    /// When the writer fails.
    pub fn write(&self, to: impl Write) -> Result<(), serde_json::Error> {
        let (components, dependencies) = self.parts();
        serde_json::to_writer(
            to,
            &Document {
                bom_format: "CycloneDX",
                spec_version: "1.6",
                serial_number: format!("urn:uuid:{}", self.serial),
                version: 1,
                metadata: Metadata {
                    timestamp: self.timestamp,
                    tools: Tools {
                        components: [Named { kind: "application", name: "upkeep", version: self.tool_version }],
                    },
                    component: Named { kind: "application", name: self.subject, version: "" },
                },
                components: components.into_values().collect(),
                dependencies,
                vulnerabilities: self.vulnerabilities,
            },
        )
    }

    /// Components by reference, and what they depend on.
    fn parts(&self) -> (BTreeMap<String, Component<'_>>, Vec<Dependency>) {
        let mut components = BTreeMap::new();
        let mut edges = BTreeMap::<_, BTreeSet<_>>::new();
        for (path, file) in self.files {
            let refs: Vec<_> = file.packages.iter().map(|it| bom_ref(file, it)).collect();
            for (index, (package, id)) in file.packages.iter().zip(&refs).enumerate() {
                let component =
                    components.entry(id.clone()).or_insert_with(|| Component::new(file, package, id.clone()));
                component.stands(path, package);
                let required = file.requires(index).filter_map(|it| refs.get(it)).filter(|it| *it != id);
                edges.entry(id.clone()).or_default().extend(required.cloned());
            }
        }
        let depend = |(id, on): (String, BTreeSet<String>)| Dependency { id, on: on.into_iter().collect() };
        (components, edges.into_iter().filter(|(_, on)| !on.is_empty()).map(depend).collect())
    }
}

/// The reference of a package's component: its package URL, or what tells it from all others where it is from no registry.
/// Packages of the same name, version and kind of source are one component.
pub fn bom_ref(file: &LockFile, package: &Package) -> String {
    let Package { name, version, source, .. } = package;
    let source = match source {
        Source::Registry => return purl(&file.ecosystem, name, version),
        Source::OtherRegistry => "registry",
        Source::Git => "git",
        Source::Url => "url",
        Source::Path => "path",
    };
    format!("{source}:{}/{name}@{version}", file.ecosystem)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    bom_format: &'a str,
    spec_version: &'a str,
    serial_number: String,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component<'a>>,
    dependencies: Vec<Dependency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vulnerabilities: Option<&'a [Vulnerability]>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    timestamp: &'a str,
    tools: Tools<'a>,
    component: Named<'a>,
}

#[derive(Serialize)]
struct Tools<'a> {
    components: [Named<'a>; 1],
}

#[derive(Serialize)]
struct Named<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
}

#[derive(Serialize)]
struct Component<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(rename = "bom-ref")]
    id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    evidence: Evidence<'a>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    properties: BTreeSet<Property<'a>>,
}

#[derive(Serialize)]
struct Evidence<'a> {
    occurrences: Vec<Occurrence<'a>>,
}

#[derive(Serialize)]
struct Occurrence<'a> {
    location: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<std::num::NonZeroU32>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Property<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct Dependency {
    #[serde(rename = "ref")]
    id: String,
    #[serde(rename = "dependsOn")]
    on: Vec<String>,
}

impl<'a> Component<'a> {
    fn new(file: &LockFile, package: &'a Package, id: String) -> Self {
        // What other formats write before the name stands in a field of its own.
        let parts = match file.ecosystem {
            Ecosystem::Npm | Ecosystem::Packagist => package.name.split_once('/'),
            Ecosystem::Maven => package.name.split_once(':'),
            _ => None,
        };
        let (group, name) = parts.unwrap_or(("", &package.name));
        let purl = package.source.is_registry().then(|| id.clone());
        let evidence = Evidence { occurrences: Vec::new() };
        Self {
            kind: "library",
            id,
            group,
            name,
            version: &package.version,
            purl,
            evidence,
            properties: BTreeSet::new(),
        }
    }

    /// Says where the package stands.
    fn stands(&mut self, path: &'a str, package: &'a Package) {
        self.evidence.occurrences.push(Occurrence { location: path, line: package.line });
        if let Some(alias) = &package.alias {
            self.properties.insert(Property { name: "upkeep:alias", value: alias });
        }
        if let Some(dev) = package.dev {
            self.properties.insert(Property { name: "upkeep:dev", value: if dev { "true" } else { "false" } });
        }
    }
}

fn affected<S: serde::Serializer>(refs: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Affected<'a> {
        r#ref: &'a str,
    }

    serializer.collect_seq(refs.iter().map(|it| Affected { r#ref: it }))
}
