//! `upkeep schedule`: the coming slots, with the reason of each decision, and what the next clock change does to them.
//!
//! The command reads no file and no clock. Its caller looks up the task, if one is named, and hands in its settings.

#[cfg(test)]
mod tests;

use std::io::Write;

use anyhow::{Context, bail};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone};
use chrono_tz::Tz;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::config::duration;
use crate::config::schedule::{DstGap, DstOverlap, ScheduleSettings, Window};
use crate::schedule::{Cause, ClockChange, Schedule, ScheduleError, Seed, Slot};

/// Slots that are printed when neither `--count` nor `--to` says how many.
const COUNT: usize = 10;
/// Slots that are printed at most when only `--to` says how many, and of one clock change.
const COUNT_TO: usize = 1000;
const COUNT_CHANGE: usize = 12;
/// Columns of a terminal that everybody has.
const COLUMNS: usize = 80;
/// How far around a clock change slots are shown, in milliseconds: a daily slot on either side is among them.
const NEAR: i64 = 26 * 60 * 60 * 1000;

/// Print the coming slots of a task or an expression, each with what becomes of it and why
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct ScheduleArgs {
    /// The task whose schedule is printed
    #[arg(required_unless_present_any = ["cron", "quartz", "every"], conflicts_with_all = ["cron", "quartz", "every"])]
    pub task: Option<String>,
    /// A crontab expression: 5 fields, 6 with seconds first, 7 with the year last
    #[arg(long, value_name = "EXPR", conflicts_with_all = ["quartz", "every"])]
    pub cron: Option<String>,
    /// A Quartz expression: 6 fields with seconds first, 7 with the year last
    #[arg(long, value_name = "EXPR", conflicts_with = "every")]
    pub quartz: Option<String>,
    /// A distance, such as 15m
    #[arg(long, value_name = "SPAN")]
    pub every: Option<String>,
    /// Start here: 2026-03-29, "2026-03-29 01:30" (local) or 2026-03-29T00:30:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// End before this
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Print at most so many slots [default: 10; with --to: 1000]
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// IANA name, such as Asia/Shanghai [default: the task's, else the daemon's]
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Where the command runs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The daemon's time zone.
    pub timezone: Tz,
    /// The name of the host, from which jitter is chosen.
    pub host: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// Prints the slots. `task` holds the settings of [`ScheduleArgs::task`]; it is not looked at when an expression is given.
pub fn schedule(
    args: &ScheduleArgs,
    task: Option<&ScheduleSettings>,
    place: Place<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let listing = Listing::make(args, task, place)?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &listing)?;
        writeln!(out)?;
    } else {
        listing.write(out)?;
    }
    Ok(())
}

/// What is printed; this is the JSON object.
#[derive(Debug, Serialize)]
struct Listing {
    /// The task; null for an expression.
    task: Option<String>,
    /// The clock trigger as it is written; null for a task that is started by events only.
    trigger: Option<String>,
    timezone: String,
    policies: Policies,
    slots: Vec<Row>,
    /// Whether `--count` or its default cut the list.
    more: bool,
    /// The first clock change after the start of the list, and the slots around it.
    clock_change: Option<Change>,
}

/// What decides about a slot, as in the task file.
#[derive(Debug, Serialize)]
struct Policies {
    dst_gap: DstGap,
    dst_overlap: DstOverlap,
    jitter_seconds: u64,
    window: Option<Window>,
}

/// A slot.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    /// Milliseconds since the epoch.
    due: Timestamp,
    /// RFC 3339 with the offset of the time zone.
    local: String,
    utc: String,
    /// The local time that the expression names, without the jitter.
    nominal: NaiveDateTime,
    decision: &'static str,
    reason: String,
    #[serde(skip)]
    at: DateTime<FixedOffset>,
}

/// A clock change.
#[derive(Debug, Serialize)]
struct Change {
    /// RFC 3339, the last and the first local time: what a wall clock shows there.
    before: String,
    after: String,
    /// How far the clock goes, in seconds; negative is back.
    by: i64,
    /// Those within 26 hours that the change touches, with one before and one after.
    slots: Vec<Row>,
    /// Whether there are too many to print.
    more: bool,
}

