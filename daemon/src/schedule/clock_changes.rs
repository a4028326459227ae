//! Real clock changes, written out: local start and decision of each slot around them.

use chrono::{DateTime, NaiveDateTime, TimeZone};

use super::*;

fn schedule(cron: &str, zone: &str, adjust: impl FnOnce(&mut ScheduleSettings)) -> Schedule {
    let mut settings =
        ScheduleSettings { cron: Some(cron.into()), timezone: Some(zone.into()), ..ScheduleSettings::default() };
    adjust(&mut settings);
    Schedule::compile(&settings, Tz::UTC).unwrap()
}

/// The slots of the days from `from` on, as `local time with offset, decision`.
fn slots(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
    let midnight = format!("{from}T00:00:00").parse::<NaiveDateTime>().unwrap();
    let from = schedule.timezone().from_local_datetime(&midnight).earliest().unwrap();
    schedule
        .slots(Seed(0), Timestamp(from.timestamp_millis() - 1))
        .take(count)
        .map(|slot| {
            let due = DateTime::from_timestamp_millis(slot.due.0).unwrap().with_timezone(&schedule.timezone());
            format!("{} {}", due.format("%d. %H:%M %:z"), slot.decision.name())
        })
        .collect()
}

#[test]
fn berlin_leaves_out_an_hour_in_march() {
    let run_after = schedule("30 2 * * *", "Europe/Berlin", |_| {});
    let expected = ["28. 02:30 +01:00 run", "29. 03:00 +02:00 run", "30. 02:30 +02:00 run"];
    assert_eq!(slots(&run_after, "2026-03-28", 3), expected);

    let skip = schedule("30 2 * * *", "Europe/Berlin", |settings| settings.dst_gap = DstGap::Skip);
    let expected = ["28. 02:30 +01:00 run", "29. 03:00 +02:00 skip", "30. 02:30 +02:00 run"];
    assert_eq!(slots(&skip, "2026-03-28", 3), expected);
}

#[test]
fn slots_of_one_gap_become_one_run() {
    let four = schedule("*/15 2 * * *", "Europe/Berlin", |_| {});
    assert_eq!(slots(&four, "2026-03-29", 2), ["29. 03:00 +02:00 run", "30. 02:00 +02:00 run"]);
    let slot = four.slots(Seed(0), Timestamp(1_774_738_800_000)).next().unwrap();
    assert_eq!(
        slot.reason(),
        "the clock goes forward over 4 slots, 02:00 to 02:45: one run right after the gap for all"
    );

    let with_three = schedule("0 2,3 * * *", "Europe/Berlin", |_| {});
    assert_eq!(slots(&with_three, "2026-03-29", 2), ["29. 03:00 +02:00 run", "30. 02:00 +02:00 run"]);
}

#[test]
fn berlin_repeats_an_hour_in_october() {
    let once = schedule("30 2 * * *", "Europe/Berlin", |_| {});
    let expected = ["25. 02:30 +02:00 run", "25. 02:30 +01:00 skip", "26. 02:30 +01:00 run"];
    assert_eq!(slots(&once, "2026-10-25", 3), expected);

    let twice = schedule("30 2 * * *", "Europe/Berlin", |settings| settings.dst_overlap = DstOverlap::Twice);
    let expected = ["25. 02:30 +02:00 run", "25. 02:30 +01:00 run", "26. 02:30 +01:00 run"];
    assert_eq!(slots(&twice, "2026-10-25", 3), expected);
}

#[test]
fn an_interval_goes_on_through_both_changes() {
    for (zone, change) in
        [("Europe/Berlin", "2026-03-29"), ("Europe/Berlin", "2026-10-25"), ("Africa/Casablanca", "2026-03-22")]
    {
        let quarter = schedule("*/15 * * * *", zone, |_| {});
        let from = change.parse::<chrono::NaiveDate>().unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
        let slots: Vec<Slot> = quarter.slots(Seed(0), from.into()).take(40).collect();
        for pair in slots.windows(2) {
            assert_eq!(pair[1].due.0 - pair[0].due.0, 15 * 60 * 1000, "{zone} {}", pair[0].due);
            assert_eq!(pair[0].decision, Decision::Run);
        }
    }
}

