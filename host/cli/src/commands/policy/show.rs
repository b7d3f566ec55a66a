//! `policy show`: shows the policy of an organization, an installed policy, or the built-in
//! one.

use std::path::Path;

use clap::Args;
use entail::policy::{Limits, Sandbox};
use entail::{ActivePolicy, BUILT_IN, Entail, ScopePath};
use entail_policy_tools::source;
use entail_policy_tools::wit::read_wit;
use serde_json::json;

use super::activation::organization_policy;
use super::convert::{PrincipalNames, built_in_policy, installed_policy, policy_limits};
use super::lookup::{PolicyNames, find};
use super::stored::stored_component;
use crate::error::CliError;
use crate::output::time;
use crate::output::{Cell, Style, Table, out, print_json};
use crate::session::Session;
use entail_api::policy::{BuiltInPolicy, InstalledPolicy, PolicyHistory, PolicyLimits, PolicyWit};

#[derive(Args)]
pub struct ShowArgs {
    /// An organization; or the digest, its first digits, or the name of a policy; with
    /// --wit also a component, as for policy check [default: the built-in policy]
    #[arg(value_name = "ORG|POLICY|FILE")]
    which: Option<String>,
    /// Print what the component imports and exports, as WIT
    #[arg(long)]
    wit: bool,
}

/// Shows it.
///
/// # Errors
///
/// Fails if there is no such organization or policy.
pub async fn show(session: &Session, args: &ShowArgs) -> Result<(), CliError> {
    let which = args.which.as_deref().unwrap_or(BUILT_IN);
    if args.wit {
        return show_wit(session, which).await;
    }
    let entail = session.open()?;
    if which != BUILT_IN
        && let Ok(organization) = which.parse::<ScopePath>()
    {
        let active = entail.policies().active(&session.principal, &organization);
        match active.await {
            Ok(active) => return show_active(session, &entail, &organization, active).await,
            // It may be the name of a policy.
            Err(entail::Error::UnknownScope(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match find(session, &entail, which).await? {
        Some(installed) => {
            let principals = PrincipalNames::read(session, &entail).await?;
            print_installed(session, &installed_policy(installed, &principals));
        }
        None => print_built_in(session, &built_in_policy(entail.policies().built_in()?)),
    }
    Ok(())
}

async fn show_wit(session: &Session, which: &str) -> Result<(), CliError> {
    let (bytes, limits) = if which != BUILT_IN && Path::new(which).exists() {
        let component = source::read(Path::new(which))?;
        let limits = component.limits_or_default();
        (component.bytes, limits)
    } else {
        let bytes = wit_component(session, which).await?;
        (bytes, Limits::default())
    };
    let wit = read_wit(&bytes, &limits, &Sandbox::this_program())?;
    let wit = PolicyWit {
        wit: wit.text,
        imports: wit.imports,
        exports: wit.exports,
    };
    if session.global.json {
        print_json(&wit);
        return Ok(());
    }
    for line in wit.wit.lines() {
        out!("{line}");
    }
    Ok(())
}

/// Returns the component of a policy, or of the active policy of an organization.
async fn wit_component(session: &Session, which: &str) -> Result<Vec<u8>, CliError> {
    if which != BUILT_IN
        && let Ok(organization) = which.parse::<ScopePath>()
    {
        let entail = session.open()?;
        let active = entail.policies().active(&session.principal, &organization);
        match active.await {
            Ok(active) => {
                let digest = match active.current.component {
                    Some(digest) => digest,
                    None => entail.policies().built_in()?.digest(),
                };
                return Ok(entail
                    .policies()
                    .component(&session.principal, digest)
                    .await?);
            }
            // It may be the name of a policy.
            Err(entail::Error::UnknownScope(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(stored_component(session, which).await?.bytes)
}

async fn show_active(
    session: &Session,
    entail: &Entail,
    organization: &ScopePath,
    active: ActivePolicy,
) -> Result<(), CliError> {
    let policy = organization_policy(session, entail, organization, active, false).await?;
    if session.global.json {
        print_json(&policy);
        return Ok(());
    }
    print_history(&policy.policies, &PolicyNames::read(session, entail).await?);
    Ok(())
}

fn print_history(policies: &PolicyHistory, names: &PolicyNames) {
    let mut table = Table::default();
    let active = &policies.active;
    row(
        &mut table,
        "active",
        names.name(active.component.as_deref()),
    );
    if active.activated_at_ms > 0 {
        let at = time(active.activated_at_ms);
        let since = format!("{at}, by {}", active.activated_by);
        row(&mut table, "since", since);
        row(&mut table, "settings", json!(active.settings).to_string());
        row(&mut table, "limits", limits_text(&active.limits));
        row(&mut table, "isolation", active.isolation.clone());
    }
    if let Some(shadow) = &policies.shadow {
        row(
            &mut table,
            "shadow",
            names.name(shadow.component.as_deref()),
        );
    }
    for (index, earlier) in policies.earlier.iter().enumerate() {
        let label = if index == 0 { "before" } else { "" };
        row(&mut table, label, names.name(earlier.component.as_deref()));
    }
    table.print();
}

fn print_installed(session: &Session, policy: &InstalledPolicy) {
    if session.global.json {
        print_json(&policy);
        return;
    }
    let mut table = Table::default();
    let name = format!("{} {}", policy.name, policy.version);
    row(&mut table, "policy", name);
    row(&mut table, "summary", policy.summary.clone());
    row(&mut table, "digest", policy.component.clone());
    row(&mut table, "size", format!("{} bytes", policy.bytes));
    row(&mut table, "contract", policy.contract.clone());
    row(&mut table, "imports", "none".to_owned());
    if let Some(over) = &policy.over {
        row(&mut table, "over", over.clone());
    }
    let settings = match &policy.schema {
        Some(schema) => schema.to_string(),
        None => "none".to_owned(),
    };
    row(&mut table, "settings", settings);
    row(&mut table, "limits", limits_text(&policy.limits));
    let installed = format!(
        "{}, by {}, from {}",
        time(policy.installed_at_ms),
        policy.installed_by,
        policy.source
    );
    row(&mut table, "installed", installed);
    table.print();
}

fn print_built_in(session: &Session, policy: &BuiltInPolicy) {
    if session.global.json {
        print_json(&policy);
        return;
    }
    let mut table = Table::default();
    let name = format!("{} {}, built-in", policy.name, policy.version);
    row(&mut table, "policy", name);
    row(&mut table, "summary", policy.summary.clone());
    row(&mut table, "digest", policy.digest.clone());
    row(&mut table, "size", format!("{} bytes", policy.bytes));
    row(&mut table, "contract", policy.contract.clone());
    row(&mut table, "imports", "none".to_owned());
    table.print();
}

/// Returns the limits that differ from the default.
fn limits_text(limits: &PolicyLimits) -> String {
    let default = json!(policy_limits(&Limits::default()));
    let limits = json!(limits);
    let differing: Vec<String> = limits
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| default.get(name.as_str()) != Some(value))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if differing.is_empty() {
        return "default".to_owned();
    }
    differing.join(", ")
}

fn row(table: &mut Table, name: &str, value: String) {
    table.row([Cell::new(name, Style::Faint), value.into()]);
}