impl Listing {
    fn make(args: &ScheduleArgs, task: Option<&ScheduleSettings>, place: Place<'_>) -> anyhow::Result<Self> {
        let mut settings = match (&args.task, task) {
            (Some(_), Some(settings)) => settings.clone(),
            (Some(name), None) => bail!("there is no task `{name}`"),
            (None, _) => ScheduleSettings {
                cron: args.cron.clone(),
                quartz: args.quartz.clone(),
                every: args
                    .every
                    .as_deref()
                    .map(duration::parse)
                    .transpose()
                    .map_err(|error| anyhow::anyhow!("--every: {error}"))?,
                ..ScheduleSettings::default()
            },
        };
        if args.timezone.is_some() {
            settings.timezone.clone_from(&args.timezone);
        }
        let schedule = Schedule::compile(&settings, place.timezone).map_err(|error| explain(args, error))?;
        let seed = Seed::of(place.host, args.task.as_deref().unwrap_or_default());
        let zone = schedule.timezone();
        let moment = |option: &str, text: &Option<String>| {
            text.as_deref().map(|text| moment(text, zone)).transpose().with_context(|| format!("--{option}"))
        };
        let from = moment("from", &args.from)?.unwrap_or(place.now);
        let to = moment("to", &args.to)?.unwrap_or(Timestamp(i64::MAX));
        let count = args.count.unwrap_or(if args.to.is_some() { COUNT_TO } else { COUNT });

        let mut coming = schedule.slots(seed, Timestamp(from.0 - 1)).take_while(|slot| slot.due < to).peekable();
        let slots: Vec<Row> = coming.by_ref().take(count).map(|slot| Row::of(&slot, zone)).collect();
        let more = coming.peek().is_some();
        let clock_change = schedule
            .next_clock_change(from)
            .filter(|change| schedule.is_clocked() && change.at < to)
            .map(|change| Change::of(&schedule, seed, change))
            // What the list shows anyway needs no second list.
            .filter(|change| change.slots.is_empty() || !change.slots.iter().all(|row| slots.contains(row)));
        Ok(Self {
            task: args.task.clone(),
            trigger: trigger(&settings),
            timezone: zone.name().into(),
            policies: Policies::of(&settings),
            slots,
            more,
            clock_change,
        })
    }

    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let name = self.task.as_ref().map(|task| format!("{task}: ")).unwrap_or_default();
        let Some(trigger) = &self.trigger else {
            return writeln!(out, "{name}no cron, quartz or every; it is started by events or by hand");
        };
        writeln!(out, "{name}{trigger} in {}", self.timezone)?;
        writeln!(out, "{}", self.policies)?;
        writeln!(out)?;
        if self.slots.is_empty() {
            writeln!(out, "No slot in this time.")?;
        } else {
            writeln!(out, "{:<30}  {:<20}  {:<8}  REASON", "LOCAL", "UTC", "DECISION")?;
        }
        for row in &self.slots {
            row.write(out)?;
        }
        if self.more {
            writeln!(out, "... and so on (--count, --to)")?;
        }
        let Some(change) = &self.clock_change else { return Ok(()) };
        writeln!(out, "\nNext clock change: {} becomes {}", change.before, change.after)?;
        for row in &change.slots {
            row.write(out)?;
        }
        if change.more {
            writeln!(out, "... and so on (--from, --to)")?;
        }
        if change.slots.is_empty() {
            writeln!(out, "No slot within a day of it.")?;
        }
        Ok(())
    }
}

impl Row {
    fn of(slot: &Slot, zone: Tz) -> Self {
        let utc = slot.due.utc();
        let at = utc.with_timezone(&zone).fixed_offset();
        Self {
            due: slot.due,
            local: at.to_rfc3339_opts(SecondsFormat::Secs, false),
            utc: utc.to_rfc3339_opts(SecondsFormat::Secs, true),
            nominal: slot.nominal,
            decision: slot.decision.name(),
            reason: slot.reason(),
            at,
        }
    }

