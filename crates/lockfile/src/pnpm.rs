//! `pnpm-lock.yaml`.
//!
//! Importers are the folders of the project and name what they ask for. `packages` has what is installed; until version 6
//! each entry also says what it asks for, from version 9 on `snapshots` does, once for each set of peers. Peers make keys
//! longer (`a@1.0.0(b@2.0.0)`, in version 5 `/a/1.0.0_b@2.0.0`) and are cut off here: they are the same package.
//!
//! The format is pnpm's: <https://github.com/pnpm/spec/tree/master/lockfile>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::draft::{Draft, Found};
use crate::lock_file::NONE;
use crate::wishes::Wishes;
use crate::yaml::{Reader, Value};
use crate::{LockFile, LockFileError, NoteKind, Source, npm};

const KNOWN: &str = "5.x, 6.x and 9.x";

pub(crate) fn parse(text: &str, draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let reader = Reader::new(text, draft.limits.depth);
    let wishes = Wishes::new(draft.limits.requests);
    let mut lock = Lock { reader, draft, version: 0, index: BTreeMap::new(), wishes };
    while lock.reader.document()? {
        if lock.reader.map()? {
            lock.document()?;
        }
    }
    if lock.version == 0 {
        return Err(LockFileError::syntax(1, "no `lockfileVersion`, so this is no lock of pnpm"));
    }
    Ok(lock.finish())
}

struct Lock<'t, 'l> {
    reader: Reader<'t>,
    draft: Draft<'l>,
    /// The first number of `lockfileVersion`.
    version: u32,
    /// Packages by [`Lock::key`].
    index: BTreeMap<Box<str>, u32>,
    /// By version or key; from [`NONE`] when the project asks.
    wishes: Wishes,
}

/// What an entry of `packages` says about itself.
#[derive(Default)]
struct Entry<'t> {
    name: Cow<'t, str>,
    version: Cow<'t, str>,
    source: Option<Source>,
    dev: Option<bool>,
}

