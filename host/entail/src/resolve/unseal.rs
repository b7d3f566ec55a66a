//! Step 6: opens the one granted secret.

use entail_policy::{Decision, Outcome};
use entail_store::{Fault, Fields, Keyring, Tampering};

use crate::documents::scope::{Credential, readers};
use crate::entail::Entail;
use crate::error::Error;
use crate::resolve::facts::LoadedFacts;
use crate::urls::{base_url, host_of};
use entail_decision::name::{ModelId, ScopePath};
use entail_decision::provider::{Format, Provider};

/// A granted credential, opened.
pub(crate) struct Unsealed<'a> {
    pub(crate) scope: &'a ScopePath,
    pub(crate) holder: &'a ScopePath,
    pub(crate) credential: &'a Credential,
    pub(crate) model: Option<ModelId>,
    pub(crate) base_url: Option<String>,
    pub(crate) secrets: Fields,
}

impl Entail {
    /// Opens the secret of the granted credential, after checking that it is bound to the
    /// hosts that it will be sent to. Fails with the refusal if nothing is granted.
    pub(super) async fn unseal<'a>(
        &self,
        scope: &'a ScopePath,
        loaded: &'a LoadedFacts<'_>,
        decision: Result<Decision, Error>,
    ) -> Result<Unsealed<'a>, Error> {
        let grant = match decision?.outcome {
            Outcome::Granted(grant) => grant,
            Outcome::Refused(refusal) => {
                return Err(Error::Refused {
                    scope: scope.clone(),
                    provider: loaded.provider.id.clone(),
                    refusal,
                });
            }
        };
        // The guard has checked that it exists.
        let (holder, credential) = loaded.chain.credential(&grant.credential).ok_or_else(|| {
            let what = format!("credential {}", grant.credential);
            Tampering::new(Fault::Missing, what, "is missing")
        })?;
        let base_url = base_url(loaded.provider, credential);
        check_hosts(loaded.provider, holder, credential, base_url.as_deref())?;
        let secrets = self
            .open_secret(&loaded.chain.keyring, holder, credential)
            .await?;
        Ok(Unsealed {
            scope,
            holder,
            credential,
            model: grant.model.map(|model| model.parse()).transpose()?,
            base_url,
            secrets,
        })
    }

    /// Opens the secret of a credential, and checks that it was sealed for its place.
    pub(crate) async fn open_secret(
        &self,
        keyring: &Keyring,
        holder: &ScopePath,
        credential: &Credential,
    ) -> Result<Fields, Error> {
        let context = credential.seal_context(holder, keyring.store());
        let digest = credential.version.blob;
        if let Some(fields) = self.secret_cache.get(&digest, &context) {
            return Ok(fields);
        }
        let sealed = self.documents.store.blob(&digest).await?;
        let fields = self
            .documents
            .store
            .unseal(readers(keyring, holder)?, &sealed, &context)
            .await?
            .map_err(|error| Error::Sealed {
                scope: holder.clone(),
                credential: format!("{}/{}", credential.provider, credential.name),
                error,
            })?;
        self.secret_cache.insert(digest, context, &fields);
        Ok(fields)
    }
}

/// Checks that the base URL, and every other URL among the parameters, leads to a host
/// that the secret was sealed for: the provider file may have changed since.
pub(crate) fn check_hosts(
    provider: &Provider,
    holder: &ScopePath,
    credential: &Credential,
    base_url: Option<&str>,
) -> Result<(), Error> {
    let version = &credential.version;
    let fields = provider.fields.iter();
    let parameters = fields
        .filter(|field| field.format == Format::Url)
        .filter_map(|field| version.parameters.get(&field.name));
    let is_bound = |url: &str| host_of(url).is_some_and(|host| version.hosts.contains(&host));
    let mut urls = base_url.into_iter().chain(parameters.map(String::as_str));
    match urls.find(|url| !is_bound(url)) {
        None => Ok(()),
        Some(url) => Err(Error::HostNotBound {
            scope: holder.clone(),
            credential: format!("{}/{}", credential.provider, credential.name),
            host: host_of(url).unwrap_or_else(|| "no host".to_owned()),
            hosts: version.hosts.clone(),
        }),
    }
}