    /// One line; a reason that does not fit beside its slot goes below it.
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let (local, utc) = (self.at.format("%a %Y-%m-%d %H:%M:%S %:z"), self.at.to_utc().format("%Y-%m-%d %H:%M:%SZ"));
        let line = format!("{local}  {utc}  {:<8}", self.decision);
        if line.len() + 2 + self.reason.len() <= COLUMNS {
            return writeln!(out, "{line}  {}", self.reason);
        }
        writeln!(out, "{}", line.trim_end())?;
        let mut text = String::new();
        for word in self.reason.split(' ') {
            if !text.is_empty() && 4 + text.len() + 1 + word.len() > COLUMNS {
                writeln!(out, "    {text}")?;
                text.clear();
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        writeln!(out, "    {text}")
    }
}

impl Change {
    fn of(schedule: &Schedule, seed: Seed, change: ClockChange) -> Self {
        let zone = schedule.timezone();
        let near: Vec<Slot> = schedule
            .slots(seed, Timestamp(change.at.0 - NEAR))
            .take_while(|slot| slot.due.0 < change.at.0 + NEAR)
            .collect();
        let touched = |slot: &Slot| slot.cause != Cause::OnTime;
        let first = near.iter().position(touched).unwrap_or_else(|| near.partition_point(|slot| slot.due < change.at));
        let last = near.iter().rposition(touched).map_or(first, |last| last + 1);
        let (first, last) = (first.saturating_sub(1), (last + 1).min(near.len()));
        let more = last - first > COUNT_CHANGE;
        let wall = |offset: i64| {
            let offset = i32::try_from(offset).ok().and_then(FixedOffset::east_opt);
            offset.map(|offset| change.at.utc().with_timezone(&offset).format("%Y-%m-%d %H:%M %:z").to_string())
        };
        Self {
            before: wall(change.before).unwrap_or_default(),
            after: wall(change.after).unwrap_or_default(),
            by: change.after - change.before,
            slots: near[first..last].iter().take(COUNT_CHANGE).map(|slot| Row::of(slot, zone)).collect(),
            more,
        }
    }
}

fn trigger(settings: &ScheduleSettings) -> Option<String> {
    let quoted = |key: &str, text: &String| format!("{key} \"{text}\"");
    let every = || settings.every.map(|every| format!("every {}", humantime::format_duration(every)));
    settings
        .cron
        .as_ref()
        .map(|text| quoted("cron", text))
        .or_else(|| settings.quartz.as_ref().map(|text| quoted("quartz", text)))
        .or_else(every)
}

impl Policies {
    fn of(settings: &ScheduleSettings) -> Self {
        Self {
            dst_gap: settings.dst_gap,
            dst_overlap: settings.dst_overlap,
            jitter_seconds: settings.jitter.as_secs(),
            window: settings.window,
        }
    }
}

impl std::fmt::Display for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let gap = match self.dst_gap {
            DstGap::RunAfter => "run-after",
            DstGap::Skip => "skip",
        };
        let overlap = match self.dst_overlap {
            DstOverlap::Once => "once",
            DstOverlap::Twice => "twice",
        };
        write!(f, "dst_gap {gap}, dst_overlap {overlap}")?;
        if self.jitter_seconds > 0 {
            let jitter = humantime::format_duration(std::time::Duration::from_secs(self.jitter_seconds));
            write!(f, ", jitter {jitter}")?;
        }
        self.window.map_or(Ok(()), |window| write!(f, ", window {window}"))
    }
}

/// The error for a task names the key of its file, that for an expression names the option.
fn explain(args: &ScheduleArgs, error: ScheduleError) -> anyhow::Error {
    let ScheduleError { key, problem, remedy, .. } = &error;
    match &args.task {
        Some(task) => anyhow::anyhow!("task `{task}`: {error}"),
        None => anyhow::anyhow!("--{}: {problem}; {remedy}", key.trim_start_matches("schedule.")),
    }
}

/// Reads a moment: with an offset, or a local time, or the first moment of a day.
fn moment(text: &str, zone: Tz) -> anyhow::Result<Timestamp> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc().into());
    }
    let formats = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
    let midnight = || text.parse::<NaiveDate>().ok().map(|day| day.and_time(chrono::NaiveTime::MIN));
    let local = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).or_else(midnight);
    let Some(local) = local else {
        bail!("`{text}` is not a time; write it as `2026-03-29`, `2026-03-29 01:30` or `2026-03-29T00:30:00Z`");
    };
    match zone.from_local_datetime(&local).earliest() {
        Some(at) => Ok(at.to_utc().into()),
        None => bail!("`{text}` does not exist in {zone}: the clock goes forward over it; write a later time"),
    }
}
