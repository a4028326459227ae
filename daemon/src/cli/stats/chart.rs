//! Requests or events as columns of blocks: what a table of numbers does not show at a glance.

use std::io::{self, Write};

use crate::cli::screen::grouped;

/// Lines of a column.
const HEIGHT: u64 = 4;

/// The most characters that a column takes, with the space behind it.
const WIDEST: usize = 5;

/// From nothing to a full line, in eighths.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Writes how much there is of spans, each with its start, as a chart that is at most `width` characters wide. Where there are more
/// spans than fit, a column is of several.
pub(super) fn write(width: usize, spans: &[(&str, u64)], out: &mut dyn Write) -> io::Result<()> {
    let (Some((from, _)), Some((to, _))) = (spans.first(), spans.last()) else { return Ok(()) };
    let total: u64 = spans.iter().map(|it| it.1).fold(0, u64::saturating_add);
    // The label cannot be longer than that of all.
    let room = width.saturating_sub(grouped(total).len() + 2).max(10);
    let columns: Vec<u64> = spans
        .chunks(spans.len().div_ceil(room))
        .map(|chunk| chunk.iter().map(|it| it.1).fold(0, u64::saturating_add))
        .collect();
    let highest = columns.iter().copied().max().unwrap_or(0).max(1);
    let label = grouped(highest);
    let wide = (room / columns.len()).clamp(1, WIDEST);
    for line in (0..HEIGHT).rev() {
        let label = match line {
            _ if line == HEIGHT - 1 => format!("{label}┤"),
            0 => format!("{:>1$}┤", 0, label.len()),
            _ => format!("{:>1$}│", "", label.len()),
        };
        let blocks: String = columns.iter().map(|value| column(*value, highest, line, wide)).collect();
        writeln!(out, "{}", format!("{label}{blocks}").trim_end())?;
    }
    let margin = " ".repeat(label.len() + 1);
    let between = (columns.len() * wide).saturating_sub(from.len() + to.len() + usize::from(wide > 1)).max(3);
    match margin.len() + from.len() + between + to.len() <= width {
        true if spans.len() > 1 => writeln!(out, "{margin}{from}{:between$}{to}", ""),
        _ => writeln!(out, "{margin}{from}"),
    }
}

/// What a column shows in a line.
fn column(value: u64, highest: u64, line: u64, wide: usize) -> String {
    let eighths = u128::from(value) * u128::from(HEIGHT) * 8 / u128::from(highest);
    // What is little is not nothing.
    let eighths = (eighths as u64).max(u64::from(value > 0));
    let block = BLOCKS[eighths.saturating_sub(line * 8).min(8) as usize];
    match wide {
        1 => block.to_string(),
        wide => block.to_string().repeat(wide - 1) + " ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(width: usize, requests: &[u64]) -> String {
        let starts: Vec<_> = (0..requests.len()).map(|it| format!("2026-11-{:02}", it % 30 + 1)).collect();
        let spans: Vec<_> = starts.iter().map(String::as_str).zip(requests.iter().copied()).collect();
        let mut out = Vec::new();
        write(width, &spans, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_high_as_what_they_show() {
        insta::assert_snapshot!(chart(80, &[0, 1, 25_000, 50_000, 75_000, 100_000, 62_000]));
    }

    #[test]
    fn a_chart_fits_whatever_it_shows() {
        for count in [1, 2, 13, 14, 70, 75, 76, 336, 2_208, 9_000] {
            for width in [40, 80, 200] {
                let text = chart(width, &vec![u64::MAX / 10_000; count]);
                assert!(text.lines().all(|it| it.chars().count() <= width), "{count} in {width}:\n{text}");
                assert!(text.contains('█'));
            }
        }
        assert_eq!(chart(80, &[]), "");
        assert_eq!(chart(80, &[0]).lines().count(), 5);
    }
}
