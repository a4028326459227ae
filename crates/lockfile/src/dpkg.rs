//! `/var/lib/dpkg/status` of Debian and Ubuntu, and the files of `status.d` in images without dpkg.
//!
//! Advisories speak about source packages, which may have another name and another version than the binary packages that
//! are made of them (`Source: name (version)`). So a package here is the source package, and its alias the binary one.
//!
//! The format is dpkg's: deb-control(5), and dpkg(1) for the states of packages.

use crate::draft::{Draft, Found};
use crate::lines::numbered;
use crate::wishes::Wishes;
use crate::{LockFile, LockFileError, NoteKind};

pub(crate) fn parse(text: &str, draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let wishes = Wishes::new(draft.limits.requests);
    let mut database = Database { draft, wishes };
    let mut stanza = Stanza::default();
    for (line, content) in numbered(text) {
        if content.trim().is_empty() {
            database.take(&std::mem::take(&mut stanza))?;
        } else if !content.starts_with([' ', '\t'])
            && let Some((field, value)) = content.split_once(':')
        {
            stanza.field(field, value.trim(), line);
        }
    }
    database.take(&stanza)?;
    Ok(database.wishes.finish(database.draft, |it| it.alias.as_deref().unwrap_or(&it.name)))
}

struct Database<'l> {
    draft: Draft<'l>,
    wishes: Wishes,
}

/// What is known of one binary package.
#[derive(Default)]
struct Stanza<'t> {
    line: usize,
    package: &'t str,
    version: &'t str,
    status: &'t str,
    source: &'t str,
    depends: [&'t str; 2],
}

impl<'t> Stanza<'t> {
    fn field(&mut self, field: &str, value: &'t str, line: usize) {
        if self.line == 0 {
            self.line = line;
        }
        match field {
            "Package" => {
                self.line = line;
                self.package = value;
            }
            "Version" => self.version = value,
            "Status" => self.status = value,
            "Source" => self.source = value,
            "Pre-Depends" => self.depends[0] = value,
            "Depends" => self.depends[1] = value,
            _ => {}
        }
    }
}

impl Database<'_> {
    fn take(&mut self, stanza: &Stanza<'_>) -> Result<(), LockFileError> {
        let Stanza { line, package, version, status, source, depends } = *stanza;
        // The third word is the state. Files of `status.d` have none and name what is there.
        let gone = matches!(status.split(' ').nth(2), Some("not-installed" | "config-files"));
        if line == 0 || gone {
            return Ok(());
        }
        if package.is_empty() || version.is_empty() {
            self.draft.note(line, NoteKind::Unclear, package);
            return Ok(());
        }
        let (name, version) = match source.split_once(' ') {
            Some((name, version)) => (name, version.trim_matches(['(', ')'])),
            None if source.is_empty() => (package, version),
            None => (source, version),
        };
        let index = self.draft.add(Found { name, version, alias: package, line, ..Found::default() })?;
        for wanted in depends.iter().flat_map(|it| it.split([',', '|'])) {
            let wanted = wanted.trim();
            let end = wanted.find([' ', '(', ':']).unwrap_or(wanted.len());
            self.wishes.ask(index, wanted.get(..end).unwrap_or_default(), "", false)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Ecosystem, Format, Limits, parse};

    #[test]
    fn installed_packages_are_their_sources() {
        let text = concat!(
            "Package: curl\nStatus: install ok installed\nVersion: 7.88.1-10\nDepends: libcurl4 (= 7.88.1-10),",
            " debconf (>= 0.5) | cdebconf\nDescription: x\n Version: 9\n .\n\n",
            "Package: libcurl4\nStatus: hold ok installed\nSource: curl\nVersion: 7.88.1-10\n\n",
            "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n",
            "Package: libgcc-s1\nStatus: install ok half-configured\nSource: gcc-12 (12.2.0-14)\nVersion: 12.2.0-14+b1\n\n",
            "Package: odd\nStatus: install ok installed\n\n\n",
            "Package: tzdata\nVersion: 2024a-0\n",
        );
        let mut lock = parse(Format::Dpkg, text.as_bytes(), &Limits::default()).unwrap();
        let read: Vec<_> = lock.packages.iter().map(|it| (&*it.name, &*it.version, it.alias.as_deref())).collect();
        assert_eq!(
            read,
            [
                ("curl", "7.88.1-10", None),
                ("curl", "7.88.1-10", Some("libcurl4")),
                ("gcc-12", "12.2.0-14", Some("libgcc-s1")),
                ("tzdata", "2024a-0", None)
            ]
        );
        assert_eq!(lock.chain(1), ["curl", "curl"]);
        assert_eq!(lock.packages[1].line.unwrap().get(), 9);
        assert_eq!(lock.notes.len(), 1);
        lock.ecosystem = Ecosystem::Debian("12".into());
        assert_eq!(lock.ecosystem.to_string(), "Debian:12");
    }
}
