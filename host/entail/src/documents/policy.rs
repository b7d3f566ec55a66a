//! The documents of policies: installed components, and the active policy of each
//! organization.

use entail_policy::{Isolation, Limits, PolicyDigest, Values};
use entail_store::{DocumentKey, RandomId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use entail_decision::name::ScopePath;

/// The kind of the documents of installed components.
pub(crate) const COMPONENT_KIND: &str = "component";

/// The kind of the documents of active policies.
pub(crate) const POLICY_KIND: &str = "policy";

/// How many previous policies are kept for rolling back.
const MAX_PREVIOUS: usize = 8;

/// The key of the document of an installed component.
pub(crate) fn component_key(component: PolicyDigest) -> DocumentKey {
    DocumentKey::new(COMPONENT_KIND, component.to_string())
}

/// The key of the document of an organization's active policy.
pub(crate) fn active_policy_key(organization: &ScopePath) -> DocumentKey {
    DocumentKey::new(POLICY_KIND, organization.as_str())
}

/// An installed component. Its bytes are a blob of the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledPolicy {
    /// The SHA-256 of its bytes, which identifies it.
    pub component: PolicyDigest,
    /// Its size in bytes.
    pub bytes: usize,
    /// The name that it gives itself.
    pub name: String,
    /// The version that it gives itself.
    pub version: String,
    /// Its summary of itself.
    pub summary: String,
    /// The version of the contract that it implements.
    pub contract: String,
    /// The JSON Schema of its settings; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// The default limits of its calls.
    pub limits: Limits,
    /// Where it came from, as the installer described it.
    pub source: String,
    /// The policy below it, if it is a layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<PolicyDigest>,
    /// The id of the principal that installed it.
    pub installed_by: RandomId,
    /// The time, in milliseconds since 1970-01-01T00:00:00Z.
    pub installed_at_ms: u64,
}

impl InstalledPolicy {
    /// The blob with its bytes.
    pub(crate) fn blob(&self) -> entail_store::Digest {
        blob_of(self.component)
    }
}

/// The blob with the bytes of a component.
pub(crate) fn blob_of(component: PolicyDigest) -> entail_store::Digest {
    // Both are identified by the SHA-256 of the bytes.
    entail_store::Digest::from(*component.as_bytes())
}

/// A policy as it was activated, or set as a shadow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyActivation {
    /// The component; `None` for the built-in policy.
    pub component: Option<PolicyDigest>,
    /// Its settings.
    pub settings: Values,
    /// The limits of each call.
    pub limits: Limits,
    /// What its calls share.
    pub isolation: Isolation,
    /// The id of the principal that activated it; `None` for the built-in policy by default.
    pub activated_by: Option<RandomId>,
    /// The time, in milliseconds since 1970-01-01T00:00:00Z.
    pub activated_at_ms: u64,
}

impl PolicyActivation {
    /// The built-in policy, which is active where none was activated.
    pub(crate) fn built_in() -> Self {
        PolicyActivation {
            component: None,
            settings: Values::new(),
            limits: Limits::default(),
            isolation: Isolation::PerCall,
            activated_by: None,
            activated_at_ms: 0,
        }
    }

    /// Whether it decides in the same way, regardless of who activated it and when.
    pub(crate) fn is_equivalent(&self, other: &PolicyActivation) -> bool {
        self.component == other.component
            && self.settings == other.settings
            && self.limits == other.limits
            && self.isolation == other.isolation
    }
}

/// The active policy of an organization, its previous policies, and its shadow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivePolicy {
    /// The policy that decides.
    pub current: PolicyActivation,
    /// The previous policies, newest first.
    #[serde(default)]
    pub previous: Vec<PolicyActivation>,
    /// A policy whose decisions are only logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<PolicyActivation>,
}

impl Default for ActivePolicy {
    fn default() -> Self {
        ActivePolicy {
            current: PolicyActivation::built_in(),
            previous: Vec::new(),
            shadow: None,
        }
    }
}

impl ActivePolicy {
    /// Activates a policy. The current one becomes the previous one, unless the new one is
    /// equivalent. Removes an equivalent shadow.
    pub(crate) fn activate(&mut self, next: PolicyActivation) {
        let is_different = !self.current.is_equivalent(&next);
        let before = std::mem::replace(&mut self.current, next);
        if is_different {
            self.previous.insert(0, before);
            self.previous.truncate(MAX_PREVIOUS);
        }
        self.remove_equivalent_shadow();
    }

    /// Activates the previous policy again; rolling back again undoes it.
    pub(crate) fn roll_back(&mut self, activated_by: RandomId, activated_at_ms: u64) {
        if self.previous.is_empty() {
            return;
        }
        let restored = PolicyActivation {
            activated_by: Some(activated_by),
            activated_at_ms,
            ..self.previous.remove(0)
        };
        let replaced = std::mem::replace(&mut self.current, restored);
        self.previous.insert(0, replaced);
        self.remove_equivalent_shadow();
    }

    /// Removes a shadow that is equivalent to the current policy.
    fn remove_equivalent_shadow(&mut self) {
        let current = &self.current;
        self.shadow = self
            .shadow
            .take()
            .filter(|shadow| !shadow.is_equivalent(current));
    }

    /// The components of the current policy and of the shadow.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = PolicyDigest> {
        let shadow = self.shadow.as_ref();
        std::iter::once(&self.current)
            .chain(shadow)
            .filter_map(|activation| activation.component)
    }
}
