//! What was probably meant, where a name is not known.
//!
//! A name that is not there may be a slip of the pen: so the answer names what is there
//! and looks like it, and never a command that would make the slip real or take something
//! away.

use entail::{Entail, Error, ScopePath};

use crate::failure::{Failure, Unknown, named};
use crate::nearest::nearest;
use crate::session::Session;

/// Adds to a failure what may have been meant. `is_adding` says that the command was to
/// add a project, for which a scope may well be missing on purpose.
pub async fn complete(session: &Session, failure: Failure, is_adding: bool) -> Failure {
    let Some(unknown) = failure.unknown() else {
        return failure;
    };
    let Ok(entail) = session.open() else {
        return failure;
    };
    match unknown {
        Unknown::Scope(scope) => {
            let Ok(scopes) = entail.scopes(&session.principal, None).await else {
                return failure;
            };
            let scope = scope.clone();
            complete_scope(failure, &scope, &scopes, is_adding)
        }
        Unknown::Credential {
            scope,
            provider,
            name,
        } => {
            let names = names(session, &entail, scope, provider).await;
            let (scope, provider, name) = (scope.clone(), provider.clone(), name.clone());
            match nearest(&name, names.iter().map(String::as_str)) {
                Some(near) => failure.meaning(near),
                None if names.is_empty() => {
                    let name = named(&name);
                    let set = format!("entail credential set {scope} {provider}{name}");
                    failure.with_remedies(vec![set])
                }
                None => failure,
            }
        }
    }
}

fn complete_scope(
    failure: Failure,
    scope: &ScopePath,
    scopes: &[ScopePath],
    is_adding: bool,
) -> Failure {
    let below = format!("/{scope}");
    let mut without_beginning = scopes.iter().filter(|path| path.as_str().ends_with(&below));
    let near = match (without_beginning.next(), without_beginning.next()) {
        (Some(only), None) => Some(only.as_str()),
        _ => nearest(scope.as_str(), scopes.iter().map(ScopePath::as_str)),
    };
    match near {
        Some(near) => failure.meaning(near),
        None if scopes.is_empty() || (is_adding && scope.is_organization()) => {
            let organization = scope.chain().last();
            let init = organization.map(|organization| format!("entail init {organization}"));
            failure.with_remedies(init.into_iter().collect())
        }
        None if is_adding => failure.with_remedies(vec![format!("entail project add {scope}")]),
        None => failure,
    }
}

/// The names of what a scope has for a provider.
async fn names(
    session: &Session,
    entail: &Entail,
    scope: &ScopePath,
    provider: &str,
) -> Vec<String> {
    let held: Result<_, Error> = entail.scope(&session.principal, scope).await;
    let Ok(held) = held else { return Vec::new() };
    let mut names: Vec<String> = held
        .credentials
        .iter()
        .filter(|credential| credential.provider.as_str() == provider)
        .map(|credential| credential.name.to_string())
        .collect();
    names.sort();
    names
}
