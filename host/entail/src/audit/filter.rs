//! Selecting records of the log.

use super::principals::PrincipalNames;
use super::recorded_decision::{RecordedDecision, RecordedRequest};
use super::recorded_opening::RecordedOpening;
use entail_decision::name::{ProviderId, ScopePath};

/// Selects the records that match all of its fields.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this scope and those below it.
    pub scope: Option<ScopePath>,
    /// Only this provider.
    pub provider: Option<ProviderId>,
    /// Only this principal: its text, or its id in the log.
    pub principal: Option<String>,
    /// Only this outcome.
    pub outcome: Option<OutcomeFilter>,
    /// At or after this time, in milliseconds since 1970-01-01T00:00:00Z.
    pub since_ms: Option<u64>,
    /// Before this time.
    pub until_ms: Option<u64>,
    /// Without probes ([`RecordedDecision::is_probe`]).
    pub without_probes: bool,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeFilter {
    /// A credential was granted, whatever became of its secret.
    Granted,
    /// A credential was granted, and its secret was opened.
    Opened,
    /// A credential was granted, and its secret was not opened.
    NotOpened,
    /// A credential was granted, and what became of its secret is not recorded.
    Unknown,
    /// The policy refused.
    Refused,
    /// The policy failed, or the guard rejected its decision.
    Failed,
    /// The policy refused with this code, or a secret was not opened because of an error with
    /// this code.
    Code(String),
}

impl From<&str> for OutcomeFilter {
    fn from(text: &str) -> Self {
        match text {
            "granted" => OutcomeFilter::Granted,
            "opened" => OutcomeFilter::Opened,
            "not-opened" => OutcomeFilter::NotOpened,
            "unknown" => OutcomeFilter::Unknown,
            "refused" => OutcomeFilter::Refused,
            "failed" => OutcomeFilter::Failed,
            code => OutcomeFilter::Code(code.to_owned()),
        }
    }
}

impl OutcomeFilter {
    /// Whether it depends on what became of a granted secret.
    pub(crate) fn is_of_opening(&self) -> bool {
        matches!(
            self,
            OutcomeFilter::Opened | OutcomeFilter::NotOpened | OutcomeFilter::Unknown
        )
    }
}

impl Filter {
    /// Parses a line; `None` if it is not a decision, or its request does not match. Whether
    /// its outcome matches is known once its opening is ([`Filter::matches_outcome`]).
    pub(super) fn parse(
        &self,
        line: &[u8],
        names: &mut PrincipalNames,
    ) -> Option<RecordedDecision> {
        RecordedDecision::parse(line, names, |request| self.matches_request(request))
    }

    /// Whether a matching record is excluded because it is a probe.
    pub(super) fn excludes_probe(&self, record: &RecordedDecision) -> bool {
        self.without_probes && record.is_probe()
    }

    pub(super) fn matches_outcome(&self, record: &RecordedDecision) -> bool {
        match (&self.outcome, record.opening()) {
            (None, _) => true,
            (Some(OutcomeFilter::Granted), _) => record.outcome() == "granted",
            (Some(OutcomeFilter::Opened), opening) => {
                matches!(opening, Some(RecordedOpening::Opened { .. }))
            }
            (Some(OutcomeFilter::NotOpened), opening) => {
                matches!(opening, Some(RecordedOpening::Failed { .. }))
            }
            (Some(OutcomeFilter::Unknown), opening) => {
                matches!(opening, Some(RecordedOpening::Unknown))
            }
            (Some(OutcomeFilter::Refused), _) => record.outcome() == "refused",
            (Some(OutcomeFilter::Failed), _) => record.outcome() == "failed",
            (Some(OutcomeFilter::Code(wanted)), Some(RecordedOpening::Failed { code, .. })) => {
                code == wanted
            }
            (Some(OutcomeFilter::Code(code)), _) => record.refusal() == Some(code.as_str()),
        }
    }

    /// Whether a request matches, regardless of its outcome.
    pub(crate) fn matches_request(&self, request: &RecordedRequest<'_>) -> bool {
        let is = |wanted: &str, found| wanted == found;
        self.scope.as_ref().is_none_or(|s| s.covers(request.scope))
            && (self.provider.as_ref()).is_none_or(|p| is(p.as_str(), request.provider))
            && (self.principal.as_ref())
                .is_none_or(|p| is(p, request.principal) || is(p, request.recorded_principal))
            && self.since_ms.is_none_or(|since| request.at_ms >= since)
            && self.until_ms.is_none_or(|until| request.at_ms < until)
    }
}
