//! Cases as they happen on servers, in numbers. `tests/tests/anomaly.rs` has them with files and the real host.

use super::*;

const MIB: u64 = 1 << 20;

fn thresholds() -> Thresholds {
    Settings::default().over(&Settings::default())
}

/// A night on which little happens: 1 % is changed, 0.2 % goes, 1 % is new.
fn quiet(night: u64) -> Facts {
    let files = 10_000 + night * 80;
    Facts {
        files,
        bytes: files * MIB / 10,
        changed: 100 + night % 7,
        unmodified: files - 200,
        removed: Some(20 + night % 5),
        read: 20 * MIB,
        added: 12 * MIB,
        sampled: 180,
        opaque: night % 3,
    }
}

fn history(nights: u64) -> History {
    let mut history = History::default();
    (0..nights).for_each(|night| history.remember(quiet(night), true, &thresholds()));
    history
}

fn told(now: &Facts) -> String {
    judge(now, &history(14), &thresholds()).join("\n")
}

#[test]
fn quiet_nights_are_well() {
    let mut history = History::default();
    for night in 0..100 {
        let facts = quiet(night);
        assert_eq!(judge(&facts, &history, &thresholds()), [""; 0], "night {night}");
        history.remember(facts, true, &thresholds());
    }
    assert_eq!(history.runs.len(), 30);
}

#[test]
fn files_that_were_encrypted_are_noticed() {
    let all = 11_000;
    let night = Facts { files: all, bytes: all * MIB / 10, ..quiet(14) };
    // In place.
    let in_place = Facts { changed: all, unmodified: 0, removed: Some(0), sampled: all, opaque: all, ..night };
    let text = told(&in_place);
    assert!(text.contains("11000 of 11000 files were changed (100 %; usually up to 1.0 %)"), "{text}");
    assert!(
        text.contains("11000 of 11000 new and changed files look encrypted (100 %; usually up to 1.1 %)"),
        "{text}"
    );
    // Under other names.
    let renamed = Facts { changed: 0, unmodified: 0, removed: Some(all), sampled: all, opaque: all, ..night };
    let text = told(&renamed);
    assert!(text.contains("11000 of 11000 files are gone") && text.contains("look encrypted"), "{text}");
    // A part of them each night, so that nothing else is unusual.
    let slowly = Facts { changed: 300, sampled: 290, opaque: 230, ..quiet(14) };
    assert_eq!(told(&slowly), "230 of 290 new and changed files look encrypted (79 %; usually up to 1.1 %)");
    // Few, but large.
    let large = |opaque, changed| Facts {
        files: 5,
        bytes: 5_000 * MIB,
        changed,
        unmodified: 5 - changed,
        removed: Some(0),
        read: 1_000 * MIB * changed,
        added: 500 * MIB * changed,
        sampled: changed,
        opaque,
    };
    let mut few = History::default();
    (0..5).for_each(|_| few.remember(large(0, 1), true, &thresholds()));
    assert_eq!(
        judge(&large(5, 5), &few, &thresholds()),
        ["5 of 5 new and changed files look encrypted (100 %; usually up to 0 %)"]
    );
    assert_eq!(judge(&large(0, 5), &few, &thresholds()), [""; 0]);
}

#[test]
fn an_emptied_folder_and_a_wrong_mount_are_noticed() {
    let nothing = Facts { removed: Some(11_120), ..Facts::default() };
    assert_eq!(told(&nothing), "nothing is left of 11040 files, 1.08 GiB");
    assert_eq!(judge(&nothing, &history(1), &thresholds()).len(), 1, "also after one run");
    let truncated = Facts { files: 11_000, bytes: 0, changed: 11_000, removed: Some(0), ..Facts::default() };
    assert!(told(&truncated).contains("nothing is left"));
    let other = Facts { files: 300, bytes: 900 * MIB, changed: 2, unmodified: 0, removed: Some(11_118), ..quiet(14) };
    assert_eq!(told(&other), "11118 of 11120 files are gone (100 %; usually up to 0.2 %)");
    let half = Facts { files: 5_600, bytes: 400 * MIB, unmodified: 5_400, removed: Some(5_500), ..quiet(14) };
    let text = told(&half);
    assert!(
        text.contains("5500 of 11000 files are gone (50 %") && text.contains("400 MiB are left of the usual"),
        "{text}"
    );
}

