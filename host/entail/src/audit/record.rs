//! The records of the decision log.

use entail_policy::{Decision, Facts, PolicyDigest, RequestFacts, ScopeFacts};
use entail_store::{Digest, RandomId, Revision};
use serde::{Deserialize, Serialize};

use super::lines::MAX_LINE_BYTES;

/// The capacity for an ordinary record.
const BODY_BYTES: usize = 2048;

/// More bytes than the place of a record has.
const PLACE_BYTES: usize = 256;

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
    pub(crate) principal: RandomId,
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
    pub(crate) facts: RecordedFacts<'a>,
}

/// The facts with the id of the principal in place of its text.
#[derive(Debug, Serialize)]
pub(crate) struct RecordedFacts<'a> {
    request: RequestFacts,
    chain: &'a [ScopeFacts],
}

impl<'a> RecordedFacts<'a> {
    pub(crate) fn new(facts: &'a Facts, principal: RandomId) -> Self {
        let Facts { request, chain } = facts;
        RecordedFacts {
            request: RequestFacts {
                principal: principal.to_string(),
                ..request.clone()
            },
            chain,
        }
    }
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

/// What became of a granted secret. It is recorded after the attempt to open it, and before
/// anything is revealed.
#[derive(Debug, Serialize)]
pub(crate) struct Opening {
    /// The sequence number of the decision among the records of the same writer.
    pub(crate) of: u64,
    pub(crate) at_ms: u64,
    #[serde(flatten)]
    pub(crate) result: OpeningResult,
}

/// The result of opening a secret.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub(crate) enum OpeningResult {
    /// It was opened, also if it was still in memory.
    Opened,
    /// It was not opened, so nothing was revealed.
    Failed {
        /// The code of the error.
        code: &'static str,
    },
}

/// What is written to the log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(crate) enum Entry<'a> {
    /// A decision.
    Decision(&'a Record<'a>),
    /// The outcome of opening the granted secret.
    Opening(Opening),
}

impl Entry<'_> {
    /// The JSON object without its place in a chain. It has at least one member.
    pub(super) fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::with_capacity(BODY_BYTES);
        entail_text::json::to_writer(&mut body, self)?;
        if body.len() > MAX_LINE_BYTES - PLACE_BYTES {
            return Err(std::io::Error::other(format!(
                "the record has {} bytes, and the limit is {MAX_LINE_BYTES}",
                body.len()
            )));
        }
        Ok(body)
    }
}

/// The place of a record in the chain of its writer.
pub(super) struct Place<'a> {
    pub(super) writer: &'a str,
    pub(super) sequence: u64,
    /// The digest of the line before.
    pub(super) previous: Option<Digest>,
}

impl Place<'_> {
    /// The line of an encoded record, with its newline.
    pub(super) fn line(&self, body: &[u8]) -> Vec<u8> {
        let previous = match self.previous {
            Some(previous) => format!("\"{previous}\""),
            None => "null".to_owned(),
        };
        let (writer, sequence) = (self.writer, self.sequence);
        let place =
            format!("{{\"writer\":\"{writer}\",\"sequence\":{sequence},\"previous\":{previous},");
        [place.as_bytes(), body.get(1..).unwrap_or_default(), b"\n"].concat()
    }
}
