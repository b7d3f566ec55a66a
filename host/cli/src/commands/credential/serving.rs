//! Determines which of a scope's credentials its requests get.

use entail::policy::Outcome;
use entail::{Entail, Request};

use crate::args::credential::CredentialArgs;
use crate::output::{Style, err};
use crate::session::Session;

/// Returns the name of the credential that requests of the scope get for the provider;
/// `None` if the scope has fewer than two, or none of them is granted.
pub async fn serving(session: &Session, entail: &Entail, id: &CredentialArgs) -> Option<String> {
    let scope = entail.scope(&session.principal, &id.scope).await.ok()?;
    if scope.credentials_for(&id.provider).count() < 2 {
        return None;
    }
    granted(session, entail, id).await
}

/// Notes which credential requests get after `id` was disabled or removed.
pub async fn note_successor(session: &Session, entail: &Entail, id: &CredentialArgs) {
    if let Some(name) = granted(session, entail, id).await
        && name != id.name.as_str()
    {
        let CredentialArgs {
            scope, provider, ..
        } = id;
        err!(Style::Warn => "note:"; " requests of {scope} for {provider} now get {name}");
    }
}

/// The name of the scope's own credential that a request without a model is granted.
async fn granted(session: &Session, entail: &Entail, id: &CredentialArgs) -> Option<String> {
    let request = Request::new(id.scope.clone(), id.provider.clone());
    let explanation = entail.explain(&session.principal, &request).await.ok()?;
    let Outcome::Granted(grant) = &explanation.decision.outcome else {
        return None;
    };
    let own = &explanation.facts.chain.first()?.credentials;
    let chosen = own.iter().find(|own| own.id == grant.credential)?;
    Some(chosen.name.clone())
}
