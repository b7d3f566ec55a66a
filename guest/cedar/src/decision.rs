//! Applies the default rules to the credentials that the organization's rules allow.

use std::collections::BTreeMap;

use entail_default_policy::resolver::{
    Attribute, Decision, Error, Finding, Outcome, Refusal, Request, Scope,
};
use entail_default_policy::{facts, rules};

use crate::rules::{Objection, Rules};

/// The code of a credential that the rules do not allow.
const FORBIDDEN: &str = "forbidden-by-rules";

/// The code of the default rules for a disabled credential. A credential that the rules do
/// not allow is passed to them as disabled.
const DISABLED: &str = "disabled";

/// The codes of the default rules for candidates that are not visible, regardless of their
/// state.
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

/// Returns the candidate whose state is the reason of a refusal: the first visible one.
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