#[test]
fn what_is_large_and_well_is_let_through() {
    let night = quiet(14);
    // An upload that makes the source twice as large; pictures, which no longer compress.
    let upload = Facts {
        files: night.files + 12_000,
        bytes: night.bytes + 1_200 * MIB,
        read: 1_200 * MIB,
        added: 1_190 * MIB,
        sampled: 12_000,
        ..night
    };
    assert_eq!(told(&upload), "");
    // A release of the application: many files are others, in a folder where that is seldom.
    let release = Facts { changed: 4_000, unmodified: 7_000, removed: Some(900), ..night };
    assert_eq!(told(&release), "");
    // The cleanup of a year.
    let cleanup = Facts { removed: Some(2_500), unmodified: 8_500, ..night };
    assert_eq!(told(&cleanup), "");
    // Few files in all.
    let small = Facts { files: 3, bytes: 900, changed: 2, removed: Some(8), ..Facts::default() };
    let mut few = History::default();
    (0..5).for_each(|_| {
        few.remember(
            Facts { files: 10, bytes: 3_000, unmodified: 10, removed: Some(0), ..Facts::default() },
            true,
            &thresholds(),
        )
    });
    assert_eq!(judge(&small, &few, &thresholds()), [""; 0]);
}

#[test]
fn far_too_much_is_told_too() {
    let flood = Facts { files: 60_000, bytes: 9_000 * MIB, read: 8_000 * MIB, added: 8_000 * MIB, ..quiet(14) };
    assert!(
        told(&flood).starts_with("7.81 GiB of new data, 763 % of the 1.02 GiB that the source held"),
        "{}",
        told(&flood)
    );
}

#[test]
fn the_first_runs_are_only_watched() {
    let all_new = Facts { removed: None, changed: 0, unmodified: 0, sampled: 900, opaque: 900, ..quiet(0) };
    assert_eq!(judge(&all_new, &History::default(), &thresholds()), [""; 0]);
    let encrypted = Facts { changed: 10_000, unmodified: 0, sampled: 10_000, opaque: 10_000, ..quiet(2) };
    assert_eq!(judge(&encrypted, &history(2), &thresholds()), [""; 0]);
    assert!(!judge(&encrypted, &history(3), &thresholds()).is_empty());
    // Another repository begins anew.
    assert_eq!(judge(&all_new, &history(14), &thresholds()), [""; 0]);
}

#[test]
fn what_is_usual_is_well() {
    // Everything is replaced every Sunday.
    let sunday = Facts { changed: 10_000, unmodified: 0, removed: Some(900), ..quiet(6) };
    let mut weekly = History::default();
    for day in 0..28 {
        weekly.remember(if day % 7 == 6 { sunday } else { quiet(day) }, true, &thresholds());
    }
    assert_eq!(judge(&sunday, &weekly, &thresholds()), [""; 0]);
    // A folder of encrypted archives.
    let archive = |night| Facts { sampled: 40, opaque: 40, ..quiet(night) };
    let mut archives = History::default();
    (0..5).for_each(|night| archives.remember(archive(night), true, &thresholds()));
    assert_eq!(judge(&archive(5), &archives, &thresholds()), [""; 0]);
}

#[test]
fn what_was_released_is_learned_once() {
    let small = Facts { bytes: 100 * MIB, unmodified: 11_000, ..quiet(14) };
    let mut after = history(14);
    assert!(told(&small).contains("are left of the usual"));
    after.remember(small, false, &thresholds());
    // Still held: it stays told.
    let held = after.clone().learned(true, &thresholds());
    assert_eq!(judge(&small, &held, &thresholds()).len(), 1);
    let released = after.learned(false, &thresholds());
    assert_eq!(judge(&small, &released, &thresholds()), [""; 0]);
    assert_eq!(released.held, None);

    // One encrypted night that was let through makes the next one no less unusual, once there are ten runs.
    let encrypted = Facts { changed: 10_000, unmodified: 0, sampled: 10_000, opaque: 10_000, ..quiet(14) };
    let mut once = history(14);
    once.remember(encrypted, true, &thresholds());
    assert_eq!(judge(&encrypted, &once, &thresholds()).len(), 2);
}

#[test]
fn thresholds_are_of_the_source_or_of_all() {
    let read = |text: &str| serde_json::from_str::<Settings>(text).unwrap();
    let all = read(r#"{ "removed": "10 %", "min_files": 5 }"#);
    let own = read(r#"{ "removed": "90 %", "min_bytes": "1 GiB" }"#).over(&all);
    assert_eq!((own.removed, own.min_files, own.min_bytes, own.changed), (0.9, 5, 1 << 30, 0.5));
    let off = read(r#"{ "enabled": false }"#).over(&all);
    let nothing = Facts { removed: Some(11_120), ..Facts::default() };
    assert_eq!(judge(&nothing, &history(14), &off), [""; 0]);
    assert!(serde_json::from_str::<Settings>(r#"{ "remove": "10 %" }"#).is_err());
    assert!(serde_json::from_str::<Settings>(r#"{ "removed": "10" }"#).is_err());
}
