//! The verified end of the journal, and how to advance it: each checkpoint is checked against
//! the digest of the previous one, the keyring that is in force, and the position in the
//! anchor.

use std::sync::Arc;

use crate::backend::{JournalRows, JournalStart};
use crate::digest::Digest;
use crate::journal::checkpoint::{Checkpoint, rolled_back};
use crate::journal::delegation::verify_next;
use crate::journal::heartbeat::{Freshness, Heartbeat};
use crate::journal::position::JournalPosition;
use crate::keyring::Keyring;
use crate::keyring::chain::KeyringChain;
use crate::row::JournalRow;
use crate::statement::{Statement, StatementType};
use crate::tampering::Tampering;
use crate::tree;

/// The newest verified checkpoint, and the keyring that is in force.
#[derive(Clone)]
pub(crate) struct JournalHead {
    pub(crate) position: JournalPosition,
    /// The checkpoint; `None` before it was read.
    pub(crate) checkpoint: Option<Arc<Checkpoint>>,
    /// Whether a signer of the whole store signed the checkpoint. Used only if the keyring requires
    /// heartbeats, and unknown otherwise.
    pub(crate) is_confirmed: bool,
    /// The newest heartbeat, if it is for this checkpoint.
    pub(crate) heartbeat: Option<Heartbeat>,
    /// The keyring that is in force; before the checkpoint was read, the one that this machine
    /// trusts.
    pub(crate) keyring: Arc<Keyring>,
}

impl JournalHead {
    /// The root of the document tree.
    pub(crate) fn root(&self) -> Digest {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or_else(tree::empty_root, |checkpoint| checkpoint.tree)
    }

    /// The number of documents.
    pub(crate) fn count(&self) -> u64 {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or(0, |checkpoint| checkpoint.documents)
    }

    /// When this state of the store counts as the newest.
    pub(crate) fn freshness(&self) -> Freshness {
        Freshness::of(
            self.checkpoint.as_deref().filter(|_| self.is_confirmed),
            self.heartbeat.as_ref(),
            &self.keyring,
        )
    }

    /// Where to begin to read the journal, to advance from here.
    pub(crate) fn start(&self) -> JournalStart {
        JournalStart {
            revision: self.position.revision,
            // The keyring of a checkpoint that was not read yet may be any.
            keyring: match self.checkpoint {
                Some(_) => self.keyring.number(),
                None => 0,
            },
        }
    }

    /// Fails if the journal ends before the anchor, or has another checkpoint at its revision.
    pub(crate) fn check_anchor(&self, anchored: JournalPosition) -> Result<(), Tampering> {
        if self.position.revision < anchored.revision {
            return Err(rolled_back());
        }
        if self.position.revision == anchored.revision && self.position != anchored {
            return Err(JournalRow::tampering_at(
                anchored.revision,
                "was replaced by another entry",
            ));
        }
        Ok(())
    }

    /// Verifies the journal of the database from [`JournalHead::start`] on, and returns the new
    /// head. It is behind the database if there are more entries than were read at once.
    pub(crate) fn advance_to(
        self,
        journal: &JournalRows,
        anchored: JournalPosition,
    ) -> Result<Self, Tampering> {
        let mut head = self.advance(&journal.entries, &journal.keyrings, anchored)?;
        head.heartbeat = match &journal.heartbeat {
            // It is for an older checkpoint if a signer has not sent one since.
            Some(found) if head.keyring.authority().fresh_for_ms.is_some() => {
                let heartbeat = Heartbeat::verify(found, &head.keyring).ok();
                heartbeat.filter(|heartbeat| heartbeat.confirms(head.position))
            }
            _ => None,
        };
        Ok(head)
    }

    /// Verifies `rows`, the journal from the current checkpoint on, and returns the new head.
    /// `keyrings` are those of the database from [`JournalHead::start`] on.
    pub(crate) fn advance(
        mut self,
        rows: &[JournalRow],
        keyrings: &[Statement],
        anchored: JournalPosition,
    ) -> Result<Self, Tampering> {
        let is_read = self.checkpoint.is_some();
        let base = is_read.then(|| Arc::clone(&self.keyring));
        let mut keyrings = Keyrings::Unread(base, keyrings);
        let mut rows = rows.iter();
        if self.position.revision > 0 {
            let row = rows.next().ok_or_else(rolled_back)?;
            if row.revision != self.position.revision {
                return Err(rolled_back());
            }
            if row.position() != self.position {
                return Err(row.tampering("was replaced by another entry"));
            }
            // The digest matches, so the bytes are right. The signatures may still have been
            // changed, but they are needed only to tell who confirms the state.
            if !is_read {
                let checkpoint = Checkpoint::parse(row)?;
                // The keyring that this machine trusts may be an earlier one, or a later one.
                if checkpoint.keyring != self.keyring.digest() {
                    let found = keyrings.chain(&self.keyring)?.get(checkpoint.keyring);
                    self.keyring = Arc::clone(found.ok_or_else(|| unknown_keyring(row))?);
                }
                let requires_heartbeats = self.keyring.authority().fresh_for_ms.is_some();
                self.is_confirmed = requires_heartbeats && is_confirmed(row, &self.keyring);
                self.checkpoint = Some(Arc::new(checkpoint));
            }
        }
        for row in rows {
            // Parsed only for a checkpoint of a newer version.
            let later = std::iter::once_with(|| keyrings.chain(&self.keyring).ok());
            let later = later.flatten().flat_map(KeyringChain::iter);
            let known = std::iter::once(&self.keyring).chain(later);
            let checkpoint = Checkpoint::parse_signed(row, known.map(|known| &**known))?;
            if checkpoint.keyring != self.keyring.digest() {
                let chain = keyrings.chain(&self.keyring)?;
                let keyring = chain.in_force(Some(&self.keyring), checkpoint.keyring);
                self.keyring = Arc::clone(keyring.ok_or_else(|| unknown_keyring(row))?);
            }
            let previous = self.checkpoint.as_deref();
            self.is_confirmed =
                verify_next(row, &checkpoint, self.position, previous, &self.keyring)?;
            self.position = row.position();
            self.checkpoint = Some(Arc::new(checkpoint));
            if self.position.revision == anchored.revision {
                self.check_anchor(anchored)?;
            }
        }
        Ok(self)
    }
}

/// The keyrings of a database. They are parsed when they are needed, which is rare.
enum Keyrings<'a> {
    /// The keyring to begin with, if it is known, and those after it.
    Unread(Option<Arc<Keyring>>, &'a [Statement]),
    Verified(KeyringChain),
}

impl Keyrings<'_> {
    /// The keyrings as a chain that contains `trusted`.
    fn chain(&mut self, trusted: &Keyring) -> Result<&KeyringChain, Tampering> {
        if let Keyrings::Unread(base, statements) = self {
            let chain = KeyringChain::parse(base.as_ref(), Some(trusted), statements)?;
            chain.check_trust(trusted)?;
            *self = Keyrings::Verified(chain);
        }
        match self {
            Keyrings::Verified(chain) => Ok(chain),
            Keyrings::Unread(..) => Err(rolled_back()),
        }
    }
}

/// Whether a signer of the whole store signed the checkpoint of a row.
fn is_confirmed(row: &JournalRow, keyring: &Keyring) -> bool {
    let signed_by = row
        .checkpoint
        .signed_by(StatementType::Checkpoint, &keyring.signing_keys());
    signed_by.is_ok_and(|signed_by| keyring.scopes_of(&signed_by).is_none())
}

fn unknown_keyring(row: &JournalRow) -> Tampering {
    row.tampering("names a keyring that is not in force")
}
