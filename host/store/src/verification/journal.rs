//! The verification of the journal and its keyrings.

use std::sync::Arc;

use super::check::{Check, PAGE};
use super::expected::JournalState;
use crate::error::Error;
use crate::journal::checkpoint::{Checkpoint, rolled_back};
use crate::journal::delegation::verify_next;
use crate::journal::entry::ChangeRecord;
use crate::journal::head::JournalHead;
use crate::journal::heartbeat::Heartbeat;
use crate::journal::position::JournalPosition;
use crate::keyring::Keyring;
use crate::keyring::chain::KeyringChain;
use crate::row::JournalRow;
use crate::statement::Statement;
use crate::tampering::{Fault, Tampering};

/// A walk through the journal.
struct JournalWalk {
    keyrings: KeyringChain,
    /// The keyring in force at the last entry.
    keyring: Option<Arc<Keyring>>,
    state: JournalState,
    position: JournalPosition,
    last: Option<Checkpoint>,
    /// The heartbeat, until it is verified with the checkpoint that it is for.
    heartbeat: Option<Statement>,
    /// How many of the checkpoints that this machine has seen are there.
    met: usize,
    /// Whether every entry so far is valid.
    is_valid: bool,
}

impl Check<'_> {
    /// Walks through the journal. Returns the state that it describes, and the newest
    /// checkpoint; `None` if the journal cannot be trusted.
    pub(super) async fn journal(
        &mut self,
        head: &JournalHead,
        anchored: JournalPosition,
    ) -> Result<Option<(JournalState, Checkpoint)>, Error> {
        let Some(keyrings) = self.keyrings(head).await? else {
            return Ok(None);
        };
        let mut walk = JournalWalk {
            keyrings,
            keyring: None,
            state: JournalState::default(),
            position: JournalPosition::default(),
            last: None,
            heartbeat: self.snapshot.heartbeat().await?,
            met: 0,
            is_valid: true,
        };
        loop {
            let rows = self.snapshot.journal(walk.position.revision, PAGE).await?;
            if rows.is_empty() {
                break;
            }
            self.step(rows.len());
            for row in &rows {
                if !self.journal_row(row, &mut walk, head, anchored) {
                    return Ok(None);
                }
            }
        }
        Ok(self.journal_end(walk, head, anchored))
    }

    /// Verifies the keyrings. `None` if they cannot be trusted.
    async fn keyrings(&mut self, head: &JournalHead) -> Result<Option<KeyringChain>, Error> {
        let statements = self.snapshot.keyrings(0).await?;
        let found = u64::try_from(statements.len()).unwrap_or(u64::MAX);
        if found != self.report.counts.keyrings && !self.is_damaged {
            let reason = "has rows before its first keyring";
            self.fault(Fault::Extra, "the table keyrings", reason);
        }
        let keyrings = match KeyringChain::parse(None, Some(&head.keyring), &statements) {
            Ok(keyrings) => keyrings,
            Err(error) => {
                self.report.faults.push(error);
                return Ok(None);
            }
        };
        if let Err(error) = keyrings.check_trust(&head.keyring) {
            self.report.faults.push(error);
            return Ok(None);
        }
        let mut before: Option<&Keyring> = None;
        for keyring in keyrings.iter() {
            if let Err(error) = keyring.signers(before) {
                self.report.faults.push(error);
            }
            before = Some(keyring);
        }
        Ok(Some(keyrings))
    }

    /// Verifies one row of the journal. Returns `false` if the walk cannot continue.
    fn journal_row(
        &mut self,
        row: &JournalRow,
        walk: &mut JournalWalk,
        head: &JournalHead,
        anchored: JournalPosition,
    ) -> bool {
        let known = walk.keyrings.iter().map(|known| &**known);
        let checkpoint = match Checkpoint::parse_signed(row, known) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                self.report.faults.push(error);
                return false;
            }
        };
        if let Err(error) = walk.verify(row, &checkpoint) {
            walk.is_valid = false;
            self.report.faults.push(error);
        }
        // The entries after an invalid one are still verified.
        match ChangeRecord::verify(row, &checkpoint) {
            Ok(record) => walk.state.apply(&record),
            Err(error) => {
                walk.is_valid = false;
                self.report.faults.push(error);
            }
        }
        walk.position = row.position();
        walk.last = Some(checkpoint);
        self.report.faults.extend(walk.verify_heartbeat().err());
        for seen in [head.position, anchored] {
            if seen == walk.position {
                walk.met += 1;
            } else if seen.revision == row.revision {
                walk.is_valid = false;
                self.report
                    .faults
                    .push(row.tampering("was replaced by another entry"));
            }
        }
        true
    }

    /// Verifies the end of the journal against `head` and the anchored position.
    fn journal_end(
        &mut self,
        walk: JournalWalk,
        head: &JournalHead,
        anchored: JournalPosition,
    ) -> Option<(JournalState, Checkpoint)> {
        let position = walk.position;
        self.report.revision = position.revision;
        if self.progress.done != self.report.counts.entries && !self.is_damaged {
            self.fault(Fault::Extra, "the journal", "has entries before its first");
        }
        let seen = [head.position.revision, anchored.revision];
        let expected = seen.into_iter().filter(|revision| *revision > 0).count();
        let ends_before = seen
            .into_iter()
            .any(|revision| revision > position.revision);
        // Another entry at such a revision is reported there.
        if ends_before || walk.is_valid && walk.met < expected {
            self.report.faults.push(rolled_back());
            return None;
        }
        let in_force = walk.keyring.as_ref().map(|keyring| keyring.digest());
        let newest = walk.keyrings.newest().map(|keyring| keyring.digest());
        if walk.is_valid && in_force != newest {
            let reason = "has keyrings that no entry puts into force";
            self.fault(Fault::Extra, "the list of keyrings", reason);
        }
        if walk.is_valid && walk.heartbeat.is_some() {
            let reason = "is for a checkpoint that does not exist";
            self.fault(Fault::Forged, "the heartbeat", reason);
        }
        let checkpoint = walk.last.filter(|_| walk.is_valid)?;
        Some((walk.state, checkpoint))
    }
}

impl JournalWalk {
    /// Verifies the checkpoint of the next row, and puts its keyring into force.
    fn verify(&mut self, row: &JournalRow, checkpoint: &Checkpoint) -> Result<(), Tampering> {
        let keyring = self
            .keyrings
            .in_force(self.keyring.as_deref(), checkpoint.keyring)
            .ok_or_else(|| row.tampering("names a keyring that is not in force"))?;
        let keyring = Arc::clone(keyring);
        self.keyring = Some(Arc::clone(&keyring));
        verify_next(row, checkpoint, self.position, self.last.as_ref(), &keyring).map(drop)
    }

    /// Verifies the heartbeat, if it is for the last checkpoint.
    fn verify_heartbeat(&mut self) -> Result<(), Tampering> {
        let is_for_this = |found: &mut Statement| {
            Heartbeat::named_revision(found) == Some(self.position.revision)
        };
        let (Some(found), Some(keyring)) = (self.heartbeat.take_if(is_for_this), &self.keyring)
        else {
            return Ok(());
        };
        if Heartbeat::verify(&found, keyring)?.confirms(self.position) {
            return Ok(());
        }
        let reason = "is for a checkpoint that does not exist";
        Err(Tampering::new(Fault::Forged, "the heartbeat", reason))
    }
}
