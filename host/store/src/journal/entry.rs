//! Journal entries: a checkpoint, and the record of the change that leads to it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::log_head::LogHead;
use crate::journal::position::Revision;
use crate::random_id::RandomId;
use crate::row::{DocumentKey, JournalRow};
use crate::signing::KeyId;
use crate::statement;
use crate::tampering::Tampering;
use crate::tree;

/// Who made a change, when, and what it was, as described by the caller.
#[derive(Clone, Debug)]
pub struct Author<'a> {
    /// The id of the principal. A document may say who that is.
    pub principal: RandomId,
    /// The time, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The change as JSON. It must not contain a secret.
    pub change: &'a RawValue,
    /// The end of this machine's decision log, if it has one.
    pub log: Option<LogHead>,
}

/// One change of the store.
#[derive(Debug)]
pub struct JournalEntry {
    /// The revision of the change; the first is 1.
    pub revision: Revision,
    /// The time, in milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// The id of the principal, as the signer says.
    pub principal: RandomId,
    /// The keys that signed the change.
    pub signed_by: Vec<KeyId>,
    /// The change, as described by the caller.
    pub change: Box<RawValue>,
    /// The documents that the change touched.
    pub effects: Vec<Effect>,
    /// The end of the decision log of the machine that made the change.
    pub log: Option<LogHead>,
}

const MEMBERS: &[&str] = &[
    "version",
    "critical",
    "principal",
    "change",
    "effects",
    "blobs_added",
    "blobs_removed",
    "proof",
];

/// The record of a change. The checkpoint of the change contains its digest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChangeRecord {
    pub(crate) version: u32,
    /// The id of the principal. Not its name, which could not be erased from a chain.
    pub(crate) principal: RandomId,
    /// The change, as described by the caller.
    pub(crate) change: Box<RawValue>,
    /// The documents that the change touched.
    pub(crate) effects: Vec<Effect>,
    /// The blobs that the change added.
    pub(crate) blobs_added: Vec<Digest>,
    /// The blobs that the change removed.
    pub(crate) blobs_removed: Vec<Digest>,
    /// The nodes of the previous document tree above the documents that the change touched, if
    /// its signer may change only some scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<Vec<String>>,
}

/// What a change did to one document.
#[derive(Debug, Serialize, Deserialize)]
pub struct Effect {
    /// The document.
    #[serde(flatten)]
    pub key: DocumentKey,
    /// The digest of its bytes before the change; `None` if it was created.
    pub before: Option<Digest>,
    /// The digest of its bytes after the change; `None` if it was removed.
    pub after: Option<Digest>,
}

impl ChangeRecord {
    /// Parses the record of a row, if it is the one that the checkpoint names.
    pub(crate) fn verify(row: &JournalRow, checkpoint: &Checkpoint) -> Result<Self, Tampering> {
        if Digest::of(&row.change) != checkpoint.change {
            return Err(row.tampering("has a record that is not the one of its checkpoint"));
        }
        let record: ChangeRecord = statement::parse(&row.change, MEMBERS, row.what())?;
        let mut touched = BTreeSet::new();
        let mut keys = record.effects.iter().map(|effect| &effect.key);
        // Two keys could otherwise have one place in the tree.
        if !keys.all(|key| tree::is_valid(key) && touched.insert(key)) {
            return Err(row.tampering("touches a document twice, or one without a valid name"));
        }
        drop(touched);
        Ok(record)
    }
}

impl JournalEntry {
    /// Parses the entry of a row. The caller verifies the checkpoint.
    pub(crate) fn parse(row: &JournalRow) -> Result<Self, Tampering> {
        let checkpoint = Checkpoint::parse(row)?;
        let record = ChangeRecord::verify(row, &checkpoint)?;
        Ok(JournalEntry {
            revision: checkpoint.revision,
            at_ms: checkpoint.at_ms,
            principal: record.principal,
            signed_by: row.checkpoint.named_keys(),
            change: record.change,
            effects: record.effects,
            log: checkpoint.log,
        })
    }

    /// Whether the change wrote the document `key` with that digest.
    pub(super) fn wrote(&self, key: &DocumentKey, digest: Digest) -> bool {
        let mut effects = self.effects.iter();
        effects.any(|effect| effect.key == *key && effect.after == Some(digest))
    }
}
