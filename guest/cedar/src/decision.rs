//! The default rules over what an organization's rules allow.

use std::collections::BTreeMap;

use entail_default_policy::resolver::{
    Attribute, Decision, Error, Finding, Outcome, Refusal, Request, Scope,
};
use entail_default_policy::{facts, rules};

use crate::rules::{Objection, Rules};

/// What becomes of a credential that the rules do not allow.
const FORBIDDEN: &str = "forbidden-by-rules";

/// What the default rules say of a credential that is switched off, which is how
/// they are shown one that is not allowed.
const DISABLED: &str = "disabled";

/// What the default rules say of candidates that cannot be found, whatever state
/// they are in.
const INVISIBLE: [&str; 4] = [
    "not-opted-in",
    "not-shared",
    "override-forbidden",
    "name-mismatch",
];

/// Decides one request.
pub fn decide(request: &Request, mut chain: Vec<Scope>, by: &Rules) -> Result<Decision, Error> {
    facts::check(&chain)?;
    let objections = by
        .objections(request, &chain)
        .map_err(|error| Error::Other(error.to_string()))?;
    mask(&mut chain, &objections);
    let mut decision = rules::decide(request, &chain)?;
    for finding in &mut decision.trail {
        relabel(finding, &objections);
    }
    if let Outcome::Refused(refusal) = &mut decision.outcome
        && refusal.code == DISABLED
        && let Some(first) = first_of_the_search(&decision.trail)
        && objections.contains_key(&first.credential)
    {
        *refusal = forbidden(request, &chain, &first.credential);
    }
    Ok(decision)
}

fn mask(chain: &mut [Scope], objections: &BTreeMap<String, Objection>) {
    for credential in chain.iter_mut().flat_map(|scope| &mut scope.credentials) {
        if objections.contains_key(&credential.id) {
            credential.enabled = false;
        }
    }
}

fn relabel(finding: &mut Finding, objections: &BTreeMap<String, Objection>) {
    if finding.code != DISABLED {
        return;
    }
    if let Some(objection) = objections.get(&finding.credential) {
        FORBIDDEN.clone_into(&mut finding.code);
        finding.attributes.extend(reason(objection));
    }
}

fn reason(objection: &Objection) -> Option<Attribute> {
    match objection {
        Objection::NotPermitted => None,
        Objection::Forbidden(rules) => Some(("rules".to_owned(), rules.join(", "))),
        Objection::Failed(errors) => Some(("error".to_owned(), errors.join("; "))),
    }
}

/// The candidate whose state the default rules give as the reason of a refusal:
/// the search begins with the first one that it can find.
fn first_of_the_search(trail: &[Finding]) -> Option<&Finding> {
    trail
        .iter()
        .find(|finding| !INVISIBLE.contains(&finding.code.as_str()))
}

fn forbidden(request: &Request, chain: &[Scope], id: &str) -> Refusal {
    let provider = &request.provider;
    let named = chain.iter().find_map(|scope| {
        let credential = scope.credentials.iter().find(|held| held.id == id)?;
        Some((&credential.name, &scope.path))
    });
    let message = match named {
        Some((name, holder)) => {
            format!("the rules do not allow the credential {name} of {holder} for {provider}")
        }
        None => format!("the rules do not allow the credential for {provider}"),
    };
    Refusal {
        code: FORBIDDEN.to_owned(),
        message,
    }
}
