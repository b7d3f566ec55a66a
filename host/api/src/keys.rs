//! Keys and recipients.

use serde::{Deserialize, Serialize};

/// `key list`: the keys of the home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Keys {
    /// Who can open the secrets of each organization.
    pub readers: Vec<Readers>,
    /// The recipients of organizations that are created later.
    pub default_recipients: Vec<Recipient>,
    /// The ids of this home's identities; empty if there are none.
    pub identity: Vec<String>,
    /// Whether the identity is locked by a passphrase.
    pub locked: bool,
    /// The id of the store.
    pub store: String,
    /// The number of the keyring that is in force.
    pub keyring: u64,
    /// The fingerprint of this home's owner key; `null` if it is not here.
    pub owner: Option<String>,
    /// The keys that may change the keyring: keys and recipients.
    pub owners: Vec<SigningKey>,
    /// How many owners must sign a keyring.
    pub owners_required: u64,
    /// The fingerprint of this home's key that signs changes; `null` if it is not here.
    pub signer: Option<String>,
    /// The keys that may change the store.
    pub signers: Vec<SigningKey>,
}

/// A public key that verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SigningKey {
    /// The fingerprint.
    pub fingerprint: String,
    /// The label.
    pub label: String,
    /// Whether it is this home's key.
    pub own: bool,
    /// The scopes that it may change, with all below them; absent if it may change everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

/// Who can open the secrets of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Readers {
    /// The organization.
    pub organization: String,
    /// The class of its recipients: `x25519`.
    pub class: String,
    /// The recipients.
    pub recipients: Vec<Recipient>,
    /// The numbers of its epochs, the newest last. Secrets are sealed to the key of an epoch.
    pub epochs: Vec<u32>,
}

/// A recipient: a public key that secrets are sealed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Recipient {
    /// The SHA-256 of the public key; its first eight digits are enough to name the recipient.
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

/// `key rotate`, `add-recipient`, …: the keyring was replaced, and secrets were renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeysChanged {
    /// Whether the command continued one that was interrupted.
    pub resumed: bool,
    /// The organizations whose readers changed.
    pub organizations: Vec<String>,
    /// How many secrets were sealed again.
    pub renewed: u64,
    /// The secrets that could not be sealed again, each with the reason.
    pub skipped: Vec<SkippedSecret>,
    /// The organizations with secrets that the new identity of this machine does not open.
    pub unreadable: Vec<String>,
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

/// `key receipt`: the receipts in recovery keys, or in shares of them, were renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReceiptRenewed {
    /// The files.
    pub files: Vec<String>,
    /// The id of the store.
    pub store: String,
    /// The revision that the receipts name.
    pub revision: u64,
}

/// The dry run of a change of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeysPlan {
    /// Always `true`.
    pub dry_run: bool,
    /// Whether the command would continue one that was interrupted.
    pub resumed: bool,
    /// How many secrets would be sealed again.
    pub to_renew: u64,
    /// How many owners would have to sign the change besides those whose keys this machine has.
    pub owners_missing: u64,
    /// The organizations with secrets that the identity of this machine does not open.
    pub unreadable: Vec<String>,
}

/// `key sign`: a proposal of a change of keys was reviewed, and signed unless it was a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProposalReview {
    /// Whether it was a dry run, which signs nothing.
    pub dry_run: bool,
    /// The id of the store.
    pub store: String,
    /// The number of the proposed keyring.
    pub keyring: u64,
    /// Whether this home knows the present owners of the store.
    pub trusted: bool,
    /// What the proposal changes.
    pub differences: Vec<KeyringDifference>,
    /// The revision of the backup, if it is for a restore; `null` if not.
    pub restores: Option<u64>,
    /// The documents that it writes besides.
    pub documents: Vec<ProposedDocument>,
    /// The fingerprints of the owners that signed it.
    pub signed_by: Vec<String>,
    /// How many more owners must sign it, at least.
    pub owners_missing: u64,
}

/// A document that a proposal writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProposedDocument {
    /// The kind of the document: `scope`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it is removed.
    pub removed: bool,
}

/// What a proposed keyring changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyringDifference {
    /// What changes: `owner-added`, `owner-removed`, `owners-required`, `signer-added`,
    /// `signer-removed`, `entry-changed`, `order-changed`, `organization-added`, `organization-removed`, `recipient-added`,
    /// `recipient-removed`, `epoch-begun`, `epoch-removed`, `epoch-resealed`, `fresh-for`, or
    /// `lineage-begun`.
    pub kind: String,
    /// The organization that it is about; `null` if it is about all, or none.
    pub organization: Option<String>,
    /// The key, fingerprint or number that it is about.
    pub subject: String,
    /// The label of the key, if it has one.
    pub label: Option<String>,
}
