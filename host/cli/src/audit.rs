//! Commands about the decision log.

use std::time::Duration;

use entail::{Filter, Home, OutcomeFilter, RecordedDecision, now_ms, quoted, records, verify_log};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::args::{AuditCommand, FilterArgs};
use crate::failure::Failure;
use crate::manage::{span_ms, time};
use crate::output::{Cell, Style, Table, print_json, print_json_line, say};
use crate::session::Session;

/// Between two looks for new decisions.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub fn audit(session: &Session, command: AuditCommand) -> Result<(), Failure> {
    let home = session.home()?;
    match command {
        AuditCommand::Tail {
            lines,
            follow,
            filter,
        } => tail(session, &home, lines, follow, &filter),
        AuditCommand::Show { filter } => {
            print(session, &records(&home, &to_filter(&filter)?)?, true);
            Ok(())
        }
        AuditCommand::Verify => verify(session, &home),
    }
}

fn tail(
    session: &Session,
    home: &Home,
    lines: usize,
    follow: bool,
    filter: &FilterArgs,
) -> Result<(), Failure> {
    let filter = to_filter(filter)?;
    let found = records(home, &filter)?;
    let last = found.get(found.len().saturating_sub(lines)..);
    print(session, last.unwrap_or_default(), true);
    let mut seen = found.len();
    if !follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(LOOK_EVERY);
        let found = records(home, &filter)?;
        print(session, found.get(seen..).unwrap_or_default(), false);
        seen = found.len();
    }
}

/// What is wanted of the log.
pub fn to_filter(args: &FilterArgs) -> Result<Filter, Failure> {
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
        outcome: args.outcome.as_deref().map(OutcomeFilter::from),
        since_ms,
        until_ms,
    })
}

/// `2h` and `7d` ago, or a time as RFC 3339 has it.
fn past(text: &str) -> Result<u64, Failure> {
    let time = text.parse::<Timestamp>().ok();
    let time = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    time.or_else(|| Some(now_ms().saturating_sub(span_ms(text)?)))
        .ok_or_else(|| {
            Failure::invalid(format!(
                "{} is no time: give 2h, 7d or 2027-01-31T12:00:00Z",
                quoted(text)
            ))
        })
}

fn print(session: &Session, found: &[RecordedDecision], with_headings: bool) {
    if session.common.json {
        for record in found {
            print_json_line(&record.json);
        }
        return;
    }
    let mut table = match with_headings {
        true => Table::with_headings(["TIME", "SCOPE", "PROVIDER", "FOR", "OUTCOME", "CREDENTIAL"]),
        false => Table::default(),
    };
    for record in found {
        let outcome = record.outcome();
        let style = match outcome {
            "granted" => Style::Good,
            "failed" => Style::Bad,
            _ => Style::Warn,
        };
        let credential = match (record.granted(), record.failure()) {
            (Some((holder, name, version)), _) => format!("{name} of {holder}, version {version}"),
            (None, Some(failure)) => failure.to_owned(),
            (None, None) => String::new(),
        };
        table.row([
            time(record.at_ms()).into(),
            record.scope().into(),
            record.provider().into(),
            record.purpose().into(),
            Cell::new(outcome, style),
            credential.into(),
        ]);
    }
    table.print();
}

fn verify(session: &Session, home: &Home) -> Result<(), Failure> {
    let report = verify_log(home)?;
    if session.common.json {
        let breaches: Vec<Value> = report
            .breaches
            .iter()
            .map(|breach| json!({"file": breach.file, "line": breach.line, "how": breach.how}))
            .collect();
        print_json(&json!({
            "files": report.files, "records": report.records, "writers": report.writers,
            "unfinished": report.unfinished, "begins_with": report.begins_with,
            "breaches": breaches,
        }));
    } else {
        say!(
            "{} records of {} writers are as they were written",
            report.records,
            report.writers
        );
        if let Some(number) = report.begins_with {
            say!("it begins with file {number}: those before it were put away");
        }
        if report.unfinished > 0 {
            say!(
                "{} lines were never finished, and nothing was revealed on their account",
                report.unfinished
            );
        }
        for breach in &report.breaches {
            say!(Style::Bad => "✗"; " {} line {}: {}",
                breach.file.display(),
                breach.line,
                breach.how
            );
        }
    }
    match report.breaches.len() {
        0 => Ok(()),
        breaches => Err(Failure::new(
            15,
            "tampered",
            format!("the decision log is not what was written in {breaches} places"),
        )),
    }
}
