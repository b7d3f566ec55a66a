//! Opened secrets, kept for a short time.
//!
//! They are kept under the digest of their sealed bytes, so what is found is
//! never stale: a changed secret has other sealed bytes. The binding is compared
//! each time, as it is on opening. Kept secrets are overwritten when they are
//! let go.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use entail_store::{Digest, Fields, SealContext};

/// How many are kept at most; when there are more, all are let go.
const MAX_KEPT: usize = 256;

struct Opened {
    until: Instant,
    binding: SealContext,
    fields: Fields,
}

/// Opened secrets by the digest of their sealed bytes.
pub(crate) struct OpenedSecrets {
    keep_for: Option<Duration>,
    kept: Mutex<HashMap<Digest, Opened>>,
}

impl OpenedSecrets {
    /// Keeps each for `keep_for`, or nothing.
    pub(crate) fn new(keep_for: Option<Duration>) -> Self {
        OpenedSecrets {
            keep_for,
            kept: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, digest: &Digest, binding: &SealContext) -> Option<Fields> {
        self.keep_for?;
        let mut kept = self.lock();
        let opened = kept.get(digest)?;
        if opened.until <= Instant::now() {
            kept.remove(digest);
            return None;
        }
        (opened.binding == *binding).then(|| opened.fields.clone())
    }

    pub(crate) fn keep(&self, digest: Digest, binding: SealContext, fields: &Fields) {
        let Some(keep_for) = self.keep_for else {
            return;
        };
        let now = Instant::now();
        let mut kept = self.lock();
        kept.retain(|_, opened| opened.until > now);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(
            digest,
            Opened {
                until: now + keep_for,
                binding,
                fields: fields.clone(),
            },
        );
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Opened>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
