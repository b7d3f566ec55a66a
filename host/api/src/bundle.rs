//! Bundles.

use serde::{Deserialize, Serialize};

/// `bundle export`: a bundle was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BundleExported {
    /// The file.
    pub file: String,
    /// The fingerprint of the key that signed it.
    pub signer: String,
    /// What it says.
    pub bundle: Bundle,
}

/// `bundle inspect`, `bundle verify`: what a bundle says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bundle {
    /// The fingerprints of the keys that signed it.
    pub signers: Vec<String>,
    /// Whether those keys are trusted. `bundle inspect` trusts none.
    pub trusted: bool,
    /// The id of the store.
    pub store: String,
    /// The organization.
    pub organization: String,
    /// The revision of the store that the facts are from.
    pub revision: u64,
    /// When it was made.
    pub issued_at_ms: u64,
    /// From when on it resolves nothing.
    pub expires_at_ms: u64,
    /// The digest of the policy that decides.
    pub policy: String,
    /// The age recipients that the secrets are sealed to.
    pub recipients: Vec<String>,
    /// The scopes that may request.
    pub scopes: Vec<String>,
    /// The providers.
    pub providers: Vec<String>,
    /// The secrets that it contains.
    pub secrets: Vec<BundleSecret>,
}

/// A sealed secret of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BundleSecret {
    /// The id of the credential.
    pub id: String,
    /// The scope that holds it.
    pub holder: String,
    /// The provider.
    pub provider: String,
    /// The name of the credential.
    pub credential: String,
    /// The version of the credential.
    pub version: u32,
    /// The hosts that the secret may be sent to.
    pub hosts: Vec<String>,
    /// The digest of the age file.
    pub blob: String,
}
