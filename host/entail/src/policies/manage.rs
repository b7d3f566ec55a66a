//! Installing policies, and putting them in service.
//!
//! Whatever may take long, or fail, happens before anything is written: a component
//! is admitted, and has taken its settings, before its organization's document names
//! it.

use std::collections::BTreeMap;
use std::sync::Arc;

use entail_policy::{Isolation, Limits, Policy, PolicyDigest, Values};
use entail_store::{Batch, DocumentKey, Revision};
use entail_text::sanitize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::authorize::{authorize, authorize_whole};
use crate::compare::access::AccessChanges;
use crate::documents::encode;
use crate::documents::policy::{
    Bound, COMPONENT_KIND, InstalledPolicy, POLICY_KIND, PolicyBinding, binding_key, blob_of,
    component_key,
};
use crate::documents::scope;
use crate::entail::Entail;
use crate::error::{BUILT_IN, Error, LEAST_DIGITS};
use crate::principal::{Action, Principal};
use entail_decision::name::{AttributeName, AttributeValue, ScopePath, quoted};

/// The longest source of a component, in characters.
const MAX_SOURCE_CHARS: usize = 200;

/// The longest name of a policy: it stands in commands and tables.
const MAX_NAME_CHARS: usize = 64;

/// A component to install.
#[derive(Clone, Debug, Default)]
pub struct InstallPolicy {
    /// What it may use up; none means the engine's own limits.
    pub limits: Option<Limits>,
    /// Where it comes from, for people.
    pub source: String,
    /// The installed policy that it is a layer over; none if it is whole.
    pub over: Option<PolicyDigest>,
}

/// A policy to put in service, or to ask beside the one that is.
#[derive(Clone, Debug, Default)]
pub struct ActivatePolicy {
    /// The installed component; none is the built-in policy.
    pub component: Option<PolicyDigest>,
    /// What is set for it.
    pub settings: Values,
    /// What it may use up; none means what it was installed with.
    pub limits: Option<Limits>,
    /// What its calls share.
    pub isolation: Isolation,
}

impl Entail {
    /// Admits a component and keeps it. Nothing changes for anybody until it is
    /// activated. One that is installed already is only given the new limits.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`], [`Error::Compose`], [`Error::UnknownPolicy`] for the one
    /// below.
    pub async fn install_policy(
        &self,
        principal: &Principal,
        component: &[u8],
        install: InstallPolicy,
    ) -> Result<InstalledPolicy, Error> {
        authorize_whole(principal, Action::Administer)?;
        let (installed, whole) = self.look_over(principal, component, install).await?;
        let record = json!({
            "change": "install-policy",
            "component": installed.component,
            "name": installed.name,
            "version": installed.version,
        });
        let key = component_key(installed.component);
        self.until_not_contended(|| async {
            let revision = self.store.revision().await?;
            let batch = Batch {
                put: vec![(key.clone(), encode(&installed)?)],
                add_blobs: vec![whole.to_vec()],
                ..Batch::default()
            };
            self.commit(principal, revision, batch, &record).await
        })
        .await?;
        Ok(installed)
    }

    /// What [`Entail::install_policy`] would keep. The component is admitted; it is not
    /// installed.
    ///
    /// # Errors
    ///
    /// As [`Entail::install_policy`].
    pub async fn dry_run_install(
        &self,
        principal: &Principal,
        component: &[u8],
        install: InstallPolicy,
    ) -> Result<InstalledPolicy, Error> {
        authorize_whole(principal, Action::Administer)?;
        self.check_can_commit().await?;
        Ok(self.look_over(principal, component, install).await?.0)
    }

    /// Admits a component that is to be installed; with it the bytes to keep, which are
    /// the layer's and those of the policy below.
    async fn look_over(
        &self,
        principal: &Principal,
        component: &[u8],
        install: InstallPolicy,
    ) -> Result<(InstalledPolicy, Arc<[u8]>), Error> {
        let whole: Arc<[u8]> = match install.over {
            None => component.into(),
            Some(below) => {
                let below = self.component(principal, below).await?;
                let engine = self.policies.engine();
                engine
                    .compose_async(component.to_vec(), below)
                    .await?
                    .into()
            }
        };
        let limits = match install.limits {
            Some(limits) => limits,
            None => self.policies.engine().limits().clone(),
        };
        let policy = self
            .policies
            .admit(Arc::clone(&whole), limits.clone())
            .await?;
        let description = policy.description();
        check_name(&description.name)?;
        let installed = InstalledPolicy {
            component: policy.digest(),
            bytes: whole.len(),
            name: description.name.clone(),
            version: description.version.clone(),
            summary: description.summary.clone(),
            contract: policy.contract().to_string(),
            schema: policy.schema().cloned(),
            limits,
            source: shown_source(&install.source),
            over: install.over,
            installed_by: principal.to_string(),
            installed_at_ms: self.now_ms(),
        };
        Ok((installed, whole))
    }

