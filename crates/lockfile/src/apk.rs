//! `/lib/apk/db/installed` of Alpine: stanzas of fields with names of one letter.
//!
//! Advisories speak about the package that others are split from, the origin (`o:`), which has their version. So a package
//! here is the origin, and its alias the package that is installed.
//!
//! The format is apk's: <https://wiki.alpinelinux.org/wiki/Apk_spec>.

use std::collections::BTreeMap;

use crate::draft::{Draft, Found};
use crate::lines::numbered;
use crate::wishes::Wishes;
use crate::{LockFile, LockFileError, NoteKind};

pub(crate) fn parse(text: &str, draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let wishes = Wishes::new(draft.limits.requests);
    let mut database = Database { draft, providers: BTreeMap::new(), wishes };
    let mut stanza = Stanza::default();
    for (line, content) in numbered(text) {
        match content.split_once(':') {
            Some((field, value)) => stanza.field(field, value, line),
            None if content.is_empty() => database.take(&std::mem::take(&mut stanza))?,
            None => database.draft.note(line, NoteKind::Unclear, content),
        }
    }
    database.take(&stanza)?;
    Ok(database.finish())
}

struct Database<'t, 'l> {
    draft: Draft<'l>,
    /// Who provides a name: packages themselves, libraries (`so:`), commands (`cmd:`).
    providers: BTreeMap<&'t str, u32>,
    wishes: Wishes,
}

#[derive(Default)]
struct Stanza<'t> {
    line: usize,
    package: &'t str,
    version: &'t str,
    origin: &'t str,
    depends: &'t str,
    provides: &'t str,
}

impl<'t> Stanza<'t> {
    fn field(&mut self, field: &str, value: &'t str, line: usize) {
        if self.line == 0 {
            self.line = line;
        }
        match field {
            "P" => {
                self.line = line;
                self.package = value;
            }
            "V" => self.version = value,
            "o" => self.origin = value,
            "D" => self.depends = value,
            "p" => self.provides = value,
            _ => {}
        }
    }
}

impl<'t> Database<'t, '_> {
    fn take(&mut self, stanza: &Stanza<'t>) -> Result<(), LockFileError> {
        let Stanza { line, package, version, origin, depends, provides } = *stanza;
        if line == 0 {
            return Ok(());
        }
        if package.is_empty() || version.is_empty() {
            self.draft.note(line, NoteKind::Unclear, package);
            return Ok(());
        }
        let name = if origin.is_empty() { package } else { origin };
        let index = self.draft.add(Found { name, version, alias: package, line, ..Found::default() })?;
        self.providers.insert(package, index);
        for it in provides.split_whitespace() {
            self.providers.entry(bare(it)).or_insert(index);
        }
        depends.split_whitespace().try_for_each(|it| self.wishes.ask(index, bare(it), "", false))
    }

    fn finish(mut self) -> LockFile {
        self.wishes.each(|from, name, _, _| {
            if let Some(&to) = self.providers.get(name)
                && to != from
            {
                self.draft.edge(from, to, false);
            }
        });
        self.draft.finish()
    }
}

/// A name without the versions that are asked for or provided: `so:libz.so.1=1.3`, `busybox>=1.36`.
fn bare(wish: &str) -> &str {
    wish.find(['=', '<', '>', '~']).and_then(|end| wish.get(..end)).unwrap_or(wish)
}

#[cfg(test)]
mod tests {
    use crate::{Format, Limits, parse};

    #[test]
    fn installed_packages_are_their_origins() {
        let text = concat!(
            "C:Q1x=\nP:curl\nV:8.5.0-r0\nA:x86_64\nD:so:libssl.so.3 musl>=1.2\no:curl\nF:usr/bin\nR:curl\n\n",
            "C:Q1y=\nP:libssl3\nV:3.1.4-r5\no:openssl\np:so:libssl.so.3=3\nD:!old musl\n\n",
            "P:musl\nV:1.2.4-r2\n\nP:odd\n\n",
        );
        let lock = parse(Format::Apk, text.as_bytes(), &Limits::default()).unwrap();
        let read: Vec<_> = lock.packages.iter().map(|it| (&*it.name, &*it.version, it.alias.as_deref())).collect();
        assert_eq!(
            read,
            [("curl", "8.5.0-r0", None), ("openssl", "3.1.4-r5", Some("libssl3")), ("musl", "1.2.4-r2", None)]
        );
        assert_eq!(lock.chain(1), ["curl", "openssl"]);
        assert_eq!(lock.chain(2), ["curl", "musl"]);
        assert_eq!(lock.packages[1].line.unwrap().get(), 11);
        assert_eq!(lock.notes.len(), 1);
    }
}
