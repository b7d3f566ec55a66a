//! The component of an installed or the built-in policy.

use entail::policy::{CodeCache, Engine, EngineConfig};
use entail::{BUILT_IN, DEFAULT_POLICY};

use super::lookup::find;
use crate::code_cache::code_cache;
use crate::error::CliError;
use crate::session::Session;

/// A component, and its own description.
pub struct StoredComponent {
    pub name: String,
    pub version: String,
    pub summary: String,
    pub bytes: Vec<u8>,
}

/// Returns the component of a policy. The built-in one needs no home.
///
/// # Errors
///
/// Fails if there is no such policy.
pub async fn stored_component(session: &Session, text: &str) -> Result<StoredComponent, CliError> {
    if text == BUILT_IN {
        return built_in(code_cache(session)?.cache.clone());
    }
    let entail = session.open()?;
    match find(session, &entail, text).await? {
        Some(installed) => Ok(StoredComponent {
            bytes: entail
                .policies()
                .component(&session.principal, installed.component)
                .await?,
            name: installed.name,
            version: installed.version,
            summary: installed.summary,
        }),
        None => built_in(code_cache(session)?.cache.clone()),
    }
}

fn built_in(code_cache: CodeCache) -> Result<StoredComponent, CliError> {
    let engine = Engine::new(EngineConfig {
        code_cache: Some(code_cache),
        ..EngineConfig::default()
    });
    let policy = engine
        .admit_trusted(DEFAULT_POLICY)
        .map_err(entail::Error::from)?;
    let description = policy.description();
    Ok(StoredComponent {
        name: description.name.clone(),
        version: description.version.clone(),
        summary: description.summary.clone(),
        bytes: DEFAULT_POLICY.to_vec(),
    })
}
