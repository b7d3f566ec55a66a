//! Tables.

use super::line::{Cell, Line, Style};

/// The maximum width of a column. A longer cell sticks out of its own row and does not
/// move the other rows' columns off the screen.
const MAX_COLUMN_CHARS: usize = 100;

/// The space between two columns.
const GAP: usize = 2;

/// Rows of cells; each column is as wide as its widest cell, up to a limit.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
    /// The widths of the columns of rows that are printed already.
    widths: Vec<usize>,
}

impl Table {
    /// A table with a row of headings.
    pub fn with_headings<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let row = headings
            .into_iter()
            .map(|text| Cell::new(text, Style::Heading))
            .collect();
        Table {
            rows: vec![row],
            widths: Vec::new(),
        }
    }

    /// Appends a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Appends a row of a label and a value.
    pub fn labelled(&mut self, label: &str, value: impl AsRef<str>) {
        self.row([Cell::new(label, Style::Faint), value.into()]);
    }

    /// The number of rows that are not printed yet.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Prints the rows and drops them. The columns of later rows are at least as wide.
    pub fn print_part(&mut self) {
        self.widths = self.widths();
        for row in std::mem::take(&mut self.rows) {
            self.line(row).print();
        }
    }

    /// Prints the rows.
    pub fn print(mut self) {
        self.print_part();
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        (0..columns.max(self.widths.len()))
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(Cell::width)
                    .chain(self.widths.get(column).copied())
                    .max()
                    .unwrap_or(0)
                    .min(MAX_COLUMN_CHARS)
            })
            .collect()
    }

    fn line(&self, row: Vec<Cell>) -> Line {
        let mut line = Line::default();
        let mut pending = 0;
        for (cell, width) in row.into_iter().zip(&self.widths) {
            // An empty last cell leaves no blanks at the end of the line.
            if cell.is_empty() {
                pending += width + GAP;
                continue;
            }
            line = line.then(" ".repeat(pending));
            pending = width.saturating_sub(cell.width()) + GAP;
            line = line.then_cell(cell);
        }
        line
    }
}
