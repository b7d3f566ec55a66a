//! What the program prints: lines of text that are harmless wherever they are shown,
//! aligned, coloured on a terminal only, and plain when `NO_COLOR` is set (both by
//! anstream).
//!
//! This is the one edge where text becomes output. Whatever a line is made of, a policy's
//! words or a file's name, each piece of it is sanitized here ([`entail_text`]), and only
//! [`Style`] adds what a terminal obeys. So a line stays one line, and JSON stays JSON.
//! [`exactly`] is for what another program reads as it is.

pub mod access;

use std::fmt;
use std::io::Write as _;

use anstyle::AnsiColor;
use entail_text::{json, sanitize};
use serde::Serialize;

/// Prints a line on standard output; with `style => text;` before it, it begins with
/// that text. When that fails the program ends: quietly if nobody reads on, as a pipe
/// into `head` does, else with an error.
macro_rules! say {
    ($style:expr => $text:expr; $($rest:tt)*) => {
        $crate::output::Line::styled($style, $text)
            .then(format_args!($($rest)*))
            .print()
    };
    ($style:expr => $text:expr) => { $crate::output::Line::styled($style, $text).print() };
    ($($text:tt)*) => { $crate::output::Line::plain(format_args!($($text)*)).print() };
}

/// The same on standard error.
macro_rules! tell {
    ($style:expr => $text:expr; $($rest:tt)*) => {
        $crate::output::Line::styled($style, $text)
            .then(format_args!($($rest)*))
            .print_error()
    };
    ($($text:tt)*) => { $crate::output::Line::plain(format_args!($($text)*)).print_error() };
}

pub(crate) use {say, tell};

fn print(text: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(anstream::stdout(), "{text}") {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        tell!("error: standard output: {error}");
        std::process::exit(1);
    }
}

fn print_error(text: fmt::Arguments<'_>) {
    // There is no other place to complain at.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints what another program reads as it is, or what the program itself wrote, such as
/// its help. Never foreign text.
pub fn exactly(text: &str) {
    print(format_args!("{text}"));
}

/// Prints the last line of every dry run.
pub fn say_dry_run() {
    say!("this was a dry run: nothing is changed");
}

/// How a piece of text is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    Plain,
    Heading,
    Good,
    Warn,
    Bad,
    Faint,
}

impl From<Style> for anstyle::Style {
    fn from(style: Style) -> Self {
        match style {
            Style::Plain => anstyle::Style::new(),
            Style::Heading => anstyle::Style::new().bold(),
            Style::Good => AnsiColor::Green.on_default(),
            Style::Warn => AnsiColor::Yellow.on_default(),
            Style::Bad => AnsiColor::Red.on_default(),
            Style::Faint => anstyle::Style::new().dimmed(),
        }
    }
}

/// A line in the making: sanitized pieces, each with its style.
#[derive(Default)]
pub struct Line {
    pieces: Vec<Cell>,
}

impl Line {
    /// Begins with a piece in a style.
    pub fn styled(style: Style, text: impl fmt::Display) -> Self {
        Line::default().then_styled(style, text)
    }

    /// Begins with a piece in no style.
    pub fn plain(text: impl fmt::Display) -> Self {
        Line::styled(Style::Plain, text)
    }

    /// Goes on with a piece in no style.
    pub fn then(self, text: impl fmt::Display) -> Self {
        self.then_styled(Style::Plain, text)
    }

    /// Goes on with a piece in a style.
    pub fn then_styled(mut self, style: Style, text: impl fmt::Display) -> Self {
        self.pieces.push(Cell::new(text.to_string(), style));
        self
    }

    /// Prints it on standard output.
    pub fn print(&self) {
        print(format_args!("{self}"));
    }

    /// Prints it on standard error.
    pub fn print_error(&self) {
        print_error(format_args!("{self}"));
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Cell { text, style } in &self.pieces {
            let style = anstyle::Style::from(*style);
            write!(f, "{style}{text}{style:#}")?;
        }
        Ok(())
    }
}

/// A piece of sanitized text: of a line, or of a table.
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn new(text: impl AsRef<str>, style: Style) -> Self {
        Cell {
            text: sanitize(text.as_ref()).into_owned(),
            style,
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::new(text, Style::Plain)
    }
}

/// The widest that a column gets. A longer cell sticks out of its own row; it does not
/// push what stands in the others off the screen.
const MAX_COLUMN_CHARS: usize = 100;

/// Rows of a table; the columns are as wide as their widest cell, within reason.
#[derive(Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
    /// How wide the columns are of rows that were printed before.
    widths: Vec<usize>,
}

impl Table {
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

    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// How many rows are yet to be printed.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Prints the rows that there are and lets them go. What comes after is at least as
    /// wide.
    pub fn print_part(&mut self) {
        self.widths = self.widths();
        for row in std::mem::take(&mut self.rows) {
            self.line(row).print();
        }
    }

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
            if cell.text.is_empty() {
                // Nothing that would end a line with blanks.
                pending += width + 2;
                continue;
            }
            line = line.then(" ".repeat(pending));
            pending = width.saturating_sub(cell.width()) + 2;
            line.pieces.push(cell);
        }
        line
    }
}

/// Prints a value as JSON, for programs.
pub fn print_json(value: &serde_json::Value) {
    print_text(json::to_string_pretty(value));
}

/// The same on one line.
pub fn print_json_line(value: &impl Serialize) {
    print_text(json::to_string(value));
}

/// The same on one line of standard error.
pub fn print_json_error(value: &impl Serialize) {
    match json::to_string(value) {
        Ok(text) => print_error(format_args!("{text}")),
        Err(error) => tell!("error: {error}"),
    }
}

fn print_text(text: serde_json::Result<String>) {
    match text {
        Ok(text) => exactly(&text),
        Err(error) => {
            tell!("error: {error}");
            std::process::exit(1);
        }
    }
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
