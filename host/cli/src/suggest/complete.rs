//! Adds to an error about an unknown name what was probably meant.
//!
//! The name may be a typing error. So the error names a similar name that exists, and never
//! a command that would create the wrong name or remove something.

use entail::{Entail, Error, ScopePath};

use super::command_line::name_option;
use super::nearest::nearest;
use crate::error::{CliError, Unknown};
use crate::session::Session;

/// Adds a similar name or a remedy to an error. `is_adding` means that the command adds a
/// scope, so that the scope above it may be missing on purpose.
pub async fn complete(session: &Session, error: CliError, is_adding: bool) -> CliError {
    let Some(unknown) = error.unknown() else {
        return error;
    };
    let Ok(entail) = session.open() else {
        return error;
    };
    match unknown {
        Unknown::Scope(scope) => {
            let Ok(scopes) = entail.scopes(&session.principal, None).await else {
                return error;
            };
            let scope = scope.clone();
            complete_scope(error, &scope, &scopes, is_adding)
        }
        Unknown::Credential {
            scope,
            provider,
            name,
        } => {
            let names = names(session, &entail, scope, provider).await;
            let (scope, provider, name) = (scope.clone(), provider.clone(), name.clone());
            match nearest(&name, names.iter().map(String::as_str)) {
                Some(near) => error.did_you_mean(near),
                None if names.is_empty() => {
                    let name = name_option(&name);
                    let set = format!("entail credential set {scope} {provider}{name}");
                    error.with_remedies(vec![set])
                }
                None => error,
            }
        }
    }
}

fn complete_scope(
    error: CliError,
    scope: &ScopePath,
    scopes: &[ScopePath],
    is_adding: bool,
) -> CliError {
    let below = format!("/{scope}");
    let mut without_prefix = scopes.iter().filter(|path| path.as_str().ends_with(&below));
    let near = match (without_prefix.next(), without_prefix.next()) {
        (Some(only), None) => Some(only.as_str()),
        _ => nearest(scope.as_str(), scopes.iter().map(ScopePath::as_str)),
    };
    match near {
        Some(near) => error.did_you_mean(near),
        None if scopes.is_empty() || (is_adding && scope.is_organization()) => {
            let organization = scope.chain().last();
            let init = organization.map(|organization| format!("entail init {organization}"));
            error.with_remedies(init.into_iter().collect())
        }
        None if is_adding => error.with_remedies(vec![format!("entail project add {scope}")]),
        None => error,
    }
}

/// The names of the credentials that a scope has for a provider.
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
