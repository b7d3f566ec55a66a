//! What to do about a refusal, as commands.
//!
//! Hints, not rules: they read the facts and the trail that the policy left, and
//! decide nothing.

use entail::Explanation;
use entail::policy::{Facts, Inheritance, Outcome, Scope};

use crate::failure::named;

/// The commands that would lift a refusal; none for a grant.
pub fn remedies(explanation: &Explanation) -> Vec<String> {
    let Outcome::Refused(refusal) = &explanation.decision.outcome else {
        return Vec::new();
    };
    let facts = &explanation.facts;
    let provider = &facts.request.provider;
    let scope = facts.chain.first().map_or("", |scope| scope.path.as_str());
    match refusal.code.as_str() {
        "no-credential" => vec![format!("entail credential set {scope} {provider}")],
        "not-opted-in" => opt_in(facts, |scope| !scope.credentials.is_empty()),
        "organization-credential-required" => opt_in(facts, |scope| {
            scope
                .credentials
                .iter()
                .any(|credential| credential.mandatory)
        }),
        "override-forbidden" => {
            let holder = facts
                .chain
                .iter()
                .skip(1)
                .find(|scope| scope.credentials.iter().any(|c| c.mandatory));
            let lift = holder.and_then(|holder| {
                let mandatory = holder
                    .credentials
                    .iter()
                    .find(|credential| credential.mandatory)?;
                let name = named(&mandatory.name);
                Some(format!(
                    "entail credential set {} {provider}{name} --keep-secret --no-mandatory",
                    holder.path
                ))
            });
            let own = facts
                .request
                .credential
                .is_some()
                .then(|| "ask without --name".to_owned());
            own.into_iter().chain(lift).collect()
        }
        code => {
            let Some((holder, name)) = first_with(explanation, code) else {
                return Vec::new();
            };
            let name = named(name);
            match code {
                "disabled" => vec![format!(
                    "entail credential enable {holder} {provider}{name}"
                )],
                "unreadable" | "expired" => {
                    vec![format!(
                        "entail credential rotate {holder} {provider}{name}"
                    )]
                }
                "model-required" => vec![
                    "name a model: --model MODEL".to_owned(),
                    format!("entail model {scope} {provider} MODEL"),
                ],
                "model-not-allowed" => vec![format!(
                    "entail credential set {holder} {provider}{name} --keep-secret --models PATTERN"
                )],
                _ => Vec::new(),
            }
        }
    }
}

/// The commands by which each isolated scope below the nearest one that `wanted`
/// fits would opt in.
fn opt_in(facts: &Facts, wanted: impl Fn(&Scope) -> bool) -> Vec<String> {
    let provider = &facts.request.provider;
    // Beyond what is reachable: the requesting scope has none that would do.
    let distance = facts.chain.iter().skip(1).position(wanted).unwrap_or(0);
    let isolated = |scope: &&Scope| scope.inheritance == Inheritance::Isolated;
    facts
        .chain
        .iter()
        .take(distance + 1)
        .filter(isolated)
        .map(|scope| format!("entail inherit {} {provider}", scope.path))
        .collect()
}

/// The holder and the name of the first candidate with that code.
fn first_with<'a>(explanation: &'a Explanation, code: &str) -> Option<(&'a str, &'a str)> {
    let finding = explanation
        .decision
        .trail
        .iter()
        .find(|finding| finding.code == code)?;
    explanation.facts.chain.iter().find_map(|scope| {
        let credential = scope
            .credentials
            .iter()
            .find(|c| c.id == finding.credential)?;
        Some((scope.path.as_str(), credential.name.as_str()))
    })
}
