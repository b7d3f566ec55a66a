//! Policies by the names that people give and read.

use std::path::Path;

use entail::policy::PolicyDigest;
use entail::{Entail, InstalledPolicy};

use crate::error::CliError;
use crate::session::Session;

/// The digits of a digest that tables show. As many identify a policy on the command line.
const SHOWN_DIGITS: usize = 12;

/// Finds an installed policy by its digest, the first digits of it, or its name; `None` for
/// the built-in one.
///
/// # Errors
///
/// Fails if there is no such policy, or several.
pub async fn find(
    session: &Session,
    entail: &Entail,
    text: &str,
) -> Result<Option<InstalledPolicy>, CliError> {
    let found = entail.policies().find(&session.principal, text).await;
    found.map_err(|error| {
        let failure = CliError::from(error);
        if Path::new(text).exists() {
            failure.with_remedies(vec![format!("entail policy install {text}")])
        } else {
            failure
        }
    })
}

/// Finds the digest of an installed policy; `None` for the built-in one.
///
/// # Errors
///
/// Fails if there is no such policy, or several.
pub async fn find_digest(
    session: &Session,
    entail: &Entail,
    text: &str,
) -> Result<Option<PolicyDigest>, CliError> {
    let found = find(session, entail, text).await?;
    Ok(found.map(|installed| installed.component))
}

/// Names that people know policies by.
pub struct PolicyNames {
    built_in: String,
    installed: Vec<InstalledPolicy>,
}

impl PolicyNames {
    /// Reads the names of the installed policies.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn read(session: &Session, entail: &Entail) -> Result<Self, CliError> {
        let description = entail.policies().built_in()?.description();
        let (name, version) = (&description.name, &description.version);
        Ok(PolicyNames {
            built_in: format!("{name} {version} (built-in)"),
            installed: entail.policies().installed(&session.principal).await?,
        })
    }

    /// Returns the name, the version and the short digest of a policy; `None` is the
    /// built-in one.
    pub fn name(&self, component: Option<&str>) -> String {
        let Some(component) = component else {
            return self.built_in.clone();
        };
        let short = short_digest(component);
        let mut installed = self.installed.iter();
        match installed.find(|policy| policy.component.to_string() == component) {
            Some(policy) => format!("{} {} ({short})", policy.name, policy.version),
            None => short,
        }
    }
}

/// Returns the first digits of a digest.
pub fn short_digest(digest: &str) -> String {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.chars().take(SHOWN_DIGITS).collect()
}
