//! What a POM says, until all properties are known.

use std::collections::BTreeMap;

use super::LONGEST;
use crate::draft::{Draft, Found};
use crate::{LockFile, LockFileError, NoteKind, Source};

/// How many properties are put in for each other in one value.
const STEPS: usize = 32;

/// Part of the coordinates of something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Group,
    Artifact,
    Version,
    Scope,
}

/// What a POM says.
pub(super) struct Model {
    /// Whether there is a `project`.
    pub(super) found: bool,
    /// The most properties, and the most dependencies.
    limit: usize,
    /// By name, with those of the project and its parent.
    properties: BTreeMap<String, String>,
    current: Dependency,
    dependencies: Vec<Dependency>,
    /// What `dependencyManagement` says; `true` for those that stand for a whole POM.
    managed: Vec<Dependency>,
}

#[derive(Default)]
struct Dependency {
    line: usize,
    group: String,
    artifact: String,
    version: String,
    scope: String,
}

impl Model {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            found: false,
            limit,
            properties: BTreeMap::new(),
            current: Dependency::default(),
            dependencies: Vec::new(),
            managed: Vec::new(),
        }
    }

    /// A field of the project itself.
    pub(super) fn project(&mut self, field: Field, value: &str) {
        self.coordinate(["project.", "pom.", ""].as_slice(), field, value, true);
    }

    /// A field of its parent, which is also the project's where that has none.
    pub(super) fn parent(&mut self, field: Field, value: &str) {
        self.coordinate(["project.parent."].as_slice(), field, value, true);
        if field != Field::Artifact {
            self.coordinate(["project.", "pom.", ""].as_slice(), field, value, false);
        }
    }

    fn coordinate(&mut self, prefixes: &[&str], field: Field, value: &str, replace: bool) {
        let name = match field {
            Field::Group => "groupId",
            Field::Artifact => "artifactId",
            Field::Version => "version",
            Field::Scope => return,
        };
        for prefix in prefixes {
            let name = format!("{prefix}{name}");
            if replace || !self.properties.contains_key(&name) {
                self.properties.insert(name, value.to_owned());
            }
        }
    }

    pub(super) fn property(&mut self, name: &str, value: &str) {
        if self.properties.len() < self.limit {
            self.properties.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Begins a dependency.
    pub(super) fn begin(&mut self, line: usize) {
        self.current = Dependency { line, ..Dependency::default() };
    }

    /// A field of the dependency that was begun.
    pub(super) fn field(&mut self, field: Field, value: &str) {
        let place = match field {
            Field::Group => &mut self.current.group,
            Field::Artifact => &mut self.current.artifact,
            Field::Version => &mut self.current.version,
            Field::Scope => &mut self.current.scope,
        };
        value.clone_into(place);
    }

    /// The dependency that was begun is one of the project.
    pub(super) fn depend(&mut self) {
        // One more than may be, so that `finish` refuses it.
        if self.dependencies.len() <= self.limit {
            self.dependencies.push(std::mem::take(&mut self.current));
        }
    }

    /// The dependency that was begun says which version others take.
    pub(super) fn manage(&mut self) {
        if self.managed.len() < self.limit {
            self.managed.push(std::mem::take(&mut self.current));
        }
    }

    /// A text with its properties put in; `None` when one is not known, or when they go in circles.
    fn resolve(&self, text: &str) -> Option<String> {
        let mut text = text.to_owned();
        for _ in 0..STEPS {
            let Some(start) = text.find("${") else { return Some(text) };
            let end = start + text.get(start..)?.find('}')?;
            let value = self.properties.get(text.get(start + 2..end)?)?;
            text.replace_range(start..=end, value);
            if text.len() > LONGEST {
                return None;
            }
        }
        None
    }

    pub(super) fn finish(self, mut draft: Draft<'_>) -> Result<LockFile, LockFileError> {
        let name = |it: &Dependency| Some(format!("{}:{}", self.resolve(&it.group)?, self.resolve(&it.artifact)?));
        let mut versions = BTreeMap::new();
        for it in &self.managed {
            if it.scope == "import" {
                draft.note(it.line, NoteKind::Unresolved, &format!("{}:{}", it.group, it.artifact));
            } else if let (Some(name), Some(version)) = (name(it), self.resolve(&it.version)) {
                versions.insert(name, version);
            }
        }
        for it in &self.dependencies {
            let shown = || format!("{}:{}", it.group, it.artifact);
            if it.group.is_empty() || it.artifact.is_empty() {
                draft.note(it.line, NoteKind::Unclear, &shown());
                continue;
            }
            let known = name(it);
            let own = Some(&it.version).filter(|it| !it.is_empty()).map(|it| self.resolve(it));
            let version = own.unwrap_or_else(|| versions.get(known.as_ref()?).cloned());
            let (Some(name), Some(version)) = (known, version.filter(|it| !it.is_empty() && !it.contains('&'))) else {
                draft.note(it.line, NoteKind::Unresolved, &shown());
                continue;
            };
            let Some(version) = exact(&version) else {
                draft.note(it.line, NoteKind::Unpinned, &format!("{name} {version}"));
                continue;
            };
            let source = if it.scope == "system" { Source::Path } else { Source::Registry };
            let (dev, direct) = (Some(it.scope == "test"), Some(true));
            let found = Found { name: &name, version, source: Some(source), dev, direct, line: it.line, alias: "" };
            draft.add(found)?;
        }
        Ok(draft.finish())
    }
}

/// The one version that a requirement allows: `1.0` or `[1.0]`, but neither `[1.0,2.0)` nor `LATEST`.
fn exact(version: &str) -> Option<&str> {
    let inner = version.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(version);
    let open = inner.contains([',', '(', ')', '[', ']']) || matches!(inner, "LATEST" | "RELEASE");
    (!open).then_some(inner)
}
