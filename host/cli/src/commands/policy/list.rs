//! `policy list`: lists the installed policies, and where they are active.

use super::convert::{PrincipalNames, built_in_policy, installed_policy, policy_history};
use super::lookup::short_digest;
use crate::error::CliError;
use crate::output::{Cell, Style, Table, print_json};
use crate::session::Session;
use entail_api::policy::PolicyList;

/// Lists them.
///
/// # Errors
///
/// Fails if the store cannot be read.
pub async fn list(session: &Session) -> Result<(), CliError> {
    let entail = session.open()?;
    let installed = entail.policies().installed(&session.principal).await?;
    let active_policies = entail.policies().all_active(&session.principal).await?;
    let principals = PrincipalNames::read(session, &entail).await?;
    let list = PolicyList {
        built_in: built_in_policy(entail.policies().built_in()?),
        installed: installed
            .into_iter()
            .map(|policy| installed_policy(policy, &principals))
            .collect(),
        organizations: active_policies
            .into_iter()
            .map(|(organization, policies)| {
                let policies = policy_history(policies, &principals);
                (organization.to_string(), policies)
            })
            .collect(),
    };
    if session.global.json {
        print_json(&list);
    } else {
        print(&list);
    }
    Ok(())
}

fn print(list: &PolicyList) {
    let mut table = Table::with_headings(["POLICY", "VERSION", "DIGEST", "SIZE", "ACTIVE IN"]);
    let built_in = &list.built_in;
    let active_in = match used_by(list, None).as_str() {
        "" => "(built-in) wherever no other is active".to_owned(),
        used => format!("(built-in) wherever no other is active; {used}"),
    };
    table.row([
        built_in.name.as_str().into(),
        built_in.version.as_str().into(),
        short_digest(&built_in.digest).into(),
        built_in.bytes.to_string().into(),
        Cell::new(active_in, Style::Faint),
    ]);
    for policy in &list.installed {
        let name = match &policy.over {
            Some(over) => format!("{} over {}", policy.name, short_digest(over)),
            None => policy.name.clone(),
        };
        table.row([
            name.into(),
            policy.version.as_str().into(),
            short_digest(&policy.component).into(),
            policy.bytes.to_string().into(),
            Cell::new(used_by(list, Some(&policy.component)), Style::Good),
        ]);
    }
    table.print();
}

/// Returns the organizations that use a policy; `None` is the built-in one.
fn used_by(list: &PolicyList, component: Option<&str>) -> String {
    let mut used: Vec<String> = Vec::new();
    for (organization, policies) in &list.organizations {
        if policies.active.component.as_deref() == component {
            used.push(organization.clone());
        }
        let shadow = policies.shadow.as_ref();
        if shadow.is_some_and(|shadow| shadow.component.as_deref() == component) {
            used.push(format!("{organization} (shadow)"));
        }
    }
    used.join(", ")
}
