//! Step 3: asks the active policy for a decision.

use std::sync::Arc;

use entail_policy::{Decision, Facts, Grant, Outcome, PolicyDigest};
use entail_store::Document;

use crate::compare::decision::EffectiveDecision;
use crate::documents::policy::ActivePolicy;
use crate::entail::Entail;
use crate::error::Error;
use crate::policies::{Serving, Shadow, ShadowRequest};
use crate::resolve::facts::LoadedFacts;

/// What the policy decided.
pub(crate) struct Decided {
    /// The policy that decided; `None` if it could not be loaded.
    pub(crate) serving: Option<Arc<Serving>>,
    /// The component that decided, or should have.
    pub(crate) policy: PolicyDigest,
    pub(crate) decision: Result<Decision, Error>,
}

impl Decided {
    /// The grant, if the decision is one.
    pub(crate) fn grant(&self) -> Option<&Grant> {
        match &self.decision {
            Ok(Decision {
                outcome: Outcome::Granted(grant),
                ..
            }) => Some(grant),
            _ => None,
        }
    }

    /// Whether it refuses a request for which the chain holds no credential at all.
    pub(crate) fn is_refusal_without_candidates(&self, facts: &Facts) -> bool {
        let is_refused = matches!(
            &self.decision,
            Ok(Decision {
                outcome: Outcome::Refused(_),
                ..
            })
        );
        let mut scopes = facts.chain.iter();
        is_refused && scopes.all(|scope| scope.credentials.is_empty())
    }

    /// The shadow policy, if there is one, and the request for it to decide.
    pub(crate) fn shadow_question(
        &self,
        facts: &Arc<Facts>,
    ) -> Option<(Arc<Shadow>, ShadowRequest)> {
        let shadow = self.serving.as_ref()?.shadow.as_ref()?;
        let question = ShadowRequest {
            facts: Arc::clone(facts),
            policy: self.policy,
            decision: EffectiveDecision::of_guarded(facts, &self.decision),
        };
        Some((Arc::clone(shadow), question))
    }
}

impl Entail {
    /// Runs the active policy in a fresh instance, on the facts alone.
    pub(super) async fn decide(&self, loaded: &LoadedFacts<'_>) -> Decided {
        let document = loaded.active_policy.as_ref();
        let organization = loaded.chain.organization();
        match self
            .serving
            .serving(&self.documents.store, organization.zip(document))
            .await
        {
            Ok(serving) => {
                let facts = Arc::clone(&loaded.facts);
                let decision = serving.policy.decide_async(facts).await;
                Decided {
                    policy: serving.policy.digest(),
                    serving: Some(serving),
                    decision: decision.map_err(Error::from),
                }
            }
            Err(error) => Decided {
                policy: self.component_named_by(document),
                serving: None,
                decision: Err(error),
            },
        }
    }

    /// The component that the document names, whether or not it can be loaded.
    fn component_named_by(&self, document: Option<&Arc<Document>>) -> PolicyDigest {
        document
            .and_then(|document| document.body::<ActivePolicy>().ok()?.current.component)
            .unwrap_or_else(|| self.serving.built_in_digest())
    }
}
