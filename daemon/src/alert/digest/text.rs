//! How a digest reads: Markdown whose first line is the verdict. Pure.
//!
//! It fits what chat robots take ([`LARGEST`]): each line has a rank, and where there are too many, those of the lowest rank are left
//! out and counted.

use std::fmt::Write as _;

use super::{BackupDone, DiskFacts, Facts, TaskFacts, TrafficFacts};
use crate::alert::message::{minute, one_line, span};
use crate::quantity::{duration, grouped, size};
use crate::record::Severity;
use crate::record::outbox::MessageLevel;
use crate::stats::Figures;

/// Bytes of a digest. WeCom's robots take 4,096.
pub const LARGEST: usize = 3_500;

/// The verdict when nothing needs a look.
pub const ALL_WELL: &str = "All is well";

/// Bytes of what is quoted in one line.
const LONGEST: usize = 160;

/// Things that need a look, of which each has a line.
const MOST_PROBLEMS: usize = 8;

/// A disk that is so full, in hundredths, or full in so many days, needs a look.
const FULL: (u64, u64) = (90, 7);

/// What is slower than usual by this factor, and by so many milliseconds, is told to be so.
const SLOWER: (f64, f64) = (1.5, 5_000.0);

/// A line, and how much would be lost with it: the least first.
struct Line {
    rank: u8,
    text: String,
}

/// A part of the digest. Without lines it is not there.
struct Section {
    heading: String,
    lines: Vec<Line>,
    /// Whether the heading says something by itself.
    alone: bool,
}

impl Section {
    fn new(heading: impl Into<String>) -> Self {
        Self { heading: heading.into(), lines: Vec::new(), alone: false }
    }

    fn alone(heading: impl Into<String>) -> Self {
        Self { alone: true, ..Self::new(heading) }
    }

    fn line(&mut self, rank: u8, text: impl Into<String>) {
        self.lines.push(Line { rank, text: text.into() });
    }
}

/// The verdict, without Markdown: the title of the message.
pub fn verdict(facts: &Facts) -> String {
    match problems(facts).len() {
        0 => ALL_WELL.to_owned(),
        1 => "1 thing needs a look".to_owned(),
        many => format!("{many} things need a look"),
    }
}

/// The digest, in at most so many bytes.
pub fn text(facts: &Facts, most: Option<usize>) -> String {
    let mut head = format!("**{}** on {}, {}", verdict(facts), facts.host, minute(facts.to, facts.zone));
    let _ = write!(head, ", for {}", span(facts.to.0 - facts.from.0));
    let mut look = Section::new("");
    let problems = problems(facts);
    for problem in problems.iter().take(MOST_PROBLEMS) {
        look.line(9, problem.clone());
    }
    if let Some(more) = problems.len().checked_sub(MOST_PROBLEMS).filter(|more| *more > 0) {
        look.line(9, format!("and {more} more: `upkeep alerts`, `upkeep status`"));
    }
    let mut sections = vec![look];
    sections.extend([
        runs(facts),
        backups(facts),
        disks(facts),
        findings(facts),
        traffic(facts),
        messages(facts),
        alerts(facts),
        unknown(facts),
    ]);
    fit(&head, sections, most.unwrap_or(usize::MAX))
}

/// Leaves out lines, those first of which least would be lost, and of these the last of where most are, until it fits.
fn fit(head: &str, mut sections: Vec<Section>, most: usize) -> String {
    let mut left_out = 0;
    loop {
        let text = written(head, &sections, left_out);
        let least = sections.iter().flat_map(|section| &section.lines).map(|line| line.rank).min();
        let Some(least) = least.filter(|_| text.len() > most) else { return text };
        let count = |section: &&mut Section| section.lines.iter().filter(|line| line.rank == least).count();
        let last = sections.iter_mut().max_by_key(count).and_then(|section| {
            let at = section.lines.iter().rposition(|line| line.rank == least)?;
            Some(section.lines.remove(at))
        });
        left_out += usize::from(last.is_some());
    }
}

