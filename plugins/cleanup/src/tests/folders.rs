//! Files by age, size, number and name; empty folders.

use std::os::unix::ffi::OsStringExt;

use super::*;

#[test]
fn files_of_an_age_go() {
    let site = Site::new();
    for (path, hours) in [("old", 24 * 30), ("a/older", 24 * 400), ("young", 24 * 30 - 1), ("future", -24 * 365)] {
        site.file(path, hours, 1);
    }
    site.file("read", 24 * 90, 1);
    site.touch("read", 24 * 90, 5);
    // Before 1970, and after the last time that fits.
    let ancient = SystemTime::UNIX_EPOCH - Duration::from_secs(86_400 * 365);
    site.file("ancient", 0, 1);
    File::open(site.path("ancient")).unwrap().set_times(FileTimes::new().set_modified(ancient)).unwrap();
    // Neither a folder nor a link goes, whatever its age.
    symlink("old", site.path("link")).unwrap();
    site.touch("a", 24 * 900, 24 * 900);

    let rule = |by: &str| json!([{ "age": { "older_than": "30d", "by": by } }]);
    assert_eq!(site.going(&rule("modified")), ["a/older", "ancient", "old", "read"]);
    assert_eq!(site.going(&rule("accessed")), ["a/older", "old"]);
    let reasons = site.reasons(&rule("modified"));
    assert!(reasons.contains(&"a/older: rule 0: 400 days old".to_owned()), "{reasons:?}");
    assert!(site.reasons(&rule("accessed")).contains(&"old: rule 0: not used for 30 days".to_owned()));
    assert_eq!(site.reasons(&json!([{ "age": { "older_than": "5h" }, "match": ["a/*", "y*"] }])).len(), 2);
}

#[test]
fn the_date_in_a_name_counts_by_the_clock_of_the_task() {
    let site = Site::new();
    // Now it is 18:00 in Shanghai, on the 24th.
    for path in [
        "2026-11-16.xlsx",
        "2026-11-17.xlsx",
        "export-20261116-1830.xlsx",
        "export-20261117-1759.xlsx",
        "export-20261117-1801.xlsx",
        "2026/11/16/a.xlsx",
        "2026/11/17/a.xlsx",
        "2026-11-01/of-20261123.xlsx",
        "undated.xlsx",
        "order-1790000000.xlsx",
        "2027-01-01.xlsx",
    ] {
        site.file(path, 24 * 900, 1);
    }
    let rules = json!([{ "age": { "older_than": "7d", "by": "name" } }]);
    assert_eq!(
        site.going(&rules),
        ["2026-11-16.xlsx", "2026/11/16/a.xlsx", "export-20261116-1830.xlsx", "export-20261117-1759.xlsx"]
    );
    assert!(site.reasons(&rules).contains(&"2026-11-16.xlsx: rule 0: 7 days old by its name".to_owned()));
}

#[test]
fn names_that_are_no_text_are_names_all_the_same() {
    let site = Site::new();
    let name = |bytes: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()));
    fs::create_dir(site.folder.path().join(name(b"\xff"))).unwrap();
    for path in [b"\xff/caf\xe9-1".as_slice(), b"\xff/caf\xe9-2", b"back\\slash", "发票.xlsx".as_bytes()] {
        fs::write(site.folder.path().join(name(path)), "x").unwrap();
    }
    let rules = json!([
        { "path": r"\xff", "count": { "keep": 1, "group_by": r"{name}-?" } },
        { "all": true, "match": ["*slash", "发*"] },
        { "path": r"\xff", "all": true, "match": [r"caf\\xe9-2"] },
        { "empty_folders": {} },
    ]);
    assert_eq!(site.going(&rules), [r"\xff/caf\xe9-1", r"\xff/caf\xe9-2", r"back\\slash", "发票.xlsx"]);
    assert_eq!(site.run(&rules).summary, "4 files removed; 4 B freed");
    assert_eq!(site.left(), [r"\xff"], "it is the folder of a rule");
}

#[test]
fn the_oldest_go_until_the_others_fit() {
    let site = Site::new();
    for (path, hours, size) in [("a", 1, 400), ("b/b", 2, 400), ("c", 3, 0), ("d", 4, 400), ("e", 5, 100)] {
        site.file(path, hours, size);
    }
    let rule = |most: &str| json!([{ "size": { "max_total": most } }]);
    assert!(site.going(&rule("1300 B")).is_empty());
    assert_eq!(site.going(&rule("1299 B")), ["e"]);
    assert_eq!(site.going(&rule("1 kB")), ["d", "e"]);
    assert_eq!(site.going(&rule("399 B")), ["a", "b/b", "c", "d", "e"]);
    assert!(site.reasons(&rule("1 kB"))[0].ends_with("d: rule 0: over 1000 B together, 4 hours old"));
    // Of those of the same time only as many as have to.
    let site = Site::new();
    (0..100).for_each(|it| site.file(&format!("{it}"), 7, 10));
    let going = site.going(&rule("300 B"));
    assert_eq!((going.len(), site.going(&rule("300 B"))), (70, going));
}

