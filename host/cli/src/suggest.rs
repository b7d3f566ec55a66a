//! What was probably meant, where a name is not known.
//!
//! A name that is not there may be a slip of the pen: so the answer names what is there
//! and looks like it, and never a command that would make the slip real or take something
//! away.

use entail::{Entail, Error, ScopePath};
use strsim::damerau_levenshtein;

use crate::failure::Failure;
use crate::session::Session;

/// The fewest characters for one slip. Shorter names are too much alike.
const CHARACTERS_FOR_A_SLIP: usize = 4;

/// What was named and is not there.
#[derive(Debug)]
pub enum Unknown {
    /// A scope.
    Scope(ScopePath),
    /// A credential.
    Credential {
        scope: ScopePath,
        provider: String,
        name: String,
    },
}

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
                    let name = crate::failure::named(&name);
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

/// The one of `known` that `given` is with a slip or two.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = given.chars().count() / CHARACTERS_FOR_A_SLIP;
    known
        .map(|known| (damerau_levenshtein(given, known), known))
        .filter(|(slips, _)| *slips <= most.min(3))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_name_is_not() {
        let known = ["acme", "acme/evals", "acme/agents", "acme/evals/nightly"];
        let near = |given| nearest(given, known.into_iter());
        assert_eq!(near("acme/evasl"), Some("acme/evals"));
        assert_eq!(near("acme/eval"), Some("acme/evals"));
        assert_eq!(near("acne"), Some("acme"));
        assert_eq!(near("acme/evals/nigthly"), Some("acme/evals/nightly"));
        assert_eq!(near("acme/nowhere"), None);
        assert_eq!(near("other"), None);
        assert_eq!(near("a"), None);
    }
}
