use std::time::Instant;

use chrono_tz::Tz;

use super::*;
use crate::config::schedule::{CatchUp, ScheduleSettings};
use crate::schedule::{Decision, GRACE};

/// 2026-06-01 00:00 UTC.
const START: Timestamp = Timestamp(1_780_272_000_000);
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn schedule(cron: &str) -> Arc<Schedule> {
    let settings = ScheduleSettings { cron: Some(cron.into()), ..ScheduleSettings::default() };
    Arc::new(Schedule::compile(&settings, Tz::UTC).unwrap())
}

fn after(millis: i64) -> Timestamp {
    Timestamp(START.0 + millis)
}

fn names(due: &[(Arc<str>, Passed)]) -> Vec<&str> {
    due.iter().map(|(task, _)| &**task).collect()
}

#[test]
fn tasks_come_out_in_the_order_in_which_they_are_due() {
    let mut table = Timetable::default();
    for (task, cron) in [("noon", "0 12 * * *"), ("hourly", "0 * * * *"), ("also-hourly", "0 * * * *")] {
        table.insert(task, schedule(cron), Seed(0), START, START);
    }
    assert_eq!((table.len(), table.next_due()), (3, Some(after(HOUR))));
    assert!(table.pop_due(after(HOUR - 1)).is_empty());
    let due = table.pop_due(after(HOUR));
    assert_eq!(names(&due), ["also-hourly", "hourly"]);
    assert!(due.iter().all(|(_, passed)| passed.on_time.len() == 1 && passed.caught_up.is_empty()));
    assert_eq!(table.next_due(), Some(after(2 * HOUR)));
    assert_eq!(table.next_of("noon").map(|slot| slot.due), Some(after(12 * HOUR)));
}

#[test]
fn a_replaced_task_leaves_no_slot_of_the_old_schedule() {
    let mut table = Timetable::default();
    table.insert("task", schedule("0 * * * *"), Seed(0), START, START);
    table.insert("task", schedule("0 12 * * *"), Seed(0), START, START);
    assert_eq!((table.len(), table.next_due()), (1, Some(after(12 * HOUR))));
    assert!(table.remove("task") && !table.remove("task"));
    assert!(table.is_empty() && table.next_due().is_none());
}

#[test]
fn a_task_without_a_clock_is_never_due() {
    let mut table = Timetable::default();
    let by_hand = Schedule::compile(&ScheduleSettings::default(), Tz::UTC).unwrap();
    table.insert("by-hand", Arc::new(by_hand), Seed(0), START, START);
    assert_eq!((table.len(), table.next_due()), (1, None));
}

#[test]
fn a_restart_catches_up_on_the_usual_path() {
    let mut table = Timetable::default();
    let now = after(5 * HOUR + 10 * MINUTE);
    table.insert("hourly", schedule("0 * * * *"), Seed(0), START, now);
    let due = table.pop_due(now);
    let [(_, passed)] = due.as_slice() else { panic!("{due:?}") };
    assert_eq!(passed.caught_up.iter().map(|slot| slot.due).collect::<Vec<_>>(), [after(5 * HOUR)]);
    let missed = passed.missed.unwrap();
    assert_eq!((missed.count, missed.first, missed.last), (4, after(HOUR), after(4 * HOUR)));
    assert_eq!(missed.to_string(), "4 slots from 2026-06-01T01:00:00Z to 2026-06-01T04:00:00Z");
    assert_eq!(table.next_due(), Some(after(6 * HOUR)));
}

#[test]
fn a_slot_that_is_a_little_late_is_not_missed() {
    let settings =
        ScheduleSettings { cron: Some("0 * * * *".into()), catch_up: CatchUp::None, ..ScheduleSettings::default() };
    let hourly = Arc::new(Schedule::compile(&settings, Tz::UTC).unwrap());
    for (late, on_time) in [(0, true), (GRACE, true), (GRACE + 1, false)] {
        let mut table = Timetable::default();
        table.insert("task", Arc::clone(&hourly), Seed(0), START, START);
        let (_, passed) = table.pop_due(after(HOUR + late)).remove(0);
        assert_eq!((passed.on_time.len() == 1, passed.missed.is_none()), (on_time, on_time), "{late} ms late");
    }
}

#[test]
fn nothing_runs_twice_when_the_clock_goes_back_a_little_and_nothing_stops_when_it_goes_back_far() {
    let mut table = Timetable::default();
    table.insert("hourly", schedule("0 * * * *"), Seed(0), START, START);
    assert_eq!(table.pop_due(after(HOUR)).len(), 1);
    table.clock_changed(after(HOUR / 2));
    assert_eq!(table.next_due(), Some(after(2 * HOUR)));

    assert_eq!(table.pop_due(after(10 * 365 * 24 * HOUR)).len(), 1);
    table.clock_changed(after(HOUR / 2));
    assert_eq!(table.next_due(), Some(after(HOUR)));
    table.insert("from-store", schedule("0 * * * *"), Seed(0), after(10 * 365 * 24 * HOUR), START);
    assert_eq!(table.next_of("from-store").map(|slot| slot.due), Some(after(HOUR)));
}

/// `cargo test -p upkeep --lib timetable::tests::figures -- --ignored --nocapture`
#[test]
#[ignore = "prints figures; a busy machine may miss them"]
fn figures() {
    const TASKS: usize = 100_000;
    const AT_ONCE: usize = 10_000;
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
    };
    let (before, started) = (resident(), Instant::now());
    let mut table = Timetable::default();
    for task in 0..TASKS {
        // One in ten is due at 03:30; the others spread over the seconds of a day, each with its own expression.
        let cron = if task % (TASKS / AT_ONCE) == 0 {
            "30 3 * * *".to_owned()
        } else {
            format!("{} {} {} * * *", task % 60, task / 60 % 60, 4 + task / 3600 % 20)
        };
        let settings = ScheduleSettings {
            cron: Some(cron),
            timezone: Some("Europe/Berlin".into()),
            ..ScheduleSettings::default()
        };
        let schedule = Arc::new(Schedule::compile(&settings, Tz::UTC).unwrap());
        table.insert(format!("task-{task:06}"), schedule, Seed(0), START, START);
    }
    let (each, elapsed) = ((resident() - before) / TASKS, started.elapsed());
    println!("{TASKS} tasks: compiled and inserted in {elapsed:?}, {each} bytes of resident memory each");
    assert!(each <= 1024);

    // The tasks due at 03:30 in Berlin, and the cost of handing them out with their next slots computed.
    let early = table.pop_due(after(HOUR + 30 * MINUTE - 1));
    assert!(early.is_empty());
    let started = Instant::now();
    let due = table.pop_due(after(HOUR + 30 * MINUTE));
    let elapsed = started.elapsed();
    println!("{} tasks due in one second: handed out in {elapsed:?}", due.len());
    assert_eq!(due.len(), AT_ONCE);
    assert!(due.iter().all(|(_, passed)| passed.on_time[0].decision == Decision::Run));
    assert!(elapsed.as_millis() < 100);

    let started = Instant::now();
    let due = table.pop_due(after(366 * 24 * HOUR));
    println!("a year of downtime for {} tasks: decided in {:?}", due.len(), started.elapsed());
    assert_eq!(due.len(), TASKS);
}
