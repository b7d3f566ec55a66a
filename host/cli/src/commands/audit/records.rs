//! `entail audit tail` and `show`: print records of the log.

use std::time::Duration;

use clap::Args;
use entail::{Filter, Home, RecordedDecision, RecordedOpening, Records, last_records, records};
use entail_text::Shown;
use serde_json::value::RawValue;

use crate::args::filter::{FilterArgs, to_filter};
use crate::error::CliError;
use crate::output::{Cell, Style, Table, count, is_closed, out, print_json_line, time};
use crate::session::Session;

/// How often to check for new records.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The number of rows that are printed at a time. Their columns are aligned.
const ROWS: usize = 1_000;

#[derive(Args)]
pub struct TailArgs {
    /// How many decisions
    #[arg(short = 'n', long, default_value_t = 20)]
    pub lines: usize,
    /// Keep printing new records as they are written
    #[arg(short, long)]
    pub follow: bool,
    /// Also show the checks of `status` and the like, which reveal nothing
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub filter: FilterArgs,
}

#[derive(Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
}

pub fn tail(session: &Session, args: &TailArgs) -> Result<(), CliError> {
    let home = session.home()?;
    let filter = Filter {
        without_probes: !args.all,
        ..to_filter(session, &home, &args.filter)?
    };
    let mut found = last_records(&home, &session.principal, &filter, args.lines)?;
    if args.follow {
        found = found.following();
    }
    let mut printer = Printer::new(session);
    let mut is_noted = session.global.json;
    loop {
        printer.print(&mut found)?;
        let skipped = found.skipped_probes();
        if skipped > 0 && !is_noted {
            is_noted = true;
            out!(Style::Faint => format!(
                "{} by `status` and the like, which reveal nothing, are not shown; add --all to see them",
                count(skipped, "check")
            ));
        }
        if !args.follow || is_closed() {
            return Ok(());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

pub fn show(session: &Session, args: &ShowArgs) -> Result<(), CliError> {
    let home: Home = session.home()?;
    let filter = to_filter(session, &home, &args.filter)?;
    let mut found = records(&home, &session.principal, &filter)?;
    Printer::new(session).print(&mut found)
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
            as_json: session.global.json,
            table: Table::with_headings(headings),
        }
    }

    /// Prints all records that can be read now.
    fn print(&mut self, found: &mut Records) -> Result<(), CliError> {
        for record in found {
            let record = record?;
            if is_closed() {
                return Ok(());
            }
            if self.as_json {
                // A record that can be read is valid JSON.
                print_json_line(&serde_json::from_str::<&RawValue>(&record.shown_json()).ok());
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
            ("granted", _) => opening(record),
            // A policy chooses the code, and must not make it look like a grant.
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

/// What became of a granted secret.
fn opening(record: &RecordedDecision) -> Cell {
    match record.opening() {
        Some(RecordedOpening::Opened { .. }) => Cell::new("opened", Style::Good),
        Some(RecordedOpening::Failed { code, .. }) => {
            Cell::new(format!("not opened: {}", Shown::of(code)), Style::Bad)
        }
        Some(RecordedOpening::Unknown) | None => Cell::new("granted", Style::Warn),
    }
}

/// A text of a record. JSON shows all of a long one.
fn cell(text: &str) -> Cell {
    Shown::of(text).to_string().into()
}
