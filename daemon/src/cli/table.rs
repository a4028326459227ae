//! Tables: aligned columns under a heading. On a terminal the widest cells of one column give way, so that a row stays
//! a line; in a pipe every cell is whole.

use std::io::{self, Write};

use console::{measure_text_width, truncate_str};

use super::screen::{Ink, Screen, line};

/// Between two columns.
const GAP: usize = 2;

/// A column never gives way beyond this.
const NARROWEST: usize = 12;

/// A table under construction.
#[derive(Debug)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<Cell>>,
    flexible: usize,
    /// The column from which on all are of numbers, which end at the same place.
    numbers: usize,
}

/// A cell: text and its colour.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    ink: Ink,
}

impl Cell {
    /// A cell in a colour.
    pub fn new(ink: Ink, text: impl AsRef<str>) -> Self {
        Self { text: line(text.as_ref()).into_owned(), ink }
    }

    /// The same in bold, unless it has a colour.
    pub(super) fn bold(self) -> Self {
        Self { ink: if self.ink == Ink::None { Ink::Bold } else { self.ink }, ..self }
    }

    /// As it looks outside of a table.
    pub(super) fn shown(&self, screen: &Screen) -> String {
        screen.ink(self.ink, &self.text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(Ink::None, text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(Ink::None, text)
    }
}

impl Table {
    /// A table with these headings, of which the column `flexible` gives way on a narrow terminal.
    pub fn new<H: Into<String>>(headings: impl IntoIterator<Item = H>, flexible: usize) -> Self {
        let headings = headings.into_iter().map(|heading| line(&heading.into()).into_owned()).collect();
        Self { headings, rows: Vec::new(), flexible, numbers: usize::MAX }
    }

    /// The same with numbers from a column on: they end at the same place.
    pub fn numbers_from(self, column: usize) -> Self {
        Self { numbers: column, ..self }
    }

    /// Columns that it takes if none gives way.
    pub fn width(&self) -> usize {
        let widths = self.widths(None);
        widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
    }

    /// Adds a row. Cells that are missing are empty, cells beyond the headings are left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().take(self.headings.len()).collect());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the table, each line after `indent` spaces.
    pub fn write(&self, screen: &Screen, indent: usize, out: &mut dyn Write) -> io::Result<()> {
        let widths = self.widths(screen.width.map(|width| width.saturating_sub(indent)));
        let headings = self.headings.iter().map(|text| Cell { text: text.clone(), ink: Ink::Bold }).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            self.write_row(row, &widths, screen, indent, out)?;
        }
        Ok(())
    }

    fn widths(&self, room: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headings.iter().map(|text| measure_text_width(text)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(&cell.text));
            }
        }
        let whole = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        if let Some(excess) = room.and_then(|room| whole.checked_sub(room))
            && let Some(width) = widths.get_mut(self.flexible)
        {
            *width = width.saturating_sub(excess).max(NARROWEST.min(*width));
        }
        widths
    }

    fn write_row(
        &self,
        row: &[Cell],
        widths: &[usize],
        screen: &Screen,
        indent: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut text = " ".repeat(indent);
        for (place, (cell, width)) in row.iter().zip(widths).enumerate() {
            let shown = if screen.width.is_some() {
                truncate_str(&cell.text, *width, "…")
            } else {
                cell.text.as_str().into()
            };
            let padding = " ".repeat(width.saturating_sub(measure_text_width(&shown)));
            let inked = screen.ink(cell.ink, &shown);
            let gap = if place + 1 < row.len() { " ".repeat(GAP) } else { String::new() };
            text += &match place < self.numbers {
                true => format!("{inked}{padding}{gap}"),
                false => format!("{padding}{inked}{gap}"),
            };
        }
        writeln!(out, "{}", text.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::tests::{pipe, terminal};

    fn shown(screen: &Screen) -> String {
        let mut table = Table::new(["NAME", "WHY", "WHEN"], 1);
        let long = "the disk is full and has been for a week, which nobody saw, since nobody looked at it";
        table.row([Cell::from("备份"), long.into(), "now".into()]);
        table.row([Cell::from("clean\nup"), Cell::new(Ink::Red, "x\x1b[2J"), "".into()]);
        let mut out = Vec::new();
        table.write(screen, 0, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fits_a_terminal_and_is_whole_in_a_pipe() {
        insta::assert_snapshot!(shown(&terminal()), @r"
        NAME      WHY                                                               WHEN
        备份      the disk is full and has been for a week, which nobody saw, sin…  now
        clean up  x\u{1b}[2J
        ");
        assert!(shown(&terminal()).lines().all(|line| measure_text_width(line) <= 80));
        assert!(shown(&pipe()).contains("nobody looked at it  now"));
        let coloured = shown(&Screen { colour: true, ..terminal() });
        assert!(coloured.contains("\x1b[31mx\\u{1b}[2J\x1b[0m"), "{coloured}");
    }
}
