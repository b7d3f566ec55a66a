//! Holds everything in the store against its journal.

use entail::store::Tampering;
use entail::{Entail, Verification};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Cell, Style, Table, print_json, say, tell};
use crate::progress::Bar;
use crate::session::Session;
use crate::unknown_providers;

pub async fn verify(session: &Session) -> Result<(), Failure> {
    let entail = match session.open_unlocked() {
        // Without the passphrase everything else can still be looked at.
        Err(failure) if failure.code() == "invalid" => session.open()?,
        opened => opened?,
    };
    let found = look(session, &entail).await?;
    if session.common.json {
        print_json(&to_json(&found));
    } else {
        print(&found);
    }
    let scopes = entail.scopes(&session.principal, None).await;
    // Where the list itself is at fault, that is said below.
    unknown_providers::note(session, &entail, scopes.unwrap_or_default())
        .await
        .ok();
    match found.faults.len() {
        0 if !found.foreign.is_empty() => Err(Failure::new(
            16,
            "sealed",
            format!(
                "{} secrets are not for this identity, such as {}",
                found.foreign.len(),
                found.foreign.first().map_or("", String::as_str)
            ),
        )
        .with_remedies(vec!["entail key list".to_owned()])),
        0 => Ok(()),
        faults => Err(Failure::new(
            15,
            "tampered",
            format!("{faults} things are not what was written"),
        )
        .with_remedies(vec!["entail restore BACKUP --accept-rollback".to_owned()])),
    }
}

/// Looks at everything, with a bar.
pub async fn look(session: &Session, entail: &Entail) -> Result<Verification, Failure> {
    let bar = Bar::new("verifying");
    Ok(entail
        .verify(&session.principal, &mut |progress| {
            bar.set(progress.done, progress.all);
        })
        .await?)
}

fn print(found: &Verification) {
    let counts = &found.counts;
    say!(
        "revision {}: {} changes, {} documents, {} blobs",
        found.revision,
        counts.entries,
        counts.documents,
        counts.blobs
    );
    match found.unopened {
        0 => say!("{} secrets open", found.opened),
        unopened => say!("{unopened} secrets were not opened: there is no open identity here"),
    }
    for note in leftovers(found) {
        tell!(Style::Warn => "note:"; " {note}");
    }
    if found.faults.is_empty() {
        say!(Style::Good => "everything is what was written");
        return;
    }
    let mut table = Table::with_headings(["FAULT", "WHAT", "HOW ONE CAN TELL"]);
    for fault in &found.faults {
        table.row([
            Cell::new(fault.fault().as_str(), Style::Bad),
            fault.what().into(),
            fault.reason().into(),
        ]);
    }
    table.print();
}

/// What is not wrong, and still to be done, in words.
pub fn leftovers(found: &Verification) -> Vec<String> {
    let mut notes = Vec::new();
    let secrets = found.under_old_recipients.len();
    if secrets > 0 {
        let first = found.under_old_recipients.first();
        let first = first.map_or(String::new(), |left| {
            format!(", such as {} {}", left.scope, left.credential)
        });
        notes.push(format!(
            "{secrets} secrets are sealed to an earlier list of recipients{first}; seal them again with: entail key reseal"
        ));
    }
    let documents = found.under_old_signer.len();
    if documents > 0 {
        notes.push(format!(
            "{documents} documents have the signature of an earlier signer; go on with: entail key rotate signer"
        ));
    }
    let overdue = found.overdue.len();
    if overdue > 0 {
        notes.push(format!(
            "{overdue} secrets should have been destroyed a day ago or more; commands that change or list credentials do it, if need be two of them a day apart"
        ));
    }
    notes
}

fn to_json(found: &Verification) -> Value {
    let fault = |fault: &Tampering| json!({"fault": fault.fault().as_str(), "what": fault.what(), "how": fault.reason()});
    let left: Vec<Value> = found
        .under_old_recipients
        .iter()
        .map(|left| json!({"scope": left.scope, "credential": left.credential}))
        .collect();
    let unsigned: Vec<String> = found
        .under_old_signer
        .iter()
        .map(ToString::to_string)
        .collect();
    json!({
        "revision": found.revision,
        "changes": found.counts.entries,
        "documents": found.counts.documents,
        "blobs": found.counts.blobs,
        "secrets_opened": found.opened,
        "secrets_not_opened": found.unopened,
        "secrets_for_others": found.foreign,
        "faults": found.faults.iter().map(fault).collect::<Vec<_>>(),
        "under_old_recipients": left,
        "under_old_signer": unsigned,
        "overdue": found.overdue,
    })
}
