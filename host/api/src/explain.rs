//! Explanations.

use serde::{Deserialize, Serialize};

use super::decision::{Decision, Facts};

/// `explain`: what a scope gets for a provider, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Explanation {
    /// The revision of the store that the facts come from.
    pub revision: u64,
    /// The digest of the policy that decided.
    pub policy: String,
    /// What the policy decided on, as far as the principal may see it.
    pub facts: Facts,
    /// What the policy decided, as far as the principal may see it.
    pub decision: Decision,
    /// How many findings of the decision the principal may not see.
    #[serde(default)]
    pub hidden: u64,
    /// The codes of those findings.
    #[serde(default)]
    pub hidden_codes: Vec<String>,
    /// Commands that would lift a refusal.
    pub remedies: Vec<String>,
    /// Whether the identity is unlocked here, so that `readable` is known for each secret.
    pub identity_open: bool,
}
