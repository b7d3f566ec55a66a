//! Lines of text.
//!
//! This is the one place where text becomes output for a terminal. Each piece of a line,
//! such as a policy's message or the name of a file, is sanitized here ([`entail_text`]),
//! and only [`Style`] adds escape sequences. So a line stays one line.

use std::fmt;
use std::io::Write as _;

use anstyle::AnsiColor;
use entail_text::sanitize;

use super::stdout;

/// Prints a line on standard output. `style => text; …` prints `text` in a style before the
/// rest of the line.
macro_rules! out {
    ($style:expr => $text:expr; $($rest:tt)*) => {
        $crate::output::line::Line::styled($style, $text)
            .then(format_args!($($rest)*))
            .print()
    };
    ($style:expr => $text:expr) => { $crate::output::line::Line::styled($style, $text).print() };
    ($($text:tt)*) => { $crate::output::line::Line::plain(format_args!($($text)*)).print() };
}

/// Prints a line on standard error, with the same syntax as `out!`.
macro_rules! err {
    ($style:expr => $text:expr; $($rest:tt)*) => {
        $crate::output::line::Line::styled($style, $text)
            .then(format_args!($($rest)*))
            .print_error()
    };
    ($($text:tt)*) => { $crate::output::line::Line::plain(format_args!($($text)*)).print_error() };
}

pub(crate) use {err, out};

/// The meaning of a piece of text, shown by its color.
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

/// A line made of sanitized pieces, each with its style.
#[derive(Default)]
pub struct Line {
    pieces: Vec<Cell>,
}

impl Line {
    /// Starts with a piece in a style.
    pub fn styled(style: Style, text: impl fmt::Display) -> Self {
        Line::default().then_styled(style, text)
    }

    /// Starts with a piece without a style.
    pub fn plain(text: impl fmt::Display) -> Self {
        Line::styled(Style::Plain, text)
    }

    /// Appends a piece without a style.
    pub fn then(self, text: impl fmt::Display) -> Self {
        self.then_styled(Style::Plain, text)
    }

    /// Appends a piece in a style.
    pub fn then_styled(self, style: Style, text: impl fmt::Display) -> Self {
        self.then_cell(Cell::new(text.to_string(), style))
    }

    /// Appends a piece that is a cell already.
    pub fn then_cell(mut self, cell: Cell) -> Self {
        self.pieces.push(cell);
        self
    }

    /// Prints the line on standard output.
    pub fn print(&self) {
        stdout::write_line(format_args!("{self}"));
    }

    /// Prints the line on standard error.
    pub fn print_error(&self) {
        // If standard error fails, the error cannot be reported anywhere.
        let _ = writeln!(anstream::stderr(), "{self}");
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

/// A piece of sanitized text, in a line or a table.
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Sanitizes `text`.
    pub fn new(text: impl AsRef<str>, style: Style) -> Self {
        Cell {
            text: sanitize(text.as_ref()).into_owned(),
            style,
        }
    }

    /// The width in characters.
    pub fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::new(text, Style::Plain)
    }
}

/// Prints the last line of every dry run.
pub fn print_dry_run_notice() {
    out!("this was a dry run: nothing was changed");
}
