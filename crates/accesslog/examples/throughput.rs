//! How long it takes to read lines: `throughput [LINES] [ROUNDS]`. The log is made in memory first; of the rounds, the quickest
//! counts, and the median stands beside it. Time is that of the processor, so that less of it depends on what else runs.

#[path = "generate/log.rs"]
mod log;

use std::hint::black_box;

use log::{Log, Shape};
use upkeep_accesslog::{Format, Parser, Piece, Splitter};

/// Seconds that this process had a processor, as Linux counts them.
fn seconds() -> f64 {
    let all = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    all.split(' ').next().and_then(|it| it.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn measure(name: &str, lines: u64, bytes: usize, rounds: usize, mut round: impl FnMut() -> u64) {
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
    for (shape, formats) in
        [(Shape::Combined, &["combined"][..]), (Shape::CombinedTime, &["combined-time"]), (Shape::Json, &["json"])]
    {
        let mut text = Vec::new();
        Log::new(lines, 200_000, 7).for_each(|it| it.write(shape, &mut text));
        println!("{shape:?}: {lines} lines, {} bytes", text.len());
        measure("lines alone", lines, text.len(), rounds, || Splitter::new(1 << 16).split(&text).count() as u64);
        for format in formats {
            let mut parser = Parser::new(Format::new(format)?);
            measure(format, lines, text.len(), rounds, || {
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
            let mut malformed = 0;
            for piece in Splitter::new(1 << 16).split(&text) {
                malformed += u64::from(!matches!(piece, Piece::Line(line) if parser.parse(line).is_ok()));
            }
            println!("{malformed} malformed");
        }
    }
    Ok(())
}
