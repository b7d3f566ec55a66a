//! `entail key list`: lists the keys and recipients.

use entail::store::{self, LabelledKey, RecipientClass, Role, StoreSigner};

use crate::error::CliError;
use crate::output::{Table, count, out, print_json, time};
use crate::session::Session;
use entail_api::keys::{Keys, Readers, Recipient, SigningKey};

pub async fn list(session: &Session) -> Result<(), CliError> {
    let entail = session.open()?;
    let keyring = entail.keys().keyring(&session.principal).await?;
    let authority = keyring.authority();
    let keys = entail.keys().local(&session.principal)?;
    let signing_key = |listed: &LabelledKey, role, scopes| SigningKey {
        fingerprint: listed.key.id().to_string(),
        label: listed.label.clone(),
        own: keys.id_of(role) == Some(listed.key.id()),
        scopes,
    };
    let owner = |owner: &LabelledKey| signing_key(owner, Role::Owner, None);
    let signer =
        |signer: &StoreSigner| signing_key(&signer.key, Role::Signer, signer.scopes.clone());
    let fingerprint = |role| keys.id_of(role).map(|id| id.to_string());
    let own: Vec<&str> = keys.identity_ids().collect();
    let recipients = |list: &[store::Recipient]| -> Vec<Recipient> {
        list.iter()
            .map(|recipient| Recipient {
                id: recipient.id(),
                public_key: recipient.key.clone(),
                label: recipient.label.clone(),
                added_at_ms: recipient.added_at_ms,
                own: own.contains(&&*recipient.id()),
            })
            .collect()
    };
    let readers = |readers: &store::Readers| Readers {
        organization: readers.organization.clone(),
        class: match readers.class {
            RecipientClass::X25519 => "x25519".to_owned(),
        },
        recipients: recipients(&readers.recipients),
        epochs: readers.epochs.iter().map(|epoch| epoch.number).collect(),
    };
    let output = Keys {
        readers: authority.readers.iter().map(readers).collect(),
        default_recipients: recipients(&authority.default_recipients),
        identity: own.iter().map(ToString::to_string).collect(),
        locked: keys.is_locked(),
        store: keyring.store().to_string(),
        keyring: keyring.number(),
        owner: fingerprint(Role::Owner),
        owners: authority.owners.keys.iter().map(owner).collect(),
        owners_required: u64::try_from(authority.owners.threshold).unwrap_or(u64::MAX),
        signer: fingerprint(Role::Signer),
        signers: authority.signers.iter().map(signer).collect(),
    };
    if session.global.json {
        print_json(&output);
    } else {
        print_text(&output);
    }
    Ok(())
}

/// The first digits of a recipient's id, which name it in the list.
fn short(id: &str) -> &str {
    id.get(..16).unwrap_or(id)
}

fn print_text(keys: &Keys) {
    let identity = if keys.locked {
        "locked by a passphrase".to_owned()
    } else if keys.identity.is_empty() {
        "not here: this machine cannot open secrets".to_owned()
    } else {
        let short: Vec<&str> = keys.identity.iter().map(|id| short(id)).collect();
        short.join(", ")
    };
    let mut table = Table::default();
    table.labelled("identity", identity);
    table.labelled(
        "signer",
        keys.signer
            .as_deref()
            .unwrap_or("not here: this machine cannot make changes"),
    );
    table.labelled(
        "owner key",
        keys.owner
            .as_deref()
            .unwrap_or("not here: this machine cannot change keys and recipients"),
    );
    table.labelled("store", keys.store.as_str());
    table.print();
    out!(
        "keys that may change the store (keyring {}; {} of {} must sign changes of keys):",
        keys.keyring,
        keys.owners_required,
        count(keys.owners.len(), "owner")
    );
    let mut table = Table::with_headings(["ROLE", "LABEL", "MAY CHANGE", "FINGERPRINT"]);
    let owners = keys.owners.iter().map(|key| ("owner", key));
    for (role, key) in owners.chain(keys.signers.iter().map(|key| ("signer", key))) {
        table.row([
            role.into(),
            key.label.as_str().into(),
            match (role, &key.scopes) {
                ("owner", _) => "keys and recipients".into(),
                (_, None) => "everything else".into(),
                (_, Some(scopes)) => scopes.join(", ").into(),
            },
            key.fingerprint.as_str().into(),
        ]);
    }
    table.print();
    let mut table = Table::with_headings(["SECRETS OF", "ID", "LABEL", "ADDED", "PUBLIC KEY"]);
    let later = ("later ones", &keys.default_recipients);
    let readers = keys.readers.iter();
    let readers = readers.map(|readers| (&*readers.organization, &readers.recipients));
    for (organization, recipients) in readers.chain([later]) {
        for recipient in recipients {
            table.row([
                organization.into(),
                short(&recipient.id).into(),
                recipient.label.as_str().into(),
                time(recipient.added_at_ms).into(),
                recipient.public_key.as_str().into(),
            ]);
        }
    }
    out!("recipients that can open secrets:");
    table.print();
}
