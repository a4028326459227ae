//! Releases and the link to the one that runs.

use super::*;

/// Nine releases of nine days; the first is the oldest.
fn site() -> Site {
    let site = Site::new();
    for day in 1..=9 {
        site.file(&format!("releases/2026110{day}120000/public/index.php"), 1, 1);
        symlink("index.php", site.path(&format!("releases/2026110{day}120000/public/link"))).unwrap();
        site.touch(&format!("releases/2026110{day}120000"), day, day);
    }
    site.file("releases/README", 900, 1);
    site
}

fn rules(keep: u32) -> Value {
    json!([{ "path": "releases", "releases": { "keep": keep, "current": "current" } }])
}

/// The days of the releases that go.
fn days(site: &Site, rules: &Value) -> Vec<u32> {
    let mut days: Vec<u32> = site
        .going(rules)
        .into_iter()
        .filter_map(|it| it.strip_prefix("releases/2026110")?.strip_suffix("120000")?.parse().ok())
        .collect();
    days.sort_unstable();
    days
}

#[test]
fn the_newest_stay_and_the_one_that_runs() {
    for target in ["releases/20261102120000", "./releases/20261102120000/public", "ABSOLUTE"] {
        let site = site();
        let target = match target {
            "ABSOLUTE" => site.path("releases/20261102120000"),
            other => PathBuf::from(other),
        };
        symlink(target, site.path("current")).unwrap();
        assert_eq!(days(&site, &rules(5)), [1, 3, 4]);
        let proposed = site.proposed(&rules(5));
        // Each with its files, links and folders, and each unless the link leads to it by then.
        assert_eq!(proposed.len(), 3 * 4);
        assert!(proposed.iter().all(|it| it.unless_linked.as_deref() == Some("current")));
        site.run(&rules(5));
        let left = fs::read_dir(site.path("releases")).unwrap().count();
        assert_eq!(left, 1 + 6);
        assert!(site.path("releases/20261102120000/public/link").is_symlink());
        assert!(days(&site, &rules(5)).is_empty(), "a second run has nothing to do");
    }
}

#[test]
fn without_the_link_all_stay() {
    let site = site();
    let told = |site: &Site| {
        assert!(days(site, &rules(1)).is_empty());
        let report = site.run(&rules(1));
        let finding = report.findings.iter().find(|it| it.key == "idle/data/rule 0").unwrap();
        assert_eq!(finding.severity, Severity::Low);
        finding.detail.clone()
    };
    assert!(told(&site).contains("the link `current` is not there, or leads to nothing beneath the root"));
    symlink("releases/20990101000000", site.path("current")).unwrap();
    assert!(told(&site).contains("leads to nothing"));
    fs::remove_file(site.path("current")).unwrap();
    symlink("/", site.path("current")).unwrap();
    assert!(told(&site).contains("leads to nothing beneath"));
    // It leads to the folder of all releases.
    fs::remove_file(site.path("current")).unwrap();
    symlink("releases", site.path("current")).unwrap();
    assert!(days(&site, &rules(1)).is_empty());
    // Or to the root, which is that folder.
    fs::remove_file(site.path("current")).unwrap();
    symlink(".", site.path("current")).unwrap();
    let rules = json!([{ "releases": { "keep": 1, "current": "current" } }]);
    fs::create_dir(site.path("more")).unwrap();
    assert!(site.going(&rules).is_empty());
    fs::remove_file(site.path("current")).unwrap();
    symlink("more", site.path("current")).unwrap();
    site.touch("more", 99, 99);
    site.touch("releases", 999, 999);
    fs::create_dir(site.path("newest")).unwrap();
    let going = site.going(&rules);
    assert!(going.contains(&"releases".to_owned()) && !going.contains(&"more".to_owned()), "{going:?}");
}

#[test]
fn a_switch_between_plan_and_removal_is_heeded() {
    let site = site();
    symlink("releases/20261109120000", site.path("current")).unwrap();
    let config: Cleanup = serde_json::from_str(&config(&rules(5))).unwrap();
    let steps = config.plan(&site.context()).unwrap();
    // Back to an old release.
    fs::remove_file(site.path("current")).unwrap();
    symlink("releases/20261103120000", site.path("current")).unwrap();
    steps.into_iter().for_each(|step| drop(config.execute(&site.context(), step).unwrap()));
    assert!(site.path("releases/20261103120000/public/index.php").exists());
    assert!(!site.path("releases/20261102120000").exists());
}

#[test]
fn without_dates_the_time_of_change_counts() {
    let site = Site::new();
    for (name, hours) in [("v1.9", 4), ("v1.10", 3), ("v2", 2), ("20261123", 9)] {
        site.file(&format!("{name}/x"), 1, 1);
        site.touch(name, hours, hours);
    }
    site.file("shared/x", 900, 1);
    site.touch("shared", 900, 900);
    symlink("v2", site.path("current")).unwrap();
    let rules = json!([{ "exclude": ["shared"], "releases": { "keep": 2, "current": "current" } }]);
    assert_eq!(site.going(&rules), ["20261123", "20261123/x", "v1.9", "v1.9/x"]);
    let only = json!([{ "match": ["v*"], "releases": { "keep": 2, "current": "current" } }]);
    assert_eq!(site.going(&only), ["v1.9", "v1.9/x"]);
}
