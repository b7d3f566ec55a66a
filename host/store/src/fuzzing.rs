//! Entry points for fuzzing the parsers of untrusted bytes, with the properties that must
//! hold.

use std::path::Path;
use std::sync::OnceLock;

use crate::anchor::AnchorRecord;
use crate::digest::Digest;
use crate::document::Document;
use crate::journal::checkpoint::Checkpoint;
use crate::journal::position::Revision;
use crate::keyring::Keyring;
use crate::keys::recovery::find::find_share;
use crate::row::{DocumentKey, JournalRow};
use crate::sealing::age_file::decrypt;
use crate::sealing::context::{MAX_SECRET_FILE_BYTES, SealContext};
use crate::sealing::frame::{self, Header};
use crate::secret::Secret;
use crate::statement::Statement;
use crate::tree::Node;

const REVISION: Revision = 7;

/// A payload parses as the document that it names and with its own digest, or not at all.
pub fn document(payload: &[u8]) {
    let key = DocumentKey::new("scope", "acme");
    let digest = Digest::of(payload);
    assert!(Document::verify(&key, payload, Digest::of(b"other")).is_err());
    if let Ok(document) = Document::verify(&key, payload, digest) {
        assert_eq!(document.key(), &key);
        assert_eq!(document.digest(), digest);
    }
}

/// A parsed checkpoint has the revision of its row, and round-trips.
pub fn checkpoint(payload: &[u8]) {
    let row = |payload: &[u8]| JournalRow {
        revision: REVISION,
        checkpoint: Statement {
            payload: payload.to_vec(),
            signatures: b"[]".to_vec(),
        },
        change: Vec::new(),
    };
    if let Ok(checkpoint) = Checkpoint::parse(&row(payload)) {
        assert_eq!(checkpoint.revision, REVISION);
        let written = serde_json::to_vec(&checkpoint).unwrap_or_default();
        let written = Checkpoint::parse(&row(&written));
        assert!(written.is_ok_and(|written| written.tree == checkpoint.tree));
    }
}

/// A parsed keyring has the digest of its bytes, and nobody has signed it.
pub fn keyring(payload: &[u8]) {
    let statement = Statement {
        payload: payload.to_vec(),
        signatures: b"[]".to_vec(),
    };
    if let Ok(keyring) = Keyring::parse(statement) {
        assert_eq!(keyring.digest(), Digest::of(payload));
        assert!(keyring.signers(None).is_err());
    }
}

/// A frame opens only in the context that it names.
pub fn frame(bytes: &[u8]) {
    let Ok(store) = "000102030405060708090a0b0c0d0e0f".parse() else {
        return;
    };
    let other = SealContext {
        store,
        scope: "acme".to_owned(),
        credential: "c1".to_owned(),
        version: 1,
        provider: "openai".to_owned(),
        mode: "api-key".to_owned(),
        hosts: Vec::new(),
        destination: Digest::of(b"{}"),
        epoch: 1,
        fields: Vec::new(),
    };
    let secret = Secret::new(bytes);
    let named = bytes
        .strip_prefix(frame::FORMAT)
        .and_then(|rest| rest.split(|byte| *byte == b'\n').next())
        .and_then(|header| serde_json::from_slice::<Header>(header).ok());
    let opened = frame::decode(&secret, &other);
    let Some(header) = named else {
        assert!(opened.is_err());
        return;
    };
    assert!(opened.is_err() || header.context == other);
    if let Ok(fields) = frame::decode(&secret, &header.to_context()) {
        let total: usize = fields.iter().map(|(_, value)| value.len()).sum();
        assert!(total < bytes.len());
    }
}

/// A file that was not encrypted to the identity never decrypts.
pub fn age_file(bytes: &[u8]) {
    static IDENTITY: OnceLock<age::x25519::Identity> = OnceLock::new();
    let identity = IDENTITY.get_or_init(age::x25519::Identity::generate);
    let key = [identity as &dyn age::Identity];
    assert!(decrypt(key, bytes, MAX_SECRET_FILE_BYTES).is_err());
}

/// A parsed node encodes to the same bytes.
pub fn tree_node(bytes: &[u8]) {
    if let Some(node) = Node::decode(bytes) {
        assert_eq!(node.encode(), bytes);
    }
}

/// A parsed anchor round-trips.
pub fn anchor(bytes: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<AnchorRecord>(bytes) {
        let text = serde_json::to_vec(&record).unwrap_or_default();
        assert_eq!(
            serde_json::from_slice::<AnchorRecord>(&text).ok(),
            Some(record)
        );
    }
}

/// A parsed share has exactly one text, but for the case of its letters.
pub fn share(bytes: &[u8]) {
    let text = Secret::new(bytes);
    let Ok(Some(share)) = find_share(Path::new("share"), &text) else {
        return;
    };
    let written = share.to_text();
    let written = written.expose_text().unwrap_or_default();
    let lines = text.expose_text().unwrap_or_default().lines();
    let mut lines = lines.map(|line| line.trim_start_matches('\u{feff}').trim());
    assert!(lines.any(|line| line.eq_ignore_ascii_case(written)));
}
