//! The keyring: who may change a store, and who may read it.
//!
//! Owners sign the keyring. It names the owners, the signers (whose keys sign changes), and the
//! readers of each organization. The journal names the keyring that is in force at each
//! revision, so the power of a key is an interval of the journal: a former key is trusted for
//! nothing that comes later, on any machine.
//!
//! Keyrings are numbered and contain the digest of their predecessor. Enough owners of the
//! predecessor, and enough of its own, must have signed a keyring.

pub(crate) mod authority;
pub(crate) mod chain;
pub(crate) mod difference;
pub(crate) mod form;
pub(crate) mod proposal;

use serde::{Deserialize, Serialize};

use authority::{
    Authority, LabelledKey, Owners, StoreSigner, StoredKey, StoredOwners, StoredSigner,
};

use crate::digest::Digest;
use crate::keys::error::KeyError;
use crate::keys::service::ServiceError;
use crate::random_id::RandomId;
use crate::recipients::{Readers, Recipient};
use crate::signing::{ED25519, KeyId, Signer, Verifier};
use crate::statement::{self, HEADER_MEMBERS, Header, Statement, StatementType};
use crate::tampering::{Fault, Tampering};

/// The maximum size of a keyring.
pub(crate) const MAX_KEYRING_BYTES: usize = 256 * 1024;

/// The number of a keyring; the first is 1.
pub type KeyringNumber = u64;

const MEMBERS: &[&str] = &[
    "number",
    "previous",
    "at_ms",
    "owners",
    "signers",
    "readers",
    "default_recipients",
    "fresh_for_ms",
    "proposal",
];

/// The signed members.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payload {
    #[serde(flatten)]
    header: Header,
    number: KeyringNumber,
    previous: Option<Digest>,
    at_ms: u64,
    owners: StoredOwners,
    signers: Vec<StoredSigner>,
    readers: Vec<Readers>,
    default_recipients: Vec<Recipient>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fresh_for_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proposal: Option<Digest>,
}

/// A keyring.
#[derive(Clone, Debug)]
pub struct Keyring {
    header: Header,
    number: KeyringNumber,
    previous: Option<Digest>,
    at_ms: u64,
    authority: Authority,
    proposal: Option<Digest>,
    digest: Digest,
    statement: Statement,
}

/// Who signed a keyring, and how many more owners must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures {
    /// The fingerprints of the owners that signed it.
    pub signed_by: Vec<KeyId>,
    /// How many more owners of the previous keyring must sign.
    pub missing_of_previous: usize,
    /// How many more of its own owners must sign. One owner may count for both.
    pub missing_of_its_own: usize,
}

impl Signatures {
    /// Whether enough owners signed.
    pub fn is_complete(&self) -> bool {
        self.missing() == 0
    }

    /// How many more owners must sign, at least.
    pub fn missing(&self) -> usize {
        self.missing_of_previous.max(self.missing_of_its_own)
    }
}

/// A keyring that is not signed yet.
#[derive(Clone, Debug)]
pub struct KeyringDraft {
    store: RandomId,
    lineage: RandomId,
    number: KeyringNumber,
    previous: Option<Digest>,
    /// Its contents.
    pub authority: Authority,
    /// The digest of the rest of the change, if owners elsewhere sign it.
    pub(crate) proposal: Option<Digest>,
}

impl KeyringDraft {
    /// The first keyring of a new store.
    ///
    /// # Errors
    ///
    /// If the system provides no randomness.
    pub fn first(authority: Authority) -> std::io::Result<Self> {
        Ok(KeyringDraft {
            store: RandomId::generate()?,
            lineage: RandomId::generate()?,
            number: 1,
            previous: None,
            authority,
            proposal: None,
        })
    }

    /// Begins a new lineage of the store.
    ///
    /// # Errors
    ///
    /// If the system provides no randomness.
    pub fn begin_lineage(mut self) -> std::io::Result<Self> {
        self.lineage = RandomId::generate()?;
        Ok(self)
    }

