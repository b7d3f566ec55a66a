//! How effective access changes: what each scope gets for each provider, before and after.

use std::collections::BTreeMap;

use entail_store::Revision;
use serde::Serialize;

use crate::compare::decision::{Difference, DifferenceCounts, EffectiveDecision};
use entail_decision::name::{
    AttributeName, AttributeValue, CredentialName, ModelId, ProviderId, ScopePath,
};

/// Which requests were compared, besides those that follow from the scopes themselves. A
/// policy may decide differently on requests that were not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The later times for which each request was decided again, in milliseconds from now.
    pub later_ms: Vec<u64>,
    /// Records of the decision log that were read, newest first.
    pub records: usize,
    /// Distinct requests among them.
    pub recorded_requests: usize,
    /// Distinct requests among them that were skipped: the scope has made many others for
    /// the provider since.
    pub skipped: usize,
    /// The attributes with which each request was decided again.
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// Compared recorded requests that have attributes.
    pub with_attributes: usize,
    /// Of those, the ones whose decision, before or after, depends on the attributes. If
    /// there are any, other attributes may lead to other decisions.
    pub attributes_decide: usize,
}

/// How effective access changes.
#[derive(Clone, Debug, Default)]
pub struct AccessChanges {
    /// The revision of the store that was compared.
    pub revision: Revision,
    /// The number of scopes that were compared.
    pub scopes: usize,
    /// How the decisions differ, by number of requests.
    pub counts: DifferenceCounts,
    /// The decisions that differ, by scope and provider.
    pub changes: Vec<AccessChange>,
    /// Which requests were compared.
    pub coverage: Coverage,
    /// Notes for the user, as the change would return them.
    pub notes: Vec<String>,
}

/// How the decision on a request changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessChange {
    /// The requesting scope.
    pub scope: ScopePath,
    /// The provider.
    pub provider: ProviderId,
    /// The rest of the request.
    pub request: ComparedRequest,
    /// How the decisions differ.
    pub difference: Difference,
    /// The decision before.
    pub from: EffectiveDecision,
    /// The decision after.
    pub to: EffectiveDecision,
}

/// A compared request, without its scope and provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComparedRequest {
    /// Every request: all have the same decisions.
    Any,
    /// This one; other requests have other decisions.
    Only {
        /// The name of the credential; `None` accepts any.
        credential: Option<CredentialName>,
        /// The model; `None` if the request names none.
        model: Option<ModelId>,
        /// The attributes.
        attributes: BTreeMap<AttributeName, AttributeValue>,
        /// The variables and providers that the caller keeps.
        kept: Vec<String>,
        /// The time of the request in milliseconds from now, if the decisions then differ
        /// from those now.
        later_ms: Option<u64>,
    },
}