fn written(head: &str, sections: &[Section], left_out: usize) -> String {
    let mut text = format!("{head}\n");
    for Section { heading, lines, .. } in sections.iter().filter(|it| it.alone || !it.lines.is_empty()) {
        if !heading.is_empty() {
            let _ = write!(text, "\n{heading}");
        }
        text.push('\n');
        for line in lines {
            let _ = writeln!(text, "- {}", line.text);
        }
    }
    if left_out > 0 {
        let s = if left_out == 1 { "" } else { "s" };
        let _ = writeln!(text, "\n{left_out} line{s} left out: `upkeep digest --all`");
    }
    text.trim_end().to_owned()
}

/// What needs a look, the worst first.
fn problems(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(error) = &facts.journal_error {
        problems.push(format!("Nothing can be recorded, and nobody is told: {}", one_line(error, LONGEST)));
    }
    let failing = |task: &TaskFacts| facts.tasks.iter().any(|it| it.task == task.task && it.failing.is_some());
    // What an alert says is not said again.
    for alert in &facts.alerts {
        let taken = match &alert.acknowledged {
            Some(taken) => format!(", taken on by {}", taken.by),
            None => String::new(),
        };
        let title = one_line(&alert.title, LONGEST);
        let task = alert.key.strip_prefix("finding/").and_then(|rest| rest.split('/').next());
        let task = task.map(|task| format!(" ({task})")).unwrap_or_default();
        let level = if alert.level == MessageLevel::Critical && task.is_empty() { "critical: " } else { "" };
        let right = alert.right_since.map(|right| format!(", right since {}, and flapping", minute(right, facts.zone)));
        let right = right.unwrap_or_default();
        problems.push(format!("{level}{title}{task}, since {}{right}{taken}", minute(alert.opened, facts.zone)));
    }
    let has_alert = |key: &str| facts.alerts.iter().any(|alert| alert.key == key);
    for task in facts.tasks.iter().filter(|task| failing(task) && !has_alert(&format!("task/{}", task.task))) {
        let why = task.failing.as_deref().unwrap_or_default();
        problems.push(format!("Task {} fails: {}", task.task, one_line(why, LONGEST)));
    }
    for backup in &facts.backups {
        match backup.done {
            BackupDone::Checked { damages } if damages > 0 && !has_alert(&format!("task/{}", backup.task)) => {
                problems.push(format!("{} found damage in a repository", backup.task));
            }
            BackupDone::Drilled { failed, .. } if failed > 0 && !has_alert(&format!("task/{}", backup.task)) => {
                problems.push(format!("{} could not restore all it should", backup.task));
            }
            _ => {}
        }
    }
    let dead = facts.messages.dead;
    if dead > 0 && !facts.alerts.iter().any(|alert| alert.key.starts_with("outbox/")) {
        let messages = if dead == 1 { "1 message".to_owned() } else { format!("{} messages", grouped(dead)) };
        problems.push(format!("{messages} could not be delivered: `upkeep push list --state dead`"));
    }
    for disk in facts.disks.iter().filter(|disk| needs_a_look(disk)) {
        problems.push(format!("The disk at {}", disk_text(disk)));
    }
    let grave = [Severity::Critical, Severity::High].map(|it| (it, facts.findings.open.get(&it).copied().unwrap_or(0)));
    let told = facts.alerts.iter().filter(|alert| alert.key.starts_with("finding/")).count() as u64;
    let many: u64 = grave.iter().map(|(_, many)| many).sum();
    if many > told {
        let parts = grave.iter().filter(|(_, many)| *many > 0);
        let parts: Vec<String> =
            parts.map(|(severity, many)| format!("{} {}", grouped(*many), severity.name())).collect();
        let findings = if many == 1 { "finding is" } else { "findings are" };
        problems.push(format!("{} {findings} open: `upkeep findings`", parts.join(" and ")));
    }
    problems
}

