//! What the documents promise about the repository: that links lead somewhere, that files which are named are there, and
//! that the Chinese README says what the English one says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of the repository, by their paths in it.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new(), "docs".into(), "docs/decisions".into()];
    while let Some(folder) = folders.pop() {
        let entries = root().join(&folder).read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let names = entries.map(|entry| entry.expect("the folder can be read").file_name());
        found.extend(names.map(|name| folder.join(name)).filter(|it| it.extension().is_some_and(|it| it == "md")));
    }
    found.sort();
    assert!(found.contains(&"README.md".into()) && found.contains(&"docs/architecture.md".into()));
    found
}

/// The text without what stands in fences, line by line, and the fenced blocks.
fn split(text: &str) -> (Vec<&str>, Vec<String>) {
    let (mut prose, mut blocks) = (Vec::new(), Vec::new());
    let mut block: Option<String> = None;
    for line in text.lines() {
        match (&mut block, line.trim_start().starts_with("```")) {
            (None, true) => block = Some(format!("{line}\n")),
            (Some(_), true) => blocks.extend(block.take()),
            (Some(block), false) => *block += &format!("{line}\n"),
            (None, false) => prose.push(line),
        }
    }
    assert!(block.is_none(), "a fence is not closed: {block:?}");
    (prose, blocks)
}

/// What stands between `open` and `close`, each time.
fn between<'a>(line: &'a str, open: &str, close: char) -> impl Iterator<Item = &'a str> {
    line.split(open).skip(1).filter_map(move |rest| rest.split_once(close)).map(|(inside, _)| inside)
}

/// A heading's name in links, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let mut wrong = Vec::new();
    for document in documents() {
        let text = read(&root().join(&document));
        for link in split(&text).0.into_iter().flat_map(|line| between(line, "](", ')')) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, heading) = link.split_once('#').map_or((link, None), |(path, heading)| (path, Some(heading)));
            let folder = document.parent().unwrap_or(Path::new(""));
            let target = root().join(if path.is_empty() { document.clone() } else { folder.join(path) });
            let found = match heading {
                _ if !target.exists() => false,
                None => true,
                Some(heading) => {
                    let text = read(&target);
                    let prose = split(&text).0;
                    prose.into_iter().filter(|it| it.starts_with('#')).any(|it| anchor(it) == heading)
                }
            };
            if !found {
                wrong.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these links lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn files_that_are_named_exist() {
    const TOP: [&str; 7] = [".ci/", "config/", "daemon/", "docs/", "plugin-sdk/", "plugins/", "tests/"];
    let is_path = |it: &&str| {
        let plain = |it: char| it.is_ascii_alphanumeric() || "/._-".contains(it);
        TOP.iter().any(|top| it.starts_with(top)) && it.chars().all(plain)
    };
    let mut wrong = Vec::new();
    for document in documents() {
        let text = read(&root().join(&document));
        // In prose every second piece between backticks is code.
        let pieces = split(&text).0.into_iter().flat_map(|line| line.split('`').skip(1).step_by(2));
        let missing = pieces.filter(is_path).filter(|it| !root().join(it).exists());
        wrong.extend(missing.map(|it| format!("{}: {it}", document.display())));
    }
    assert!(wrong.is_empty(), "these files do not exist:\n{}", wrong.join("\n"));
}

#[test]
fn the_chinese_readme_has_the_code_and_the_links_of_the_english_one() {
    let (english, chinese) = (read(&root().join("README.md")), read(&root().join("README.zh-CN.md")));
    let ((english, code), (chinese, chinese_code)) = (split(&english), split(&chinese));
    for (ours, theirs) in code.iter().zip(&chinese_code) {
        assert_eq!(ours, theirs, "a block of code is not the same in both");
    }
    assert_eq!(code.len(), chinese_code.len(), "one README has more blocks of code than the other");
    let level = |line: &&&str| line.starts_with('#');
    assert_eq!(
        english.iter().filter(level).count(),
        chinese.iter().filter(level).count(),
        "one README has more headings than the other"
    );
    // Each names the other one; headings are called differently.
    let links = |lines: &[&str]| -> BTreeSet<String> {
        let all = lines.iter().flat_map(|line| between(line, "](", ')'));
        all.filter(|it| !it.starts_with("README") && !it.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(links(&english), links(&chinese), "the links differ");
}

#[test]
fn make_has_the_commands_that_the_documents_name() {
    let makefile = read(&root().join("Makefile"));
    let targets: BTreeSet<_> = makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    for document in documents() {
        let text = read(&root().join(&document));
        for target in between(&text, "`make ", '`').flat_map(str::split_whitespace) {
            assert!(targets.contains(target), "{}: the Makefile has no `{target}`", document.display());
        }
    }
}
