//! Why a request gets what it gets, and what would change that.

use std::sync::Arc;

use entail_policy::{
    CredentialFacts, Decision, Facts, Inheritance, Outcome, PolicyDigest, Refusal, ScopeFacts,
};
use entail_store::Revision;

use crate::credential_ref::CredentialRef;
use crate::error::hint::Hint;
use crate::resolve::redaction::HiddenFindings;
use entail_decision::guard;
use entail_decision::name::{ProviderId, ScopePath};

/// The facts and the decision of a request.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The revision of the store that the facts are from.
    pub revision: Revision,
    /// What the policy saw, as far as the principal may see it.
    pub facts: Arc<Facts>,
    /// What it decided, as far as the principal may see it. The guard allowed it.
    pub decision: Decision,
    /// The findings of the decision that the principal may not see.
    pub hidden: HiddenFindings,
    /// The policy that decided.
    pub policy: PolicyDigest,
    /// The public key of this machine's identity; `None` if there is none, or it is locked.
    pub identity: Option<String>,
}

impl Explanation {
    /// What would lift the refusal; empty for a grant, or if nothing in particular would.
    ///
    /// Hints, not rules: they come from the facts and the trail, and decide nothing.
    pub fn hints(&self) -> Vec<Hint> {
        match &self.decision.outcome {
            Outcome::Granted(_) => Vec::new(),
            // Names in facts are valid; facts from elsewhere get no hints.
            Outcome::Refused(refusal) => self.hints_of(refusal).unwrap_or_default(),
        }
    }

    fn hints_of(&self, refusal: &Refusal) -> Option<Vec<Hint>> {
        let facts = &*self.facts;
        let provider: ProviderId = facts.request.provider.parse().ok()?;
        let scope: ScopePath = facts.chain.first()?.path.parse().ok()?;
        match refusal.code.as_str() {
            "no-credential" => Some(vec![Hint::SetCredential { scope, provider }]),
            "not-opted-in" => opt_in(facts, &provider, |scope| !scope.credentials.is_empty()),
            "organization-credential-required" => {
                opt_in(facts, &provider, |scope| mandatory(scope).is_some())
            }
            "override-forbidden" => {
                let mut ancestors = facts.chain.iter().skip(1);
                let lift = ancestors.find_map(|holder| Some((holder, mandatory(holder)?)));
                let lift = lift.and_then(|(holder, credential)| {
                    let credential = reference(&holder.path, &provider, credential)?;
                    Some(Hint::LiftMandatory { credential })
                });
                let is_named = facts.request.credential.is_some();
                let omit = is_named.then_some(Hint::OmitCredentialName);
                Some(omit.into_iter().chain(lift).collect())
            }
            code => self.hints_of_candidate(code, scope, provider),
        }
    }

    /// The hints of a refusal with the code of its first candidate.
    fn hints_of_candidate(
        &self,
        code: &str,
        scope: ScopePath,
        provider: ProviderId,
    ) -> Option<Vec<Hint>> {
        let mut trail = self.decision.trail.iter();
        let id = &trail.find(|finding| finding.code == code)?.credential;
        let mut chain = self.facts.chain.iter();
        let (holder, candidate) = chain.find_map(|scope| {
            let credential = scope.credentials.iter().find(|c| c.id == *id)?;
            Some((&scope.path, credential))
        })?;
        // A policy may use the code for reasons that no change of the credential lifts.
        if !guard::is_unusable_for(&self.facts, candidate, code) {
            return None;
        }
        let credential = reference(holder, &provider, candidate)?;
        Some(match code {
            "disabled" => vec![Hint::EnableCredential { credential }],
            "expired" => vec![Hint::RotateCredential { credential }],
            // It is sealed to others; a new secret would be, too.
            "unreadable" => vec![Hint::AddOwnRecipient {
                recipient: self.identity.clone()?,
                organization: Some(credential.scope.organization().to_string()),
            }],
            "model-required" => vec![Hint::NameModel, Hint::SetDefaultModel { scope, provider }],
            "model-not-allowed" => vec![Hint::AllowModels { credential }],
            _ => Vec::new(),
        })
    }
}

fn mandatory(scope: &ScopeFacts) -> Option<&CredentialFacts> {
    scope
        .credentials
        .iter()
        .find(|credential| credential.mandatory)
}

fn reference(
    holder: &str,
    provider: &ProviderId,
    credential: &CredentialFacts,
) -> Option<CredentialRef> {
    Some(CredentialRef {
        scope: holder.parse().ok()?,
        provider: provider.clone(),
        name: credential.name.parse().ok()?,
    })
}

/// Opting in of each isolated scope below the nearest one that is `wanted`.
fn opt_in(
    facts: &Facts,
    provider: &ProviderId,
    wanted: impl Fn(&ScopeFacts) -> bool,
) -> Option<Vec<Hint>> {
    // The requesting scope itself is reachable, so it holds none that would do.
    let distance = facts.chain.iter().skip(1).position(wanted).unwrap_or(0);
    facts
        .chain
        .iter()
        .take(distance + 1)
        .filter(|scope| scope.inheritance == Inheritance::Isolated)
        .map(|scope| {
            Some(Hint::OptIn {
                scope: scope.path.parse().ok()?,
                provider: provider.clone(),
            })
        })
        .collect()
}
