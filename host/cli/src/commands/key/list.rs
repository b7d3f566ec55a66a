//! `entail key list`: lists the keys and recipients.

use crate::error::CliError;
use crate::output::{Table, out, print_json, time};
use crate::session::Session;
use entail_api::keys::{Keys, Recipient};

pub async fn list(session: &Session) -> Result<(), CliError> {
    let entail = session.open()?;
    let recipients = entail.keys().recipients(&session.principal).await?;
    let keys = entail.keys().local();
    let own: Vec<&str> = keys.identity_ids().collect();
    let output = Keys {
        epoch: recipients.epoch,
        recipients: recipients
            .recipients
            .iter()
            .map(|recipient| Recipient {
                id: recipient.id().clone(),
                public_key: recipient.key.clone(),
                label: recipient.label.clone(),
                added_at_ms: recipient.added_at_ms,
                own: own.contains(&&*recipient.id()),
            })
            .collect(),
        identity: own.iter().map(ToString::to_string).collect(),
        locked: keys.is_locked(),
        signer: keys.signer().ok().map(|signer| signer.id().to_string()),
        verifiers: entail
            .keys()
            .verifiers()
            .iter()
            .map(|verifier| verifier.id().to_string())
            .collect(),
    };
    if session.global.json {
        print_json(&output);
    } else {
        print_text(&output);
    }
    Ok(())
}

fn print_text(keys: &Keys) {
    let identity = if keys.locked {
        "locked by a passphrase".to_owned()
    } else if keys.identity.is_empty() {
        "not here: this machine cannot open secrets".to_owned()
    } else {
        keys.identity.join(", ")
    };
    let mut table = Table::default();
    table.labelled("identity", identity);
    table.labelled(
        "signer",
        keys.signer
            .as_deref()
            .unwrap_or("not here: this machine cannot make changes"),
    );
    table.labelled("verifier", keys.verifiers.join(", then "));
    table.print();
    out!("recipients that can open secrets (list {}):", keys.epoch);
    let mut table = Table::with_headings(["ID", "LABEL", "ADDED", "PUBLIC KEY"]);
    for recipient in &keys.recipients {
        table.row([
            recipient.id.as_str().into(),
            recipient.label.as_str().into(),
            time(recipient.added_at_ms).into(),
            recipient.public_key.as_str().into(),
        ]);
    }
    table.print();
}
