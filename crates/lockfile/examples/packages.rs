//! Prints how many packages a file names, what is in it besides, and how long reading took:
//! `cargo run --release -p upkeep-lockfile --example packages -- Cargo.lock`.

use std::time::Instant;

use upkeep_lockfile::{Format, Limits, parse};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for path in std::env::args().skip(1) {
        let format = Format::detect(&path).ok_or_else(|| format!("{path}: no name of a lock file"))?;
        let bytes = std::fs::read(&path)?;
        let limits = Limits { bytes: usize::MAX, packages: 2_000_000, requests: 8_000_000, ..Limits::default() };
        let start = Instant::now();
        match parse(format, &bytes, &limits) {
            Ok(file) => {
                let (packages, notes) = (file.packages.len(), file.notes.len() + file.notes_omitted);
                println!("{path}: {packages} packages, {notes} notes in {:.1?}", start.elapsed());
            }
            Err(error) => println!("{path}: {error}, after {:.1?}", start.elapsed()),
        }
    }
    Ok(())
}
