//! Step 2: loads the facts of a request.

use std::sync::Arc;

use entail_policy::Facts;
use entail_store::Document;

use crate::entail::Entail;
use crate::error::Error;
use crate::principal::Principal;
use crate::resolve::chain::{Chain, ReadChain};
use crate::resolve::request::Request;
use entail_decision::provider::Provider;

/// The facts of a request, with the documents they were made from.
pub(crate) struct LoadedFacts<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) chain: Chain,
    /// The document of the organization's active policy, if there is one.
    pub(crate) active_policy: Option<Arc<Document>>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) now_ms: u64,
}

impl Entail {
    /// Reads the chain's documents at one revision, verifies them, and makes the facts.
    pub(super) async fn load_facts(
        &self,
        principal: &Principal,
        request: &Request,
    ) -> Result<LoadedFacts<'_>, Error> {
        let provider = self.provider(&request.provider)?;
        let ReadChain {
            chain,
            active_policy,
            freshness,
        } = Chain::read(&self.documents.store, &request.scope).await?;
        let now_ms = self.documents.now_ms();
        if !freshness.is_fresh(now_ms) {
            let until_ms = freshness.until_ms().unwrap_or(0);
            return Err(Error::NotFresh { until_ms });
        }
        let mut keys = self.documents.store.keys();
        if chain.has_unreadable(&request.provider, &keys) {
            // Another process may have rotated the identity since the keys were read.
            keys = self.documents.store.reload_keys().await?;
        }
        let facts = chain.facts(request, provider, principal, now_ms, &keys)?;
        Ok(LoadedFacts {
            provider,
            chain,
            active_policy,
            facts: Arc::new(facts),
            now_ms,
        })
    }
}