#[test]
fn an_hourly_job_has_its_minute_in_each_hour_that_is() {
    let five_past = schedule("5 * * * *", "America/New_York", |_| {});
    let expected = ["08. 01:05 -05:00 run", "08. 03:00 -04:00 skip", "08. 03:05 -04:00 run", "08. 04:05 -04:00 run"];
    assert_eq!(slots(&five_past, "2026-03-08", 5)[1..], expected);
    let expected = ["01. 00:05 -04:00 run", "01. 01:05 -04:00 run", "01. 01:05 -05:00 run", "01. 02:05 -05:00 run"];
    assert_eq!(slots(&five_past, "2026-11-01", 4), expected);
}

#[test]
fn lord_howe_moves_by_half_an_hour() {
    let fixed = schedule("15,45 2 * * *", "Australia/Lord_Howe", |_| {});
    let expected = ["04. 02:30 +11:00 run", "04. 02:45 +11:00 run", "05. 02:15 +11:00 run"];
    assert_eq!(slots(&fixed, "2026-10-04", 3), expected);

    let fixed = schedule("15,45 1 * * *", "Australia/Lord_Howe", |_| {});
    let expected = ["05. 01:15 +11:00 run", "05. 01:45 +11:00 run", "05. 01:45 +10:30 skip", "06. 01:15 +10:30 run"];
    assert_eq!(slots(&fixed, "2026-04-05", 4), expected);

    // The only gap that can take a run from an hourly job: the hour is there, its minute is not.
    let hourly = schedule("5 * * * *", "Australia/Lord_Howe", |_| {});
    let expected = ["04. 01:05 +10:30 run", "04. 02:30 +11:00 run", "04. 03:05 +11:00 run"];
    assert_eq!(slots(&hourly, "2026-10-04", 4)[1..], expected);
}

#[test]
fn casablanca_goes_back_for_ramadan_and_forward_after_it() {
    let fixed = schedule("30 2 * * *", "Africa/Casablanca", |_| {});
    let expected = ["15. 02:30 +01:00 run", "15. 02:30 +00:00 skip", "16. 02:30 +00:00 run"];
    assert_eq!(slots(&fixed, "2026-02-15", 3), expected);
    let expected = ["21. 02:30 +00:00 run", "22. 03:00 +01:00 run", "23. 02:30 +01:00 run"];
    assert_eq!(slots(&fixed, "2026-03-21", 3), expected);
}

#[test]
fn shanghai_changed_its_clocks_until_1991() {
    let fixed = schedule("30 2 * * *", "Asia/Shanghai", |_| {});
    let expected = ["03. 02:30 +08:00 run", "04. 03:00 +09:00 run", "05. 02:30 +09:00 run"];
    assert_eq!(slots(&fixed, "1986-05-03", 3), expected);
    let fixed = schedule("30 1 * * *", "Asia/Shanghai", |_| {});
    let expected = ["15. 01:30 +09:00 run", "15. 01:30 +08:00 skip", "16. 01:30 +08:00 run"];
    assert_eq!(slots(&fixed, "1991-09-15", 3), expected);
    let since = schedule("30 2 * * *", "Asia/Shanghai", |_| {});
    let after: Timestamp = chrono::Utc.with_ymd_and_hms(1992, 1, 1, 0, 0, 0).unwrap().into();
    let mut days = 0;
    for pair in since.slots(Seed(0), after).take(365 * 60).collect::<Vec<_>>().windows(2) {
        assert_eq!(pair[1].due.0 - pair[0].due.0, DAY * 1000);
        assert_eq!(pair[0].cause, Cause::OnTime);
        days += 1;
    }
    assert_eq!(days, 365 * 60 - 1);
}

