//! Makes a change of the home, or shows in a dry run what it would change.

use std::process::ExitCode;

use entail::policy::Inheritance;
use entail::{Applied, Change, CredentialRef, Entail, Scope, SecretEdit, SetCredential};

use crate::args::dry_run::AccessDryRun;
use crate::commands::dry_run;
use crate::confirm;
use crate::error::CliError;
use crate::session::Session;
use crate::suggest::command_line::name_option;

/// The result of trying to make a change.
pub enum Attempt<T = Applied> {
    /// The change was made.
    Made(T),
    /// It was a dry run, and the program ends with this status.
    DryRun(ExitCode),
}

/// Makes a change; or, in a dry run, shows what scopes would get after it. A person at a
/// terminal is asked first if the change destroys something or gives or takes access.
///
/// # Errors
///
/// Fails if the change is not valid, is not confirmed, or cannot be made.
pub async fn apply(
    session: &Session,
    entail: &Entail,
    change: Change,
    dry_run: &AccessDryRun,
) -> Result<Attempt, CliError> {
    if dry_run.dry_run {
        let attributes = dry_run.attributes()?;
        let exit = dry_run::dry_run(session, entail, &change, &attributes).await?;
        return Ok(Attempt::DryRun(exit));
    }
    if confirm::is_needed(session) {
        confirm::ask(&consequences(session, entail, &change, dry_run).await?)?;
    }
    let applied = entail.change(&session.principal, &change).await?;
    Ok(Attempt::Made(applied))
}

/// What a change destroys, what it grants that nobody had, and what it takes from others.
async fn consequences(
    session: &Session,
    entail: &Entail,
    change: &Change,
    dry_run: &AccessDryRun,
) -> Result<Vec<String>, CliError> {
    let changes = entail
        .preview(&session.principal, change, &dry_run.attributes()?)
        .await?;
    let path = change.scope();
    let scope = entail.scope(&session.principal, path).await.ok();
    let mut lines = destroyed(entail, change, scope.as_deref());
    // A scope's owner decides about its own credentials. When a scope opts in, or is
    // removed, its own row is shown too.
    let own = match change {
        Change::RemoveProject { .. } => None,
        Change::SetInheritance { inheritance, .. } if *inheritance != Inheritance::Isolated => None,
        _ => Some(path),
    };
    lines.extend(confirm::access(&changes, own));
    Ok(lines)
}

/// What a change destroys or removes.
fn destroyed(entail: &Entail, change: &Change, scope: Option<&Scope>) -> Vec<String> {
    let path = change.scope();
    let secret = |id: &CredentialRef| {
        let credential = scope?.credential(&id.provider, &id.name)?;
        Some(format!(
            "the secret of {path} {}{} (version {}) is destroyed at once",
            id.provider,
            name_option(id.name.as_str()),
            credential.version.number
        ))
    };
    match change {
        Change::RemoveProject { .. } => {
            let credentials = scope.into_iter().flat_map(Scope::all_credentials);
            credentials
                .map(|credential| {
                    format!(
                        "{path} {}{} is destroyed with its secrets",
                        credential.provider,
                        name_option(credential.name.as_str())
                    )
                })
                .collect()
        }
        Change::SetCredential(set) if set.grace_ms == 0 && replaces_secret(entail, set) => {
            secret(&set.credential).into_iter().collect()
        }
        Change::RollBackCredential {
            credential,
            grace_ms: 0,
        }
        | Change::RemoveCredential {
            credential,
            grace_ms: 0,
        } => secret(credential).into_iter().collect(),
        Change::RemoveCredential { credential, .. } => vec![format!(
            "{path} {}{} is removed",
            credential.provider,
            name_option(credential.name.as_str())
        )],
        _ => Vec::new(),
    }
}

/// Whether a change of a credential replaces its secret.
fn replaces_secret(entail: &Entail, set: &SetCredential) -> bool {
    let provider = entail.provider(&set.credential.provider).ok();
    let is_secret = |name: &str| {
        let field = provider.and_then(|provider| provider.field(name));
        field.is_some_and(|field| field.secret)
    };
    match set.secret {
        SecretEdit::Rotate => true,
        SecretEdit::Given => set.fields.iter().any(|(name, _)| is_secret(name)),
        _ => false,
    }
}
