//! What the program prints: lines, tables and JSON. Text is colored on a terminal only, and
//! plain when `NO_COLOR` is set (both by anstream).

pub mod access;
mod error;
mod explanation;
mod json;
pub(crate) mod line;
mod matrix;
mod pasted;
mod plural;
pub mod progress;
mod stdout;
mod table;
mod time;
mod variable;

pub use self::error::print_error;
pub use self::explanation::print_explanation;
pub use self::json::{convert, print_json, print_json_line};
pub use self::line::{Cell, Line, Style, print_dry_run_notice};
pub(crate) use self::line::{err, out};
pub use self::matrix::{EXPECTED_REFUSALS, print_matrix};
pub use self::plural::{choose, count};
pub use self::stdout::{failure_to_report, is_closed, print_raw};
pub use self::table::Table;
pub use self::time::time;
pub use self::variable::print_variable;