fn needs_a_look(disk: &DiskFacts) -> bool {
    disk.percent() >= FULL.0 || disk.days_left().is_some_and(|days| days < FULL.1)
}

fn runs(facts: &Facts) -> Section {
    let mut total = TaskFacts::default();
    for (outcome, runs) in facts.tasks.iter().flat_map(|task| &task.outcomes) {
        *total.outcomes.entry(outcome.clone()).or_default() += runs;
    }
    let all: u64 = total.outcomes.values().sum();
    if all == 0 && facts.missed.is_empty() {
        return Section::new("");
    }
    let mut section = Section::alone(format!("**Runs** {}", outcomes(&total)));
    for task in facts.tasks.iter().filter(|task| !task.outcomes.is_empty()) {
        let is_well = task.outcomes.keys().all(|outcome| outcome == "succeeded");
        let (mut text, mut rank) = (format!("{}: {}", task.task, outcomes(task)), if is_well { 2 } else { 6 });
        if let Some(took) = task.took_ms {
            let _ = write!(text, ", {}", time(took));
            if let Some(usual) = task.usual_ms {
                let _ = write!(text, " on average, usually {}", time(usual));
                if took > usual * SLOWER.0 && took > usual + SLOWER.1 {
                    text.push_str(", **slower**");
                    rank = rank.max(5);
                }
            }
        }
        section.line(rank, text);
    }
    for (task, slots) in &facts.missed {
        section.line(5, format!("{task}: {slots} missed"));
    }
    section
}

