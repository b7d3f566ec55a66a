//! Changes of the keyring that wait for signatures of owners.
//!
//! If a machine does not have the keys of enough owners, a change of the keyring becomes a
//! proposal. It is a file: owners add their signatures on their own machines, and a machine with a
//! signer applies it.
//!
//! # Security
//!
//! A proposal is not trusted. It contains all keyrings before the proposed one, so that an owner
//! can check what it changes with nothing but a keyring that it trusts. The proposed keyring names
//! the digest of everything else that the change writes, so who carries the file can change nothing
//! of it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use entail_text::{objects, sanitized};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::chain::KeyringChain;
use super::form::check_form;
use super::{Keyring, Signatures};
use crate::digest::Digest;
use crate::files;
use crate::hex;
use crate::input_file::InputFile;
use crate::keys::service::ServiceError;
use crate::row::DocumentKey;
use crate::signing::{KeyId, Signer};
use crate::statement::{self, Statement};
use crate::tampering::{Fault, Tampering};

/// The maximum size of a proposal.
pub const MAX_PROPOSAL_BYTES: usize = 64 << 20;

const TYPE: &str = "proposal";

const MEMBERS: &[&str] = &[
    "type", "version", "critical", "keyrings", "keyring", "contents",
];

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "type")]
    kind: String,
    version: u32,
    keyrings: Vec<StoredStatement>,
    keyring: StoredStatement,
    /// The exact text of [`StoredContents`].
    contents: String,
}

/// What a change writes besides the keyring.
#[derive(Serialize, Deserialize)]
struct StoredContents {
    change: Box<RawValue>,
    documents: Vec<StoredDocument>,
    blobs_added: Vec<String>,
    blobs_removed: Vec<Digest>,
}

#[derive(Serialize, Deserialize)]
struct StoredStatement {
    payload: String,
    signatures: String,
}

#[derive(Serialize, Deserialize)]
struct StoredDocument {
    kind: String,
    name: String,
    before: Option<Digest>,
    body: Option<Box<RawValue>>,
}

/// A change of the keyring that waits for signatures of owners.
#[derive(Clone)]
pub struct Proposal {
    /// The keyrings before the proposed one, from the first on.
    pub(crate) keyrings: KeyringChain,
    /// The proposed keyring.
    pub(crate) keyring: Keyring,
    /// What the change writes besides.
    pub(crate) contents: Contents,
}

/// What a proposed change writes besides the keyring.
#[derive(Clone)]
pub(crate) struct Contents {
    /// The record of the change.
    pub(crate) change: Box<RawValue>,
    /// The documents that the change touches.
    pub(crate) documents: Vec<ProposedDocument>,
    /// The blobs that it adds.
    pub(crate) add_blobs: Vec<Vec<u8>>,
    /// The blobs that it removes.
    pub(crate) remove_blobs: Vec<Digest>,
}

/// A document that a proposed change touches.
#[derive(Clone, Debug)]
pub(crate) struct ProposedDocument {
    pub(crate) key: DocumentKey,
    /// The digest that it had when the change was proposed; `None` if it did not exist.
    pub(crate) before: Option<Digest>,
    /// Its new body; `None` if it is removed.
    pub(crate) body: Option<Box<RawValue>>,
}

