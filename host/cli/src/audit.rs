//! Commands about the decision log.

use std::collections::BTreeSet;
use std::time::Duration;

use entail::{
    Filter, Home, LogEvent, LogEventKind, LogReport, OutcomeFilter, RecordedDecision, Records,
    accept_log_loss, archive_log, last_records, quoted, records, verify_log,
};
use entail_text::Shown;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::args::{AuditCommand, FilterArgs};
use crate::failure::{Failure, shown};
use crate::output::{Cell, Style, Table, print_json, print_json_line, say};
use crate::session::Session;
use crate::times::{past, time};

/// Between two looks for new decisions.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Rows that are printed at a time, with columns as wide as they take together.
const ROWS: usize = 1_000;

pub fn audit(session: &Session, command: AuditCommand) -> Result<(), Failure> {
    let home = session.home()?;
    match command {
        AuditCommand::Tail {
            lines,
            follow,
            all,
            filter,
        } => {
            let filter = Filter {
                without_probes: !all,
                ..to_filter(&home, &filter)?
            };
            tail(session, &home, lines, follow, &filter)
        }
        AuditCommand::Show { filter } => {
            let mut found = records(&home, &to_filter(&home, &filter)?)?;
            Printer::new(session).print(&mut found)
        }
        AuditCommand::Verify => verify(session, &home),
        AuditCommand::Archive { to, before } => {
            let done = archive_log(&home, &session.principal, &to, before)?;
            print_archived(session, done.as_ref());
            Ok(())
        }
        AuditCommand::AcceptLoss { reason } => {
            let done = accept_log_loss(&home, &session.principal, &reason)?;
            if session.common.json {
                print_json(&json!(done));
            } else {
                say!("{}", said(&done));
                say!("programs that have the log open, such as a service, are to be started anew");
            }
            Ok(())
        }
    }
}

