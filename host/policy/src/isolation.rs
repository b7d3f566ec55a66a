//! How the calls of a policy are separated from one another.

use serde::{Deserialize, Serialize};

/// What the calls of a policy share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Nothing: each call gets a fresh instance. No call can see what another did.
    #[default]
    PerCall,
    /// One warm instance for all requests of an organization, one after the other. For
    /// policies that are slow to instantiate. The policy can keep state: a decision may
    /// depend on earlier requests of the same organization, so past decisions cannot be
    /// reproduced reliably. After a failed call the instance is dropped and a new one is
    /// made.
    PerOrganization,
}
