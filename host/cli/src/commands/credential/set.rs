//! `entail credential set`: adds or changes a credential.

use std::process::ExitCode;

use clap::Args;
use entail::policy::Sharing;
use entail::{
    Change, Credential, Edit, Entail, RuleChanges, SecretEdit, SetCredential, UnreadParameter,
};

use super::changed::{Changed, version};
use super::replaced::Replaced;
use super::serving::serving;
use crate::args::credential::{CredentialArgs, GraceArgs};
use crate::args::dry_run::AccessDryRun;
use crate::args::secret_input::{self, Ask, InputArgs};
use crate::args::time::{duration_ms, expiry};
use crate::commands::change::Attempt;
use crate::error::CliError;
use crate::output::{Style, err, out};
use crate::session::Session;
use crate::suggest::command_line::name_option;

#[derive(Args)]
#[allow(clippy::struct_excessive_bools)] // they are options
pub struct SetArgs {
    #[command(flatten)]
    pub credential: CredentialArgs,
    #[command(flatten)]
    pub input: InputArgs,
    /// Keep the secret; change only rules and parameters
    #[arg(long, conflicts_with = "stdin")]
    pub keep_secret: bool,
    /// Allow only models that match one of these patterns (* and ?)
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', conflicts_with_all = ["all_models", "no_models"])]
    pub models: Vec<String>,
    /// Allow every model
    #[arg(long)]
    pub all_models: bool,
    /// Allow no model
    #[arg(long, conflicts_with = "all_models")]
    pub no_models: bool,
    /// Share with all scopes below, with none, or with paths that match (* within a
    /// segment, ** for any number of segments)
    #[arg(long, value_name = "all|none|PATTERN", value_delimiter = ',')]
    pub share: Vec<String>,
    /// Require the scopes it is shared with to use it instead of their own
    #[arg(long, conflicts_with = "no_mandatory")]
    pub mandatory: bool,
    /// Allow the scopes it is shared with to use their own
    #[arg(long)]
    pub no_mandatory: bool,
    /// Its priority within the scope: lower goes first
    #[arg(long, value_name = "NUMBER")]
    pub priority: Option<u32>,
    /// When the credential expires: 12h, 30d, 2027-01-31 (the start of that day in UTC),
    /// 2027-01-31T12:00:00Z, never
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    #[command(flatten)]
    pub grace: GraceArgs,
    #[command(flatten)]
    pub dry_run: AccessDryRun,
}

impl SetArgs {
    /// Whether a rule is given.
    fn changes_rules(&self) -> bool {
        !self.models.is_empty()
            || self.all_models
            || self.no_models
            || !self.share.is_empty()
            || self.mandatory
            || self.no_mandatory
            || self.priority.is_some()
            || self.expires.is_some()
    }

    fn rule_changes(&self) -> Result<RuleChanges, CliError> {
        let models = match self.models.as_slice() {
            _ if self.all_models => Edit::Clear,
            [] if !self.no_models => Edit::Keep,
            patterns => Edit::Set(patterns.to_vec()),
        };
        let share: Vec<&str> = self.share.iter().map(String::as_str).collect();
        let sharing = match share.as_slice() {
            [] => None,
            ["all"] => Some(Sharing::All),
            ["none"] => Some(Sharing::None),
            _ => Some(Sharing::Paths(self.share.clone())),
        };
        let mandatory = match (self.mandatory, self.no_mandatory) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        Ok(RuleChanges {
            models,
            sharing,
            mandatory,
            priority: self.priority,
            expires_at_ms: expiry(self.expires.as_deref())?,
            unsafe_http: self.input.allow_unsafe_http.then_some(true),
        })
    }
}

pub async fn set(session: &Session, entail: &Entail, args: &SetArgs) -> Result<ExitCode, CliError> {
    let id = &args.credential;
    let provider = entail.provider(&id.provider)?;
    // All checks come before a secret is asked for.
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let present = scope.credential(&id.provider, &id.name);
    let rules = args.rule_changes()?;
    let ask = how_to_ask(args, present)?;
    let mode = present.map(|credential| credential.version.mode.as_str());
    let fields = secret_input::fields(provider, &args.input, mode, &ask)?;
    let change = Change::SetCredential(Box::new(SetCredential {
        credential: id.reference(),
        mode: args.input.mode.clone(),
        fields,
        rules,
        secret: if args.keep_secret {
            SecretEdit::Keep
        } else {
            SecretEdit::Given
        },
        grace_ms: duration_ms(&args.grace.grace)?,
    }));
    let attempt = Replaced::apply(session, entail, id, present, change, &args.dry_run).await?;
    let (applied, before) = match attempt {
        Attempt::Made(made) => made,
        Attempt::DryRun(exit) => return Ok(exit),
    };
    let replaced = before.filter(|before| Some(before.version) != applied.version);
    let version = version(&applied);
    let what = match &replaced {
        Some(replaced) => format!("has a new secret{version}; {}", replaced.fate(&applied)),
        None if present.is_none() => format!("is set{version}"),
        None => format!("is changed; the secret is the same{version}"),
    };
    Changed {
        id,
        applied: &applied,
        replaced: replaced.as_ref(),
        serves: serving(session, entail, id).await,
    }
    .print(session, &what);
    warn_of_unread_parameters(session, entail, id).await?;
    if present.is_none() && id.scope.is_organization() && !session.global.json {
        out!(
            "projects opt in to it: entail inherit {}/PROJECT {}",
            id.scope,
            id.provider
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Decides whether to ask for a secret that no option gives.
fn how_to_ask(args: &SetArgs, present: Option<&Credential>) -> Result<Ask, CliError> {
    let id = &args.credential;
    let Some(present) = present else {
        if args.keep_secret {
            return Err(CliError::invalid(format!(
                "{} has no {} credential {} whose secret could be kept",
                id.scope, id.provider, id.name
            )));
        }
        return Ok(Ask::Input);
    };
    if args.keep_secret {
        return Ok(Ask::No);
    }
    if args.input.stdin {
        return Ok(Ask::Input);
    }
    Ok(match &args.input.mode {
        Some(mode) if *mode != present.version.mode => Ask::Terminal {
            otherwise: format!(
                "the mode {mode} needs another secret; add --stdin, --from-env or --from-file"
            ),
        },
        None if !args.changes_rules() && args.input.parameters.is_empty() => Ask::Terminal {
            otherwise: format!(
                "{} has a credential for {}{} already, and no change is given; to replace its secret, add --stdin",
                id.scope,
                id.provider,
                name_option(id.name.as_str())
            ),
        },
        _ => Ask::No,
    })
}

/// Warns of parameters that a client does not read from a variable.
async fn warn_of_unread_parameters(
    session: &Session,
    entail: &Entail,
    id: &CredentialArgs,
) -> Result<(), CliError> {
    let provider = entail.provider(&id.provider)?;
    let scope = entail.scope(&session.principal, &id.scope).await?;
    let Some(credential) = scope.credential(&id.provider, &id.name) else {
        return Ok(());
    };
    for (field, by) in provider.client_arguments_for(&credential.version.parameters) {
        let unread = UnreadParameter {
            provider,
            field,
            by,
        };
        err!(Style::Warn => "note:"; " {unread}");
    }
    Ok(())
}
