//! Rotated logs.

use super::*;

fn logs(settings: &Value) -> Value {
    json!([{ "logs": settings }])
}

#[test]
fn rotated_logs_are_compressed_and_later_removed() {
    let site = Site::new();
    for (path, days) in [
        ("access.log", 90),
        ("access.log.1", 1),
        ("access.log.2", 2),
        ("access.log.3.gz", 3),
        ("access.log.9.gz", 30),
        ("error.log", 0),
        ("error.log-20261123", 1),
        ("error.log-20261122", 2),
        ("error.log-20261121.zst", 3),
        ("error.log-20261020-1732320000", 35),
        ("other.txt", 90),
    ] {
        site.file(path, days * 24, 10);
    }
    let rules = logs(&json!({ "compress_after": "1d", "remove_after": "30d" }));
    let expected = ["access.log.2 > gz", "access.log.9.gz", "error.log-20261020-1732320000", "error.log-20261122 > gz"];
    assert_eq!(site.going(&rules), expected);
    let reasons = site.reasons(&rules);
    assert_eq!(reasons[0], "access.log.2: rule 0: rotated log, last written to 2 days ago");

    let at_once = logs(&json!({ "compress_after": "1d", "compression": "zstd", "delaycompress": false }));
    let expected =
        ["access.log.1", "access.log.2", "error.log-20261020-1732320000", "error.log-20261122", "error.log-20261123"];
    assert_eq!(site.going(&at_once), expected.map(|it| format!("{it} > zst")));
    let kept = logs(&json!({ "keep": 2 }));
    let expected = ["access.log.3.gz", "access.log.9.gz", "error.log-20261020-1732320000", "error.log-20261121.zst"];
    assert_eq!(site.going(&kept), expected);

    site.run(&rules);
    assert!(site.left().contains(&"access.log.2.gz".to_owned()) && !site.left().contains(&"access.log.2".to_owned()));
    assert!(site.going(&rules).is_empty(), "a second run has nothing to do");
}

#[test]
fn a_log_whose_names_have_dates_from_the_start_has_its_newest_file_left_alone() {
    let site = Site::new();
    // The app has written nothing for months: the newest file may still be open.
    (1..=9).for_each(|day| site.file(&format!("app.2026-06-0{day}.log"), (190 - day) * 24, 10));
    let rules = logs(&json!({ "compress_after": "1d", "remove_after": "184d" }));
    let gone = (1..=6).map(|day| format!("app.2026-06-0{day}.log"));
    // The newest is the log, the one before it is not compressed yet.
    let expected: Vec<_> = gone.chain(["app.2026-06-07.log > gz".to_owned()]).collect();
    assert_eq!(site.going(&rules), expected);
    assert_eq!(site.going(&logs(&json!({ "keep": 1 }))).len(), 7);
    assert_eq!(site.going(&logs(&json!({ "remove_after": "1d" }))).len(), 8);
}

#[test]
fn a_number_before_the_ending_may_be_a_version() {
    let site = Site::new();
    ["nginx-1.24.log", "nginx-1.25.log", "app.log", "app.1.log", "app.2.log"]
        .iter()
        .for_each(|it| site.file(it, 900, 1));
    assert_eq!(site.going(&logs(&json!({ "remove_after": "1d" }))), ["app.1.log", "app.2.log"]);
}

#[test]
fn of_the_same_time_the_name_says_which_log_is_newer() {
    let site = Site::new();
    (0..=12).for_each(|it| site.file(&if it == 0 { "a.log".to_owned() } else { format!("a.log.{it}") }, 90, 1));
    let mut going = site.going(&logs(&json!({ "keep": 9 })));
    going.sort();
    assert_eq!(going, ["a.log.10", "a.log.11", "a.log.12"]);
    // Folders are apart.
    (0..=3).for_each(|it| {
        site.file(&format!("sub/a.log{}", if it == 0 { String::new() } else { format!(".{it}") }), 90, 1)
    });
    assert_eq!(site.going(&logs(&json!({ "keep": 11 }))), ["a.log.12"]);
}

#[test]
fn nothing_is_gained_by_compressing_nothing() {
    let site = Site::new();
    site.file("a.log", 0, 1);
    (1..=3).for_each(|it| site.file(&format!("a.log.{it}"), it * 48, 0));
    assert!(site.going(&logs(&json!({ "compress_after": "1d" }))).is_empty());
}
