use crate::{Format, Limits, LockFile, LockFileError, Source, parse};

fn read(text: &str) -> LockFile {
    parse(Format::Npm, text.as_bytes(), &Limits::default()).unwrap()
}

fn named<'l>(lock: &'l LockFile, name: &str) -> (usize, &'l crate::Package) {
    lock.packages.iter().enumerate().find(|(_, it)| &*it.name == name).unwrap()
}

const V3: &str = r#"{
  "name": "app", "lockfileVersion": 3, "requires": true,
  "packages": {
    "": {"name": "app", "workspaces": ["packages/*"], "dependencies": {"a": "1", "low": "npm:lodash@4"},
         "devDependencies": {"tool": "1"}},
    "packages/web": {"name": "@app/web", "version": "0.1.0", "dependencies": {"b": "2"}},
    "node_modules/@app/web": {"resolved": "packages/web", "link": true},
    "node_modules/a": {"version": "1.0.0", "resolved": "https://registry.npmjs.org/a/-/a-1.0.0.tgz",
                       "dependencies": {"b": "1"}},
    "node_modules/a/node_modules/b": {"version": "1.5.0", "inBundle": true, "dependencies": {"a": "1"}},
    "node_modules/b": {"version": "2.0.0"},
    "node_modules/low": {"name": "lodash", "version": "4.17.21"},
    "node_modules/fork": {"version": "3.0.0", "resolved": "git+ssh://git@github.com/x/fork.git#0123"},
    "node_modules/tool": {"version": "1.1.0", "dev": true, "resolved": "https://example.org/tool.tgz"},
    "node_modules/none": {"optional": true}
  },
  "dependencies": {"ignored": {"version": "1.0.0"}}
}"#;

#[test]
fn folders_become_packages_with_chains() {
    let lock = read(V3);
    let names: Vec<_> = lock.packages.iter().map(|it| format!("{}@{}", it.name, it.version)).collect();
    assert_eq!(
        names,
        ["@app/web@0.1.0", "a@1.0.0", "b@1.5.0", "b@2.0.0", "lodash@4.17.21", "fork@3.0.0", "tool@1.1.0"]
    );
    assert_eq!(lock.chain(2), ["a", "b"]);
    assert_eq!(lock.chain(3), ["@app/web", "b"]);
    assert_eq!(lock.packages[2].line.unwrap().get(), 10);
    assert_eq!(named(&lock, "@app/web").1.source, Source::Path);
    assert_eq!(named(&lock, "fork").1.source, Source::Git);
    assert_eq!(named(&lock, "tool").1.source, Source::Url);
    assert_eq!(named(&lock, "tool").1.dev, Some(true));
    assert_eq!(named(&lock, "a").1.dev, Some(false));
    assert_eq!(named(&lock, "lodash").1.alias.as_deref(), Some("low"));
    assert_eq!(lock.notes[0].to_string(), "line 15: `node_modules/none` is not understood and left out");
}

#[test]
fn version_1_nests() {
    let lock = read(
        r#"{"lockfileVersion": 1, "requires": true, "dependencies": {
        "a": {"version": "1.0.0", "resolved": "https://registry.npmjs.org/a/-/a-1.0.0.tgz", "requires": {"b": "^1"},
              "dependencies": {"b": {"version": "1.5.0", "bundled": true, "requires": {"c": "1"}}}},
        "b": {"version": "2.0.0", "dev": true},
        "c": {"version": "npm:other@3.0.0"},
        "d": {"version": "github:x/d#0123"},
        "e": {"version": "file:../e"}}}"#,
    );
    let (c, package) = named(&lock, "other");
    assert_eq!(lock.chain(c), ["a", "b", "other"]);
    assert_eq!((package.alias.as_deref(), &*package.version), (Some("c"), "3.0.0"));
    assert_eq!(named(&lock, "d").1.source, Source::Git);
    assert_eq!(named(&lock, "e").1.source, Source::Path);
    assert_eq!(lock.packages.len(), 6);
}

#[test]
fn the_order_of_packages_and_dependencies_does_not_matter() {
    let lock = read(r#"{"dependencies": {"a": {"version": "1"}}, "packages": {"node_modules/a": {"version": "1"}}}"#);
    assert_eq!(lock.packages.len(), 1);
}

#[test]
fn what_is_no_lock_is_refused() {
    let error = |text: &str| parse(Format::Npm, text.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error(r#"{"lockfileVersion": 9}"#), LockFileError::version("9", super::KNOWN));
    assert!(matches!(error("{}"), LockFileError::Syntax { .. }));
    assert!(matches!(error("{\"packages\": {\n\"a\": {]"), LockFileError::Syntax { line: 2, .. }));
    let deep = format!("{{\"packages\": {{\"{}\": {{}}}}}}", vec!["node_modules/a"; 65].join("/"));
    assert_eq!(error(&deep), LockFileError::Depth { line: 1, limit: 64 });
    let deep = format!("{{\"dependencies\":{}", r#"{"a":{"dependencies":"#.repeat(100_000));
    assert!(matches!(error(&deep), LockFileError::Depth { .. } | LockFileError::Syntax { .. }));
    let deep = format!("{{\"x\": {}", "[".repeat(1_000_000));
    assert!(matches!(error(&deep), LockFileError::Syntax { .. }));
}