    /// Signs it with each of `signers`.
    ///
    /// # Errors
    ///
    /// If a signer fails, or it is larger than a keyring can be.
    pub fn sign<'a>(
        &self,
        at_ms: u64,
        signers: impl IntoIterator<Item = &'a Signer>,
    ) -> Result<Keyring, KeyError> {
        let mut keyring = self.unsigned(at_ms)?;
        for signer in signers {
            keyring.add_signature(signer)?;
        }
        Ok(keyring)
    }

    /// The keyring without any signature.
    pub(crate) fn unsigned(&self, at_ms: u64) -> Result<Keyring, KeyError> {
        let stored = |keys: &[LabelledKey]| keys.iter().map(LabelledKey::stored).collect();
        let payload = Payload {
            header: Header::new(StatementType::Keyring, self.store, self.lineage),
            number: self.number,
            previous: self.previous,
            at_ms,
            owners: StoredOwners {
                threshold: self.authority.owners.threshold,
                keys: stored(&self.authority.owners.keys),
            },
            signers: self
                .authority
                .signers
                .iter()
                .map(StoreSigner::stored)
                .collect(),
            readers: self.authority.readers.clone(),
            default_recipients: self.authority.default_recipients.clone(),
            fresh_for_ms: self.authority.fresh_for_ms,
            proposal: self.proposal,
        };
        // Texts, numbers and lists always serialize.
        let payload = serde_json::to_vec(&payload).unwrap_or_default();
        Keyring::parse(Statement::unsigned(payload))
            .map_err(|error| KeyError::InvalidKeyring(error.to_string()))
    }
}

impl Keyring {
    /// Parses a keyring, without verifying that anyone who is trusted signed it.
    ///
    /// # Errors
    ///
    /// The keyring is malformed, or its version is newer.
    pub(crate) fn parse(statement: Statement) -> Result<Self, Tampering> {
        let what = "a keyring";
        let malformed = |reason| Tampering::new(Fault::Forged, what, reason);
        if statement.payload.len() > MAX_KEYRING_BYTES {
            return Err(malformed("is larger than a keyring can be"));
        }
        let payload: Payload = statement::parse(
            &statement.payload,
            &[HEADER_MEMBERS, MEMBERS].concat(),
            what,
        )?;
        if !payload.header.is(StatementType::Keyring) {
            return Err(malformed("is a statement of another type"));
        }
        let keys = |stored: Vec<StoredKey>| -> Result<Vec<LabelledKey>, Tampering> {
            if stored.iter().any(|key| key.algorithm != ED25519) {
                return Err(statement::newer(what));
            }
            let keys = stored.into_iter().map(LabelledKey::parse);
            keys.collect::<Option<_>>()
                .ok_or_else(|| malformed("contains a malformed key"))
        };
        let owners = Owners {
            threshold: payload.owners.threshold,
            keys: keys(payload.owners.keys)?,
        };
        if owners.threshold == 0 || owners.threshold > owners.keys.len() {
            return Err(malformed("has no owners that could change it"));
        }
        check_order(&payload.readers).map_err(malformed)?;
        let (signers, scopes): (Vec<StoredKey>, Vec<Option<Vec<String>>>) = payload
            .signers
            .into_iter()
            .map(|signer| (signer.key, signer.scopes))
            .unzip();
        if scopes
            .iter()
            .flatten()
            .any(|scopes| scopes.iter().any(String::is_empty))
        {
            return Err(malformed("has a signer of a scope without a name"));
        }
        let signers = keys(signers)?.into_iter().zip(scopes);
        let signers = signers.map(|(key, scopes)| StoreSigner { key, scopes });
        Ok(Keyring {
            header: payload.header,
            number: payload.number,
            previous: payload.previous,
            at_ms: payload.at_ms,
            authority: Authority {
                owners,
                signers: signers.collect(),
                readers: payload.readers,
                default_recipients: payload.default_recipients,
                fresh_for_ms: payload.fresh_for_ms,
            },
            proposal: payload.proposal,
            digest: Digest::of(&statement.payload),
            statement,
        })
    }

    /// The store that it is for.
    pub fn store(&self) -> RandomId {
        self.header.store
    }

