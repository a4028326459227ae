//! Scans a folder: `scan FOLDER [THREADS] [--list]`. Prints files, bytes, findings and seconds; with `--list` each finding.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use std::{env, fs, io, thread};

use upkeep_secrets::{Options, Scanner};

fn files(folder: &Path, all: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            it if it.is_dir() => files(&entry.path(), all)?,
            it if it.is_file() => all.push(entry.path()),
            _ => (),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (flags, values): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|it| it.starts_with("--"));
    let folder = values.first().ok_or("usage: scan FOLDER [THREADS] [--list]")?;
    let threads = values.get(1).map_or(Ok(1), |it| it.parse())?;
    let began = Instant::now();
    let scanner = Scanner::new(Options::default())?;
    let made = began.elapsed();
    let mut all = Vec::new();
    files(Path::new(folder), &mut all)?;
    let (next, bytes, found, skipped) = Default::default();
    let [next, bytes, found, skipped]: [AtomicUsize; 4] = [next, bytes, found, skipped];
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(path) = all.get(next.fetch_add(1, Relaxed)) {
                    let Ok(content) = fs::read(path) else { continue };
                    let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
                    let summary = scanner.scan(&name, &content, &mut |it| {
                        found.fetch_add(1, Relaxed);
                        if flags.contains(&"--list".to_owned()) {
                            println!("{name}\t{}\t{}\t{}\t{}", it.line, it.column, it.rule.id, it.redacted);
                        }
                    });
                    bytes.fetch_add(content.len(), Relaxed);
                    skipped.fetch_add(usize::from(summary.skipped.is_some()), Relaxed);
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    let [files, bytes, found, skipped] = [all.len(), bytes.into_inner(), found.into_inner(), skipped.into_inner()];
    eprintln!(
        "{files} files, {skipped} of them skipped, {bytes} bytes, {found} findings, {seconds:.3} s, {:.0} MB/s; scanner made in {} µs",
        bytes as f64 / 1e6 / seconds,
        made.as_micros()
    );
    Ok(())
}
