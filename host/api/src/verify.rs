//! The verification of the store.

use serde::{Deserialize, Serialize};

/// `verify`: what the verification of the whole store found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verification {
    /// The revision of the store.
    pub revision: u64,
    /// The number of changes in the journal.
    pub changes: u64,
    /// The number of documents.
    pub documents: u64,
    /// The number of blobs.
    pub blobs: u64,
    /// How many secrets were opened.
    pub secrets_opened: u64,
    /// How many secrets were not opened because the identity is locked or not here.
    pub secrets_not_opened: u64,
    /// The secrets that are not sealed to this identity.
    pub secrets_for_others: Vec<String>,
    /// Where the store does not hold what was written.
    pub faults: Vec<StoreFault>,
    /// The secrets that are sealed to an earlier epoch.
    pub under_old_recipients: Vec<SecretName>,
    /// The organizations whose epochs are sealed to other recipients than the present ones.
    pub under_old_readers: Vec<String>,
    /// The retired secrets that should have been destroyed a day ago or more.
    pub overdue: Vec<String>,
    /// Whether the state counts as the newest: heartbeats are not required, or one is recent.
    pub fresh: bool,
}

/// A place where the store does not hold what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StoreFault {
    /// The kind of fault.
    pub fault: String,
    /// The object.
    pub what: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Names a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SecretName {
    /// The scope.
    pub scope: String,
    /// The id of the credential.
    pub credential: String,
}