/// Why a proposal cannot be signed or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProposalError {
    /// The file cannot be read or written.
    #[error("{}", sanitized(.0))]
    File(#[source] std::io::Error),
    /// Its contents are not those that its keyring names.
    #[error("it was changed after it was made")]
    Changed,
    /// The file is not a proposal.
    #[error("it is not a proposal of a change of keys")]
    Malformed,
    /// A newer version of this program wrote it.
    #[error("it was written by a newer version of Entail, which is needed to read it")]
    Newer,
    /// It is for another store.
    #[error("it is for another store than the one of this machine")]
    OtherStore,
    /// The keyrings in it do not lead from the one that this machine trusts to the proposed one.
    #[error("it does not follow from the keyring that this machine trusts: {0}")]
    Untrusted(Tampering),
    /// No command of this program makes such a keyring, so a person could not tell what it means.
    #[error("its keyring {0}")]
    Unusual(&'static str),
    /// It is for a restore, which is not made like another change.
    #[error("it is for a restore")]
    IsRestore,
    /// It is for no restore.
    #[error("it is for no restore")]
    NoRestore,
    /// It is for the restore of another backup.
    #[error("it is for a backup at revision {revision}, or for another state at that revision")]
    OtherBackup {
        /// The revision of the backup that owners have signed.
        revision: u64,
    },
    /// The keyring or a document has changed since it was made.
    #[error("the store has changed since it was made, so it cannot be applied any more")]
    Outdated,
    /// The key is not that of an owner, before or after the change.
    #[error("the key is not that of an owner, so its signature would not count")]
    NotAnOwner,
    /// The file is not a private key.
    #[error("the file of the key is not an Ed25519 private key (PKCS #8, PEM)")]
    NotAKey,
}

impl Proposal {
    /// Parses a proposal. Verifies nothing.
    ///
    /// # Errors
    ///
    /// [`ProposalError::Malformed`], [`ProposalError::Newer`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProposalError> {
        let stored: Stored = statement::parse(bytes, MEMBERS, "a proposal").map_err(unreadable)?;
        if stored.kind != TYPE {
            return Err(ProposalError::Malformed);
        }
        let keyrings: Vec<Statement> = stored.keyrings.into_iter().map(Into::into).collect();
        let keyrings = KeyringChain::parse(None, None, &keyrings).map_err(unreadable)?;
        if keyrings.newest().is_none() {
            return Err(ProposalError::Malformed);
        }
        let keyring = Keyring::parse(stored.keyring.into()).map_err(unreadable)?;
        if keyring.proposal() != Some(Digest::of(stored.contents.as_bytes())) {
            return Err(ProposalError::Changed);
        }
        Ok(Proposal {
            keyrings,
            keyring,
            contents: Contents::parse(&stored.contents).ok_or(ProposalError::Malformed)?,
        })
    }

    /// Reads a proposal from a file. Verifies nothing.
    ///
    /// # Errors
    ///
    /// [`ProposalError::File`], [`ProposalError::Malformed`], [`ProposalError::Newer`].
    pub fn read(file: &Path) -> Result<Self, ProposalError> {
        let bytes = InputFile::open_given(file)
            .and_then(|opened| opened.read_to_limit(MAX_PROPOSAL_BYTES))
            .map_err(|error| ProposalError::File(error.into()))?;
        Self::parse(&bytes)
    }

    /// Writes the proposal to a file, or replaces one. It contains no secret.
    ///
    /// # Errors
    ///
    /// [`ProposalError::File`].
    pub fn write(&self, file: &Path) -> Result<(), ProposalError> {
        files::replace(file, &self.to_bytes()).map_err(ProposalError::File)
    }

    /// Encodes the proposal, as one line of JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            kind: TYPE.to_owned(),
            version: statement::VERSION,
            keyrings: self
                .keyrings
                .iter()
                .map(|keyring| StoredStatement::from(keyring.statement()))
                .collect(),
            keyring: StoredStatement::from(self.keyring.statement()),
            contents: self.contents.to_text(),
        };
        // Texts, numbers and lists always serialize.
        let mut bytes = serde_json::to_vec(&stored).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The proposed keyring.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The keyring before the proposed one.
    pub fn previous(&self) -> &Keyring {
        // There is at least one.
        self.keyrings.newest().map_or(&self.keyring, Arc::as_ref)
    }

    /// The record of the change, as JSON. Whoever made the proposal chose it.
    pub fn change(&self) -> &RawValue {
        &self.contents.change
    }

    /// Fails unless the keyrings lead from `trusted` to the proposed one, and only owners signed
    /// it. Without a trusted keyring, they must lead there from the first one. Returns who signed
    /// it.
    ///
    /// # Errors
    ///
    /// [`ProposalError::OtherStore`], [`ProposalError::Untrusted`], [`ProposalError::Outdated`],
    /// [`ProposalError::Unusual`].
    pub fn check(&self, trusted: Option<&Keyring>) -> Result<Signatures, ProposalError> {
        if trusted.is_some_and(|trusted| trusted.store() != self.keyring.store()) {
            return Err(ProposalError::OtherStore);
        }
        check_form(&self.keyring).map_err(ProposalError::Unusual)?;
        let is_later = |trusted: &Keyring| trusted.number() >= self.keyring.number();
        if trusted.is_some_and(is_later) {
            return Err(ProposalError::Outdated);
        }
        let first = self.keyrings.iter().next().map(Arc::as_ref);
        let checked = trusted.or(first).map_or(Ok(()), |from| {
            from.check_signed()?;
            self.keyrings.check_trust(from)
        });
        let previous = self.previous();
        checked
            .and_then(|()| self.keyring.check_link(previous))
            .and_then(|()| self.keyring.signatures(previous))
            .map_err(ProposalError::Untrusted)
    }

    /// Whether it is for a restore, which begins a lineage.
    pub fn is_restore(&self) -> bool {
        self.keyring.lineage() != self.previous().lineage()
    }

    /// Whether the change adds a blob.
    pub fn adds_blob(&self, digest: &Digest) -> bool {
        let mut blobs = self.contents.add_blobs.iter();
        blobs.any(|blob| Digest::of(blob) == *digest)
    }

    /// The blobs that the change adds.
    pub fn into_blobs(self) -> Vec<Vec<u8>> {
        self.contents.add_blobs
    }

    /// The documents that the change writes, and whether it removes them.
    pub fn documents(&self) -> impl Iterator<Item = (&DocumentKey, bool)> {
        let documents = self.contents.documents.iter();
        documents.map(|document| (&document.key, document.body.is_none()))
    }

    /// What the proposal waits for, as a sentence.
    pub fn waiting(&self) -> String {
        let missing = self.keyring.signatures(self.previous());
        let missing = missing.map_or(0, |signatures| signatures.missing());
        let numbers = |keyring: &Keyring| {
            let owners = &keyring.authority().owners;
            (owners.threshold, owners.keys.len())
        };
        let (required, all) = numbers(self.previous());
        let (later_required, later_all) = numbers(&self.keyring);
        let must = if (required, all) == (later_required, later_all) {
            format!("{required} of {all} must sign")
        } else {
            format!(
                "{required} of {all} owners before it and {later_required} of {later_all} owners \
                 after it must sign"
            )
        };
        let owners = if missing == 1 { "owner" } else { "owners" };
        format!("this change needs the signatures of {missing} more {owners} ({must})")
    }

    /// Whether the signature of a key counts.
    pub fn is_owner(&self, id: KeyId) -> bool {
        self.keyring.has_owner(id) || self.previous().has_owner(id)
    }

    /// Adds a signature. Check the proposal first.
    ///
    /// # Errors
    ///
    /// If the signer is elsewhere and fails.
    pub fn add_signature(&mut self, signer: &Signer) -> Result<(), ServiceError> {
        self.keyring.add_signature(signer)
    }
}

