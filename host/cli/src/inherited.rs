//! What a change of links or credentials comes to: whether inheriting has an effect yet,
//! and which of several credentials serves.

use entail::policy::{Inheritance, Outcome};
use entail::{Entail, ProviderId, Request, ScopePath};

use crate::args::CredentialArgs;
use crate::failure::Failure;
use crate::output::{Style, tell};
use crate::remedy::remedies;
use crate::session::Session;

/// Why a scope that inherits gets nothing by it yet.
pub struct Missing {
    pub reason: String,
    pub remedies: Vec<String>,
}

/// Why a scope that inherits gets nothing by it yet: a link above is missing, nobody
/// above holds a credential, or the policy refuses. For every provider together only a
/// missing link is looked for.
pub async fn missing(
    session: &Session,
    entail: &Entail,
    scope: &ScopePath,
    provider: Option<&ProviderId>,
) -> Result<Option<Missing>, Failure> {
    let own = entail.scope(&session.principal, scope).await?;
    if provider.is_some_and(|provider| own.credentials_for(provider).next().is_some()) {
        // It is used where it is not usable, or not at all: as its owner wants.
        return Ok(None);
    }
    for path in scope.chain().skip(1) {
        let held = entail.scope(&session.principal, &path).await?;
        let (holds, links) = match provider {
            Some(provider) => (
                held.credentials_for(provider).next().is_some(),
                held.inheritance(provider) != Inheritance::Isolated,
            ),
            None => (
                !held.credentials.is_empty(),
                held.default_inheritance != Inheritance::Isolated
                    || held
                        .inheritance
                        .values()
                        .any(|link| *link != Inheritance::Isolated),
            ),
        };
        if holds {
            break;
        }
        let what = provider.map_or(String::new(), |provider| format!(" {provider}"));
        let for_what = provider.map_or(String::new(), |provider| format!(" for {provider}"));
        let Some(parent) = path.parent() else {
            return Ok(Some(Missing {
                reason: format!("{path} has no credential{for_what} yet"),
                remedies: provider
                    .map(|provider| format!("entail credential set {path} {provider}"))
                    .into_iter()
                    .collect(),
            }));
        };
        if !links {
            return Ok(Some(Missing {
                reason: format!(
                    "{path} has no credential{for_what} and does not inherit from {parent}"
                ),
                remedies: vec![format!("entail inherit {path}{what}")],
            }));
        }
    }
    let Some(provider) = provider else {
        return Ok(None);
    };
    let request = Request::new(scope.clone(), provider.clone());
    // The change is made; that nobody can be asked now is said when it matters.
    let Ok(explanation) = entail.explain(&session.principal, &request).await else {
        return Ok(None);
    };
    Ok(match &explanation.decision.outcome {
        // Which model is asked for is each request's own.
        Outcome::Refused(refusal) if refusal.code != "model-required" => Some(Missing {
            reason: refusal.message.shown().to_string(),
            remedies: remedies(&explanation.hints()),
        }),
        _ => None,
    })
}

/// Which of the credentials of a scope serves its requests.
pub struct Serving {
    /// Its name.
    pub name: String,
}

impl Serving {
    /// In words.
    pub fn text(&self, id: &CredentialArgs) -> String {
        let CredentialArgs {
            scope,
            provider,
            name,
        } = id;
        match self.name == name.as_str() {
            true => format!("{name} is the {provider} credential that serves {scope}"),
            false => format!(
                "{} goes on serving {scope} for {provider}; {name} comes after it (to change that: --priority)",
                self.name
            ),
        }
    }
}

/// Which credential serves the scope for its provider, if it has several and one of them
/// does.
pub async fn serving(session: &Session, entail: &Entail, id: &CredentialArgs) -> Option<Serving> {
    let scope = entail.scope(&session.principal, &id.scope).await.ok()?;
    let others = scope.credentials_for(&id.provider).count().checked_sub(1)?;
    if others == 0 {
        // Nobody needs to be asked.
        return None;
    }
    let name = granted(session, entail, id).await?;
    Some(Serving { name })
}

/// Says which credential of the scope serves it now that this one does not.
pub async fn note_successor(session: &Session, entail: &Entail, id: &CredentialArgs) {
    if let Some(name) = granted(session, entail, id).await
        && name != id.name.as_str()
    {
        let CredentialArgs {
            scope, provider, ..
        } = id;
        tell!(Style::Warn => "note:"; " {name} of {scope} serves {provider} from now on");
    }
}

/// The name of the scope's own credential that it is granted, if it is.
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
