//! `entail status`: shows what each scope gets for each provider.

use std::collections::BTreeSet;

use clap::Args;
use entail::{Entail, Error, Lease, ProviderId, Request, ScopePath};

use crate::args::request_target;
use crate::error::{CliError, ErrorCode};
use crate::output::{print_json, print_matrix};
use crate::session::Session;
use crate::unknown_providers;
use entail_api::status::{ProviderStatus, ScopeStatus, Status};

#[derive(Args)]
pub struct StatusArgs {
    /// Only this scope and those below it [default: ENTAIL_SCOPE, or the scope of the
    /// directory, or every scope]
    pub scope: Option<ScopePath>,
    /// Show every scope, also where the directory has a scope
    #[arg(long, conflicts_with = "scope")]
    pub all: bool,
}

pub async fn status(session: &Session, args: &StatusArgs) -> Result<(), CliError> {
    let under = match &args.scope {
        _ if args.all => None,
        Some(scope) => Some(scope.clone()),
        None => request_target::of_status(session)?,
    };
    let entail = session.open_unlocked()?;
    let scopes = entail.scopes(&session.principal, under.as_ref()).await?;
    let StatusResult { status, fault } = collect_status(session, &entail, &scopes).await?;
    if session.global.json {
        print_json(&status);
    } else {
        print_matrix(&status);
    }
    unknown_providers::note(session, &entail, scopes).await?;
    Session::settle(&entail).await;
    fault.map_or(Ok(()), Err)
}

/// What scopes get.
pub struct StatusResult {
    pub status: Status,
    /// The first error that is not a refusal. It must not be overlooked in a table.
    pub fault: Option<CliError>,
}

/// Resolves a request for each scope and provider.
///
/// # Errors
///
/// Fails if no decision can be recorded.
pub async fn collect_status(
    session: &Session,
    entail: &Entail,
    scopes: &[ScopePath],
) -> Result<StatusResult, CliError> {
    let mut result = StatusResult {
        status: Status::default(),
        fault: None,
    };
    for scope in scopes {
        let row = scope_access(session, entail, scope).await?;
        let errors = || row.iter().filter_map(|(_, error)| error.as_ref());
        // A scope may be removed after it was listed.
        if errors().any(|error| error.code() == ErrorCode::NotFound) {
            continue;
        }
        let fault = row.iter().find_map(|(provider, error)| {
            let error = error.as_ref()?;
            (error.code() != ErrorCode::Refused).then(|| fault(scope, &provider.provider, error))
        });
        result.fault = result.fault.or(fault);
        result.status.status.push(ScopeStatus {
            scope: scope.to_string(),
            providers: row.into_iter().map(|(status, _)| status).collect(),
        });
    }
    Ok(result)
}

fn fault(scope: &ScopePath, provider: &str, error: &CliError) -> CliError {
    let message = format!("{scope} {provider}: {}", error.message());
    CliError::new(error.code(), message).with_remedies(vec!["entail doctor".to_owned()])
}

/// What a scope gets for each provider, with the error if it gets nothing.
async fn scope_access(
    session: &Session,
    entail: &Entail,
    scope: &ScopePath,
) -> Result<Vec<(ProviderStatus, Option<CliError>)>, CliError> {
    // If this fails, so do the requests.
    let held = held_providers(session, entail, scope).await.ok();
    let mut row = Vec::new();
    for provider in entail.catalog().iter() {
        let request = Request::new(scope.clone(), provider.id.clone());
        let has_credential = held.as_ref().map(|held| held.contains(&provider.id));
        row.push(match entail.probe(&session.principal, &request).await {
            Ok(lease) => (granted(&lease, has_credential), None),
            // It would be the same for all, and each attempt takes its time.
            Err(error @ (Error::NotRecorded { .. } | Error::NotFresh { .. })) => {
                return Err(error.into());
            }
            Err(error) => {
                let error = CliError::from(error);
                let status = not_granted(&provider.id, has_credential, &error);
                (status, Some(error))
            }
        });
    }
    Ok(row)
}

fn granted(lease: &Lease, has_credential: Option<bool>) -> ProviderStatus {
    ProviderStatus {
        provider: lease.provider().to_string(),
        granted: true,
        has_credential,
        holder: Some(lease.holder().to_string()),
        credential: Some(lease.name().to_string()),
        version: Some(lease.version()),
        model: lease.model().map(ToString::to_string),
        ..ProviderStatus::default()
    }
}

fn not_granted(
    provider: &ProviderId,
    has_credential: Option<bool>,
    error: &CliError,
) -> ProviderStatus {
    ProviderStatus {
        provider: provider.to_string(),
        granted: false,
        has_credential,
        code: Some(error.code().as_str().to_owned()),
        refusal: error.refusal().map(|code| code.as_str().to_owned()),
        message: Some(error.message().to_owned()),
        ..ProviderStatus::default()
    }
}

/// The providers that the scope or one of its ancestors holds a credential for.
async fn held_providers(
    session: &Session,
    entail: &Entail,
    scope: &ScopePath,
) -> Result<BTreeSet<ProviderId>, Error> {
    let mut held = BTreeSet::new();
    for path in scope.chain() {
        let scope = entail.scope(&session.principal, &path).await?;
        held.extend(scope.credentials.iter().map(|c| c.provider.clone()));
    }
    Ok(held)
}