    /// The lineage of the store that it is for.
    pub fn lineage(&self) -> RandomId {
        self.header.lineage
    }

    /// Its number.
    pub fn number(&self) -> KeyringNumber {
        self.number
    }

    /// When it was signed, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// The SHA-256 of its signed bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest of the contents of the proposal that it was in, if it was in one.
    pub(crate) fn proposal(&self) -> Option<Digest> {
        self.proposal
    }

    /// The signed bytes with their signatures.
    pub(crate) fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Its contents.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Who may read the secrets of an organization; `None` if there is no such organization.
    pub fn readers(&self, organization: &str) -> Option<&Readers> {
        let mut readers = self.authority.readers.iter();
        readers.find(|readers| readers.organization == organization)
    }

    /// Whether any organization's secrets, or those of later ones, can be read by the recipient
    /// with that fingerprint.
    pub fn has_reader(&self, id: &str) -> bool {
        self.recipients().any(|recipient| recipient.id() == id)
    }

    /// The recipients of all organizations, and of later ones. One may occur several times.
    pub(crate) fn recipients(&self) -> impl Iterator<Item = &Recipient> {
        let readers = self.authority.readers.iter();
        let defaults = self.authority.default_recipients.iter();
        readers
            .flat_map(|readers| &readers.recipients)
            .chain(defaults)
    }

    /// The keys that may change the store.
    pub(crate) fn signing_keys(&self) -> Vec<&Verifier> {
        let signers = self.authority.signers.iter();
        signers.map(|signer| &signer.key.key).collect()
    }

    /// Whether the key may change the store.
    pub fn has_signer(&self, id: KeyId) -> bool {
        let signers = &self.authority.signers;
        signers.iter().any(|signer| signer.id() == id)
    }

    /// Whether the key of `signer` may change at least as much under this keyring.
    pub fn covers(&self, signer: &StoreSigner) -> bool {
        let mut signers = self.authority.signers.iter();
        signers.any(|known| known.id() == signer.id() && known.covers(signer))
    }

    /// The scopes that these signers may change; `None` if one of them may change everything.
    pub(crate) fn scopes_of(&self, signers: &[KeyId]) -> Option<Vec<String>> {
        let known = self.authority.signers.iter();
        let scopes: Option<Vec<Vec<String>>> = known
            .filter(|signer| signers.contains(&signer.id()))
            .map(|signer| signer.scopes.clone())
            .collect();
        scopes.map(|scopes| scopes.concat())
    }

    /// Whether the key may change the keyring, possibly only together with others.
    pub fn has_owner(&self, id: KeyId) -> bool {
        self.authority.owners.has(id)
    }

    /// The next keyring, with the same contents.
    pub fn next(&self) -> KeyringDraft {
        KeyringDraft {
            store: self.store(),
            lineage: self.lineage(),
            number: self.number.saturating_add(1),
            previous: Some(self.digest),
            authority: self.authority.clone(),
            proposal: None,
        }
    }

    /// Fails unless enough of its own owners signed it, and nobody but them and `others`.
    /// Returns who did.
    fn signed_by(&self, others: &Owners) -> Result<Vec<KeyId>, Tampering> {
        let own = &self.authority.owners;
        let signed_by = self.signers_among(others)?;
        if own.count(&signed_by) < own.threshold {
            return Err(self.tampering("is not signed by enough of its owners"));
        }
        Ok(signed_by)
    }

    /// Who signed it. Fails if it was anyone but its own owners and `others`.
    fn signers_among(&self, others: &Owners) -> Result<Vec<KeyId>, Tampering> {
        let own = &self.authority.owners;
        let trusted: Vec<&Verifier> = own
            .keys
            .iter()
            .chain(others.keys.iter().filter(|key| !own.has(key.key.id())))
            .map(|key| &key.key)
            .collect();
        self.statement
            .signed_by(StatementType::Keyring, &trusted)
            .map_err(|reason| self.tampering(reason))
    }

