//! `requirements.txt` of pip. Only `==` and `===` name a version; everything else is a note, since what would be installed
//! depends on the day. Files that it includes are noted and not followed; markers are not evaluated.
//!
//! The format is pip's: <https://pip.pypa.io/en/stable/reference/requirements-file-format/>.

use std::borrow::Cow;

use crate::draft::{Draft, Found};
use crate::lines::numbered;
use crate::pypi::normalize;
use crate::{LockFile, LockFileError, NoteKind, Source};

pub(crate) fn parse(text: &str, mut draft: Draft<'_>) -> Result<LockFile, LockFileError> {
    let mut joined: Option<(usize, String)> = None;
    for (number, line) in numbered(text) {
        let whole = !line.trim_start().starts_with('#');
        match (line.strip_suffix('\\').filter(|_| whole), &mut joined) {
            (Some(part), Some((_, before))) => before.push_str(part),
            (Some(part), None) => joined = Some((number, part.to_owned())),
            (None, _) => match joined.take() {
                Some((first, before)) => take(&mut draft, &(before + line), first)?,
                None => take(&mut draft, line, number)?,
            },
        }
    }
    if let Some((first, line)) = joined {
        take(&mut draft, &line, first)?;
    }
    Ok(draft.finish())
}

/// Takes one line with all that continues it.
fn take(draft: &mut Draft<'_>, line: &str, number: usize) -> Result<(), LockFileError> {
    let line = uncommented(line).trim();
    if line.is_empty() {
        return Ok(());
    }
    if line.starts_with('-') {
        let (option, value) = line.split_once([' ', '=', '\t']).unwrap_or_else(|| {
            // Short options may have their value right behind them.
            if line.starts_with("--") { (line, "") } else { line.split_at(line.floor_char_boundary(2)) }
        });
        match option {
            "-r" | "--requirement" | "-c" | "--constraint" => draft.note(number, NoteKind::Include, value.trim()),
            "-e" | "--editable" => address(draft, value.trim(), number)?,
            _ => {}
        }
        return Ok(());
    }
    // Options such as `--hash` follow the requirement.
    let line = line.split_once(" --").map_or(line, |(before, _)| before).trim();
    requirement(draft, line, number)
}

/// A line without its comment, which begins with `#` after a space.
fn uncommented(line: &str) -> &str {
    let bytes = line.as_bytes();
    let comment =
        memchr::memchr_iter(b'#', bytes).find(|&at| at == 0 || bytes.get(at - 1).is_some_and(u8::is_ascii_whitespace));
    comment.and_then(|at| line.get(..at)).unwrap_or(line)
}

/// `name[extras] specifier; marker` ([PEP 508](https://peps.python.org/pep-0508/)).
fn requirement(draft: &mut Draft<'_>, line: &str, number: usize) -> Result<(), LockFileError> {
    let end = line.find(|it: char| !(it.is_ascii_alphanumeric() || "-_.".contains(it))).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let mut rest = rest.trim_start();
    if let Some(extras) = rest.strip_prefix('[') {
        rest = extras.split_once(']').map_or("", |(_, after)| after.trim_start());
    }
    if let Some(url) = rest.strip_prefix('@') {
        return from_address(draft, Some(name), url.trim(), number);
    }
    let archive = [".whl", ".zip", ".gz", ".bz2"].iter().any(|it| name.ends_with(it));
    if name.is_empty() || name.starts_with('.') || archive || rest.starts_with(['/', ':', '+', '\\']) {
        return address(draft, line, number);
    }
    let specifier = rest.split_once(';').map_or(rest, |(before, _)| before).trim();
    let specifier = specifier.strip_prefix('(').and_then(|it| it.strip_suffix(')')).unwrap_or(specifier);
    if !specifier.is_empty() && !specifier.starts_with(['=', '<', '>', '!', '~']) {
        draft.note(number, NoteKind::Unclear, line);
        return Ok(());
    }
    match specifier.split(',').find_map(pin) {
        Some(version) => {
            let name = &normalize(name);
            draft.add(Found { name, version, direct: None, line: number, ..Found::default() })?;
        }
        None => draft.note(number, NoteKind::Unpinned, line),
    }
    Ok(())
}

/// The version of a clause that allows no other.
fn pin(clause: &str) -> Option<&str> {
    let clause = clause.trim();
    let exact = clause.strip_prefix("===").map(str::trim);
    let version = exact.or_else(|| clause.strip_prefix("==").map(str::trim).filter(|it| !it.ends_with(".*")))?;
    let version_like = version.chars().all(|it| it.is_ascii_alphanumeric() || ".-_+!".contains(it));
    (!version.is_empty() && version_like).then_some(version)
}

/// A requirement that is an address or a path.
fn address(draft: &mut Draft<'_>, line: &str, number: usize) -> Result<(), LockFileError> {
    from_address(draft, None, line, number)
}

