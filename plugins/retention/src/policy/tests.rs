//! Properties of the rules, and what the calendar makes difficult. That they decide as restic does is shown in
//! `tests/tests/retention.rs` of upkeep.

use std::collections::BTreeSet;

use proptest::prelude::*;

use jiff::Timestamp;

use crate::policy::*;

const DAY: i64 = 86_400_000;
/// 2026-03-31 12:00:00 UTC.
const NOW: i64 = 1_774_958_400_000;

fn snapshot(id: usize, time: i64, utc_offset: i32, tags: &[&str]) -> Snapshot {
    Snapshot {
        id: format!("{id:03}"),
        time,
        utc_offset,
        host: "server".to_owned(),
        paths: vec!["/srv/app".to_owned()],
        tags: tags.iter().map(|it| (*it).to_owned()).collect(),
    }
}

fn kept(fates: &[Fate]) -> BTreeSet<String> {
    fates.iter().filter(|it| !it.kept_by.is_empty()).map(|it| it.snapshot.id.clone()).collect()
}

fn history() -> impl Strategy<Value = Vec<Snapshot>> {
    let tag = prop::sample::subsequence(vec!["a", "b", "c"], 0..=2);
    // Four years back, often close together, sometimes in the future, in four time zones.
    let time = prop_oneof![0..4 * 365 * DAY, 0..3 * DAY, -DAY..0].prop_map(|ago| NOW - ago);
    let offset = prop::sample::select(vec![0, 8 * 3_600, -(9 * 3_600 + 1_800), 14 * 3_600]);
    prop::collection::vec((time, offset, tag), 1..40).prop_map(|all| {
        all.into_iter().enumerate().map(|(id, (time, offset, tags))| snapshot(id, time, offset, &tags)).collect()
    })
}

fn count() -> impl Strategy<Value = Count> {
    prop_oneof![3 => Just(Count::None), 4 => (0u32..8).prop_map(Count::Of), 1 => Just(Count::Unlimited)]
}

fn span() -> impl Strategy<Value = Option<Span>> {
    let span = (0u32..3, 0u32..14, 0u32..40, 0u32..50);
    let span = span.prop_map(|(years, months, days, hours)| Span { years, months, days, hours });
    prop::option::weighted(0.2, span.prop_filter("none", |it| *it != Span::default()))
}

fn rules() -> impl Strategy<Value = Keep> {
    let counts = prop::collection::vec(count(), 6);
    let spans = prop::collection::vec(span(), 6);
    let tags = prop::collection::vec(prop::sample::subsequence(vec!["a", "b", "c"], 1..=2), 0..2);
    (counts, spans, tags)
        .prop_map(|(counts, spans, tags)| Keep {
            last: counts[0],
            hourly: counts[1],
            daily: counts[2],
            weekly: counts[3],
            monthly: counts[4],
            yearly: counts[5],
            within: spans[0],
            within_hourly: spans[1],
            within_daily: spans[2],
            within_weekly: spans[3],
            within_monthly: spans[4],
            within_yearly: spans[5],
            tags: tags.iter().map(|tags| tags.iter().map(|it| (*it).to_owned()).collect()).collect(),
        })
        .prop_filter("keeps something", Keep::has_time_rule)
}

