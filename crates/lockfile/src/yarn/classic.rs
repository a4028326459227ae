//! `yarn.lock` of yarn 1, which is like YAML and is none: entries at the margin, their fields indented by two spaces, what
//! they request by four. Strings are bare or quoted.

use std::borrow::Cow;

use super::{Requests, split};
use crate::draft::{Draft, Found};
use crate::lines::numbered;
use crate::{LockFile, LockFileError, NoteKind, Source, npm};

pub(super) fn parse(text: &str, mut draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let mut requests = Requests::new(draft.limits);
    let mut entry: Option<Entry<'_>> = None;
    for (number, line) in numbered(text) {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        match (line.len() - line.trim_start_matches(' ').len(), &mut entry) {
            (0, _) => {
                let head = content.strip_suffix(':').ok_or_else(|| {
                    LockFileError::syntax(number, "neither an entry nor a field, perhaps of an unfinished merge")
                })?;
                if let Some(done) = entry.replace(Entry::new(head, number)) {
                    done.take(&mut draft, &mut requests)?;
                }
            }
            (2, Some(entry)) => entry.field(content),
            (4, Some(entry)) if entry.asks => entry.requests.extend(pair(content)),
            (4, Some(_)) => {}
            _ => return Err(LockFileError::syntax(number, "a field that belongs to no entry")),
        }
    }
    if let Some(done) = entry {
        done.take(&mut draft, &mut requests)?;
    }
    Ok(requests.finish(draft))
}

struct Entry<'t> {
    line: usize,
    /// The requests that it answers, as they stand there.
    head: &'t str,
    version: &'t str,
    resolved: &'t str,
    /// Whether the fields of four spaces are requests.
    asks: bool,
    requests: Vec<(&'t str, &'t str)>,
}

impl<'t> Entry<'t> {
    fn new(head: &'t str, line: usize) -> Self {
        Self { line, head, version: "", resolved: "", asks: false, requests: Vec::new() }
    }

    fn field(&mut self, content: &'t str) {
        self.asks = matches!(content, "dependencies:" | "optionalDependencies:");
        match pair(content) {
            Some(("version", value)) => self.version = value,
            Some(("resolved", value)) => self.resolved = value,
            _ => {}
        }
    }

    fn take(self, draft: &mut Draft<'_>, requests: &mut Requests<'t>) -> Result<(), LockFileError> {
        let Self { line, head, version, resolved, requests: asked, .. } = self;
        let first = head.split(", ").next().map(unquote).unwrap_or_default();
        let (alias, range) = split(first).unwrap_or_default();
        if alias.is_empty() || version.is_empty() {
            draft.note(line, NoteKind::Unclear, head);
            return Ok(());
        }
        let name = npm::alias(range).map_or(alias, |(name, _)| name);
        let local = range.starts_with("file:") || range.starts_with("link:");
        // With an offline mirror the name of the archive stands for its address.
        let source = match (local, resolved.contains(':')) {
            (true, _) => Source::Path,
            (false, true) => npm::source(resolved),
            (false, false) => Source::Registry,
        };
        let found = Found { name, version, alias, source: Some(source), line, ..Found::default() };
        let package = draft.add(found)?;
        for request in head.split(", ") {
            requests.answer(Cow::Borrowed(unquote(request)), package);
        }
        for (name, range) in asked {
            requests.ask(name, range, package)?;
        }
        Ok(())
    }
}

/// Two strings, bare or quoted.
fn pair(content: &str) -> Option<(&str, &str)> {
    let (first, second) = match content.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => content.split_once(' ')?,
    };
    Some((first, unquote(second.trim())))
}

fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Limits, parse};

    #[test]
    fn entries_answer_requests() {
        let text = concat!(
            "# yarn lockfile v1\n\n\n\"@s/a@^1.0.0\", \"@s/a@^1.1.0\":\n  version \"1.2.0\"\n",
            "  resolved \"https://registry.yarnpkg.com/@s/a/-/a-1.2.0.tgz#01\"\n  integrity sha512-x\n  dependencies:\n",
            "    b \"^2.0.0\"\n  optionalDependencies:\n    \"low\" \"npm:lodash@4\"\n\n",
            "b@^2.0.0:\n  version \"2.1.0\"\n  dependencies:\n    \"@s/a\" \"^1.1.0\"\n    fork x/fork\n\n",
            "fork@x/fork:\n  version \"3.0.0\"\n  resolved \"git+https://github.com/x/fork.git#01\"\n\n",
            "\"low@npm:lodash@4\":\n  version \"4.17.21\"\n\n\"z@file:z\":\n  version \"0.0.0\"\n  dependencies:\n    b ^2.0.0\n",
        );
        let lock = parse(Format::Yarn, text.as_bytes(), &Limits::default()).unwrap();
        let chains: Vec<_> = (0..lock.packages.len()).map(|it| lock.chain(it).join(">")).collect();
        assert_eq!(chains, ["z>b>@s/a", "z>b", "z>b>fork", "z>b>@s/a>lodash", "z"]);
        let sources: Vec<_> = lock.packages.iter().map(|it| it.source).collect();
        let registry = Source::Registry;
        assert_eq!(sources, [registry, registry, Source::Git, registry, Source::Path]);
        assert_eq!(lock.packages[3].alias.as_deref(), Some("low"));
        assert_eq!(lock.packages[1].line.unwrap().get(), 13);
    }

    #[test]
    fn an_unfinished_merge_is_refused() {
        let text = b"<<<<<<< HEAD\na@1:\n  version \"1\"\n";
        let error = parse(Format::Yarn, text, &Limits::default()).unwrap_err();
        assert!(matches!(error, LockFileError::Syntax { line: 1, .. }));
        assert!(parse(Format::Yarn, b"  version \"1\"\n", &Limits::default()).is_err());
    }
}
