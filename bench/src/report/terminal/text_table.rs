//! A table as text: a column is as wide as its widest cell, and columns without room are left out.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::super::svg::harmless_text;

/// Blanks between two columns.
const GAP: usize = 2;

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

/// The columns that have room, with their widths.
#[derive(Debug)]
pub(super) struct Columns {
    /// Index and width of each, in the order of the columns.
    shown: Vec<(usize, usize)>,
}

impl Cell {
    /// A cell of plain text. Replaces characters that steer a terminal, and blanks that do not
    /// break.
    pub(super) fn new(text: &str) -> Cell {
        Cell { text: harmless_text(text).replace('\u{a0}', " "), style: Style::new() }
    }

    /// The same text with another style.
    pub(super) fn styled(self, style: Style) -> Cell {
        Cell { style, ..self }
    }

    /// The text without its style.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The number of columns of the terminal that the text takes.
    fn width(&self) -> usize {
        self.text.width()
    }
}

impl Columns {
    /// Chooses columns for `rows` and a line of `room` columns of the terminal; `None` has room for
    /// all. `by_rank` has the indices of the columns, the most important first. The first two
    /// always have room.
    pub(super) fn fit(rows: &[&Vec<Cell>], by_rank: &[usize], room: Option<usize>) -> Columns {
        let width = |index: usize| {
            rows.iter().filter_map(|row| row.get(index)).map(Cell::width).max().unwrap_or(0)
        };
        let mut used = 0;
        let mut shown = Vec::new();
        for (rank, index) in by_rank.iter().enumerate() {
            let width = width(*index);
            let gap = if shown.is_empty() { 0 } else { GAP };
            if rank < 2 || room.is_none_or(|room| used + gap + width <= room) {
                used += gap + width;
                shown.push((*index, width));
            }
        }
        shown.sort_unstable();
        Columns { shown }
    }

    /// Whether the column has room.
    pub(super) fn shows(&self, index: usize) -> bool {
        self.shown.iter().any(|(shown, _)| *shown == index)
    }

    /// A row as a line, with the escape sequences of its styles. The cells of a column begin at
    /// its left edge if `to_left` holds for its index. Others end at the right edge.
    pub(super) fn line(&self, row: &[Cell], to_left: impl Fn(usize) -> bool) -> String {
        let mut line = String::new();
        for (position, (index, width)) in self.shown.iter().enumerate() {
            let Some(cell) = row.get(*index) else { continue };
            let blanks = " ".repeat(width.saturating_sub(cell.width()));
            let gap = " ".repeat(if position == 0 { 0 } else { GAP });
            let (text, style) = (&cell.text, cell.style);
            line += &if to_left(*index) {
                format!("{gap}{style}{text}{style:#}{blanks}")
            } else {
                format!("{gap}{blanks}{style}{text}{style:#}")
            };
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(texts: &[[&str; 3]]) -> Vec<Vec<Cell>> {
        texts.iter().map(|row| row.iter().map(|text| Cell::new(text)).collect()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = rows(&[["server", "value", "x"], ["a", "1", "22"], ["日本", "22222222", ""]]);
        let columns = Columns::fit(&rows.iter().collect::<Vec<_>>(), &[0, 1, 2], None);
        let lines = rows.iter().map(|row| columns.line(row, |index| index == 0));
        let lines: Vec<String> = lines.collect();
        assert_eq!(lines, ["server     value   x", "a              1  22", "日本    22222222"]);
    }

    #[test]
    fn the_least_important_columns_are_left_out_first() {
        let rows = rows(&[["server", "value", "verdict"]]);
        let shown = |by_rank: &[usize], room| {
            let columns = Columns::fit(&[&rows[0]], by_rank, Some(room));
            [0, 1, 2].map(|index| columns.shows(index))
        };
        assert_eq!(shown(&[0, 2, 1], 22), [true, true, true]);
        assert_eq!(shown(&[0, 2, 1], 21), [true, false, true]);
        assert_eq!(shown(&[0, 1, 2], 21), [true, true, false]);
        assert_eq!(shown(&[0, 1, 2], 1), [true, true, false]);
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let row = vec![Cell::new("\x1b[2Ja\rb\u{202e}")];
        let line = Columns::fit(&[&row], &[0], None).line(&row, |_| true);
        assert_eq!(line, "\u{fffd}[2Ja\u{fffd}b\u{fffd}");
    }
}
