//! Determines which words of a command line are the scope and the provider.
//!
//! The scope may be left out if one is in effect ([`crate::directory_scope`]). Then a first
//! word without a `/` that is a known provider, and not an organization of the home, is the
//! provider; otherwise the first word is the scope. Without a scope in effect, a provider
//! alone is an error that suggests what was probably meant.

use entail::{CredentialName, ModelId, ProviderId, ScopePath};

use super::attributes::AttributeArgs;
use super::request::{KeepArgs, RequestArgs, VariablesArgs};
use crate::directory_scope::in_effect;
use crate::error::CliError;
use crate::session::Session;
use crate::suggest::command_line::CommandLine;

/// The requests of `run` or `export-env`.
pub struct RunRequest {
    pub scope: ScopePath,
    /// Empty means every provider that is granted.
    pub providers: Vec<ProviderId>,
    pub model: Option<ModelId>,
    pub attributes: AttributeArgs,
    pub keep: KeepArgs,
}

/// The maximum number of scopes in the remedies.
const MAX_SUGGESTIONS: usize = 3;

/// Returns the scope and the provider of `resolve` or `explain`. Suggestions repeat the
/// options of `args`, and `options`.
///
/// # Errors
///
/// Fails if one of them is missing; a remedy shows how to give it.
pub async fn of_request(
    session: &Session,
    command: &str,
    args: &RequestArgs,
    options: &[String],
) -> Result<(ScopePath, ProviderId), CliError> {
    let line = |words: &[&str]| {
        let mut line = CommandLine::new(command);
        line.extend(words);
        line.option("--model", args.model.as_ref().map(ModelId::as_str));
        line.option("--name", args.name.as_ref().map(CredentialName::as_str));
        line.attributes(&args.attributes.attributes);
        line.extend(options);
        line.text()
    };
    if let (Some(scope), Some(provider)) = (&args.first, &args.second) {
        return Ok((scope.clone(), provider.clone()));
    }
    let named = match &args.first {
        Some(word) => provider_named(session, word).await?,
        None => None,
    };
    match (&args.first, &named) {
        (_, Some(provider)) => match in_effect(session)? {
            Some(scope) => Ok((scope, provider.clone())),
            None => Err(no_scope(session, Some(provider), |scope| {
                line(&[scope, provider.as_str()])
            })
            .await),
        },
        (Some(word), None) => {
            let exists = scopes(session).await.contains(word);
            let message = if exists {
                format!("no provider is given for the scope {word}")
            } else {
                format!(
                    "{word} is not a provider or a scope of this home, and a provider is needed"
                )
            };
            let scope = if exists { word.as_str() } else { "SCOPE" };
            Err(CliError::usage(message).with_remedies(vec![
                line(&[scope, "PROVIDER"]),
                "entail providers".to_owned(),
            ]))
        }
        (None, None) => {
            let words = match in_effect(session)? {
                Some(_) => &["PROVIDER"][..],
                None => &["SCOPE", "PROVIDER"],
            };
            Err(CliError::usage("no provider is given").with_remedies(vec![line(words)]))
        }
    }
}

/// Returns the requests of `run` or `export-env`. `tail` is the command line after the
/// options.
///
/// # Errors
///
/// Fails if no scope is given and none is in effect.
pub async fn of_variables(
    session: &Session,
    command: &str,
    args: &VariablesArgs,
    tail: &[String],
) -> Result<RunRequest, CliError> {
    let named = match &args.first {
        Some(word) => provider_named(session, word).await?,
        None => None,
    };
    let wanted = |scope: ScopePath| RunRequest {
        scope,
        providers: named.iter().chain(&args.providers).cloned().collect(),
        model: args.model.clone(),
        attributes: args.attributes.clone(),
        keep: args.keep.clone(),
    };
    if let (Some(scope), None) = (&args.first, &named) {
        return Ok(wanted(scope.clone()));
    }
    if let Some(scope) = in_effect(session)? {
        return Ok(wanted(scope));
    }
    let line = |scope: &str| {
        let mut line = CommandLine::new(command);
        line.extend(&[scope]);
        for provider in named.iter().chain(&args.providers) {
            line.option("--provider", Some(provider.as_str()));
        }
        line.option("--model", args.model.as_ref().map(ModelId::as_str));
        line.attributes(&args.attributes.attributes);
        for variable in &args.keep.variables {
            line.option("--keep", Some(variable));
        }
        for provider in &args.keep.providers {
            line.option("--keep-provider", Some(provider.as_str()));
        }
        line.extend(tail);
        line.text()
    };
    Err(no_scope(session, named.as_ref(), line).await)
}

