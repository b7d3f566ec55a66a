//! Step 5: records the decision in the decision log.

use crate::audit::{self, Granted, Purpose, Record};
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::Principal;
use crate::resolve::decide::Decided;
use crate::resolve::facts::LoadedFacts;
use crate::resolve::request::Request;

/// Which decisions are recorded. One that reveals a secret always is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recording {
    Always,
    /// Not refusals for which the chain holds no credential at all.
    WithCandidates,
}

/// A request, and how it is recorded.
pub(crate) struct Call<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) request: &'a Request,
    pub(crate) purpose: Purpose,
    pub(crate) recording: Recording,
}

impl Entail {
    /// Records the decision and its facts. No record, no secret.
    pub(super) fn record(
        &self,
        call: &Call<'_>,
        loaded: &LoadedFacts<'_>,
        decided: &Decided,
    ) -> Result<(), Error> {
        if call.recording == Recording::WithCandidates
            && decided.is_refusal_without_candidates(&loaded.facts)
        {
            return Ok(());
        }
        let granted = decided
            .grant()
            .and_then(|grant| loaded.chain.credential(&grant.credential));
        let outcome = match &decided.decision {
            Ok(decision) => audit::Outcome::Decided { decision },
            Err(error) => audit::Outcome::Failed {
                failure: error.to_string(),
            },
        };
        self.log.write(&Record {
            at_ms: loaded.now_ms,
            purpose: call.purpose,
            principal: &call.principal.to_string(),
            scope: call.request.scope.as_str(),
            provider: call.request.provider.as_str(),
            revision: loaded.chain.revision,
            policy: decided.policy,
            bound_at: decided
                .serving
                .as_ref()
                .and_then(|serving| serving.bound_at),
            outcome,
            granted: granted.map(|(holder, credential)| Granted {
                holder: holder.as_str(),
                credential: credential.name.as_str(),
                version: credential.version.number,
            }),
            facts: &loaded.facts,
        })
    }
}
