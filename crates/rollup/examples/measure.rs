//! Measures counting, encoding and merging: `measure [LINES [VISITORS [PAGES [HOURS]]]]`. Prints nanoseconds per line and
//! milliseconds of the rest, as time on a processor, which Linux tells.

#[path = "../tests/memory/ledger.rs"]
mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use memory::Memory;
use upkeep_rollup::ledger::merge;
use upkeep_rollup::{Agent, Hit, Key, Kind, Options, Piece, Section};

/// Lines of a piece: about those of 64 MiB.
const LINES: usize = 537_000;

/// SplitMix64: the same numbers in each run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed(*state)
}

fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// What the kernel says of the memory of this process, in MB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix(what));
    line.and_then(|it| it.trim_matches([':', '\t', ' ', 'k', 'B']).parse::<u64>().ok()).unwrap_or_default() / 1024
}

/// What the process takes, in MB; from here on, the most is asked for anew.
fn taken() -> u64 {
    // If the kernel does not let us, the most is that of all before.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    memory("VmRSS")
}

/// Seconds that this process was on a processor: other processes do not disturb that as much as the time that went by.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|it| it.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

fn size<'a>(sections: impl Iterator<Item = (&'a Key, usize)>) -> BTreeMap<String, (usize, usize)> {
    let mut sizes = BTreeMap::<String, (usize, usize)>::new();
    for (key, bytes) in sections {
        let name = key.to_string();
        let name = match key {
            Key::Chart(_, chart) => chart.name(),
            _ => name.split('/').next().unwrap_or_default(),
        };
        let sum = sizes.entry(name.to_owned()).or_default();
        *sum = (sum.0 + 1, sum.1 + bytes);
    }
    sizes
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let values: Vec<u64> = env::args().skip(1).map(|it| it.parse()).collect::<Result<_, _>>()?;
    let value = |at: usize, or| values.get(at).copied().unwrap_or(or);
    let (lines, visitors, pages, hours) = (value(0, 3_200_000), value(1, 1_000_000), value(2, 5_000), value(3, 24));
    let options = Options { zone: "Europe/Berlin".to_owned(), ..Options::default() };
    let mut state = 1;
    let paths: Vec<String> = (0..pages).map(|it| format!("/shop/category-{}/article-{it}", it % 97)).collect();
    let versions: Vec<String> = (0..60).map(|it| (90 + it).to_string()).collect();
    let referrers: Vec<String> = (0..500).map(|it| format!("site-{it}.example")).collect();
    let mut memory_of_pieces = Vec::new();
    let mut ledger = Memory::default();
    let (mut adding, mut encoding, mut count) = (0.0, 0.0, 0);
    let mut line = 0;
    while line < lines {
        // Only counting is timed, what a line says is drawn before.
        let drawn: Vec<[u64; 3]> =
            (line..lines.min(line + LINES as u64)).map(|it| [it, random(&mut state), random(&mut state)]).collect();
        let mut piece = Piece::new(options.clone())?;
        let before = taken();
        let began = busy();
        for &[line, a, b] in &drawn {
            // Some pages are viewed far more often than others.
            let page = &paths[((a % pages) * (b % pages) / pages) as usize];
            let version = &versions[(a >> 20) as usize % versions.len()];
            piece.add(&Hit {
                time: (1_764_370_800 + line * 3600 * hours / lines) as i64,
                kind: if a >> 32 & 15 == 0 { Kind::Bot } else { Kind::Person },
                visitor: Some(mixed((a >> 36) % visitors)),
                page: (b >> 32 & 3 != 0).then_some(page),
                path: page,
                status: if b >> 34 & 31 == 0 { 404 } else { 200 },
                bytes: b >> 50,
                micros: Some(500 + (a & 0xfff) * (b & 0xff)),
                referrer: (b >> 40 & 1 == 0).then_some(&referrers[(b >> 41) as usize % referrers.len()]),
                agent: Agent { family: "Chrome", version, platform: "Android", device: "phone" },
                country: None,
            });
        }
        adding += busy() - began;
        let began = busy();
        let sections = piece.into_sections();
        encoding += busy() - began;
        memory_of_pieces.push(memory("VmHWM").saturating_sub(before));
        ledger.offer(sections);
        line += drawn.len() as u64;
        count += 1;
    }
    println!("{lines} lines of {visitors} visitors on {pages} pages in {hours} hours, in {count} pieces");
    println!(
        "add: {:.0} ns a line; pieces and their sections take at most {memory_of_pieces:?} MB",
        adding * 1e9 / lines as f64
    );
    println!("sections of all pieces: {:.0} ms", encoding * 1e3);
    let sizes = size(ledger.pieces.iter().flat_map(|(key, all)| all.iter().map(move |it| (key, it.len()))));
    println!("  (sections, bytes): {sizes:?}");
    for round in ["into nothing", "the same again"] {
        let pieces = ledger.pieces.clone();
        let keys: BTreeSet<Key> = pieces.keys().copied().collect();
        let (before, began) = (taken(), busy());
        merge(&mut ledger, &keys, i64::MAX, Piece::new(options.clone())?)?;
        let (seconds, most) = (busy() - began, memory("VmHWM").saturating_sub(before));
        println!("merge {round}: {:.0} ms; takes at most {most} MB more than the sections", seconds * 1e3);
        ledger.pieces = pieces;
    }
    println!("  (sections, bytes): {:?}", size(ledger.stored.iter().map(|(key, it)| (key, it.len()))));
    let days = ledger.stored.iter().filter(|it| matches!(it.0, Key::Day(_)));
    for (key, bytes) in days {
        println!("{key}: {:?}", Section { key: *key, bytes: bytes.clone() }.figures()?);
    }
    Ok(())
}
