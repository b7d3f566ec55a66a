//! Reading and committing this library's documents.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entail_store::{Author, Batch, DocumentKey, LogHead, Revision, Role, Store};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::audit::DecisionLog;
use crate::clock::Clock;
use crate::documents::encode;
use crate::documents::principal::KnownPrincipals;
use crate::documents::scope::SCOPE_KIND;
use crate::error::Error;
use crate::principal::Principal;
use crate::sleep::sleep;
use entail_decision::name::ScopePath;

/// How long a change is tried again when other writers are faster. Each lost try means
/// that another change succeeded; a commit takes milliseconds.
const RETRY_WITHIN: Duration = Duration::from_secs(15);

/// The longest pause before the next try.
const MAX_PAUSE_MS: u16 = 50;

/// The store with the clock that dates its changes. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct DocumentStore {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(super) principals: Arc<KnownPrincipals>,
    /// The decision log of this machine. The journal contains its ends.
    log: Option<Arc<DecisionLog>>,
}

impl DocumentStore {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        DocumentStore {
            store: Arc::new(store),
            clock,
            principals: Arc::default(),
            log: None,
        }
    }

    /// The same store, with the decision log of this machine.
    pub(crate) fn with_log(self, log: Arc<DecisionLog>) -> Self {
        DocumentStore {
            log: Some(log),
            ..self
        }
    }

    /// The end of the decision log; `None` as long as nothing was recorded, or if the log cannot be
    /// read, which a resolution reports.
    async fn log_head(&self) -> Option<LogHead> {
        let log = self.log.as_ref()?;
        if !log.has_begun() {
            return None;
        }
        log.head().await.ok().flatten()
    }

    /// The time by this machine's clock, in milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Fails if this machine cannot write, as a commit would.
    pub(crate) async fn check_can_commit(&self) -> Result<(), Error> {
        // Another process may have rotated the signer.
        let keyring = self.store.keyring().await?;
        self.store.reload_keys().await?.check_may_write(&keyring)?;
        Ok(())
    }

    /// How many owners must sign a change of the keyring besides those whose keys this machine
    /// has. Fails if this machine cannot write, as a commit would.
    pub(crate) async fn missing_owners(&self) -> Result<usize, Error> {
        self.check_can_commit().await?;
        let keyring = self.store.keyring().await?;
        let keys = self.store.keys();
        keys.check_not_limited(&keyring)?;
        Ok(keys.missing_owners(&keyring.authority().owners)?)
    }

    /// Commits a batch with its journal entry.
    pub(crate) async fn commit(
        &self,
        principal: &Principal,
        expected: Revision,
        mut batch: Batch,
        change: &Value,
    ) -> Result<(), Error> {
        let change = encode(change)?;
        let author = Author {
            principal: self.add_author(principal, &mut batch).await?,
            at_ms: self.now_ms(),
            change: &change,
            log: self.log_head().await,
        };
        self.store.commit(expected, batch, author).await?;
        Ok(())
    }

    /// Rotates a key that signs, with its journal entry.
    pub(crate) async fn rotate_key(
        &self,
        principal: &Principal,
        role: Role,
        change: &Value,
    ) -> Result<(), Error> {
        let change = encode(change)?;
        self.until_not_contended(|| async {
            let expected = self.store.revision().await?;
            let mut batch = Batch::default();
            let author = Author {
                principal: self.add_author(principal, &mut batch).await?,
                at_ms: self.now_ms(),
                change: &change,
                log: self.log_head().await,
            };
            Ok(self.store.rotate_key(role, expected, batch, author).await?)
        })
        .await
    }

    /// Tries again, with a limit, while other writers are faster.
    // Not `AsyncFn`: its futures cannot be required to be `Send` yet.
    pub(crate) async fn until_not_contended<T, F: Future<Output = Result<T, Error>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error> {
        let started = Instant::now();
        loop {
            match attempt().await {
                Err(Error::Contended) if started.elapsed() < RETRY_WITHIN => pause().await,
                other => return other,
            }
        }
    }

    /// The time of the newest change, which makes `revision`.
    pub(crate) async fn newest_change_ms(&self, revision: Revision) -> Result<u64, Error> {
        match self.store.newest_entry().await? {
            Some(entry) if entry.revision == revision => Ok(entry.at_ms),
            None if revision == 0 => Ok(0),
            _ => Err(Error::Contended),
        }
    }

    /// The paths of `under` and its descendants, in order; of all scopes if it is `None`.
    pub(crate) async fn scopes(&self, under: Option<&ScopePath>) -> Result<Vec<ScopePath>, Error> {
        let under = under.map_or("", ScopePath::as_str);
        let names = self.store.names(SCOPE_KIND, under, None, usize::MAX);
        // A signer of some scopes may have written documents with other names, or below a scope that
        // does not exist. They are no scopes.
        let mut scopes: Vec<ScopePath> = Vec::new();
        let mut known = HashSet::new();
        for name in names.await? {
            let Ok(path) = name.parse::<ScopePath>() else {
                continue;
            };
            // In order, so that a scope comes after the one above it.
            let is_below = |parent: ScopePath| known.contains(&parent);
            if path.as_str() == under || path.parent().is_none_or(is_below) {
                known.insert(path.clone());
                scopes.push(path);
            }
        }
        Ok(scopes)
    }

    /// The keys of all documents of a kind.
    async fn document_keys_of(&self, kind: &str) -> Result<Vec<DocumentKey>, Error> {
        let names = self.store.names(kind, "", None, usize::MAX).await?;
        let key = |name| DocumentKey::new(kind, name);
        Ok(names.into_iter().map(key).collect())
    }

    /// The documents of a kind that this version can read. Others do not block what does not need
    /// them: any signer could write one. `verify` reports them.
    pub(crate) async fn readable_bodies<T: DeserializeOwned + Clone + Send + Sync + 'static>(
        &self,
        kind: &str,
    ) -> Result<Vec<(DocumentKey, T)>, Error> {
        let keys = self.document_keys_of(kind).await?;
        let documents = self.store.read(&keys).await?.documents;
        let found = keys.into_iter().zip(documents);
        let readable = found.filter_map(|(key, document)| {
            let body = document?.body::<T>().ok()?;
            Some((key, T::clone(&*body)))
        });
        Ok(readable.collect())
    }

    /// All documents of a kind, as of one revision.
    pub(crate) async fn bodies<T: DeserializeOwned + Clone + Send + Sync + 'static>(
        &self,
        kind: &str,
    ) -> Result<(Revision, Vec<(DocumentKey, T)>), Error> {
        let keys = self.document_keys_of(kind).await?;
        let snapshot = self.store.read(&keys).await?;
        let mut bodies = Vec::with_capacity(keys.len());
        for (key, document) in keys.into_iter().zip(snapshot.documents) {
            // It may have been removed since it was listed.
            if let Some(document) = document {
                bodies.push((key, T::clone(&*document.body::<T>()?)));
            }
        }
        Ok((snapshot.revision, bodies))
    }
}

/// Waits for a random time, so that contending writers do not meet again.
async fn pause() {
    let mut random = [0; 2];
    let pause = match getrandom::fill(&mut random) {
        Ok(()) => u16::from_ne_bytes(random) % MAX_PAUSE_MS,
        Err(_) => MAX_PAUSE_MS,
    };
    sleep(Duration::from_millis(pause.into())).await;
}
