//! `entail export-env`: prints shell commands that set the variables `run` would set.

use entail::{CommandEnvironment, VariableValue};

use super::run::environment::{is_shell_name, text_of, warn_of_unread};
use super::run::leases::{kept, leases};
use super::run::proxies;
use crate::args::format::Format;
use crate::args::request::VariablesArgs;
use crate::args::request_target;
use crate::error::CliError;
use crate::output::{Style, err, out, print_json, print_variable};
use crate::session::Session;
use entail_api::environment::EnvironmentChanges;

pub async fn export_env(session: &Session, args: &VariablesArgs) -> Result<(), CliError> {
    session.check_output_is_free()?;
    let wanted = request_target::of_variables(session, "export-env", args, &[]).await?;
    let entail = session.open_unlocked()?;
    let kept = kept(&entail, &wanted.keep)?;
    let leases = leases(session, &entail, &wanted).await?;
    let environment = CommandEnvironment::new(entail.catalog(), &leases, &kept)?;
    warn_of_unread(&environment);
    if environment.assumed_role().is_some() {
        err!(Style::Warn => "note:"; " the role is assumed by a private file, which only `entail run` can provide");
    }
    let unset = variables_to_unset(&environment);
    for name in unset.iter().filter(|name| !is_shell_name(name)) {
        err!(Style::Warn => "note:"; " no shell can unset the variable {name}, which a client reads; use entail run");
    }
    let bypass: Vec<(String, String)> = proxies::bypass(&leases)
        .into_iter()
        .map(|(name, value)| {
            let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
            (text(name), text(value))
        })
        .collect();
    if session.global.json {
        let mut variables: std::collections::BTreeMap<_, _> = bypass.into_iter().collect();
        for (name, value) in environment.variables() {
            let text = match value {
                VariableValue::Public(text) => text.into_owned(),
                VariableValue::Secret(secret) => text_of(name, secret)?.to_owned(),
                VariableValue::SecretFile(_) => continue,
            };
            variables.insert(name.to_owned(), text);
        }
        print_json(&EnvironmentChanges { unset, variables });
        return Ok(());
    }
    for name in unset.iter().filter(|name| is_shell_name(name)) {
        out!("unset {name}");
    }
    for (name, value) in bypass {
        print_variable(&name, &VariableValue::Public(value.into()), Format::Shell)?;
    }
    for (name, value) in environment.variables() {
        print_variable(name, &value, Format::Shell)?;
    }
    Session::settle(&entail).await;
    Ok(())
}

/// The variables of the shell that a command would not get. A variable that would name a
/// file is not set here, so it is among them.
fn variables_to_unset(environment: &CommandEnvironment<'_>) -> Vec<String> {
    let variables = environment.variables();
    let is_set = |name: &str| {
        let value = variables.get(name);
        value.is_some_and(|value| !matches!(value, VariableValue::SecretFile(_)))
    };
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| !environment.passes(name) && !is_set(name))
        .collect()
}
