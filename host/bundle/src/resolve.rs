//! Resolves a request on a bundle: facts, decide, guard, and which secret to open.

use std::collections::BTreeMap;

use entail_decision::name::{
    AttributeName, AttributeValue, CredentialName, ModelId, ProviderId, ScopePath,
};
use entail_decision::provider::Provider;
use entail_decision::{Decision, Facts, Outcome, RequestFacts, ScopeFacts, guard};

use crate::built_in::{BUILT_IN_POLICY, decide};
use crate::bundle::Bundle;
use crate::error::{BundleError, malformed};
use crate::manifest::{Manifest, SealedSecret};

/// How many names a message lists.
const MAX_NAMED: usize = 5;

/// A request for a credential.
#[derive(Clone, Debug)]
pub struct Request {
    /// The requesting scope.
    pub scope: ScopePath,
    /// The provider.
    pub provider: ProviderId,
    /// The model, if the caller names one.
    pub model: Option<ModelId>,
    /// The name of the credential; `None` accepts any.
    pub credential: Option<CredentialName>,
    /// Who makes the request; `None` means the code of the scope.
    pub principal: Option<String>,
    /// What else the caller states. Nothing checks it.
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// The time, in milliseconds since 1970-01-01T00:00:00Z.
    pub now_ms: u64,
    /// The age recipients of the identities that are here. Without any, every secret counts as
    /// readable, and opening it fails later.
    pub recipients: Vec<String>,
}

/// The decision of a request.
#[derive(Clone, Debug)]
pub struct Resolution<'a> {
    /// What the policy saw.
    pub facts: Facts,
    /// What it decided, and the guard allowed.
    pub decision: Decision,
    /// The granted credential; `None` if nothing is granted.
    pub lease: Option<SealedLease<'a>>,
}

/// A granted credential with its secret, which is sealed.
#[derive(Clone, Debug)]
pub struct SealedLease<'a> {
    /// The name of the credential.
    pub name: String,
    /// The effective model.
    pub model: Option<String>,
    /// When the credential expires, in milliseconds since 1970-01-01T00:00:00Z.
    pub expires_at_ms: Option<u64>,
    /// The provider.
    pub provider: &'a Provider,
    /// What is known of the secret, and what its frame must say.
    pub secret: &'a SealedSecret,
    /// The age file.
    pub sealed: Vec<u8>,
}

impl Bundle {
    /// Decides a request with the built-in rules and the guard.
    ///
    /// # Errors
    ///
    /// [`BundleError::UnknownScope`], [`BundleError::UnknownProvider`],
    /// [`BundleError::OtherPolicy`], [`BundleError::PolicyFailed`],
    /// [`BundleError::GuardViolated`], [`BundleError::ChangedBlob`].
    pub fn resolve(&self, request: &Request) -> Result<Resolution<'_>, BundleError> {
        let policy = &self.manifest.policy.digest;
        if policy != BUILT_IN_POLICY {
            let shown = entail_text::sanitize(policy).into_owned();
            return Err(BundleError::OtherPolicy(shown));
        }
        let facts = self.facts(request)?;
        let decision = decide(&facts).map_err(|error| BundleError::PolicyFailed(error.into()))?;
        let decision = guard::enforce(&facts, decision).map_err(BundleError::GuardViolated)?;
        let lease = match &decision.outcome {
            Outcome::Granted(grant) => {
                Some(self.lease(&facts, &grant.credential, grant.model.as_ref())?)
            }
            Outcome::Refused(_) => None,
        };
        Ok(Resolution {
            facts,
            decision,
            lease,
        })
    }

    fn facts(&self, request: &Request) -> Result<Facts, BundleError> {
        if !self.manifest.scopes.contains(&request.scope) {
            return Err(BundleError::UnknownScope {
                scope: request.scope.clone(),
                known: some(&self.manifest.scopes),
            });
        }
        let mut providers = self.manifest.providers.iter();
        let provided = providers
            .find(|facts| facts.provider.id == request.provider)
            .ok_or_else(|| BundleError::UnknownProvider {
                provider: request.provider.clone(),
                known: some(providers_of(&self.manifest)),
            })?;
        let chain = request.scope.chain().map(|path| {
            let mut scopes = provided.scopes.iter();
            let scope = scopes.find(|scope| scope.path == path.as_str());
            scope.ok_or_else(|| malformed(format!("it lacks {path}")))
        });
        let is_reader = request.recipients.is_empty()
            || request
                .recipients
                .iter()
                .any(|recipient| self.manifest.recipients.contains(recipient));
        let principal = request.principal.clone();
        let attributes = request.attributes.iter();
        Ok(Facts {
            request: RequestFacts {
                provider: request.provider.to_string(),
                model: request.model.as_ref().map(ToString::to_string),
                credential: request.credential.as_ref().map(ToString::to_string),
                principal: principal.unwrap_or_else(|| format!("project:{}", request.scope)),
                now_ms: request.now_ms,
                attributes: attributes
                    .map(|(name, value)| (name.to_string(), value.to_string()))
                    .collect(),
            },
            chain: chain
                .map(|scope| scope.map(|scope| as_read_by(scope, is_reader)))
                .collect::<Result<_, _>>()?,
        })
    }

    fn lease(
        &self,
        facts: &Facts,
        id: &str,
        model: Option<&String>,
    ) -> Result<SealedLease<'_>, BundleError> {
        let missing = || malformed(format!("it lacks the secret of the credential {id}"));
        let secret = self.manifest.secrets.get(id).ok_or_else(missing)?;
        let mut holders = facts.chain.iter();
        let credential = holders
            .find(|holder| holder.path == secret.frame.scope.as_str())
            .and_then(|holder| holder.credentials.iter().find(|found| found.id == id))
            .ok_or_else(missing)?;
        let providers = self.manifest.providers.iter();
        let provider = providers
            .map(|facts| &facts.provider)
            .find(|provider| provider.id.as_str() == secret.frame.provider)
            .filter(|provider| provider.id.as_str() == facts.request.provider)
            .ok_or_else(missing)?;
        Ok(SealedLease {
            name: credential.name.clone(),
            model: model.cloned(),
            expires_at_ms: credential.expires_at_ms,
            provider,
            secret,
            sealed: self.blob(&secret.blob)?,
        })
    }
}

fn providers_of(manifest: &Manifest) -> impl Iterator<Item = &ProviderId> {
    manifest.providers.iter().map(|facts| &facts.provider.id)
}

/// The first few of a list, for a message.
fn some<T: ToString>(list: impl IntoIterator<Item = T>) -> String {
    let mut rest = list.into_iter();
    let mut first: Vec<String> = rest
        .by_ref()
        .take(MAX_NAMED)
        .map(|one| one.to_string())
        .collect();
    if first.is_empty() {
        return "none".to_owned();
    }
    if rest.next().is_some() {
        first.push("…".to_owned());
    }
    first.join(", ")
}

/// The facts of a scope for one who has an identity of the bundle, or has none.
fn as_read_by(scope: &ScopeFacts, is_reader: bool) -> ScopeFacts {
    let mut scope = scope.clone();
    for credential in &mut scope.credentials {
        credential.readable &= is_reader;
    }
    scope
}
