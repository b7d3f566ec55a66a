//! `entail principal`: lists who made changes, and erases names.

use clap::{Args, Subcommand};
use entail::store::RandomId;

use crate::confirm;
use crate::error::CliError;
use crate::output::{Table, out, print_json};
use crate::session::Session;
use entail_api::principal::{Principal, PrincipalErased, PrincipalList};

#[derive(Subcommand)]
pub enum PrincipalCommand {
    /// List the principals in the journal, with their ids
    List,
    /// Erase who a principal is; its changes stay in the journal, with the id
    ///
    /// The name is erased from the store, its write-ahead log and backups that are made later.
    /// Backups that exist still contain it, and so does the decision log.
    Erase(EraseArgs),
}

#[derive(Args)]
pub struct EraseArgs {
    /// The id of the principal, as in the list
    pub id: RandomId,
}

pub async fn principal(session: &Session, command: &PrincipalCommand) -> Result<(), CliError> {
    match command {
        PrincipalCommand::List => list(session).await,
        PrincipalCommand::Erase(args) => erase(session, args).await,
    }
}

async fn list(session: &Session) -> Result<(), CliError> {
    let entail = session.open()?;
    let principals = entail.principals(&session.principal).await?;
    let principals = principals.into_iter().map(|(id, principal)| Principal {
        id: id.to_string(),
        principal: principal.to_string(),
        kind: principal.kind().as_str().to_owned(),
        issuer: principal.issuer().to_owned(),
        subject: principal.subject().to_owned(),
    });
    let list = PrincipalList {
        principals: principals.collect(),
    };
    if session.global.json {
        print_json(&list);
        return Ok(());
    }
    let mut table = Table::with_headings(["ID", "PRINCIPAL"]);
    for principal in &list.principals {
        table.row([
            principal.id.as_str().into(),
            principal.principal.as_str().into(),
        ]);
    }
    table.print();
    Ok(())
}

async fn erase(session: &Session, args: &EraseArgs) -> Result<(), CliError> {
    let entail = session.open()?;
    if confirm::is_needed(session) {
        let principals = entail.principals(&session.principal).await?;
        let erased = principals.get(&args.id);
        let erased = erased.ok_or(entail::Error::UnknownPrincipal(args.id))?;
        let lost = format!("nobody can tell any more which changes {erased} made with this id");
        confirm::ask(&[lost])?;
    }
    entail.erase_principal(&session.principal, args.id).await?;
    let erased = PrincipalErased {
        erased: args.id.to_string(),
    };
    if session.global.json {
        print_json(&erased);
    } else {
        out!("erased who the principal {} is", erased.erased);
        out!("backups that exist still contain it, and so does the decision log");
    }
    Ok(())
}
