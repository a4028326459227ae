//! How events, funnels and retention look.

use std::io::{self, Write};

use super::{FEW, NO_NAMES, USUAL_WIDTH, chart, lines, names, nothing, percent};
use crate::cli::screen::{Ink, Screen, grouped};
use crate::cli::table::{Cell, Table};
use crate::stats::events::{AFTER, CohortStats, EventFigures, EventSpan, EventStats, FunnelStats};
use crate::stats::{Level, SourceStats, Stats, Top};

/// What to say where hours are asked for.
pub(super) const NO_HOURS: &str =
    "Events are counted by day, so there are no rows of hours; ask for whole days, such as --by day --from 2026-11-23.";

/// Writes what a log of events says, or what is asked for of it alone. What is to be known of it goes to the notes.
pub(super) fn write(
    screen: &Screen,
    stats: &Stats,
    source: &SourceStats,
    events: &EventStats,
    top: Option<Top>,
    notes: &mut Vec<String>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if stats.by == Level::Hour && top.is_none() {
        notes.push(NO_HOURS.to_owned());
    }
    let Some(total) = events.total else { return Ok(()) };
    if total.events == 0 {
        return nothing(if stats.by == Level::Hour { Level::Day } else { stats.by }, source, out);
    }
    let wants = |it: Top| top.is_none_or(|top| top == it);
    if top.is_none() && !events.spans.is_empty() {
        writeln!(out)?;
        let columns: Vec<_> = events.spans.iter().map(|it| (it.start.as_str(), it.figures.events)).collect();
        chart::write(screen.width.unwrap_or(USUAL_WIDTH), &columns, out)?;
        writeln!(out)?;
        rows(stats.by, &events.spans, &total).write(screen, 0, out)?;
    }
    for ranking in source.rankings.iter().filter(|it| it.top == Top::Events && !it.names.is_empty()) {
        writeln!(out)?;
        names(screen, ranking, if top.is_some() { usize::MAX } else { FEW }, out)?;
    }
    for funnel in &events.funnels {
        writeln!(out)?;
        let is_alone = events.funnels.iter().filter(|it| it.funnel == funnel.funnel).count() == 1;
        steps(funnel, is_alone).write(screen, 0, out)?;
    }
    if !events.retention.is_empty() {
        writeln!(out)?;
        cohorts(screen, stats.by, &events.retention, out)?;
    }
    if let Some(missing) = missing(source, events, top) {
        writeln!(out, "\n{missing}")?;
    }
    if wants(Top::Events) {
        notes.push("Users are estimates, new ones are exact; docs/stats.md says how near.".to_owned());
    }
    if wants(Top::Funnels) {
        notes.extend(not_over(stats, events));
    }
    if events.retention.iter().flat_map(|it| &it.after).any(|it| it.users.is_none()) {
        notes.push(format!(
            "Who comes back is known up to {}, which may not be over; `-` is still to come.",
            events.until
        ));
    }
    if source.late > 0 {
        let late = lines(source.late);
        notes.push(format!("Since the beginning {late} came too late: only counted, in no other figure."));
    }
    Ok(())
}

/// What to say if what is asked for is not there.
fn missing(source: &SourceStats, events: &EventStats, top: Option<Top>) -> Option<&'static str> {
    match top {
        None | Some(Top::Funnels) if events.has_funnels && events.funnels.is_empty() => {
            Some("No day of a funnel is over then: what began may still go on.")
        }
        Some(Top::Funnels) if events.funnels.is_empty() => {
            Some("This log has no funnels; docs/stats.md tells how to set one up.")
        }
        Some(Top::Retention) if events.retention.is_empty() => Some("Nobody came for the first time then."),
        Some(Top::Funnels | Top::Retention) | None => None,
        Some(_) => source.rankings.iter().all(|it| it.names.is_empty()).then_some(NO_NAMES),
    }
}

/// Up to which days funnels are counted, if this is not all that was asked for.
fn not_over(stats: &Stats, events: &EventStats) -> Option<String> {
    let asked = events.until.as_str().min(stats.to.as_str());
    // Of a funnel that was changed, the newest one.
    let is_newest =
        |it: &&FunnelStats| !events.funnels.iter().any(|other| other.funnel == it.funnel && other.last > it.last);
    let short = events.funnels.iter().filter(is_newest).filter(|it| it.last.as_str() < asked);
    let short: Vec<String> = short.map(|it| format!("{} to {}", it.funnel, it.last)).collect();
    let rule = "A day of a funnel is counted when nothing of it can follow any more";
    (!short.is_empty()).then(|| format!("{rule}: {} so far.", short.join(", ")))
}

fn rows(by: Level, spans: &[EventSpan], total: &EventFigures) -> Table {
    let mut table = Table::new([&by.name().to_uppercase(), "EVENTS", "USERS", "NEW"], 0).numbers_from(1);
    let cells = |it: &EventFigures| [it.events, it.users, it.new_users].map(|it| Cell::from(grouped(it)));
    for EventSpan { start, figures } in spans {
        table.row(std::iter::once(start.as_str().into()).chain(cells(figures)));
    }
    if spans.len() != 1 {
        table.row(std::iter::once(Cell::new(Ink::Bold, "TOTAL")).chain(cells(total).map(Cell::bold)));
    }
    table
}

/// A funnel. Where it was changed, there are several with its name, which are told apart by their days.
fn steps(funnel: &FunnelStats, is_alone: bool) -> Table {
    let name = match is_alone {
        true => format!("FUNNEL {}", funnel.funnel),
        false => format!("FUNNEL {}, {} to {}", funnel.funnel, funnel.first, funnel.last),
    };
    let mut table = Table::new([&name, "USERS", "% OF FIRST", "% OF BEFORE"], 0).numbers_from(1);
    let shown = |it: Option<f64>| Cell::from(it.map_or_else(|| "-".to_owned(), |it| format!("{it:.1}")));
    for step in &funnel.steps {
        let users = Cell::from(grouped(step.users));
        table.row([step.name.as_str().into(), users, shown(step.percent_of_first), shown(step.percent_of_before)]);
    }
    table
}

/// Who came back, numbers and percent beside each other or, on a narrow terminal, in two tables.
fn cohorts(screen: &Screen, by: Level, retention: &[CohortStats], out: &mut dyn Write) -> io::Result<()> {
    let first = match by {
        Level::Hour | Level::Day => "FIRST DAY",
        Level::Week => "FIRST WEEK",
        Level::Month => "FIRST MONTH",
    };
    let table = |suffix: &str, cell: &dyn Fn(u64, u64) -> String| {
        let after = AFTER.map(|days| format!("DAY {days}{suffix}"));
        let mut table = Table::new([first, "USERS"].map(str::to_owned).into_iter().chain(after), 0).numbers_from(1);
        for it in retention {
            let after =
                it.after.iter().map(|after| after.users.map_or_else(|| "-".to_owned(), |some| cell(some, it.users)));
            table.row([it.start.clone(), grouped(it.users)].into_iter().chain(after).map(Cell::from));
        }
        table
    };
    let both = table(" %", &|some, all| format!("{} {:>4}", grouped(some), percent(some, all)));
    match screen.width {
        Some(width) if both.width() > width => {
            table("", &|some, _| grouped(some)).write(screen, 0, out)?;
            writeln!(out)?;
            table(" %", &percent).write(screen, 0, out)
        }
        _ => both.write(screen, 0, out),
    }
}