    /// The bytes of an installed component, or of the built-in policy.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPolicy`], [`Error::Tampered`].
    pub async fn component(
        &self,
        principal: &Principal,
        component: PolicyDigest,
    ) -> Result<Vec<u8>, Error> {
        authorize_whole(principal, Action::View)?;
        if component == self.policies.built_in_digest() {
            return Ok(crate::DEFAULT_POLICY.to_vec());
        }
        self.installed_policy(principal, component).await?;
        Ok(self.store.blob(&blob_of(component)).await?)
    }

    /// The components that are installed, by name and then version.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`].
    pub async fn installed_policies(
        &self,
        principal: &Principal,
    ) -> Result<Vec<InstalledPolicy>, Error> {
        authorize_whole(principal, Action::View)?;
        let documents = self.documents::<InstalledPolicy>(COMPONENT_KIND).await?.1;
        let mut installed: Vec<_> = documents.into_iter().map(|(_, body)| body).collect();
        let place = |policy: &InstalledPolicy| {
            let version = (policy.name.clone(), policy.version.clone());
            (version, policy.installed_at_ms, policy.component)
        };
        installed.sort_by_cached_key(place);
        Ok(installed)
    }

    /// What is known of an installed component.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPolicy`], [`Error::Tampered`].
    pub async fn installed_policy(
        &self,
        principal: &Principal,
        component: PolicyDigest,
    ) -> Result<InstalledPolicy, Error> {
        authorize_whole(principal, Action::View)?;
        let snapshot = self.store.read(&[component_key(component)]).await?;
        match snapshot.documents.into_iter().next().flatten() {
            Some(document) => Ok(InstalledPolicy::clone(&*document.body()?)),
            None => Err(Error::UnknownPolicy(component)),
        }
    }

    /// Which policy decides for an organization, and which did before.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::Tampered`].
    pub async fn policy_binding(
        &self,
        principal: &Principal,
        organization: &ScopePath,
    ) -> Result<PolicyBinding, Error> {
        authorize(principal, Action::View, organization)?;
        Ok(self.read_binding(organization).await?.1)
    }

    /// The policies of all organizations that ever bound one.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`].
    pub async fn policy_bindings(
        &self,
        principal: &Principal,
    ) -> Result<Vec<(ScopePath, PolicyBinding)>, Error> {
        authorize_whole(principal, Action::View)?;
        let (_, documents) = self.documents::<PolicyBinding>(POLICY_KIND).await?;
        documents
            .into_iter()
            .map(|(key, binding)| Ok((key.name.parse()?, binding)))
            .collect()
    }

    /// The policy that decides for an organization, ready to be asked.
    ///
    /// # Errors
    ///
    /// [`Error::PolicyUnready`], [`Error::Tampered`].
    pub async fn policy_in_service(&self, organization: &ScopePath) -> Result<Policy, Error> {
        let snapshot = self.store.read(&[binding_key(organization)]).await?;
        let document = snapshot.documents.into_iter().next().flatten();
        let binding = document.as_ref().map(|document| (organization, document));
        let serving = self.policies.serving(&self.store, binding).await?;
        Ok(serving.policy.clone())
    }

    /// An installed policy with settings that it takes, as it would be in service.
    async fn prepare_policy(
        &self,
        principal: &Principal,
        activate: &ActivatePolicy,
    ) -> Result<(Policy, Bound), Error> {
        authorize_whole(principal, Action::View)?;
        let limits = match (&activate.limits, activate.component) {
            (Some(limits), _) => limits.clone(),
            (None, Some(component)) => self.installed_policy(principal, component).await?.limits,
            (None, None) => Limits::default(),
        };
        let bound = Bound {
            component: activate.component,
            settings: activate.settings.clone(),
            limits,
            isolation: activate.isolation,
            bound_by: principal.to_string(),
            bound_at_ms: self.now_ms(),
        };
        let policy = self.policies.load(&self.store, &bound).await?;
        let policy = policy.with_settings_async(bound.settings.clone()).await?;
        Ok((policy, bound))
    }

