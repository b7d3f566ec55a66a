//! Policies: installing components, and which one decides for which organization.
//!
//! The [`ActivePolicy`] of an organization is a signed document with the digest of the
//! component, its settings, its limits, and who activated it. Without one, the built-in
//! policy decides. Activating a policy admits it first, outside of any request, and then
//! writes that one document. A request that is being decided finishes with the policy it
//! began with.
//!
//! - [`loader`] admits components and keeps them;
//! - [`serving`] finds the policy that decides for an organization;
//! - [`handle`], [`install`] and [`activate`] are the operations that users call;
//! - [`shadow`] runs a policy whose decisions are only logged.

mod activate;
mod handle;
mod install;
mod loader;
mod serving;
mod shadow;
mod shadow_log;

pub use crate::documents::policy::{ActivePolicy, InstalledPolicy, PolicyActivation};
pub use activate::ActivatePolicy;
pub use handle::Policies;
pub use install::InstallPolicy;
pub use shadow_log::{ShadowDecision, ShadowDecisions, shadow_decisions};

pub(crate) use serving::{Serving, ServingPolicies};
pub(crate) use shadow::Shadow;
pub(crate) use shadow_log::{ShadowLog, ShadowRequest};
