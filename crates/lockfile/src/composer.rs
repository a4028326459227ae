//! `composer.lock`: `packages`, and `packages-dev` for development.
//!
//! The format is Composer's: <https://getcomposer.org/doc/01-basic-usage.md#commit-your-composer-lock-file-to-version-control>.

use serde::Deserialize;
use serde::de::MapAccess;

use crate::draft::{Draft, Found};
use crate::json::{self, Array, Fields, Names, Text};
use crate::lines::Lines;
use crate::wishes::Wishes;
use crate::{LockFile, LockFileError, NoteKind, Source};

pub(crate) fn parse(text: &str, draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let wishes = Wishes::new(draft.limits.requests);
    let mut lock = Lock { draft, lines: Lines::new(text), wishes, failure: None, seen: false };
    let read = json::read(text, &mut lock);
    if let Some(failure) = lock.failure {
        return Err(failure);
    }
    read?;
    if !lock.seen {
        return Err(LockFileError::syntax(1, "no `packages`, so this is no lock of Composer"));
    }
    Ok(lock.wishes.finish(lock.draft, |it| &it.name))
}

struct Lock<'t, 'l> {
    draft: Draft<'l>,
    lines: Lines<'t>,
    wishes: Wishes,
    failure: Option<LockFileError>,
    /// Whether `packages` was there.
    seen: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package<'t> {
    #[serde(borrow, default)]
    name: Text<'t>,
    #[serde(borrow, default)]
    version: Text<'t>,
    #[serde(borrow, default)]
    source: Origin<'t>,
    #[serde(borrow, default)]
    dist: Origin<'t>,
    #[serde(borrow, default)]
    require: Names<'t>,
    #[serde(borrow, default)]
    notification_url: Text<'t>,
}

#[derive(Default, Deserialize)]
struct Origin<'t> {
    #[serde(rename = "type", borrow, default)]
    kind: Text<'t>,
}

impl<'t> Fields<'t> for Lock<'t, '_> {
    fn field<A: MapAccess<'t>>(&mut self, name: Text<'t>, object: &mut A) -> Result<(), A::Error> {
        let dev = match &*name {
            "packages" => false,
            "packages-dev" => true,
            _ => return json::skip(object),
        };
        self.seen |= !dev;
        object.next_value_seed(Array::new(|package: Package<'t>| {
            self.take(&package, dev).inspect_err(|error| self.failure = Some(error.clone()))
        }))
    }
}

impl<'t> Lock<'t, '_> {
    fn take(&mut self, package: &Package<'t>, dev: bool) -> Result<(), LockFileError> {
        let line = self.lines.of(&package.name);
        if package.name.is_empty() || package.version.is_empty() {
            self.draft.note(line, NoteKind::Unclear, &package.name);
            return Ok(());
        }
        let (name, version, source) = (&*package.name, &*package.version, Some(from(package)));
        let index = self.draft.add(Found { name, version, source, dev: Some(dev), line, ..Found::default() })?;
        package.require.0.iter().try_for_each(|it| self.wishes.ask(index, it, "", false))
    }
}

/// Only repositories of Composer's own kind want to be notified of downloads, Packagist among them.
fn from(package: &Package<'_>) -> Source {
    match (&*package.dist.kind, &*package.source.kind, &*package.notification_url) {
        ("path", _, _) => Source::Path,
        (_, _, url) if url.starts_with("https://packagist.org/") => Source::Registry,
        (_, "git" | "hg" | "svn" | "fossil", "") => Source::Git,
        (_, _, "") => Source::Url,
        _ => Source::OtherRegistry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Limits, parse};

    #[test]
    fn packages_are_read_with_what_they_require() {
        let text = r#"{"content-hash": "01", "packages": [
            {"name": "a/app", "version": "v1.0.0", "require": {"php": ">=8", "b/lib": "^2"},
             "notification-url": "https://packagist.org/downloads/",
             "source": {"type": "git", "url": "x", "reference": "01"}, "dist": {"type": "zip"}},
            {"name": "b/lib", "version": "2.0.0", "dist": {"type": "path", "url": "../lib"}},
            {"name": "", "version": "1"}],
          "packages-dev": [{"name": "c/fork", "version": "dev-main", "source": {"type": "git"}}],
          "aliases": []}"#;
        let lock = parse(Format::Composer, text.as_bytes(), &Limits::default()).unwrap();
        let read: Vec<_> = lock.packages.iter().map(|it| (&*it.name, &*it.version, it.dev, it.source)).collect();
        assert_eq!(
            read,
            [
                ("a/app", "v1.0.0", Some(false), Source::Registry),
                ("b/lib", "2.0.0", Some(false), Source::Path),
                ("c/fork", "dev-main", Some(true), Source::Git)
            ]
        );
        assert_eq!(lock.chain(1), ["a/app", "b/lib"]);
        assert_eq!(lock.packages[1].line.unwrap().get(), 5);
        assert_eq!(lock.notes.len(), 1);
    }

    #[test]
    fn what_is_no_lock_is_refused() {
        assert!(parse(Format::Composer, b"{}", &Limits::default()).is_err());
        let limits = Limits { packages: 0, ..Limits::default() };
        let error = parse(Format::Composer, br#"{"packages": [{"name": "a", "version": "1"}]}"#, &limits);
        assert_eq!(error, Err(LockFileError::Packages { line: 1, limit: 0 }));
    }
}
