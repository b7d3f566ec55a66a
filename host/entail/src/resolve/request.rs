//! What a caller asks for.

use std::collections::BTreeMap;

use entail_decision::name::{
    AttributeName, AttributeValue, CredentialName, ModelId, ProviderId, ScopePath,
};

/// A request for a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The requesting scope.
    pub scope: ScopePath,
    /// The provider.
    pub provider: ProviderId,
    /// The model, if the caller names one.
    pub model: Option<ModelId>,
    /// The name of the credential; `None` accepts any.
    pub credential: Option<CredentialName>,
    /// What else the caller states, such as its session. The policy and the decision log
    /// see it. Nothing checks it.
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// The variables and providers that the caller keeps beside the requested credential:
    /// `AWS_PROFILE`, `bedrock`. The policy and the decision log see them as the attribute
    /// `entail:kept`.
    pub kept: Vec<String>,
}

impl Request {
    /// A request for any credential of a provider, for any model.
    pub fn new(scope: ScopePath, provider: ProviderId) -> Self {
        Request {
            scope,
            provider,
            model: None,
            credential: None,
            attributes: BTreeMap::new(),
            kept: Vec::new(),
        }
    }
}
