//! Installing, listing and removing components.
//!
//! A component is admitted before anything is written.

use std::sync::Arc;

use entail_policy::{Limits, PolicyDigest};
use entail_store::{Batch, Revision};
use entail_text::sanitize;
use serde_json::json;

use crate::authorize::authorize_whole;
use crate::documents::encode;
use crate::documents::policy::{
    ActivePolicy, COMPONENT_KIND, InstalledPolicy, POLICY_KIND, blob_of, component_key,
};
use crate::error::{BUILT_IN, Error, LEAST_DIGITS};
use crate::policies::handle::Policies;
use crate::principal::{Action, Principal};
use entail_decision::name::{ScopePath, quoted};

/// The longest source of a component, in characters.
const MAX_SOURCE_CHARS: usize = 200;

/// The longest name of a policy, which is shown in commands and tables.
const MAX_NAME_CHARS: usize = 64;

/// A component to install.
#[derive(Clone, Debug, Default)]
pub struct InstallPolicy {
    /// The limits of its calls; `None` for those of the engine.
    pub limits: Option<Limits>,
    /// Where it comes from, for people.
    pub source: String,
    /// The installed policy below, if the component is a layer; `None` if it is complete.
    pub over: Option<PolicyDigest>,
}

/// What removing a component changes.
struct Removal {
    /// The revision that the documents were read at.
    revision: Revision,
    batch: Batch,
    /// The organizations that could no longer roll back to it.
    loses_rollback: Vec<ScopePath>,
}

