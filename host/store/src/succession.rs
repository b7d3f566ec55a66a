//! Which keys a journal has handed the power to write on to: what a copy of a store
//! is judged by where there is no anchor.

use std::collections::HashSet;

use crate::anchor::Mark;
use crate::backend::Backend;
use crate::digest::Digest;
use crate::error::Error;
use crate::journal::Entry;
use crate::known::mark_of;
use crate::signing::{KeyId, Verifier};

/// Journal entries read at a time.
const PAGE: usize = 1_000;

/// The keys that a journal hands on, in order.
#[derive(Clone, Debug, Default)]
pub struct Succession {
    heirs: Vec<Heir>,
    /// How many of them there were up to the one that signed the newest entry.
    signed_by: usize,
    mark: Mark,
    /// All entries.
    entries: HashSet<Digest>,
}

#[derive(Clone, Debug)]
struct Heir {
    key: Verifier,
    /// Whether the key before handed it on. The first was not, nor was that of a store
    /// that was restored.
    by_the_one_before: bool,
}

impl Succession {
    /// Reads the journal of a copy, and checks its chain and every signature by the
    /// keys that it hands on itself. Whether any of them is to be trusted, it does
    /// not say.
    ///
    /// # Errors
    ///
    /// [`Error::Tampered`], [`Error::Unavailable`].
    pub async fn of(backend: &dyn Backend) -> Result<Self, Error> {
        let mut succession = Succession::default();
        loop {
            let rows = backend.journal(succession.mark.revision, PAGE).await?;
            if rows.is_empty() {
                return Ok(succession);
            }
            for row in &rows {
                let entry = Entry::parse(row)?;
                let heir = entry.successor()?;
                let by_itself = heir.as_ref().filter(|key| key.id().as_str() == row.signer);
                let signer = match (by_itself, succession.current()) {
                    (Some(key), _) => key.clone(),
                    (None, Some(current)) => current.clone(),
                    (None, None) => {
                        return Err(Entry::tampering(
                            row.revision,
                            "is the first, and names no key",
                        )
                        .into());
                    }
                };
                Entry::verify(row, &signer)?;
                if !entry.follows(succession.mark) {
                    return Err(
                        Entry::tampering(row.revision, "does not follow the one before").into(),
                    );
                }
                let by_the_one_before = by_itself.is_none();
                let before = succession.heirs.len();
                succession.mark = mark_of(row);
                succession.entries.extend(succession.mark.entry);
                succession.heirs.extend(heir.map(|key| Heir {
                    key,
                    by_the_one_before,
                }));
                succession.signed_by = match by_the_one_before {
                    true => before,
                    false => succession.heirs.len(),
                };
            }
        }
    }

    /// Whether this entry is one of the journal's.
    pub fn has(&self, mark: Mark) -> bool {
        mark.entry
            .is_some_and(|entry| self.entries.contains(&entry))
    }

    /// The key that may write now.
    pub fn current(&self) -> Option<&Verifier> {
        self.heirs.last().map(|heir| &heir.key)
    }

    /// The newest entry.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// Whether the newest entry is signed by `trusted`, or by a key that got the power
    /// to write from it, hand to hand. Only that bears out all that is in the chain:
    /// anybody can write a journal that ends by handing the power to somebody else.
    pub fn descends_from(&self, trusted: &KeyId) -> bool {
        for heir in self.heirs.iter().take(self.signed_by).rev() {
            if heir.key.id() == trusted {
                return true;
            }
            if !heir.by_the_one_before {
                return false;
            }
        }
        false
    }

    /// All keys, the present one first: what one of them signed may still have its
    /// signature.
    pub fn verifiers(&self) -> Vec<Verifier> {
        self.heirs
            .iter()
            .rev()
            .map(|heir| heir.key.clone())
            .collect()
    }

    /// Names all keys, the present one last.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.heirs.iter().map(|heir| heir.key.id())
    }
}
