//! Power over a store: who may change it, and who may read it.

use serde::{Deserialize, Serialize};

use crate::recipients::{Readers, Recipient};
use crate::signing::{ED25519, KeyId, Verifier};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredOwners {
    pub(super) threshold: usize,
    pub(super) keys: Vec<StoredKey>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredKey {
    pub(super) algorithm: String,
    key: String,
    label: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredSigner {
    #[serde(flatten)]
    pub(super) key: StoredKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) scopes: Option<Vec<String>>,
}

/// A public key with a label for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledKey {
    /// The key.
    pub key: Verifier,
    /// The label.
    pub label: String,
}

/// A key that may change the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSigner {
    /// The key.
    pub key: LabelledKey,
    /// The scopes that it may change, with all that are below them; `None` means the whole store.
    pub scopes: Option<Vec<String>>,
}

/// The keys that may change the keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners {
    /// How many of them must sign; at least 1.
    pub threshold: usize,
    /// The keys.
    pub keys: Vec<LabelledKey>,
}

/// The contents of a keyring that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The keys that may change the keyring.
    pub owners: Owners,
    /// The keys that may change the store.
    pub signers: Vec<StoreSigner>,
    /// Who may read the secrets of each organization, in the order of their names.
    pub readers: Vec<Readers>,
    /// The recipients of organizations that are created later.
    pub default_recipients: Vec<Recipient>,
    /// How long a state of the store counts as the newest after a signer confirmed it, in
    /// milliseconds; `None` if that needs no confirmation.
    pub fresh_for_ms: Option<u64>,
}

impl LabelledKey {
    /// Labels a key.
    pub fn new(key: Verifier, label: impl Into<String>) -> Self {
        LabelledKey {
            key,
            label: label.into(),
        }
    }

    pub(super) fn stored(&self) -> StoredKey {
        StoredKey {
            algorithm: ED25519.to_owned(),
            key: self.key.to_hex(),
            label: self.label.clone(),
        }
    }

    /// `None` if the key is malformed.
    pub(super) fn parse(stored: StoredKey) -> Option<Self> {
        let key = Verifier::from_hex(&stored.key)?;
        Some(Self::new(key, stored.label))
    }
}

/// Whether a name is one of `scopes`, or below one of them.
pub(crate) fn is_in_scopes(scopes: &[String], name: &str) -> bool {
    scopes.iter().any(|scope| {
        let rest = name.strip_prefix(scope.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

impl StoreSigner {
    /// A key that may change the whole store.
    pub fn of_everything(key: LabelledKey) -> Self {
        StoreSigner { key, scopes: None }
    }

    /// Whether it may change all that `other` may change.
    pub(super) fn covers(&self, other: &StoreSigner) -> bool {
        match (&self.scopes, &other.scopes) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(scopes)) => scopes.iter().all(|scope| is_in_scopes(own, scope)),
        }
    }

    /// The fingerprint of the key.
    pub fn id(&self) -> KeyId {
        self.key.key.id()
    }

    pub(super) fn stored(&self) -> StoredSigner {
        StoredSigner {
            key: self.key.stored(),
            scopes: self.scopes.clone(),
        }
    }
}

impl Owners {
    /// The fingerprints of the keys.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(|owner| owner.key.id())
    }

    pub(crate) fn has(&self, id: KeyId) -> bool {
        self.ids().any(|owner| owner == id)
    }

    /// How many of these keys are owners.
    pub(crate) fn count(&self, keys: &[KeyId]) -> usize {
        keys.iter().filter(|key| self.has(**key)).count()
    }
}
