//! `uv.lock`. The project and its workspace are packages themselves; groups for development stand in a section of their own.
//!
//! The format is uv's: <https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile>.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::draft::{Draft, Found};
use crate::sections::Sections;
use crate::wishes::Wishes;
use crate::{LockFile, LockFileError, Source};

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    version: Option<i64>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    /// Left out when it is dynamic.
    #[serde(default)]
    version: String,
    #[serde(default)]
    source: BTreeMap<String, toml::Value>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// There where the lock has more than one.
    #[serde(default)]
    version: String,
}

pub(crate) fn parse(text: &str, mut draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let mut wishes = Wishes::new(draft.limits.requests);
    let mut sections = Sections::new(text, draft.limits.depth);
    let mut last = None;
    while let Some(section) = sections.next()? {
        match (section.name.as_str(), last) {
            ("", _) => {
                if let Some(version) = section.read::<Head>()?.version
                    && version != 1
                {
                    return Err(LockFileError::version(&version.to_string(), "1"));
                }
            }
            ("package", _) => {
                let Package { name, version, source, dependencies } = section.read()?;
                let from = from(&source);
                let found = Found {
                    name: &name,
                    version: &version,
                    source: Some(from),
                    line: section.line,
                    ..Found::default()
                };
                let package = draft.add(found)?;
                if source.contains_key("virtual") || source.contains_key("editable") {
                    draft.root(package, Some(false));
                }
                for it in &dependencies {
                    wishes.ask(package, &it.name, &it.version, false)?;
                }
                last = Some(package);
            }
            (kind @ ("package.optional-dependencies" | "package.dev-dependencies"), Some(package)) => {
                for it in section.read::<BTreeMap<String, Vec<Dependency>>>()?.values().flatten() {
                    wishes.ask(package, &it.name, &it.version, kind == "package.dev-dependencies")?;
                }
            }
            _ => {}
        }
    }
    Ok(wishes.finish(draft, |it| &it.name))
}

fn from(source: &BTreeMap<String, toml::Value>) -> Source {
    match source.iter().next().map(|(kind, value)| (kind.as_str(), value.as_str().unwrap_or_default())) {
        None => Source::Registry,
        Some(("registry", address)) if address.starts_with("https://pypi.org/") => Source::Registry,
        Some(("registry", _)) => Source::OtherRegistry,
        Some(("git", _)) => Source::Git,
        Some(("url", _)) => Source::Url,
        Some(_) => Source::Path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Limits, parse};

    #[test]
    fn the_project_is_the_root_and_groups_are_dev() {
        let text = r#"version = 1
revision = 3
requires-python = ">=3.12"

[[package]]
name = "app"
source = { virtual = "." }
dependencies = [
    { name = "a", version = "2.0", source = { registry = "https://pypi.org/simple" }, marker = "x" },
]

[package.optional-dependencies]
cli = [{ name = "fork" }]

[package.dev-dependencies]
dev = [{ name = "tool" }]

[package.metadata]
requires-dist = [{ name = "a" }]

[[package]]
name = "a"
version = "1.0"
source = { registry = "https://pypi.org/simple" }

[[package]]
name = "a"
version = "2.0"
source = { registry = "https://pypi.org/simple" }

[[package]]
name = "fork"
version = "3.0"
source = { git = "https://example.org/fork?rev=01#0123" }

[[package]]
name = "tool"
version = "1.0"
source = { registry = "https://example.org/simple" }
dependencies = [{ name = "a", version = "1.0" }]
"#;
        let lock = parse(Format::Uv, text.as_bytes(), &Limits::default()).unwrap();
        let read: Vec<_> = lock.packages.iter().map(|it| (&*it.name, &*it.version, it.dev, it.source)).collect();
        assert_eq!(
            read,
            [
                ("app", "", Some(false), Source::Path),
                ("a", "1.0", Some(true), Source::Registry),
                ("a", "2.0", Some(false), Source::Registry),
                ("fork", "3.0", Some(false), Source::Git),
                ("tool", "1.0", Some(true), Source::OtherRegistry)
            ]
        );
        assert_eq!(lock.chain(1), ["app", "tool", "a"]);
        assert_eq!(lock.packages[1].direct, Some(false));
    }

    #[test]
    fn other_versions_are_refused() {
        assert!(parse(Format::Uv, b"version = 2\n", &Limits::default()).is_err());
    }
}
