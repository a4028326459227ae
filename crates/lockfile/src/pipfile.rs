//! `Pipfile.lock`: packages by name in `default`, `develop` and groups of any other name.

use serde::Deserialize;
use serde::de::{Error, MapAccess};

use crate::draft::{Draft, Found};
use crate::json::{self, Fields, Object, Text};
use crate::lines::Lines;
use crate::pypi::normalize;
use crate::{LockFile, LockFileError, NoteKind, Source};

pub(crate) fn parse(text: &str, draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let mut lock = Lock { draft, lines: Lines::new(text), failure: None };
    let read = json::read(text, &mut lock);
    match lock.failure {
        Some(failure) => Err(failure),
        None => read.map(|()| lock.draft.finish()),
    }
}

struct Lock<'t, 'l> {
    draft: Draft<'l>,
    lines: Lines<'t>,
    failure: Option<LockFileError>,
}

struct Group<'k, 't, 'l> {
    lock: &'k mut Lock<'t, 'l>,
    dev: bool,
}

#[derive(Deserialize)]
struct Entry<'t> {
    #[serde(borrow, default)]
    version: Text<'t>,
    #[serde(borrow, default)]
    git: Text<'t>,
    #[serde(rename = "ref", borrow, default)]
    commit: Text<'t>,
    #[serde(borrow, default)]
    path: Text<'t>,
    #[serde(borrow, default)]
    file: Text<'t>,
}

impl<'t> Fields<'t> for Lock<'t, '_> {
    fn field<A: MapAccess<'t>>(&mut self, name: Text<'t>, object: &mut A) -> Result<(), A::Error> {
        match &*name {
            "_meta" => json::skip(object),
            group => {
                let dev = group != "default";
                object.next_value_seed(Object(&mut Group { lock: self, dev }))
            }
        }
    }
}

impl<'t> Fields<'t> for Group<'_, 't, '_> {
    fn field<A: MapAccess<'t>>(&mut self, name: Text<'t>, object: &mut A) -> Result<(), A::Error> {
        let entry: Entry<'t> = object.next_value()?;
        let line = self.lock.lines.of(&name);
        let source = match &entry {
            it if !it.git.is_empty() => Source::Git,
            it if it.file.contains("://") => Source::Url,
            it if !it.path.is_empty() || !it.file.is_empty() => Source::Path,
            _ => Source::Registry,
        };
        let version = entry.version.trim_start_matches('=');
        let version = if source == Source::Git { &*entry.commit } else { version };
        if version.is_empty() && source == Source::Registry {
            self.lock.draft.note(line, NoteKind::Unpinned, &name);
            return Ok(());
        }
        let name = &normalize(&name);
        let found = Found { name, version, source: Some(source), dev: Some(self.dev), line, ..Found::default() };
        self.lock.draft.add(found).map(|_| ()).map_err(|error| {
            let stop = A::Error::custom(&error);
            self.lock.failure = Some(error);
            stop
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Limits, parse};

    #[test]
    fn groups_other_than_default_are_dev() {
        let text = r#"{"_meta": {"hash": {"sha256": "01"}},
            "default": {"Flask": {"hashes": ["sha256:01"], "version": "==3.0.0"},
                        "fork": {"git": "https://example.org/fork", "ref": "0123"}, "odd": {}},
            "develop": {"tool": {"path": "./tool", "editable": true}}}"#;
        let lock = parse(Format::Pipfile, text.as_bytes(), &Limits::default()).unwrap();
        let read: Vec<_> = lock.packages.iter().map(|it| (&*it.name, &*it.version, it.dev, it.source)).collect();
        assert_eq!(
            read,
            [
                ("flask", "3.0.0", Some(false), Source::Registry),
                ("fork", "0123", Some(false), Source::Git),
                ("tool", "", Some(true), Source::Path)
            ]
        );
        assert_eq!(lock.notes[0].to_string(), "line 3: `odd` has no exact version here; pin it to have it checked");
    }
}
