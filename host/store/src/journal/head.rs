//! The verified end of the journal, and how to advance it: each checkpoint is checked against
//! the digest of the previous one, the keyring that is in force, and the position in the
//! anchor.

use std::sync::Arc;

use crate::backend::JournalStart;
use crate::digest::Digest;
use crate::journal::checkpoint::{Checkpoint, rolled_back};
use crate::journal::position::JournalPosition;
use crate::keyring::{Keyring, KeyringChain};
use crate::row::JournalRow;
use crate::statement::Statement;
use crate::tampering::Tampering;
use crate::tree;

/// The newest verified checkpoint, and the keyring that is in force.
#[derive(Clone)]
pub(crate) struct JournalHead {
    pub(crate) position: JournalPosition,
    /// The root of the document tree and the number of documents; `None` before the checkpoint
    /// was read.
    pub(crate) documents: Option<(Digest, u64)>,
    /// The keyring that is in force; before the checkpoint was read, the one that this machine
    /// trusts.
    pub(crate) keyring: Arc<Keyring>,
}

impl JournalHead {
    /// The root of the document tree.
    pub(crate) fn root(&self) -> Digest {
        self.documents
            .map_or_else(tree::empty_root, |(root, _)| root)
    }

    /// The number of documents.
    pub(crate) fn count(&self) -> u64 {
        self.documents.map_or(0, |(_, count)| count)
    }

    /// Where to begin to read the journal, to advance from here.
    pub(crate) fn start(&self) -> JournalStart {
        JournalStart {
            revision: self.position.revision,
            // The keyring of a checkpoint that was not read yet may be any.
            keyring: self.documents.map_or(0, |_| self.keyring.number()),
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

    /// Verifies `rows`, the journal from the current checkpoint on, and returns the new head.
    /// `keyrings` are those of the database from [`JournalHead::start`] on.
    pub(crate) fn advance(
        mut self,
        rows: &[JournalRow],
        keyrings: &[Statement],
        anchored: JournalPosition,
    ) -> Result<Self, Tampering> {
        let base = self.documents.map(|_| Arc::clone(&self.keyring));
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
            // changed, but they are not needed here.
            if self.documents.is_none() {
                let checkpoint = Checkpoint::parse(row)?;
                self.documents = Some((checkpoint.tree, checkpoint.documents));
                // The keyring that this machine trusts may be an earlier one, or a later one.
                if checkpoint.keyring != self.keyring.digest() {
                    let found = keyrings.chain(&self.keyring)?.get(checkpoint.keyring);
                    self.keyring = Arc::clone(found.ok_or_else(|| unknown_keyring(row))?);
                }
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
            checkpoint.verify(row, self.position, &self.keyring)?;
            self.position = row.position();
            self.documents = Some((checkpoint.tree, checkpoint.documents));
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

fn unknown_keyring(row: &JournalRow) -> Tampering {
    row.tampering("names a keyring that is not in force")
}
