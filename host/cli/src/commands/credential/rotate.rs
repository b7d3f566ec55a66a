//! `entail credential rotate`: replaces the secret of a credential.

use std::process::ExitCode;

use clap::Args;
use entail::{Change, Entail, RuleChanges, SecretEdit, SetCredential};

use super::changed::{Changed, version};
use super::replaced::Replaced;
use crate::args::credential::{CredentialArgs, GraceArgs};
use crate::args::dry_run::AccessDryRun;
use crate::args::secret_input::{self, Ask, InputArgs};
use crate::args::time::{duration_ms, expiry};
use crate::commands::change::Attempt;
use crate::error::CliError;
use crate::session::Session;

#[derive(Args)]
pub struct RotateArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub input: InputArgs,
    /// When the new secret expires: 12h, 30d, 2027-01-31 (the start of that day in UTC),
    /// 2027-01-31T12:00:00Z, never
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    #[command(flatten)]
    pub grace: GraceArgs,
    #[command(flatten)]
    pub dry_run: AccessDryRun,
}

pub async fn rotate(
    session: &Session,
    entail: &Entail,
    args: &RotateArgs,
) -> Result<ExitCode, CliError> {
    let id = &args.credential;
    let provider = entail.provider(&id.provider)?;
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let present = scope
        .credential(&id.provider, &id.name)
        .ok_or_else(|| id.unknown())?;
    let mode = Some(present.version.mode.as_str());
    let fields = secret_input::fields(provider, &args.input, mode, &Ask::Input)?;
    let change = Change::SetCredential(Box::new(SetCredential {
        credential: id.reference(),
        mode: args.input.mode.clone(),
        fields,
        rules: RuleChanges {
            expires_at_ms: expiry(args.expires.as_deref())?,
            unsafe_http: args.input.allow_unsafe_http.then_some(true),
            ..RuleChanges::default()
        },
        secret: SecretEdit::Rotate,
        grace_ms: duration_ms(&args.grace.grace)?,
    }));
    let attempt =
        Replaced::apply(session, entail, id, Some(present), change, &args.dry_run).await?;
    let (applied, replaced) = match attempt {
        Attempt::Made(made) => made,
        Attempt::DryRun(exit) => return Ok(exit),
    };
    let what = format!(
        "has a new secret{}, active from now on; {}",
        version(&applied),
        fate(replaced.as_ref(), &applied)
    );
    Changed {
        id,
        applied: &applied,
        replaced: replaced.as_ref(),
        serves: None,
    }
    .print(session, &what);
    Ok(ExitCode::SUCCESS)
}

/// What happens to the replaced version, as the end of a sentence.
fn fate(replaced: Option<&Replaced>, applied: &entail::Applied) -> String {
    replaced.map_or_else(String::new, |replaced| replaced.fate(applied))
}
