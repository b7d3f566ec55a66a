//! `entail principal`: lists who made changes and requested credentials, and erases names.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use entail::store::RandomId;
use entail::{
    Entail, ErasedPrincipal, Error, Principal, PrincipalRef, erase_logged_principal,
    logged_principals,
};

use crate::confirm;
use crate::error::CliError;
use crate::output::{Table, out, print_json};
use crate::session::Session;
use entail_api::principal::{self as api, PrincipalErased, PrincipalList};

#[derive(Subcommand)]
pub enum PrincipalCommand {
    /// List the principals in the journal and in the decision log, with their ids
    List,
    /// Erase who a principal is; its changes and decisions stay, with ids in place of it
    ///
    /// The name is erased from the store, its write-ahead log and backups that are made later,
    /// and from the file that says who the ids in the decision log of this machine are. Archived
    /// files of the log and secondary logs contain only ids.
    ///
    /// These still contain the name: backups that exist; other machines of the store, until it is
    /// erased from their decision logs with this command as well; in the log, messages of policies,
    /// attributes of requests and reasons of accepted losses that mention it; and for a project,
    /// its scope.
    ///
    /// Without a key that may change the store, only the decision log of this machine is changed,
    /// and the command fails if the store names the principal.
    Erase(EraseArgs),
}

#[derive(Args)]
pub struct EraseArgs {
    /// The principal, or one of its ids, as in the list
    pub principal: PrincipalRef,
}

pub async fn principal(session: &Session, command: &PrincipalCommand) -> Result<(), CliError> {
    match command {
        PrincipalCommand::List => list(session).await,
        PrincipalCommand::Erase(args) => erase(session, &args.principal).await,
    }
}

/// Who ids are.
type Names = BTreeMap<RandomId, Principal>;

/// The ids of a principal.
#[derive(Default)]
struct Ids {
    journal: Vec<RandomId>,
    log: Vec<RandomId>,
}

async fn list(session: &Session) -> Result<(), CliError> {
    let journal = session.open()?.principals(&session.principal).await?;
    let log = logged_principals(&session.home()?, &session.principal)?;
    let mut all: BTreeMap<Principal, Ids> = BTreeMap::new();
    for (id, principal) in journal {
        all.entry(principal).or_default().journal.push(id);
    }
    for (id, principal) in log {
        all.entry(principal).or_default().log.push(id);
    }
    let principals = all.into_iter().map(|(principal, ids)| api::Principal {
        principal: principal.to_string(),
        kind: principal.kind().as_str().to_owned(),
        issuer: principal.issuer().to_owned(),
        subject: principal.subject().to_owned(),
        journal: texts(&ids.journal),
        log: texts(&ids.log),
    });
    let list = PrincipalList {
        principals: principals.collect(),
    };
    if session.global.json {
        print_json(&list);
        return Ok(());
    }
    let mut table = Table::with_headings(["PRINCIPAL", "ID IN THE JOURNAL", "ID IN THE LOG"]);
    for principal in &list.principals {
        table.row([
            principal.principal.as_str().into(),
            principal.journal.join(" ").as_str().into(),
            principal.log.join(" ").as_str().into(),
        ]);
    }
    table.print();
    Ok(())
}

async fn erase(session: &Session, meant: &PrincipalRef) -> Result<(), CliError> {
    let home = session.home()?;
    let log = logged_principals(&home, &session.principal)?;
    // The log can be changed without the store.
    let store = read_store(session).await;
    let mut known = log.clone();
    if let Ok((_, journal)) = &store {
        known.extend(journal.clone());
    }
    let is_named = |names: &Names, who: &Principal| names.values().any(|name| name == who);
    let found = meant.find(&known);
    let Some(who) = found.filter(|who| is_named(&known, who)) else {
        // The store may name it, if it cannot be read.
        store?;
        return Err(Error::UnknownPrincipal(Box::new(meant.clone())).into());
    };
    if confirm::is_needed(session) {
        let lost = format!("nobody can tell any more which changes and requests {who} made");
        confirm::ask(&[lost])?;
    }
    let mut erased = ErasedPrincipal {
        log: erase_logged_principal(&home, &session.principal, &who)?,
        ..ErasedPrincipal::default()
    };
    let from_store = match store {
        Ok((_, journal)) if !is_named(&journal, &who) => Ok(ErasedPrincipal::default()),
        Ok((entail, _)) => {
            let who = PrincipalRef::Principal(who);
            let erased = entail.erase_principal(&session.principal, &who).await;
            erased.map_err(CliError::from)
        }
        Err(error) => Err(error),
    };
    erased.journal = match from_store {
        Ok(from_store) => from_store.journal,
        Err(error) => return Err(not_from_store(error, &erased.log)),
    };
    print(session, &erased);
    Ok(())
}

async fn read_store(session: &Session) -> Result<(Entail, Names), CliError> {
    let entail = session.open()?;
    let journal = entail.principals(&session.principal).await?;
    Ok((entail, journal))
}

/// The name was erased at most from the log.
fn not_from_store(error: CliError, log: &[RandomId]) -> CliError {
    let mut details = error.details().to_vec();
    if !log.is_empty() {
        details.push(format!(
            "the decision log of this machine no longer says who {} is",
            texts(log).join(", ")
        ));
    }
    details.push("the store may still say it; erase it on a machine that may change it".to_owned());
    error.with_details(details)
}

fn print(session: &Session, erased: &ErasedPrincipal) {
    let erased = PrincipalErased {
        journal: texts(&erased.journal),
        log: texts(&erased.log),
    };
    if session.global.json {
        print_json(&erased);
        return;
    }
    if !erased.log.is_empty() {
        let ids = erased.log.join(", ");
        out!("the decision log of this machine no longer says who {ids} is");
        out!("messages of policies and attributes of requests in it may still mention the name");
    }
    if !erased.journal.is_empty() {
        let ids = erased.journal.join(", ");
        out!("the store no longer says who {ids} is");
        out!("backups that exist still contain the name");
    }
    out!("other machines of the store keep decision logs of their own: erase the name there, too");
}

fn texts(ids: &[RandomId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
