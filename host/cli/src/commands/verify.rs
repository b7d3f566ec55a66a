//! `entail verify`: verifies the whole store against its journal.

use entail::{Entail, now_ms};

use crate::error::{CliError, ErrorCode};
use crate::output::progress::Bar;
use crate::output::{Cell, Style, Table, choose, count, err, out, print_json};
use crate::session::Session;
use crate::suggest::remedy::remedy;
use crate::unknown_providers;
use entail_api::verify::{SecretName, StoreFault, Verification};

/// The fault of an object in a form that this version does not read.
const NEWER: &str = "newer";

/// The object of a fault of the heartbeat.
const HEARTBEAT: &str = "the heartbeat";

pub async fn verify(session: &Session) -> Result<(), CliError> {
    let entail = match session.open_unlocked() {
        // Without the passphrase everything else can still be verified.
        Err(error) if error.code() == ErrorCode::Invalid => session.open()?,
        opened => opened?,
    };
    let found = verification(session, &entail).await?;
    let freshness = entail.keys().freshness(&session.principal).await;
    // What prevents reading it is a fault that was found.
    let is_fresh = freshness.is_ok_and(|freshness| freshness.is_fresh(now_ms()));
    let found = to_output(&found, is_fresh);
    if session.global.json {
        print_json(&found);
    } else {
        print_text(session, &found, &entail);
    }
    let scopes = entail.scopes(&session.principal, None).await;
    // If the list of scopes is damaged, the error below reports it.
    unknown_providers::note(session, &entail, scopes.unwrap_or_default())
        .await
        .ok();
    if !found.faults.is_empty() && found.faults.iter().all(|fault| fault.fault == NEWER) {
        return Err(CliError::new(
            ErrorCode::Unavailable,
            "a newer version of Entail wrote to this store, which is needed to verify it",
        ));
    }
    if !found.faults.is_empty() {
        let objects = found.faults.len();
        // A new heartbeat replaces it; nothing else was lost.
        let is_heartbeat = |fault: &StoreFault| fault.what == HEARTBEAT;
        let remedy = if found.faults.iter().all(is_heartbeat) {
            "entail heartbeat send"
        } else {
            "entail restore BACKUP --accept-rollback"
        };
        return Err(CliError::new(
            ErrorCode::Tampered,
            format!(
                "{} {} not what was written",
                count(objects, "object"),
                choose(objects, "is", "are")
            ),
        )
        .with_remedies(vec![remedy.to_owned()]));
    }
    match found.secrets_for_others.first() {
        None => Ok(()),
        Some(first) => Err(CliError::new(
            ErrorCode::Sealed,
            format!(
                "this identity cannot open {}, such as {first}",
                count(found.secrets_for_others.len(), "secret")
            ),
        )
        .with_remedies(access_remedies(session, &entail).await)),
    }
}

/// What would let this machine open the secrets of each organization that it does not open.
pub async fn access_remedies(session: &Session, entail: &Entail) -> Vec<String> {
    let unreadable = entail.keys().unreadable(&session.principal).await;
    let unreadable = unreadable.unwrap_or_default();
    let hints = unreadable.iter().filter_map(|organization| {
        entail
            .keys()
            .access_hint(&session.principal, Some(organization))
            .ok()?
    });
    hints.map(|hint| remedy(&hint)).collect()
}

/// Verifies the store, with a progress bar.
///
/// # Errors
///
/// Fails if the store cannot be read. Damage is part of the result.
pub async fn verification(
    session: &Session,
    entail: &Entail,
) -> Result<entail::Verification, CliError> {
    let bar = Bar::new("verifying");
    Ok(entail
        .maintenance()
        .verify(&session.principal, &mut |progress| {
            bar.set(progress.done, progress.all);
        })
        .await?)
}

fn print_text(session: &Session, found: &Verification, entail: &Entail) {
    if found.faults.is_empty() {
        out!(
            Style::Good => "ok";
            ": the store matches its journal (revision {}, {}, {}, {})",
            found.revision,
            count(found.changes, "change"),
            count(found.documents, "document"),
            count(found.blobs, "blob")
        );
    }
    match found.secrets_not_opened {
        0 => out!("{} can be opened", count(found.secrets_opened, "secret")),
        unopened => out!(
            "{} not tried to open: the identity is locked or not here",
            format_args!(
                "{} {}",
                count(unopened, "secret"),
                choose(unopened, "was", "were")
            )
        ),
    }
    for note in leftovers(session, found, entail) {
        err!(Style::Warn => "note:"; " {note}");
    }
    if found.faults.is_empty() {
        if !found.fresh {
            err!(Style::Warn => "note:"; " no signer has confirmed lately that this is the newest state of the store: entail heartbeat send, on a machine with a signer");
        }
        return;
    }
    out!("revision {}", found.revision);
    let mut table = Table::with_headings(["FAULT", "OBJECT", "REASON"]);
    for fault in &found.faults {
        table.row([
            Cell::new(&fault.fault, Style::Bad),
            fault.what.as_str().into(),
            fault.reason.as_str().into(),
        ]);
    }
    table.print();
}

/// Work that is left to do although nothing is wrong.
pub fn leftovers(session: &Session, found: &Verification, entail: &Entail) -> Vec<String> {
    let mut notes = Vec::new();
    let keys = entail.keys().local(&session.principal);
    let is_rotating = keys.is_ok_and(|keys| keys.identity_ids().count() > 1);
    let secrets = found.under_old_recipients.len();
    if let Some(first) = found.under_old_recipients.first() {
        // Each ends with the command that seals again.
        let remedy = if is_rotating {
            "finish the rotation with: entail key rotate identity"
        } else if !found.secrets_for_others.is_empty() {
            "if a restore with a recovery key was interrupted, run it again; otherwise seal again with: entail key reseal"
        } else {
            "seal again with: entail key reseal"
        };
        notes.push(format!(
            "{} sealed to an earlier epoch, such as {} {}; {remedy}",
            format_args!(
                "{} {}",
                count(secrets, "secret"),
                choose(secrets, "is", "are")
            ),
            first.scope,
            first.credential
        ));
    }
    if !found.under_old_readers.is_empty() {
        notes.push(format!(
            "the key of {} is sealed to other recipients than the present ones; on a machine that opens it, run: entail key reseal",
            found.under_old_readers.join(", ")
        ));
    }
    let overdue = found.overdue.len();
    if overdue > 0 {
        notes.push(format!(
            "{} should have been destroyed a day ago or more; commands that change or list credentials do it, if necessary two of them a day apart",
            count(overdue, "secret")
        ));
    }
    notes
}

/// The result of a verification for output.
pub fn to_output(found: &entail::Verification, is_fresh: bool) -> Verification {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Verification {
        revision: found.revision,
        changes: found.counts.entries,
        documents: found.counts.documents,
        blobs: found.counts.blobs,
        secrets_opened: number(found.opened),
        secrets_not_opened: number(found.unopened),
        secrets_for_others: found.foreign.clone(),
        faults: found
            .faults
            .iter()
            .map(|fault| StoreFault {
                fault: fault.fault().as_str().to_owned(),
                what: fault.what().to_owned(),
                reason: fault.reason().to_owned(),
            })
            .collect(),
        under_old_recipients: found
            .under_old_recipients
            .iter()
            .map(|secret| SecretName {
                scope: secret.scope.to_string(),
                credential: secret.credential.clone(),
            })
            .collect(),
        under_old_readers: found.under_old_readers.clone(),
        overdue: found.overdue.clone(),
        fresh: is_fresh,
    }
}