impl Contents {
    fn parse(text: &str) -> Option<Self> {
        let stored: StoredContents = objects::from_slice(text.as_bytes()).ok()?;
        let blobs = stored.blobs_added.iter();
        let documents = stored.documents.into_iter();
        Some(Contents {
            change: stored.change,
            documents: documents
                .map(|document| ProposedDocument {
                    key: DocumentKey::new(document.kind, document.name),
                    before: document.before,
                    body: document.body,
                })
                .collect(),
            add_blobs: blobs
                .map(|blob| hex::decode_any(blob))
                .collect::<Option<_>>()?,
            remove_blobs: stored.blobs_removed,
        })
    }

    fn to_text(&self) -> String {
        let documents = self.documents.iter();
        let stored = StoredContents {
            change: self.change.clone(),
            documents: documents
                .map(|document| StoredDocument {
                    kind: document.key.kind.clone(),
                    name: document.key.name.clone(),
                    before: document.before,
                    body: document.body.clone(),
                })
                .collect(),
            blobs_added: self
                .add_blobs
                .iter()
                .map(|blob| hex::encode(blob))
                .collect(),
            blobs_removed: self.remove_blobs.clone(),
        };
        // Texts, numbers and lists always serialize.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// The digest that the keyring names.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.to_text().as_bytes())
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposal")
            .field("keyring", &self.keyring.digest())
            .finish_non_exhaustive()
    }
}

fn unreadable(error: Tampering) -> ProposalError {
    if error.fault() == Fault::Newer {
        ProposalError::Newer
    } else {
        ProposalError::Malformed
    }
}

impl From<&Statement> for StoredStatement {
    fn from(statement: &Statement) -> Self {
        // Both are JSON.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        StoredStatement {
            payload: text(&statement.payload),
            signatures: text(&statement.signatures),
        }
    }
}

impl From<StoredStatement> for Statement {
    fn from(stored: StoredStatement) -> Self {
        Statement {
            payload: stored.payload.into_bytes(),
            signatures: stored.signatures.into_bytes(),
        }
    }
}