fn more(count: Count) -> Count {
    match count {
        Count::None => Count::Of(1),
        Count::Of(count) => Count::Of(count + 1),
        Count::Unlimited => Count::Unlimited,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn each_snapshot_has_one_fate_and_the_newest_stays(snapshots in history(), keep in rules()) {
        let fates = decide(snapshots.clone(), &keep, NOW);
        prop_assert_eq!(fates.len(), snapshots.len());
        prop_assert!(fates.is_sorted_by(|one, other| one.snapshot.time >= other.snapshot.time));
        prop_assert!(!fates[0].kept_by.is_empty(), "the newest went: {:?}", fates[0]);
    }

    /// As many as asked for, where there are so many: the newest, and the newest of each day.
    #[test]
    fn at_least_what_is_asked_for_stays(snapshots in history(), keep in rules()) {
        let fates = decide(snapshots, &keep, NOW);
        let kept = kept(&fates);
        if let Count::Of(last) = keep.last {
            for fate in fates.iter().take(last as usize) {
                prop_assert!(kept.contains(&fate.snapshot.id));
            }
        }
        let of_days = |fates: &mut dyn Iterator<Item = &Fate>| {
            fates.map(|it| it.snapshot.local().date()).collect::<BTreeSet<_>>()
        };
        let (all, left) = (
            of_days(&mut fates.iter()).len(),
            of_days(&mut fates.iter().filter(|it| kept.contains(&it.snapshot.id))).len(),
        );
        match keep.daily {
            // With clocks in several zones a day may come twice, and then counts twice, as it does for restic.
            Count::Unlimited => prop_assert_eq!(left, all),
            Count::Of(days) if fates.iter().all(|it| it.snapshot.utc_offset == 0) => {
                prop_assert!(left >= all.min(days as usize));
            }
            _ => {}
        }
        for tags in &keep.tags {
            for fate in fates.iter().filter(|it| tags.iter().all(|tag| it.snapshot.tags.contains(tag))) {
                prop_assert!(kept.contains(&fate.snapshot.id));
            }
        }
    }

    #[test]
    fn who_asks_for_more_loses_nothing(snapshots in history(), keep in rules(), which in 0usize..6) {
        let mut asked = keep.clone();
        let count = match which {
            0 => &mut asked.last,
            1 => &mut asked.hourly,
            2 => &mut asked.daily,
            3 => &mut asked.weekly,
            4 => &mut asked.monthly,
            _ => &mut asked.yearly,
        };
        *count = more(*count);
        let (less, more) = (kept(&decide(snapshots.clone(), &keep, NOW)), kept(&decide(snapshots, &asked, NOW)));
        prop_assert!(less.is_subset(&more), "{less:?} {more:?}");
    }

    #[test]
    fn a_second_application_removes_nothing(snapshots in history(), keep in rules()) {
        let fates = decide(snapshots, &keep, NOW);
        let left: Vec<_> = fates.into_iter().filter(|it| !it.kept_by.is_empty()).map(|it| it.snapshot).collect();
        let again = decide(left.clone(), &keep, NOW);
        prop_assert_eq!(kept(&again).len(), left.len());
    }

    #[test]
    fn the_order_does_not_matter(
        (snapshots, mixed) in history().prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle())),
        keep in rules(),
    ) {
        prop_assert_eq!(decide(snapshots, &keep, NOW), decide(mixed, &keep, NOW));
    }

    #[test]
    fn spans_are_written_as_they_are_read(span in span()) {
        if let Some(span) = span {
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}

#[test]
fn each_rule_says_what_it_keeps() {
    // One at noon of each of the last 40 days.
    let snapshots: Vec<_> = (0..40).map(|day| snapshot(39 - day, NOW - day as i64 * DAY, 0, &[])).collect();
    let keep = Keep {
        last: Count::Of(1),
        daily: Count::Of(3),
        weekly: Count::Of(2),
        monthly: Count::Unlimited,
        within: "36h".parse().ok(),
        ..Keep::default()
    };
    let fates = decide(snapshots, &keep, NOW + 1);
    let told: Vec<_> = fates
        .iter()
        .filter(|it| !it.kept_by.is_empty())
        .map(|it| format!("{} {}", it.snapshot.local().date(), it.kept_by.join(", ")))
        .collect();
    assert_eq!(
        told,
        [
            "2026-03-31 last 1 of 1, daily 1 of 3, weekly 1 of 2, monthly 1, within 36h",
            "2026-03-30 daily 2 of 3, within 36h",
            "2026-03-29 daily 3 of 3, weekly 2 of 2",
            "2026-02-28 monthly 2",
        ]
    );
}

#[test]
fn the_clock_where_it_was_made_decides() {
    // In Shanghai the second is of the next day, week and month: 2026-02-01 is a Sunday, and 2026-02-02 00:30 a Monday.
    let sunday = 1_769_961_600_000 - DAY / 2;
    let snapshots = vec![snapshot(0, sunday, 8 * 3_600, &[]), snapshot(1, sunday + DAY / 2, 8 * 3_600, &[])];
    assert_eq!(snapshots[0].local().to_string(), "2026-02-01T12:00:00");
    assert_eq!(snapshots[1].local().to_string(), "2026-02-02T00:00:00");
    let weekly = Keep { weekly: Count::Of(2), ..Keep::default() };
    assert_eq!(kept(&decide(snapshots.clone(), &weekly, NOW)).len(), 2);
    let in_utc: Vec<_> = snapshots.into_iter().map(|it| Snapshot { utc_offset: 0, ..it }).collect();
    assert_eq!(kept(&decide(in_utc, &weekly, NOW)).len(), 1);
}

#[test]
fn a_span_goes_back_on_the_calendar() {
    let before = |span: &str, offset| {
        let at = span.parse::<Span>().unwrap().before(&snapshot(0, NOW, offset, &[]));
        Timestamp::from_millisecond(at).unwrap().to_string()
    };
    // There is no February 31: what is too much runs into March.
    assert_eq!(before("1m", 0), "2026-03-03T12:00:00Z");
    assert_eq!(before("1y1m1d1h", 0), "2025-03-02T11:00:00Z");
    assert_eq!(before("2y", 0), "2024-03-31T12:00:00Z");
    assert_eq!(before("31d", 8 * 3_600), "2026-02-28T12:00:00Z");
    assert_eq!("9999999y".parse::<Span>().unwrap().before(&snapshot(0, NOW, 0, &[])), i64::MIN);
    for wrong in ["", "7", "d", "1w", "0d", "-1d", "1d 2h", "99999999999d"] {
        assert!(wrong.parse::<Span>().is_err(), "{wrong}");
    }
}

#[test]
fn groups_are_of_one_kind() {
    let other = Snapshot { host: "other".to_owned(), ..snapshot(1, NOW, 0, &["b", "a"]) };
    let all = vec![snapshot(0, NOW, 0, &["a", "b"]), other];
    let by = |host, paths, tags| group(all.clone(), GroupBy { host, paths, tags }).len();
    assert_eq!((by(true, true, false), by(false, true, true), by(false, false, false)), (2, 1, 1));
}
