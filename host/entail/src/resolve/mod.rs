//! From a request to a lease: authorize, facts, decide, enforce, record, unseal, lease.
//! Between the last two, what became of the secret is recorded as well.
//!
//! Each step is one function in its own file, with its own errors. Nothing is
//! revealed unless all of them succeed.

pub(crate) mod chain;
mod decide;
mod enforce;
pub(crate) mod environment;
pub(crate) mod explanation;
mod facts;
pub(crate) mod headers;
pub mod host_attributes;
pub(crate) mod lease;
mod record;
pub(crate) mod redaction;
pub(crate) mod request;
pub(crate) mod secret_cache;
pub(crate) mod unseal;

use std::sync::Arc;

use entail_store::{Revision, Secret};

use crate::audit::Purpose;
use crate::authorize::authorize;
use crate::entail::Entail;
use crate::error::Error;
use crate::policies::{Shadow, ShadowRequest};
use crate::principal::{Action, Principal};
use crate::resolve::enforce::enforce;
use crate::resolve::explanation::Explanation;
use crate::resolve::lease::Lease;
use crate::resolve::record::{Call, Recording};
use crate::resolve::redaction::{redact, redact_error};
use crate::resolve::request::Request;

/// How often a request is resolved again when its credential was rotated between deciding
/// and unsealing.
const MAX_ATTEMPTS: usize = 5;

/// The outcome of one pass through the seven steps.
struct Resolved {
    revision: Revision,
    /// The shadow policy, if there is one, and the request for it to decide.
    shadow: Option<(Arc<Shadow>, ShadowRequest)>,
    lease: Result<Lease, Error>,
}

impl Entail {
    /// Returns the credential that `request` is entitled to.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the policy refuses; otherwise the error of the step that
    /// failed. Nothing is revealed in either case.
    pub async fn resolve(&self, principal: &Principal, request: &Request) -> Result<Lease, Error> {
        self.resolve_call(Call {
            principal,
            request,
            purpose: Purpose::Lease,
            recording: Recording::Always,
            reveals: true,
        })
        .await
    }

    /// Resolves for a caller that asks for every provider and takes what it gets: a refusal
    /// is not recorded if the chain holds no credential for the provider. It could have
    /// revealed nothing, and a record for each provider would drown those of grants.
    ///
    /// # Errors
    ///
    /// As [`Entail::resolve`].
    pub async fn resolve_any(
        &self,
        principal: &Principal,
        request: &Request,
    ) -> Result<Lease, Error> {
        self.resolve_call(Call {
            principal,
            request,
            purpose: Purpose::Lease,
            recording: Recording::WithCandidates,
            reveals: true,
        })
        .await
    }

    /// Checks whether [`Entail::resolve`] would succeed: takes the same steps, and drops
    /// the secret. Records like [`Entail::resolve_any`].
    ///
    /// # Errors
    ///
    /// As [`Entail::resolve`].
    pub async fn probe(&self, principal: &Principal, request: &Request) -> Result<Lease, Error> {
        let mut lease = self
            .resolve_call(Call {
                principal,
                request,
                purpose: Purpose::Status,
                recording: Recording::WithCandidates,
                reveals: false,
            })
            .await?;
        lease.secrets.clear();
        Ok(lease)
    }

    /// Takes the same steps as [`Entail::resolve`], returns whether the secret fields are
    /// exactly these, and drops the secret.
    ///
    /// # Errors
    ///
    /// As [`Entail::resolve`].
    pub async fn compare_secret(
        &self,
        principal: &Principal,
        request: &Request,
        secrets: &[(String, Secret)],
    ) -> Result<(Lease, bool), Error> {
        let mut lease = self
            .resolve_call(Call {
                principal,
                request,
                purpose: Purpose::Status,
                recording: Recording::Always,
                // Whether it is a given one.
                reveals: true,
            })
            .await?;
        let is_given = |(name, secret): (&str, &Secret)| {
            let mut given = secrets.iter();
            given.any(|(given, value)| given == name && value.expose() == secret.expose())
        };
        let is_equal = lease.secrets.len() == secrets.len() && lease.secrets().all(is_given);
        lease.secrets.clear();
        Ok((lease, is_equal))
    }

    /// Explains what `request` gets, without opening a secret or recording anything. A
    /// refusal is an explanation too. It contains what `principal` may see; how many other
    /// findings there are is in [`Explanation::hidden`].
    ///
    /// # Errors
    ///
    /// As [`Entail::resolve`], except [`Error::Refused`].
    pub async fn explain(
        &self,
        principal: &Principal,
        request: &Request,
    ) -> Result<Explanation, Error> {
        authorize(principal, Action::View, &request.scope)?;
        let explained = self.explain_authorized(principal, request).await;
        explained.map_err(|error| redact_error(principal, error))
    }

    async fn explain_authorized(
        &self,
        principal: &Principal,
        request: &Request,
    ) -> Result<Explanation, Error> {
        let loaded = self.load_facts(principal, request).await?;
        let decided = self.decide(&loaded).await;
        let decided = enforce(&loaded.facts, decided);
        let seen = redact(principal, loaded.facts, decided.decision?);
        Ok(Explanation {
            revision: loaded.chain.revision,
            identity: self.own_recipient(),
            facts: seen.facts,
            decision: seen.decision,
            hidden: seen.hidden,
            policy: decided.policy,
        })
    }

    /// Resolves, and tells no more than the principal may see.
    async fn resolve_call(&self, call: Call<'_>) -> Result<Lease, Error> {
        let resolved = self.resolve_settled(&call).await;
        resolved.map_err(|error| redact_error(call.principal, error))
    }

    /// Resolves, asks the shadow policy, and tries again if the credential was rotated
    /// between reading the documents and reading the secret.
    async fn resolve_settled(&self, call: &Call<'_>) -> Result<Lease, Error> {
        for _ in 0..MAX_ATTEMPTS {
            let resolved = self.resolve_once(call).await?;
            if let Some((shadow, question)) = resolved.shadow {
                shadow.submit(
                    self.serving.loader(),
                    &self.documents.store,
                    &self.shadow_log,
                    question,
                );
            }
            match resolved.lease {
                Err(Error::Tampered(_))
                    if self.documents.store.revision().await? != resolved.revision => {}
                lease => return lease,
            }
        }
        Err(Error::Contended)
    }

    /// The seven steps.
    async fn resolve_once(&self, call: &Call<'_>) -> Result<Resolved, Error> {
        let (principal, request) = (call.principal, call.request);
        authorize(principal, Action::Resolve, &request.scope)?;
        let loaded = self.load_facts(principal, request).await?;
        let decided = self.decide(&loaded).await;
        let decided = enforce(&loaded.facts, decided);
        let recorded = self.record(call, &loaded, &decided).await?;
        let shadow = decided.shadow_question(&loaded.facts);
        let facts = Arc::clone(&loaded.facts);
        let seen = decided
            .decision
            .map(|decision| redact(principal, facts, decision).decision);
        let unsealed = self.unseal(&request.scope, &loaded, seen).await;
        let unsealed = match &recorded {
            Some(decision) => self.record_opening(call, decision, unsealed).await,
            None => unsealed,
        };
        let lease = unsealed.map(|unsealed| Lease::new(&loaded, decided.policy, unsealed));
        Ok(Resolved {
            revision: loaded.chain.revision,
            shadow,
            lease,
        })
    }
}
