//! Activating policies, rolling back, and setting shadows.
//!
//! A policy is loaded, and has accepted its settings, before anything is written.

use std::collections::BTreeMap;

use entail_policy::{Isolation, Limits, Policy, PolicyDigest, Values};
use entail_store::{Batch, DocumentKey, Revision};
use serde_json::{Value, json};

use crate::authorize::{authorize, authorize_whole};
use crate::compare::access::AccessChanges;
use crate::documents::encode;
use crate::documents::policy::{
    ActivePolicy, POLICY_KIND, PolicyActivation, active_policy_key, component_key,
};
use crate::documents::scope;
use crate::error::{BUILT_IN, Error};
use crate::policies::handle::Policies;
use crate::principal::{Action, Principal};
use entail_decision::name::{AttributeName, AttributeValue, ScopePath};

/// A policy to activate, or to set as a shadow.
#[derive(Clone, Debug, Default)]
pub struct ActivatePolicy {
    /// The installed component; `None` for the built-in policy.
    pub component: Option<PolicyDigest>,
    /// Its settings.
    pub settings: Values,
    /// The limits of its calls; `None` for those that it was installed with.
    pub limits: Option<Limits>,
    /// What its calls share.
    pub isolation: Isolation,
}

impl Policies<'_> {
    /// The active policy of an organization, and its previous ones.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::Tampered`].
    pub async fn active(
        self,
        principal: &Principal,
        organization: &ScopePath,
    ) -> Result<ActivePolicy, Error> {
        authorize(principal, Action::View, organization)?;
        Ok(self.read_active_policy(organization).await?.1)
    }

    /// The active policies of all organizations that ever activated one.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`].
    pub async fn all_active(
        self,
        principal: &Principal,
    ) -> Result<Vec<(ScopePath, ActivePolicy)>, Error> {
        authorize_whole(principal, Action::View)?;
        let (_, documents) = self
            .entail
            .documents
            .bodies::<ActivePolicy>(POLICY_KIND)
            .await?;
        documents
            .into_iter()
            .map(|(key, active)| Ok((key.name.parse()?, active)))
            .collect()
    }

    /// Loads an installed policy, and checks that it accepts its settings.
    async fn prepare_policy(
        self,
        principal: &Principal,
        activate: &ActivatePolicy,
    ) -> Result<(Policy, PolicyActivation), Error> {
        authorize_whole(principal, Action::View)?;
        let limits = match (&activate.limits, activate.component) {
            (Some(limits), _) => limits.clone(),
            (None, Some(component)) => self.get(principal, component).await?.limits,
            (None, None) => Limits::default(),
        };
        let activation = PolicyActivation {
            component: activate.component,
            settings: activate.settings.clone(),
            limits,
            isolation: activate.isolation,
            activated_by: Some(self.entail.documents.id_of(principal).await?),
            activated_at_ms: self.entail.documents.now_ms(),
        };
        let loader = self.entail.serving.loader();
        let policy = loader
            .load(&self.entail.documents.store, &activation)
            .await?;
        let settings = activation.settings.clone();
        let policy = policy.with_settings_async(settings).await?;
        Ok((policy, activation))
    }

    /// Activates a policy for an organization and all its projects: from the next request in
    /// this process, and within a second in others. The policy is loaded first, so no
    /// request waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownScope`], [`Error::UnknownPolicy`], [`Error::BadSettings`],
    /// [`Error::PolicyUnready`].
    pub async fn activate(
        self,
        principal: &Principal,
        organization: &ScopePath,
        activate: ActivatePolicy,
    ) -> Result<ActivePolicy, Error> {
        check_organization(organization)?;
        authorize(principal, Action::Administer, organization)?;
        let (_, activation) = self.prepare_policy(principal, &activate).await?;
        let record = record("activate-policy", organization, Some(&activation));
        self.change_active_policy(principal, organization, &record, |active| {
            active.activate(activation.clone());
            Ok(())
        })
        .await
    }

    /// The policy that [`Policies::activate`] would activate, and how decisions would
    /// change.
    ///
    /// # Errors
    ///
    /// As [`Policies::activate`].
    pub async fn plan_activate(
        self,
        principal: &Principal,
        organization: &ScopePath,
        activate: &ActivatePolicy,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<(Policy, AccessChanges), Error> {
        self.check_can_activate(principal, organization).await?;
        let (policy, _) = self.prepare_policy(principal, activate).await?;
        self.with_changes(principal, organization, policy, attributes)
            .await
    }

    /// Activates the previous policy again; rolling back again undoes it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there was none; else as [`Policies::activate`].
    pub async fn roll_back(
        self,
        principal: &Principal,
        organization: &ScopePath,
    ) -> Result<ActivePolicy, Error> {
        check_organization(organization)?;
        authorize(principal, Action::Administer, organization)?;
        let previous = previous(self.read_active_policy(organization).await?.1, organization)?;
        // It may have been active before this process started.
        let loader = self.entail.serving.loader();
        loader.load(&self.entail.documents.store, &previous).await?;
        let record = record("roll-back-policy", organization, Some(&previous));
        let id = self.entail.documents.id_of(principal).await?;
        self.change_active_policy(principal, organization, &record, |active| {
            if active.previous.first() != Some(&previous) {
                return Err(Error::Contended);
            }
            active.roll_back(id, self.entail.documents.now_ms());
            Ok(())
        })
        .await
    }

    /// The policy that [`Policies::roll_back`] would activate, and how decisions would
    /// change.
    ///
    /// # Errors
    ///
    /// As [`Policies::roll_back`].
    pub async fn plan_roll_back(
        self,
        principal: &Principal,
        organization: &ScopePath,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<(Policy, AccessChanges), Error> {
        let active = self.check_can_activate(principal, organization).await?;
        let previous = previous(active, organization)?;
        let loader = self.entail.serving.loader();
        let policy = loader.load(&self.entail.documents.store, &previous).await?;
        self.with_changes(principal, organization, policy, attributes)
            .await
    }

    async fn with_changes(
        self,
        principal: &Principal,
        organization: &ScopePath,
        policy: Policy,
        attributes: &BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<(Policy, AccessChanges), Error> {
        let changes = self
            .diff(principal, &policy, Some(organization), attributes)
            .await?;
        Ok((policy, changes))
    }

    /// Sets or removes the shadow policy of an organization, whose decisions are only
    /// logged ([`crate::shadow_decisions`]).
    ///
    /// # Errors
    ///
    /// As [`Policies::activate`].
    pub async fn shadow(
        self,
        principal: &Principal,
        organization: &ScopePath,
        shadow: Option<ActivatePolicy>,
    ) -> Result<ActivePolicy, Error> {
        check_organization(organization)?;
        authorize(principal, Action::Administer, organization)?;
        let activation = match shadow {
            None => None,
            Some(shadow) => Some(self.prepare_policy(principal, &shadow).await?.1),
        };
        let record = record("shadow-policy", organization, activation.as_ref());
        self.change_active_policy(principal, organization, &record, |active| {
            active.shadow.clone_from(&activation);
            Ok(())
        })
        .await
    }

    /// What [`Policies::shadow`] would set. Loads the shadow, and writes nothing.
    ///
    /// # Errors
    ///
    /// As [`Policies::shadow`].
    pub async fn plan_shadow(
        self,
        principal: &Principal,
        organization: &ScopePath,
        shadow: Option<&ActivatePolicy>,
    ) -> Result<ActivePolicy, Error> {
        let mut active = self.check_can_activate(principal, organization).await?;
        active.shadow = match shadow {
            None => None,
            Some(shadow) => Some(self.prepare_policy(principal, shadow).await?.1),
        };
        Ok(active)
    }

    /// Fails if the policy of an organization could not be changed now; returns it.
    async fn check_can_activate(
        self,
        principal: &Principal,
        organization: &ScopePath,
    ) -> Result<ActivePolicy, Error> {
        check_organization(organization)?;
        authorize(principal, Action::Administer, organization)?;
        self.entail.documents.check_can_commit().await?;
        Ok(self.read_active_policy(organization).await?.1)
    }

    /// Changes the document of an organization's policy.
    async fn change_active_policy(
        self,
        principal: &Principal,
        organization: &ScopePath,
        record: &Value,
        change: impl Fn(&mut ActivePolicy) -> Result<(), Error>,
    ) -> Result<ActivePolicy, Error> {
        self.entail
            .documents
            .until_not_contended(|| async {
                let (revision, mut active) = self.read_active_policy(organization).await?;
                change(&mut active)?;
                // A component may have been removed meanwhile.
                let needed: Vec<DocumentKey> = active.in_use().map(component_key).collect();
                let snapshot = self.entail.documents.store.read(&needed).await?;
                if snapshot.revision != revision {
                    return Err(Error::Contended);
                }
                let missing = snapshot.documents.iter().position(Option::is_none);
                if let Some(component) = missing.and_then(|at| active.in_use().nth(at)) {
                    return Err(Error::UnknownPolicy(component));
                }
                let batch = Batch {
                    put: vec![(active_policy_key(organization), encode(&active)?)],
                    ..Batch::default()
                };
                self.entail
                    .documents
                    .commit(principal, revision, batch, record)
                    .await?;
                Ok(active)
            })
            .await
    }

    async fn read_active_policy(
        self,
        organization: &ScopePath,
    ) -> Result<(Revision, ActivePolicy), Error> {
        check_organization(organization)?;
        let keys = [
            scope::document_key(organization),
            active_policy_key(organization),
        ];
        let snapshot = self.entail.documents.store.read(&keys).await?;
        let mut documents = snapshot.documents.into_iter();
        if documents.next().flatten().is_none() {
            return Err(Error::UnknownScope(organization.clone()));
        }
        let active = match documents.next().flatten() {
            Some(document) => ActivePolicy::clone(&*document.body()?),
            None => ActivePolicy::default(),
        };
        Ok((snapshot.revision, active))
    }
}

/// The policy that an organization would roll back to.
fn previous(active: ActivePolicy, organization: &ScopePath) -> Result<PolicyActivation, Error> {
    let newest = active.previous.into_iter().next();
    newest.ok_or_else(|| Error::NoPreviousPolicy(organization.clone()))
}

fn check_organization(path: &ScopePath) -> Result<(), Error> {
    if path.is_organization() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{path} is a project; a policy belongs to an organization, and decides for all its projects"
    )))
}

/// The journal record of a change of an organization's policy.
fn record(change: &str, organization: &ScopePath, activation: Option<&PolicyActivation>) -> Value {
    let component = activation.map(|activation| match activation.component {
        Some(component) => component.to_string(),
        None => BUILT_IN.to_owned(),
    });
    json!({"change": change, "organization": organization, "component": component})
}
