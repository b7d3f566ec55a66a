//! The built-in policy as Rust functions: the code from which its component is built, with
//! conversions of its types.

use std::collections::BTreeMap;

use entail_decision::{
    Attributes, CredentialFacts, Decision, Facts, Finding, Grant, Inheritance, InvalidCode,
    Outcome, Refusal, ScopeFacts, Sharing,
};
use entail_default_policy::{resolver, rules};

/// The digest of the built-in policy's component.
pub const BUILT_IN_POLICY: &str =
    "sha256:5d5fe68914c53ec6daae937fa58788c1b4617107df11f216bf531c68417bef69";

/// Decides by the rules of the built-in policy.
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
        Ok(decided) => decision(decided),
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

fn decision(decision: resolver::Decision) -> Result<Decision, String> {
    let code = |text: &str| text.parse().map_err(|error: InvalidCode| error.to_string());
    let trail = decision.trail.into_iter().map(|finding| {
        Ok(Finding {
            credential: finding.credential,
            code: code(&finding.code)?,
            attributes: attributes(finding.attributes),
        })
    });
    Ok(Decision {
        trail: trail.collect::<Result<_, String>>()?,
        outcome: match decision.outcome {
            resolver::Outcome::Granted(grant) => Outcome::Granted(Grant {
                credential: grant.credential,
                alternates: grant.alternates,
                model: grant.model,
            }),
            resolver::Outcome::Refused(refusal) => Outcome::Refused(Refusal {
                code: code(&refusal.code)?,
                message: refusal.message.into(),
            }),
        },
        attributes: attributes(decision.attributes),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest_of;

    #[test]
    fn the_digest_is_that_of_the_committed_component() {
        let component = include_bytes!("../../../guest/default/default-policy.wasm");
        assert_eq!(digest_of(component), BUILT_IN_POLICY);
    }
}
