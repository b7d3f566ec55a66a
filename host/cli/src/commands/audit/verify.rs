//! `entail audit verify`: verifies the log.

use entail::{Home, LogHead, LogReport, LogSync, journalled_log_heads, verify_log};

use super::event::sentence;
use crate::error::{CliError, ErrorCode};
use crate::output::{Style, choose, convert, count, out, print_json};
use crate::session::Session;
use entail_api::audit::{LogBreach, LogVerification};

pub async fn verify(session: &Session) -> Result<(), CliError> {
    let home = session.home()?;
    let heads = journalled_heads(session, &home).await;
    let found = verification(session, &home, &heads)?;
    if session.global.json {
        print_json(&found);
    } else {
        print_text(&found);
    }
    let breaches = breaches(&found);
    if breaches == 0 {
        return Ok(());
    }
    Err(CliError::new(
        ErrorCode::Tampered,
        format!(
            "the decision log does not hold what was written in {}",
            count(breaches, "place")
        ),
    )
    .with_remedies(vec![
        "if you know how that came about: entail audit accept-loss --reason TEXT".to_owned(),
    ]))
}

/// The ends of the log that the journal contains. There are none if the store cannot be read, which
/// `verify` reports: the log can be verified without it.
pub async fn journalled_heads(session: &Session, home: &Home) -> Vec<LogHead> {
    let store = session
        .keys(home)
        .ok()
        .and_then(|keys| home.store(keys).ok());
    let Some(store) = store else {
        return Vec::new();
    };
    let heads = journalled_log_heads(home, &session.principal, &store).await;
    heads.unwrap_or_default()
}

/// Verifies the log, also against `heads`, ends that it had earlier.
///
/// # Errors
///
/// Fails if it cannot be read.
pub fn verification(
    session: &Session,
    home: &Home,
    heads: &[LogHead],
) -> Result<LogVerification, CliError> {
    let LogReport {
        files,
        records,
        decisions,
        openings,
        without_opening,
        newer,
        writers,
        incomplete,
        first_file,
        events,
        accepted,
        has_head,
        after_head,
        lost,
        heads_contained,
        heads_unchecked: _,
        breaches,
        more_breaches,
    } = verify_log(home, &session.principal, heads)?;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(LogVerification {
        files: number(files),
        records,
        decisions,
        openings,
        without_opening,
        newer,
        synced: home.settings()?.decision_log.sync == LogSync::Grouped,
        writers: number(writers),
        incomplete,
        first_file,
        has_head,
        after_head,
        lost,
        in_journal: heads_contained,
        breaches: breaches
            .into_iter()
            .map(|breach| LogBreach {
                file: breach.file.to_string_lossy().into_owned(),
                line: breach.line,
                reason: breach.reason,
            })
            .collect(),
        more_breaches,
        accepted,
        events: convert(&events)?,
    })
}

/// In how many places something is wrong with the log.
pub fn breaches(found: &LogVerification) -> u64 {
    found.more_breaches + u64::try_from(found.breaches.len()).unwrap_or(u64::MAX)
}

fn print_text(found: &LogVerification) {
    out!(
        "{} and {} by {} verified",
        count(found.decisions, "decision"),
        count(found.openings, "opening"),
        count(found.writers, "writer"),
    );
    if let Some(number) = found.first_file {
        out!("the log begins with file {number}");
    }
    for event in &found.events {
        out!("{}", sentence(event));
    }
    if found.incomplete > 0 {
        out!(
            "{} never finished, so nothing was revealed for {}",
            format_args!(
                "{} {}",
                count(found.incomplete, "line"),
                choose(found.incomplete, "was", "were")
            ),
            choose(found.incomplete, "it", "them"),
        );
    }
    for note in notes(found) {
        out!(Style::Warn => "note:"; " {note}");
    }
    for breach in &found.breaches {
        let file = &breach.file;
        match breach.line {
            0 => out!(Style::Bad => "✗"; " {file}: {}", breach.reason),
            line => out!(Style::Bad => "✗"; " {file} line {line}: {}", breach.reason),
        }
    }
    if found.more_breaches > 0 {
        out!("and {} more", found.more_breaches);
    }
}

/// What a person should know although it is not wrong.
pub fn notes(found: &LogVerification) -> Vec<String> {
    let mut notes = Vec::new();
    let has_breaches = !found.breaches.is_empty();
    if !found.has_head && found.files == 0 && !has_breaches {
        notes.push(
            "there is no log and no record of one: either no decision was made yet, or the log was removed together with its key"
                .to_owned(),
        );
    }
    if found.without_opening > 0 {
        notes.push(format!(
            "whether the secret was opened is not recorded for {}, so nothing was revealed: a process was stopped, or a request given up, before that",
            count(found.without_opening, "grant"),
        ));
    }
    if found.newer > 0 {
        notes.push(format!(
            "{} {} of a kind that only a newer version of Entail knows",
            count(found.newer, "record"),
            choose(found.newer, "is", "are"),
        ));
    }
    if !found.synced {
        notes.push(
            "the log is not synced (decision-log.sync is \"none\"), so a power cut may lose the records of the last minute"
                .to_owned(),
        );
    }
    if found.accepted > 0 {
        notes.push(format!(
            "{} {} not as written, which was accepted",
            count(found.accepted, "record"),
            choose(found.accepted, "is", "are"),
        ));
    }
    if !found.has_head && found.records > 0 && !has_breaches {
        notes.push(
            "the length of the log is not stored outside it, so a truncated log would not be noticed"
                .to_owned(),
        );
    }
    if found.after_head > 0 {
        notes.push(format!(
            "{} written just now, or by a process that was stopped before it could remember the length of the log",
            format_args!(
                "{} {}",
                count(found.after_head, "record"),
                choose(found.after_head, "was", "were")
            ),
        ));
    }
    if found.lost > 0 {
        notes.push(format!(
            "{} of the newest records {} missing after the machine was restarted: lost when it stopped, or cut off in between",
            found.lost,
            choose(found.lost, "was", "were"),
        ));
    }
    notes
}