/// `23 succeeded, 1 failed`.
fn outcomes(task: &TaskFacts) -> String {
    let count = |name: &str| task.outcomes.get(name).map(|runs| format!("{} {name}", grouped(*runs)));
    let known: Vec<String> = crate::outcome::Outcome::NAMES.iter().filter_map(|name| count(name)).collect();
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

fn backups(facts: &Facts) -> Section {
    let mut section = Section::new("**Backups**");
    for backup in &facts.backups {
        let age = format!("{} ago", span(facts.to.0 - backup.at.0));
        let text = match &backup.done {
            BackupDone::Never => "**has not succeeded yet**".to_owned(),
            BackupDone::Saved { files, added } => {
                let files = if *files == 1 { "1 file".to_owned() } else { format!("{} files", grouped(*files)) };
                format!("saved {age}, {files}, {} added", size(*added))
            }
            BackupDone::Checked { damages: 0 } => format!("checked {age}, no damage"),
            BackupDone::Checked { damages } => format!("checked {age}, **{} damages**", grouped(*damages)),
            BackupDone::Drilled { failed: 0, took_ms } => {
                format!("restored on trial {age} in {}", duration(took_ms.cast_signed()))
            }
            BackupDone::Drilled { failed, .. } => {
                format!("restored on trial {age}, **{} sources not as they should be**", grouped(*failed))
            }
        };
        section.line(7, format!("{}: {text}", backup.task));
    }
    section
}

fn disks(facts: &Facts) -> Section {
    let mut section = Section::new("**Disks**");
    for disk in &facts.disks {
        section.line(if disk.percent() >= 70 { 8 } else { 6 }, disk_text(disk));
    }
    section
}

/// `/: 63 % of 40.0 GiB, +1.20 GiB a day, full in about 12 days`.
fn disk_text(disk: &DiskFacts) -> String {
    let mut text = format!("{}: {} % of {}", one_line(&disk.mount, LONGEST), disk.percent(), size(disk.total));
    if let Some(a_day) = disk.a_day {
        let sign = if a_day < 0 { '-' } else { '+' };
        let _ = write!(text, ", {sign}{} a day", size(a_day.unsigned_abs()));
    }
    if let Some(days) = disk.days_left().filter(|days| *days <= 365) {
        let _ = write!(text, ", full in about {days} day{}", if days == 1 { "" } else { "s" });
    }
    text
}

fn findings(facts: &Facts) -> Section {
    let found = &facts.findings;
    let open = found.open.iter().rev().map(|(severity, many)| format!("{} {}", grouped(*many), severity.name()));
    let open: Vec<String> = open.collect();
    if open.is_empty() && found.fixed == 0 {
        return Section::new("");
    }
    let open = if open.is_empty() { "none open".to_owned() } else { format!("{} open", open.join(", ")) };
    let mut section =
        Section::alone(format!("**Findings** {open}; {} new, {} fixed", found.new.len(), grouped(found.fixed)));
    for (severity, title, task) in &found.new {
        let rank = if *severity >= Severity::High { 6 } else { 1 };
        section.line(rank, format!("new, {}: {} ({task})", severity.name(), one_line(title, LONGEST)));
    }
    section
}

fn traffic(facts: &Facts) -> Section {
    let Some(first) = facts.traffic.first() else { return Section::new("") };
    let mut section = Section::new(format!("**Traffic** of {}, against a week before", first.day));
    for traffic in &facts.traffic {
        section.line(4, format!("{}: {}", traffic.source, traffic_text(traffic)));
    }
    section
}

fn traffic_text(traffic: &TrafficFacts) -> String {
    let (figures, before) = (&traffic.figures, traffic.before.as_ref());
    let against = |number: fn(&Figures) -> Option<u64>| change(number(figures), before.and_then(number));
    let mut parts = vec![format!("{} requests{}", grouped(figures.requests), against(|it| Some(it.requests)))];
    if let Some(visitors) = figures.visitors {
        parts.push(format!("{} visitors{}", grouped(visitors), against(|it| it.visitors)));
    }
    parts.push(format!("{} errors (5xx){}", grouped(figures.s5xx), against(|it| Some(it.s5xx))));
    if let Some(p95) = figures.p95_us {
        parts.push(format!("p95 {}{}", milliseconds(p95), against(|it| it.p95_us)));
    }
    parts.join(", ")
}

/// ` (+4 %)`; nothing where there is nothing to compare with.
fn change(now: Option<u64>, before: Option<u64>) -> String {
    let (Some(now), Some(before)) = (now, before.filter(|before| *before > 0)) else { return String::new() };
    let percent = (i128::from(now) - i128::from(before)) * 100 / i128::from(before);
    if percent > 999 { format!(" ({} before)", grouped(before)) } else { format!(" ({percent:+} %)") }
}

fn messages(facts: &Facts) -> Section {
    let sent = &facts.messages;
    let parts = [(sent.sent, "sent"), (sent.dead, "dead"), (sent.expired, "expired"), (sent.waiting, "waiting")];
    let parts = parts.into_iter().filter(|(many, _)| *many > 0);
    let parts: Vec<String> = parts.map(|(many, what)| format!("{} {what}", grouped(many))).collect();
    if parts.is_empty() {
        return Section::new("");
    }
    Section::alone(format!("**Messages** {}", parts.join(", ")))
}

fn alerts(facts: &Facts) -> Section {
    let many = facts.alerts.len();
    let taken = facts.alerts.iter().filter(|alert| alert.acknowledged.is_some()).count();
    match many {
        0 => Section::new(""),
        _ => Section::alone(format!("**Alerts** {many} open, {taken} of them acknowledged")),
    }
}

fn unknown(facts: &Facts) -> Section {
    let mut section = Section::new("**Not known**");
    for what in &facts.unknown {
        section.line(8, one_line(what, LONGEST));
    }
    section
}

fn time(ms: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "casts saturate")]
    duration(ms.round() as i64)
}

fn milliseconds(us: u64) -> String {
    if us < 10_000 { format!("{}.{} ms", us / 1000, us % 1000 / 100) } else { format!("{} ms", grouped(us / 1000)) }
}
