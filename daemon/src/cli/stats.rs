//! `upkeep stats`: what logs say, of a span of time.

use std::io::{self, Write};

use clap::Args;

use super::failure::Exit;
use super::place::Place;
use super::screen::{Ink, Screen, duration, grouped, size};
use super::table::{Cell, Table};
use super::{stdout_screen, write_json};
use crate::stats::{Figures, Level, Question, RankingStats, SourceStats, SpanFigures, Stats, Top};

mod chart;
mod csv;
mod events;

/// Names of each ranking where several are shown.
const FEW: usize = 5;

/// Rankings that are shown where none is asked for.
const USUAL: [Top; 6] = [Top::Pages, Top::Referrers, Top::Countries, Top::Slow, Top::Errors, Top::Agents];

/// Columns that a chart takes in a pipe.
const USUAL_WIDTH: usize = 80;

/// Show what logs say: traffic, visitors, errors, times, and what there is most of
#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// The task that counts; may be left out when only one does
    task: Option<String>,
    /// Only this log
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// From this day or time on: 2026-11-23, 2026-11-23T14:00
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// To the end of this day, or to this time
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// What a row is of
    #[arg(long, value_name = "LEVEL")]
    by: Option<Level>,
    /// More of one ranking, or of funnels or retention, and nothing else
    #[arg(long, value_name = "RANKING")]
    top: Option<Top>,
    /// As JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// As CSV: a line for each row, or with --top for each name, step or first day
    #[arg(long)]
    csv: bool,
}

impl StatsArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let Self { task, source, from, to, by, top, json, csv } = self;
        let stats = place.client()?.stats(task.as_deref(), &Question { source, from, to, by, top }).await?;
        match (json, csv) {
            (true, _) => write_json(&stats, out)?,
            (_, true) => {
                csv::write(&stats, top, out)?;
                // What is missing among lines for programs is told beside them.
                if stats.by == Level::Hour && top.is_none() && stats.sources.iter().any(|it| it.events.is_some()) {
                    writeln!(io::stderr(), "{}", events::NO_HOURS)?;
                }
            }
            _ => write(&stdout_screen(), &stats, top, out)?,
        }
        Ok(Exit::Done)
    }
}

fn write(screen: &Screen, stats: &Stats, top: Option<Top>, out: &mut dyn Write) -> io::Result<()> {
    if stats.sources.is_empty() {
        return writeln!(out, "`{}` has not counted anything yet.", stats.task);
    }
    for (number, source) in stats.sources.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        let span = match stats.from == stats.to {
            true => stats.from.clone(),
            false => format!("{} to {}", stats.from, stats.to),
        };
        let heading = Cell::new(Ink::Bold, &source.source);
        writeln!(out, "{}, {span} ({})", heading.shown(screen), stats.timezone)?;
        let mut notes = Vec::new();
        if let Some(events) = &source.events {
            events::write(screen, stats, source, events, top, &mut notes, out)?;
        } else if source.total.requests == 0 && source.total.late == 0 {
            nothing(stats.by, source, out)?;
            continue;
        } else {
            requests(screen, stats.by, source, top, &mut notes, out)?;
        }
        write_notes(screen, source, notes, out)?;
    }
    Ok(())
}

/// What an access log says.
fn requests(
    screen: &Screen,
    by: Level,
    source: &SourceStats,
    top: Option<Top>,
    notes: &mut Vec<String>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out)?;
    if let Some(Top::Events | Top::Funnels | Top::Retention) = top {
        return writeln!(out, "This is no log of events.");
    }
    if top.is_none() {
        let columns: Vec<_> = source.spans.iter().map(|it| (it.start.as_str(), it.figures.requests)).collect();
        chart::write(screen.width.unwrap_or(USUAL_WIDTH), &columns, out)?;
        writeln!(out)?;
        rows(screen, by, source, out)?;
    }
    let few = if top.is_some() { usize::MAX } else { FEW };
    let wanted = top.map_or_else(|| USUAL.to_vec(), |top| vec![top]);
    let mut is_first = top.is_some();
    for ranking in wanted.iter().filter_map(|top| source.rankings.iter().find(|it| it.top == *top)) {
        if ranking.names.is_empty() {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            writeln!(out)?;
        }
        names(screen, ranking, few, out)?;
    }
    if top.is_some() && source.rankings.iter().all(|it| it.names.is_empty()) {
        writeln!(out, "{NO_NAMES}")?;
    }
    if source.rankings.is_empty() || source.rankings.iter().any(|it| it.top == Top::Pages) {
        notes.push("Visitors and times are estimates; docs/stats.md says how near.".to_owned());
    }
    if source.total.late > 0 {
        notes.push(format!(
            "{} came too late for this span: only counted, in no other figure.",
            lines(source.total.late)
        ));
    }
    Ok(())
}

/// What to say of a ranking without names.
const NO_NAMES: &str = "No names were counted.";

/// What to say of a span in which there is nothing.
fn nothing(by: Level, source: &SourceStats, out: &mut dyn Write) -> io::Result<()> {
    match (&source.first, &source.last) {
        (Some(first), Some(last)) => {
            writeln!(out, "Nothing was counted then; figures by {} go from {first} to {last}.", by.name())
        }
        _ => writeln!(out, "Nothing was counted yet."),
    }
}

/// A row for each span, and one for all. On a narrow terminal they stand in two tables.
fn rows(screen: &Screen, by: Level, source: &SourceStats, out: &mut dyn Write) -> io::Result<()> {
    let has_new = source.spans.iter().any(|it| it.figures.new_visitors.is_some());
    let who: Vec<Column> = WHO.into_iter().filter(|it| has_new || it.0 != NEW).collect();
    let whole = table(by, source, &[who.as_slice(), &HOW].concat());
    match screen.width {
        Some(width) if whole.width() > width => {
            table(by, source, &who).write(screen, 0, out)?;
            writeln!(out)?;
            table(by, source, &HOW).write(screen, 0, out)
        }
        _ => whole.write(screen, 0, out),
    }
}

