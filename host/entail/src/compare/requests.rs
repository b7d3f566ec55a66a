//! The requests to compare.

use std::collections::BTreeSet;

use crate::resolve::chain::Chain;
use crate::resolve::request::Request;
use entail_decision::name::{CredentialName, ModelId, ProviderId, ScopePath};

/// The requests of a scope for a provider; empty if no scope of these chains holds a
/// credential for it.
pub(super) fn requests<'a>(
    path: &ScopePath,
    provider: &ProviderId,
    chains: impl Iterator<Item = &'a Chain>,
) -> Vec<Request> {
    let mut names = BTreeSet::new();
    let mut models = BTreeSet::new();
    for (_, scope) in chains.flat_map(|chain| &chain.scopes) {
        models.extend(scope.models.get(provider).cloned());
        for credential in scope.credentials_for(provider) {
            names.insert(credential.name.clone());
            let patterns = credential.rules.models.iter().flatten();
            // Every pattern is a valid model id.
            models.extend(patterns.filter_map(|pattern| pattern.parse::<ModelId>().ok()));
        }
    }
    let named: Vec<Option<CredentialName>> = match names.len() {
        0 => Vec::new(),
        1 => vec![None],
        _ => std::iter::once(None)
            .chain(names.into_iter().map(Some))
            .collect(),
    };
    let models: Vec<Option<ModelId>> = std::iter::once(None)
        .chain(models.into_iter().map(Some))
        .collect();
    let mut requests = Vec::with_capacity(named.len() * models.len());
    for credential in named {
        for model in &models {
            requests.push(Request {
                credential: credential.clone(),
                model: model.clone(),
                ..Request::new(path.clone(), provider.clone())
            });
        }
    }
    requests
}
