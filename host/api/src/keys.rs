//! Keys and recipients.

use serde::{Deserialize, Serialize};

/// `key list`: the keys of the home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Keys {
    /// The generation of the list of recipients.
    pub epoch: u32,
    /// The recipients that every secret is sealed to.
    pub recipients: Vec<Recipient>,
    /// The ids of this home's identities; empty if there are none.
    pub identity: Vec<String>,
    /// Whether the identity is locked by a passphrase.
    pub locked: bool,
    /// The id of the key that signs documents; `null` if it is not here.
    pub signer: Option<String>,
    /// The ids of the keys whose signatures are trusted, the current one first.
    pub verifiers: Vec<String>,
}

/// A recipient: a public key that secrets are sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Recipient {
    /// The id.
    pub id: String,
    /// The age public key.
    pub public_key: String,
    /// The label.
    pub label: String,
    /// When it was added.
    pub added_at_ms: u64,
    /// Whether it is this home's identity.
    pub own: bool,
}

/// `key rotate`, `add-recipient`, …: secrets or documents were renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeysChanged {
    /// Whether the command continued one that was interrupted.
    pub resumed: bool,
    /// How many secrets were sealed again, or documents signed again.
    pub renewed: u64,
    /// The secrets that could not be sealed again, each with the reason.
    pub skipped: Vec<SkippedSecret>,
    /// Whether the old identity is kept to open them.
    pub old_identity_kept: bool,
}

/// A secret that could not be sealed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SkippedSecret {
    /// The scope.
    pub scope: String,
    /// The id of the credential.
    pub credential: String,
    /// Why; `null` if it was not tried.
    pub reason: Option<String>,
}

/// The dry run of a change of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeysPlan {
    /// Always `true`.
    pub dry_run: bool,
    /// Whether the command would continue one that was interrupted.
    pub resumed: bool,
    /// How many secrets would be sealed again, or documents signed again.
    pub to_renew: u64,
}
