//! A cache of opened secrets, each for a short time.
//!
//! The key is the digest of the sealed bytes, so an entry is never stale: a changed secret
//! has other sealed bytes. Each hit compares the place that the secret was sealed for, as
//! opening does. Entries are overwritten when they are dropped.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use entail_store::{Digest, Fields, SealContext};

/// The most entries; when the cache is full, it is cleared.
const MAX_ENTRIES: usize = 256;

struct Entry {
    until: Instant,
    context: SealContext,
    fields: Fields,
}

/// Opened secrets by the digest of their sealed bytes.
pub(crate) struct SecretCache {
    keep_for: Option<Duration>,
    entries: Mutex<HashMap<Digest, Entry>>,
}

impl SecretCache {
    /// Keeps each entry for `keep_for`; keeps nothing if it is `None`.
    pub(crate) fn new(keep_for: Option<Duration>) -> Self {
        SecretCache {
            keep_for,
            entries: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, digest: &Digest, context: &SealContext) -> Option<Fields> {
        self.keep_for?;
        let mut entries = self.lock();
        let entry = entries.get(digest)?;
        if entry.until <= Instant::now() {
            entries.remove(digest);
            return None;
        }
        (entry.context == *context).then(|| entry.fields.clone())
    }

    pub(crate) fn insert(&self, digest: Digest, context: SealContext, fields: &Fields) {
        let Some(keep_for) = self.keep_for else {
            return;
        };
        let now = Instant::now();
        let mut entries = self.lock();
        entries.retain(|_, entry| entry.until > now);
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        let entry = Entry {
            until: now + keep_for,
            context,
            fields: fields.clone(),
        };
        entries.insert(digest, entry);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
