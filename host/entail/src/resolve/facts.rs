//! From documents to facts: what the policy gets to see of a chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use entail_policy::{CredentialFacts, Facts, RequestFacts};
use entail_store::{Document, Fault, Keys, Revision, Store, Tampering};

use crate::documents::scope::{self, Credential, Scope};
use crate::error::Error;
use crate::policies::binding_key;
use crate::principal::Principal;
use crate::resolve::host_attributes;
use entail_decision::name::{
    AttributeName, AttributeValue, CredentialName, ModelId, ProviderId, ScopePath,
};
use entail_decision::provider::Provider;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The scope that asks.
    pub scope: ScopePath,
    /// Whom the credential is for.
    pub provider: ProviderId,
    /// The model it is for, if the caller has one in mind.
    pub model: Option<ModelId>,
    /// The name of the one credential that the caller wants; none means any.
    pub credential: Option<CredentialName>,
    /// What else the caller says of the request, such as the session that it is part
    /// of. A policy may go by it; it is written to the decision log. Nobody checks it: it
    /// is as true as the caller is honest.
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// The variables and providers that the caller keeps of its own beside the credential
    /// that it asks for: `AWS_PROFILE`, `bedrock`. The policy and the decision log see them
    /// as the attribute `entail:kept`.
    pub kept: Vec<String>,
}

impl Request {
    /// Asks for any credential of a provider, for any model.
    pub fn new(scope: ScopePath, provider: ProviderId) -> Self {
        Request {
            scope,
            provider,
            model: None,
            credential: None,
            attributes: BTreeMap::new(),
            kept: Vec::new(),
        }
    }
}

/// The documents of a scope and of all above, as of one revision.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) revision: Revision,
    pub(crate) scopes: Vec<(ScopePath, Arc<Scope>)>,
}

impl Chain {
    /// Reads and verifies the chain of `path`, and the document that says which policy
    /// decides for it, if there is one.
    pub(crate) async fn read(
        store: &Store,
        path: &ScopePath,
    ) -> Result<(Self, Option<Arc<Document>>), Error> {
        let paths: Vec<ScopePath> = path.chain().collect();
        let binding = paths.last().map(binding_key);
        let keys: Vec<_> = paths
            .iter()
            .map(scope::document_key)
            .chain(binding)
            .collect();
        let mut snapshot = store.read(&keys).await?;
        let binding = snapshot.documents.pop().flatten();
        let mut scopes = Vec::with_capacity(paths.len());
        for (position, (path, document)) in paths.into_iter().zip(snapshot.documents).enumerate() {
            match document {
                Some(document) => scopes.push((path, document.body::<Scope>()?)),
                None if position == 0 => return Err(Error::UnknownScope(path)),
                // A scope is made after its parent and removed before it.
                None => {
                    return Err(Tampering::new(
                        Fault::Missing,
                        scope::document_key(&path),
                        "is missing",
                    )
                    .into());
                }
            }
        }
        let chain = Chain {
            revision: snapshot.revision,
            scopes,
        };
        Ok((chain, binding))
    }

    /// The credential of that id, and the scope that holds it.
    pub(crate) fn credential(&self, id: &str) -> Option<(&ScopePath, &Credential)> {
        self.scopes.iter().find_map(|(path, scope)| {
            let credential = scope.credentials.iter().find(|c| c.id.as_str() == id)?;
            Some((path, credential))
        })
    }

    /// Whether there is a credential for the provider that none of these identities
    /// opens.
    pub(crate) fn has_unreadable(&self, provider: &ProviderId, keys: &Keys) -> bool {
        let identities: Vec<&str> = keys.identity_ids().collect();
        let credentials = self
            .scopes
            .iter()
            .flat_map(|(_, scope)| scope.credentials_for(provider));
        credentials
            .into_iter()
            .any(|credential| !offer(credential, &identities).readable)
    }

    /// The facts of a request on this chain.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if what the caller keeps cannot be said.
    pub(crate) fn facts(
        &self,
        request: &Request,
        provider: &Provider,
        principal: &Principal,
        now_ms: u64,
        keys: &Keys,
    ) -> Result<Facts, Error> {
        let identities: Vec<&str> = keys.identity_ids().collect();
        let id = &provider.id;
        let said = request
            .attributes
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let kept = host_attributes::kept(&request.kept)?;
        let kept = kept.map(|kept| (host_attributes::KEPT.to_owned(), kept));
        let chain = self
            .scopes
            .iter()
            .map(|(path, scope)| entail_policy::ScopeFacts {
                path: path.to_string(),
                inheritance: scope.inheritance(id),
                default_model: scope.models.get(id).map(ToString::to_string),
                credentials: scope
                    .credentials_for(id)
                    .map(|credential| {
                        let attributes = host_attributes::of_credential(provider, path, credential);
                        CredentialFacts {
                            attributes,
                            ..offer(credential, &identities)
                        }
                    })
                    .collect(),
                attributes: [].into(),
            })
            .collect();
        Ok(Facts {
            request: RequestFacts {
                provider: id.to_string(),
                model: request.model.as_ref().map(ToString::to_string),
                credential: request.credential.as_ref().map(ToString::to_string),
                principal: principal.to_string(),
                now_ms,
                attributes: said.chain(kept).collect(),
            },
            chain,
        })
    }
}

/// A credential as the policy sees it, less the host's attributes. Without an identity at hand nobody can
/// tell what is readable; opening will.
fn offer(credential: &Credential, identities: &[&str]) -> CredentialFacts {
    let sealed_to = &credential.version.sealed_to;
    CredentialFacts {
        id: credential.id.to_string(),
        name: credential.name.to_string(),
        enabled: credential.enabled,
        readable: identities.is_empty()
            || sealed_to.iter().any(|id| identities.contains(&id.as_str())),
        expires_at_ms: credential.rules.expires_at_ms,
        models: credential.rules.models.clone(),
        sharing: credential.rules.sharing.clone(),
        mandatory: credential.rules.mandatory,
        priority: credential.rules.priority,
        attributes: [].into(),
    }
}
