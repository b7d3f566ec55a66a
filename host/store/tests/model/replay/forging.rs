//! What the adversary does to a database: it moves rows between copies, and adds rows that it
//! signs itself. Needs nothing but copies of databases and private keys.

use std::path::Path;

use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey};
use entail_store::{Digest, Secret, Signer};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};

/// A signed statement: the bytes and the signatures.
type Row = (Vec<u8>, Vec<u8>);

/// A database that the adversary edits.
pub struct Copy {
    database: Connection,
}

impl Copy {
    pub fn open(file: &Path) -> Self {
        let database = Connection::open(file).unwrap();
        // A copy need not survive a power loss.
        database.pragma_update(None, "synchronous", "OFF").unwrap();
        Copy { database }
    }

    pub fn copy_to(&self, file: &Path) {
        let file = file.to_str().unwrap();
        self.database.execute("VACUUM INTO ?1", [file]).unwrap();
    }

    /// Makes the list of keyrings that of another copy, up to a number.
    pub fn take_keyrings(&self, from: &Copy, number: u8) {
        self.database.execute("DELETE FROM keyrings", []).unwrap();
        for number in 1..=number {
            let (payload, signatures) = from.keyring(number).unwrap();
            self.add_keyring(number, &payload, &signatures);
        }
    }

    pub fn keyring(&self, number: u8) -> Option<Row> {
        let query = "SELECT payload, signatures FROM keyrings WHERE number = ?1";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found = self.database.query_row(query, [number], row);
        found.optional().unwrap()
    }

    pub fn add_keyring(&self, number: u8, payload: &[u8], signatures: &[u8]) {
        let insert = "INSERT INTO keyrings VALUES (?1, ?2, ?3)";
        let values = params![number, payload, signatures];
        self.database.execute(insert, values).unwrap();
    }

    /// Continues the journal with an entry that changes nothing, under the keyring of that
    /// number.
    pub fn add_entry(&self, keyring: u8, signer: &Path) {
        let query = "SELECT checkpoint FROM journal ORDER BY revision DESC LIMIT 1";
        let before: Vec<u8> = self
            .database
            .query_row(query, [], |row| row.get(0))
            .unwrap();
        let (keyring, _) = self.keyring(keyring).unwrap();
        let change = br#"{"version":1,"principal":"00000000000000000000000000000000","change":"","effects":[],"blobs_added":[],"blobs_removed":[]}"#;
        let mut checkpoint: Value = serde_json::from_slice(&before).unwrap();
        let named: Value = serde_json::from_slice(&keyring).unwrap();
        let revision = checkpoint["revision"].as_i64().unwrap() + 1;
        checkpoint["revision"] = json!(revision);
        checkpoint["previous"] = json!(Digest::of(&before));
        checkpoint["change"] = json!(Digest::of(change));
        checkpoint["keyring"] = json!(Digest::of(&keyring));
        checkpoint["lineage"] = named["lineage"].clone();
        // So forgeries with different keys differ.
        checkpoint["at_ms"] = json!(u32::from_be_bytes(
            Digest::of(secret(signer).expose()).as_bytes()[..4]
                .try_into()
                .unwrap()
        ));
        let payload = serde_json::to_vec(&checkpoint).unwrap();
        let signatures = sign("checkpoint", &payload, &[signer]);
        let insert = "INSERT INTO journal VALUES (?1, ?2, ?3, ?4)";
        let values = params![revision, payload, signatures, change];
        self.database.execute(insert, values).unwrap();
    }
}

/// A keyring after `before` that gives all power to one key and adds a reader, signed with
/// several keys.
pub fn forged_keyring(before: &[u8], key: &Path, recipient: &Value, owners: &[&Path]) -> Row {
    let mut keyring: Value = serde_json::from_slice(before).unwrap();
    let number = keyring["number"].as_u64().unwrap() + 1;
    let own = Signer::from_pem(&secret(key)).unwrap().verifier().to_hex();
    let own = json!([{"algorithm": "ed25519", "key": own, "label": "adversary"}]);
    keyring["number"] = json!(number);
    keyring["previous"] = json!(Digest::of(before));
    keyring["owners"] = json!({"threshold": 1, "keys": own});
    keyring["signers"] = own;
    let recipients = keyring["readers"][0]["recipients"].as_array_mut().unwrap();
    recipients.push(recipient.clone());
    let payload = serde_json::to_vec(&keyring).unwrap();
    let signatures = sign("keyring", &payload, owners);
    (payload, signatures)
}

/// Signs the DSSE encoding of a statement.
fn sign(kind: &str, payload: &[u8], keys: &[&Path]) -> Vec<u8> {
    let kind = format!("application/vnd.entail.{kind}+json");
    let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    signed.extend_from_slice(payload);
    let signatures = keys.iter().map(|file| {
        let pem = secret(file);
        let key = SigningKey::from_pkcs8_pem(pem.expose_text().unwrap()).unwrap();
        let signature = hex(&key.sign(&signed).to_bytes());
        let id = Signer::from_pem(&pem).unwrap().id().to_string();
        // The store accepts exactly this encoding.
        format!(r#"{{"algorithm":"ed25519","key":"{id}","signature":"{signature}"}}"#)
    });
    let signatures: Vec<String> = signatures.collect();
    format!("[{}]", signatures.join(",")).into_bytes()
}

fn secret(file: &Path) -> Secret {
    Secret::read_file(file, 4096).unwrap().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    digits.collect()
}
