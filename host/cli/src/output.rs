//! What the program prints: aligned, coloured on a terminal only, and plain
//! when `NO_COLOR` is set (both by anstream).

use std::fmt::{self, Write as _};
use std::io::Write as _;

use anstyle::AnsiColor;

/// Prints a line on standard output. When that fails the program ends: quietly if
/// nobody reads on, as a pipe into `head` does, else with an error.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// Prints a line on standard error.
macro_rules! tell {
    ($($text:tt)*) => { $crate::output::error_line(format_args!($($text)*)) };
}

pub(crate) use {say, tell};

pub fn line(text: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(anstream::stdout(), "{text}") {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        tell!("error: standard output: {error}");
        std::process::exit(1);
    }
}

pub fn error_line(text: fmt::Arguments<'_>) {
    // There is no other place to complain at.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints the last line of every dry run.
pub fn say_dry_run() {
    say!("this was a dry run: nothing is changed");
}

/// How a piece of text is meant.
#[derive(Clone, Copy, PartialEq)]
pub enum Style {
    Plain,
    Heading,
    Good,
    Warn,
    Bad,
    Faint,
}

impl Style {
    pub fn paint(self, text: impl fmt::Display) -> String {
        let style = match self {
            Style::Plain => anstyle::Style::new(),
            Style::Heading => anstyle::Style::new().bold(),
            Style::Good => AnsiColor::Green.on_default(),
            Style::Warn => AnsiColor::Yellow.on_default(),
            Style::Bad => AnsiColor::Red.on_default(),
            Style::Faint => anstyle::Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }
}

/// A cell of a table.
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        Cell {
            text: text.into(),
            style,
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::new(text, Style::Plain)
    }
}

/// Rows of a table; the columns are as wide as their widest cell.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn with_headings<'a>(headings: impl IntoIterator<Item = &'a str>) -> Self {
        let row = headings
            .into_iter()
            .map(|text| Cell::new(text, Style::Heading))
            .collect();
        Table { rows: vec![row] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(Cell::width)
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            let mut pending = 0;
            for (cell, width) in row.iter().zip(&widths) {
                if cell.text.is_empty() {
                    // Nothing that would end a line with blanks.
                    pending += width + 2;
                    continue;
                }
                // Writing to a string does not fail.
                let _ = write!(
                    line,
                    "{}{}",
                    " ".repeat(pending),
                    cell.style.paint(&cell.text)
                );
                pending = width - cell.width() + 2;
            }
            say!("{line}");
        }
    }
}

/// Prints a value as JSON, for programs.
pub fn print_json(value: &serde_json::Value) {
    say!("{value:#}");
}

/// A JSON object with one member more.
pub fn with_member(
    mut object: serde_json::Value,
    name: &str,
    value: impl Into<serde_json::Value>,
) -> serde_json::Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value.into());
    }
    object
}
