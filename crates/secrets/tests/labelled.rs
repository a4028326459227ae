//! Precision and recall on the labelled set, printed, with a floor.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "labelled/generate.rs"]
mod generate;

use std::collections::BTreeMap;

use generate::Sample;
use upkeep_secrets::{Match, Options, Scanner};

fn scan(sample: &Sample) -> Vec<Match> {
    let mut found = Vec::new();
    let scanner = Scanner::new(Options::default()).unwrap();
    scanner.scan(&sample.path, sample.text.as_bytes(), &mut |it| found.push(it));
    found
}

fn line(sample: &Sample, line: u64) -> &str {
    sample.text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap()
}

/// Of one rule, or of one set.
#[derive(Default)]
struct Figures {
    hits: usize,
    missed: usize,
    wrong: usize,
}

impl Figures {
    fn precision(&self) -> f64 {
        self.hits as f64 / (self.hits + self.wrong).max(1) as f64
    }

    fn recall(&self) -> f64 {
        self.hits as f64 / (self.hits + self.missed).max(1) as f64
    }
}

#[test]
fn precision_and_recall() {
    let sets = [
        ("seen", generate::secrets("seen.txt")),
        ("held out", generate::secrets("held-out.txt")),
        ("tempting", generate::tempting()),
    ];
    let mut by_set = BTreeMap::<&str, Figures>::new();
    let mut by_rule = BTreeMap::<&str, (usize, usize)>::new();
    let mut by_kind = BTreeMap::<&str, (usize, usize)>::new();
    for (name, samples) in &sets {
        for sample in samples {
            let found = scan(sample);
            let figures = by_set.entry(name).or_default();
            let overlaps = |range: &std::ops::Range<usize>, it: &Match| {
                it.range.start < range.end as u64 && range.start as u64 <= it.range.end
            };
            for (range, kind) in &sample.secrets {
                let hit = found.iter().find(|it| overlaps(range, it));
                let of_kind = by_kind.entry(kind).or_default();
                of_kind.1 += 1;
                if hit.is_some() {
                    figures.hits += 1;
                    of_kind.0 += 1;
                } else {
                    figures.missed += 1;
                    let start = sample.text[..range.start].matches('\n').count() as u64 + 1;
                    println!("missed: {} {kind}: {}", sample.path, line(sample, start));
                }
            }
            for it in &found {
                let of_rule = by_rule.entry(it.rule.id).or_default();
                if sample.secrets.iter().any(|(range, _)| overlaps(range, it)) {
                    of_rule.0 += 1;
                } else {
                    of_rule.1 += 1;
                    figures.wrong += 1;
                    println!("wrong: {} {}: {}", it.rule.id, sample.path, line(sample, it.line));
                }
            }
        }
    }
    let secrets: usize = sets.iter().flat_map(|(_, samples)| samples).map(|it| it.secrets.len()).sum();
    let tempting: usize = sets.iter().flat_map(|(_, samples)| samples).map(|it| it.tempting).sum();
    println!(
        "\n{secrets} secrets, {tempting} tempting lines\n\n| set | found | missed | wrong | recall |\n|---|---|---|---|---|"
    );
    for (name, it) in &by_set {
        println!("| {name} | {} | {} | {} | {:.3} |", it.hits, it.missed, it.wrong, it.recall());
    }
    println!("\n| rule | right | wrong |\n|---|---|---|");
    by_rule.iter().for_each(|(rule, (right, wrong))| println!("| {rule} | {right} | {wrong} |"));
    println!("\n| kind | found | of |\n|---|---|---|");
    by_kind.iter().for_each(|(kind, (found, all))| println!("| {kind} | {found} | {all} |"));
    let all = by_set.values().fold(Figures::default(), |sum, it| Figures {
        hits: sum.hits + it.hits,
        missed: sum.missed + it.missed,
        wrong: sum.wrong + it.wrong,
    });
    println!("\nprecision {:.3}, recall {:.3}", all.precision(), all.recall());
    assert!(secrets >= 300 && tempting >= 2000);
    assert!(all.precision() >= 0.95 && all.recall() >= 0.95);
}
