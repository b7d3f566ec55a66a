//! Who uses a credential, and what its secret ends with: what a person is told of a
//! secret that is replaced or taken away.

use entail_store::Fields;

use crate::authorize::authorize;
use crate::change::value::mask;
use crate::compare::access;
use crate::compare::decision::Answer;
use crate::credential_ref::CredentialRef;
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};
use entail_decision::name::ScopePath;

impl Entail {
    /// The scopes that are granted a credential, as of now, for a model that a scope of
    /// their chain names or for none. Blocks for a tenth of a millisecond or so for each
    /// scope at and below its holder.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::UnknownCredential`], [`Error::Tampered`];
    /// [`Error::Contended`] when others kept changing what is looked at.
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
        self.until_not_contended(|| async {
            let revision = self.store.revision().await?;
            let mut paths = self.scopes(principal, Some(scope)).await?;
            let state = self.affairs(principal, revision, &paths).await?;
            let keys = self.store.read_keys_again()?;
            let now_ms = self.now_ms();
            paths.retain(|path| {
                let Some((chain, policy)) = state.standing(path) else {
                    return false;
                };
                let mut requests = access::requests(path, provider, std::iter::once(&chain));
                // One that is asked for by its name is used only if somebody does.
                requests.retain(|request| request.credential.is_none());
                requests.iter().any(|request| {
                    let Ok(facts) = chain.facts(request, known, principal, now_ms, &keys) else {
                        return false;
                    };
                    let answer = Answer::of(policy, &facts);
                    answer
                        .credentials()
                        .first()
                        .is_some_and(|chosen| chosen.id == id.as_str())
                })
            });
            Ok(paths)
        })
        .await
    }

    /// The secret fields of a credential with their ends, as [`mask`] shows them, for who
    /// may change it; `None` if they cannot be opened here. Nothing is handed out, so it
    /// is not recorded.
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
        // That a secret does not open is no reason not to replace it.
        let opened: Option<Fields> = self.unseal(&credential.scope, &found).await.ok();
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
