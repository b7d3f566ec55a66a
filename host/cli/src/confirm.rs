//! Asking before something is destroyed, more is granted, or others lose what they are
//! granted. Only a person at a terminal is asked; `--yes` answers beforehand, and a
//! script goes on as it always did.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;

use entail::{AccessChanges, Difference, ScopePath};

use crate::failure::Failure;
use crate::output::{Style, tell};
use crate::prompt;
use crate::session::Session;

/// The most lines about who gets what.
const MAX_LINES: usize = 10;

/// Whether there is somebody to ask.
pub fn is_wanted(session: &Session) -> bool {
    !session.common.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Says what a change would do, and asks whether to go on; if it would do nothing that a
/// person should know, it goes on.
///
/// # Errors
///
/// When the answer is no.
pub fn ask(consequences: &[String]) -> Result<(), Failure> {
    if consequences.is_empty() {
        return Ok(());
    }
    for consequence in consequences {
        tell!(Style::Warn => "  •"; " {consequence}");
    }
    match prompt::confirm("go on?")? {
        true => Ok(()),
        false => Err(Failure::new(
            1,
            "declined",
            "it was not confirmed, so nothing is changed",
        )),
    }
}

/// Who would get more, or lose what they get, in words. The scope `own`, if there is one,
/// does to itself what its owner wants.
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