    /// Puts a policy in service for an organization and all its projects: with the
    /// next request here, within a second elsewhere. It is made ready first, so no
    /// request waits or fails on its account.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::UnknownPolicy`], [`Error::BadSettings`],
    /// [`Error::PolicyUnready`].
    pub async fn activate_policy(
        &self,
        principal: &Principal,
        organization: &ScopePath,
        activate: ActivatePolicy,
    ) -> Result<PolicyBinding, Error> {
        check_organization(organization)?;
        authorize(principal, Action::Administer, organization)?;
        let (_, bound) = self.prepare_policy(principal, &activate).await?;
        let record = record("activate-policy", organization, Some(&bound));
        self.bind(principal, organization, &record, |binding| {
            binding.activate(bound.clone());
            Ok(())
        })
        .await
    }

    /// The policy that [`Entail::activate_policy`] would put in service, and who would
    /// get what then.
    ///
    /// # Errors
    ///
    /// As [`Entail::activate_policy`].
    pub async fn dry_run_activate(
        &self,
        principal: &Principal,
        organization: &ScopePath,
        activate: &ActivatePolicy,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<(Policy, AccessChanges), Error> {
        self.check_can_bind(principal, organization).await?;
        let (policy, _) = self.prepare_policy(principal, activate).await?;
        self.with_diff(principal, organization, policy, attributes)
            .await
    }

    /// The policy that [`Entail::roll_back_policy`] would put back in service, and who
    /// would get what then.
    ///
    /// # Errors
    ///
    /// As [`Entail::roll_back_policy`].
    pub async fn dry_run_roll_back(
        &self,
        principal: &Principal,
        organization: &ScopePath,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<(Policy, AccessChanges), Error> {
        let binding = self.check_can_bind(principal, organization).await?;
        let before = before(binding, organization)?;
        let policy = self.policies.load(&self.store, &before).await?;
        self.with_diff(principal, organization, policy, attributes)
            .await
    }

    async fn with_diff(
        &self,
        principal: &Principal,
        organization: &ScopePath,
        policy: Policy,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<(Policy, AccessChanges), Error> {
        let changes = self
            .policy_diff(principal, &policy, Some(organization), attributes)
            .await?;
        Ok((policy, changes))
    }

    /// What [`Entail::shadow_policy`] would come to. The shadow is made ready; nobody
    /// asks it.
    ///
    /// # Errors
    ///
    /// As [`Entail::shadow_policy`].
    pub async fn dry_run_shadow(
        &self,
        principal: &Principal,
        organization: &ScopePath,
        shadow: Option<&ActivatePolicy>,
    ) -> Result<PolicyBinding, Error> {
        let mut binding = self.check_can_bind(principal, organization).await?;
        binding.shadow = match shadow {
            None => None,
            Some(shadow) => Some(self.prepare_policy(principal, shadow).await?.1),
        };
        Ok(binding)
    }

    /// The document of an organization that could be changed now.
    async fn check_can_bind(
        &self,
        principal: &Principal,
        organization: &ScopePath,
    ) -> Result<PolicyBinding, Error> {
        check_organization(organization)?;
        authorize(principal, Action::Administer, organization)?;
        self.check_can_commit().await?;
        Ok(self.read_binding(organization).await?.1)
    }

    /// Puts the policy back in service that was before; that one is then the one to go
    /// back from.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when there was none; else as [`Entail::activate_policy`].
    pub async fn roll_back_policy(
        &self,
        principal: &Principal,
        organization: &ScopePath,
    ) -> Result<PolicyBinding, Error> {
        check_organization(organization)?;
        authorize(principal, Action::Administer, organization)?;
        let before = before(self.read_binding(organization).await?.1, organization)?;
        // It may have been in service before this process began.
        self.policies.load(&self.store, &before).await?;
        let record = record("roll-back-policy", organization, Some(&before));
        self.bind(principal, organization, &record, |binding| {
            if binding.earlier.first() != Some(&before) {
                return Err(Error::Contended);
            }
            binding.roll_back(principal.to_string(), self.now_ms());
            Ok(())
        })
        .await
    }

    /// Has another policy asked beside the one in service, or nobody any more. Its
    /// answers are only written down ([`crate::shadow_answers`]).
    ///
    /// # Errors
    ///
    /// As [`Entail::activate_policy`].
    pub async fn shadow_policy(
        &self,
        principal: &Principal,
        organization: &ScopePath,
        shadow: Option<ActivatePolicy>,
    ) -> Result<PolicyBinding, Error> {
        check_organization(organization)?;
        authorize(principal, Action::Administer, organization)?;
        let bound = match shadow {
            None => None,
            Some(shadow) => Some(self.prepare_policy(principal, &shadow).await?.1),
        };
        let record = record("shadow-policy", organization, bound.as_ref());
        self.bind(principal, organization, &record, |binding| {
            binding.shadow.clone_from(&bound);
            Ok(())
        })
        .await
    }

    /// Removes an installed component and its bytes. Organizations can no longer go
    /// back to it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPolicy`]; [`Error::Invalid`] while it is in service anywhere.
    pub async fn remove_policy(
        &self,
        principal: &Principal,
        component: PolicyDigest,
    ) -> Result<(), Error> {
        authorize_whole(principal, Action::Administer)?;
        let record = json!({"change": "remove-policy", "component": component});
        self.until_not_contended(|| async {
            let removal = self.removal(principal, component).await?;
            self.commit(principal, removal.revision, removal.batch, &record)
                .await
        })
        .await
    }

    /// The organizations that could no longer go back to an installed component if it
    /// were removed.
    ///
    /// # Errors
    ///
    /// As [`Entail::remove_policy`].
    pub async fn dry_run_remove(
        &self,
        principal: &Principal,
        component: PolicyDigest,
    ) -> Result<Vec<ScopePath>, Error> {
        authorize_whole(principal, Action::Administer)?;
        self.check_can_commit().await?;
        Ok(self.removal(principal, component).await?.no_way_back)
    }

    async fn removal(
        &self,
        principal: &Principal,
        component: PolicyDigest,
    ) -> Result<Removal, Error> {
        let installed = self.installed_policy(principal, component).await?;
        let (revision, bindings) = self.documents::<PolicyBinding>(POLICY_KIND).await?;
        let mut removal = Removal {
            revision,
            batch: Batch {
                remove: vec![component_key(component)],
                remove_blobs: vec![installed.blob()],
                ..Batch::default()
            },
            no_way_back: Vec::new(),
        };
        for (key, mut binding) in bindings {
            if binding.in_use().any(|used| used == component) {
                return Err(Error::Invalid(format!(
                    "{} ({component}) is in service, or a shadow, in {}; put another there first",
                    installed.name, key.name
                )));
            }
            let before = binding.earlier.len();
            binding
                .earlier
                .retain(|bound| bound.component != Some(component));
            if binding.earlier.len() != before {
                removal.no_way_back.push(key.name.parse()?);
                removal.batch.put.push((key, encode(&binding)?));
            }
        }
        Ok(removal)
    }

    /// The one policy that `text` names: by its digest, by the first digits of it, or by
    /// its name if there is only one version of that. None is the built-in one, which
    /// is also called `built-in`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when none or several are meant.
    pub async fn find_policy(
        &self,
        principal: &Principal,
        text: &str,
    ) -> Result<Option<InstalledPolicy>, Error> {
        let installed = self.installed_policies(principal).await?;
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_meant = |name: &str, component: PolicyDigest| {
            let digest = component.to_string();
            name == text
                || digits.len() >= LEAST_DIGITS
                    && digest
                        .strip_prefix("sha256:")
                        .is_some_and(|digest| digest.starts_with(digits))
        };
        let mut meant = installed
            .iter()
            .filter(|policy| is_meant(&policy.name, policy.component));
        match (meant.next(), meant.next()) {
            (Some(one), None) => Ok(Some(one.clone())),
            _ if text == BUILT_IN => Ok(None),
            (None, _) => {
                let built_in = self.built_in_policy()?;
                if is_meant(&built_in.description().name, built_in.digest()) {
                    return Ok(None);
                }
                Err(Error::UnknownPolicyName(text.to_owned()))
            }
            (Some(_), Some(_)) => Err(Error::AmbiguousPolicyName(text.to_owned())),
        }
    }

    /// Changes an organization's document.
    async fn bind(
        &self,
        principal: &Principal,
        organization: &ScopePath,
        record: &Value,
        change: impl Fn(&mut PolicyBinding) -> Result<(), Error>,
    ) -> Result<PolicyBinding, Error> {
        self.until_not_contended(|| async {
            let (revision, mut binding) = self.read_binding(organization).await?;
            change(&mut binding)?;
            // A component that was removed meanwhile serves nobody.
            let needed: Vec<DocumentKey> = binding.in_use().map(component_key).collect();
            let snapshot = self.store.read(&needed).await?;
            if snapshot.revision != revision {
                return Err(Error::Contended);
            }
            let missing = snapshot.documents.iter().position(Option::is_none);
            if let Some(component) = missing.and_then(|at| binding.in_use().nth(at)) {
                return Err(Error::UnknownPolicy(component));
            }
            let batch = Batch {
                put: vec![(binding_key(organization), encode(&binding)?)],
                ..Batch::default()
            };
            self.commit(principal, revision, batch, record).await?;
            Ok(binding)
        })
        .await
    }

    async fn read_binding(
        &self,
        organization: &ScopePath,
    ) -> Result<(Revision, PolicyBinding), Error> {
        check_organization(organization)?;
        let keys = [scope::document_key(organization), binding_key(organization)];
        let snapshot = self.store.read(&keys).await?;
        let mut documents = snapshot.documents.into_iter();
        if documents.next().flatten().is_none() {
            return Err(Error::UnknownScope(organization.clone()));
        }
        let binding = match documents.next().flatten() {
            Some(document) => PolicyBinding::clone(&*document.body()?),
            None => PolicyBinding::default(),
        };
        Ok((snapshot.revision, binding))
    }

    /// All documents of a kind as of one revision.
    async fn documents<T: DeserializeOwned + Clone + Send + Sync + 'static>(
        &self,
        kind: &str,
    ) -> Result<(Revision, Vec<(DocumentKey, T)>), Error> {
        let keys = self.documents_of(kind).await?;
        let snapshot = self.store.read(&keys).await?;
        let mut bodies = Vec::with_capacity(keys.len());
        for (key, document) in keys.into_iter().zip(snapshot.documents) {
            // One may have gone since it was listed.
            if let Some(document) = document {
                bodies.push((key, T::clone(&*document.body::<T>()?)));
            }
        }
        Ok((snapshot.revision, bodies))
    }
}

/// Refuses a name by which nobody could ask for the policy.
fn check_name(name: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = (1..=MAX_NAME_CHARS).contains(&name.len()) && name.chars().all(is_plain);
    match fits && name != BUILT_IN {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "the policy calls itself {}; let about.describe answer a name of letters, digits, \
             `-`, `_` and `.`, at most {MAX_NAME_CHARS}, and not {BUILT_IN}",
            quoted(name)
        ))),
    }
}

/// The policy that an organization would go back to.
fn before(binding: PolicyBinding, organization: &ScopePath) -> Result<Bound, Error> {
    let newest = binding.earlier.into_iter().next();
    newest.ok_or_else(|| Error::Invalid(format!("{organization} had no other policy before")))
}

/// What removing an installed component takes.
struct Removal {
    /// As of when.
    revision: Revision,
    batch: Batch,
    /// The organizations that had it before what they have now.
    no_way_back: Vec<ScopePath>,
}

fn check_organization(path: &ScopePath) -> Result<(), Error> {
    match path.is_organization() {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "{path} is a project; a policy is an organization's, and decides for all its projects"
        ))),
    }
}

/// The journal's words for a change of an organization's policy.
fn record(change: &str, organization: &ScopePath, bound: Option<&Bound>) -> Value {
    let component = bound.map(|bound| match bound.component {
        Some(component) => component.to_string(),
        None => BUILT_IN.to_owned(),
    });
    json!({"change": change, "organization": organization, "component": component})
}

/// The beginning of a text that says where a component comes from, as it may be shown.
fn shown_source(text: &str) -> String {
    let beginning: String = text.chars().take(MAX_SOURCE_CHARS).collect();
    sanitize(&beginning).into_owned()
}
