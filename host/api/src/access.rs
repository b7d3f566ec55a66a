//! Comparisons of who gets which credential.

use std::collections::BTreeMap;

use serde::Serialize;

use super::policy::PolicyReference;

/// What a policy decides for a request, as far as it matters to who gets what.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EffectiveDecision {
    /// The scope does not exist.
    Absent,
    /// Credentials may be used.
    Granted {
        /// The chosen credential, then its alternates in order.
        credentials: Vec<OfferedCredential>,
        /// The model that the policy chose, if the request named none.
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// No credential may be used.
    Refused {
        /// The code of the refusal.
        code: String,
    },
    /// The policy failed, or chose what it may not choose. No credential may be used.
    Failed {
        /// Why.
        cause: String,
    },
}

/// A credential that may be used.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OfferedCredential {
    /// Its id.
    pub id: String,
    /// The path of the scope that holds it.
    pub holder: String,
    /// Its name there.
    pub name: String,
}

/// How two decisions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// A credential may be used that could not be used before.
    Widened,
    /// The policy decided before and fails now.
    NowFailing,
    /// A credential may no longer be used, and no other takes its place.
    Narrowed,
    /// The same credentials may be used, in another order or for another model.
    Reordered,
    /// No credential may be used before or after, for another reason.
    ReasonChanged,
    /// Nothing differs.
    Same,
}

/// How many decisions differ, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DifferenceCounts {
    /// A credential may be used that could not be used before.
    pub widened: u64,
    /// The policy decided before and fails now.
    pub now_failing: u64,
    /// A credential may no longer be used, and no other takes its place.
    pub narrowed: u64,
    /// The same credentials may be used, in another order or for another model.
    pub reordered: u64,
    /// No credential may be used before or after, for another reason.
    pub reason_changed: u64,
    /// Nothing differs.
    pub same: u64,
}

impl DifferenceCounts {
    /// Returns how many decisions were compared.
    pub fn all(&self) -> u64 {
        self.widened
            + self.now_failing
            + self.narrowed
            + self.reordered
            + self.reason_changed
            + self.same
    }
}

/// What every scope gets now, compared with what it would get. `policy diff`, and
/// `--dry-run` of commands that change who gets what.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AccessComparison {
    /// The policy that would decide, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyReference>,
    /// The revision of the store that was compared.
    pub revision: u64,
    /// How many scopes were compared.
    pub scopes: u64,
    /// How many requests differ, and how.
    pub counts: DifferenceCounts,
    /// The requests that differ, by scope and provider.
    pub changes: Vec<AccessChange>,
    /// Which requests were compared.
    pub coverage: ComparisonCoverage,
    /// What a person should know of the change.
    pub notes: Vec<String>,
    /// Whether this was a dry run of a change.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// A request that is decided in another way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AccessChange {
    /// The scope that asks.
    pub scope: String,
    /// The provider.
    pub provider: String,
    /// Whether this is so for every request of the scope for the provider. If it is not,
    /// the next fields say for which.
    pub any: bool,
    /// The name of the requested credential.
    pub credential: Option<String>,
    /// The requested model.
    pub model: Option<String>,
    /// The attributes of the request.
    pub attributes: BTreeMap<String, String>,
    /// The variables and providers that the caller keeps.
    pub kept: Vec<String>,
    /// How long from now, in milliseconds, if it differs only later.
    pub later_ms: Option<u64>,
    /// How the decisions differ.
    pub difference: Difference,
    /// The decision now.
    pub from: EffectiveDecision,
    /// The decision then.
    pub to: EffectiveDecision,
}

/// Which requests were compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ComparisonCoverage {
    /// Later times that were compared besides now, in milliseconds from now.
    pub later_ms: Vec<u64>,
    /// How many records of the decision log were read.
    pub records: u64,
    /// How many different requests they contain.
    pub recorded_requests: u64,
    /// How many more they contain that were not compared.
    pub skipped: u64,
    /// The attributes that requests were also compared with.
    pub attributes: BTreeMap<String, String>,
    /// How many of the recorded requests have attributes.
    pub with_attributes: u64,
    /// How many of these are decided in another way without them.
    pub attributes_matter: u64,
}
