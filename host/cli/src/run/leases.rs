//! What a command gets: the leases of a scope.

use entail::policy::Refusal;
use entail::{Entail, Error, Kept, Lease, ProviderId, Request};

use super::is_shell_name;
use crate::args::KeepArgs;
use crate::failure::Failure;
use crate::inquire::{UNREMARKABLE, attributes, granted, refused_with_remedies};
use crate::output::{Style, tell};
use crate::remedy::{explain, remedies as lifting};
use crate::request_target::Wanted;
use crate::session::Session;
use crate::unknown_providers;

/// No variable of a client has a longer name.
const MAX_KEPT_BYTES: usize = 80;

/// What `scope` gets: for the providers that were named, or for all that are
/// granted, of which there must be one.
pub async fn leases(
    session: &Session,
    entail: &Entail,
    wanted: &Wanted,
) -> Result<Vec<Lease>, Failure> {
    let Wanted {
        scope,
        providers: named,
        model,
        attributes: said,
        keep,
    } = wanted;
    let attributes = attributes(said)?;
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
    let mut refused: Vec<(ProviderId, Refusal)> = Vec::new();
    for provider in entail.catalog().iter() {
        match entail
            .resolve_any(&session.principal, &request(&provider.id))
            .await
        {
            Ok(lease) => leases.push(lease),
            Err(Error::Refused { refusal, .. }) => {
                refused.push((provider.id.clone(), refusal));
            }
            // A fault of the store, the policy or the log is no refusal.
            Err(error) => return Err(error.into()),
        }
    }
    unknown_providers::note(session, entail, scope.chain()).await?;
    let remarkable: Vec<&(ProviderId, Refusal)> = refused
        .iter()
        .filter(|(_, refusal)| !UNREMARKABLE.contains(&refusal.code.as_str()))
        .collect();
    if leases.is_empty() {
        return Err(nothing_granted(session, entail, &refused, &remarkable, request).await);
    }
    for (provider, refusal) in remarkable {
        let code = &refusal.code;
        tell!(Style::Warn => "note:"; " {provider} is refused: {code}; see: {}", explain(&request(provider)));
    }
    Ok(leases)
}

/// The refusal of a run that named no provider and is granted none: every provider that
/// there is something to say of, and where there is one alone, what would lift it.
async fn nothing_granted(
    session: &Session,
    entail: &Entail,
    refused: &[(ProviderId, Refusal)],
    remarkable: &[&(ProviderId, Refusal)],
    request: impl Fn(&ProviderId) -> Request,
) -> Failure {
    let not_opted_in: Vec<&(ProviderId, Refusal)> = refused
        .iter()
        .filter(|(_, refusal)| refusal.code == "not-opted-in")
        .collect();
    let telling = if remarkable.is_empty() {
        not_opted_in.as_slice()
    } else {
        remarkable
    };
    if let [(provider, refusal)] = telling {
        let request = request(provider);
        return refused_with_remedies(entail, &session.principal, &request, refusal.clone()).await;
    }
    let scope = refused.first().map(|(provider, _)| request(provider).scope);
    let scope = scope.map_or(String::new(), |scope| scope.to_string());
    let failure = Failure::new(
        10,
        "no-credential",
        format!("{scope} gets no credential for any provider"),
    );
    let details = telling.iter().map(|(provider, refusal)| {
        let Refusal { code, message, .. } = refusal;
        format!("{provider} is refused: {code} ({})", message.shown())
    });
    let mut remedies = Vec::new();
    for (provider, _) in telling {
        let request = request(provider);
        let lifting = match entail.explain(&session.principal, &request).await {
            Ok(explanation) => lifting(&explanation.hints()),
            Err(_) => Vec::new(),
        };
        match lifting.is_empty() {
            true => remedies.push(explain(&request)),
            false => remedies.extend(lifting),
        }
    }
    remedies.push(format!("entail status {scope}"));
    failure
        .with_details(details.collect())
        .with_remedies(remedies)
}

/// What the caller keeps of its own.
pub fn kept(entail: &Entail, args: &KeepArgs) -> Result<Kept, Failure> {
    for provider in &args.providers {
        entail.provider(provider)?;
    }
    // What was given may be a key, so it is not repeated.
    let is_variable = |name: &String| name.len() <= MAX_KEPT_BYTES && is_shell_name(name);
    if !args.variables.iter().all(is_variable) {
        return Err(Failure::invalid(
            "--keep takes the name of a variable: letters, digits and _, and no value",
        ));
    }
    let kept = Kept {
        variables: args.variables.iter().cloned().collect(),
        providers: args.providers.iter().cloned().collect(),
    };
    for name in kept.without_effect(entail.catalog()) {
        tell!(Style::Warn => "note:"; " --keep {name}: no provider's clients read it, so it stays anyway");
    }
    Ok(kept)
}