/// A heading and what stands below it.
type Column = (&'static str, fn(&Figures) -> Cell);

const NEW: &str = "NEW";

const WHO: [Column; 6] = [
    ("REQUESTS", |it| grouped(it.requests).into()),
    ("PAGES", |it| grouped(it.pages).into()),
    ("VISITORS", |it| known(it.visitors)),
    (NEW, |it| known(it.new_visitors)),
    ("SESSIONS", |it| grouped(it.sessions).into()),
    ("BOUNCE %", |it| percent(it.bounces, it.sessions).into()),
];

const HOW: [Column; 6] = [
    ("4XX", |it| grouped(it.s4xx).into()),
    ("5XX", |it| Cell::new(if it.s5xx > 0 { Ink::Red } else { Ink::None }, grouped(it.s5xx))),
    ("P50", |it| time(it.p50_us).into()),
    ("P95", |it| time(it.p95_us).into()),
    ("P99", |it| time(it.p99_us).into()),
    ("BYTES", |it| size(it.bytes).into()),
];

fn table(by: Level, source: &SourceStats, columns: &[Column]) -> Table {
    let headings = columns.iter().map(|it| it.0.to_owned());
    let mut table = Table::new(std::iter::once(by.name().to_uppercase()).chain(headings), 0).numbers_from(1);
    for SpanFigures { start, figures } in &source.spans {
        table.row(std::iter::once(start.as_str().into()).chain(columns.iter().map(|it| it.1(figures))));
    }
    if source.spans.len() != 1 {
        let total = columns.iter().map(|it| it.1(&source.total).bold());
        table.row(std::iter::once(Cell::new(Ink::Bold, "TOTAL")).chain(total));
    }
    table
}

fn known(value: Option<u64>) -> Cell {
    value.map_or_else(|| "-".to_owned(), grouped).into()
}

/// A share of a whole with one digit behind the point.
fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        _ => format!("{:.1}", part as f64 / whole as f64 * 100.0),
    }
}

/// Microseconds: `830µs`, `4.2ms`, `420ms`, `4.2s`.
fn time(micros: Option<u64>) -> String {
    match micros {
        None => "-".to_owned(),
        Some(micros @ ..1_000) => format!("{micros}µs"),
        Some(micros @ ..10_000) => format!("{}.{}ms", micros / 1_000, micros % 1_000 / 100),
        Some(micros) => duration(i64::try_from(micros / 1_000).unwrap_or(i64::MAX)),
    }
}

fn names(screen: &Screen, ranking: &RankingStats, most: usize, out: &mut dyn Write) -> io::Result<()> {
    let (name, hits) = match ranking.top {
        Top::Pages => ("PAGE", "VIEWS"),
        Top::Entries => ("ENTRY PAGE", "SESSIONS"),
        Top::Exits => ("EXIT PAGE", "SESSIONS"),
        Top::Referrers => ("REFERRER", "VIEWS"),
        Top::Countries => ("COUNTRY", "VIEWS"),
        Top::Agents => ("AGENT", "REQUESTS"),
        Top::Errors => ("ERROR", "ANSWERS"),
        Top::Slow => ("SLOWEST PAGE", "VIEWS"),
        Top::Events | Top::Funnels | Top::Retention => ("EVENT", "COUNT"),
    };
    let mut table = match ranking.top {
        Top::Slow => Table::new([name, "P95", hits], 0),
        Top::Pages => Table::new([name, hits, "%", "P95", "BYTES"], 0),
        Top::Events => Table::new([name, hits, "%", "USERS"], 0),
        _ => Table::new([name, hits, "%"], 0),
    }
    .numbers_from(1);
    for it in ranking.names.iter().take(most) {
        let (hits, share) = (grouped(it.hits), percent(it.hits, ranking.hits));
        let (p95, bytes) = (time(it.p95_us), it.bytes.map_or_else(|| "-".to_owned(), size));
        let cells = match ranking.top {
            Top::Slow => vec![it.name.clone(), p95, hits],
            Top::Pages => vec![it.name.clone(), hits, share, p95, bytes],
            Top::Events => vec![it.name.clone(), hits, share, it.users.map_or_else(|| "-".to_owned(), grouped)],
            _ => vec![it.name.clone(), hits, share],
        };
        table.row(cells.into_iter().map(Cell::from));
    }
    table.write(screen, 0, out)
}

/// What is to be known of the figures, and of lines that are in none.
fn write_notes(screen: &Screen, source: &SourceStats, mut notes: Vec<String>, out: &mut dyn Write) -> io::Result<()> {
    if source.malformed > 0 {
        notes.push(format!(
            "Since the beginning {} of {} could not be read and are in no figure.",
            grouped(source.malformed),
            lines(source.lines.saturating_add(source.malformed)),
        ));
    }
    if !notes.is_empty() {
        writeln!(out)?;
    }
    // Dates are not cut at their hyphens.
    let options = textwrap::Options::new(screen.width.unwrap_or(usize::MAX));
    let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
    let lines = notes.iter().flat_map(|it| textwrap::wrap(it, &options));
    lines.into_iter().try_for_each(|it| writeln!(out, "{}", screen.ink(Ink::Dim, &it)))
}

fn lines(count: u64) -> String {
    if count == 1 { "1 line".to_owned() } else { format!("{} lines", grouped(count)) }
}

#[cfg(test)]
mod tests;