    /// Fails unless it directly follows `before`, by its number and its digest. Does not verify
    /// who signed it.
    pub(crate) fn check_link(&self, before: &Keyring) -> Result<(), Tampering> {
        if self.store() != before.store() {
            return Err(self.tampering("belongs to another store"));
        }
        if Some(self.number) != before.number.checked_add(1) || self.previous != Some(before.digest)
        {
            return Err(self.tampering("does not follow the previous keyring"));
        }
        Ok(())
    }

    /// Fails unless the owners of `before` made it the next keyring.
    pub(crate) fn check_follows(&self, before: &Keyring) -> Result<(), Tampering> {
        self.check_link(before)?;
        let owners = &before.authority.owners;
        let signed_by = self.signed_by(owners)?;
        if owners.count(&signed_by) < owners.threshold {
            return Err(self.tampering("is not signed by enough owners of the previous keyring"));
        }
        Ok(())
    }

    /// Fails unless enough of its own owners signed it, whoever else did.
    pub(crate) fn check_signed(&self) -> Result<(), Tampering> {
        let keys = self.owner_keys();
        let found = self.statement.count_signers(StatementType::Keyring, &keys);
        if found < self.authority.owners.threshold {
            return Err(self.tampering("is not signed by enough of its owners"));
        }
        Ok(())
    }

    /// Who signed it so far. Fails if anyone did who owns neither it nor `before`.
    pub(crate) fn signatures(&self, before: &Keyring) -> Result<Signatures, Tampering> {
        let signed_by = if self.statement.is_unsigned() {
            Vec::new()
        } else {
            self.signers_among(&before.authority.owners)?
        };
        let missing = |owners: &Owners| owners.threshold.saturating_sub(owners.count(&signed_by));
        Ok(Signatures {
            missing_of_previous: missing(&before.authority.owners),
            missing_of_its_own: missing(&self.authority.owners),
            signed_by,
        })
    }

    /// Adds a signature, unless it has one of the key.
    pub(crate) fn add_signature(&mut self, signer: &Signer) -> Result<(), ServiceError> {
        self.statement.add_signature(StatementType::Keyring, signer)
    }

    fn owner_keys(&self) -> Vec<&Verifier> {
        let owners = self.authority.owners.keys.iter();
        owners.map(|owner| &owner.key).collect()
    }

    /// Whether one of its owners signed `statement`.
    fn owners_signed(&self, statement: &Statement) -> bool {
        statement.is_signed_by_any(StatementType::Keyring, &self.owner_keys())
    }

    /// Returns who signed it. Fails unless its own owners did. `before` is its predecessor, whose
    /// owners may have signed as well.
    pub(crate) fn signers(&self, before: Option<&Keyring>) -> Result<Vec<KeyId>, Tampering> {
        let none = Owners {
            threshold: 1,
            keys: Vec::new(),
        };
        self.signed_by(before.map_or(&none, |before| &before.authority.owners))
    }

    /// Whether enough of its owners among `trusted`, and at least `required`, are among
    /// `signed_by`.
    pub(crate) fn is_owned_by(
        &self,
        signed_by: &[KeyId],
        trusted: &[KeyId],
        required: usize,
    ) -> bool {
        let both: Vec<KeyId> = signed_by
            .iter()
            .copied()
            .filter(|key| trusted.contains(key))
            .collect();
        self.authority.owners.count(&both) >= self.authority.owners.threshold.max(required)
    }

    fn tampering(&self, reason: &str) -> Tampering {
        Tampering::new(Fault::Forged, format!("keyring {}", self.number), reason)
    }
}

/// Fails unless organizations and epochs are in order. The error is the predicate of a sentence
/// about the keyring.
fn check_order(readers: &[Readers]) -> Result<(), &'static str> {
    let organizations = readers.iter().map(|readers| &readers.organization);
    if !organizations.is_sorted_by(|one, next| one < next) {
        return Err("has readers that are not in order");
    }
    for readers in readers {
        let numbers = readers.epochs.iter().map(|epoch| epoch.number);
        let numbers = std::iter::once(0).chain(numbers);
        if readers.epochs.is_empty() || !numbers.is_sorted_by(|one, next| one < next) {
            return Err("has epochs that are not in order");
        }
    }
    Ok(())
}
