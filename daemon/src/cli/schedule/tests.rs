//! The printed tables, to be read as an operator would.

use std::time::Duration;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ScheduleArgs,
}

/// 2026-03-20 12:00 UTC.
const NOW: Timestamp = Timestamp(1_774_008_000_000);

fn run(arguments: &[&str], task: Option<&ScheduleSettings>) -> anyhow::Result<String> {
    let args = Cli::try_parse_from(std::iter::once(&"schedule").chain(arguments))?.args;
    let mut out = Vec::new();
    let place = Place { timezone: chrono_tz::Europe::Berlin, host: "web-1", now: NOW };
    schedule(&args, task, place, &mut out)?;
    Ok(String::from_utf8(out)?)
}

/// The output, after checking that it fits a terminal.
fn table(arguments: &[&str], task: Option<&ScheduleSettings>) -> String {
    let text = run(arguments, task).unwrap();
    for line in text.lines() {
        assert!(line.len() <= COLUMNS, "{} columns: {line}", line.len());
    }
    text
}

#[test]
fn a_nightly_expression_and_the_change_that_comes() {
    insta::assert_snapshot!(table(&["--cron", "30 2 * * *", "--count", "3"], None));
}

#[test]
fn across_the_gap() {
    insta::assert_snapshot!(table(&["--cron", "*/20 2 * * *", "--from", "2026-03-28", "--to", "2026-03-31"], None));
}

#[test]
fn across_the_overlap() {
    let arguments = ["--quartz", "0 0/30 * * * ?", "--from", "2026-10-25T00:20:00Z", "--count", "6"];
    insta::assert_snapshot!(table(&arguments, None));
}

#[test]
fn the_second_of_two_is_skipped() {
    insta::assert_snapshot!(table(&["--cron", "30 2 * * *", "--from", "2026-10-20", "--count", "2"], None));
}

#[test]
fn a_task_with_jitter_and_window() {
    let settings = ScheduleSettings {
        cron: Some("45 5,12,22 * * *".into()),
        timezone: Some("Asia/Shanghai".into()),
        jitter: Duration::from_secs(30 * 60),
        window: Some("22:00-06:00".parse().unwrap()),
        ..ScheduleSettings::default()
    };
    insta::assert_snapshot!(table(&["backup", "--count", "4"], Some(&settings)));
}

#[test]
fn a_skipped_gap_in_the_dead_of_night() {
    let settings = ScheduleSettings {
        cron: Some("15 2 * * *".into()),
        timezone: Some("Australia/Lord_Howe".into()),
        dst_gap: DstGap::Skip,
        dst_overlap: DstOverlap::Twice,
        ..ScheduleSettings::default()
    };
    insta::assert_snapshot!(table(&["cleanup", "--from", "2026-10-03", "--count", "3"], Some(&settings)));
}

#[test]
fn a_task_that_no_clock_starts() {
    insta::assert_snapshot!(table(&["push"], Some(&ScheduleSettings::default())));
}

#[test]
fn json_is_one_object() {
    let text = run(&["--every", "8h", "--count", "2", "--json", "--to", "2026-04-01"], None).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object());
    insta::assert_snapshot!(text);
}

#[test]
fn errors_name_the_option_and_the_remedy() {
    let settings = ScheduleSettings { every: Some(Duration::ZERO), ..ScheduleSettings::default() };
    let said = |arguments: &[&str]| format!("{:#}", run(arguments, Some(&settings)).unwrap_err());
    let errors = [
        said(&["--cron", "30 25 * * *"]),
        said(&["--quartz", "30 3 * * *"]),
        said(&["--every", "5 apples"]),
        said(&["--every", "1h", "--timezone", "shanghai"]),
        said(&["--every", "1h", "--timezone", "CEST"]),
        said(&["--every", "1h", "--from", "tomorrow"]),
        said(&["--every", "1h", "--from", "2026-03-29 02:30"]),
        said(&["backup"]),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}
