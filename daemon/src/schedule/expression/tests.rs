//! What the expressions mean, checked against the two libraries' own evaluation, and what the errors say.

use std::fmt::Write;

use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;

use super::super::calendar::{DAY, naive};
use super::*;

fn times(dialect: Dialect, text: &str, after: &str, count: usize) -> Vec<String> {
    let calendar = parse(dialect, text).unwrap();
    let after = after.parse::<NaiveDate>().unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp() - 1;
    let next = |local: &i64| calendar.next(*local);
    std::iter::successors(next(&after), next).take(count).map(|at| naive(at).format("%a %F %T").to_string()).collect()
}

#[test]
fn crontab_counts_weekdays_from_sunday_and_quartz_one_later() {
    let monday = ["Mon 2026-01-05 03:30:00", "Mon 2026-01-12 03:30:00"];
    assert_eq!(times(Dialect::Crontab, "30 3 * * 1", "2026-01-01", 2), monday);
    assert_eq!(times(Dialect::Quartz, "0 30 3 ? * 2", "2026-01-01", 2), monday);
    let sunday = ["Sun 2026-01-04 00:00:00", "Sun 2026-01-11 00:00:00"];
    for text in ["0 0 * * 0", "0 0 * * 7", "0 0 * * sun", "@weekly"] {
        assert_eq!(times(Dialect::Crontab, text, "2026-01-01", 2), sunday, "{text}");
    }
    for text in ["0 0 0 ? * 1", "0 0 0 ? * SUN"] {
        assert_eq!(times(Dialect::Quartz, text, "2026-01-01", 2), sunday, "{text}");
    }
    let weekend = ["Fri 2026-01-02 00:00:00", "Sat 2026-01-03 00:00:00", "Sun 2026-01-04 00:00:00"];
    assert_eq!(times(Dialect::Crontab, "0 0 * * 5-7", "2026-01-01", 3), weekend);
    assert_eq!(times(Dialect::Crontab, "0 0 * * FRI-SUN", "2026-01-01", 3), weekend);
}

#[test]
fn crontab_days_match_either_field_unless_one_begins_with_a_star() {
    let either = ["Fri 2026-01-02 00:00:00", "Fri 2026-01-09 00:00:00", "Tue 2026-01-13 00:00:00"];
    assert_eq!(times(Dialect::Crontab, "0 0 13 * FRI", "2026-01-01", 3), either);
    let odd_mondays = ["Mon 2026-01-05 00:00:00", "Mon 2026-01-19 00:00:00", "Mon 2026-02-09 00:00:00"];
    assert_eq!(times(Dialect::Crontab, "0 0 */2 * MON", "2026-01-01", 3), odd_mondays);
}

#[test]
fn seconds_and_years_have_their_places() {
    assert_eq!(
        times(Dialect::Crontab, "*/20 0 12 1 1 * 2027", "2026-01-01", 9),
        ["Fri 2027-01-01 12:00:00", "Fri 2027-01-01 12:00:20", "Fri 2027-01-01 12:00:40"]
    );
    assert_eq!(times(Dialect::Quartz, "5 0 12 1 1 ? 2027", "2026-01-01", 9), ["Fri 2027-01-01 12:00:05"]);
    assert_eq!(times(Dialect::Crontab, "0 0 29 2 *", "2096-03-01", 1), ["Fri 2104-02-29 00:00:00"]);
}

#[test]
fn days_are_named_by_the_end_of_the_month_and_by_weekdays() {
    let check = |dialect, text: &str, expected: &[&str]| {
        let found = times(dialect, text, "2026-01-01", expected.len());
        assert_eq!(found.iter().map(|time| &time[..14]).collect::<Vec<_>>(), expected, "{text}");
    };
    check(Dialect::Crontab, "0 0 L * *", &["Sat 2026-01-31", "Sat 2026-02-28", "Tue 2026-03-31"]);
    check(Dialect::Quartz, "0 0 0 L * ?", &["Sat 2026-01-31", "Sat 2026-02-28", "Tue 2026-03-31"]);
    check(Dialect::Quartz, "0 0 0 L-3 * ?", &["Wed 2026-01-28", "Wed 2026-02-25", "Sat 2026-03-28"]);
    check(Dialect::Crontab, "0 0 LW * *", &["Fri 2026-01-30", "Fri 2026-02-27", "Tue 2026-03-31"]);
    check(Dialect::Crontab, "0 0 1W * *", &["Thu 2026-01-01", "Mon 2026-02-02", "Mon 2026-03-02"]);
    check(Dialect::Quartz, "0 0 0 15W * ?", &["Thu 2026-01-15", "Mon 2026-02-16", "Mon 2026-03-16"]);
    check(Dialect::Crontab, "0 0 * * 5L", &["Fri 2026-01-30", "Fri 2026-02-27", "Fri 2026-03-27"]);
    check(Dialect::Quartz, "0 0 0 ? * 6L", &["Fri 2026-01-30", "Fri 2026-02-27", "Fri 2026-03-27"]);
    check(Dialect::Quartz, "0 0 0 ? * FRI#3", &["Fri 2026-01-16", "Fri 2026-02-20", "Fri 2026-03-20"]);
    check(Dialect::Quartz, "0 0 0 ? * L", &["Sat 2026-01-03", "Sat 2026-01-10"]);
    check(Dialect::Crontab, "0 0 15,L * *", &["Thu 2026-01-15", "Sat 2026-01-31", "Sun 2026-02-15"]);
    check(Dialect::Crontab, "0 0 * * 1#5,0", &["Sun 2026-01-04", "Sun 2026-01-11", "Sun 2026-01-18"]);
}

