//! Standard output.
//!
//! When a write fails, the process does not end at once, so that destructors run: they
//! remove private files and finish transactions. The failure is remembered, later output is
//! dropped, and `main` decides how the program ends. Loops that print without an end ask
//! [`is_closed`].

use std::fmt;
use std::io::{Error, ErrorKind, Write as _};
use std::sync::OnceLock;

static FAILURE: OnceLock<Error> = OnceLock::new();

/// Writes a line, unless an earlier write failed.
pub fn write_line(text: fmt::Arguments<'_>) {
    if is_closed() {
        return;
    }
    if let Err(error) = writeln!(anstream::stdout(), "{text}") {
        set_failure(error);
    }
}

/// Remembers why output could not be written. Only the first failure is kept.
pub fn set_failure(error: Error) {
    let _ = FAILURE.set(error);
}

/// Whether a write failed, so that nothing more will be written.
pub fn is_closed() -> bool {
    FAILURE.get().is_some()
}

/// The failure that the program has to report; `None` if nothing failed, or if the reader
/// closed the pipe, as `head` does.
pub fn failure_to_report() -> Option<&'static Error> {
    FAILURE
        .get()
        .filter(|error| error.kind() != ErrorKind::BrokenPipe)
}

/// Prints text that another program reads, or that this program wrote itself, such as its
/// help. The text is not sanitized, so it must not come from outside.
pub fn print_raw(text: &str) {
    write_line(format_args!("{text}"));
}
