//! How long it takes to read lines: `throughput [LINES] [ROUNDS]`. The log is made in memory first; of the rounds, the quickest
//! counts, and the median stands beside it. Time is that of the processor, so that less of it depends on what else runs.

#[path = "generate/log.rs"]
mod log;

use std::hint::black_box;

use log::{Log, Shape};
use upkeep_accesslog::agent::Agent;
use upkeep_accesslog::{Format, Pages, Parser, Piece, Referrer, Referrers, Splitter};

/// Seconds that this process had a processor, as Linux counts them.
fn seconds() -> f64 {
    let all = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    all.split(' ').next().and_then(|it| it.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn measure(name: &str, lines: u64, bytes: usize, rounds: usize, round: &mut dyn FnMut() -> u64) {
    let mut all: Vec<_> = (0..rounds)
        .map(|_| {
            let began = seconds();
            black_box(round());
            seconds() - began
        })
        .collect();
    all.sort_by(f64::total_cmp);
    let (best, median) = (all[0], all[all.len() / 2]);
    println!(
        "{name:<28} {:6.1} ns/line, {:6.0} MB/s (median {:6.1} ns/line)",
        best * 1e9 / lines as f64,
        bytes as f64 / 1e6 / best,
        median * 1e9 / lines as f64
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|it| it.parse()).collect::<Result<_, _>>()?;
    let lines = arguments.first().copied().unwrap_or(3_200_000);
    let rounds = arguments.get(1).copied().unwrap_or(5) as usize;
    for (shape, format) in [
        (Shape::Combined, "combined"),
        (Shape::CombinedShort, "combined"),
        (Shape::CombinedTime, "combined-time"),
        (Shape::Json, "json"),
    ] {
        let mut text = Vec::new();
        Log::new(lines, 200_000, 7).for_each(|it| it.write(shape, &mut text));
        println!("{shape:?}: {lines} lines, {} bytes", text.len());
        let measure = |name: &str, round: &mut dyn FnMut() -> u64| measure(name, lines, text.len(), rounds, round);
        measure("lines alone", &mut || Splitter::new(1 << 16).split(&text).count() as u64);
        let mut parser = Parser::new(Format::new(format)?);
        measure(format, &mut || {
            let mut sum = 0u64;
            for piece in Splitter::new(1 << 16).split(&text) {
                let Piece::Line(line) = piece else { continue };
                if let Ok(entry) = parser.parse(line) {
                    let entry = black_box(&entry);
                    sum += u64::from(entry.status) + entry.time as u64;
                }
            }
            sum
        });
        let entries: Vec<_> = Splitter::new(1 << 16)
            .split(&text)
            .filter_map(|it| match it {
                Piece::Line(line) => parser.parse(line).ok().map(|it| (it.target, it.agent, it.referrer)),
                Piece::TooLong { .. } => None,
            })
            .collect();
        println!("{} malformed", lines - entries.len() as u64);
        if shape == Shape::Combined {
            // What callers do once for each text that they have not seen yet.
            let (pages, own) = (Pages::new(["q"], true), Referrers::new(["shop.example.com"]));
            let targets = || entries.iter().filter_map(|it| it.0);
            measure("pages", &mut || targets().map(|it| pages.page(it).len() as u64).sum());
            measure("agents", &mut || {
                entries.iter().filter_map(|it| it.1).map(|it| Agent::new(it).name.len() as u64).sum()
            });
            let is_own = |it: &[u8]| u64::from(own.classify(Some(it), None) == Referrer::Own);
            measure("referrers", &mut || entries.iter().filter_map(|it| it.2).map(is_own).sum());
        }
    }
    Ok(())
}
