//! `entail credential list`: lists the credentials of a scope.

use std::process::ExitCode;

use clap::Args;
use entail::{Entail, ScopePath};

use super::words::{models, sharing, state};
use crate::error::CliError;
use crate::output::{Cell, Style, Table, convert, out, print_json, time};
use crate::session::Session;
use entail_api::credential::CredentialList;

#[derive(Args)]
pub struct ListArgs {
    /// The scope
    pub scope: ScopePath,
}

pub async fn list(
    session: &Session,
    entail: &Entail,
    args: &ListArgs,
) -> Result<ExitCode, CliError> {
    let scope = entail.scope(&session.principal, &args.scope).await?;
    let list = CredentialList {
        scope: args.scope.to_string(),
        credentials: convert(&scope.credentials)?,
        removed: convert(&scope.removed)?,
    };
    if session.global.json {
        print_json(&list);
    } else {
        print_text(&list);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_text(list: &CredentialList) {
    if list.credentials.is_empty() {
        out!("{} holds no credentials", list.scope);
    } else {
        let mut table = Table::with_headings([
            "PROVIDER", "NAME", "PRIORITY", "MODE", "VERSION", "STATE", "SHARING", "MODELS",
        ]);
        for credential in &list.credentials {
            let (state, style) = state(credential);
            table.row([
                credential.provider.as_str().into(),
                credential.name.as_str().into(),
                credential.priority.to_string().into(),
                credential.version.mode.as_str().into(),
                credential.version.number.to_string().into(),
                Cell::new(state, style),
                sharing(&credential.sharing).into(),
                models(credential.models.as_deref()).into(),
            ]);
        }
        table.print();
    }
    for removed in &list.removed {
        out!(Style::Faint => format_args!(
            "removed, and can be restored until {}: {} {}",
            time(removed.until_ms),
            removed.credential.provider,
            removed.credential.name
        ));
    }
}