/// Takes what is at an address or a path, when its name can be told: from the line, from `#egg=`, or from the name of a
/// wheel, which has the version as well ([PEP 427](https://peps.python.org/pep-0427/#file-name-convention)).
fn from_address(draft: &mut Draft<'_>, name: Option<&str>, line: &str, number: usize) -> Result<(), LockFileError> {
    let target = line.split_once(" ;").map_or(line, |(before, _)| before).trim();
    let (target, fragment) = target.split_once('#').unwrap_or((target, ""));
    let egg = fragment.split('&').find_map(|it| it.strip_prefix("egg="));
    let egg = egg.map(|it| it.split_once('[').map_or(it, |(before, _)| before));
    let file = target.rsplit_once('/').map_or(target, |(_, last)| last);
    let wheel = file.strip_suffix(".whl").and_then(|it| {
        let mut parts = it.split('-');
        Some((parts.next()?, parts.next()?))
    });
    let scheme = target.split_once("://").map_or("", |(before, _)| before);
    let source = match scheme {
        _ if scheme.starts_with("git") || scheme.contains('+') => Source::Git,
        "" | "file" => Source::Path,
        _ => Source::Url,
    };
    let commit = match source {
        Source::Git => target.rsplit_once('/').and_then(|(_, last)| last.split_once('@')).map(|(_, it)| it),
        _ => None,
    };
    let Some(name) = name.or(egg).or(wheel.map(|it| it.0)).filter(|it| !it.is_empty()) else {
        draft.note(number, NoteKind::Unclear, line);
        return Ok(());
    };
    let version = wheel.map(|it| it.1).or(commit).unwrap_or_default();
    let version = if version.contains('%') { Cow::Owned(version.replace("%2B", "+")) } else { Cow::Borrowed(version) };
    let found =
        Found { name: &normalize(name), version: &version, source: Some(source), line: number, ..Found::default() };
    draft.add(found).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Limits, parse};

    fn read(text: &str) -> LockFile {
        parse(Format::Requirements, text.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn pins_are_packages() {
        for (line, package) in [
            ("Flask==3.0.0", "flask 3.0.0"),
            ("zope.interface [test, docs] == 5.0 ; python_version < '3'", "zope-interface 5.0"),
            ("a===1.0+local  # why", "a 1.0+local"),
            ("a (==1.0)", "a 1.0"),
            ("a>=0.5,==1.0", "a 1.0"),
            ("a==1.0 --hash=sha256:01 --hash=sha256:02", "a 1.0"),
            ("a==1!2.0", "a 1!2.0"),
        ] {
            let lock = read(line);
            let it = lock.packages.first().unwrap_or_else(|| panic!("{line}: {:?}", lock.notes));
            assert_eq!(format!("{} {}", it.name, it.version), package);
            assert_eq!(it.source, Source::Registry);
        }
    }

    #[test]
    fn addresses_are_packages_where_they_have_a_name() {
        for (line, package, source) in [
            ("a @ https://example.org/a-1.0-py3-none-any.whl", "a 1.0", Source::Url),
            ("git+https://example.org/x/A_b.git@v1.0#egg=A_b[x]&subdirectory=p", "a-b v1.0", Source::Git),
            ("-e git+ssh://git@example.org/x/a#egg=a", "a ", Source::Git),
            ("./wheels/a-1.0%2Bl-py3-none-any.whl", "a 1.0+l", Source::Path),
            ("a-1.0-py3-none-any.whl", "a 1.0", Source::Path),
        ] {
            let lock = read(line);
            let it = lock.packages.first().unwrap_or_else(|| panic!("{line}: {:?}", lock.notes));
            assert_eq!((format!("{} {}", it.name, it.version), it.source), (package.to_owned(), source));
        }
    }

    #[test]
    fn everything_else_is_a_note() {
        use NoteKind::{Include, Unclear, Unpinned};
        for (line, kind) in [
            ("a", Unpinned),
            ("a>=1.0", Unpinned),
            ("a==1.*", Unpinned),
            ("a~=1.0 # x", Unpinned),
            ("-r base.txt", Include),
            ("-cbase.txt", Include),
            ("--requirement=base.txt", Include),
            ("-e .", Unclear),
            ("./a", Unclear),
            ("https://example.org/a.zip", Unclear),
            ("${PACKAGE}", Unclear),
            ("a b", Unclear),
        ] {
            let lock = read(line);
            assert_eq!(lock.notes.iter().map(|it| it.kind).collect::<Vec<_>>(), [kind], "{line}");
            assert!(lock.packages.is_empty(), "{line}");
        }
        assert!(read("# a==1\n\n--index-url https://example.org/simple\n-i x\n").notes.is_empty());
    }

    #[test]
    fn lines_continue() {
        let lock = read("a==1.0 \\\n    --hash=sha256:01 \\\n    --hash=sha256:02\n# c \\\nb==2.0\nc==\\\n3.0 \\");
        let read: Vec<_> = lock.packages.iter().map(|it| (&*it.name, &*it.version, it.line.unwrap().get())).collect();
        assert_eq!(read, [("a", "1.0", 1), ("b", "2.0", 5), ("c", "3.0", 6)]);
    }
}
