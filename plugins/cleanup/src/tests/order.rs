//! Several rules: who takes what, and that nothing is taken twice.

use super::*;

#[test]
fn the_first_rule_that_takes_a_file_has_it() {
    let site = Site::new();
    ["tmp/a.part", "tmp/b", "c.part", "d"].iter().for_each(|it| site.file(it, 48, 1));
    let rules = json!([
        { "name": "parts", "match": ["*.part"], "age": { "older_than": "1h" } },
        { "name": "tmp", "path": "tmp", "age": { "older_than": "1d" } },
        { "name": "rest", "age": { "older_than": "1d" }, "exclude": ["/d"] },
    ]);
    let reasons = site.reasons(&rules);
    let expected = ["c.part: parts: 2 days old", "tmp/a.part: parts: 2 days old", "tmp/b: tmp: 2 days old"];
    assert_eq!(reasons, expected);
}

/// What a rule takes does not count for those below it, so that these do not take more than they have to.
#[test]
fn rules_that_count_do_not_see_what_those_before_them_take() {
    let site = Site::new();
    (0..10).for_each(|it| site.file(&format!("dumps/often-{it}"), it, 50));
    (0..3).for_each(|it| site.file(&format!("dumps/seldom-{it}"), 1_000 + it, 50));
    let rules = json!([
        { "name": "number", "path": "dumps", "count": { "keep": 3, "group_by": "{name}-?" } },
        { "name": "cap", "path": "dumps", "size": { "max_total": "299 B" } },
    ]);
    let expected: Vec<_> = (3..10).map(|it| format!("dumps/often-{it}")).chain(["dumps/seldom-2".to_owned()]).collect();
    assert_eq!(site.going(&rules), expected);
}

/// A rule that excludes a folder does so in the survey of another rule that starts in it.
#[test]
fn what_a_rule_excludes_is_left_to_the_others() {
    let site = Site::new();
    (0..4).for_each(|it| site.file(&format!("logs/deep/{it}"), 100 + it, 1));
    let rules = json!([
        { "name": "all but logs", "age": { "older_than": "1d" }, "exclude": ["logs/"] },
        { "name": "logs", "path": "logs/deep", "count": { "keep": 3 } },
    ]);
    assert_eq!(site.going(&rules), ["logs/deep/3"]);
}

#[test]
fn folders_that_overlap_are_walked_together() {
    let site = Site::new();
    ["a/b/x", "a/y", "ab/z"].iter().for_each(|it| site.file(it, 48, 1));
    symlink("a/b", site.path("link")).unwrap();
    let age = json!({ "older_than": "1d" });
    let rules = json!([
        { "path": "a/b/", "age": age }, { "path": "a", "age": age }, { "path": "link", "age": age },
        { "path": "./ab", "age": age },
    ]);
    assert_eq!(site.going(&rules), ["a/b/x", "a/y", "ab/z"]);
}

#[test]
fn roots_are_planned_apart() {
    let site = Site::new();
    let other = tempfile::tempdir().unwrap();
    let site = Site { host: site.host.root("other", other.path()), folder: site.folder };
    site.file("a", 48, 1);
    let age = json!({ "older_than": "1d" });
    let rules = json!([{ "age": age }, { "root": "other", "age": age }, { "age": age, "path": "missing" }]);
    let steps = site.plan(&rules).unwrap();
    let seen: Vec<_> = steps.iter().map(|it| (it.id.as_str(), it.title.as_str(), it.weight)).collect();
    let missing = "; rule `rule 2` does nothing: `path`: the folder `missing` is not there";
    let title = format!("data: remove 1 file, 1 B{missing}");
    assert_eq!(seen, [("data", title.as_str(), 1), ("other", "other: nothing to remove", 1)]);
}

#[test]
fn what_can_be_had_back_is_no_rule_of_anybody() {
    let site = Site::new();
    site.file(".upkeep-undo/RUN/0/1-a", 900, 100);
    site.file("a", 900, 100);
    let rules = json!([{ "size": { "max_total": "100 B" } }, { "empty_folders": {} }]);
    assert!(site.going(&rules).is_empty());
    assert_eq!(site.going(&json!([{ "age": { "older_than": "1d" } }])), ["a"]);
}

/// Folders that no rule looks at are left out by the host; others each rule leaves out itself.
#[test]
fn what_is_excluded_by_all_is_not_walked() {
    let site = Site::new();
    site.file("node_modules/x/y", 48, 1);
    site.file("a", 48, 1);
    let age = json!({ "older_than": "1d" });
    let exclude = json!(["node_modules/"]);
    let rules = json!([{ "age": age, "exclude": exclude }, { "size": { "max_total": "1 B" }, "exclude": exclude }]);
    assert_eq!(site.going(&rules), ["a"]);
    let rules = json!([{ "age": age, "exclude": exclude }, { "size": { "max_total": "1 B" } }]);
    assert_eq!(site.going(&rules), ["a"]);
    let rules = json!([{ "age": age, "exclude": exclude }, { "all": true, "match": ["y"] }]);
    assert_eq!(site.going(&rules), ["a", "node_modules/x/y"]);
}
