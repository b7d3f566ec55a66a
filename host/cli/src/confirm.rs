//! Asks for confirmation before something is destroyed, before scopes get more than now, or
//! before other scopes lose what they get. Only a person at a terminal is asked; `--yes`
//! answers in advance, and a script is not stopped.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;

use entail::{AccessChanges, Difference, ScopePath};

use crate::error::{CliError, ErrorCode};
use crate::output::{Style, err};
use crate::prompt;
use crate::session::Session;

/// The maximum number of lines about what scopes get.
const MAX_LINES: usize = 10;

/// Whether there is a person to ask.
pub fn is_needed(session: &Session) -> bool {
    !session.global.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Shows what a change would do, and asks whether to continue. Without consequences it does
/// not ask.
///
/// # Errors
///
/// Fails if the answer is no.
pub fn ask(consequences: &[String]) -> Result<(), CliError> {
    if consequences.is_empty() {
        return Ok(());
    }
    for consequence in consequences {
        err!(Style::Warn => "  •"; " {consequence}");
    }
    if prompt::confirm("Continue?")? {
        Ok(())
    } else {
        Err(CliError::new(
            ErrorCode::Declined,
            "not confirmed: nothing was changed",
        ))
    }
}

/// Lists who would get more, or lose what they get. A scope `own` is left out: its owner
/// makes the change.
pub fn access(changes: &AccessChanges, own: Option<&ScopePath>) -> Vec<String> {
    let lines: BTreeSet<String> = changes
        .changes
        .iter()
        .filter(|change| own != Some(&change.scope))
        .filter(|change| {
            matches!(
                change.difference,
                Difference::Widened | Difference::Narrowed | Difference::NowFailing
            )
        })
        .map(|change| {
            format!(
                "{} {}: {} → {} ({})",
                change.scope, change.provider, change.from, change.to, change.difference
            )
        })
        .collect();
    let more = lines.len().saturating_sub(MAX_LINES);
    let mut lines: Vec<String> = lines.into_iter().take(MAX_LINES).collect();
    if more > 0 {
        lines.push(format!("… and {more} more (see: --dry-run)"));
    }
    lines
}
