//! A policy's answer, as the contract has it (`wit/policy.wit`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a policy decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Grant or refusal.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Every candidate, in the order in which the policy considered them.
    pub trail: Vec<Finding>,
    /// What else the policy said.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// Grant or refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// One credential may be used.
    Granted(Grant),
    /// None may.
    Refused(Refusal),
}

/// One credential may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The id of the credential.
    pub credential: String,
    /// The ids of those that may be used in its place, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<String>,
    /// The model the grant is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// No credential may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Why, as a code.
    pub code: String,
    /// Why, as a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The id of the credential.
    pub credential: String,
    /// What became of it, as a code.
    pub code: String,
    /// What else the policy said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}