#[test]
fn apia_left_out_a_day() {
    let daily = schedule("30 2 * * *", "Pacific/Apia", |_| {});
    let expected = ["29. 02:30 -10:00 run", "31. 00:00 +14:00 run", "31. 02:30 +14:00 run"];
    assert_eq!(slots(&daily, "2011-12-29", 3), expected);
}

#[test]
fn every_knows_no_local_time() {
    let settings = ScheduleSettings {
        every: Some(Duration::from_secs(3600 * 7)),
        timezone: Some("Europe/Berlin".into()),
        ..ScheduleSettings::default()
    };
    let schedule = Schedule::compile(&settings, Tz::UTC).unwrap();
    let after: Timestamp = chrono::Utc.with_ymd_and_hms(2026, 3, 28, 0, 0, 0).unwrap().into();
    for slot in schedule.slots(Seed(0), after).take(10) {
        assert_eq!((slot.due.0 % (3600 * 7 * 1000), slot.decision), (0, Decision::Run));
    }
}

#[test]
fn a_window_looks_at_the_start_and_not_at_the_nominal_time() {
    let window = schedule("50 5 * * *", "Asia/Shanghai", |settings| {
        settings.window = Some("22:00-06:00".parse().unwrap());
        settings.jitter = Duration::from_secs(3600);
    });
    let slot = |seed| window.slots(Seed(seed), Timestamp(1_767_225_600_000)).next().unwrap();
    assert_eq!((slot(599).decision, slot(600).decision), (Decision::Run, Decision::Suppress));
    assert_eq!(slot(599).reason(), "jitter 9m 59s");
    assert_eq!(slot(600).reason(), "jitter 10m; outside of window 22:00-06:00");
}

#[test]
fn the_delay_of_a_task_is_stable_and_differs_between_hosts_and_tasks() {
    assert_eq!(Seed::of("web-1", "backup"), Seed(5_555_413_834_702_918_669));
    let delays: std::collections::BTreeSet<u64> =
        (0..1000).map(|task| Seed::of("web-1", &format!("task-{task}")).0 % 3601).collect();
    assert!(delays.len() > 800, "1000 tasks share {} delays of 3601", delays.len());
}

#[test]
fn a_year_of_seconds_is_counted_and_not_walked() {
    let policies = [(CatchUp::None, 0), (CatchUp::Last, 1), (CatchUp::All(10), 10)];
    for (policy, runs) in policies {
        let seconds = schedule("* * * * * *", "Europe/Berlin", |settings| {
            settings.catch_up = policy;
            settings.window = Some("22:00-06:00".parse().unwrap());
        });
        let cursor: Timestamp = chrono::Utc.with_ymd_and_hms(2025, 6, 1, 0, 0, 0).unwrap().into();
        let now: Timestamp = chrono::Utc.with_ymd_and_hms(2026, 6, 1, 10, 0, 0).unwrap().into();
        let passed = schedule_passed_quickly(&seconds, cursor, now);
        let last = chrono::Utc.with_ymd_and_hms(2026, 6, 1, 3, 59, 59).unwrap();
        assert_eq!(passed.caught_up.len(), runs);
        assert!(passed.caught_up.last().is_none_or(|slot| slot.due == last.into()));
        let counts = (passed.missed.unwrap().count + runs as u64, passed.suppressed.unwrap().count);
        // The second of the cursor itself is decided already; October's extra hour makes up for March's missing one.
        assert_eq!(counts.0 + counts.1 + passed.on_time.len() as u64, (365 * 24 + 10) * 3600);
        assert_eq!(counts.0, (365 * 8 + 4) * 3600 - 1);
    }
}

fn schedule_passed_quickly(schedule: &Schedule, cursor: Timestamp, now: Timestamp) -> Passed {
    let started = std::time::Instant::now();
    let passed = schedule.passed(Seed(0), cursor, now);
    assert!(started.elapsed() < Duration::from_secs(1), "took {:?}", started.elapsed());
    passed
}
