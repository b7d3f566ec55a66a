//! Who uses a credential, and its masked secret: what a user sees before replacing or
//! removing it.

use entail_store::Fields;

use crate::authorize::authorize;
use crate::blocking::run_on_thread;
use crate::change::value::mask;
use crate::compare::decision::EffectiveDecision;
use crate::compare::requests::requests;
use crate::credential_ref::CredentialRef;
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};
use crate::resolve::redaction::redact_error;
use entail_decision::name::ScopePath;

impl Entail {
    /// The scopes that are granted the credential now, for a model that a scope of their
    /// chain names or for none. Takes about a tenth of a millisecond per scope at and below
    /// its holder, on another thread.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::UnknownCredential`], [`Error::Tampered`];
    /// [`Error::Contended`] if other writers kept changing the scopes.
    pub async fn users(
        &self,
        principal: &Principal,
        credential: &CredentialRef,
    ) -> Result<Vec<ScopePath>, Error> {
        let CredentialRef {
            scope, provider, ..
        } = credential;
        let known = self.provider(provider)?;
        let id = self.find(principal, credential).await?.id;
        let users = self
            .documents
            .until_not_contended(|| async {
                let revision = self.documents.store.revision().await?;
                let mut paths = self.scopes(principal, Some(scope)).await?;
                let state = self.load_state(principal, revision, &paths).await?;
                let keys = self.documents.store.reload_keys().await?;
                let now_ms = self.documents.now_ms();
                let (id, known, principal) = (id.clone(), known.clone(), principal.clone());
                run_on_thread("entail-users", move || {
                    paths.retain(|path| {
                        let Some((chain, policy)) = state.resolve_chain(path) else {
                            return false;
                        };
                        let mut requests = requests(path, &known.id, std::iter::once(&chain));
                        // Whether somebody requests a credential by its name is unknown.
                        requests.retain(|request| request.credential.is_none());
                        requests.iter().any(|request| {
                            let facts = chain.facts(request, &known, &principal, now_ms, &keys);
                            facts.is_ok_and(|facts| {
                                EffectiveDecision::of(policy, &facts)
                                    .credentials()
                                    .first()
                                    .is_some_and(|chosen| chosen.id == id.as_str())
                            })
                        })
                    });
                    paths
                })
                .await
            })
            .await;
        users.map_err(|error| redact_error(principal, error))
    }

    /// The masked secret fields of a credential, as [`mask`] shows them; `None` if they cannot
    /// be opened here. Nothing is revealed, so it is not recorded.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::UnknownCredential`], [`Error::Tampered`].
    pub async fn masked(
        &self,
        principal: &Principal,
        credential: &CredentialRef,
    ) -> Result<Option<Vec<(String, String)>>, Error> {
        authorize(principal, Action::Change, &credential.scope)?;
        let found = self.find(principal, credential).await?;
        if !self.can_unseal() {
            return Ok(None);
        }
        // A secret that does not open can be replaced anyway.
        let keyring = self.documents.store.keyring().await?;
        let opened: Option<Fields> = self
            .open_secret(&keyring, &credential.scope, &found)
            .await
            .ok();
        Ok(opened.map(|fields| {
            let fields = fields.iter();
            fields
                .map(|(name, secret)| (name.clone(), mask(secret)))
                .collect()
        }))
    }

    async fn find(
        &self,
        principal: &Principal,
        credential: &CredentialRef,
    ) -> Result<crate::documents::scope::Credential, Error> {
        let scope = self.scope(principal, &credential.scope).await?;
        scope
            .credential(&credential.provider, &credential.name)
            .cloned()
            .ok_or_else(|| Error::unknown_credential(credential))
    }
}
