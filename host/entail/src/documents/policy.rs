//! What the store keeps of policies.

use entail_policy::{Isolation, Limits, PolicyDigest, Values};
use entail_store::DocumentKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use entail_decision::name::ScopePath;

/// The kind of the documents of installed components.
pub(crate) const COMPONENT_KIND: &str = "component";

/// The kind of the documents that say which policy decides.
pub(crate) const POLICY_KIND: &str = "policy";

/// How many policies that were in service before can be gone back to.
const MAX_EARLIER: usize = 8;

/// The document of an installed component.
pub(crate) fn component_key(component: PolicyDigest) -> DocumentKey {
    DocumentKey::new(COMPONENT_KIND, component.to_string())
}

/// The document of an organization's policy.
pub(crate) fn binding_key(organization: &ScopePath) -> DocumentKey {
    DocumentKey::new(POLICY_KIND, organization.as_str())
}

/// A component that was admitted and is kept. Its bytes are a blob of the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledPolicy {
    /// The SHA-256 of its bytes, which names it.
    pub component: PolicyDigest,
    /// How many bytes it has.
    pub bytes: usize,
    /// What it calls itself.
    pub name: String,
    /// The version that it says it is.
    pub version: String,
    /// What it says that it does.
    pub summary: String,
    /// The version of the contract that it was built against.
    pub contract: String,
    /// The JSON Schema of its settings; none if nothing can be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// What its calls may use up, unless an organization says otherwise.
    pub limits: Limits,
    /// Where it came from, in the words of who installed it.
    pub source: String,
    /// The policy below, if it is a layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<PolicyDigest>,
    /// Who installed it.
    pub installed_by: String,
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub installed_at_ms: u64,
}

impl InstalledPolicy {
    /// The blob that has its bytes.
    pub(crate) fn blob(&self) -> entail_store::Digest {
        blob_of(self.component)
    }
}

/// The blob that has the bytes of a component.
pub(crate) fn blob_of(component: PolicyDigest) -> entail_store::Digest {
    // The store names a blob as a policy is named: by the SHA-256 of the bytes.
    entail_store::Digest::from(*component.as_bytes())
}

/// A component as it is, or was, put in service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The component; none is the built-in policy.
    pub component: Option<PolicyDigest>,
    /// What is set for it.
    pub settings: Values,
    /// What each of its calls may use up.
    pub limits: Limits,
    /// What its calls share.
    pub isolation: Isolation,
    /// Who put it in service; empty for the built-in policy that nobody bound.
    pub bound_by: String,
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub bound_at_ms: u64,
}

impl Bound {
    /// The built-in policy, as it decides where nobody has bound one.
    pub(crate) fn built_in() -> Self {
        Bound {
            component: None,
            settings: Values::new(),
            limits: Limits::default(),
            isolation: Isolation::PerCall,
            bound_by: String::new(),
            bound_at_ms: 0,
        }
    }

    /// Whether it decides in the same way, whoever bound it.
    pub(crate) fn serves_as(&self, other: &Bound) -> bool {
        self.component == other.component
            && self.settings == other.settings
            && self.limits == other.limits
            && self.isolation == other.isolation
    }
}

/// Which policy decides for an organization.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyBinding {
    /// The one in service.
    pub active: Bound,
    /// Those that were before, the newest first.
    #[serde(default)]
    pub earlier: Vec<Bound>,
    /// One that is asked as well, and whose answers are only written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Bound>,
}

impl Default for PolicyBinding {
    fn default() -> Self {
        PolicyBinding {
            active: Bound::built_in(),
            earlier: Vec::new(),
            shadow: None,
        }
    }
}

impl PolicyBinding {
    /// Puts another in service; the present one can be gone back to. One that decides
    /// in the same way is no other; a shadow that does is a shadow no more.
    pub(crate) fn activate(&mut self, next: Bound) {
        let is_other = !self.active.serves_as(&next);
        let before = std::mem::replace(&mut self.active, next);
        if is_other {
            self.earlier.insert(0, before);
            self.earlier.truncate(MAX_EARLIER);
        }
        self.end_shadow_in_service();
    }

    /// Puts the one before back in service; that can be taken back in the same way.
    pub(crate) fn roll_back(&mut self, bound_by: String, bound_at_ms: u64) {
        if self.earlier.is_empty() {
            return;
        }
        let back = Bound {
            bound_by,
            bound_at_ms,
            ..self.earlier.remove(0)
        };
        let replaced = std::mem::replace(&mut self.active, back);
        self.earlier.insert(0, replaced);
        self.end_shadow_in_service();
    }

    /// A shadow that decides as the one in service does has nothing to tell.
    fn end_shadow_in_service(&mut self) {
        let active = &self.active;
        self.shadow = self
            .shadow
            .take()
            .filter(|shadow| !shadow.serves_as(active));
    }

    /// The components that are named as in service or as a shadow.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = PolicyDigest> {
        let shadow = self.shadow.as_ref();
        std::iter::once(&self.active)
            .chain(shadow)
            .filter_map(|bound| bound.component)
    }
}
