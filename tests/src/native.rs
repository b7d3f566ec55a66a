//! The default policy called as a Rust function: the code from which the component is
//! built, with conversions of its types.

use std::collections::BTreeMap;

use entail_default_policy::{resolver, rules};
use entail_policy::{
    Attributes, CredentialFacts, Decision, Facts, Finding, Grant, Inheritance, Outcome, Refusal,
    ScopeFacts, Sharing,
};

/// Calls the default policy.
///
/// # Errors
///
/// The error of the policy: the name of its case, a colon, and its text.
pub fn decide(facts: &Facts) -> Result<Decision, String> {
    let request = resolver::Request {
        provider: facts.request.provider.clone(),
        model: facts.request.model.clone(),
        credential: facts.request.credential.clone(),
        principal: facts.request.principal.clone(),
        now_ms: facts.request.now_ms,
        settings: "{}".to_owned(),
        attributes: pairs(&facts.request.attributes),
    };
    let chain: Vec<resolver::Scope> = facts.chain.iter().map(scope).collect();
    match rules::decide(&request, &chain) {
        Ok(native) => Ok(decision(native)),
        Err(resolver::Error::InvalidFacts(text)) => Err(format!("invalid-facts: {text}")),
        Err(resolver::Error::Other(text)) => Err(format!("other: {text}")),
    }
}

fn scope(scope: &ScopeFacts) -> resolver::Scope {
    resolver::Scope {
        path: scope.path.clone(),
        inheritance: match scope.inheritance {
            Inheritance::Isolated => resolver::Inheritance::Isolated,
            Inheritance::Inherit => resolver::Inheritance::Inherit,
            Inheritance::FallBack => resolver::Inheritance::FallBack,
        },
        default_model: scope.default_model.clone(),
        credentials: scope.credentials.iter().map(credential).collect(),
        attributes: pairs(&scope.attributes),
    }
}

fn credential(credential: &CredentialFacts) -> resolver::Credential {
    resolver::Credential {
        id: credential.id.clone(),
        name: credential.name.clone(),
        enabled: credential.enabled,
        readable: credential.readable,
        expires_at_ms: credential.expires_at_ms,
        models: credential.models.clone(),
        sharing: match &credential.sharing {
            Sharing::All => resolver::Sharing::All,
            Sharing::None => resolver::Sharing::None,
            Sharing::Paths(patterns) => resolver::Sharing::Paths(patterns.clone()),
        },
        mandatory: credential.mandatory,
        priority: credential.priority,
        attributes: pairs(&credential.attributes),
    }
}

fn decision(decision: resolver::Decision) -> Decision {
    Decision {
        outcome: match decision.outcome {
            resolver::Outcome::Granted(grant) => Outcome::Granted(Grant {
                credential: grant.credential,
                alternates: grant.alternates,
                model: grant.model,
            }),
            resolver::Outcome::Refused(refusal) => Outcome::Refused(Refusal {
                code: refusal.code.parse().expect("a code of the contract"),
                message: refusal.message.into(),
            }),
        },
        trail: decision
            .trail
            .into_iter()
            .map(|finding| Finding {
                credential: finding.credential,
                code: finding.code.parse().expect("a code of the contract"),
                attributes: attributes(finding.attributes),
            })
            .collect(),
        attributes: attributes(decision.attributes),
    }
}

fn attributes(pairs: Vec<(String, String)>) -> Attributes {
    pairs
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn pairs(attributes: &BTreeMap<String, String>) -> Vec<(String, String)> {
    attributes
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
