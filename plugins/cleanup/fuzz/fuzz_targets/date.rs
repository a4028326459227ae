//! A name of a file: the latest of its dates is found, and a date ends behind its digits.
#![no_main]

use std::sync::LazyLock;

#[path = "../../src/date.rs"]
mod date;

use date::Calendar;
use libfuzzer_sys::fuzz_target;

/// One without changes of the clock, and one with a day that does not exist.
static CALENDARS: LazyLock<[Calendar; 2]> =
    LazyLock::new(|| ["UTC", "Pacific/Apia"].map(|zone| Calendar::new(zone).expect("the time zone is bundled")));

fuzz_target!(|text: &str| {
    let latest = CALENDARS.each_ref().map(|it| it.latest(text));
    assert_eq!(latest[0].is_some(), latest[1].is_some());
    let ends: Vec<_> =
        (0..text.len()).filter_map(|at| date::end_of_date(text.as_bytes(), at).map(|end| (at, end))).collect();
    assert!(ends.iter().all(|(at, end)| at + 8 <= *end && *end <= text.len()));
    assert_eq!(latest[0].is_some(), !ends.is_empty());
});
