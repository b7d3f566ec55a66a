//! Replays of the decision log, and comparisons of a shadow with the active policy.

use serde::Serialize;

use super::access::{Difference, DifferenceCounts, EffectiveDecision};
use super::policy::PolicyReference;

/// The decision log decided again. `policy replay`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplayReport {
    /// The policy that decided.
    pub policy: PolicyReference,
    /// How many records differ, and how.
    pub counts: DifferenceCounts,
    /// The records that differ, in groups.
    pub changes: Vec<ReplayedChange>,
    /// Records that differ and are in no group, because there are too many groups.
    pub ungrouped: u64,
    /// Lines of the log that are not records.
    pub unreadable: u64,
}

/// Records that differ in the same way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplayedChange {
    /// The scope that asked.
    pub scope: String,
    /// The provider.
    pub provider: String,
    /// How the decisions differ.
    pub difference: Difference,
    /// The recorded decision.
    pub from: EffectiveDecision,
    /// The decision of the policy.
    pub to: EffectiveDecision,
    /// How many records.
    pub times: u64,
    /// The earliest of them.
    pub example: RecordPlace,
}

/// The place of a record in the decision log.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RecordPlace {
    /// When it was decided, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// Who wrote it.
    pub writer: String,
    /// Its number among the records of this writer.
    pub sequence: u64,
}

/// A request that a shadow has decided too. An item of `decisions` in `policy shadow ORG`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShadowDecision {
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The scope that asked.
    pub scope: String,
    /// The provider.
    pub provider: String,
    /// The digest of the active policy.
    pub policy: String,
    /// Its decision.
    pub decision: EffectiveDecision,
    /// The digest of the shadow.
    pub shadow: String,
    /// Its decision.
    pub shadow_decision: EffectiveDecision,
    /// How the decisions differ.
    pub difference: Difference,
}

/// How a shadow compares with the active policy: what `policy shadow ORG` prints after the
/// list `decisions` of [`ShadowDecision`], which may be too long for memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShadowSummary {
    /// The organization.
    pub organization: String,
    /// The digest of the shadow.
    pub shadow: String,
    /// How many requests there were since the shadow was set.
    pub requests: u64,
    /// How many decisions of the shadow differ, and how.
    pub counts: DifferenceCounts,
}
