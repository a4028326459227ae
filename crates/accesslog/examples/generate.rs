//! Writes an access log: `generate [LINES] [VISITORS] [DAYS] [FORMAT]` to standard output; the same arguments give the same
//! lines. FORMAT is `combined`, `combined-short` (the same with short user
//! agents and no referrers), `combined-time` or `json`. With VISITORS at least as large as LINES, nearly each line has a
//! visitor of its own.

#[path = "generate/log.rs"]
mod log;

use std::io::{self, BufWriter, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |it| it.parse());
    let (lines, visitors, days) = (number(0, 3_200_000)?, number(1, 200_000)?, number(2, 7)?);
    let shape = match arguments.get(3).map(String::as_str) {
        None | Some("combined") => log::Shape::Combined,
        Some("combined-short") => log::Shape::CombinedShort,
        Some("combined-time") => log::Shape::CombinedTime,
        Some("json") => log::Shape::Json,
        Some(other) => {
            return Err(format!("`{other}` is none of combined, combined-short, combined-time and json").into());
        }
    };
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    let mut line = Vec::new();
    for request in log::Log::new(lines, visitors, days) {
        line.clear();
        request.write(shape, &mut line);
        out.write_all(&line)?;
    }
    Ok(out.flush()?)
}