impl Policies<'_> {
    /// Admits a component and installs it. It decides nothing until it is activated. If it
    /// is installed already, only its limits change.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`], [`Error::Compose`]; [`Error::UnknownPolicy`] for the policy
    /// below a layer.
    pub async fn install(
        self,
        principal: &Principal,
        component: &[u8],
        install: InstallPolicy,
    ) -> Result<InstalledPolicy, Error> {
        authorize_whole(principal, Action::Administer)?;
        let (installed, bytes) = self.admit_component(principal, component, install).await?;
        let record = json!({
            "change": "install-policy",
            "component": installed.component,
            "name": installed.name,
            "version": installed.version,
        });
        let key = component_key(installed.component);
        self.entail
            .documents
            .until_not_contended(|| async {
                let revision = self.entail.documents.store.revision().await?;
                let batch = Batch {
                    put: vec![(key.clone(), encode(&installed)?)],
                    add_blobs: vec![bytes.to_vec()],
                    ..Batch::default()
                };
                self.entail
                    .documents
                    .commit(principal, revision, batch, &record)
                    .await
            })
            .await?;
        Ok(installed)
    }

    /// Returns what [`Policies::install`] would install. Admits the component, and
    /// writes nothing.
    ///
    /// # Errors
    ///
    /// As [`Policies::install`].
    pub async fn plan_install(
        self,
        principal: &Principal,
        component: &[u8],
        install: InstallPolicy,
    ) -> Result<InstalledPolicy, Error> {
        authorize_whole(principal, Action::Administer)?;
        self.entail.documents.check_can_commit().await?;
        let (installed, _) = self.admit_component(principal, component, install).await?;
        Ok(installed)
    }

    /// Admits a component to install. Also returns the bytes to store, which are composed of
    /// a layer and the policy below it.
    async fn admit_component(
        self,
        principal: &Principal,
        component: &[u8],
        install: InstallPolicy,
    ) -> Result<(InstalledPolicy, Arc<[u8]>), Error> {
        let engine = self.entail.serving.engine();
        let bytes: Arc<[u8]> = match install.over {
            None => component.into(),
            Some(below) => {
                let below = self.component(principal, below).await?;
                let composed = engine.compose_async(component.to_vec(), below).await?;
                composed.into()
            }
        };
        let limits = install.limits.unwrap_or_else(|| engine.limits().clone());
        let loader = self.entail.serving.loader();
        let policy = loader.admit(Arc::clone(&bytes), limits.clone()).await?;
        let description = policy.description();
        check_name(&description.name)?;
        let installed = InstalledPolicy {
            component: policy.digest(),
            bytes: bytes.len(),
            name: description.name.clone(),
            version: description.version.clone(),
            summary: description.summary.clone(),
            contract: policy.contract().to_string(),
            schema: policy.schema().cloned(),
            limits,
            source: shown_source(&install.source),
            over: install.over,
            installed_by: self.entail.documents.id_of(principal).await?,
            installed_at_ms: self.entail.documents.now_ms(),
        };
        Ok((installed, bytes))
    }

    /// The bytes of an installed component, or of the built-in policy.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPolicy`], [`Error::Tampered`].
    pub async fn component(
        self,
        principal: &Principal,
        component: PolicyDigest,
    ) -> Result<Vec<u8>, Error> {
        authorize_whole(principal, Action::View)?;
        if component == self.entail.serving.built_in_digest() {
            return Ok(crate::DEFAULT_POLICY.to_vec());
        }
        self.get(principal, component).await?;
        Ok(self
            .entail
            .documents
            .store
            .blob(&blob_of(component))
            .await?)
    }

    /// The installed components, sorted by name and version.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`].
    pub async fn installed(self, principal: &Principal) -> Result<Vec<InstalledPolicy>, Error> {
        authorize_whole(principal, Action::View)?;
        let documents = self
            .entail
            .documents
            .bodies::<InstalledPolicy>(COMPONENT_KIND)
            .await?
            .1;
        let mut installed: Vec<_> = documents.into_iter().map(|(_, body)| body).collect();
        let order = |policy: &InstalledPolicy| {
            let version = (policy.name.clone(), policy.version.clone());
            (version, policy.installed_at_ms, policy.component)
        };
        installed.sort_by_cached_key(order);
        Ok(installed)
    }

    /// The document of an installed component.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPolicy`], [`Error::Tampered`].
    pub async fn get(
        self,
        principal: &Principal,
        component: PolicyDigest,
    ) -> Result<InstalledPolicy, Error> {
        authorize_whole(principal, Action::View)?;
        let store = &self.entail.documents.store;
        match store.read_one(&component_key(component)).await?.1 {
            Some(document) => Ok(InstalledPolicy::clone(&*document.body()?)),
            None => Err(Error::UnknownPolicy(component)),
        }
    }

    /// The policy that `text` names: by its digest, by the first digits of the digest, or by
    /// its name if only one version is installed. `None` for the built-in policy, which is
    /// also called `built-in`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPolicyName`], [`Error::AmbiguousPolicyName`].
    pub async fn find(
        self,
        principal: &Principal,
        text: &str,
    ) -> Result<Option<InstalledPolicy>, Error> {
        let installed = self.installed(principal).await?;
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_named = |name: &str, component: PolicyDigest| {
            let digest = component.to_string();
            name == text
                || digits.len() >= LEAST_DIGITS
                    && digest
                        .strip_prefix("sha256:")
                        .is_some_and(|digest| digest.starts_with(digits))
        };
        let mut named = installed
            .iter()
            .filter(|policy| is_named(&policy.name, policy.component));
        match (named.next(), named.next()) {
            (Some(one), None) => Ok(Some(one.clone())),
            _ if text == BUILT_IN => Ok(None),
            (None, _) => {
                let built_in = self.built_in()?;
                if is_named(&built_in.description().name, built_in.digest()) {
                    return Ok(None);
                }
                Err(Error::UnknownPolicyName(text.to_owned()))
            }
            (Some(_), Some(_)) => Err(Error::AmbiguousPolicyName(text.to_owned())),
        }
    }

    /// Removes an installed component and its bytes. Organizations can no longer roll back
    /// to it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPolicy`]; [`Error::Invalid`] while it is active or a shadow anywhere.
    pub async fn remove(self, principal: &Principal, component: PolicyDigest) -> Result<(), Error> {
        authorize_whole(principal, Action::Administer)?;
        let record = json!({"change": "remove-policy", "component": component});
        self.entail
            .documents
            .until_not_contended(|| async {
                let removal = self.removal(principal, component).await?;
                self.entail
                    .documents
                    .commit(principal, removal.revision, removal.batch, &record)
                    .await
            })
            .await
    }

    /// The organizations that could no longer roll back to a component if it were removed.
    ///
    /// # Errors
    ///
    /// As [`Policies::remove`].
    pub async fn plan_remove(
        self,
        principal: &Principal,
        component: PolicyDigest,
    ) -> Result<Vec<ScopePath>, Error> {
        authorize_whole(principal, Action::Administer)?;
        self.entail.documents.check_can_commit().await?;
        Ok(self.removal(principal, component).await?.loses_rollback)
    }

    async fn removal(
        self,
        principal: &Principal,
        component: PolicyDigest,
    ) -> Result<Removal, Error> {
        let installed = self.get(principal, component).await?;
        let (revision, policies) = self
            .entail
            .documents
            .bodies::<ActivePolicy>(POLICY_KIND)
            .await?;
        let mut removal = Removal {
            revision,
            batch: Batch {
                remove: vec![component_key(component)],
                remove_blobs: vec![installed.blob()],
                ..Batch::default()
            },
            loses_rollback: Vec::new(),
        };
        for (key, mut active) in policies {
            if active.in_use().any(|used| used == component) {
                return Err(Error::PolicyInUse {
                    name: installed.name.clone(),
                    component,
                    organization: key.name.parse()?,
                    is_shadow: active.current.component != Some(component),
                });
            }
            let before = active.previous.len();
            active
                .previous
                .retain(|previous| previous.component != Some(component));
            if active.previous.len() != before {
                removal.loses_rollback.push(key.name.parse()?);
                removal.batch.put.push((key, encode(&active)?));
            }
        }
        Ok(removal)
    }
}

/// Fails if the name of a policy could not be used to refer to it.
fn check_name(name: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_valid = (1..=MAX_NAME_CHARS).contains(&name.len()) && name.chars().all(is_plain);
    if is_valid && name != BUILT_IN {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "the policy names itself {}; about.describe must return a name of letters, digits, `-`, \
         `_` and `.`, at most {MAX_NAME_CHARS}, and not {BUILT_IN}",
        quoted(name)
    )))
}

/// The source of a component, truncated and sanitized.
fn shown_source(text: &str) -> String {
    let beginning: String = text.chars().take(MAX_SOURCE_CHARS).collect();
    sanitize(&beginning).into_owned()
}
