//! Names of credentials.

use clap::Args;
use entail::{CredentialName, CredentialRef, Error, ProviderId, ScopePath};

use super::dry_run::AccessDryRun;

/// Names a credential.
#[derive(Args, Clone)]
pub struct CredentialArgs {
    /// The scope that holds it: acme, acme/evals
    pub scope: ScopePath,
    /// The provider: openai (see: entail providers)
    pub provider: ProviderId,
    /// The name of the credential, if the scope has several for the provider
    #[arg(long, default_value_t, hide_default_value = true)]
    pub name: CredentialName,
}

/// A credential to change, without further options.
#[derive(Args)]
pub struct ChangeCredentialArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub dry_run: AccessDryRun,
}

/// How long replaced and removed secrets are kept.
#[derive(Args)]
pub struct GraceArgs {
    /// How long a secret that is replaced or removed is kept for a rollback: 12h, 7d; 0
    /// destroys it at once
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub grace: String,
}

impl CredentialArgs {
    /// The credential for the library.
    pub fn reference(&self) -> CredentialRef {
        CredentialRef {
            scope: self.scope.clone(),
            provider: self.provider.clone(),
            name: self.name.clone(),
        }
    }

    /// The error if it does not exist.
    pub fn unknown(&self) -> Error {
        Error::UnknownCredential {
            scope: self.scope.clone(),
            provider: self.provider.clone(),
            name: self.name.clone(),
        }
    }
}
