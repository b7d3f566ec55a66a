//! What every scope gets, as a table of scopes and providers.

use std::collections::BTreeSet;

use super::line::{Cell, Style, out};
use super::table::Table;
use entail_api::status::{ProviderStatus, Status};

/// The policy's codes for refusals that are normal: nobody set a credential for the scope.
pub const EXPECTED_REFUSALS: [&str; 2] = ["no-credential", "not-opted-in"];

/// Prints a column for each provider that a scope holds a credential for.
pub fn print_matrix(status: &Status) {
    let used: BTreeSet<&str> = status
        .status
        .iter()
        .flat_map(|scope| &scope.providers)
        .filter(|provider| !is_empty(provider))
        .map(|provider| provider.provider.as_str())
        .collect();
    if used.is_empty() {
        out!("no scope has a credential for any provider");
        return;
    }
    let is_used = |provider: &&ProviderStatus| used.contains(provider.provider.as_str());
    let first = status.status.first().into_iter();
    let columns = first.flat_map(|scope| &scope.providers).filter(is_used);
    let headings = columns.map(|provider| provider.provider.as_str());
    let mut table = Table::with_headings(std::iter::once("SCOPE").chain(headings));
    for scope in &status.status {
        let cells = scope
            .providers
            .iter()
            .filter(is_used)
            .map(|provider| cell(&scope.scope, provider));
        table.row(std::iter::once(scope.scope.as_str().into()).chain(cells));
    }
    table.print();
}

/// Whether the scope and its ancestors hold nothing for the provider, and the policy refuses
/// for that reason only.
fn is_empty(provider: &ProviderStatus) -> bool {
    provider.has_credential == Some(false) && provider.refusal.as_deref() == Some("no-credential")
}

fn cell(scope: &str, provider: &ProviderStatus) -> Cell {
    if is_empty(provider) {
        return Cell::new("–", Style::Faint);
    }
    match (&provider.holder, &provider.refusal, &provider.code) {
        (Some(holder), _, _) if holder == scope => Cell::new("own", Style::Good),
        (Some(holder), _, _) => Cell::new(format!("from {holder}"), Style::Good),
        (None, Some(code), _) if EXPECTED_REFUSALS.contains(&code.as_str()) => {
            Cell::new(code, Style::Warn)
        }
        // A policy chooses the code, and must not make it look like a grant.
        (None, Some(code), _) => Cell::new(format!("refused: {code}"), Style::Bad),
        (None, None, code) => Cell::new(fault(code.as_deref().unwrap_or_default()), Style::Bad),
    }
}

/// A kind of error in words that fit a cell.
fn fault(code: &str) -> String {
    match code {
        "sealed" => "cannot open".to_owned(),
        "tampered" => "tampered".to_owned(),
        "policy-failed" => "policy failed".to_owned(),
        "guard-violated" => "policy overruled".to_owned(),
        other => format!("error: {other}"),
    }
}
