//! The chain of keys that a journal transferred the right to write to. A copy of a store is
//! judged by it where there is no anchor.

use std::collections::HashSet;

use crate::backend::Backend;
use crate::digest::Digest;
use crate::error::Error;
use crate::journal::entry::JournalEntry;
use crate::journal::head::position_of;
use crate::journal::position::JournalPosition;
use crate::signing::{KeyId, Verifier};

/// The number of journal entries to read at once.
const PAGE: usize = 1_000;

/// The signing keys of a journal, in order.
#[derive(Clone, Debug, Default)]
pub struct SignerChain {
    links: Vec<SignerLink>,
    /// The number of links up to the one that signed the newest entry.
    signed_by: usize,
    position: JournalPosition,
    /// The digests of all entries.
    entries: HashSet<Digest>,
}

#[derive(Clone, Debug)]
struct SignerLink {
    key: Verifier,
    /// Whether the previous key signed the transfer. `false` for the first key, and for the
    /// first key after a restore.
    endorsed_by_previous: bool,
}

impl SignerChain {
    /// Reads the journal of a copy and verifies its hash chain and every signature against the
    /// keys that the journal itself names. Does not decide whether any of these keys is
    /// trusted.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn of(backend: &dyn Backend) -> Result<Self, Error> {
        let mut chain = SignerChain::default();
        loop {
            let rows = backend.journal(chain.position.revision, PAGE).await?;
            if rows.is_empty() {
                return Ok(chain);
            }
            for row in &rows {
                let entry = JournalEntry::parse(row)?;
                let successor = entry.successor()?;
                let self_signed = successor
                    .as_ref()
                    .filter(|key| key.id().as_str() == row.signer);
                let signer = match (self_signed, chain.current()) {
                    (Some(key), _) => key.clone(),
                    (None, Some(current)) => current.clone(),
                    (None, None) => {
                        return Err(JournalEntry::tampering(
                            row.revision,
                            "is the first entry and names no key",
                        )
                        .into());
                    }
                };
                JournalEntry::verify(row, &signer)?;
                if !entry.follows(chain.position) {
                    return Err(JournalEntry::tampering(
                        row.revision,
                        "does not follow the previous entry",
                    )
                    .into());
                }
                let endorsed_by_previous = self_signed.is_none();
                let before = chain.links.len();
                chain.position = position_of(row);
                chain.entries.extend(chain.position.entry);
                chain.links.extend(successor.map(|key| SignerLink {
                    key,
                    endorsed_by_previous,
                }));
                chain.signed_by = if endorsed_by_previous {
                    before
                } else {
                    chain.links.len()
                };
            }
        }
    }

    /// Whether the journal contains the entry at this position.
    pub fn has(&self, position: JournalPosition) -> bool {
        position
            .entry
            .is_some_and(|entry| self.entries.contains(&entry))
    }

    /// The key that is currently allowed to write.
    pub fn current(&self) -> Option<&Verifier> {
        self.links.last().map(|link| &link.key)
    }

    /// The position of the newest entry.
    pub fn position(&self) -> JournalPosition {
        self.position
    }

    /// Whether the newest entry is signed by `trusted`, or by a key that received the right to
    /// write from it through an unbroken chain of signed transfers. Anything less proves
    /// nothing: anyone can write a journal that ends by naming a trusted key.
    pub fn descends_from(&self, trusted: &KeyId) -> bool {
        for link in self.links.iter().take(self.signed_by).rev() {
            if link.key.id() == trusted {
                return true;
            }
            if !link.endorsed_by_previous {
                return false;
            }
        }
        false
    }

    /// All keys, the current one first. Documents may still have signatures of earlier keys.
    pub fn verifiers(&self) -> Vec<Verifier> {
        self.links
            .iter()
            .rev()
            .map(|link| link.key.clone())
            .collect()
    }

    /// The ids of all keys, the current one last.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.links.iter().map(|link| link.key.id())
    }
}
