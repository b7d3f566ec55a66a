//! Checkpoints: the signed state of a store after each change.
//!
//! A checkpoint names the one before it, the change that leads to it, the root of the document
//! tree, and the keyring that is in force. So the newest one fixes everything that is in the
//! store, and everything that led to it. It is short, so that it can be passed on alone.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::journal::log_head::LogHead;
use crate::journal::position::{JournalPosition, MAX_REVISION, Revision};
use crate::keyring::Keyring;
use crate::keys::service::ServiceError;
use crate::row::JournalRow;
use crate::signing::{KeyId, Signer};
use crate::statement::{self, HEADER_MEMBERS, Header, Statement, StatementType};
use crate::tampering::{Fault, Tampering};

/// The maximum size of a checkpoint.
pub(crate) const MAX_CHECKPOINT_BYTES: usize = 1024;

const MEMBERS: &[&str] = &[
    "revision",
    "previous",
    "change",
    "tree",
    "documents",
    "keyring",
    "at_ms",
    "log",
];

/// The signed state of a store after a change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    #[serde(flatten)]
    header: Header,
    /// The revision: that of the previous checkpoint plus 1; the first is 1.
    pub(crate) revision: Revision,
    /// The SHA-256 of the previous checkpoint; `None` for the first.
    pub(crate) previous: Option<Digest>,
    /// The SHA-256 of the change record.
    pub(crate) change: Digest,
    /// The root of the document tree.
    pub(crate) tree: Digest,
    /// The number of documents.
    pub(crate) documents: u64,
    /// The SHA-256 of the keyring that is in force: a signer of it signs the checkpoint.
    pub(crate) keyring: Digest,
    /// The time of the change, in milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) at_ms: u64,
    /// The end of the decision log of the machine that made the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<LogHead>,
}

/// What a checkpoint says of the state of a store.
pub(crate) struct State {
    pub(crate) change: Digest,
    pub(crate) tree: Digest,
    pub(crate) documents: u64,
    pub(crate) at_ms: u64,
    pub(crate) log: Option<LogHead>,
}

impl Checkpoint {
    /// The checkpoint after `before`, under `keyring`.
    pub(crate) fn after(before: JournalPosition, keyring: &Keyring, state: State) -> Self {
        Checkpoint {
            header: Header::new(
                StatementType::Checkpoint,
                keyring.store(),
                keyring.lineage(),
            ),
            revision: before.revision.saturating_add(1),
            previous: before.checkpoint,
            change: state.change,
            tree: state.tree,
            documents: state.documents,
            keyring: keyring.digest(),
            at_ms: state.at_ms,
            log: state.log,
        }
    }

    /// Parses the checkpoint of a row, without verifying its signature.
    pub(crate) fn parse(row: &JournalRow) -> Result<Self, Tampering> {
        let tampered = |reason| Err(row.tampering(reason));
        let payload = &row.checkpoint.payload;
        if payload.len() > MAX_CHECKPOINT_BYTES {
            return tampered("is larger than a checkpoint can be");
        }
        let checkpoint: Checkpoint =
            statement::parse(payload, &[HEADER_MEMBERS, MEMBERS].concat(), row.what())?;
        if !checkpoint.header.is(StatementType::Checkpoint) {
            return tampered("is a statement of another type");
        }
        if checkpoint.revision != row.revision {
            return tampered("has a revision other than its row's");
        }
        Ok(checkpoint)
    }

    /// Parses the checkpoint of a row. That it is of a newer version counts only if a signer of one
    /// of `keyrings` signed it.
    pub(crate) fn parse_signed<'a>(
        row: &JournalRow,
        mut keyrings: impl Iterator<Item = &'a Keyring>,
    ) -> Result<Self, Tampering> {
        Self::parse(row).map_err(|error| {
            let is_signed = |keyring: &Keyring| {
                row.checkpoint
                    .is_signed_by_any(StatementType::Checkpoint, &keyring.signing_keys())
            };
            if error.fault() == Fault::Newer && !keyrings.any(is_signed) {
                row.tampering("is malformed")
            } else {
                error
            }
        })
    }

    /// Fails unless it directly follows `before` and belongs to the store and lineage of
    /// `keyring`, which signers of `keyring` confirm. Returns who: they may be limited to some
    /// scopes ([`delegation`](super::delegation)).
    pub(super) fn verify(
        &self,
        row: &JournalRow,
        before: JournalPosition,
        keyring: &Keyring,
    ) -> Result<Vec<KeyId>, Tampering> {
        let signed_by = row
            .checkpoint
            .signed_by(StatementType::Checkpoint, &keyring.signing_keys())
            .map_err(|reason| row.tampering(reason))?;
        let tampered = |reason| Err(row.tampering(reason));
        if self.header.store != keyring.store() {
            return tampered("belongs to another store");
        }
        if self.header.lineage != keyring.lineage() {
            return tampered("belongs to another lineage of the store");
        }
        if !self.follows(before) {
            return tampered("does not follow the previous entry");
        }
        Ok(signed_by)
    }

    /// Whether it directly follows the one at `position`.
    pub(crate) fn follows(&self, position: JournalPosition) -> bool {
        self.previous == position.checkpoint
            && position.revision < MAX_REVISION
            && self.revision == position.revision + 1
    }

    pub(crate) fn sign(&self, signer: &Signer) -> Result<Statement, ServiceError> {
        // Texts and numbers always serialize.
        let payload = serde_json::to_vec(self).unwrap_or_default();
        Statement::sign(StatementType::Checkpoint, payload, [signer])
    }
}

/// The journal ends before a checkpoint that was seen.
pub(crate) fn rolled_back() -> Tampering {
    Tampering::new(
        Fault::Stale,
        "the journal",
        "was rolled back: it ends before an entry that existed",
    )
}
