//! Finds credentials for unknown providers. They exist if the home's file of providers was lost
//! or not restored; nobody gets them until it is there again.

use std::collections::BTreeMap;

use entail::{Entail, ProviderId, ScopePath};

use crate::error::CliError;
use crate::output::{Style, err};
use crate::session::Session;

/// Finds the unknown providers of these scopes, each with the first scope that has a
/// credential for it.
///
/// # Errors
///
/// Fails if the store cannot be read.
pub async fn find(
    session: &Session,
    entail: &Entail,
    scopes: impl IntoIterator<Item = ScopePath>,
) -> Result<BTreeMap<ProviderId, ScopePath>, CliError> {
    let mut unknown = BTreeMap::new();
    for path in scopes {
        let scope = match entail.scope(&session.principal, &path).await {
            Ok(scope) => scope,
            // A scope may be removed after it was listed.
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

/// Prints a note for each unknown provider.
///
/// # Errors
///
/// Fails if the store cannot be read.
pub async fn note(
    session: &Session,
    entail: &Entail,
    scopes: impl IntoIterator<Item = ScopePath>,
) -> Result<(), CliError> {
    let file = session.home()?.providers_file();
    for (provider, scope) in find(session, entail, scopes).await? {
        err!(Style::Warn => "note:"; " {scope} has a credential for {provider}, which is not a known provider; define it in {}",
            file.display()
        );
    }
    Ok(())
}
