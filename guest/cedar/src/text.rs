//! Where in the rules something is wrong.

use miette::Diagnostic;

/// What is wrong, with the line that Cedar points to: `line 3: …`.
pub fn located(rules: &str, error: &impl Diagnostic) -> String {
    let start = error
        .labels()
        .and_then(|mut labels| labels.next())
        .and_then(|label| rules.get(..label.offset()));
    let mut text = match start {
        Some(before) => format!("line {}: {error}", before.matches('\n').count() + 1),
        None => error.to_string(),
    };
    if let Some(advice) = error.help() {
        text.push_str(&format!(" ({advice})"));
    }
    text
}
