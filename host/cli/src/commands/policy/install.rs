//! `policy install`: admits a component and stores it.

use clap::Args;
use entail::InstallPolicy;
use entail::policy::Sandbox;
use entail_policy_tools::display::display_path;
use entail_policy_tools::test_engine::diagnose_rejected;
use serde_json::Value;

use super::component_args::SourceArgs;
use super::convert::{PrincipalNames, installed_policy};
use super::lookup::{find_digest, short_digest};
use crate::args::dry_run::DryRun;
use crate::error::CliError;
use crate::output::{out, print_dry_run_notice, print_json};
use crate::session::Session;
use entail_api::policy::InstalledPolicy;

#[derive(Args)]
pub struct InstallArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Compose the layer with this installed policy, or with the built-in one
    #[arg(long, value_name = "DIGEST|NAME|built-in")]
    over: Option<String>,
    #[command(flatten)]
    dry_run: DryRun,
}

/// Installs it.
///
/// # Errors
///
/// Fails if it is not admitted, with what is wrong with it.
pub async fn install(session: &Session, args: &InstallArgs) -> Result<(), CliError> {
    let entail = session.open()?;
    let component = args.source.read()?;
    let over = match &args.over {
        None => None,
        Some(text) => match find_digest(session, &entail, text).await? {
            Some(below) => Some(below),
            None => Some(entail.policies().built_in()?.digest()),
        },
    };
    let install = InstallPolicy {
        limits: component.limits.clone(),
        source: display_path(&args.source.component),
        over,
    };
    let (principal, bytes) = (&session.principal, &component.bytes);
    let installed = if args.dry_run.dry_run {
        entail
            .policies()
            .plan_install(principal, bytes, install)
            .await
    } else {
        entail.policies().install(principal, bytes, install).await
    };
    let installed = installed.map_err(|error| match error {
        entail::Error::Rejected(rejected) => {
            diagnose_rejected(&component, rejected, &Sandbox::this_program()).into()
        }
        other => CliError::from(other),
    })?;
    let principals = PrincipalNames::read(session, &entail).await?;
    let mut installed = installed_policy(installed, &principals);
    installed.dry_run = args.dry_run.dry_run;
    if installed.dry_run {
        // The store may not know the principal yet.
        installed.installed_by = session.principal.to_string();
    }
    print(session, &installed);
    Ok(())
}

fn print(session: &Session, policy: &InstalledPolicy) {
    if session.global.json {
        print_json(&policy);
        return;
    }
    let name = format!("{} {} ({})", policy.name, policy.version, policy.component);
    if policy.dry_run {
        out!("would install {name}: it can be a policy");
        print_dry_run_notice();
        return;
    }
    out!("installed {name}");
    let short = short_digest(&policy.component);
    let settings = settings_option(policy.schema.as_ref());
    out!("next: entail policy activate ORG {short}{settings}");
}

/// Returns the option for settings, in brackets if it may be left out.
fn settings_option(schema: Option<&Value>) -> &'static str {
    let Some(schema) = schema else {
        return "";
    };
    let required = schema.get("required").and_then(Value::as_array);
    if required.is_some_and(|names| !names.is_empty()) {
        " --settings FILE"
    } else {
        " [--settings FILE]"
    }
}
