//! The version of a credential that a change replaces.

use entail::{Applied, Change, Credential, CredentialRef, Entail};

use crate::args::credential::CredentialArgs;
use crate::args::dry_run::AccessDryRun;
use crate::commands::change::{Attempt, apply};
use crate::error::CliError;
use crate::output::{choose, time};
use crate::session::Session;
use entail_api::credential::ReplacedVersion;

/// The version that was active before a change.
pub struct Replaced {
    /// Its number.
    pub version: u32,
    /// The secret fields, masked; empty if they cannot be opened here.
    masked: Vec<(String, String)>,
    /// How many scopes were granted it; `None` if that is not known.
    used_by: Option<usize>,
}

impl Replaced {
    /// Applies a change that may replace or remove the active version of a credential, which
    /// is `present` if it exists, and returns that version too.
    ///
    /// # Errors
    ///
    /// As [`apply`].
    pub async fn apply(
        session: &Session,
        entail: &Entail,
        id: &CredentialArgs,
        present: Option<&Credential>,
        change: Change,
        dry_run: &AccessDryRun,
    ) -> Result<Attempt<(Applied, Option<Self>)>, CliError> {
        let replaced =
            Self::before(session, entail, &id.reference(), present, dry_run.dry_run).await?;
        Ok(match apply(session, entail, change, dry_run).await? {
            Attempt::Made(applied) => Attempt::Made((applied, replaced)),
            Attempt::DryRun(exit) => Attempt::DryRun(exit),
        })
    }

    /// Reads the active version before a change. Returns `None` if there is no credential, or
    /// if this is a dry run.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    async fn before(
        session: &Session,
        entail: &Entail,
        id: &CredentialRef,
        credential: Option<&Credential>,
        dry_run: bool,
    ) -> Result<Option<Self>, CliError> {
        let Some(credential) = credential.filter(|_| !dry_run) else {
            return Ok(None);
        };
        let masked = entail.masked(&session.principal, id).await?;
        // A policy that fails must not prevent a change of a secret.
        let users = entail.users(&session.principal, id).await.ok();
        Ok(Some(Replaced {
            version: credential.version.number,
            masked: masked.unwrap_or_default(),
            used_by: users.map(|users| users.len()),
        }))
    }

    /// What happens to the version, as the end of a sentence.
    pub fn fate(&self, applied: &Applied) -> String {
        let ends: Vec<&str> = self.masked.iter().map(|(_, end)| end.as_str()).collect();
        let ends = if ends.is_empty() {
            String::new()
        } else {
            format!(" ({})", ends.join(", "))
        };
        let fate = match applied.retired_until_ms {
            None => "is destroyed".to_owned(),
            Some(until) => format!("is kept until {}, then destroyed", time(until)),
        };
        let used_by = match self.used_by {
            None => String::new(),
            Some(0) => "; no scope uses the credential".to_owned(),
            Some(count) => format!(
                "; {count} {} the credential",
                choose(count, "scope uses", "scopes use")
            ),
        };
        format!("version {}{ends} {fate}{used_by}", self.version)
    }

    /// The version for JSON.
    pub fn to_output(&self) -> ReplacedVersion {
        ReplacedVersion {
            version: self.version,
            masked: self.masked.iter().cloned().collect(),
            used_by: self.used_by.and_then(|count| u64::try_from(count).ok()),
        }
    }
}
