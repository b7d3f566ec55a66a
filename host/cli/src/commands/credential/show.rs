//! `entail credential show`: shows a credential without its secret.

use std::process::ExitCode;

use entail::Entail;

use super::words::{models, sharing, state};
use crate::args::credential::CredentialArgs;
use crate::error::CliError;
use crate::output::{Cell, Style, Table, convert, print_json, time};
use crate::session::Session;
use entail_api::credential::Credential;

pub async fn show(
    session: &Session,
    entail: &Entail,
    args: &CredentialArgs,
) -> Result<ExitCode, CliError> {
    let scope = entail.scope(&session.principal, &args.scope).await?;
    let credential = scope
        .credential(&args.provider, &args.name)
        .ok_or_else(|| args.unknown())?;
    let credential: Credential = convert(credential)?;
    if session.global.json {
        print_json(&credential);
    } else {
        print_text(&credential, args.scope.as_str());
    }
    Ok(ExitCode::SUCCESS)
}

fn print_text(credential: &Credential, scope: &str) {
    let (state, style) = state(credential);
    let version = &credential.version;
    let mut table = Table::default();
    let name = format!("{} {} of {scope}", credential.provider, credential.name);
    table.labelled("credential", name);
    table.row([Cell::new("state", Style::Faint), Cell::new(state, style)]);
    table.labelled("mode", &version.mode);
    table.labelled(
        "version",
        format!("{}, set {}", version.number, time(version.created_at_ms)),
    );
    table.labelled(
        "expires",
        credential.expires_at_ms.map_or("never".to_owned(), time),
    );
    table.labelled("shared with", sharing(&credential.sharing));
    table.labelled("models", models(credential.models.as_deref()));
    table.labelled("priority", credential.priority.to_string());
    table.labelled("bound to", version.hosts.join(", "));
    if credential.unsafe_http {
        let what = "allowed: anybody on that network can read the secret";
        table.labelled("unsafe HTTP", what);
    }
    for retired in &credential.retired {
        let number = retired.version.number;
        let until = time(retired.until_ms);
        table.labelled("also kept", format!("version {number}, until {until}"));
    }
    for (name, value) in &version.parameters {
        table.labelled(name, value);
    }
    for name in &version.secret_fields {
        table.labelled(name, "sealed");
    }
    table.print();
}
