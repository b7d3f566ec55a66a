//! Where in the rules something is wrong.

use miette::Diagnostic;

/// What is wrong, with the line that Cedar points to: `line 3: …`.
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