impl<'t> Lock<'t, '_> {
    fn document(&mut self) -> Result<(), LockFileError> {
        while let Some((key, _)) = self.reader.key()? {
            match &*key {
                "lockfileVersion" => {
                    let found = self.reader.text()?;
                    self.version = match found.split('.').next().and_then(|it| it.parse().ok()) {
                        Some(version @ (5 | 6 | 9)) => version,
                        _ => return Err(LockFileError::version(&found, KNOWN)),
                    };
                }
                "importers" => self.importers()?,
                "packages" => self.packages()?,
                "snapshots" => self.snapshots()?,
                other => self.asks(other, NONE)?,
            }
        }
        Ok(())
    }

    fn importers(&mut self) -> Result<(), LockFileError> {
        if self.reader.map()? {
            while self.reader.key()?.is_some() {
                if self.reader.map()? {
                    while let Some((key, _)) = self.reader.key()? {
                        self.asks(&key, NONE)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn packages(&mut self) -> Result<(), LockFileError> {
        if self.reader.map()? {
            while let Some((key, line)) = self.reader.key()? {
                self.package(&key, line)?;
            }
        }
        Ok(())
    }

    fn package(&mut self, raw: &str, line: usize) -> Result<(), LockFileError> {
        let first = self.wishes.len();
        let mut entry = Entry::default();
        if self.reader.map()? {
            while let Some((key, _)) = self.reader.key()? {
                match &*key {
                    "name" => entry.name = self.reader.text()?,
                    "version" => entry.version = self.reader.text()?,
                    "dev" => entry.dev = Some(self.reader.text()? == "true"),
                    "resolution" => entry.source = self.resolution()?,
                    other => self.asks(other, NONE)?,
                }
            }
        }
        let package = self.add(raw, line, entry)?;
        if package == NONE {
            self.wishes.truncate(first);
        }
        self.wishes.belong(first, package);
        Ok(())
    }

    fn add(&mut self, raw: &str, line: usize, entry: Entry<'_>) -> Result<u32, LockFileError> {
        let key = self.key(raw);
        if let Some(&known) = self.index.get(&*key) {
            if let Some(package) = self.draft.package(known)
                && entry.dev == Some(false)
            {
                package.dev = entry.dev;
            }
            return Ok(known);
        }
        let (name, version) = split(&key).unwrap_or_default();
        let name = if entry.name.is_empty() { name } else { &*entry.name };
        let version = if entry.version.is_empty() { version } else { &*entry.version };
        if name.is_empty() || version.is_empty() {
            self.draft.note(line, NoteKind::Unclear, raw);
            return Ok(NONE);
        }
        let Entry { source, dev, .. } = entry;
        let package = self.draft.add(Found { name, version, source, dev, line, ..Found::default() })?;
        self.index.insert(key.into(), package);
        Ok(package)
    }

    fn resolution(&mut self) -> Result<Option<Source>, LockFileError> {
        let mut source = None;
        if self.reader.map()? {
            while let Some((key, _)) = self.reader.key()? {
                let value = self.reader.text()?;
                match (&*key, &*value) {
                    ("tarball", address) if source.is_none() => source = Some(npm::source(address)),
                    ("type", "git") | ("repo" | "commit", _) => source = Some(Source::Git),
                    ("type", "directory") | ("directory", _) => source = Some(Source::Path),
                    _ => {}
                }
            }
        }
        Ok(source)
    }

    fn snapshots(&mut self) -> Result<(), LockFileError> {
        if self.reader.map()? {
            while let Some((key, line)) = self.reader.key()? {
                let package = self.index.get(&*self.key(&key)).copied();
                match package {
                    Some(package) if self.reader.map()? => {
                        while let Some((key, _)) = self.reader.key()? {
                            self.asks(&key, package)?;
                        }
                    }
                    Some(_) => {}
                    None => {
                        self.draft.note(line, NoteKind::Unclear, &key);
                        self.reader.skip()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes what the project or a package asks for, or skips what is no such field.
    fn asks(&mut self, field: &str, from: u32) -> Result<(), LockFileError> {
        let dev = match field {
            "dependencies" | "optionalDependencies" => false,
            "devDependencies" => true,
            _ => return self.reader.skip(),
        };
        if !self.reader.map()? {
            return Ok(());
        }
        while let Some((name, _)) = self.reader.key()? {
            let mut reference = Cow::Borrowed("");
            match self.reader.value()? {
                Value::Text(text) => reference = text,
                Value::Map => {
                    while let Some((key, _)) = self.reader.key()? {
                        match &*key {
                            "version" => reference = self.reader.text()?,
                            _ => self.reader.skip()?,
                        }
                    }
                }
                Value::List => {}
            }
            self.wishes.ask(from, &name, &reference, dev)?;
        }
        Ok(())
    }

    /// The key of a package without its peers, in the shape `name@version`; for what is from no registry, as it is.
    fn key<'k>(&self, raw: &'k str) -> Cow<'k, str> {
        let raw = raw.split_once('(').map_or(raw, |(before, _)| before);
        let Some(path) = raw.strip_prefix('/') else { return Cow::Borrowed(raw) };
        if self.version != 5 {
            return Cow::Borrowed(path);
        }
        let scope = if path.starts_with('@') { path.find('/').map_or(0, |it| it + 1) } else { 0 };
        let unscoped = path.get(scope..).unwrap_or_default();
        match unscoped.split_once('/') {
            Some((name, version)) => {
                let version = version.split_once('_').map_or(version, |(before, _)| before);
                Cow::Owned(format!("{}{name}@{version}", path.get(..scope).unwrap_or_default()))
            }
            None => Cow::Borrowed(raw),
        }
    }

    /// The package that a reference means; [`NONE`] for links to folders of the project.
    fn find(&self, name: &str, reference: &str) -> u32 {
        let mut version = reference.split_once('(').map_or(reference, |(before, _)| before);
        if self.version == 5 && !version.contains('/') {
            version = version.split_once('_').map_or(version, |(before, _)| before);
        }
        let named = self.index.get(&*format!("{name}@{version}"));
        named.or_else(|| self.index.get(&*self.key(reference))).copied().unwrap_or(NONE)
    }

    fn finish(mut self) -> LockFile {
        let wishes = std::mem::replace(&mut self.wishes, Wishes::new(0));
        wishes.each(|from, name, reference, dev| match (from, self.find(name, reference)) {
            (_, NONE) => {}
            (NONE, to) => self.draft.root(to, Some(dev)),
            (from, to) => self.draft.edge(from, to, false),
        });
        self.draft.finish()
    }
}

/// `name@version`, where a name may begin with `@`.
fn split(key: &str) -> Option<(&str, &str)> {
    let at = key.get(1..)?.find('@')? + 1;
    Some((key.get(..at)?, key.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Limits, parse};

    fn read(text: &str) -> LockFile {
        parse(Format::Pnpm, text.as_bytes(), &Limits::default()).unwrap()
    }

    fn shown(lock: &LockFile) -> Vec<String> {
        let line = |(index, it): (usize, &crate::Package)| {
            let dev = it.dev.map_or("", |dev| if dev { " dev" } else { "" });
            format!("{}@{}{dev} {}", it.name, it.version, lock.chain(index).join(">"))
        };
        lock.packages.iter().enumerate().map(line).collect()
    }

    #[test]
    fn version_9_has_snapshots() {
        let lock = read(concat!(
            "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      a:\n        specifier: ^1\n",
            "        version: 1.0.0(p@2.0.0)\n      low:\n        specifier: npm:lodash@4\n        version: lodash@4.17.21\n",
            "    devDependencies:\n      t:\n        specifier: '1'\n        version: 1.0.0\n",
            "      w:\n        specifier: workspace:*\n        version: link:packages/w\n",
            "packages:\n  a@1.0.0:\n    resolution: {integrity: sha512-x}\n    peerDependencies:\n      p: '2'\n",
            "  lodash@4.17.21:\n    resolution: {integrity: sha512-x}\n  p@2.0.0:\n    resolution: {integrity: sha512-x}\n",
            "  t@1.0.0:\n    resolution: {tarball: https://example.org/t.tgz}\n  '@s/u@1.0.0':\n    resolution: {integrity: x}\n",
            "  g@https://codeload.github.com/x/g/tar.gz/01:\n    resolution: {type: git, repo: x, commit: '01'}\n",
            "    version: 3.0.1\n",
            "snapshots:\n  a@1.0.0(p@2.0.0):\n    dependencies:\n      p: 2.0.0\n  t@1.0.0:\n    dependencies:\n",
            "      '@s/u': 1.0.0\n      p: 2.0.0\n      g: https://codeload.github.com/x/g/tar.gz/01\n  p@2.0.0: {}\n",
        ));
        assert_eq!(
            shown(&lock),
            [
                "a@1.0.0 a",
                "lodash@4.17.21 lodash",
                "p@2.0.0 a>p",
                "t@1.0.0 dev t",
                "@s/u@1.0.0 dev t>@s/u",
                "g@3.0.1 dev t>g"
            ]
        );
        assert_eq!((lock.packages[3].source, lock.packages[5].source), (Source::Url, Source::Git));
        assert_eq!(lock.packages[0].line.unwrap().get(), 19);
    }

    #[test]
    fn version_6_has_slashes() {
        let lock = read(concat!(
            "lockfileVersion: '6.0'\ndependencies:\n  a:\n    specifier: ^1\n    version: 1.0.0(p@2.0.0)\n",
            "packages:\n  /@s/u@1.0.0:\n    dev: false\n  /a@1.0.0(p@2.0.0):\n    dependencies:\n      '@s/u': 1.0.0\n",
            "      low: /lodash@4.17.21\n    dev: false\n  /lodash@4.17.21:\n    dev: true\n",
        ));
        assert_eq!(shown(&lock), ["@s/u@1.0.0 a>@s/u", "a@1.0.0 a", "lodash@4.17.21 dev a>lodash"]);
    }

    #[test]
    fn version_5_has_underscores() {
        let lock = read(concat!(
            "lockfileVersion: 5.4\nspecifiers:\n  a: ^1\ndependencies:\n  a: 1.0.0_p@2.0.0\n  g: github.com/x/g/01\n",
            "packages:\n  /@s/u/1.0.0_b_c@1:\n    dev: false\n  /a/1.0.0_p@2.0.0:\n    dependencies:\n",
            "      '@s/u': 1.0.0_b_c@1\n    dev: false\n  github.com/x/g/01:\n    name: g\n    version: 3.0.1\n",
            "    resolution: {tarball: https://codeload.github.com/x/g/tar.gz/01}\n  example.org/n/1.0.0: {}\n",
        ));
        assert_eq!(shown(&lock), ["@s/u@1.0.0 a>@s/u", "a@1.0.0 a", "g@3.0.1 g"]);
        assert_eq!(lock.packages[2].source, Source::Url);
        assert_eq!(&*lock.notes[0].subject, "example.org/n/1.0.0");
    }

    #[test]
    fn other_versions_are_refused() {
        let error = |text: &str| parse(Format::Pnpm, text.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!(error("lockfileVersion: '12.0'"), LockFileError::version("12.0", KNOWN));
        assert!(matches!(error("a: b"), LockFileError::Syntax { .. }));
    }
}
