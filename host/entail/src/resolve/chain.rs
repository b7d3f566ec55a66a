//! The documents of a scope and its ancestors, and the facts made from them.

use std::sync::Arc;

use entail_policy::{CredentialFacts, Facts, RequestFacts, ScopeFacts};
use entail_store::{Document, Epoch, Fault, Freshness, Keyring, Keys, Revision, Store, Tampering};

use crate::documents::policy::active_policy_key;
use crate::documents::scope::{self, Credential, Scope};
use crate::error::Error;
use crate::principal::Principal;
use crate::resolve::host_attributes;
use crate::resolve::request::Request;
use entail_decision::name::{ProviderId, ScopePath};
use entail_decision::provider::Provider;

/// The documents of a scope and its ancestors, at one revision.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) revision: Revision,
    /// The keyring in force at that revision.
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) scopes: Vec<(ScopePath, Arc<Scope>)>,
}

/// A chain, with what was read at the same revision.
pub(crate) struct ReadChain {
    pub(crate) chain: Chain,
    /// The document of the organization's policy, if there is one.
    pub(crate) active_policy: Option<Arc<Document>>,
    /// When that state of the store counts as the newest.
    pub(crate) freshness: Freshness,
}

impl Chain {
    /// Reads and verifies the chain of `path`.
    pub(crate) async fn read(store: &Store, path: &ScopePath) -> Result<ReadChain, Error> {
        let paths: Vec<ScopePath> = path.chain().collect();
        let policy = paths.last().map(active_policy_key);
        let keys: Vec<_> = paths
            .iter()
            .map(scope::document_key)
            .chain(policy)
            .collect();
        let mut snapshot = store.read(&keys).await?;
        let policy = snapshot.documents.pop().flatten();
        let mut scopes = Vec::with_capacity(paths.len());
        for (position, (path, document)) in paths.into_iter().zip(snapshot.documents).enumerate() {
            match document {
                Some(document) => scopes.push((path, document.body::<Scope>()?)),
                None if position == 0 => return Err(Error::UnknownScope(path)),
                // A scope is added after its parent and removed before it.
                None => {
                    let key = scope::document_key(&path);
                    return Err(Tampering::new(Fault::Missing, key, "is missing").into());
                }
            }
        }
        let chain = Chain {
            revision: snapshot.revision,
            keyring: snapshot.keyring,
            scopes,
        };
        Ok(ReadChain {
            chain,
            active_policy: policy,
            freshness: snapshot.freshness,
        })
    }

    /// The organization at the end of the chain.
    pub(crate) fn organization(&self) -> Option<&ScopePath> {
        self.scopes.last().map(|(path, _)| path)
    }

    /// The credential with this id, and the scope that holds it.
    pub(crate) fn credential(&self, id: &str) -> Option<(&ScopePath, &Credential)> {
        self.scopes.iter().find_map(|(path, scope)| {
            let credential = scope.credentials.iter().find(|c| c.id.as_str() == id)?;
            Some((path, credential))
        })
    }

    fn readable(&self, keys: &Keys) -> ReadableEpochs {
        let identities: Vec<&str> = keys.identity_ids().collect();
        if identities.is_empty() {
            return ReadableEpochs::Unknown;
        }
        let organization = self.organization().map_or("", ScopePath::as_str);
        let readers = self.keyring.readers(organization);
        let opens = |epoch: &&Epoch| {
            let mut sealed_to = epoch.sealed_to.iter();
            sealed_to.any(|id| identities.contains(&id.as_str()))
        };
        let epochs = readers.into_iter().flat_map(|readers| &readers.epochs);
        ReadableEpochs::These(epochs.filter(opens).map(|epoch| epoch.number).collect())
    }

    /// Whether none of the identities opens some credential of the provider.
    pub(crate) fn has_unreadable(&self, provider: &ProviderId, keys: &Keys) -> bool {
        let readable = self.readable(keys);
        self.scopes
            .iter()
            .flat_map(|(_, scope)| scope.credentials_for(provider))
            .any(|credential| !readable.has(credential))
    }

    /// The facts of a request on this chain.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if [`Request::kept`] is not valid.
    pub(crate) fn facts(
        &self,
        request: &Request,
        provider: &Provider,
        principal: &Principal,
        now_ms: u64,
        keys: &Keys,
    ) -> Result<Facts, Error> {
        let readable = self.readable(keys);
        let id = &provider.id;
        let stated = request
            .attributes
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let kept = host_attributes::kept(&request.kept)?;
        let kept = kept.map(|kept| (host_attributes::KEPT.to_owned(), kept));
        let chain = self.scopes.iter().map(|(path, scope)| ScopeFacts {
            path: path.to_string(),
            inheritance: scope.inheritance(id),
            default_model: scope.models.get(id).map(ToString::to_string),
            credentials: scope
                .credentials_for(id)
                .map(|credential| credential_facts(provider, path, credential, &readable))
                .collect(),
            attributes: [].into(),
        });
        Ok(Facts {
            request: RequestFacts {
                provider: id.to_string(),
                model: request.model.as_ref().map(ToString::to_string),
                credential: request.credential.as_ref().map(ToString::to_string),
                principal: principal.to_string(),
                now_ms,
                attributes: stated.chain(kept).collect(),
            },
            chain: chain.collect(),
        })
    }
}

/// A credential as the policy sees it.
fn credential_facts(
    provider: &Provider,
    holder: &ScopePath,
    credential: &Credential,
    readable: &ReadableEpochs,
) -> CredentialFacts {
    CredentialFacts {
        id: credential.id.to_string(),
        name: credential.name.to_string(),
        enabled: credential.enabled,
        readable: readable.has(credential),
        expires_at_ms: credential.rules.expires_at_ms,
        models: credential.rules.models.clone(),
        sharing: credential.rules.sharing.clone(),
        mandatory: credential.rules.mandatory,
        priority: credential.rules.priority,
        attributes: host_attributes::of_credential(provider, holder, credential),
    }
}

/// The epochs of an organization whose keys the identities of this machine open.
enum ReadableEpochs {
    /// Without an identity nobody can know, so every secret counts as readable; unsealing fails
    /// later.
    Unknown,
    These(Vec<u32>),
}

impl ReadableEpochs {
    fn has(&self, credential: &Credential) -> bool {
        match self {
            ReadableEpochs::Unknown => true,
            ReadableEpochs::These(epochs) => epochs.contains(&credential.version.epoch),
        }
    }
}
