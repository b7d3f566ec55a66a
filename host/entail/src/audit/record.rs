//! A line of the decision log.

use entail_policy::{Decision, Facts, PolicyDigest};
use entail_store::Revision;
use serde::{Deserialize, Serialize};

/// What a decision was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// A credential is returned.
    Lease,
    /// The secret was opened only to see whether it opens, and dropped.
    Status,
}

/// A decision to record.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) at_ms: u64,
    pub(crate) purpose: Purpose,
    pub(crate) principal: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) provider: &'a str,
    /// The revision of the store that the facts were read at.
    pub(crate) revision: Revision,
    /// The component that decided.
    pub(crate) policy: PolicyDigest,
    /// The revision of the store that activated the policy with its settings; `None` for
    /// the built-in policy where none was activated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bound_at: Option<Revision>,
    #[serde(flatten)]
    pub(crate) outcome: Outcome<'a>,
    /// The granted credential, which the facts do not name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) granted: Option<Granted<'a>>,
    pub(crate) facts: &'a Facts,
}

/// The granted credential, by names that remain valid after it is removed.
#[derive(Debug, Serialize)]
pub(crate) struct Granted<'a> {
    pub(crate) holder: &'a str,
    pub(crate) credential: &'a str,
    pub(crate) version: u32,
}

/// The result of a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub(crate) enum Outcome<'a> {
    /// The policy decided, and the guard allowed the decision.
    Decided { decision: &'a Decision },
    /// The policy failed, or the guard rejected the decision.
    Failed { failure: String },
}

/// A record and its place in the chain of its writer.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) writer: &'a str,
    pub(crate) sequence: u64,
    /// The digest of the line before.
    pub(crate) previous: Option<entail_store::Digest>,
    #[serde(flatten)]
    pub(crate) record: &'a Record<'a>,
}
