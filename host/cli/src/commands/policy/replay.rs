//! `policy replay`: decides the requests of the decision log again.

use std::process::ExitCode;

use clap::Args;
use entail::policy::{Compiler, Engine, EngineConfig, Policy, Sandbox};
use entail::{Home, Replay, replay as replay_log};

use super::candidate::CandidateArgs;
use crate::args::filter::FilterArgs;
use crate::args::filter::to_filter;
use crate::commands::dry_run::{comparison_exit, policy_reference};
use crate::error::CliError;
use crate::output::access::{
    MAX_ROWS, decision_cell, difference, difference_cell, difference_counts, effective_decision,
    print_omitted, print_summary,
};
use crate::output::{Cell, Style, Table, count, err, out, print_json};
use crate::session::Session;
use entail_api::access::Difference;
use entail_api::policy_comparison::{RecordPlace, ReplayReport, ReplayedChange};

#[derive(Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    candidate: CandidateArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Also show requests that are refused before and after, for another reason
    #[arg(long)]
    reason_changed: bool,
}

/// Decides them. The exit status tells whether a request is widened.
///
/// # Errors
///
/// Fails if the policy is not admitted, or the log cannot be read.
pub fn replay(session: &Session, args: &ReplayArgs) -> Result<ExitCode, CliError> {
    let home = session.home()?;
    let filter = to_filter(session, &home, &args.filter)?;
    let policy = args.candidate.admit(&engine(&home))?;
    let replay = replay_log(&home, &session.principal, &policy, &filter)?;
    let report = report(&policy, replay, args.reason_changed);
    if report.counts.all() == 0 {
        err!(Style::Warn => "note:"; " no record of the decision log matches, so nothing was decided again"
        );
    }
    if session.global.json {
        print_json(&report);
    } else {
        print(&report, args.reason_changed);
    }
    Ok(comparison_exit(&report.counts))
}

/// Creates an engine without opening the store.
fn engine(home: &Home) -> Engine {
    Engine::new(EngineConfig {
        code_cache: Some(home.code_cache()),
        compiler: Compiler::Sandboxed(Sandbox::this_program()),
        ..EngineConfig::default()
    })
}

fn report(policy: &Policy, replay: Replay, with_reason_changed: bool) -> ReplayReport {
    let changes = replay.changes.into_iter().map(|change| ReplayedChange {
        scope: change.scope,
        provider: change.provider,
        difference: difference(change.difference),
        from: effective_decision(&change.from),
        to: effective_decision(&change.to),
        times: change.times,
        example: RecordPlace {
            at_ms: change.example.at_ms,
            writer: change.example.writer,
            sequence: change.example.sequence,
        },
    });
    let is_listed = |change: &ReplayedChange| {
        with_reason_changed || change.difference != Difference::ReasonChanged
    };
    ReplayReport {
        policy: policy_reference(policy),
        counts: difference_counts(&replay.counts),
        changes: changes.filter(is_listed).collect(),
        ungrouped: replay.ungrouped,
        unreadable: replay.unreadable,
    }
}

fn print(report: &ReplayReport, with_reason_changed: bool) {
    if !report.changes.is_empty() {
        let mut table = Table::with_headings([
            "SCOPE", "PROVIDER", "RECORDED", "THEN", "CHANGE", "RECORDS", "EXAMPLE",
        ]);
        for change in report.changes.iter().take(MAX_ROWS) {
            let example = &change.example;
            table.row([
                change.scope.as_str().into(),
                change.provider.as_str().into(),
                decision_cell(&change.from),
                decision_cell(&change.to),
                difference_cell(change.difference),
                change.times.to_string().into(),
                Cell::new(
                    format!("{} of {}", example.sequence, example.writer),
                    Style::Faint,
                ),
            ]);
        }
        table.print();
    }
    print_omitted(report.changes.len(), "groups of records");
    let records = count(report.counts.all(), "record");
    print_summary(&records, &report.counts);
    if !with_reason_changed && report.counts.reason_changed > 0 {
        out!(Style::Faint => "requests that are refused for another reason are not listed; list them with --reason-changed");
    }
    if report.ungrouped > 0 {
        out!(
            "{} more records changed, in too many ways to list",
            report.ungrouped
        );
    }
    if report.unreadable > 0 {
        let lines = count(report.unreadable, "line");
        err!(Style::Warn => "note:"; " {lines} of the decision log cannot be read; run: entail audit verify");
    }
}
