//! Events of the log in words.

use std::path::Path;

use entail_text::Shown;

use crate::output::{count, time};
use entail_api::audit::{LogEvent, LogEventKind};
use entail_policy_tools::display::display_path;

/// An event as a sentence.
pub fn sentence(event: &LogEvent) -> String {
    let at = time(event.at_ms);
    let by = Shown::of(&event.principal);
    match &event.event {
        LogEventKind::Archived {
            from,
            to,
            directory,
            ..
        } => {
            let directory = display_path(Path::new(directory));
            if from == to {
                format!("file {from} was archived to {directory} on {at} by {by}")
            } else {
                format!("the files {from} to {to} were archived to {directory} on {at} by {by}")
            }
        }
        LogEventKind::LossAccepted {
            reason, breaches, ..
        } => format!(
            "damage in {} was accepted on {at} by {by}: {}",
            count(*breaches, "place"),
            Shown::of(reason)
        ),
    }
}
