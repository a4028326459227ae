use std::os::unix::fs::symlink;

use super::{Place, told};

fn config(baseline: &str) -> String {
    format!(r#"{{"integrity": [{{"root": "app", "expect": ["uploads/", "*.log"], "baseline": "{baseline}"}}]}}"#)
}

#[test]
fn what_was_added_changed_and_removed_is_told() {
    let place = Place::new();
    for file in ["index.php", "lib/a.php", "lib/b.php", "uploads/1.jpg", "x.log"] {
        place.write(&format!("app/{file}"), file);
    }
    assert_eq!(told(&place.run(&config("")).unwrap()), "", "the first run takes the baseline");
    assert_eq!(told(&place.run(&config("")).unwrap()), "");
    place.write("app/index.php", "<?php eval($_POST['x']);");
    place.write("app/lib/shell.php", "new");
    std::fs::remove_file(place.path("app/lib/b.php")).unwrap();
    place.write("app/uploads/2.jpg", "expected");
    place.write("app/x.log", "expected");
    let report = place.run(&config("")).unwrap();
    let titles: Vec<&str> = report.findings.iter().map(|it| it.title.as_str()).collect();
    for title in ["app/index.php was changed", "app/lib/shell.php was added", "app/lib/b.php was removed"] {
        assert!(titles.iter().any(|it| it.starts_with(title)), "{title} in {titles:?}");
    }
    assert_eq!(titles.len(), 3);
    // It is told until it is accepted.
    assert_eq!(place.run(&config("")).unwrap().findings.len(), 3);
    assert_eq!(place.run(&config("v2")).unwrap().findings.len(), 0);
    assert_eq!(place.run(&config("v2")).unwrap().findings.len(), 0);
}

#[test]
fn a_deployment_takes_a_new_baseline() {
    let place = Place::new();
    place.write("app/releases/1/index.php", "one");
    symlink("releases/1", place.path("app/current")).unwrap();
    let config = r#"{"integrity": [{"root": "app", "follow": "current"}]}"#;
    place.run(config).unwrap();
    place.write("app/releases/2/index.php", "two");
    std::fs::remove_file(place.path("app/current")).unwrap();
    symlink("releases/2", place.path("app/current")).unwrap();
    assert_eq!(told(&place.run(config).unwrap()), "");
    place.write("app/releases/2/index.php", "three");
    assert_eq!(place.run(config).unwrap().findings.len(), 1);
}

#[test]
fn many_differences_are_told_together() {
    let place = Place::new();
    place.run(&config("")).unwrap();
    for number in 0..500 {
        place.write(&format!("app/{number}.php"), "x");
    }
    let report = place.run(&config("")).unwrap();
    assert!(report.findings.len() <= 204, "{}", report.findings.len());
    assert!(report.findings.iter().any(|it| it.title.contains("more files of app differ")));
}