fn tail(
    session: &Session,
    home: &Home,
    lines: usize,
    follow: bool,
    filter: &Filter,
) -> Result<(), Failure> {
    let mut found = last_records(home, filter, lines)?;
    let mut printer = Printer::new(session);
    let mut is_said = session.common.json;
    loop {
        printer.print(&mut found)?;
        let looks = found.skipped_probes();
        if looks > 0 && !is_said {
            is_said = true;
            say!(Style::Faint => format!(
                "{looks} checks by `status` and the like, which hand out nothing, are not shown; add --all to see them"
            ));
        }
        if !follow {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What is wanted of the log.
pub fn to_filter(home: &Home, args: &FilterArgs) -> Result<Filter, Failure> {
    let since_ms = args.since.as_deref().map(past).transpose()?;
    let until_ms = args.until.as_deref().map(past).transpose()?;
    if let (Some(since), Some(until)) = (since_ms, until_ms)
        && since > until
    {
        return Err(Failure::invalid(
            "--since is after --until, so nothing lies between them",
        ));
    }
    Ok(Filter {
        scope: args.scope.clone(),
        provider: args.provider.clone(),
        principal: args.principal.clone(),
        outcome: args
            .outcome
            .as_deref()
            .map(|outcome| to_outcome(home, outcome))
            .transpose()?,
        since_ms,
        until_ms,
        ..Filter::default()
    })
}

/// The codes of the built-in policy's refusals.
const CODES: [&str; 9] = [
    "disabled",
    "expired",
    "model-not-allowed",
    "model-required",
    "no-credential",
    "not-opted-in",
    "organization-credential-required",
    "override-forbidden",
    "unreadable",
];

/// What an outcome means: a code that is neither the built-in policy's nor in the log is
/// a slip of the pen.
fn to_outcome(home: &Home, text: &str) -> Result<OutcomeFilter, Failure> {
    let outcome = OutcomeFilter::from(text);
    if !matches!(outcome, OutcomeFilter::Code(_)) || CODES.contains(&text) {
        return Ok(outcome);
    }
    let refused = Filter {
        outcome: Some(OutcomeFilter::Refused),
        ..Filter::default()
    };
    let mut known: BTreeSet<String> = CODES.map(str::to_owned).into();
    for record in records(home, &refused)? {
        let record = record?;
        match record.refusal() {
            Some(code) if code == text => return Ok(outcome),
            Some(code) => known.insert(Shown::of(code).to_string()),
            None => continue,
        };
    }
    let known: Vec<String> = known.into_iter().collect();
    Err(Failure::invalid(format!(
        "{} is no outcome; there are granted, refused, failed, and the codes of refusals: {}",
        quoted(text),
        known.join(", ")
    )))
}

/// A text of a record as a cell. Whoever wants all of a long one asks for JSON.
fn cell(text: &str) -> Cell {
    Shown::of(text).to_string().into()
}

/// Prints records as they are read.
struct Printer {
    as_json: bool,
    table: Table,
}

impl Printer {
    fn new(session: &Session) -> Self {
        let headings = ["TIME", "SCOPE", "PROVIDER", "FOR", "OUTCOME", "CREDENTIAL"];
        Printer {
            as_json: session.common.json,
            table: Table::with_headings(headings),
        }
    }

    /// Prints what there is to read.
    fn print(&mut self, found: &mut Records) -> Result<(), Failure> {
        for record in found {
            let record = record?;
            if self.as_json {
                // It was read as JSON.
                print_json_line(&serde_json::from_str::<&RawValue>(record.json()).ok());
                continue;
            }
            self.row(&record);
            if self.table.len() >= ROWS {
                self.table.print_part();
            }
        }
        if !self.as_json {
            self.table.print_part();
        }
        Ok(())
    }

    fn row(&mut self, record: &RecordedDecision) {
        let outcome = match (record.outcome(), record.refusal()) {
            ("granted", _) => Cell::new("granted", Style::Good),
            // A policy chooses the code, and may not make it look like a grant.
            (_, Some(code)) => Cell::new(format!("refused: {}", Shown::of(code)), Style::Warn),
            (_, None) => Cell::new("failed", Style::Bad),
        };
        let credential = match (record.granted(), record.failure()) {
            (Some((holder, name, version)), _) => format!("{name} of {holder}, version {version}"),
            (None, Some(failure)) => failure.to_owned(),
            (None, None) => String::new(),
        };
        self.table.row([
            time(record.at_ms()).into(),
            cell(record.scope()),
            cell(record.provider()),
            cell(record.purpose()),
            outcome,
            cell(&credential),
        ]);
    }
}

fn print_archived(session: &Session, done: Option<&LogEvent>) {
    match done {
        _ if session.common.json => print_json(&json!({"archived": done})),
        Some(done) => say!("{}", said(done)),
        None => say!("no such file of the log is full: there is nothing to archive"),
    }
}

/// An event of the log, in words.
fn said(event: &LogEvent) -> String {
    let at = time(event.at_ms);
    let by = Shown::of(&event.principal).to_string();
    match &event.kind {
        LogEventKind::Archived {
            from,
            to,
            directory,
            ..
        } => {
            let directory = shown(directory);
            match from == to {
                true => format!("file {from} was archived to {directory} on {at} by {by}"),
                false => {
                    format!("the files {from} to {to} were archived to {directory} on {at} by {by}")
                }
            }
        }
        LogEventKind::LossAccepted {
            reason, breaches, ..
        } => format!(
            "what was wrong in {breaches} places was accepted on {at} by {by}: {}",
            Shown::of(reason)
        ),
    }
}

fn verify(session: &Session, home: &Home) -> Result<(), Failure> {
    let report = verify_log(home)?;
    if session.common.json {
        print_json(&to_json(&report));
    } else {
        print_report(&report);
    }
    match breaches(&report) {
        0 => Ok(()),
        breaches => Err(Failure::new(
            15,
            "tampered",
            format!("the decision log is not what was written in {breaches} places"),
        )
        .with_remedies(vec![
            "if it is known how that came: entail audit accept-loss --reason TEXT".to_owned(),
        ])),
    }
}

/// How many things are wrong with the log.
pub fn breaches(report: &LogReport) -> u64 {
    report.more_breaches + u64::try_from(report.breaches.len()).unwrap_or(u64::MAX)
}

fn to_json(report: &LogReport) -> Value {
    let breaches: Vec<Value> = report
        .breaches
        .iter()
        .map(|breach| json!({"file": breach.file.to_string_lossy(), "line": breach.line, "how": breach.reason}))
        .collect();
    json!({
        "files": report.files, "records": report.records, "writers": report.writers,
        "unfinished": report.incomplete, "first_file": report.first_file,
        "has_head": report.has_head, "after_head": report.after_head, "lost": report.lost,
        "breaches": breaches, "more_breaches": report.more_breaches,
        "accepted": report.accepted, "events": report.events,
    })
}

fn print_report(report: &LogReport) {
    say!(
        "{} records of {} writers are as they were written",
        report.records,
        report.writers
    );
    if let Some(number) = report.first_file {
        say!("it begins with file {number}");
    }
    for event in &report.events {
        say!("{}", said(event));
    }
    if report.incomplete > 0 {
        say!(
            "{} lines were never finished, and nothing was revealed on their account",
            report.incomplete
        );
    }
    for note in notes(report) {
        say!(Style::Warn => "note:"; " {note}");
    }
    for breach in &report.breaches {
        let file = breach.file.display();
        match breach.line {
            0 => say!(Style::Bad => "✗"; " {file}: {}", breach.reason),
            line => say!(Style::Bad => "✗"; " {file} line {line}: {}", breach.reason),
        }
    }
    if report.more_breaches > 0 {
        say!("and {} more", report.more_breaches);
    }
}

/// What is not wrong with the log, and should be known, in words.
pub fn notes(report: &LogReport) -> Vec<String> {
    let mut notes = Vec::new();
    if !report.has_head && report.files == 0 && report.breaches.is_empty() {
        notes.push(
            "there is no log, and nothing remembers one: no decision was made yet, or all of it was removed, its key included"
                .to_owned(),
        );
    }
    if report.accepted > 0 {
        notes.push(format!(
            "{} records are not as they were written, which was accepted",
            report.accepted
        ));
    }
    if !report.has_head && report.records > 0 && report.breaches.is_empty() {
        notes.push(
            "nothing outside of the log remembers how far it had come, so a cut would not show"
                .to_owned(),
        );
    }
    if report.after_head > 0 {
        notes.push(format!(
            "{} records were written by processes that were stopped before they remembered them outside of the log, or just now",
            report.after_head
        ));
    }
    if report.lost > 0 {
        notes.push(format!(
            "{} of the newest records were gone after the machine was started anew: lost when it stopped, or cut off in between",
            report.lost
        ));
    }
    notes
}
