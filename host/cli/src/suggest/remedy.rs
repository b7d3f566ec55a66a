//! Commands that would lift a refusal. They are hints that are made of the facts and of the
//! policy's findings, not rules.

use std::fmt::Write as _;

use entail::policy::{
    CredentialFacts as Credential, Facts, Inheritance, Outcome, ScopeFacts as Scope,
};
use entail::{Explanation, Request, guard};

use super::command_line::{name_option, shell_word};

/// The commands that would lift a refusal; empty for a grant.
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
                let name = name_option(&mandatory.name);
                Some(format!(
                    "entail credential set {} {provider}{name} --keep-secret --no-mandatory",
                    holder.path
                ))
            });
            let own = facts
                .request
                .credential
                .is_some()
                .then(|| "leave out --name".to_owned());
            own.into_iter().chain(lift).collect()
        }
        code => {
            let Some((holder, credential)) = first_with(explanation, code) else {
                return Vec::new();
            };
            // A policy may use the code for another reason, which no command lifts.
            if !guard::is_unusable_for(facts, credential, code) {
                return Vec::new();
            }
            let name = name_option(&credential.name);
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

/// The commands by which each isolated scope below the nearest `wanted` scope would opt in.
fn opt_in(facts: &Facts, wanted: impl Fn(&Scope) -> bool) -> Vec<String> {
    let provider = &facts.request.provider;
    // The requesting scope itself has no such credential.
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

/// The first candidate with a code, and the scope that holds it.
fn first_with<'a>(explanation: &'a Explanation, code: &str) -> Option<(&'a str, &'a Credential)> {
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
        Some((scope.path.as_str(), credential))
    })
}

/// The command that explains a request, with all of its options.
pub fn explain(request: &Request) -> String {
    let mut command = format!("entail explain {} {}", request.scope, request.provider);
    let mut option = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = write!(command, " {name} {}", shell_word(value));
    };
    if let Some(model) = &request.model {
        option("--model", model.as_str());
    }
    if let Some(name) = &request.credential {
        option("--name", name.as_str());
    }
    for (name, value) in &request.attributes {
        option("--attribute", &format!("{name}={value}"));
    }
    command
}
