//! Explanations as text.

use std::collections::BTreeMap;

use entail_text::Shown;

use super::line::{Cell, Style, out};
use super::plural::count;
use super::table::Table;
use entail_api::decision::{Decision, FactsScope, Finding, Inheritance, Outcome};
use entail_api::explain::Explanation;

/// Prints the chain as a small tree with the finding for each candidate, then the outcome
/// and the remedies of a refusal.
pub fn print_explanation(explanation: &Explanation) {
    let facts = &explanation.facts;
    let scope = facts.chain.first().map_or("", |scope| scope.path.as_str());
    out!(Style::Heading => format_args!("{scope} {}", facts.request.provider));
    print_chain(&facts.chain, &explanation.decision);
    if explanation.hidden > 0 {
        let hidden = count(explanation.hidden, "credential");
        let codes = explanation.hidden_codes.join(", ");
        out!(Style::Faint => format_args!("and {hidden} of others, not shown ({codes})"));
    }
    if !explanation.decision.attributes.is_empty() {
        out!(Style::Faint => attributes(&explanation.decision.attributes));
    }
    match &explanation.decision.outcome {
        Outcome::Granted(grant) => {
            let holder = facts.chain.iter().find_map(|scope| {
                let credential = scope
                    .credentials
                    .iter()
                    .find(|c| c.id == grant.credential)?;
                Some(format!("{} of {}", credential.name, scope.path))
            });
            let model = grant
                .model
                .as_ref()
                .map_or(String::new(), |model| format!(", for {model}"));
            out!(Style::Good => "granted"; ": {}{model}", holder.unwrap_or_default());
        }
        Outcome::Refused(refusal) => {
            let (message, code) = (Shown::of(&refusal.message), &refusal.code);
            out!(Style::Bad => "refused"; ": {message} ({code})");
            for remedy in &explanation.remedies {
                out!(Style::Faint => "  try:"; " {remedy}");
            }
        }
    }
}

fn print_chain(chain: &[FactsScope], decision: &Decision) {
    let mut table = Table::default();
    let last = chain.len().saturating_sub(1);
    for (position, scope) in chain.iter().enumerate() {
        let is_last = position == last;
        let (branch, stem) = if is_last {
            ("└─", "   ")
        } else {
            ("├─", "│  ")
        };
        let link = if is_last { "" } else { link(scope.inheritance) };
        table.row([
            format!("{branch} {}", scope.path).into(),
            Cell::new(link, Style::Faint),
        ]);
        if scope.credentials.is_empty() {
            table.row([format!("{stem}· none").into()]);
        }
        for finding in &decision.trail {
            let mut credentials = scope.credentials.iter();
            let Some(credential) = credentials.find(|c| c.id == finding.credential) else {
                continue;
            };
            table.row([
                format!("{stem}• {}", credential.name).into(),
                Cell::new(&finding.code, style(decision, finding)),
                Cell::new(attributes(&finding.attributes), Style::Faint),
            ]);
        }
    }
    table.print();
}

fn link(inheritance: Inheritance) -> &'static str {
    match inheritance {
        Inheritance::Isolated => "isolated: does not inherit",
        Inheritance::Inherit => "inherits if it has no credential",
        Inheritance::FallBack => "inherits if it has no usable credential",
    }
}

/// The attributes that a policy added: `rule: robots, balanced-by: session`.
fn attributes(attributes: &BTreeMap<String, String>) -> String {
    let texts: Vec<String> = attributes
        .iter()
        .map(|(name, value)| format!("{}: {}", Shown::of(name), Shown::of(value)))
        .collect();
    texts.join(", ")
}

/// The style of a finding. A policy chooses the codes, so a code alone never looks like a
/// grant.
fn style(decision: &Decision, finding: &Finding) -> Style {
    let is_granted = match &decision.outcome {
        Outcome::Granted(grant) => grant.credential == finding.credential,
        Outcome::Refused(_) => false,
    };
    match finding.code.as_str() {
        "chosen" if is_granted => Style::Good,
        "alternate" | "shadowed" | "name-mismatch" => Style::Plain,
        "not-opted-in" | "not-shared" => Style::Warn,
        _ => Style::Bad,
    }
}
