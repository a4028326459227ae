//! `Cargo.lock`. A package without a source lies beside the project; dependencies are `name`, `name version` where there
//! is more than one of that name, or `name version (source)` in old files.

use serde::Deserialize;

use crate::draft::{Draft, Found};
use crate::sections::Sections;
use crate::wishes::Wishes;
use crate::{LockFile, LockFileError, Source};

const KNOWN: &str = "1 to 4";

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    version: Option<i64>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

pub(crate) fn parse(text: &str, mut draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let mut wishes = Wishes::new(draft.limits.requests);
    let mut sections = Sections::new(text, draft.limits.depth);
    while let Some(section) = sections.next()? {
        match section.name.as_str() {
            "" => {
                if let Some(version) = section.read::<Head>()?.version
                    && !(1..=4).contains(&version)
                {
                    return Err(LockFileError::version(&version.to_string(), KNOWN));
                }
            }
            // `root` is the project itself in the oldest files.
            "package" | "root" => {
                let Package { name, version, source, dependencies } = section.read()?;
                let source = from(&source);
                let found = Found {
                    name: &name,
                    version: &version,
                    source: Some(source),
                    line: section.line,
                    ..Found::default()
                };
                let package = draft.add(found)?;
                if source == Source::Path {
                    draft.root(package, None);
                }
                for it in &dependencies {
                    let mut parts = it.split(' ');
                    let (name, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                    wishes.ask(package, name, version, false)?;
                }
            }
            _ => {}
        }
    }
    Ok(wishes.finish(draft, |it| &it.name))
}

/// A replaced source of crates.io stays out of the lock file, so any other registry is one of its own.
fn from(source: &str) -> Source {
    match source.split_once('+') {
        None if source.is_empty() => Source::Path,
        Some(("registry", "https://github.com/rust-lang/crates.io-index")) => Source::Registry,
        Some(("sparse", "https://index.crates.io/")) => Source::Registry,
        Some(("git", _)) => Source::Git,
        Some(("path", _)) => Source::Path,
        _ => Source::OtherRegistry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Limits, parse};

    #[test]
    fn dependencies_name_versions_where_they_must() {
        let text = r#"version = 4

[[package]]
name = "app"
version = "0.1.0"
dependencies = [
 "a 1.0.0",
 "fork",
]

[[package]]
name = "a"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
dependencies = ["a 2.0.0 (registry+https://github.com/rust-lang/crates.io-index)"]

[[package]]
name = "a"
version = "2.0.0"
source = "registry+https://example.org/index"

[[package]]
name = "fork"
version = "3.0.0"
source = "git+https://example.org/fork?rev=01#0123"

[metadata]
"checksum a 1.0.0" = "01"
"#;
        let lock = parse(Format::Cargo, text.as_bytes(), &Limits::default()).unwrap();
        let sources: Vec<_> = lock.packages.iter().map(|it| it.source).collect();
        assert_eq!(sources, [Source::Path, Source::Registry, Source::OtherRegistry, Source::Git]);
        assert_eq!(lock.chain(2), ["app", "a", "a"]);
        assert_eq!(lock.packages[1].direct, Some(true));
        assert_eq!(lock.packages[2].direct, Some(false));
        assert_eq!(lock.packages[1].line.unwrap().get(), 11);
    }

    #[test]
    fn mistakes_have_lines() {
        let error = |text: &str| parse(Format::Cargo, text.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!(error("version = 9\n"), LockFileError::version("9", KNOWN));
        assert!(matches!(error("version = 3\n\n[[package]]\nname = 1\n"), LockFileError::Syntax { line: 4, .. }));
        assert!(matches!(error("version = 3\n\n[[package]]\nname = \"a\"\n"), LockFileError::Syntax { line: 4, .. }));
    }
}
