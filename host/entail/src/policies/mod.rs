//! Policies in service: which component decides for which organization.
//!
//! An organization's [`PolicyBinding`] is a signed document that names the component
//! by its digest, with its settings, its limits, and who bound it; without one the
//! built-in policy decides. Activating a policy admits it off the path of requests and
//! then writes that one document. A call that is under way ends with the policy that
//! it began with.
//!
//! - [`serving`] finds out which policy decides, and makes it ready;
//! - [`manage`] installs, activates, rolls back and removes;
//! - [`shadow`] asks a policy that nobody listens to.

mod manage;
mod serving;
mod shadow;

pub use crate::documents::policy::{Bound, InstalledPolicy, PolicyBinding};
pub use manage::{ActivatePolicy, InstallPolicy};
pub use shadow::{ShadowAnswer, ShadowAnswers, shadow_answers};

pub(crate) use crate::documents::policy::{COMPONENT_KIND, POLICY_KIND};
pub(crate) use serving::{Policies, Serving};
pub(crate) use shadow::{Question, Shadow, ShadowLog};
