//! A cache of opened secrets, each for a short time.
//!
//! The key is the digest of the sealed bytes, so an entry is never stale: a changed secret
//! has other sealed bytes. Each hit compares the place that the secret was sealed for, as
//! opening does. Entries are overwritten when they are dropped. A thread drops each when it
//! expires, also in a process that opens no more secrets; it runs while there are entries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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
    entries: Arc<Mutex<Entries>>,
}

#[derive(Default)]
struct Entries {
    by_digest: HashMap<Digest, Entry>,
    /// Whether a thread that drops expired entries is running.
    has_sweeper: bool,
}

impl SecretCache {
    /// Keeps each entry for `keep_for`; keeps nothing if it is `None`.
    pub(crate) fn new(keep_for: Option<Duration>) -> Self {
        SecretCache {
            keep_for,
            entries: Arc::default(),
        }
    }

    pub(crate) fn get(&self, digest: &Digest, context: &SealContext) -> Option<Fields> {
        self.keep_for?;
        let entries = lock(&self.entries);
        let entry = entries.by_digest.get(digest)?;
        (entry.until > Instant::now() && entry.context == *context).then(|| entry.fields.clone())
    }

    pub(crate) fn insert(&self, digest: Digest, context: SealContext, fields: &Fields) {
        let Some(keep_for) = self.keep_for else {
            return;
        };
        let mut entries = lock(&self.entries);
        // Without the thread, secrets would stay.
        if !entries.has_sweeper && !start_sweeper(Arc::downgrade(&self.entries), keep_for) {
            return;
        }
        entries.has_sweeper = true;
        if entries.by_digest.len() >= MAX_ENTRIES {
            entries.by_digest.clear();
        }
        let entry = Entry {
            until: Instant::now() + keep_for,
            context,
            fields: fields.clone(),
        };
        entries.by_digest.insert(digest, entry);
    }
}

/// Starts the thread that drops entries. Returns whether it started.
fn start_sweeper(entries: Weak<Mutex<Entries>>, keep_for: Duration) -> bool {
    let sweep = move || {
        let mut pause = keep_for;
        loop {
            std::thread::sleep(pause);
            let Some(entries) = entries.upgrade() else {
                return;
            };
            let mut entries = lock(&entries);
            let now = Instant::now();
            entries.by_digest.retain(|_, entry| entry.until > now);
            let Some(next) = entries.by_digest.values().map(|entry| entry.until).min() else {
                entries.has_sweeper = false;
                return;
            };
            pause = next.saturating_duration_since(now);
        }
    };
    std::thread::Builder::new()
        .name("entail-secrets".to_owned())
        .spawn(sweep)
        .is_ok()
}

fn lock(entries: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> SealContext {
        SealContext {
            store: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
            mode: "api-key".to_owned(),
            fields: vec!["api_key".to_owned()],
            scope: "acme".to_owned(),
            credential: "1".to_owned(),
            version: 1,
            provider: "openai".to_owned(),
            hosts: Vec::new(),
            destination: Digest::of(b"{}"),
            epoch: 1,
        }
    }

    #[test]
    fn an_entry_leaves_memory_when_its_time_is_over_even_if_nobody_asks_again() {
        let cache = SecretCache::new(Some(Duration::from_millis(50)));
        for round in 0..2_u8 {
            let digest = Digest::of(&[round]);
            cache.insert(digest, context(), &Fields::new());
            let started = Instant::now();
            while lock(&cache.entries).has_sweeper {
                assert!(started.elapsed() < Duration::from_secs(10));
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(lock(&cache.entries).by_digest.is_empty());
        }
    }
}
