//! The leases that a command gets.

use entail::policy::Refusal;
use entail::{Entail, Error, Kept, Lease, ProviderId, Request};

use super::environment::is_shell_name;
use crate::args::request::KeepArgs;
use crate::args::request_target::RunRequest;
use crate::commands::resolve::{granted, refused_with_remedies};
use crate::error::{CliError, ErrorCode};
use crate::output::{EXPECTED_REFUSALS, Style, err};
use crate::session::Session;
use crate::suggest::remedy::{explain, remedies};
use crate::unknown_providers;

/// The maximum length of a name with `--keep`; the names of clients' variables are shorter.
const MAX_KEPT_BYTES: usize = 80;

/// A refusal and its provider.
type Refused = (ProviderId, Refusal);

/// Resolves the providers that are named; without names, all providers, of which at least
/// one must be granted.
///
/// # Errors
///
/// Fails if a named provider or every provider is refused, or the store, the policy or the
/// log fails.
pub async fn leases(
    session: &Session,
    entail: &Entail,
    wanted: &RunRequest,
) -> Result<Vec<Lease>, CliError> {
    let RunRequest {
        scope,
        providers: named,
        model,
        attributes,
        keep,
    } = wanted;
    let attributes = attributes.parse()?;
    let providers = keep.providers.iter().map(ToString::to_string);
    let kept: Vec<String> = keep.variables.iter().cloned().chain(providers).collect();
    let request = |provider: &ProviderId| Request {
        model: model.clone(),
        attributes: attributes.clone(),
        kept: kept.clone(),
        ..Request::new(scope.clone(), provider.clone())
    };
    let mut leases = Vec::new();
    if !named.is_empty() {
        for provider in named {
            leases.push(granted(entail, &session.principal, &request(provider)).await?);
        }
        return Ok(leases);
    }
    let mut refused: Vec<Refused> = Vec::new();
    for provider in entail.catalog().iter() {
        match entail
            .resolve_any(&session.principal, &request(&provider.id))
            .await
        {
            Ok(lease) => leases.push(lease),
            Err(Error::Refused { refusal, .. }) => {
                refused.push((provider.id.clone(), refusal));
            }
            // A fault of the store, the policy or the log is not a refusal.
            Err(error) => return Err(error.into()),
        }
    }
    unknown_providers::note(session, entail, scope.chain()).await?;
    let unexpected: Vec<&Refused> = refused
        .iter()
        .filter(|(_, refusal)| !EXPECTED_REFUSALS.contains(&refusal.code.as_str()))
        .collect();
    if leases.is_empty() {
        return Err(nothing_granted(session, entail, &refused, &unexpected, request).await);
    }
    for (provider, refusal) in unexpected {
        let code = &refusal.code;
        err!(Style::Warn => "note:"; " {provider} is refused: {code}; see: {}", explain(&request(provider)));
    }
    Ok(leases)
}

/// The error if no provider is named and none is granted. It lists the refusals that a
/// person can do something about.
async fn nothing_granted(
    session: &Session,
    entail: &Entail,
    refused: &[Refused],
    unexpected: &[&Refused],
    request: impl Fn(&ProviderId) -> Request,
) -> CliError {
    let not_opted_in: Vec<&Refused> = refused
        .iter()
        .filter(|(_, refusal)| refusal.code == "not-opted-in")
        .collect();
    let shown = if unexpected.is_empty() {
        not_opted_in.as_slice()
    } else {
        unexpected
    };
    if let [(provider, refusal)] = shown {
        let request = request(provider);
        return refused_with_remedies(entail, &session.principal, &request, refusal.clone()).await;
    }
    let scope = refused.first().map(|(provider, _)| request(provider).scope);
    let scope = scope.map_or(String::new(), |scope| scope.to_string());
    let details = shown.iter().map(|(provider, refusal)| {
        let Refusal { code, message, .. } = refusal;
        format!("{provider} is refused: {code} ({})", message.shown())
    });
    let mut all_remedies = Vec::new();
    for (provider, _) in shown {
        let request = request(provider);
        let remedies = match entail.explain(&session.principal, &request).await {
            Ok(explanation) => remedies(&explanation.hints()),
            Err(_) => Vec::new(),
        };
        if remedies.is_empty() {
            all_remedies.push(explain(&request));
        }
        all_remedies.extend(remedies);
    }
    all_remedies.push(format!("entail status {scope}"));
    CliError::new(
        ErrorCode::NoCredential,
        format!("{scope} gets no credential for any provider"),
    )
    .with_details(details.collect())
    .with_remedies(all_remedies)
}

/// The variables and providers that the caller keeps.
///
/// # Errors
///
/// Fails if a provider is unknown, or a name is not the name of a variable.
pub fn kept(entail: &Entail, args: &KeepArgs) -> Result<Kept, CliError> {
    for provider in &args.providers {
        entail.provider(provider)?;
    }
    let is_variable = |name: &String| name.len() <= MAX_KEPT_BYTES && is_shell_name(name);
    if !args.variables.iter().all(is_variable) {
        // The argument may be a key, so it is not repeated.
        return Err(CliError::invalid(
            "--keep takes the name of a variable: letters, digits and _, and no value",
        ));
    }
    let kept = Kept {
        variables: args.variables.iter().cloned().collect(),
        providers: args.providers.iter().cloned().collect(),
    };
    for name in kept.without_effect(entail.catalog()) {
        err!(Style::Warn => "note:"; " --keep {name}: no provider's clients read it, so it stays anyway");
    }
    Ok(kept)
}
