//! The operations on policies.

use std::time::Duration;

use entail_policy::{Engine, Policy};

use crate::authorize::authorize;
use crate::documents::policy::active_policy_key;
use crate::entail::Entail;
use crate::error::Error;
use crate::principal::{Action, Principal};
use entail_decision::name::ScopePath;

/// Policies: which are installed, and which one decides for which organization.
/// [`Entail::policies`] returns it.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a> {
    pub(crate) entail: &'a Entail,
}

impl Entail {
    /// The operations on policies.
    pub fn policies(&self) -> Policies<'_> {
        Policies { entail: self }
    }
}

impl<'a> Policies<'a> {
    /// The built-in policy, which decides where no other is active. It is compiled when it
    /// is first needed.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] if the engine cannot be set up.
    pub fn built_in(self) -> Result<&'a Policy, Error> {
        self.entail.serving.built_in()
    }

    /// The engine that policies run on.
    pub fn engine(self) -> &'a Engine {
        self.entail.serving.engine()
    }

    /// Loads the active policy of an organization.
    ///
    /// # Errors
    ///
    /// [`Error::PolicyUnready`], [`Error::Tampered`].
    pub async fn load_active(
        self,
        principal: &Principal,
        organization: &ScopePath,
    ) -> Result<Policy, Error> {
        authorize(principal, Action::View, organization)?;
        self.load_deciding(organization).await
    }

    /// Loads the active policy of an organization, for decisions of this library.
    pub(crate) async fn load_deciding(self, organization: &ScopePath) -> Result<Policy, Error> {
        let store = &self.entail.documents.store;
        let (_, document) = store.read_one(&active_policy_key(organization)).await?;
        let active = document.as_ref().map(|document| (organization, document));
        let serving = self.entail.serving.serving(store, active).await?;
        Ok(serving.policy.clone())
    }

    /// Waits until shadow policies have decided all requests so far, for at most
    /// `within`. For a program that is about to exit.
    pub async fn settle_shadows(self, within: Duration) {
        self.entail.shadow_log.settle(within).await;
    }
}