#[test]
fn of_each_group_the_newest_stay() {
    let site = Site::new();
    for day in 1..=9 {
        for (name, size) in [("app", 1), ("my-app", 1)] {
            // All of one time, as after a restore: the names say which is newer.
            site.file(&format!("dumps/{name}-2026-11-0{day}.tar.gz"), 5, size);
        }
        site.file(&format!("by-hand/{day}"), 100 - day, 1);
    }
    site.file("dumps/README", 900, 1);
    let groups = json!([{ "path": "dumps", "count": { "keep": 7, "group_by": "{name}-{date}.tar.gz" } }]);
    let expected = ["app-2026-11-01", "app-2026-11-02", "my-app-2026-11-01", "my-app-2026-11-02"];
    assert_eq!(site.going(&groups), expected.map(|it| format!("dumps/{it}.tar.gz")));
    assert!(site.reasons(&groups)[2].ends_with("my-app-2026-11-01.tar.gz: rule 0: not among the 7 newest of `my-app`"));
    let by_name = json!([{ "count": { "keep": 8, "group_by": "*/{name}-{date}.tar.gz", "by": "name" } }]);
    assert_eq!(site.going(&by_name), ["dumps/app-2026-11-01.tar.gz", "dumps/my-app-2026-11-01.tar.gz"]);

    assert_eq!(site.going(&json!([{ "match": ["by-hand/*"], "count": { "keep": 7 } }])), ["by-hand/1", "by-hand/2"]);
    let all = json!([{ "count": { "keep": 9, "group_by": "all", }, "exclude": ["my-*", "README"] }]);
    assert_eq!(site.going(&all).len(), 9);
    assert!(site.going(&all).iter().all(|it| it.starts_with("by-hand")));
}

#[test]
fn names_alone_are_enough() {
    let site = Site::new();
    ["a.part", "b/c.part", "keep.part", "a.png"].iter().for_each(|it| site.file(it, -1, 1));
    let rules = json!([{ "all": true, "match": ["*.part"], "exclude": ["keep.*"] }]);
    assert_eq!(site.going(&rules), ["a.part", "b/c.part"]);
}

#[test]
fn folders_that_are_or_become_empty_go() {
    let site = Site::new();
    for path in ["a/b/c/old", "a/b/old", "kept/young", "kept/inner/old", "excluded/old"] {
        let hours = if path.ends_with("old") { 24 * 90 } else { 1 };
        site.file(path, hours, 1);
    }
    ["empty", "with-link", "tmp"].iter().for_each(|it| fs::create_dir(site.path(it)).unwrap());
    symlink("nowhere", site.path("with-link/link")).unwrap();
    let rules = json!([
        { "age": { "older_than": "30d" }, "exclude": ["excluded/"] },
        { "empty_folders": {} },
        { "path": "tmp", "age": { "older_than": "1d" } },
    ]);
    let folders = ["a", "a/b", "a/b/c", "empty", "kept/inner"];
    let mut expected: Vec<_> = ["a/b/c/old", "a/b/old", "kept/inner/old"].iter().chain(&folders).copied().collect();
    expected.sort_unstable();
    assert_eq!(site.going(&rules), expected);

    let report = site.run(&rules);
    assert_eq!(report.summary, "8 files and folders removed; 3 B freed", "{report:?}");
    let left = ["excluded", "excluded/old", "kept", "kept/young", "tmp", "with-link", "with-link/link"];
    assert_eq!(site.left(), left);
    assert!(site.going(&rules).is_empty(), "a second run has nothing to do");
}

#[test]
fn a_folder_is_not_empty_when_what_it_holds_is_excluded() {
    let site = Site::new();
    ["a/.keep", "b/x.tmp"].iter().for_each(|it| site.file(it, 48, 1));
    fs::create_dir_all(site.path("c/d")).unwrap();
    assert_eq!(site.going(&json!([{ "empty_folders": {}, "exclude": [".keep", "*.tmp"] }])), ["c", "c/d"]);
    assert_eq!(site.going(&json!([{ "empty_folders": {}, "exclude": ["d/"] }])), [""; 0]);
}

#[test]
fn empty_folders_may_have_to_be_old() {
    let site = Site::new();
    ["old/older", "young"].iter().for_each(|it| fs::create_dir_all(site.path(it)).unwrap());
    ["old/older", "old"].iter().for_each(|it| site.touch(it, 48, 48));
    let rules = |path: &str| json!([{ "path": path, "empty_folders": { "older_than": "1d" } }]);
    assert_eq!(site.going(&rules("")), ["old", "old/older"]);
    assert_eq!(site.going(&rules("old")), ["old/older"], "the folder of the rule itself stays");
}
