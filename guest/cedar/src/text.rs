//! Error messages with line numbers.

use miette::Diagnostic;

/// Returns the message of an error with the line that Cedar reports: `line 3: …`.
pub fn located(rules: &str, error: &impl Diagnostic) -> String {
    let start = error
        .labels()
        .and_then(|mut labels| labels.next())
        .and_then(|label| rules.get(..label.offset()));
    let line = match start {
        Some(before) => format!("line {}: ", before.matches('\n').count() + 1),
        None => String::new(),
    };
    let advice = match error.help() {
        Some(advice) => format!(" ({advice})"),
        None => String::new(),
    };
    format!("{line}{error}{advice}")
}
