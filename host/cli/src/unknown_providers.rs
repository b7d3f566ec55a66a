//! Credentials for providers that the home does not know: its file of own providers was
//! lost, or not restored. Nobody gets them until it is back.

use std::collections::BTreeMap;

use entail::{Entail, ProviderId, ScopePath};

use crate::failure::Failure;
use crate::output::{Style, tell};
use crate::session::Session;

/// The unknown providers of these scopes, each with the first scope that has a
/// credential for it.
pub async fn find(
    session: &Session,
    entail: &Entail,
    scopes: impl IntoIterator<Item = ScopePath>,
) -> Result<BTreeMap<ProviderId, ScopePath>, Failure> {
    let mut unknown = BTreeMap::new();
    for path in scopes {
        let scope = match entail.scope(&session.principal, &path).await {
            Ok(scope) => scope,
            // It may be removed after it was listed.
            Err(entail::Error::UnknownScope(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for credential in &scope.credentials {
            if entail.catalog().get(&credential.provider).is_none() {
                unknown
                    .entry(credential.provider.clone())
                    .or_insert_with(|| path.clone());
            }
        }
    }
    Ok(unknown)
}

/// Says on standard error which there are.
pub async fn note(
    session: &Session,
    entail: &Entail,
    scopes: impl IntoIterator<Item = ScopePath>,
) -> Result<(), Failure> {
    let file = session.home()?.providers_file();
    for (provider, scope) in find(session, entail, scopes).await? {
        tell!(Style::Warn => "note:"; " {scope} has a credential for {provider}, and no provider of that id is known; define it in {}",
            file.display()
        );
    }
    Ok(())
}
