//! A shadow policy: it decides the same requests as the active policy, and its decisions are
//! only logged.
//!
//! It never delays or changes a decision: it runs afterwards, on a thread with the lowest
//! priority that uses a tenth of a processor. Requests that exceed this are skipped. Its log
//! is separate from the decision log, is not chained, and may have gaps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use entail_policy::Policy;
use entail_store::Store;

use super::loader::PolicyLoader;
use super::shadow_log::{ShadowLog, ShadowRequest};
use crate::documents::policy::PolicyActivation;

/// A shadow of an organization's policy.
pub(crate) struct Shadow {
    pub(super) activation: PolicyActivation,
    is_loading: AtomicBool,
    /// `None` inside if it cannot be loaded.
    policy: OnceLock<Option<Policy>>,
}

impl Shadow {
    pub(super) fn new(activation: PolicyActivation) -> Self {
        Shadow {
            activation,
            is_loading: AtomicBool::new(false),
            policy: OnceLock::new(),
        }
    }

    /// Lets the shadow decide in the background. The first request loads it; requests that
    /// arrive meanwhile are skipped.
    pub(crate) fn submit(
        self: &Arc<Self>,
        loader: &Arc<PolicyLoader>,
        store: &Arc<Store>,
        log: &Arc<ShadowLog>,
        request: ShadowRequest,
    ) {
        match self.policy.get() {
            Some(Some(policy)) => decide(policy, log, request),
            Some(None) => {}
            None if self.is_loading.swap(true, Ordering::Relaxed) => {}
            None => {
                log.begin();
                let (shadow, loader) = (Arc::clone(self), Arc::clone(loader));
                let (store, log) = (Arc::clone(store), Arc::clone(log));
                tokio::spawn(async move {
                    let loaded = loader.load(&store, &shadow.activation).await.ok();
                    if let Some(policy) = shadow.policy.get_or_init(|| loaded) {
                        decide(policy, &log, request);
                    }
                    log.end();
                });
            }
        }
    }
}

fn decide(policy: &Policy, log: &Arc<ShadowLog>, request: ShadowRequest) {
    log.begin();
    let digest = policy.digest();
    let decided = Arc::clone(log);
    let facts = Arc::clone(&request.facts);
    let is_accepted = policy.decide_in_background(facts, move |decision| {
        decided.write(request, digest, decision);
        decided.end();
    });
    if !is_accepted {
        log.end();
    }
}
