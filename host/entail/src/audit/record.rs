//! What a line of the decision log says.

use entail_policy::{Decision, Facts, PolicyDigest};
use entail_store::Revision;
use serde::{Deserialize, Serialize};

/// What a decision was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// A credential is handed out.
    Lease,
    /// It was opened to see whether it could be, and let go.
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
    /// The revision of the store that the facts are of.
    pub(crate) revision: Revision,
    /// The component that decided.
    pub(crate) policy: PolicyDigest,
    /// The revision of the store that put it in service, with its settings; none for
    /// the built-in policy that nobody bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) binding: Option<Revision>,
    #[serde(flatten)]
    pub(crate) outcome: Outcome<'a>,
    /// Which secret a grant is for, which the facts do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) granted: Option<Granted<'a>>,
    pub(crate) facts: &'a Facts,
}

/// The granted credential, in words that outlive it.
#[derive(Debug, Serialize)]
pub(crate) struct Granted<'a> {
    pub(crate) holder: &'a str,
    pub(crate) credential: &'a str,
    pub(crate) version: u32,
}

/// What came of the request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub(crate) enum Outcome<'a> {
    /// The policy decided, and the guard let it pass.
    Decided { decision: &'a Decision },
    /// The policy failed, or the guard stopped it.
    Failed { failure: String },
}

/// A line: a record, and where it stands in the chain of its writer.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) writer: &'a str,
    pub(crate) sequence: u64,
    /// The digest of the line before.
    pub(crate) previous: Option<entail_store::Digest>,
    #[serde(flatten)]
    pub(crate) record: &'a Record<'a>,
}
