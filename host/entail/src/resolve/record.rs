//! Step 5: records the decision in the decision log; after step 6, what became of the granted
//! secret.

use crate::audit::{
    self, Entry, Granted, Opening, OpeningResult, Purpose, Record, RecordedFacts, Written,
};
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
    /// Whether the caller learns anything of the secret, or only whether it opens.
    pub(crate) reveals: bool,
}

impl Entail {
    /// Records the decision and its facts. No record, no secret. Returns the record of a grant.
    pub(super) async fn record(
        &self,
        call: &Call<'_>,
        loaded: &LoadedFacts<'_>,
        decided: &Decided,
    ) -> Result<Option<Written>, Error> {
        if call.recording == Recording::WithCandidates
            && decided.is_refusal_without_candidates(&loaded.facts)
        {
            return Ok(None);
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
        let principal = self.log.id_of(call.principal).await?;
        let record = Record {
            at_ms: loaded.now_ms,
            purpose: call.purpose,
            principal,
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
            facts: RecordedFacts::new(&loaded.facts, principal),
        };
        let written = self.log.write(&Entry::Decision(&record)).await?;
        Ok(decided.grant().map(|_| written))
    }

    /// Records what became of the secret that the recorded decision granted. If it was opened,
    /// both records are on the disk before anything is revealed.
    pub(super) async fn record_opening<T>(
        &self,
        call: &Call<'_>,
        decision: &Written,
        opened: Result<T, Error>,
    ) -> Result<T, Error> {
        let result = match &opened {
            Ok(_) => OpeningResult::Opened,
            Err(error) => OpeningResult::Failed { code: error.code() },
        };
        let opening = Opening {
            of: decision.sequence,
            at_ms: self.documents.now_ms(),
            result,
        };
        let written = self.log.write(&Entry::Opening(opening)).await;
        // The first error says more, and nothing is revealed in any case.
        let opened = opened?;
        let written = written?;
        if call.reveals {
            self.log.sync(decision, &written).await?;
        }
        Ok(opened)
    }
}
