//! `go.mod` and `go.sum`.
//!
//! `go.mod` names what a build takes: `replace` exchanges modules, and a required version that `exclude` names gives way to
//! a higher one, which this file does not tell. It names all modules since Go 1.17 and the direct ones before. `go.sum` has
//! hashes of all versions that were ever looked at; those that were downloaded have a line without `/go.mod`.
//!
//! The formats are Go's: <https://go.dev/ref/mod#go-mod-file>, <https://go.dev/ref/mod#go-sum-files>.

use std::collections::{BTreeMap, BTreeSet};

use crate::draft::{Draft, Found};
use crate::lines::numbered;
use crate::{LockFile, LockFileError, NoteKind, Source};

/// Reads `go.mod`.
pub(crate) fn modules(text: &str, mut draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let mut file = File::default();
    let mut block = None;
    for (number, line) in numbered(text) {
        let (code, comment) = line.split_once("//").unwrap_or((line, ""));
        let mut words = code.split_whitespace().map(|it| it.trim_matches(['"', '`']));
        let verb = match (block, words.clone().next()) {
            (_, None) => continue,
            (Some(_), Some(")")) => {
                block = None;
                continue;
            }
            (Some(verb), Some(_)) => verb,
            (None, Some(verb)) => {
                words.next();
                if code.trim_end().ends_with('(') {
                    block = Some(verb);
                    continue;
                }
                verb
            }
        };
        // A statement has at most five words: `a v1 => b v2`.
        let words: Vec<_> = words.take(6).collect();
        if !file.take(verb, &words, comment, number) {
            draft.note(number, NoteKind::Unclear, line.trim());
        }
    }
    file.finish(draft)
}

#[derive(Default)]
struct File<'t> {
    required: Vec<Required<'t>>,
    /// What stands for a module, by name and by version, which is empty for all.
    replaced: BTreeMap<(&'t str, &'t str), (&'t str, &'t str)>,
    excluded: BTreeSet<(&'t str, &'t str)>,
}

struct Required<'t> {
    name: &'t str,
    version: &'t str,
    direct: bool,
    line: usize,
}

impl<'t> File<'t> {
    /// Takes one statement. `false` when it is not understood.
    fn take(&mut self, verb: &str, words: &[&'t str], comment: &str, line: usize) -> bool {
        match (verb, words) {
            ("require", &[name, version]) => {
                let direct = comment.trim() != "indirect" && !comment.trim().starts_with("indirect;");
                self.required.push(Required { name, version, direct, line });
            }
            ("exclude", &[name, version]) => {
                self.excluded.insert((name, version));
            }
            ("replace", &[name, "=>", new]) => {
                self.replaced.insert((name, ""), (new, ""));
            }
            ("replace", &[name, "=>", new, version]) => {
                self.replaced.insert((name, ""), (new, version));
            }
            ("replace", &[name, old, "=>", new]) => {
                self.replaced.insert((name, old), (new, ""));
            }
            ("replace", &[name, old, "=>", new, version]) => {
                self.replaced.insert((name, old), (new, version));
            }
            ("require" | "exclude" | "replace", _) => return false,
            _ => {}
        }
        true
    }

    fn finish(self, mut draft: Draft<'_>) -> Result<LockFile, LockFileError> {
        for Required { name, version, direct, line } in self.required {
            if self.excluded.contains(&(name, version)) {
                draft.note(line, NoteKind::Unresolved, &format!("{name} {version}"));
                continue;
            }
            let new = self.replaced.get(&(name, version)).or_else(|| self.replaced.get(&(name, "")));
            let (taken, version, source) = match new {
                Some((_, "")) => (name, version, Source::Path),
                Some((new, version)) => (*new, *version, Source::Registry),
                None => (name, version, Source::Registry),
            };
            let direct = Some(direct);
            let (version, source) = (number(version), Some(source));
            draft.add(Found { name: taken, version, alias: name, source, direct, line, dev: None })?;
        }
        Ok(draft.finish())
    }
}

/// Reads `go.sum`.
pub(crate) fn sums(text: &str, mut draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    for (line, content) in numbered(text) {
        let mut words = content.split_whitespace();
        match (words.next(), words.next(), words.next(), words.next()) {
            (None, ..) => {}
            (Some(_), Some(version), Some(_), None) if version.ends_with("/go.mod") => {}
            (Some(name), Some(version), Some(_), None) => {
                draft.add(Found { name, version: number(version), line, ..Found::default() })?;
            }
            _ => draft.note(line, NoteKind::Unclear, content),
        }
    }
    Ok(draft.finish())
}

/// A version without its `v`.
fn number(version: &str) -> &str {
    version.strip_prefix('v').unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Limits, parse};

    #[test]
    fn a_build_takes_what_is_required_and_not_replaced() {
        let text = concat!(
            "module example.org/app // x\n\ngo 1.22\n\nrequire example.org/a v1.2.3\n\nrequire (\n",
            "\texample.org/b v0.0.0-20200101000000-0123456789ab // indirect\n\t\"example.org/c\" v2.0.0+incompatible\n",
            "\texample.org/d v1.0.0 // indirect; for tests\n\texample.org/e v1.0.0\n\texample.org/f\n)\n",
            "replace example.org/a => example.org/fork v1.2.4\nreplace (\n\texample.org/d v1.0.0 => ../d\n",
            "\texample.org/c v1.0.0 => example.org/other v1.0.0\n)\nexclude example.org/e v1.0.0\n",
            "retract [v1.0.0, v1.1.0]\n",
        );
        let lock = parse(Format::GoMod, text.as_bytes(), &Limits::default()).unwrap();
        let read: Vec<_> = lock.packages.iter().map(|it| (&*it.name, &*it.version, it.direct, it.source)).collect();
        assert_eq!(
            read,
            [
                ("example.org/fork", "1.2.4", Some(true), Source::Registry),
                ("example.org/b", "0.0.0-20200101000000-0123456789ab", Some(false), Source::Registry),
                ("example.org/c", "2.0.0+incompatible", Some(true), Source::Registry),
                ("example.org/d", "1.0.0", Some(false), Source::Path),
            ]
        );
        assert_eq!(lock.packages[0].alias.as_deref(), Some("example.org/a"));
        let notes: Vec<_> = lock.notes.iter().map(|it| (it.kind, &*it.subject)).collect();
        assert_eq!(notes, [(NoteKind::Unclear, "example.org/f"), (NoteKind::Unresolved, "example.org/e v1.0.0")]);
    }

    #[test]
    fn sums_of_modules_count_and_those_of_go_mod_do_not() {
        let text =
            "example.org/a v1.0.0 h1:x=\nexample.org/a v1.0.0/go.mod h1:x=\nexample.org/b v1.0.0/go.mod h1:x=\nodd\n";
        let lock = parse(Format::GoSum, text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(lock.packages.len(), 1);
        assert_eq!(lock.notes.len(), 1);
    }
}