#[test]
fn an_expression_is_read_once_while_it_is_in_use() {
    let first = parse(Dialect::Crontab, "7 7 7 7 *").unwrap();
    assert!(Arc::ptr_eq(&first, &parse(Dialect::Crontab, "7 7 7 7 *").unwrap()));
}

#[test]
fn errors_name_the_field_and_the_remedy() {
    let mut table = String::new();
    for (dialect, texts) in [
        (
            Dialect::Crontab,
            &[
                "",
                "30 3",
                "30 3 * * * * * *",
                "61 * * * *",
                "* 24 * * *",
                "* * 0 * *",
                "* * * 13 *",
                "* * * * 8",
                "* * * * FREITAG",
                "* * * * SAT-MON",
                "* * * * 5-1",
                "* * * NOV-FEB *",
                "* MON * * *",
                "* * * JAN1 *",
                "1,,2 * * * *",
                "0 22-6 * * *",
                "5/15 * * * *",
                "/5 * * * *",
                "*/0 * * * *",
                "0 0 ? * *",
                "0~30 * * * *",
                "0 0 * * L",
                "0 0 30 2 *",
                "0 0 31 4,6 *",
                "0 0 1 1 * * 1969",
                "@reboot",
                "@every 5m",
                "@fortnightly",
                "0 0 * * 1#6",
                "0 0 32W * *",
            ][..],
        ),
        (
            Dialect::Quartz,
            &[
                "30 3 * * *",
                "0 0 12 * * *",
                "0 0 12 ? * ?",
                "0 0 12 1 * MON",
                "0 0 12 ? * 0",
                "0 0 12 ? * 8",
                "0 0 22-6 * * ?",
                "0 0 12 ? * FRI-MON",
                "0 0/0 12 * * ?",
                "0 /5 * * * ?",
                "0 0 12 30 2 ?",
                "0 0 ? * * ?",
            ][..],
        ),
    ] {
        for text in texts {
            let error = parse(dialect, text).expect_err(text);
            writeln!(table, "{:?}\n  {}: {}\n  {}\n", text, error.key, error.problem, error.remedy).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

/// A field of an expression as text; never with a star in front of more, where Vixie and croner differ.
fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let value = low..=high;
    prop_oneof![
        Just("*".to_owned()),
        value.clone().prop_map(|value| value.to_string()),
        (value.clone(), value.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        (value.clone(), value.clone(), 1..5_u32).prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b))),
        prop::collection::vec(value, 1..4).prop_map(|values| values
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",")),
    ]
}

fn day() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => field(1, 31),
        1 => Just("L".to_owned()),
        1 => Just("LW".to_owned()),
        1 => (1..=31_u32).prop_map(|day| format!("{day}W")),
        1 => (1..=31_u32, 1..=31_u32).prop_map(|(day, near)| format!("{day},{near}W,L")),
    ]
}

fn weekday() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => field(0, 7),
        1 => (0..=7_u32).prop_map(|day| format!("{day}L")),
        1 => (0..=7_u32, 1..=5_u32).prop_map(|(day, nth)| format!("{day}#{nth}")),
        1 => (0..=6_u32, 0..=6_u32).prop_map(|(last, day)| format!("{last}L,{day}")),
    ]
}

proptest! {
    /// croner, asked in UTC, names the same days and times.
    #[test]
    fn crontab_agrees_with_croner(
        hour in field(0, 23), day in day(), month in field(1, 12), weekday in weekday(), start in 0..20_000_i64,
    ) {
        let text = format!("17 {hour} {day} {month} {weekday}");
        let Ok(calendar) = parse(Dialect::Crontab, &text) else { return Ok(()) };
        let croner: croner::Cron = text.parse().unwrap();
        for hour in (start * 24..(start + 400) * 24).step_by(7) {
            let local = hour * 3600 + 17 * 60;
            let expected = croner.is_time_matching(&DateTime::from_timestamp(local, 0).unwrap()).unwrap();
            prop_assert_eq!(calendar.contains(local), expected, "{} at {}", text, naive(local));
        }
    }

    /// cron, asked in UTC, names the same days and times.
    #[test]
    fn quartz_agrees_with_cron(hour in field(0, 23), month in field(1, 12), weekday in field(1, 7), start in 0..20_000_i64) {
        let text = format!("0 17 {hour} ? {month} {weekday}");
        let calendar = parse(Dialect::Quartz, &text).unwrap();
        let cron: cron::Schedule = text.parse().unwrap();
        for hour in (start * 24..(start + 400) * 24).step_by(7) {
            let local = hour * 3600 + 17 * 60;
            prop_assert_eq!(calendar.contains(local), cron.includes(DateTime::from_timestamp(local, 0).unwrap()));
        }
    }

    /// Walking, counting and asking one by one come to the same.
    #[test]
    fn next_and_count_agree_with_contains(
        second in field(0, 59), minute in field(0, 59), hour in field(0, 23), day in day(), weekday in weekday(),
        start in 0..20_000 * DAY, length in 0..3 * DAY,
    ) {
        let Ok(calendar) = parse(Dialect::Crontab, &format!("{second} {minute} {hour} {day} * {weekday}")) else {
            return Ok(());
        };
        let named: Vec<i64> = (start..start + length).filter(|local| calendar.contains(*local)).collect();
        prop_assert_eq!(calendar.count(start, start + length), named.len() as u64);
        let mut from = start - 1;
        for local in named {
            prop_assert_eq!(calendar.next(from), Some(local));
            from = local;
        }
        prop_assert!(calendar.next(from).is_none_or(|next| next >= start + length));
    }
}