/// Returns the scope that `status` is limited to; `None` means every scope.
///
/// # Errors
///
/// Fails if the scope of the directory is not valid, or was not allowed.
pub fn of_status(session: &Session) -> Result<Option<ScopePath>, CliError> {
    in_effect(session).map_err(|error| {
        let mut remedies = error.remedies().to_vec();
        remedies.push("to see every scope: entail status --all".to_owned());
        error.with_remedies(remedies)
    })
}

/// Returns the provider with the id `word`, if there is one and no organization of the home
/// has that name.
async fn provider_named(
    session: &Session,
    word: &ScopePath,
) -> Result<Option<ProviderId>, CliError> {
    // A path with a slash is not an id.
    let Ok(id) = word.as_str().parse::<ProviderId>() else {
        return Ok(None);
    };
    if session.home()?.catalog()?.get(&id).is_none() {
        return Ok(None);
    }
    let entail = session.open()?;
    match entail.scope(&session.principal, word).await {
        Ok(_) => Ok(None),
        Err(entail::Error::UnknownScope(_)) => Ok(Some(id)),
        Err(error) => Err(error.into()),
    }
}

/// The error of a command line without a scope. Its remedies name scopes of the home.
async fn no_scope(
    session: &Session,
    provider: Option<&ProviderId>,
    line: impl Fn(&str) -> String,
) -> CliError {
    let scopes = scopes(session).await;
    let mut remedies: Vec<String> = suggested(&scopes)
        .iter()
        .map(|scope| line(scope.as_str()))
        .collect();
    if remedies.is_empty() {
        remedies.push(line("SCOPE"));
    }
    // A project may have the name of a provider.
    let is_of_that_name = |scope: &&ScopePath| {
        provider.is_some_and(|provider| scope.last_segment() == provider.as_str())
    };
    let candidates: Vec<&ScopePath> = scopes.iter().filter(is_of_that_name).collect();
    remedies.push("to set a scope for this directory: entail use SCOPE".to_owned());
    let message = match (provider, candidates.first()) {
        (Some(provider), Some(scope)) => format!(
            "{provider} is a provider, and the scope comes first; did you mean the scope {scope}?"
        ),
        (Some(provider), None) => format!("{provider} is a provider, and the scope comes first"),
        (None, _) => {
            "no scope is given, and neither ENTAIL_SCOPE nor this directory sets one".to_owned()
        }
    };
    CliError::usage(message).with_remedies(remedies)
}

/// The scopes to suggest: projects before organizations.
fn suggested(scopes: &[ScopePath]) -> Vec<&ScopePath> {
    let (organizations, projects): (Vec<&ScopePath>, Vec<&ScopePath>) =
        scopes.iter().partition(|scope| scope.is_organization());
    projects
        .into_iter()
        .chain(organizations)
        .take(MAX_SUGGESTIONS)
        .collect()
}

/// The scopes of the home; empty if they cannot be read, because this is for an error about
/// something else.
async fn scopes(session: &Session) -> Vec<ScopePath> {
    match session.open() {
        Ok(entail) => entail
            .scopes(&session.principal, None)
            .await
            .unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}
