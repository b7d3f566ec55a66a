//! Filters of the decision log.

use std::collections::BTreeSet;

use clap::Args;
use entail::{
    Filter, Home, OutcomeFilter, ProviderId, RecordedOpening, ScopePath, quoted, records,
};
use entail_text::Shown;

use super::time::past;
use crate::error::CliError;
use crate::session::Session;

/// Selects records of the decision log.
#[derive(Args)]
pub struct FilterArgs {
    /// Only this scope and those below it
    #[arg(long)]
    pub scope: Option<ScopePath>,
    /// Only this provider
    #[arg(long)]
    pub provider: Option<ProviderId>,
    /// Only this principal, or the one with this id in the log
    #[arg(long)]
    pub principal: Option<String>,
    /// Only this outcome: granted, and of those opened, not-opened or unknown (not recorded);
    /// refused; failed; or the code of a refusal, or of the error why a secret was not opened
    #[arg(long)]
    pub outcome: Option<String>,
    /// Only from this time on: 2h, 7d (ago), 2027-01-31 (the start of that day in UTC),
    /// 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only until this time
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
}

/// Makes a filter of the arguments.
///
/// # Errors
///
/// Fails if a time or the outcome is not valid, or the log cannot be read.
pub fn to_filter(session: &Session, home: &Home, args: &FilterArgs) -> Result<Filter, CliError> {
    let since_ms = args.since.as_deref().map(past).transpose()?;
    let until_ms = args.until.as_deref().map(past).transpose()?;
    if let (Some(since), Some(until)) = (since_ms, until_ms)
        && since > until
    {
        return Err(CliError::invalid(
            "--since is after --until, so nothing lies between them",
        ));
    }
    let outcome = args.outcome.as_deref();
    Ok(Filter {
        scope: args.scope.clone(),
        provider: args.provider.clone(),
        principal: args.principal.clone(),
        outcome: outcome
            .map(|text| to_outcome(session, home, text))
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

/// Parses an outcome. A code that neither the built-in policy nor the log contains is a
/// typing error.
fn to_outcome(session: &Session, home: &Home, text: &str) -> Result<OutcomeFilter, CliError> {
    let outcome = OutcomeFilter::from(text);
    if !matches!(outcome, OutcomeFilter::Code(_)) || CODES.contains(&text) {
        return Ok(outcome);
    }
    let mut known: BTreeSet<String> = CODES.map(str::to_owned).into();
    for record in records(home, &session.principal, &Filter::default())? {
        let record = record?;
        let code = match (record.refusal(), record.opening()) {
            (Some(code), _) => code,
            (None, Some(RecordedOpening::Failed { code, .. })) => code,
            _ => continue,
        };
        if code == text {
            return Ok(outcome);
        }
        known.insert(Shown::of(code).to_string());
    }
    let known: Vec<String> = known.into_iter().collect();
    Err(CliError::invalid(format!(
        "{} is not an outcome; give granted, opened, not-opened, unknown, refused, failed, or a code: {}",
        quoted(text),
        known.join(", ")
    )))
}
